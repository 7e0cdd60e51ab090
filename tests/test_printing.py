"Printed files, read back by another library than the one that wrote them."
import math
import sys

import meshio
import numpy as np
import pytest
import trimesh

from metanb.core import printing
from metanb.core.printing import check_print, write_mesh
from metanb.truss.design import random_designs
from metanb.truss.export import TrussGraph, export_truss, graph, surface
from metanb.voxel.design import export_mesh, family


def volume_of(path):
    "The divergence theorem on the triangles that meshio reads."
    read = meshio.read(path)
    a, b, c = np.moveaxis(read.points[read.cells_dict["triangle"]].astype(float), 1, 0)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def shortest_run(solid):
    "Fewest solid voxels in a row along any axis, counted one by one."
    least = math.inf
    for axis in range(3):
        for row in np.moveaxis(np.pad(solid, 1), axis, -1).reshape(-1, solid.shape[axis] + 2):
            ends = np.flatnonzero(np.diff(row.astype(int)))
            least = min(least, *(ends[1::2] - ends[::2])) if len(ends) else least
    return least


def walls(thickness):
    "Crossing plates."
    cell = np.zeros((12, 12, 12), bool)
    cell[:thickness] = cell[:, :thickness] = True
    return cell


@pytest.mark.parametrize("cell", [walls(1), walls(2), walls(3), family("octet", 12, 0.3) > 0.5, family("bars", 12, 0.1) > 0.5])
def test_voxels_are_printed_as_they_are(cell, tmp_path):
    "Volume by an independent reader; walls by counting."
    found = export_mesh(cell, tmp_path / "cell.stl", edge=6.0)
    voxel = 6.0 / len(cell)
    assert abs(found.volume / (cell.sum() * voxel**3) - 1) < 0.01 and abs(found.deviation) < 0.01
    assert math.isclose(volume_of(found.path), found.volume, rel_tol=1e-5)
    assert found.watertight and found.bodies == 1 and found.size == pytest.approx((6, 6, 6)) and (found.unit, found.stated) == ("mm", True)
    assert abs(found.thinnest - shortest_run(cell) * voxel) < 0.05 * voxel


@pytest.mark.parametrize("thickness", [1, 2, 4])
def test_walls_of_a_smooth_surface(thickness, tmp_path):
    "Within a voxel, though marching cubes are not what was homogenised: the deviation says so."
    found = export_mesh(walls(thickness), tmp_path / "cell.stl", edge=12.0, smooth=True)
    assert abs(found.thinnest - thickness) < 1 and math.isclose(found.deviation, volume_of(found.path) / walls(thickness).sum() - 1, abs_tol=1e-4)


def test_a_cell_in_pieces_is_refused_with_their_number(tmp_path):
    cell = np.zeros((8, 8, 8), bool)
    cell[::4, ::4, ::4] = True
    with pytest.raises(ValueError, match="hang together is 8; allowed: 1, or any with loose=True; the largest one has 12.5 %"):
        export_mesh(cell, tmp_path / "cell.stl")
    assert not list(tmp_path.iterdir())
    assert export_mesh(cell, tmp_path / "cell.stl", loose=True).bodies == 8


def test_closed_cavities_are_told(tmp_path):
    cell = np.ones((6, 6, 6), bool)
    cell[2:4, 2:4, 2:4] = False
    found = export_mesh(cell, tmp_path / "cell.stl", edge=6.0)
    assert (found.bodies, found.cavities) == (1, 1) and found.volume == pytest.approx(208, rel=1e-6) and found.thinnest == pytest.approx(2, abs=1e-4)


@pytest.mark.parametrize("row, across", [(15, 3), (18, 4)])
def test_trusses_have_the_volume_of_their_struts(row, across, tmp_path):
    "However coarse the grid is; the strut is as thick as it should be within the grid's spacing."
    design = random_designs(60, seed=7)[row]
    thick = 2 * float(graph(design, edge=5.0).radii.min())
    check = export_truss(design, tmp_path, edge=5.0, formats=("stl",), resolution=thick / across / 1.001).check
    assert abs(check.deviation) < 0.01 and check.bodies == 1 and math.isclose(volume_of(check.path), check.volume, rel_tol=1e-5)
    assert check.thinnest < thick + thick / across


