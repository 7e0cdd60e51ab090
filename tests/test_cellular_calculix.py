"CalculiX: the decks it is given, and what it answered before (tests/data/cellular_calculix.json) and answers now."
import json
import re

import numpy as np
import pytest

from metanb.cellular.calculix import deck_mesh, oblique_blocks, reference_compress, swayed_nodes, walls, write_deck
from metanb.cellular.design import random_designs
from metanb.cellular.settings import FRAMES
from metanb.cellular.mesh import pixel_mesh
from metanb.core.calculix import available, read_dat
import make_cellular_validation as validation
from make_cellular_calculix import PATH, pack, solve, unpack

KNOWN = json.loads(PATH.read_text())
VALIDATION = json.loads(validation.PATH.read_text())
needs_ccx = pytest.mark.skipif(not available(), reason="ccx is not on the path (apt install calculix-ccx)")
POROUS = [name for name in KNOWN if name.startswith("porous") and not name.endswith(("refined", "swayed"))]


def curve(name):
    "Strain and stress of a stored case."
    return np.array(KNOWN[name]["strain"]), np.array(KNOWN[name]["stress"])


@pytest.mark.parametrize("design", [np.eye(5, 7, dtype=bool), np.ones((3, 3), bool)])
def test_designs_survive_packing(design):
    assert np.array_equal(unpack(pack(design)), design)


@pytest.mark.parametrize("name", KNOWN)
def test_stored_cases_are_whole(name):
    case, (strain, stress) = KNOWN[name], curve(name)
    asked = case["options"].get("max_strain", 0.2) * np.array(case["options"].get("frames", FRAMES))
    assert len(strain) >= 5 and np.allclose(strain, asked[:len(strain)], atol=1e-6) and np.isfinite(stress).all() and len(stress) == len(strain)
    assert case["reached"] >= strain[-1] - 1e-6
    if "design" in case:
        assert unpack(case["design"])[[0, -1]].any(1).all()


def test_porous_cells_lie_below_the_solid_block():
    names = [name for name in POROUS if np.isclose(curve(name)[0][0], 0.002)]
    assert len(names) >= 10
    for name in names:
        strain, stress = curve(name)
        fill = unpack(KNOWN[name]["design"]).mean()
        assert 0 < stress[0] < fill * 7.412437 and (stress > 0).all()  # Voigt's bound, elastic


def test_refinement_softens():
    refined = [name for name in KNOWN if name.endswith("_refined")]
    assert len(refined) >= 2
    for name in refined:
        (strain, fine), (known, coarse) = curve(name), curve(name.removesuffix("_refined"))
        common, i, j = np.intersect1d(np.round(strain, 6), np.round(known, 6), return_indices=True)
        assert len(common) and 0.85 < fine[i[0]] / coarse[j[0]] < 1.0, name


def test_a_symmetric_branch_is_no_stiffer_at_first():
    "An imperfection leaves the response alone until a branch is left, and then takes load away."
    for name in (name for name in KNOWN if name.endswith("_swayed")):
        swayed, straight = curve(name)[1], curve(name.removesuffix("_swayed"))[1]
        assert np.allclose(swayed[:2], straight[:2], rtol=5e-3) and (swayed[:5] <= straight[:5] * 1.002).all()
    assert curve("porous24_3_swayed")[1][5] < 0.8 * curve("porous24_3")[1][5]


