"Voxel cells: reference cells rebuilt bit by bit, all 48 operations, files of an independent writer, closed surfaces."
import hashlib
import itertools
import json
import struct
import xml.etree.ElementTree as ET
import zipfile
from collections import deque
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from metanb.voxel.design import (CUBIC_FAMILIES, FAMILIES, components, coordinates, export_mesh, family, fold, import_cells, is_connected, is_cubic, is_mirror_symmetric, pack,
                                 percolates, random_designs, remove_islands, shape_similarity, surface_mesh, symmetrise, touches_boundary, unfold, unpack, volume_fraction)

REFERENCE = json.loads((Path(__file__).parent / "data/voxel_cells.json").read_text())["cells"]
OPERATIONS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def trig(x, y, z):
    "The formula of the reference cell `trig`."
    (a, b, c), (p, q, r) = [[np.cos(k * np.pi * t) for t in (x, y, z)] for k in (2, 4)]
    return -0.7 * (p + q + r) + 0.9 * (a * b + b * c + c * a) - 0.45 * (p * b + a * q + q * c + b * r + r * a + c * p) + 0.35 * (a + b + c)


FORMULAS = {  # the modulus of a voxel with centre (x, y, z)
    "solid": lambda x, y, z: 1.0 + 0 * (x + y + z),
    "laminate_x": lambda x, y, z: np.where(abs(x - 0.5) < 0.25, 1, 0.1) + 0 * (y + z),
    "cube_void": lambda x, y, z: 1.0 - ((abs(x - 0.5) < 0.25) & (abs(y - 0.5) < 0.25) & (abs(z - 0.5) < 0.25)),
    "sc_bars": lambda x, y, z: (FAMILIES["bars"](x, y, z) < 1 / 8).astype(float),
    "plates": lambda x, y, z: (FAMILIES["plates"](x, y, z) < 1 / 8).astype(float),
    "trig": lambda x, y, z: (trig(x, y, z) > 0.15).astype(float),
    "grey": lambda x, y, z: np.clip(0.5 + FAMILIES["schwarz_p"](x, y, z) / 4, 0.001, 1)**3,
    "gyroid": lambda x, y, z: (FAMILIES["gyroid"](x, y, z) < 0.1).astype(float),
}


def test_every_reference_cell_has_its_formula():
    assert REFERENCE.keys() == FORMULAS.keys()


@pytest.mark.parametrize("name, values", [(name, values) for name, cell in REFERENCE.items() for values in cell["values"]], ids=lambda x: x if isinstance(x, str) else str(x["N"]))
def test_reference_cells(name, values):
    "Axes, voxel centres and array order are those of the reference."
    cell = FORMULAS[name](*coordinates(values["N"]))
    assert np.isclose(cell.sum(), values["sum_E"], rtol=1e-12)
    if "n_solid" in values:
        assert (cell > 0).sum() == values["n_solid"] and np.isclose((cell > 0).mean(), values["vf"], rtol=1e-12)
    key = "sha256_of_uint8(E>0.5)_C_order_first16"
    if key in values:
        assert hashlib.sha256((cell > 0.5).astype(np.uint8).tobytes()).hexdigest()[:16] == values[key]
    assert is_cubic(cell > 0.5) == (name not in ("laminate_x", "gyroid"))
    assert is_mirror_symmetric(cell > 0.5) == (name != "gyroid")


def image(cell, operation):
    "One of the 48 mirror images and exchanges of axes."
    axes, signs = operation
    return cell.transpose(axes)[tuple(slice(None, None, sign) for sign in signs)]


def test_the_48_operations():
    "Exactly the cells that all 48 operations keep are cubic; a single voxel has an orbit of up to 48."
    assert len(OPERATIONS) == 48
    rng = np.random.default_rng(0)
    cell = unfold(symmetrise(rng.random((5, 5, 5))))
    assert is_cubic(cell) and all((image(cell, operation) == cell).all() for operation in OPERATIONS)
    one = np.zeros((8, 8, 8), bool)
    one[0, 1, 2] = True
    orbit = np.any([image(one, operation) for operation in OPERATIONS], 0)
    assert orbit.sum() == 48 and is_cubic(orbit) and not is_mirror_symmetric(one)
    assert (fold(orbit) == np.any([image(one, operation) for operation in OPERATIONS], 0)[:4, :4, :4]).all()
    for voxel in np.argwhere(orbit):
        broken = orbit.copy()
        broken[tuple(voxel)] = False
        assert not is_cubic(broken)


