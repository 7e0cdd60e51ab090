"Surfaces of trusses are closed whatever the design; interrupted or refused writing leaves nothing."
import os
from io import BytesIO

import numpy as np
import pytest

from metanb.truss.criteria import pore_size
from metanb.truss.design import TrussDesign, random_designs
from metanb.core.files import write_file
from metanb.truss.export import TrussGraph, export_truss, graph, surface

trimesh = pytest.importorskip("trimesh")
DESIGNS = random_designs(60, seed=7)


@pytest.mark.parametrize("row", [0, 4, 15, 18, 19, 24, 26, 30, 34, 38, 40, 46, 49, 52])
def test_watertight(row):
    truss = graph(DESIGNS[row])
    mesh = surface(truss, 2 * truss.radii.min() / 3.2)  # nearly the coarsest grid that is allowed
    back = trimesh.load(BytesIO(mesh.export(file_type="stl")), file_type="stl")
    assert mesh.is_watertight and back.is_watertight and mesh.is_winding_consistent and mesh.body_count == 1
    assert 0.7 < mesh.volume / truss.beam_volume() < 1


def test_shares_do_not_depend_on_the_block():
    "A larger block has the same volume a cell."
    one, many = graph(DESIGNS[3]), graph(DESIGNS[3], repeats=(2, 3, 2))
    assert np.isclose(many.beam_volume(shared=True), 12 * one.beam_volume(shared=True), rtol=1e-12)


def test_struts_of_unequal_radius(tmp_path):
    "Radii and moves reach the graph, the tables and a closed surface; the volume is that of the density."
    rng = np.random.default_rng(0)
    moves = np.concatenate([np.zeros((1, 1, 3)), rng.uniform(-0.2, 0.2, (1, 1, 3))], 1)
    design = TrussDesign.of((0, 1), (2, 1), density=0.06, U=(1, 1.2, 0.9), radii=rng.uniform(0.7, 1.4, (1, 11)), moves=moves)
    truss = graph(design, edge=2.0)
    assert len(np.unique(truss.radii.round(9))) == 11 and len(truss.struts) == 20  # every edge of the cube, not three of them
    assert np.isclose(truss.beam_volume(shared=True), 0.06 * 1.08 * 8, rtol=1e-9)
    files = export_truss(design, tmp_path, edge=2.0, formats=("stl", "csv"), resolution=2 * truss.radii.min() / 3.2)
    assert files.check.watertight and files.check.bodies == 1 and abs(files.check.deviation) < 0.01


def test_interrupted(tmp_path, monkeypatch):
    "A move that fails leaves the old file and no part of the new one."
    write_file(tmp_path / "a.csv", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ValueError, match="No space left"):
        write_file(tmp_path / "a.csv", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"] and (tmp_path / "a.csv").read_bytes() == b"old"


@pytest.mark.parametrize("change, word", [(dict(edge=float("nan")), "edge"), (dict(repeats=(1, 1)), "repeats"), (dict(repeats=(1, 1, 1.5)), "repeats"), (dict(formats=()), "formats"),
                                          (dict(resolution=float("nan")), "resolution"), (dict(resolution=-1.0), "resolution"), (dict(name="../x"), "name")])
def test_bad_export(tmp_path, change, word):
    with pytest.raises(ValueError, match=word):
        export_truss(DESIGNS[15], tmp_path / "out", **{"edge": 1.0, **change})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change, word", [(dict(nodes=np.zeros((2, 2))), r"nodes.shape is \(2, 2\)"), (dict(struts=np.array([[0, 2]])), r"struts\[0, 1\] is 2"),
                                          (dict(struts=np.array([[0, 0]])), r"length of struts\[0\] is 0"), (dict(struts=np.array([[0.0, 1.0]])), "struts.dtype is 'float64'"),
                                          (dict(radii=np.array([0.0])), r"radii\[0\] is 0"), (dict(shares=np.array([1.5])), r"shares\[0\] is 1.5"),
                                          (dict(struts=np.zeros((0, 2), int), radii=np.zeros(0), shares=np.zeros(0)), r"len\(struts\) is 0")])
def test_bad_graph(change, word):
    good = dict(nodes=np.array([[0, 0, 0], [1.0, 0, 0]]), struts=np.array([[0, 1]]), radii=np.array([0.1]), shares=np.ones(1))
    with pytest.raises(ValueError, match=word):
        TrussGraph(**{**good, **change})


def test_pore_keeps_its_promise():
    "A coarse tolerance gives a smaller pore, by no more than the tolerance."
    some = DESIGNS[[15, 18, 38]]
    fine, coarse = pore_size(some, tolerance=1e-3), pore_size(some, tolerance=5e-2)
    assert (coarse <= fine + 1e-3).all() and (fine <= coarse + 5e-2).all()


def test_a_beam_lattice_is_read_by_lib3mf(tmp_path):
    "Nodes, struts and radii come back through an independent reader, and the file is small."
    wrapper = pytest.importorskip("lib3mf").get_wrapper()
    truss = graph(DESIGNS[3], repeats=(2, 2, 2), edge=5.0)
    file = export_truss(DESIGNS[3], tmp_path, repeats=2, edge=5.0, formats=("beams",)).paths[0]
    model = wrapper.CreateModel()
    reader = model.QueryReader("3mf")
    reader.ReadFromFile(str(file))
    objects = model.GetMeshObjects()
    assert reader.GetWarningCount() == 0 and objects.MoveNext()
    mesh = objects.GetCurrentMeshObject()
    beams = [mesh.BeamLattice().GetBeam(k) for k in range(mesh.BeamLattice().GetBeamCount())]
    nodes = np.array([list(mesh.GetVertex(k).Coordinates) for k in range(mesh.GetVertexCount())])
    assert np.allclose(nodes, truss.nodes, atol=1e-5)
    assert np.array_equal([list(beam.Indices) for beam in beams], truss.struts)
    assert np.allclose([list(beam.Radii) for beam in beams], truss.radii[:, None], rtol=1e-6) and file.stat().st_size < 100_000