def test_a_truss_in_two_pieces_is_refused(tmp_path):
    two = TrussGraph(np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]]), np.array([[0, 1], [2, 3]]), np.full(2, 0.1), np.ones(2))
    with pytest.raises(ValueError, match="hang together is 2"):
        write_mesh(surface(two), tmp_path / "two.stl")
    found = write_mesh(surface(two), tmp_path / "two.stl", loose=True)
    assert found.bodies == 2 and found.thinnest == pytest.approx(0.2, abs=0.2 / 8)


@pytest.mark.parametrize("kind", ["stl", "stl_ascii"])
def test_files_of_others(kind, tmp_path):
    "Text and binary, in inches, with an edge missing, inside out."
    tube = trimesh.creation.annulus(0.4, 0.5, height=2, sections=64)
    path = tmp_path / "tube.stl"
    path.write_bytes(data if isinstance(data := tube.export(file_type=kind), bytes) else data.encode())
    found = check_print(path, unit="in")
    assert found.watertight and found.bodies == 1 and not found.stated and found.size == pytest.approx((25.4, 25.4, 50.8), rel=1e-3)
    assert found.thinnest == pytest.approx(2.54, rel=0.01) and found.volume == pytest.approx(tube.volume * 25.4**3, rel=1e-4)
    tube.invert()
    tube.export(path)
    assert check_print(path).volume == pytest.approx(tube.volume, rel=1e-4) and check_print(path).volume < 0 and check_print(path).bodies == 1
    tube.update_faces(np.arange(len(tube.faces)) > 0)
    tube.export(path)
    found = check_print(path)
    assert not found.watertight and math.isnan(found.volume) and math.isnan(found.thinnest) and "not watertight" in str(found)


def test_without_embree(tmp_path, monkeypatch):
    "Slower rays find the same wall; where there would be too many, the result says that it is an upper bound."
    cell = walls(2)
    fast = export_mesh(cell, tmp_path / "cell.stl")
    monkeypatch.setitem(sys.modules, "trimesh.ray.ray_pyembree", None)
    slow = check_print(fast.path)
    assert not (fast.sampled or slow.sampled) and slow.thinnest == pytest.approx(fast.thinnest, rel=1e-5)
    monkeypatch.setattr(printing, "_WORK", 50 * 2000)
    few = check_print(fast.path)
    assert few.sampled and few.thinnest >= slow.thinnest * (1 - 1e-5) and f"thinnest wall at most {few.thinnest:.3g} mm" in str(few)


def test_paths_below_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    design = random_designs(60, seed=7)[15]
    found = export_truss(design, "~/out", edge=5.0, formats=("stl",), resolution=0.15)
    assert found.paths == [found.check.path] == [tmp_path / "out" / "truss.stl"] and check_print("~/out/truss.stl").volume == found.check.volume


@pytest.mark.parametrize("edge, edges", [(9.0, (9.0, 6.0, 12.0)), ((9.0, 5.0, 1.0), (9.0, 5.0, 1.0))])
def test_a_cell_that_is_no_cube_is_printed_with_its_edges(tmp_path, edge, edges):
    "One edge: the voxels are cubes; three: they are bricks."
    from metanb.voxel.design import export_mesh

    cell = np.ones((6, 4, 8), bool)
    cell[:, :2, :4] = False
    found = export_mesh(cell, tmp_path / "cell.stl", edge=edge, repeats=(2, 1, 1))
    low, high = trimesh.load(found.path).bounds
    np.testing.assert_allclose(high - low, [2 * edges[0], *edges[1:]], rtol=1e-6)
    assert found.volume == pytest.approx(2 * np.prod(edges) * 0.75)
