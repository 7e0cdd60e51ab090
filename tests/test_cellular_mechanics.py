"The explicit solver against closed forms and against itself; with `pytest -m weekly` on finer meshes and against CalculiX (tests/data/cellular_calculix.json)."
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from metanb.cellular import motion
from metanb.cellular.contact import overlap
from metanb.cellular.design import random_designs
from metanb.cellular.material import Material, homogeneous_block
from metanb.cellular.mechanics import compress
from metanb.cellular.mesh import pixel_mesh
from metanb.cellular.motion import PENALTY

STORED = json.loads((Path(__file__).parent / "data" / "cellular_calculix.json").read_text())


def design_of(case):
    shape = case["design"]["shape"]
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(case["design"]["bits"]), np.uint8))
    return bits[:shape[0] * shape[1]].reshape(shape).astype(bool)


# One batch of small cells serves most laws: what a step costs hardly depends on how many designs take it. A frame is reached at the end
# of a block of steps, and at least 3000 steps are taken on the way to `max_strain`, so that what ends at 4 % is cheap with `max_strain` left at 20 %.
SHORT = {"frames": (0.01, 0.02), "repeats": 0, "compiled": False}
LONG = SHORT | {"frames": (0.01, 0.02, 0.1, 0.2)}


@pytest.fixture(scope="module")
def cells():
    "Two random cells, and a lopsided one with its mirror image; without a sway, which has a side of its own."
    lopsided = np.ones((12, 12), bool)
    lopsided[2:5, 1:6] = lopsided[6:10, 4:11] = False
    designs = np.concatenate([random_designs(2, seed=0, quarter=6), [lopsided, lopsided[:, ::-1]]])
    return designs, compress(designs, imperfection=0.0, **LONG)


@pytest.fixture(scope="module")
def pair():
    "Two random cells with contact, to 8 % strain."
    return compress(random_designs(2, seed=0, quarter=6), frames=(0.1, 0.2, 0.3, 0.4), repeats=0, compiled=False)


def check_balance(result):
    "Single precision and the finite blocks of the sums leave some tenths of a per cent; every row of pixels carries what the platens feel."
    rows = -(result.P22 + result.contact22).mean(-1)
    assert np.all(abs(rows / result.stress[..., None] - 1)[:, 1:] < 0.02)
    assert result.passed.all(), result.flags
    total = sum(value for key, value in result.energies.items() if key != "work")
    assert np.all(abs(total / result.energies["work"] - 1)[:, 1:] < 0.01)
    assert np.all(abs(result.stress_top / result.stress_bottom - 1) < 0.02)
    assert np.all(np.diff(result.energies["plastic"], axis=1) >= 0) and np.all(np.diff(result.energies["friction"], axis=1) >= 0)


def check_mirrored(mirrored, result, there=slice(None), here=slice(None)):
    "Designs `there` of one answer are the mirror images of those `here` of the other."
    np.testing.assert_allclose(mirrored.stress[there], result.stress[here], rtol=1e-3)
    for name, sign in (("u1", -1), ("u2", 1), ("sigma22", 1), ("plastic_strain", 1)):
        field = getattr(result, name)[here]
        np.testing.assert_allclose(sign * getattr(mirrored, name)[there][..., ::-1], field, atol=0.01 * abs(field).max())


def test_energies_balance_and_both_platens_carry_the_same(cells):
    check_balance(cells[1])


@pytest.mark.weekly
def test_energies_balance_and_both_platens_carry_the_same_to_8_per_cent(pair):
    check_balance(pair)


def test_a_mirrored_cell_gives_the_mirrored_answer(cells):
    "Round-off may grow where a cell buckles, which these do not do up to 4 %."
    check_mirrored(cells[1], cells[1], there=3, here=2)


@pytest.mark.weekly
def test_mirrored_random_cells_give_the_mirrored_answer_to_8_per_cent(pair):
    "Mirrored design, mirrored sway; round-off may grow where a cell buckles, which these do not do up to 8 %."
    designs = random_designs(2, seed=0, quarter=6)[:, :, ::-1].copy()
    check_mirrored(compress(designs, imperfection=-0.02, frames=(0.1, 0.2, 0.3, 0.4), repeats=0, compiled=False), pair)


def test_an_answer_is_the_same_twice_and_in_any_batch(cells):
    "Neighbours do not touch what a design computes; sums in another order may differ in the last digits."
    designs, together = cells
    alone, again = (compress(designs[1], imperfection=0.0, **SHORT) for _ in range(2))
    np.testing.assert_array_equal(alone.stress, again.stress)
    np.testing.assert_array_equal(alone.u1, again.u1)
    np.testing.assert_allclose(alone.stress[0], together.stress[1, :2], rtol=1e-3)
    np.testing.assert_allclose(alone.u1[0], together.u1[1, :2], atol=1e-3 * abs(alone.u1).max())