def test_mean_over_the_48_operations():
    "symmetrise and unfold make the mean over all images of an unfolded octant."
    octant = np.random.default_rng(1).random((4, 4, 4))
    cell = unfold(octant)
    mean = np.mean([image(cell, operation) for operation in OPERATIONS], 0)
    assert np.allclose(unfold(symmetrise(octant)), mean, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients(dtype):
    "Linear functions: the gradient is the adjoint."
    x = torch.rand(2, 3, 3, 3, dtype=dtype, requires_grad=True)
    w = torch.rand(2, 6, 6, 6, dtype=dtype)
    for f, value in ((lambda t: fold(unfold(t)), w[:, :3, :3, :3]), (lambda t: unfold(symmetrise(t)), w)):
        gradient, = torch.autograd.grad((f(x) * value).sum(), x)
        step = torch.rand_like(x) * 1e-2 * (1 - x.detach())
        assert torch.isclose((gradient * step).sum(), ((f(x + step) - f(x)) * value).sum(), rtol=1e-3)
    gradient, = torch.autograd.grad(volume_fraction(x).sum(), x)
    assert torch.allclose(gradient, torch.full_like(x, 1 / 27))
    assert unfold(x).dtype == symmetrise(x).dtype == volume_fraction(x).dtype == dtype


def walk(cell):
    "Components by a walk over voxels, and the axes along which a walk comes back to its start in another cell."
    n, seen, parts, reached = len(cell), {}, 0, np.zeros(3, bool)
    for start in map(tuple, np.argwhere(cell)):
        if start in seen:
            continue
        parts, seen[start], todo = parts + 1, np.zeros(3, int), deque([start])
        while todo:
            here = todo.popleft()
            for axis, sign in itertools.product(range(3), (1, -1)):
                there = np.array(here)
                there[axis] += sign
                shift, there = seen[here] + there // n, tuple(there % n)
                if not cell[there]:
                    continue
                if there in seen:
                    reached |= seen[there] != shift
                else:
                    seen[there] = shift
                    todo.append(there)
    return parts, reached


@pytest.mark.parametrize("seed", range(12))
def test_connectivity_against_a_walk(seed):
    rng = np.random.default_rng(seed)
    cell = rng.random(3 * (rng.integers(1, 8),)) < rng.uniform(0.05, 0.7)
    parts, reached = walk(cell)
    labels, count = components(cell)
    assert count == parts and (percolates(cell) == reached).all() and is_connected(cell) == (parts == 1)
    assert ((labels > 0) == cell).all() and labels.max() == count
    largest = remove_islands(cell)
    assert walk(largest)[0] == min(parts, 1) and largest.sum() == max([(labels == k).sum() for k in range(1, count + 1)], default=0)


def test_double_helix():
    "A strand that meets itself only two cells further."
    cell = np.zeros((8, 8, 8), bool)
    cell[:4, 0, 0] = cell[3, 0, :5] = cell[3:, 0, 4] = True
    cell[:2, 0, 4] = cell[1, :4, 4] = cell[1:6, 3, 4] = cell[5, 3, :5] = cell[5, :4, 0] = cell[5:, 0, 0] = True
    assert components(cell)[1] == 1 == walk(cell)[0]
    assert percolates(cell).tolist() == walk(cell)[1].tolist() == [True, False, False]
    assert touches_boundary(cell) is False


@pytest.mark.parametrize("name", CUBIC_FAMILIES)
def test_families_at_volume_fractions(name):
    "Every volume fraction from the thinnest cell on, within half an orbit; thicker cells contain thinner ones."
    before = np.zeros((24, 24, 24), bool)
    for share in np.arange(0.34, 1, 0.03):
        cell = family(name, 24, share)
        assert is_cubic(cell) and abs(volume_fraction(cell) - share) <= 24 / 24**3
        assert (cell >= before).all()
        before = cell


def write_octant(path, octant):
    "The published format, voxel by voxel: x fastest, least significant bit first."
    n = len(octant)
    content = bytearray(n**3 // 8)
    for x, y, z in np.argwhere(octant):
        place = int(x + n * (y + n * z))
        content[place // 8] |= 1 << place % 8
    path.write_bytes(content)


def test_import_of_published_files(tmp_path):
    "64^3 octants that are not symmetric, so that an exchange of axes is seen."
    rng = np.random.default_rng(2)
    octants, names = rng.random((3, 64, 64, 64)) < 0.02, ("9_0", "10_0", "10_1")
    stiffness = rng.random((3, 6, 6))
    for name, octant, C in zip(names, octants, stiffness):
        write_octant(tmp_path / f"{name}binary_voxel", octant)
        (tmp_path / f"{name}binary_C").write_bytes(struct.pack("<36f", *(1e6 * C).ravel()))
        (tmp_path / f"{name}vol").write_bytes(struct.pack("<f", octant.mean()))
    found, C, shares = import_cells(tmp_path)
    assert (found == octants).all() and found.dtype == bool
    assert np.allclose(C, stiffness, rtol=1e-6) and np.allclose(shares, octants.mean((1, 2, 3)), rtol=1e-6)
    assert pack(octants[0]).tobytes() == (tmp_path / "9_0binary_voxel").read_bytes()


@pytest.mark.parametrize("change, word", [(lambda f: (f / "0binary_voxel").write_bytes(b"\1" * 63), "63 bytes"), (lambda f: (f / "0binary_C").unlink(), "0binary_C"),
                                          (lambda f: (f / "0vol").write_bytes(struct.pack("<f", float("inf"))), "0vol"), (lambda f: (f / "0binary_C").write_bytes(b"\0" * 145), "145 bytes")])
def test_import_of_damaged_files(tmp_path, change, word):
    (tmp_path / "0binary_voxel").write_bytes(b"\1" * 64)
    (tmp_path / "0binary_C").write_bytes(struct.pack("<36f", *36 * [1]))
    (tmp_path / "0vol").write_bytes(struct.pack("<f", 0.125))
    assert import_cells(tmp_path, octant=8)[0].mean() == 0.125
    change(tmp_path)
    with pytest.raises(ValueError, match=word):
        import_cells(tmp_path, octant=8)


@pytest.mark.parametrize("name, repeats", [*((name, k) for name in FAMILIES for k in (1, 2)), ("octet", 3)])
def test_surfaces_are_closed(tmp_path, name, repeats):
    "Also after the STL's single precision; the volume is that of the voxels, and so are the bodies: cut out of its lattice, `gyroid_sheet` has crumbs."
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    cell = family(name, 20, 0.5)
    mesh = surface_mesh(cell, repeats)
    bodies = ndimage.label(np.tile(cell, 3 * (repeats,)))[1]
    assert (bodies > 1) == (name == "gyroid_sheet")
    found = export_mesh(cell, tmp_path / "cell.stl", repeats=repeats, edge=4.0, loose=bodies > 1)
    back = trimesh.load(found.path)
    assert (found.watertight, found.bodies) == (True, bodies) and abs(found.deviation) < 0.01
    for each, edge in ((mesh, 1.0), (back, 4.0)):
        assert each.is_watertight and each.is_winding_consistent
        assert abs(each.volume / (edge**3 * repeats**3 * volume_fraction(cell)) - 1) < 0.001
    assert np.allclose(back.bounds, 4 * mesh.bounds, atol=1e-5)


def test_finer_cells_are_closer():
    "The volume lost at the edges of smooth surfaces falls as 1/N."
    pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    lost = [1 - surface_mesh(np.ones(3 * (n,)), smooth=True).volume for n in (8, 16, 32)]
    assert lost[0] > 1.8 * lost[1] > 3.2 * lost[2] > 0


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_closed(tmp_path, seed):
    "Edges and corners where voxels just touch, in all combinations, binary and grey."
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    rng = np.random.default_rng(seed)
    grey = rng.choice([0, 0.3, 0.5, 0.501, 0.51, 0.7, 1], (12, 12, 12))
    for cell in (rng.random((12, 12, 12)) < rng.uniform(0.05, 0.95), grey):
        for smooth in (False, True):
            assert surface_mesh(cell, smooth=smooth).is_watertight
            found = export_mesh(cell, tmp_path / "noise.stl", smooth=smooth, loose=True)
            assert found.watertight and trimesh.load(found.path).is_watertight
            assert smooth or abs(found.deviation) < 0.01


def test_3mf(tmp_path):
    "Read with a plain XML parser."
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("skimage")
    cell = family("schwarz_p", 16, 0.4)
    space = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"
    model = ET.fromstring(zipfile.ZipFile(export_mesh(cell, tmp_path / "cell.3mf", repeats=2).path).read("3D/3dmodel.model"))
    vertices = [[float(v.get(axis)) for axis in "xyz"] for v in model.iter(f"{space}vertex")]
    mesh = trimesh.Trimesh(vertices, [[int(t.get(f"v{k}")) for k in (1, 2, 3)] for t in model.iter(f"{space}triangle")], process=False)
    assert mesh.is_watertight and model.get("unit") == "millimeter" and np.isclose(mesh.volume, 1000 * surface_mesh(cell, 2).volume, rtol=1e-6)


def test_random_designs_do_not_repeat():
    "Distinct, whatever the batch; every one with its mean."
    shares = np.linspace(0.05, 1, 20)
    octants = random_designs(20, seed=1, octant=6, volume_fraction=shares)
    assert np.allclose(volume_fraction(octants), shares, rtol=0, atol=1e-12) and np.all(is_cubic(unfold(octants)))
    solid = octants[5:15] > 0.5
    assert (shape_similarity(solid, solid) - np.eye(10)).max() < 0.99
    assert (random_designs(1, seed=1, octant=6, volume_fraction=0.05)[0] == octants[0]).all()


GOOD = np.zeros((4, 4, 4))


@pytest.mark.parametrize("call, word", [
    (lambda: unfold(np.zeros((4, 4, 3))), "octant.shape is"), (lambda: fold(np.zeros((5, 5, 5))), "even"), (lambda: pack(np.zeros((3, 3, 3))), "even"),
    (lambda: pack(GOOD + 0.5), "a density of octants is 0.5"), (lambda: symmetrise(GOOD - 1), "octant is an array with values"), (lambda: volume_fraction(GOOD * np.nan), "64 that are NaN"),
    (lambda: volume_fraction(GOOD + np.inf), "inf"), (lambda: is_connected(GOOD + 0.3), "0 and 1"), (lambda: components(GOOD[None]), "single cell"),
    (lambda: shape_similarity(GOOD, GOOD + 1), "without solid"), (lambda: unpack(np.zeros(8, np.int64), 4), "packed.dtype is"), (lambda: unpack(np.zeros(3, np.uint8), 3), "octant is 3"),
    (lambda: family("octet", 8, 1.01), "volume_fraction is 1.01"), (lambda: family("octet", 8, -0.1), "volume_fraction"), (lambda: family("octet", 7, 0.5), "voxels"),
    (lambda: random_designs(2, octant=4, volume_fraction=0.0), "volume_fraction is 0.0"), (lambda: random_designs(2, octant=4, volume_fraction=np.nan), "volume_fraction"),
    (lambda: random_designs(0, octant=4, volume_fraction=0.5), "n is 0"), (lambda: random_designs(2, octant=4.0, volume_fraction=0.5), "octant is 4.0"),
    (lambda: random_designs(2, octant=4, volume_fraction=0.5, low=0.6, high=0.5), "low is 0.6"), (lambda: import_cells("/nowhere"), "holds files")])
def test_bad_input(call, word):
    with pytest.raises(ValueError, match=word):
        call()
