"Numbers as users bring them: whole, big-endian, in single precision, as lists; masks and labels that are no moduli."
import numpy as np
import pytest
import torch

from metanb.cellular import design as cellular
from metanb.core.elasticity import (base_stiffness, bounds, hashin_shtrikman, isotropic_moduli,
                                    isotropic_stiffness, mandel_to_voigt, voigt_to_mandel)
from metanb.kirigami import design as kirigami
from metanb.truss.design import random_designs, to_table
from metanb.truss.export import graph
from metanb.truss.inverse import least_density, nmse, refine, topologies_of
from metanb.truss.mechanics import effective_stiffness as truss_stiffness
from metanb.voxel.mechanics import homogenize

WHOLE = np.diag([2, 2, 2, 1, 1, 1])
KINDS = {"list": WHOLE.tolist(), "int8": WHOLE.astype("int8"), "int64": torch.from_numpy(WHOLE), "half": WHOLE.astype("float16"),
         "bfloat16": torch.from_numpy(WHOLE).bfloat16(), "big-endian": WHOLE.astype(">f8"), "float32": WHOLE.astype("float32"),
         "big-endian float32": WHOLE.astype(">f4"), "long double": WHOLE.astype("longdouble"), "read-only": np.broadcast_to(WHOLE, (6, 6))}


@pytest.mark.parametrize("C", KINDS.values(), ids=KINDS.keys())
def test_a_stiffness_of_any_real_type(C):
    "K = 2/3 and G = 1 of diag(2, 2, 2, 1, 1, 1); whole numbers gave G = 0.7. E = 2 along each axis."
    K, G = isotropic_moduli(C)
    assert K.item() == pytest.approx(2 / 3, rel=1e-6) and G.item() == pytest.approx(1, rel=1e-6)
    single = str(getattr(C, "dtype", "")) in ("float32", ">f4")
    assert G.dtype == (torch.float32 if single else torch.float64)
    assert voigt_to_mandel(C).diagonal().tolist() == pytest.approx([2] * 6)  # shear entries twice
    assert mandel_to_voigt(C).diagonal().tolist() == pytest.approx([2, 2, 2, 0.5, 0.5, 0.5])
    assert nmse(C, 2 * WHOLE).item() == pytest.approx(0.25)
    assert least_density(C).item() == 6


SCALARS = {"float32": np.float32, "float16": np.float16, "long double": np.longdouble, "array": lambda x: np.array(x, ">f4"),
           "tensor": torch.tensor}


@pytest.mark.parametrize("scalar", SCALARS.values(), ids=SCALARS.keys())
def test_scalars_of_numpy_and_torch_are_numbers(scalar):
    nu, rtol = scalar(0.25), scalar(1e-3)
    assert torch.equal(base_stiffness(nu), base_stiffness(0.25))
    for function, plain in ((isotropic_stiffness, (2.0, 0.5)), (hashin_shtrikman, (0.25, 0.25, 0.25)), (bounds, (0.25,))):
        ours, right = function(*map(scalar, plain)), function(*plain)  # in single precision if all of it was
        for a, b in zip(ours, right, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7, check_dtype=False)
    assert torch.equal(torch.stack(bounds(0.25, poisson=nu)), torch.stack(bounds(0.25, poisson=0.25)))
    cell = np.ones((2, 2, 2), bool)
    cell[0, 0, 0] = False
    C = homogenize(cell, poisson=0.25, e_void=0.25, rtol=float(rtol), symmetry="none").C
    assert torch.equal(homogenize(cell, poisson=nu, e_void=nu, rtol=rtol, symmetry="none").C, C)
    design = random_designs(1, seed=0)
    assert torch.equal(truss_stiffness(design, poisson=nu, shear_factor=nu),
                       truss_stiffness(design, poisson=0.25, shear_factor=0.25))


@pytest.mark.parametrize("values", [(0, 255), (1, 2), (-1, 0)])
def test_masks_and_labels_are_no_moduli(values):
    cell = np.full((2, 2, 2), values[1])
    cell[0] = values[0]
    for given in (cell, torch.from_numpy(cell), cell.astype(">i4")):
        with pytest.raises(ValueError, match="values -?\\d+, \\d+.*designs > 0 makes solid all that is not 0"):
            homogenize(given)
    assert torch.equal(homogenize(cell == values[1]).C, homogenize((cell == values[1]).astype(">f4"), dtype=torch.float64).C)


BAD = {"text": "x", "truth": True, "NaN": float("nan"), "negative": -1, "half": 0.5, "nothing": None, "object": object()}


@pytest.mark.parametrize("seed", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("draw", [kirigami.random_designs, kirigami.admissible_designs, kirigami.admissible_share, random_designs,
                                  cellular.random_thresholds])
def test_seeds_are_whole_numbers(draw, seed):
    with pytest.raises(ValueError, match="^seed is .*; allowed: a whole number of at least 0"):
        draw(2, seed)


LARGE = {
    "block of trusses": (lambda: graph(random_designs(1, seed=0), repeats=(10 ** 9,) * 3), "repeats is .*at most 1000000 cells"),
    "sheet": (lambda: kirigami.cut_pattern(kirigami.base_angles(4), repeats=10 ** 9), "repeats is 1000000000; .*from 1 to 1000"),
    "three copies": (lambda: kirigami.cut_pattern(kirigami.base_angles(4), repeats=(1, 2, 3)), "repeats is .*2 values, each a whole number"),
    "kirigami": (lambda: kirigami.base_angles(10 ** 9), "size is 1000000000; .*from 4 to 1000"),
    "thresholds": (lambda: cellular.random_thresholds(10 ** 30), "n is 1000000"),
}


@pytest.mark.parametrize("call, words", LARGE.values(), ids=LARGE.keys())
@pytest.mark.timeout(20)
def test_what_no_machine_holds_is_refused_at_once(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("design", [None, "x", 1.0, [1, 2]])
def test_what_is_no_truss_design(design):
    for call in (to_table, topologies_of, lambda d: refine(d, np.eye(6))):
        with pytest.raises(ValueError, match="^(type of designs? is .*; allowed: TrussDesign|designs? is None; allowed: a TrussDesign)$"):
            call(design)


@pytest.mark.parametrize("name, value", [("stop", float("nan")), ("stop", "x"), ("iterations", 0.5)])
def test_settings_of_a_refinement(name, value):
    with pytest.raises(ValueError, match=f"^{name} is .*; allowed: "):
        refine(random_designs(1, seed=0), np.eye(6), **{name: value})
