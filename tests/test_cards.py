"Material cards: CalculiX loads one element in six ways and answers with the stiffness that was written."
import numpy as np
import pytest
import torch

from metanb.cellular.calculix import material_lines
from metanb.cellular.material import Material
from metanb.core.calculix import available, read_dat, run_ccx
from metanb.core.cards import numbers, stiffness_card
from metanb.core.elasticity import axis_angle, orthotropic_target, reorder, rotate_stiffness
from metanb.truss.design import random_designs
from metanb.truss.mechanics import effective_stiffness as stiffness_of_trusses
from metanb.voxel.mechanics import effective_stiffness as stiffness_of_cells

needs_ccx = pytest.mark.skipif(not available(), reason="ccx is not on the path (apt install calculix-ccx)")
WOOD = orthotropic_target((10.0, 20.0, 30.0), (0.11, 0.22, 0.33), (4.0, 5.0, 6.0))
TURNED = rotate_stiffness(WOOD, axis_angle(torch.tensor([0.6, 0.0, 0.8], dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)))
CUBE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], float)


def measured(card, folder, name="CELL", size=1e-3):
    "Stiffness (6, 6) of one element of the material, column by column: stress under each unit strain, 11 22 33 23 13 12."
    lines = ["*NODE, NSET=NALL", *(f"{n}, {numbers(*x)}" for n, x in enumerate(CUBE, 1)), "*ELEMENT, TYPE=C3D8, ELSET=ALL", "1, 1, 2, 3, 4, 5, 6, 7, 8",
             card.strip(), f"*SOLID SECTION, ELSET=ALL, MATERIAL={name}"]
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[i, j] = strain[j, i] = size if i == j else size / 2
        held = [f"{n}, {k}, {k}, {numbers(u)}" for n, row in enumerate(CUBE @ strain, 1) for k, u in enumerate(row, 1)]
        lines += ["*STEP\n*STATIC\n*BOUNDARY, OP=NEW", *held, "*EL PRINT, ELSET=ALL\nS\n*END STEP"]
    (folder / "cell.inp").write_text("\n".join(lines) + "\n")
    assert run_ccx(folder)[0] == 6
    table = read_dat((folder / "cell.dat").read_text())["stresses ALL"]  # sxx, syy, szz, sxy, sxz, syz
    return np.array([table[time].mean(0)[2:][[0, 1, 2, 5, 4, 3]] for time in sorted(table)]).T / size


def cells():
    "A cell of struts without any symmetry of the axes, and a voxel cell of bars along them, three different widths."
    bars = torch.zeros(1, 8, 8, 8)
    bars[:, :, 3:5, 3:5] = bars[:, 2:6, :, 2:6] = bars[:, 1:7, 1:7, :] = 1
    return stiffness_of_trusses(random_designs(1, seed=4))[0], stiffness_of_cells(bars)[0]


@needs_ccx
@pytest.mark.parametrize("C, kind", [(TURNED, "anisotropic"), (WOOD, "anisotropic"), (WOOD, "engineering constants")])
def test_calculix_has_the_stiffness_of_the_card(tmp_path, C, kind):
    np.testing.assert_allclose(measured(stiffness_card(C, kind=kind), tmp_path), C, rtol=0, atol=1e-6 * float(C.max()))  # it prints seven digits


@needs_ccx
def test_calculix_has_the_stiffness_of_a_cell(tmp_path):
    truss, voxels = cells()
    for C, options in ((truss, {}), (voxels, {}), (voxels, {"kind": "engineering constants", "tolerance": 1e-3})):
        found = measured(stiffness_card(C, 2300.0, **options), tmp_path)
        np.testing.assert_allclose(found, 2300 * C, rtol=0, atol=max(1e-6, options.get("tolerance", 0)) * 2300 * float(C.max()))
    assert abs(truss[3:, :3]).max() > 0.01 * truss.max()  # an exchange of the shear components would be seen
    assert len({round(float(x), 3) for x in voxels.diagonal()}) == 6


@needs_ccx
def test_calculix_reads_the_card_of_a_polymer(tmp_path):
    "Elastic: bulk and shear modulus of Material(); the shear modulus says that the strain of the deck is the engineering one."
    polymer = Material()
    C = measured(material_lines(polymer), tmp_path, "POLYMER", size=1e-5)
    np.testing.assert_allclose([C[:3, :3].sum() / 9, *np.diag(C)[3:]], [polymer.bulk] + 3 * [polymer.shear], rtol=1e-6)


def test_orders():
    "Components by their numbers, and the matrices that programs of both orders print for the same material."
    there = reorder(WOOD, "abaqus")
    np.testing.assert_allclose(there.diagonal()[3:], [6, 5, 4], rtol=1e-12)  # G12, G13, G23
    np.testing.assert_array_equal(reorder(there.numpy(), "abaqus"), WOOD)
    cubic = torch.eye(6) * 2
    np.testing.assert_array_equal(reorder(cubic[None], "abaqus")[0], cubic)