def test_places_that_become_free_are_taken_by_others():
    "Designs that are done make room one after the other; each answers as in a batch of all."
    designs = random_designs(5, seed=5, quarter=5)
    together, by_two = (compress(designs, imperfection=0.0, places=places, **SHORT) for places in (None, 2))
    assert len(np.unique(together.steps)) > 1
    np.testing.assert_array_equal(by_two.steps, together.steps)
    np.testing.assert_array_equal(by_two.snapped, together.snapped)
    np.testing.assert_allclose(by_two.stress, together.stress, rtol=1e-3)
    np.testing.assert_allclose(by_two.u1, together.u1, atol=1e-3 * abs(together.u1).max())


def test_an_overlap_is_found_as_by_looking_at_all_pairs():
    "Nodes of a torn mesh inside of elements that are not theirs, in any of the periodic images."
    mesh, rng, found = pixel_mesh(random_designs(1, seed=1, quarter=6)[0]), np.random.default_rng(0), []
    for amplitude in np.linspace(0, 3, 13):
        x = mesh.X.T * [[1], [0.8]] + amplitude * rng.uniform(-0.5, 0.5, mesh.X.T.shape)
        inside = 0
        for element in mesh.conn.T:
            corners = x[:, element] - [[12], [0]] * np.round((x[:, element] - x[:, element[:1]]) / [[12], [1e9]])
            others = np.setdiff1d(mesh.seg, element)
            for shift in (-12, 0, 12):
                p = x[:, others] + [[shift], [0]]
                sides = [np.roll(corners, -1, 1)[:, k] - corners[:, k] for k in range(4)]
                inside += np.all([s[0] * (p[1] - corners[1, k]) - s[1] * (p[0] - corners[0, k]) > 0 for k, s in enumerate(sides)], axis=0).sum()
        found.append(inside > 0)
        assert (overlap(x, mesh.conn, mesh.seg, 12.0) > 0) == found[-1]
    assert len(set(found)) == 2


def test_a_design_that_fails_stays_alone(monkeypatch, cells):
    "One design loses its masses: it is flagged and warned of, its frames are NaN, and its neighbours answer as before."
    designs, sound = cells
    masses = motion.nodal_masses
    monkeypatch.setattr(motion, "nodal_masses", lambda bound, parts, *a: masses(bound, parts, *a) * (1 - (1 - 1e-6) * (parts.design == 1) * (len(parts.lengths[0]) == 4)))
    with pytest.warns(UserWarning, match=r"designs \[1\] did not reach"):
        spoiled = compress(designs, imperfection=0.0, **SHORT)
    assert spoiled.flags["unfinished"].tolist() == [False, True, False, False] and not spoiled.passed[1]
    assert np.isnan(spoiled.stress[1]).all() and np.isnan(spoiled.u1[1]).all()
    for i in (0, 2, 3):
        np.testing.assert_allclose(spoiled.stress[i], sound.stress[i, :2], rtol=1e-3)
        assert np.isfinite(spoiled.u1[i]).all()


def closing_slit(at, material=Material(), **options):
    """24 rows of which 2 are void: nothing up to 2/24, then a confined block of 22 rows. The answer at strains of which two come before the slit closes,
    and what the block carries, without and with the depth that the penalty asks for: both faces push with PENALTY * young * depth for each node, one node a pixel."""
    slit = np.ones((1, 24, 3), bool)
    slit[:, 11:13] = False
    result = compress(slit, material, connected=False, repeats=0, compiled=False, frames=tuple(at / options["max_strain"]), **options)
    spared = result.stress[0][2:] / (2 * PENALTY * material.young * 24)
    analytic, softened = (np.array([homogeneous_block((strain - less - 2 / 24) / (1 - 2 / 24), material, confined=True, steps=100) for strain, less in zip(at[2:], depth)])
                          for depth in (0 * spared, spared))
    assert result.penetration[0] == pytest.approx(24 * spared[-1], rel=0.05)
    rows = -(result.P22 + result.contact22)[0, -1].mean(-1)  # also those of the slit, where only contact carries; waves have passed
    assert np.all(abs(rows / result.stress[0, -1] - 1) < 0.01) and np.all(result.P22[0, :, 11:13] == 0)
    return result.stress[0], analytic, softened


