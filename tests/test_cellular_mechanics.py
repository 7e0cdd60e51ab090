"The explicit solver against closed forms, against CalculiX (stored in tests/data/cellular_calculix.json) and against itself."
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from metanb.cellular import mechanics
from metanb.cellular.design import random_designs
from metanb.cellular.material import Material, homogeneous_block
from metanb.cellular.mechanics import PENALTY, compress, compress_unchecked

STORED = json.loads((Path(__file__).parent / "data" / "cellular_calculix.json").read_text())


def design_of(case):
    shape = case["design"]["shape"]
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(case["design"]["bits"]), np.uint8))
    return bits[:shape[0] * shape[1]].reshape(shape).astype(bool)


@pytest.fixture(scope="module")
def pair():
    "Two random cells with contact, to 8 % strain."
    return compress(random_designs(2, seed=0, quarter=6), frames=(0.1, 0.2, 0.3, 0.4), repeats=0, compiled=False)


def test_a_ring_closes_as_in_calculix():
    case = STORED["ring"]
    result = compress(design_of(case), smoothing=0.0, refine=2, imperfection=0.0, frames=tuple(case["options"]["frames"]))
    expected = np.array(STORED["ring_refined"]["stress"])
    assert result.passed.all(), result.flags
    assert np.all(abs(result.stress[0] / expected - 1) < 0.06)
    # the slot closes between 12 and 13 %: without contact the stress would stay near 10 MPa
    assert result.stress[0, -1] > 4 * result.stress[0, 11]


def test_a_slit_closes_at_its_strain():
    "24 rows of which 2 are void: nothing up to 2/24, then a confined block of 22 rows, but for the depth that the penalty asks for."
    slit = np.ones((1, 24, 3), bool)
    slit[:, 11:13] = False
    at = np.array([0.05, 0.08, 0.09, 0.10, 0.12])
    result = compress_unchecked(slit, max_strain=0.12, frames=tuple(at / 0.12), steps=4000, repeats=0, compiled=False)
    stress = result.stress[0]
    assert np.all(abs(stress[:2]) < 0.3)  # the damping of halves that do not move as the cell at large does: 0.24, it falls as the steps grow
    analytic = np.array([homogeneous_block((strain - 2 / 24) / (1 - 2 / 24), confined=True, steps=100) for strain in at[2:]])
    assert np.all(abs(stress[2:] / analytic - 1) < 0.03)
    # both faces push with PENALTY * young * depth for each node, one node a pixel: the blocks are spared that depth
    spared = stress[2:] / (2 * PENALTY * Material().young * 24)
    softened = np.array([homogeneous_block((strain - less - 2 / 24) / (1 - 2 / 24), confined=True, steps=100) for strain, less in zip(at[2:], spared)])
    assert np.all(abs(stress[2:] / softened - 1) < 0.01)
    assert result.penetration[0] == pytest.approx(24 * spared[-1], rel=0.05)