def test_references_of_the_validation_page_are_the_cells_of_the_seed():
    "Their designs, settings and frames are those of the script."
    assert (VALIDATION["seed"], VALIDATION["sway"], VALIDATION["options"]["max_strain"]) == (validation.SEED, validation.SWAY, 0.2)
    assert VALIDATION["options"]["frames"] == list(validation.FRAMES)
    cells, strain = VALIDATION["cells"], 0.2 * np.array(validation.FRAMES)
    for pixels in {cell["pixels"] for cell in cells}:
        drawn = random_designs(len(validation.of_kind(cells, pixels, 1)), validation.SEED, quarter=pixels // 2)
        for cell in (cell for cell in cells if cell["pixels"] == pixels):
            assert np.array_equal(unpack(cell["design"]), drawn[cell["row"]])
            count = len(cell["strain"])
            assert np.allclose(cell["strain"], strain[:count], atol=1e-6) and len(cell["stress"]) == count
            assert cell["reached"] >= strain[:count].max(initial=0) - 1e-6 and np.isfinite(cell["stress"]).all()


@pytest.mark.parametrize("refine", [1, 2])
def test_the_sway_is_that_of_the_own_mesh(refine):
    "The corners of the elements are the nodes of `pixel_mesh`, where nothing is smoothed."
    for design in random_designs(3, seed=1, quarter=12):
        own = pixel_mesh(design, smoothing=0.0, refine=refine, imperfection=validation.SWAY)
        theirs = deck_mesh(design, refine=refine, nodes=swayed_nodes(design.shape, validation.SWAY))
        places = theirs.nodes[theirs.elements[:, :4]] * design.shape[1]
        ordered = [np.lexsort((p[..., 0].mean(0).round(6), p[..., 1].mean(0).round(6))) for p in (own.Xe, places.transpose(1, 0, 2))]
        assert np.allclose(own.Xe[:, ordered[0]], places.transpose(1, 0, 2)[:, ordered[1]], atol=1e-12)


def test_contact_stiffens_only_once_closed():
    free, met = curve("ring_without_contact")[1], curve("ring")[1]
    touched = met > free * 1.01
    assert np.array_equal(touched, np.sort(touched)) and 5 < touched.argmax() < 15  # apart for a while, then never again
    assert met[-1] > 3 * free[-1]
    assert (curve("ring_soft_penalty")[1] <= met * (1 + 1e-4)).all()


def test_sliding_obeys_coulomb():
    shear, stress = (np.array(KNOWN["foot"][key]) for key in ("shear", "stress"))
    sliding = stress > 0.05 * stress.max()
    assert sliding.sum() >= 3 and np.allclose(np.abs(shear / stress)[sliding], 0.4, rtol=0.01)
    shear, stress = (np.array(KNOWN["foot_frictionless"][key]) for key in ("shear", "stress"))
    sliding = stress > 0.05 * stress.max()
    assert sliding.sum() >= 3 and (np.abs(shear / stress)[sliding] < 0.02).all()


def test_sticking_and_sliding_blocks():
    stuck, slid = (KNOWN[f"blocks_{name}_elastic"] for name in ("sticking", "sliding"))
    assert np.abs(np.array(stuck["shear"]) / stuck["stress"]).max() < 0.01  # as one block
    assert np.isclose(slid["shear"][0] / slid["stress"][0], np.tan(np.radians(30) - np.arctan(0.4)), rtol=0.06)  # the angle falls with the strain


def test_no_number_is_too_long(tmp_path):
    "CalculiX reads 20 characters of a number; what is longer is cut, exponent and all, or refused."
    corners = np.stack(np.meshgrid(np.arange(4), np.arange(4)), -1).reshape(-1, 2) / 3 + 1e-7 / 3
    write_deck(np.eye(3, dtype=bool), tmp_path / "cell.inp", nodes=corners, frames=np.linspace(0.05, 1, 20) / 3)
    data = [line for line in (tmp_path / "cell.inp").read_text().splitlines() if not line.startswith("*")]
    assert len(data) > 50 and max(len(word.strip()) for line in data for word in line.split(",")) <= 20
    assert max(map(len, data)) <= 132


def test_degrees_of_freedom_are_bound_once(tmp_path):
    "CalculiX refuses an equation for a displacement that is prescribed."
    for platens, bound in (("attached", {1, 2}), ("lubricated", {2})):
        mesh = write_deck(np.ones((2, 3), bool), tmp_path / "cell.inp", platens=platens)
        text = (tmp_path / "cell.inp").read_text()
        dependent = [(int(a) - 1, int(b)) for a, b in re.findall(r"\*EQUATION\n2\n(\d+), (\d)", text)]
        assert len(set(dependent)) == len(dependent)
        ends = set(mesh.platen("bottom")) | set(mesh.platen("top"))
        assert not [one for one in dependent if one[0] in ends and one[1] in bound]
        assert len(dependent) == 2 * len(mesh.pairs()) - 2 * len(bound)


def test_walls_are_where_the_void_is():
    design = np.ones((4, 4), bool)
    design[1:3, 1] = False
    assert [walls(design, ~design, sides=[side]).sum() for side in ("below", "right", "above", "left")] == [1, 2, 1, 2]
    assert np.argwhere(walls(design, ~design, sides=["below"])).tolist() == [[0, 1, 2]]  # the upper edge of the pixel below


def test_read_dat():
    text = "\n forces (fx,fy,fz) for set NTOP and time  0.5000000E+00\n\n  7 1.0 2.0 3.0\n\n total force (fx,fy,fz) for set NTOP and time  0.5000000E+00\n\n  1.0 -2.5E+01 0.0\n"
    tables = read_dat(text + "\n equivalent plastic strain (elem, integ.pnt.,pe)for set SOLID and time  0.5000000E+00\n\n  1 1 0.25\n")
    assert tables["total force NTOP"][0.5].tolist() == [[1, -25, 0]] and tables["forces NTOP"][0.5].shape == (1, 4)
    assert tables["equivalent plastic strain SOLID"][0.5].tolist() == [[1, 1, 0.25]]


def test_without_ccx(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert not available()
    with pytest.raises(FileNotFoundError, match="calculix-ccx"):
        reference_compress(np.ones((2, 2), bool))


@needs_ccx
@pytest.mark.weekly
@pytest.mark.parametrize("name", ["porous24_0", "porous24_3", "ring_without_contact"])
def test_computed_again(name):
    answer = solve(KNOWN[name])
    strain, stress = curve(name)
    assert answer.finished and np.allclose(answer.strain, strain, atol=1e-6) and np.allclose(answer.stress, stress, rtol=2e-3)
    assert np.allclose(answer.bottom, answer.stress, rtol=1e-3)


@needs_ccx
@pytest.mark.weekly
def test_contact_computed_again():
    frames = KNOWN["ring"]["options"]["frames"][:15]  # three frames into contact
    answer = solve(KNOWN["ring"], frames=frames)
    assert np.allclose(answer.stress, curve("ring")[1][:15], rtol=5e-3)


@needs_ccx
def test_mirrored_design_gives_the_same():
    design = np.ones((6, 6), bool)
    design[2, 1:4] = design[4, 4:] = False
    there, back = (reference_compress(cell, max_strain=0.05, frames=[0.2, 1], increment=0.2, fields=True) for cell in (design, design[:, ::-1].copy()))
    assert np.allclose(there.stress, back.stress, rtol=1e-5) and np.allclose(there.shear, -back.shear, atol=1e-4 * there.stress.max())
    assert np.allclose(there.u1, -back.u1[..., ::-1], atol=1e-7, equal_nan=True) and np.allclose(there.sigma22, back.sigma22[..., ::-1], atol=1e-2, equal_nan=True)


@needs_ccx
def test_shifted_design_gives_the_same():
    "Where the cell is cut does not matter under periodicity, and lubricated platens."
    design = np.ones((6, 6), bool)
    design[2, 1:4] = design[4, 4:] = False
    for platens in ("attached", "lubricated"):
        stress = [reference_compress(np.roll(design, k, 1), max_strain=0.02, frames=[0.2, 1], increment=0.2, platens=platens).stress for k in (0, 2, 5)]
        assert np.allclose(stress, stress[0], rtol=1e-4)


@needs_ccx
def test_stopped_run_keeps_what_it_has():
    answer = reference_compress(np.ones((2, 2), bool), max_strain=0.9, frames=np.linspace(0.1, 1, 10), element="CPE4", timeout=20)
    assert len(answer.strain) == len(answer.stress) == len(answer.bottom) and (answer.finished or answer.message)
    short = reference_compress(np.ones((30, 30), bool), timeout=0.2)
    assert not short.finished and "stopped after 0.2 s" in short.message and len(short.strain) == 0


def test_blocks_are_inclined():
    blocks = oblique_blocks(20, columns=3, rows=2, gap=0.01)
    mesh = deck_mesh(blocks["design"], quadratic=False, nodes=blocks["nodes"])
    low, high = (mesh.nodes[mesh.lattice[:, 0] == row] for row in (2, 3))
    assert np.allclose(np.diff(low[:, 1]) / np.diff(low[:, 0]), np.tan(np.radians(20))) and np.allclose(high - low, [0, 0.01])
