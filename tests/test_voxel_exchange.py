"Cells from surfaces and images that other programs wrote (trimesh, VTK), and decks that another solver answers (CalculiX)."
import itertools
import re
import warnings
from pathlib import Path

import meshio
import numpy as np
import pytest
import trimesh

from metanb.core.calculix import available
from metanb.voxel.design import export_mesh, family, surface_mesh, volume_fraction
from metanb.voxel.exchange import ccx_stiffness, read_grid_cell, read_mesh_cell, read_stiffness, write_inp
from metanb.voxel.mechanics import effective_stiffness

needs_ccx = pytest.mark.skipif(not available(), reason="ccx is not on the path (apt install calculix-ccx)")
FILES = sorted((Path(__file__).parent / "data/voxel_exchange").iterdir())
N = 4


def skew(n):
    "A cell without any symmetry, in one piece, some faces of which are solid on one side only."
    x, y, z = np.meshgrid(*3 * [2 * np.pi * (np.arange(n) + 0.5) / n], indexing="ij")
    cell = np.sin(x) * np.cos(y) + np.sin(y) * np.cos(z) + np.sin(z) * np.cos(x) < 0.1
    cell[:, :2, :2] = cell[2, 2:, 1] = True
    cell[-1, :2, n // 2:] = cell[n // 2:, -1, :2] = False
    return cell


def counted(n):
    "The whole numbers in the files of VTK (make_voxel_exchange.py), voxel by voxel."
    values = np.zeros((n, n, n), int)
    for x, y, z in itertools.product(range(n), repeat=3):
        values[x, y, z] = (7 * (x % N) + 31 * (y % N) ** 2 + 11 * (z % N) * ((x % N) + 1)) % 100
    return values


# Surfaces

@pytest.mark.parametrize("cell", [skew(8), skew(9), family("octet", 8, 0.3), family("bars", 12, 0.1), np.random.default_rng(0).random((7, 7, 7)) < 0.4], ids=lambda cell: str(len(cell)))
@pytest.mark.parametrize("suffix", ["stl", "3mf", "obj", "ply"])
def test_a_cell_comes_back_bit_by_bit(cell, suffix, tmp_path):
    "Also one whose voxels touch along edges and corners only."
    for face in (cell[0], cell[:, 0], cell[:, :, 0], cell[-1], cell[:, -1], cell[:, :, -1]):
        assert face.any()  # so that the box is the period
    path = tmp_path / f"cell.{suffix}"
    if suffix in ("stl", "3mf"):
        export_mesh(cell, path, edge=7.3, loose=True)
    else:
        surface_mesh(cell).export(path)
    assert np.array_equal(read_mesh_cell(path, len(cell)), cell)


def test_twice_as_many_voxels_are_the_refined_cell(tmp_path):
    path = export_mesh(skew(8), tmp_path / "cell.stl").path
    assert np.array_equal(read_mesh_cell(path, 16), skew(8).repeat(2, 0).repeat(2, 1).repeat(2, 2))


@pytest.mark.parametrize("name", ["kelvin", "schwarz_p", "gyroid"])
def test_a_smooth_surface_comes_back_nearly(name, tmp_path):
    cell = family(name, 12, 0.4)
    path = export_mesh(cell, tmp_path / "cell.stl", smooth=True, loose=True).path
    assert (read_mesh_cell(path, 12) != cell).mean() <= 0.01


@pytest.mark.parametrize("turned", [None, (0.3, 1.1, 0.2)])
def test_solid_angles_find_the_same_points_inside(turned, tmp_path):
    "A torus beside a box: by the solid angles under which the triangles are seen (Van Oosterom and Strackee 1983)."
    torus = trimesh.creation.torus(0.3, 0.12, major_sections=24, minor_sections=12)
    box = trimesh.creation.box((0.31, 0.17, 0.23)).apply_translation([0.21, 0.02, 0.31])
    mesh = trimesh.util.concatenate([torus, box])
    if turned:
        mesh.apply_transform(trimesh.transformations.euler_matrix(*turned))
    mesh.export(tmp_path / "two.ply")
    cell = read_mesh_cell(tmp_path / "two.ply", 12, edge=1.2, origin=(-0.6, -0.6, -0.6))
    centres = np.stack(np.indices((12, 12, 12)), -1).reshape(-1, 3) / 10 - 0.55
    a, b, c = np.moveaxis(mesh.triangles[None] - centres[:, None, None], 2, 0)
    u, v, w = (np.linalg.norm(x, axis=-1) for x in (a, b, c))
    below = u * v * w + (a * b).sum(-1) * w + (b * c).sum(-1) * u + (c * a).sum(-1) * v
    turns = np.arctan2((a * np.cross(b, c)).sum(-1), below).sum(1) / (2 * np.pi)
    assert np.allclose(turns, np.rint(turns), atol=1e-6)
    assert np.array_equal(cell, (np.rint(turns) > 0).reshape(12, 12, 12)) and 0.03 < cell.mean() < 0.1


def test_what_sticks_out_reaches_into_the_next_period(tmp_path):
    "A strut around one edge of the period, half an edge to the side of its origin: the four quarters are one strut."
    strut = trimesh.creation.box((0.5, 0.25, 1.0)).apply_translation([0, 0, 0.5])
    strut.export(tmp_path / "strut.stl")
    cell = read_mesh_cell(tmp_path / "strut.stl", 8, edge=1.0, origin=(0, 0, 0))
    expected = np.zeros((8, 8, 8), bool)
    expected[np.ix_([6, 7, 0, 1], [7, 0], range(8))] = True
    assert np.array_equal(cell, expected)


def test_an_inverted_surface_and_a_cavity(tmp_path):
    cell = np.ones((6, 6, 6), bool)
    cell[2:4, 2:4, 1:4] = False
    mesh = surface_mesh(cell)
    mesh.invert()
    mesh.export(tmp_path / "cell.ply")
    assert np.array_equal(read_mesh_cell(tmp_path / "cell.ply", 6), cell)


@pytest.mark.parametrize("n, options, message", [
    (1, {}, "n is 1; allowed: a whole number from 2 to 512"),
    (8, {"edge": -1.0}, "edge is -1.0; allowed: a finite number above 0"),
    (8, {"edge": 1.0, "origin": (0, 0)}, "origin.shape is (2,); allowed: (3,)"),
    (8, {"origin": (0, 0, 0)}, "edge is None; allowed: the edge of one period, since origin is given"),
    (512, {"edge": 0.01}, "edge is 0.01; allowed: larger ones"),
    (8, {}, "size of the box around plate.stl is (1.0, 1.0, 0.5); allowed: a cube within 1 %, or edge="),
    (2, {"edge": 8.0, "origin": (-1, -1, -1)}, "n is 2; allowed: so many voxels, or an edge so small, that the centre of one is inside"),
])
def test_surfaces_that_are_no_period(n, options, message, tmp_path):
    trimesh.creation.box((1.0, 1.0, 0.5)).export(tmp_path / "plate.stl")
    with pytest.raises(ValueError, match=re.escape(message)):
        read_mesh_cell(tmp_path / "plate.stl", n, **options)


# Images

@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_vtk(path):
    "Text, binary, appended, base64, compressed in several blocks, both byte orders; at points the period is closed and counted once."
    name = {"array": "count"}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for threshold in (10, 50.5, 90):
            assert np.array_equal(read_grid_cell(path, **name, threshold=threshold), counted(N) > threshold)
        assert np.array_equal(read_grid_cell(path, **name, label=31), counted(N) == 31) and (counted(N) == 31).any()
    assert [str(w.message)[:50] for w in said] == (["the last planes of count repeat the first ones and"] * 4 if path.name.startswith("points") else [])
    assert len(said) == 0 or said[0].filename == __file__
    if path.name.startswith("points"):
        assert np.array_equal(read_grid_cell(path, **name, threshold=50, repeated=False), counted(N + 1) > 50)
    with pytest.raises(ValueError, match="count is .*an array of u?int|a value of count is|the values"):
        with warnings.catch_warnings(action="ignore"):
            read_grid_cell(path, **name)
    with pytest.raises(ValueError, match="array is 'density'; allowed: .*count"):
        read_grid_cell(path, array="density")
    with pytest.raises(ValueError, match="3 components'; allowed: scalars"):
        read_grid_cell(path, array="velocity")


def test_there_are_files_of_vtk():
    assert len(FILES) >= 24 and {path.suffix for path in FILES} == {".vtk", ".vti", ".vtr"}


@pytest.mark.parametrize("kind", ["text", "binary"])
def test_meshio_reads_the_same(kind, tmp_path):
    "Structured points become hexahedra there, in files up to version 4: each value with its centre."
    content = (Path(__file__).parent / f"data/voxel_exchange/cells_float32_{kind}.vtk").read_bytes()
    path = tmp_path / "cells.vtk"
    path.write_bytes(content.replace(b"Version 5.1", b"Version 4.2"))
    read = meshio.read(path)
    centres = read.points[read.cells_dict["hexahedron"]].mean(1)
    values = np.full((N, N, N), -1)
    values[tuple(np.floor(centres * N).astype(int).T)] = read.cell_data["count"][0].reshape(-1)
    assert np.array_equal(values > 40, read_grid_cell(path, array="count", threshold=40))


@pytest.mark.filterwarnings("ignore:the last planes of count")
def test_a_file_that_is_cut_short_is_refused(tmp_path):
    "Or what is lost was another array."
    refused = 0
    for path, part in itertools.product(FILES, (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)):
        content = path.read_bytes()
        (tmp_path / path.name).write_bytes(content[:int(part * len(content))])
        try:
            cell = read_grid_cell(tmp_path / path.name, array="count", threshold=50)
        except ValueError as error:
            refused += 1
            assert path.name in str(error) or "array is" in str(error)
        else:
            assert np.array_equal(cell, counted(N) > 50)
    assert refused > 5 * len(FILES)


@pytest.mark.parametrize("values, options, message", [
    (np.full((4, 4, 4), 255, np.uint8), {}, "of whole numbers only 0 (void) and 1 (solid): cell > 0 makes solid all that is not 0, cell == 2 what is labelled 2"),
    (np.full((4, 4, 4), 0.5), {}, "a value of cell is 0.5; allowed: 0 and 1 only, or threshold="),
    (np.full((4, 4, 4), np.nan), {"threshold": 0.5}, "64 values that are not finite"),
    (np.ones((4, 4, 5)), {}, "shape of cell in cell.npy is (4, 4, 5)"),
    (np.ones((4, 4, 4), complex), {}, "real numbers"),
    (np.ones((4, 4, 4)), {"threshold": 0, "label": 1}, "label is 1; allowed: None, or threshold=None"),
    (np.ones((4, 4, 4)), {"repeated": 1}, "repeated is 1; allowed: None, True, False"),
    (np.arange(64).reshape(4, 4, 4), {"threshold": 5, "repeated": True}, "repeated is True; allowed: False or None: the first and last planes of cell differ"),
    (np.ones((4, 4, 4)), {"threshold": "a"}, "threshold is 'a'; allowed: a finite number"),
])
def test_images_that_are_no_cell(values, options, message, tmp_path):
    np.save(tmp_path / "cell.npy", values)
    with pytest.raises(ValueError, match=re.escape(message)):
        read_grid_cell(tmp_path / "cell.npy", **options)


def test_arrays_of_numpy_are_taken_as_voxels(tmp_path):
    "An odd mirror-symmetric cell keeps its last plane, unless it is said to repeat the first one; any byte order."
    cell = np.zeros((9, 9, 9), bool)
    cell[3:6, 3:6] = cell[3:6, :, 3:6] = cell[:, 3:6, 3:6] = True
    for dtype in (bool, ">f4", ">i2", "<f8"):
        np.save(tmp_path / "cell.npy", cell.astype(dtype))
        assert np.array_equal(read_grid_cell(tmp_path / "cell.npy"), cell)
    assert np.array_equal(read_grid_cell(tmp_path / "cell.npy", repeated=True), cell[:8, :8, :8])


def test_the_period_counted_twice_would_be_another_cell(tmp_path):
    "What the warning saves from: the volume fraction of a laminate with its first plane twice."
    field = np.zeros((5, 5, 5))
    field[[0, 4]] = 1
    lines = ["# vtk DataFile Version 2.0", "", "ASCII", "DATASET STRUCTURED_POINTS", "DIMENSIONS 5 5 5", "ASPECT_RATIO 1 1 1", "ORIGIN 0 0 0", "POINT_DATA 125",
             "SCALARS a float", "LOOKUP_TABLE default", *map(str, field.transpose().reshape(-1))]
    (tmp_path / "laminate.vtk").write_text("\n".join(lines))
    with pytest.warns(UserWarning, match="4 voxels along each axis; repeated=False keeps all 5"):
        assert volume_fraction(read_grid_cell(tmp_path / "laminate.vtk")) == 0.25
    assert volume_fraction(read_grid_cell(tmp_path / "laminate.vtk", repeated=False)) == 0.4


# Decks

def solved(path, cases=6):
    "Stiffness of a deck by dense elimination in NumPy: elements by their own Gauss points, *EQUATION line by line."
    blocks = re.split(r"^\*", Path(path).read_text(), flags=re.M)
    def rows(start):
        return [[float(x) for x in line.split(",")] for block in blocks if block.upper().startswith(start) for line in block.splitlines()[1:]]
    nodes, elements, (E, nu) = np.array(rows("NODE, NSET=NALL"))[:, 1:], np.array(rows("ELEMENT"), int)[:, 1:] - 1, rows("ELASTIC")[0]
    lame, shear = E * nu / ((1 + nu) * (1 - 2 * nu)), E / (2 * (1 + nu))
    C = np.diag([2 * shear] * 3 + [shear] * 3)
    C[:3, :3] += lame
    K = np.zeros((3 * len(nodes), 3 * len(nodes)))
    corner = np.array([[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1], [-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
    for element in elements:
        k = np.zeros((24, 24))
        for g in corner / np.sqrt(3):
            terms = 1 + corner * g
            dN = np.stack([corner[:, i] * np.delete(terms, i, 1).prod(1) for i in range(3)], 1) / 8
            J = dN.T @ nodes[element]
            dN = dN @ np.linalg.inv(J).T
            B = np.zeros((6, 8, 3))
            for row, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
                B[row, :, i] += dN[:, j]
                if i != j:
                    B[row, :, j] += dN[:, i]
            B = B.reshape(6, 24)
            k += np.linalg.det(J) * B.T @ C @ B
        dof = (3 * element[:, None] + np.arange(3)).reshape(-1)
        K[np.ix_(dof, dof)] += k
    T = np.eye(len(K))  # all displacements from the free ones
    for equation in (block for block in blocks if block.startswith("EQUATION")):
        values = [float(x) for line in equation.splitlines()[2:] for x in line.split(",")]
        (s, *others), factors = [int(3 * (n - 1) + i - 1) for n, i in zip(values[::3], values[1::3])], values[2::3]
        assert T[s, s] == 1 and all(T[o, o] == 1 for o in others)  # tied once, to what is not tied
        T[s] = 0
        T[s, others] = -np.array(factors[1:]) / factors[0]
    K = T.T @ K @ T
    strain, held = np.arange(len(K) - 6, len(K)), (0, 1, 2)
    free = np.setdiff1d(np.flatnonzero(np.abs(T).sum(0)), [*held, *strain])
    inside = np.linalg.solve(K[np.ix_(free, free)], K[np.ix_(free, strain)])
    return (K[np.ix_(strain, strain)] - K[np.ix_(strain, free)] @ inside) / np.ptp(nodes[:-2], axis=0).max() ** 3


@pytest.mark.parametrize("n, edge", [(3, 1.0), (5, 2.5)])
def test_a_deck_holds_the_problem(n, edge, tmp_path):
    "Read line by line and solved densely, without CalculiX."
    cell = skew(n) if n > 3 else np.ones((3, 3, 3), bool)
    if n == 3:
        cell[1, 1, :2] = cell[0, 2, 2] = cell[2, 0, 1] = False
    path = write_inp(tmp_path / "cell.inp", cell, youngs_modulus=2100.0, poisson=0.25, edge=edge)
    expected = 2100 * effective_stiffness(cell, poisson=0.25, rtol=1e-8).numpy()
    assert np.allclose(solved(path), expected, rtol=0, atol=1e-8 * expected.max()) and abs(expected[0, 3:]).max() > 1e-4 * expected.max()


@needs_ccx
@pytest.mark.parametrize("cell, symmetry", [(skew(8), "none"), (family("schwarz_p", 8, 0.5), "cubic"), (family("schwarz_p", 8, 0.5), "none")], ids=["skew", "cubic", "cubic in six steps"])
def test_calculix_has_the_same_stiffness(cell, symmetry, tmp_path):
    expected = effective_stiffness(cell, poisson=0.35, rtol=1e-7).numpy()
    found = ccx_stiffness(cell, poisson=0.35, symmetry=symmetry, folder=tmp_path)
    assert np.allclose(found, expected, rtol=0, atol=1e-5 * expected[0, 0])  # it prints seven digits
    assert np.allclose(found[expected > 0.01 * expected[0, 0]], expected[expected > 0.01 * expected[0, 0]], rtol=1e-4)
    assert (tmp_path / "cell.inp").read_text().count("*STEP") == (2 if symmetry == "cubic" else 6)
    assert np.array_equal(read_stiffness(tmp_path / "cell.dat", 8), found)


def test_printed_tables_are_read(tmp_path):
    "Stresses come as 11, 22, 33, 12, 13, 23; two elements of eight points in a cell of eight voxels."
    def table(time, six):
        rows = "\n".join(f"  {1 + k // 8}  {1 + k % 8}  {' '.join(map(str, np.array(six)[[0, 1, 2, 5, 4, 3]]))}" for k in range(16))
        return f" stresses (elem, integ.pnt.,sxx,syy,szz,sxy,sxz,syz) for set SOLID and time  {time:.7E}\n\n{rows}\n\n"
    path = tmp_path / "cell.dat"
    C = np.arange(36.0).reshape(6, 6)
    path.write_text("\n" + "".join(table(k + 1, 4 * C[:, k]) for k in range(6)))
    assert np.array_equal(read_stiffness(path, 2), C)
    path.write_text("\n" + table(1, [20, 4, 8, 0, 0, 0]) + table(2, [0, 0, 0, 12, 0, 0]))
    cubic = read_stiffness(path, 2)
    assert np.array_equal(cubic[:3, :3], [[5, 1.5, 1.5], [1.5, 5, 1.5], [1.5, 1.5, 5]]) and np.array_equal(cubic[3:], np.diag([3.0] * 6)[3:])
    path.write_text("\n" + table(1, [1.0] * 6))
    with pytest.raises(ValueError, match="number of steps is 1; allowed: 2 or 6"):
        read_stiffness(path, 2)
    path.write_text("nothing")
    with pytest.raises(ValueError, match="cell.dat'; allowed: what CalculiX printed"):
        read_stiffness(path, 2)


def test_cells_that_can_move_are_refused(tmp_path):
    bar, two = np.zeros((2, 4, 4, 4), bool)
    bar[:, 1, 1] = two[:, 1] = two[2, 3, 3] = True
    for cell, message in ((bar, "a part that can turn"), (two, "a single part in the periodic cell"), (np.zeros((4, 4, 4)), "a single part")):
        with pytest.raises(ValueError, match=message):
            write_inp(tmp_path / "cell.inp", cell)
    assert not list(tmp_path.iterdir())