def test_a_column_buckles_at_eulers_strain_to_the_side_of_its_sway():
    "Clamped, plane strain: pi^2 / 3 (w / h)^2 in the compressed state, less by shear; the error of bilinear elements in bending falls with the square of their size."
    ny, material = 20, Material(plastic_strain=(), yield_stress=())
    wall = np.zeros((1, ny, 8), bool)
    wall[:, :, 3:5] = True
    widening, shear = material.poisson / (1 - material.poisson), 2 / (5 / 6 * (1 - material.poisson))
    x = 0.0  # logarithmic strain
    for _ in range(50):
        slender = np.pi ** 2 / 3 * (2 / ny) ** 2 * np.exp(2 * (1 + widening) * x)
        x = slender / (1 + shear * slender)
    euler = x * np.exp(widening * x)  # load over modulus and undeformed width
    options = {"max_strain": 3 * euler, "frames": tuple(np.linspace(0.6, 0.8, 10)), "smoothing": 0.0, "contact": False, "repeats": 0, "compiled": False}
    right, left = (compress_unchecked(wall, material, imperfection=sway, **options) for sway in (0.1, -0.1))
    fine = compress_unchecked(wall, material, imperfection=0.1, refine=2, **options)
    modulus = material.young / (1 - material.poisson ** 2) * 2 / 8
    loads = [np.mean(column.stress[0] / (1 + 0.5 * (column.strain - euler))) / modulus for column in (right, fine)]
    assert loads[1] + (loads[1] - loads[0]) / 3 == pytest.approx(euler, rel=0.05)
    assert np.ptp(fine.stress[0]) < 0.2 * fine.stress[0].mean()  # past buckling the load hardly rises; a straight wall would carry a third more at the end than at the start
    middle = [column.u1[0, -1, ny // 2, 3:5].mean() for column in (right, left)]
    assert abs(middle[0]) > 0.1 and middle[1] == pytest.approx(-middle[0], rel=0.01)


def test_a_porous_cell_agrees_with_calculix():
    "Cell 2 to 8 % strain, where the same elements without a sway are within 2 %: the hinges of the other cells ask for finer meshes."
    case = STORED["porous24_2"]
    result = compress(design_of(case), contact=False, smoothing=0.0, imperfection=0.0, refine=2, frames=(0.1, 0.2, 0.3, 0.4), repeats=0)
    assert np.all(abs(result.stress[0] / np.array(case["stress"][1:5]) - 1) < 0.03)
    assert np.all(abs(result.stress[0] / np.array(STORED["porous24_2_refined"]["stress"][1:5]) - 1) < 0.05)


def test_energies_balance_and_both_platens_carry_the_same(pair):
    "Single precision and the finite blocks of the sums leave some tenths of a per cent."
    assert pair.passed.all(), pair.flags
    total = sum(value for key, value in pair.energies.items() if key != "work")
    assert np.all(abs(total / pair.energies["work"] - 1) < 0.02)
    assert np.all(abs(pair.stress_top / pair.stress_bottom - 1) < 0.02)
    assert np.all(np.diff(pair.energies["plastic"], axis=1) >= 0) and np.all(np.diff(pair.energies["friction"], axis=1) >= 0)


def test_a_mirrored_cell_gives_the_mirrored_answer(pair):
    "Mirrored design, mirrored sway; round-off may grow where a cell buckles, which these do not do up to 8 %."
    mirrored = compress_unchecked(random_designs(2, seed=0, quarter=6)[:, :, ::-1].copy(), imperfection=-0.02, frames=(0.1, 0.2, 0.3, 0.4), repeats=0, compiled=False)
    np.testing.assert_allclose(mirrored.stress, pair.stress, rtol=1e-3)
    for name, sign in (("u1", -1), ("u2", 1), ("sigma22", 1), ("plastic_strain", 1)):
        field = getattr(pair, name)
        np.testing.assert_allclose(sign * getattr(mirrored, name)[..., ::-1], field, atol=0.01 * abs(field).max())


SHORT = {"frames": (0.02, 0.05), "repeats": 0, "compiled": False}


def test_an_answer_is_the_same_twice_and_in_any_batch():
    "Neighbours do not touch what a design computes; sums in another order may differ in the last digits."
    designs = random_designs(3, seed=1, quarter=6)
    together, again, alone = compress(designs, **SHORT), compress(designs, **SHORT), compress(designs[1], **SHORT)
    np.testing.assert_array_equal(together.stress, again.stress)
    np.testing.assert_array_equal(together.u1, again.u1)
    np.testing.assert_allclose(alone.stress[0], together.stress[1], rtol=1e-3)
    np.testing.assert_allclose(alone.u1[0], together.u1[1], atol=1e-3 * abs(together.u1[1]).max())


def test_a_design_that_fails_stays_alone(monkeypatch):
    "One design loses its masses: it is flagged and warned of, its frames are NaN, and its neighbours answer as before."
    designs = random_designs(3, seed=1, quarter=6)
    sound = compress(designs, **SHORT)
    masses = mechanics._Model.masses
    monkeypatch.setattr(mechanics._Model, "masses", lambda model, *a: masses(model, *a) * (1 - (1 - 1e-6) * (model.design == 1) * (model.n == 3)))
    with pytest.warns(UserWarning, match=r"designs \[1\] did not reach"):
        spoiled = compress(designs, **SHORT)
    assert spoiled.flags["unfinished"].tolist() == [False, True, False] and not spoiled.passed[1]
    assert np.isnan(spoiled.stress[1]).all() and np.isnan(spoiled.u1[1]).all()
    for i in (0, 2):
        np.testing.assert_allclose(spoiled.stress[i], sound.stress[i], rtol=1e-3)
        assert np.isfinite(spoiled.u1[i]).all()


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
    {"damping": -1.0}, {"repeats": -1},
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