@pytest.mark.parametrize("material", [
    Material(), Material(plastic_strain=(), yield_stress=()),
    Material(plastic_strain=(), yield_stress=(), stress_measure="kirchhoff", elastic_law="neo_hookean"),
], ids=["plastic", "elastic", "neo-Hookean"])
def test_a_slit_closes_at_its_strain(material):
    stress, analytic, softened = closing_slit(np.array([0.05, 0.08, 0.10, 0.12]), material, max_strain=0.3, steps=1500)
    assert np.all(abs(stress[:2]) < 2)  # the damping of halves that do not move as the cell at large does: it falls as the steps grow
    assert np.all(abs(stress[2:] / analytic - 1) < 0.04) and np.all(abs(stress[2:] / softened - 1) < 0.03)


@pytest.mark.weekly
def test_a_slit_closes_at_its_strain_the_nearer_the_slower():
    stress, analytic, softened = closing_slit(np.array([0.05, 0.08, 0.09, 0.10, 0.12]), max_strain=0.12, steps=4000)
    assert np.all(abs(stress[:2]) < 0.3)  # the damping of halves that do not move as the cell at large does: 0.24, it falls as the steps grow
    assert np.all(abs(stress[2:] / analytic - 1) < 0.03) and np.all(abs(stress[2:] / softened - 1) < 0.01)


@pytest.mark.weekly
def test_a_confined_block_hardens_as_the_closed_form():
    "In the Kirchhoff measure; the reference values were computed independently of this package."
    result = compress(np.ones((4, 4), bool), Material(stress_measure="kirchhoff"), steps=4000, frames=(0.01, 0.1, 0.25, 0.5, 0.75, 1.0), platens="lubricated",
                      contact=False, dtype=torch.float64)
    assert np.all(abs(result.stress[0, 1:] / [76.296, 180.62, 353.06, 550.45, 782.87] - 1) < 0.003)


ELASTIC = Material(plastic_strain=(), yield_stress=())


def buckling_load(ny):
    "Of a clamped wall 2 wide in plane strain, over modulus and undeformed width: pi^2 / 3 (w / h)^2 in the compressed state, less by shear."
    widening, shear = ELASTIC.poisson / (1 - ELASTIC.poisson), 2 / (5 / 6 * (1 - ELASTIC.poisson))
    x = 0.0  # logarithmic strain
    for _ in range(50):
        slender = np.pi ** 2 / 3 * (2 / ny) ** 2 * np.exp(2 * (1 + widening) * x)
        x = slender / (1 + shear * slender)
    return x * np.exp(widening * x)


def buckled_wall(ny, *, reach, **options):
    "A wall compressed to 1.8 to 2.4 times its buckling strain: the answer, and the load there over the buckling load. The elastica carries hardly more than that."
    wall, euler = np.zeros((1, ny, 8), bool), buckling_load(ny)
    wall[:, :, 3:5] = True
    result = compress(wall, ELASTIC, max_strain=reach * euler, frames=tuple(np.linspace(1.8, 2.4, 6) / reach), smoothing=0.0, contact=False,
                                repeats=0, compiled=False, **options)
    width = ELASTIC.young / (1 - ELASTIC.poisson ** 2) * 2 / 8
    return result, np.mean(result.stress[0] / (1 + 0.5 * (result.strain - euler))) / width / euler


def test_a_column_buckles_near_eulers_load_to_the_side_of_its_sway():
    "Two bilinear elements across are some 15 % too strong in bending; a straight wall would carry 1.8 to 2.4 times the load."
    (right, load), (left, other) = (buckled_wall(16, reach=8, imperfection=sway) for sway in (0.1, -0.1))
    assert 1 < load < 1.3 and other == pytest.approx(load, rel=0.02)
    middle = [column.u1[0, -1, 8, 3:5].mean() for column in (right, left)]
    assert middle[0] > 0.1 and middle[1] == pytest.approx(-middle[0], rel=0.02)


@pytest.mark.weekly
def test_a_column_buckles_at_eulers_strain():
    "The error of bilinear elements in bending falls with the square of their size."
    (right, coarse), (left, _) = (buckled_wall(20, reach=3, imperfection=sway) for sway in (0.1, -0.1))
    fine, finer = buckled_wall(20, reach=3, imperfection=0.1, refine=2)
    assert finer + (finer - coarse) / 3 == pytest.approx(1, rel=0.05)
    assert np.ptp(fine.stress[0]) < 0.2 * fine.stress[0].mean()  # past buckling the load hardly rises; a straight wall would carry a third more at the end
    middle = [column.u1[0, -1, 10, 3:5].mean() for column in (right, left)]
    assert abs(middle[0]) > 0.1 and middle[1] == pytest.approx(-middle[0], rel=0.01)


