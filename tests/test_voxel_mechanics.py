"Homogenisation of voxel cells against shared cells, an independent assembly, exact formulas and the laws of elasticity."
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from metanb.core.elasticity import axis_angle, base_stiffness, hashin_shtrikman, isotropic_moduli, rotate_stiffness
from metanb.voxel.design import family
from metanb.voxel.kernels import gathered_times
from metanb.voxel.mechanics import effective_stiffness, homogenize, solve, stiffness_of
from metanb.voxel.operators import stiffness_times

ROOT = Path(__file__).resolve().parents[1]
CELLS = json.loads((Path(__file__).parent / "data/voxel_cells.json").read_text())["cells"]
SOLID = base_stiffness(0.3)
CORNERS = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)])


def rebuilt(name, N):
    "Modulus of each voxel, from the formula of a shared cell."
    x = (np.arange(N) + 0.5) / N
    x, y, z = np.meshgrid(x, x, x, indexing="ij")
    c, s, c2 = ([f(k * np.pi * t) for t in (x, y, z)] for f, k in ((np.cos, 2), (np.sin, 2), (np.cos, 4)))
    a, b, d = (abs(t - 0.5) for t in (x, y, z))
    trig = (-0.7 * sum(c2) + 0.9 * (c[0] * c[1] + c[1] * c[2] + c[2] * c[0]) + 0.35 * sum(c)
            - 0.45 * (c2[0] * c[1] + c[0] * c2[1] + c2[1] * c[2] + c[1] * c2[2] + c2[2] * c[0] + c[2] * c2[0]))
    return {
        "solid": lambda: np.ones((N, N, N)),
        "laminate_x": lambda: np.where(a < 0.25, 1.0, 0.1),
        "cube_void": lambda: 1.0 - ((a < 0.25) & (b < 0.25) & (d < 0.25)),
        "sc_bars": lambda: 1.0 * ((a < 0.125).astype(int) + (b < 0.125) + (d < 0.125) >= 2),
        "plates": lambda: 1.0 * ((a > 0.375) | (b > 0.375) | (d > 0.375)),
        "trig": lambda: 1.0 * (trig > 0.15),
        "grey": lambda: np.clip(0.5 + sum(c) / 4, 0.001, 1) ** 3,
        "gyroid": lambda: 1.0 * (s[0] * c[1] + s[1] * c[2] + s[2] * c[0] < 0.1),
    }[name]()


