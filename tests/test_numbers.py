"Numbers as users bring them: whole, big-endian, in single precision, as lists; masks and labels that are no moduli."
import numpy as np
import pytest
import torch

from metanb.core.elasticity import (base_stiffness, bounds, hashin_shtrikman, isotropic_moduli,
                                    isotropic_stiffness, mandel_to_voigt, voigt_to_mandel)
from metanb.truss.design import random_designs
from metanb.truss.inverse import least_density, nmse
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