@pytest.mark.weekly
def test_a_ring_closes_as_in_calculix():
    case = STORED["ring"]
    result = compress(design_of(case), smoothing=0.0, refine=2, imperfection=0.0, frames=tuple(case["options"]["frames"]))
    expected = np.array(STORED["ring_refined"]["stress"])
    assert result.passed.all(), result.flags
    assert np.all(abs(result.stress[0] / expected - 1) < 0.06)
    # the slot closes between 12 and 13 %: without contact the stress would stay near 10 MPa
    assert result.stress[0, -1] > 4 * result.stress[0, 11]


@pytest.mark.weekly
def test_a_porous_cell_agrees_with_calculix():
    "Cell 2 to 8 % strain, where the same elements without a sway are within 2 %: the hinges of the other cells ask for finer meshes."
    case = STORED["porous24_2"]
    result = compress(design_of(case), contact=False, smoothing=0.0, imperfection=0.0, refine=2, frames=(0.1, 0.2, 0.3, 0.4), repeats=0)
    assert np.all(abs(result.stress[0] / np.array(case["stress"][1:5]) - 1) < 0.03)
    assert np.all(abs(result.stress[0] / np.array(STORED["porous24_2_refined"]["stress"][1:5]) - 1) < 0.05)


def cell(**changes):
    design = np.ones((6, 6), bool)
    for rows, value in changes.items():
        design[{"first": 0, "middle": 3, "last": -1}[rows]] = value
    return design


@pytest.mark.parametrize("design, words", [
    (cell(first=False), "bottom platen"), (cell(last=False), "top platen"), (cell(middle=False), "2 pieces"), (np.zeros((6, 6), bool), "no solid pixel"),
    (np.stack([cell(), cell(middle=False)]), r"designs\[1\]"), (np.full((6, 6), np.nan), "designs"), (np.where(cell(), np.nan, 1.0), "designs"),
    (np.ones((6, 6)), "designs"), (np.ones((6, 6), int), "designs"), (np.ones((0, 6, 6), bool), "designs"), (np.ones(6, bool), "designs"), (np.ones((1, 1, 6, 6), bool), "designs"),
])
def test_bad_designs_are_refused(design, words):
    with pytest.raises(ValueError, match=words):
        compress(design)


@pytest.mark.parametrize("option", [
    {"max_strain": 0.0}, {"max_strain": -0.1}, {"max_strain": 0.51}, {"max_strain": np.nan}, {"friction": -0.1}, {"friction": np.nan}, {"friction": np.inf},
    {"frames": ()}, {"frames": (0.5, 0.5)}, {"frames": (0.5, 0.2)}, {"frames": (0.0, 1.0)}, {"frames": (0.5, 1.1)}, {"frames": (np.nan,)},
    {"platens": "glued"}, {"smoothing": 1.1}, {"smoothing": -0.1}, {"refine": 0}, {"refine": 1.5}, {"imperfection": np.nan}, {"steps": 10}, {"kinetic_target": 0.0},
    {"damping": -1.0}, {"damping": 6.0}, {"repeats": -1},
])
def test_bad_settings_are_refused(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        compress(cell(), **option)


@pytest.mark.parametrize("option, name", [
    ({"young": -1.0}, "young"), ({"young": 0.0}, "young"), ({"young": np.nan}, "young"), ({"poisson": 0.5}, "poisson"), ({"poisson": np.nan}, "poisson"),
    ({"plastic_strain": (0, 0.1), "yield_stress": (50, 40)}, "yield_stress"), ({"plastic_strain": (0, 0.1), "yield_stress": (-50, 40)}, "yield_stress"),
    ({"plastic_strain": (0, 0.2, 0.1), "yield_stress": (40, 50, 60)}, "plastic_strain"), ({"plastic_strain": (0.1, 0.2), "yield_stress": (40, 50)}, "plastic_strain"),
    ({"plastic_strain": (0, np.nan), "yield_stress": (40, 50)}, "plastic_strain"), ({"plastic_strain": (0, 0.1), "yield_stress": (40, np.nan)}, "yield_stress"),
    ({"plastic_strain": (0, 0.1), "yield_stress": (40,)}, "plastic_strain"), ({"plastic_strain": (0, 0.1, 0.2), "yield_stress": (40, 41, 60)}, "concave"),
])
def test_bad_materials_are_refused(option, name):
    with pytest.raises(ValueError, match=name):
        Material(**option)


@pytest.mark.parametrize("contact", [False, True])
def test_a_solid_block_works(contact):
    "No boundary at all between the platens; the second frame within 1 % of the homogeneous answer."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = compress(np.ones((4, 4), bool), frames=(0.05, 0.1), contact=contact, repeats=0, compiled=False)
    assert result.stress[0, 1] == pytest.approx(homogeneous_block(0.02, confined=True), rel=0.01)