def noise(seed, N, *batch, low=0.0):
    "Random moduli without any symmetry."
    return low + (1 - low) * torch.rand(*batch, N, N, N, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mirrored(cell):
    "A cell made of the mirror images of an octant."
    for axis in (-3, -2, -1):
        cell = torch.cat([cell, cell.flip(axis)], axis)
    return cell


def cubic(cell):
    "The mean over the six exchanges of axes."
    return sum(cell.permute(p) for p in ((0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2), (0, 2, 1), (2, 1, 0))) / 6


def assembled(E, poisson=0.3, connected=False, spacing=(1, 1, 1)):
    "Stiffness (6, 6) of a cell by scikit-fem: assembled over its mesh, periodic, unknowns without stiffness removed, solved directly."
    skfem = pytest.importorskip("skfem")
    from skfem.helpers import ddot, sym_grad, trace
    E = np.asarray(E)
    shape, edges = np.array(E.shape)[:, None], np.array(spacing)[:, None] * np.array(E.shape)[:, None] / len(E)
    n_nodes, edges = E.size, edges / edges[0]
    lam, mu = poisson / (1 + poisson) / (1 - 2 * poisson), 0.5 / (1 + poisson)

    @skfem.BilinearForm
    def energy(u, v, w):
        e, g = sym_grad(u), sym_grad(v)
        return w["E"] * (lam * trace(e) * trace(g) + 2 * mu * ddot(e, g))

    mesh = skfem.MeshHex.init_tensor(*(np.linspace(0, edge, n + 1) for edge, n in zip(edges[:, 0], E.shape)))
    basis = skfem.Basis(mesh, skfem.ElementVector(skfem.ElementHex1()))
    i, j, k = np.floor(mesh.p[:, mesh.t].mean(1) * shape / edges).astype(int)
    modulus = basis.with_element(skfem.ElementHex0()).interpolate(E[i, j, k])
    K = energy.assemble(basis, E=modulus).toarray()
    affine, master = np.zeros((len(K), 6)), np.zeros(len(K), int)
    node = np.rint(mesh.p * shape / edges).astype(int) % shape
    for component in range(3):
        rows = basis.nodal_dofs[component]
        master[rows] = 3 * np.ravel_multi_index(node, E.shape) + component
        for case, (a, b) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
            for p, q in {(a, b), (b, a)}:
                if p == component:
                    affine[rows, case] += (1 if a == b else 0.5) * mesh.p[q]
    fold = np.eye(3 * n_nodes)[master]
    matrix, load = fold.T @ K @ fold, -fold.T @ K @ affine
    kept = np.diag(matrix) > 0
    matrix = matrix[np.ix_(kept, kept)]
    if connected:  # nothing moves freely but the whole
        assert np.linalg.matrix_rank(matrix, hermitian=True) == len(matrix) - 3
    motion = np.zeros((3 * n_nodes, 6))
    motion[kept] = np.linalg.lstsq(matrix, load[kept], rcond=1e-12)[0]
    total = affine + fold @ motion
    return total.T @ K @ total / edges.prod()


def close(C, expected, tolerance):
    "Entries agree within a part of the largest expected one."
    C, expected = np.asarray(C), np.asarray(expected)
    np.testing.assert_allclose(C, expected, rtol=0, atol=tolerance * abs(expected).max())


# ---- shared cells

@pytest.mark.parametrize("name, entry", [pytest.param(name, entry, id=f"{name}-{entry['N']}") for name, cell in CELLS.items()
                                         for entry in cell["values"] if not (name == "gyroid" and entry["N"] == 32)])
def test_shared_cells(name, entry):
    E = rebuilt(name, entry["N"])
    assert E.sum() == pytest.approx(entry["sum_E"], rel=1e-12) and (E > 0).sum() == entry.get("n_solid", E.size)
    key = "sha256_of_uint8(E>0.5)_C_order_first16"
    assert key not in entry or hashlib.sha256((E > 0.5).astype(np.uint8).tobytes()).hexdigest().startswith(entry[key])
    found = homogenize(torch.as_tensor(E), rtol=1e-6)
    C = found.C
    close([C[0, 0], C[0, 1], C[3, 3]], [entry["C11"], entry["C12"], entry["C44"]], 1e-7)
    if "full6x6" in entry:
        close(C, entry["full6x6"], 1e-7)
    assert found.symmetry == ({"laminate_x": "mirror", "gyroid": "none"}.get(name, "cubic"),) and found.residual.max() <= 2e-6


# ---- an independent assembly

@pytest.mark.parametrize("poisson, e_void, kind", [(0.3, 0.0, "grey"), (0.3, 0.02, "binary"), (-0.4, 0.1, "binary"), (0.45, 0.0, "grey")])
@pytest.mark.parametrize("N", [4, 5])
def test_against_scikit_fem(N, poisson, e_void, kind):
    cell = noise(N, N, low=0.05)
    cell = cell if kind == "grey" else (cell > 0.5).double()
    C = homogenize(cell, poisson=poisson, e_void=e_void, rtol=1e-9).C
    close(C, assembled(e_void + (1 - e_void) * cell, poisson), 1e-10)


def test_against_scikit_fem_with_voids():
    cell = noise(3, 5) > 0.25
    close(effective_stiffness(cell, rtol=1e-9), assembled(cell, connected=True), 1e-10)


@pytest.mark.parametrize("seed", range(3))
def test_islands_and_hinges_do_not_matter(seed):
    "A third of the voxels: most of them touch others by an edge, a corner or not at all."
    cell = noise(seed, 5) < 0.33
    np.testing.assert_allclose(effective_stiffness(cell, rtol=1e-9), assembled(cell), rtol=0, atol=1e-10)


def test_soft_joints():
    "Bars that a compliant voxel interrupts are as compliant as it, not as the residual would allow."
    cell = noise(0, 5, low=0.5)
    cell *= torch.as_tensor(np.add.outer(np.add.outer(*2 * [np.arange(5) == 2]).astype(int), np.arange(5) == 2) >= 2)
    cell[0], cell[:, 0], cell[:, :, 0] = 1e-5 * cell[0], 1e-5 * cell[:, 0], 1e-5 * cell[:, :, 0]
    expected = assembled(cell)
    assert expected.max() < 2e-6
    np.testing.assert_allclose(effective_stiffness(cell, rtol=1e-10), expected, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(effective_stiffness(cell), expected, rtol=0, atol=2e-8)  # of the base's, the default tolerance squared


# ---- laws

def turn(cell, plane):
    "The material turned by 90 degrees from the first axis of a plane towards the second."
    return torch.rot90(cell, 1, plane)


@pytest.mark.parametrize("plane", [(0, 1), (1, 2), (2, 0)])
def test_a_turned_cell_has_the_turned_stiffness(plane):
    cell = noise(1, 4, low=0.01)
    C, turned = homogenize(torch.stack([cell, turn(cell, plane)]), rtol=1e-10).C
    axis = torch.eye(3, dtype=torch.float64)[3 - sum(plane)]
    close(turned, rotate_stiffness(C, axis_angle(axis, torch.tensor(np.pi / 2, dtype=torch.float64))), 1e-12)
    a, b = plane
    assert abs(C[a, a] - C[b, b]) > 5e-4  # the two directions differ, so the turn shows
    close(turned[[a, b], [a, b]], C[[b, a], [b, a]], 1e-12)


@pytest.mark.parametrize("make", [lambda o: o > 0.4, lambda o: 1e-4 + o**3], ids=["binary", "grey"])
def test_octant_and_whole_cell_agree(make):
    octants = {"mirror": noise(2, 4), "cubic": cubic(noise(2, 4))}
    for symmetry, octant in octants.items():
        cell = mirrored(make(octant).double())
        parts = [homogenize(cell, symmetry=s, rtol=1e-10) for s in ("auto", "none")]
        assert [part.symmetry for part in parts] == [(symmetry,), ("none",)]
        np.testing.assert_allclose(*(part.C for part in parts), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bool])
def test_an_octant_needs_no_unfolding(dtype):
    "The same stiffness to the last bit, alone and in a batch, and the same gradient."
    octants = torch.stack([cubic(noise(22, 4)), noise(23, 4), cubic(noise(24, 4)) ** 3])
    octants = octants > 0.5 if dtype == torch.bool else octants.to(dtype)
    folded = homogenize(octants, symmetry="octant")
    whole = homogenize(mirrored(octants))
    assert folded.symmetry == whole.symmetry == ("cubic", "mirror", "cubic")
    assert (folded.C == whole.C).all() and (folded.iterations == whole.iterations).all()
    assert (homogenize(octants[0], symmetry="octant").C == effective_stiffness(mirrored(octants[0]))).all()
    if dtype == torch.float64:
        octant, cell = octants[1].clone().requires_grad_(), mirrored(octants[1]).requires_grad_()
        homogenize(octant, symmetry="octant").C[0, 1].backward()
        homogenize(cell).C[0, 1].backward()
        close(octant.grad, 8 * cell.grad[:4, :4, :4], 1e-12)


def test_a_cubic_cell_may_be_taken_for_less():
    cell = mirrored(cubic(noise(3, 3, low=0.1)))
    parts = [homogenize(cell, symmetry=s, rtol=1e-10) for s in ("cubic", "mirror", "none")]
    for part in parts[1:]:
        np.testing.assert_allclose(part.C, parts[0].C, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factor", [1e-8, 0.3, 70e9])
def test_stiffness_scales_with_the_base(factor):
    cells = [noise(4, 4), mirrored(cubic(noise(4, 2)) > 0.5).double()]
    for cell in cells:
        close(effective_stiffness(factor * cell, rtol=1e-8), factor * effective_stiffness(cell, rtol=1e-8), 1e-12)


def least(C):
    return float(torch.linalg.eigvalsh(C).min())


def test_bounds_of_reuss_and_voigt():
    cells = torch.stack([noise(5, 4, low=low) for low in (0.001, 0.1, 0.6)])
    for cell, C in zip(cells, effective_stiffness(cells)):
        assert least(cell.mean() * SOLID - C) > 1e-4 and least(C - SOLID / (1 / cell).mean()) > 1e-4


def test_bound_of_hashin_and_shtrikman():
    "Of the bulk modulus, which holds for every cubic cell; a spherical pore comes close to it."
    K, G = isotropic_moduli(SOLID)
    x = (np.arange(24) + 0.5) / 24 - 0.5
    r = np.sqrt(x[:, None, None]**2 + x[:, None]**2 + x**2)
    cells = [r > 0.3, r > 0.45, rebuilt("trig", 16), rebuilt("sc_bars", 16), rebuilt("plates", 16)]
    share = []
    for cell in cells:
        C = effective_stiffness(cell)
        share.append(float((C[0, 0] + 2 * C[0, 1]) / 3 / hashin_shtrikman(float(K), float(G), cell.mean())[0]))
    assert max(share) < 1 and share[0] > 0.98 and min(share) > 0.1


@pytest.mark.parametrize("symmetry", ["none", "cubic"])
def test_eight_cells_are_one(symmetry):
    cell = noise(6, 3) > 0.3 if symmetry == "none" else mirrored(cubic(noise(6, 2)) > 0.4)
    C = homogenize(torch.stack([cell.repeat(2, 2, 2)]), rtol=1e-10, symmetry=symmetry).C[0]
    np.testing.assert_allclose(C, effective_stiffness(cell, rtol=1e-10), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape, spacing", [((4, 6, 3), (1, 1, 1)), ((4, 4, 4), (1, 0.5, 1.6)), ((3, 2, 5), (0.2, 1, 0.7))])
@pytest.mark.parametrize("voids", [False, True])
def test_bricks_against_an_assembly(shape, spacing, voids):
    "Other numbers of voxels, other edges; the unit of the spacing does not count, nor what else is in the batch."
    E = np.random.default_rng(0).uniform(0.2, 1, shape)
    if voids:
        E[1, :, 1:] = 0
    found = homogenize(np.stack([E, E[::-1]]), spacing=spacing, rtol=1e-8)
    close(found.C[0], assembled(E, spacing=spacing), 1e-9)
    close(homogenize(E, spacing=[0.01 * edge for edge in spacing], rtol=1e-8).C, found.C[0], 1e-12)
    assert found.symmetry == ("none", "none")
    close(homogenize(E.astype(np.float32), spacing=spacing, rtol=1e-4, dtype=torch.float32).C, found.C[0], 1e-5)


@pytest.mark.parametrize("shape, spacing", [((6, 2, 3), (1, 1, 1)), ((6, 2, 2), (0.1, 2, 0.4))])
def test_laminates_of_bricks(shape, spacing):
    "Whatever the voxels look like."
    layers = torch.tensor([1.0, 0.2, 0.2, 0.05, 1.0, 0.7], dtype=torch.float64)
    cube, brick = (homogenize(layers[:, None, None].expand(s), rtol=1e-9, **o).C for s, o in (((6, 6, 6), {}), (shape, {"spacing": spacing})))
    close(brick, cube, 1e-11)


def test_gradient_of_bricks():
    "Against differences."
    E = torch.rand(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.2
    E.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: homogenize(x, spacing=(1, 2, 0.5), rtol=1e-10).C, (E,), eps=1e-6, atol=1e-7)


@pytest.mark.parametrize("poisson", [-0.7, 0.0, 0.3, 0.49])
def test_laminates(poisson):
    "Backus: exact also in voxels, for the displacements are linear in each layer."
    layers = torch.tensor([1.0, 0.2, 0.2, 0.05, 1.0, 0.7], dtype=torch.float64)
    c = base_stiffness(poisson)
    mean, harmonic = layers.mean(), 1 / (1 / layers).mean()
    expected = torch.zeros(6, 6, dtype=torch.float64)
    expected[0, 0], expected[4, 4], expected[5, 5], expected[3, 3] = c[0, 0] * harmonic, c[3, 3] * harmonic, c[3, 3] * harmonic, c[3, 3] * mean
    expected[0, 1] = expected[0, 2] = expected[1, 0] = expected[2, 0] = c[0, 1] * harmonic
    for i, j in ((1, 1), (1, 2), (2, 1), (2, 2)):
        expected[i, j] = c[i, j] * mean + c[0, 1]**2 / c[0, 0] * (harmonic - mean)
    cells = [layers[:, None, None].expand(6, 6, 6), torch.cat([layers, layers.flip(0)])[:, None, None].expand(12, 12, 12)]
    for cell, symmetry in zip(cells, ("none", "mirror")):
        found = homogenize(cell, poisson=poisson, rtol=1e-9)
        assert found.symmetry == (symmetry,)
        close(found.C, expected, 1e-11)


def test_no_cells_have_no_stiffness():
    assert homogenize(torch.ones(0, 8, 8, 8)).C.shape == homogenize(torch.ones(0, 4, 4, 4), symmetry="octant").C.shape == (0, 6, 6)


@pytest.mark.parametrize("symmetry", ["auto", "none"])
def test_nothing_where_nothing_connects(symmetry):
    def C(cell, **options):
        return effective_stiffness(cell, symmetry=symmetry, rtol=1e-8, **options)
    empty, island, plate = torch.zeros(3, 8, 8, 8, dtype=torch.float64)
    island[2:6, 2:6, 2:6], plate[3:5] = 1, 1
    np.testing.assert_array_equal(C(empty), 0)
    np.testing.assert_allclose(C(island), 0, atol=1e-12)
    found, stress = C(plate), 0.25 / (1 - 0.3**2)  # a sheet under plane stress
    expected = torch.zeros(6, 6, dtype=torch.float64)
    expected[1, 1] = expected[2, 2] = stress
    expected[1, 2] = expected[2, 1] = 0.3 * stress
    expected[3, 3] = 0.25 / 2.6
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_allclose(C(torch.ones(8, 8, 8, dtype=torch.float64)), SOLID, rtol=1e-14, atol=1e-15)
    framed = torch.ones(16, 16, 16, dtype=torch.float64)
    framed[4:12, 4:12, 4:12] = 0
    holding = framed.clone()
    holding[6:10, 6:10, 6:10] = 1
    np.testing.assert_allclose(C(holding), C(framed), rtol=0, atol=1e-12)


def test_single_precision():
    cells = torch.stack([mirrored(cubic(noise(7, 6)) > t) for t in (0.4, 0.5)]).double()
    cells = torch.cat([cells, 1e-3 + (1 - 1e-3) * mirrored(cubic(noise(7, 6))**3)[None]])
    double, single = effective_stiffness(cells, rtol=1e-8), homogenize(cells, dtype=torch.float32, rtol=1e-5)
    assert single.C.dtype == torch.float64
    np.testing.assert_allclose(single.C, double, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(homogenize(cells.float(), rtol=1e-5).C.numpy() == 0, double.numpy() == 0)


def test_the_error_is_the_square_of_the_tolerance():
    cell = rebuilt("trig", 16)
    exact = effective_stiffness(cell, rtol=1e-11)
    for rtol, error in ((1e-2, 2e-3), (1e-3, 2e-5), (1e-4, 2e-7)):
        C = effective_stiffness(cell, rtol=rtol)
        assert 0 < abs(C - exact).max() < error
        assert (C - exact).diagonal().min() > -1e-12  # an energy from above


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_batch_is_its_cells(dtype):
    octants = noise(8, 4, 6)
    cells = [noise(8, 8), mirrored(cubic(octants[0])), mirrored(octants[1]), mirrored(cubic(octants[2]) > 0.5), torch.zeros(8, 8, 8),
             noise(9, 8) > 0.4, torch.ones(8, 8, 8), mirrored(octants[3] > 0.4)]
    cells = torch.stack([cell.double() for cell in cells])
    together = homogenize(cells, dtype=dtype)
    assert together.symmetry == ("none", "cubic", "mirror", "cubic", "cubic", "none", "cubic", "mirror")
    for i, cell in enumerate(cells):
        alone = homogenize(cell, dtype=dtype, preconditioner="scaled" if i in (3, 5, 7) else "auto")  # a batch with grey cells is solved as they need it
        assert alone.symmetry == together.symmetry[i:i + 1] and abs(alone.iterations - together.iterations[i]) <= 1
        np.testing.assert_allclose(alone.C, together.C[i], rtol=0, atol=1e-12 if dtype == torch.float64 else 1e-7)


def test_preconditioners_agree():
    for cell in (noise(10, 6) > 0.4, noise(10, 6)**3):
        np.testing.assert_allclose(*(effective_stiffness(cell, preconditioner=p, rtol=1e-10) for p in ("green", "scaled")), rtol=0, atol=1e-12)


def test_iterations_do_not_grow_with_the_resolution():
    steps = {name: [int(homogenize(rebuilt(name, N), rtol=1e-6).iterations) for N in (16, 32)] for name in ("trig", "cube_void", "grey")}
    assert all(fine <= coarse + 8 and fine <= 55 for coarse, fine in steps.values()), steps


def test_an_earlier_solution_is_a_good_guess():
    octant = cubic(noise(11, 6)) + 0.05
    first = solve(octant[None], symmetry="cubic", rtol=1e-6)
    second = solve(octant[None], symmetry="cubic", rtol=1e-6, guess=first.displacement)
    assert second.iterations.max() <= 1 < first.iterations.min()
    close(stiffness_of(second.constants), stiffness_of(first.constants), 1e-9)


# ---- gradients

@pytest.mark.parametrize("kind", ["cubic", "mirror", "none"])
@pytest.mark.parametrize("make", [lambda o: 0.02 + 0.9 * (o > 0.5).double(), lambda o: 0.02 + 0.9 * o**3], ids=["binary", "grey"])
def test_gradient(kind, make):
    change = {"cubic": lambda o: mirrored(cubic(o)), "mirror": mirrored, "none": lambda o: o}[kind]
    N = 4 if kind == "none" else 3
    octant = noise(12, N)
    cell, direction = change(make(cubic(octant) if kind == "cubic" else octant)), change(noise(13, N) - 0.5)
    weights = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def objective(cell):
        found = homogenize(cell, poisson=0.2, e_void=0.03, rtol=1e-11)
        assert found.symmetry == (kind,)
        return (weights * found.C).sum() + torch.logdet(found.C)

    cell.requires_grad_()
    (gradient,) = torch.autograd.grad(objective(cell), cell)
    with torch.no_grad():
        step = 1e-4 * direction
        difference = (8 * (objective(cell + step) - objective(cell - step)) - objective(cell + 2 * step) + objective(cell - 2 * step)) / 12e-4
    assert float((gradient * direction).sum()) == pytest.approx(float(difference), rel=1e-8)
    close(gradient, change(gradient[:N, :N, :N]).detach(), 1e-12)  # as symmetric as the cell


def test_gradient_of_a_batch_of_mixed_symmetries():
    cells = torch.stack([noise(14, 6, low=0.1), mirrored(cubic(noise(15, 3, low=0.1))), mirrored(noise(16, 3, low=0.1))])
    together = cells.clone().requires_grad_()
    effective_stiffness(together).square().sum().backward()
    for cell, gradient in zip(cells, together.grad):
        alone = cell.clone().requires_grad_()
        effective_stiffness(alone).square().sum().backward()
        close(gradient, alone.grad, 1e-12)


def test_a_gradient_in_single_precision():
    cell = mirrored(cubic(noise(17, 4, low=0.1)))
    gradients = []
    for dtype in (torch.float64, torch.float32):
        leaf = cell.clone().requires_grad_()
        homogenize(leaf, dtype=dtype, rtol=1e-5).C[0, 1].backward()
        assert leaf.grad.dtype == leaf.dtype
        gradients.append(leaf.grad)
    close(*gradients, 1e-4)


# ---- bad input

CUBE = torch.ones(4, 4, 4, dtype=torch.float64)
HALF = noise(0, 4) > 0.4


def spoiled(value):
    cell = CUBE.clone()
    cell[1, 2, 3] = value
    return cell


@pytest.mark.parametrize("cell, options, names", [
    (torch.ones(4, 4, 6), {"symmetry": "mirror"}, ("symmetry of a cell that is no cube", "'mirror'", "auto, none")),
    (CUBE, {"symmetry": "cubic", "spacing": (1, 1, 2)}, ("symmetry of a cell that is no cube", "'cubic'", "auto, none")),
    (CUBE, {"spacing": (1, 1)}, ("spacing.shape", "(2,)", "(3,)")),
    (CUBE, {"spacing": (1, 1, -1)}, ("spacing", "-1", "above 0")),
    (torch.ones(4, 4), {}, ("designs", "(4, 4)", "(L, M, N)")),
    (torch.ones(1, 1, 4, 4, 4), {}, ("designs", "(1, 1, 4, 4, 4)", "(B, L, M, N)")),
    (torch.ones(1, 1, 1), {}, ("designs", "(1, 1, 1)", "at least 2")),
    (spoiled(float("nan")), {}, ("designs", "1 value", "finite")),
    (spoiled(float("inf")), {}, ("designs", "1 value", "finite")),
    (spoiled(-0.25), {}, ("designs", "-0.25", "0 (void) or more")),
    (CUBE, {"poisson": 0.5}, ("poisson", "0.5", "in (-1, 0.5)")),
    (CUBE, {"poisson": -1.0}, ("poisson", "-1.0", "in (-1, 0.5)")),
    (CUBE, {"poisson": float("nan")}, ("poisson", "nan", "a finite number")),
    (CUBE, {"e_void": -0.1}, ("e_void", "-0.1", "[0, 1)")),
    (CUBE, {"e_void": 1.0}, ("e_void", "1.0", "[0, 1)")),
    (CUBE, {"symmetry": "eighth"}, ("symmetry", "'eighth'", "cubic", "mirror", "none")),
    (torch.as_tensor(rebuilt("gyroid", 8)), {"symmetry": "cubic"}, ("symmetry", "'cubic'", "not mirror symmetric", "'auto'")),
    (torch.as_tensor(rebuilt("gyroid", 8)), {"symmetry": "mirror"}, ("symmetry", "'mirror'", "not mirror symmetric", "'auto'")),
    (torch.as_tensor(rebuilt("laminate_x", 8)), {"symmetry": "cubic"}, ("symmetry", "'cubic'", "equal along its axes", "'auto'")),
    (torch.ones(5, 5, 5), {"symmetry": "cubic"}, ("symmetry", "'cubic'", "'auto'")),
    (HALF, {"dtype": torch.float16}, ("dtype", "float16", "torch.float32, torch.float64")),
    (HALF, {"preconditioner": "jacobi"}, ("preconditioner", "'jacobi'", "green", "scaled")),
    (HALF, {"rtol": 0.0}, ("rtol", "0.0", "(0, 1)")),
    (HALF, {"rtol": 1.0}, ("rtol", "1.0", "(0, 1)")),
    (HALF, {"rtol": 1e-8, "dtype": torch.float32}, ("rtol", "1e-08", "float32")),
    (HALF, {"rtol": 1e-8, "max_iterations": 3}, ("rtol", "1e-08", "not reached", "residual", "3 iterations", "larger rtol")),
])
def test_bad_input(cell, options, names):
    with pytest.raises(ValueError) as error:
        effective_stiffness(cell, **options)
    for name in names:
        assert name in str(error.value), error.value


def test_bad_cells_in_a_batch_are_found():
    with pytest.raises(ValueError, match="design 1 is not mirror symmetric"):
        homogenize(torch.stack([CUBE, HALF.double()]), symmetry="cubic")
    with pytest.raises(ValueError, match="symmetry is 'auto'"):
        solve(CUBE[None], symmetry="auto")


def test_a_gyroid_is_not_taken_for_an_octant():
    "Its octant unfolds to another cell, of another stiffness."
    gyroid = torch.as_tensor(rebuilt("gyroid", 8))
    wrong = stiffness_of(solve(gyroid[None, :4, :4, :4].contiguous(), symmetry="cubic").constants)[0]
    assert abs(effective_stiffness(gyroid) - wrong).max() > 0.01


# ---- the benchmark

@pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks belong to the checkout, not to the package")
def test_the_benchmark_runs(tmp_path):
    run = subprocess.run([sys.executable, str(ROOT / "benchmarks/voxel_homogenize.py"), "--quick", "--peers", "--out", str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    record = json.loads((tmp_path / "voxel_homogenize.json").read_text())
    assert {row["N"] for row in record["cost"]} == {8, 16} and all(row["error"] < 1e-4 for row in record["cost"])
    assert (tmp_path / "voxel_homogenize.png").stat().st_size > 10_000


@pytest.mark.parametrize("dtype, factor", [(torch.float32, 1e-22), (torch.float32, 1e20), (torch.float64, 1e-170), (torch.float64, 1e200)])
def test_very_small_and_large_moduli_only_scale_the_result(dtype, factor):
    cell = torch.rand(6, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.1
    expected = effective_stiffness(cell, rtol=1e-5)
    np.testing.assert_allclose(effective_stiffness((cell * factor).to(dtype), rtol=1e-5).double() / factor, expected, rtol=1e-5, atol=1e-6)


def test_views_with_negative_strides_are_cells():
    cell = np.random.default_rng(0).random((4, 4, 4))
    np.testing.assert_allclose(homogenize(np.flip(cell, 0), rtol=1e-8).C[0, 0], homogenize(cell, rtol=1e-8).C[0, 0], rtol=1e-9)


@pytest.mark.parametrize("cell, options, name", [
    (torch.ones(4, 4, 4, dtype=torch.complex64), {}, "designs"), (None, {}, "designs"), ("abc", {}, "designs"), (HALF, {"poisson": "a"}, "poisson"),
    (HALF, {"rtol": "a"}, "rtol"), (HALF, {"max_iterations": 2.5}, "max_iterations"), (HALF, {"max_iterations": 0}, "max_iterations"),
    (HALF, {"device": "tpu"}, "device"), (HALF, {"rtol": 1e-6, "dtype": torch.float32}, "1.19e-06")])
def test_arguments_of_wrong_kinds_are_named(cell, options, name):
    with pytest.raises(ValueError, match=name):
        effective_stiffness(cell, **options)


@pytest.fixture
def interpreter(monkeypatch):
    "Triton's, which runs the kernel for GPUs on the CPU."
    pytest.importorskip("triton", reason="Triton is not installed; it has wheels for Linux alone")
    from metanb.voxel.kernels import _kernel
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    _kernel.cache_clear()
    yield
    _kernel.cache_clear()


@pytest.mark.parametrize("dtype, most", [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_the_kernel_for_gpus_gathers_what_elements_scatter(interpreter, dtype, most):
    generator = torch.Generator().manual_seed(0)
    E = torch.rand(2, 3, 6, 5, generator=generator, dtype=dtype)
    E[0, 1] = 0
    u = torch.randn(2, 3, 4, 7, 6, generator=generator, dtype=dtype)
    k = torch.randn(24, 24, generator=generator, dtype=dtype)  # any matrix, so that no symmetry hides a wrong index
    expected = stiffness_times(E, u, k)
    assert (gathered_times(E, u, k) - expected).abs().max() < most * expected.abs().max()


@pytest.mark.parametrize("symmetry, N, dtype", [("cubic", 4, torch.float64), ("none", 2, torch.float32)])
def test_a_cell_is_homogenised_by_the_kernel_for_gpus(interpreter, symmetry, N, dtype):
    cell = np.random.default_rng(0).random((N, N, N)) if symmetry == "none" else family("schwarz_p", N, 0.5)
    plain, quick = (homogenize(cell, symmetry=symmetry, dtype=dtype, rtol=0.05, gpu=gpu) for gpu in ((), ("gathered",)))
    assert torch.equal(plain.iterations, quick.iterations) and (plain.C - quick.C).abs().max() < 1e-6


@pytest.mark.parametrize("kind", ["fp32", "fp64"])
def test_the_kernel_is_built_for_an_h200_and_spills_nothing(kind, tmp_path, monkeypatch):
    pytest.importorskip("triton", reason="Triton is not installed; it has wheels for Linux alone")
    import triton
    from triton.compiler import ASTSource

    from lowering import pretend_h200
    from metanb.voxel.kernels import _kernel
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    names = {name: f"*{kind}" for name in ("out", "E", "u", "k")} | dict.fromkeys("lmn", "i32") | {"BLOCK": "constexpr"}
    _kernel.cache_clear()
    with pretend_h200():
        source = ASTSource(_kernel(), names, constexprs={(7,): 128}, attrs={(i,): [["tt.divisibility", 16]] for i in range(4)})
        built = triton.compile(source, options={"num_warps": 4})
    (tmp_path / "kernel.ptx").write_text(built.asm["ptx"])
    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    tool = tools / ("ptxas-blackwell" if (tools / "ptxas-blackwell").is_file() else "ptxas")  # the newer one
    said = subprocess.run([tool, "-v", "-arch=sm_90a", tmp_path / "kernel.ptx", "-o", tmp_path / "kernel.cubin"], capture_output=True, text=True)
    assert said.returncode == 0 and "0 bytes spill stores" in said.stderr, said.stderr
