"Truss geometry and homogenisation against shared cases, exact formulas and a textbook frame element."
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from metanb.truss.design import COLUMNS, TrussDesign, from_table, random_designs, to_table
from metanb.truss.mechanics import deformation_modes, effective_stiffness
from metanb.truss.topology import LATTICES, compound, reduced, slots_of

DATA = Path(__file__).parent / "data"
CASES = json.loads((DATA / "truss_cases.json").read_text())["cases"]
PLAIN = dict(U=torch.ones(1, 3), V=torch.ones(1, 3), R_I=torch.eye(3)[None], R_II=torch.eye(3)[None])


def plain(*slots, density=0.05, **others):
    "One undeformed design."
    return TrussDesign.of(*slots, density=density, **others)


def element(v, A, poisson=0.3, shear_factor=0.9):
    "The 12 x 12 Timoshenko element of a strut with the vector v and cross section A."
    I, G = A * A / (4 * np.pi), 1 / (2 * (1 + poisson))
    l = np.linalg.norm(v)
    x = v / l
    y = np.linalg.svd(x[None])[2][1]
    R = np.array([x, y, np.cross(x, y)])
    phi = 12 * I / (shear_factor * G * A * l * l)
    k = np.zeros((12, 12))
    f = I / (l ** 3 * (1 + phi))
    for i, j, value in ((0, 0, A / l), (3, 3, 2 * G * I / l)):
        k[np.ix_([i, j + 6], [i, j + 6])] += value * np.array([[1, -1], [-1, 1]])
    for u, q, s in ((1, 5, 1), (2, 4, -1)):
        d = [u, q, u + 6, q + 6]
        k[np.ix_(d, d)] += f * np.array([[12, 6 * l * s, -12, 6 * l * s], [6 * l * s, (4 + phi) * l * l, -6 * l * s, (2 - phi) * l * l],
                                        [-12, -6 * l * s, 12, -6 * l * s], [6 * l * s, (2 - phi) * l * l, -6 * l * s, (4 + phi) * l * l]])
    T = np.kron(np.eye(4), R)
    return T.T @ k @ T


def strains(v):
    "(3, 6) displacements of the end of v under unit strains."
    out = np.zeros((3, 6))
    for m, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        e = np.zeros((3, 3))
        e[i, j] = e[j, i] = 1 if i == j else 0.5
        out[:, m] = e @ v
    return out


def textbook(design, poisson=0.3, shear_factor=0.9):
    "The same by a 12 x 12 Timoshenko element in local axes on the whole compound, one node held."
    c, F = compound(design.types[0], design.tessellations[0]), design.deformation_gradient()[0].numpy()
    V, L, n = np.linalg.det(F), c.vectors @ F.T, len(c.nodes)
    A = float(design.relative_density[0]) * V / np.linalg.norm(L, axis=1).sum()
    K, P, Q = np.zeros((6 * n, 6 * n)), np.zeros((6 * n, 6)), np.zeros((6, 6))
    for (a, b), v in zip(c.struts, L):
        k = element(v, A, poisson, shear_factor)
        affine = np.zeros((12, 6))
        affine[6:9] = strains(v)
        d = np.r_[6 * a:6 * a + 6, 6 * b:6 * b + 6]
        np.add.at(K, np.ix_(d, d), k)
        np.add.at(P, d, k @ affine)
        Q += affine.T @ k @ affine
    X = np.linalg.solve(K[3:, 3:], P[3:])
    return (Q - P[3:].T @ X) / V


@pytest.mark.parametrize("case", CASES, ids=lambda c: str(c["id"]))
def test_shared_cases(case):
    design = from_table([[case["descriptor"][k] for k in COLUMNS]])
    graph = compound(design.types[0], design.tessellations[0])
    assert (len(graph.nodes), len(graph.struts)) == (case["n_periodic_nodes"], case["n_periodic_struts"])
    for frame, key in (("full", "C_6x6_full"), ("orthotropic", "C_ort_6x6_at_F_eq_U")):
        expected = np.array(case[key])
        np.testing.assert_allclose(effective_stiffness(design, frame=frame)[0], expected, rtol=0, atol=1e-9 * expected.max())


@pytest.mark.parametrize("seed", range(6))
def test_against_textbook_element(seed):
    design = random_designs(1, seed=40 + seed)
    expected = textbook(design)
    np.testing.assert_allclose(effective_stiffness(design)[0], expected, rtol=0, atol=1e-9 * expected.max())


@pytest.mark.parametrize("types, tessellations", [([6, 5, 0], [1, 2, 1]), ([6, 6, 6], [2, 2, 2]), ([3, 4, 5], [1, 1, 1]), ([5, 5, 5], [1, 1, 1])])
def test_energy_of_the_modes(types, tessellations):
    "What the struts store under the displacements of the modes is the stiffness, and the mean strain is the given one."
    base = random_designs(1, seed=8)
    design = TrussDesign([types], [tessellations], torch.tensor([0.05], dtype=torch.float64), base.U, base.V, base.R_I, base.R_II)
    c, F = compound(types, tessellations), design.deformation_gradient()[0].numpy()
    modes, L = deformation_modes(design), c.vectors @ F.T
    np.testing.assert_allclose(modes.nodes, c.nodes @ F.T, atol=1e-12)
    A = 0.05 * np.linalg.det(F) / np.linalg.norm(L, axis=1).sum()
    motion = np.concatenate([modes.displacements, modes.rotations], -1)  # (6, N, 6)
    C, forces = np.zeros((6, 6)), np.zeros((6, len(c.nodes), 6))
    for (a, b), v in zip(c.struts, L):
        ends = np.concatenate([motion[:, a], motion[:, b]], 1)
        ends[:, 6:9] += strains(v).T
        k = element(v, A)
        C += ends @ k @ ends.T / np.linalg.det(F)
        np.add.at(forces, (slice(None), a), ends @ k[:, :6])
        np.add.at(forces, (slice(None), b), ends @ k[:, 6:])
    expected = effective_stiffness(design)[0].numpy()
    np.testing.assert_allclose(C, expected, rtol=0, atol=1e-10 * expected.max())
    assert abs(forces).max() < 1e-10 * A  # every node is in equilibrium


def test_lattices_are_the_shared_ones():
    def struts(vertices, pairs):
        ends = np.asarray(vertices)[np.asarray(pairs)]
        return {frozenset(tuple(np.round(p, 6) + 0.0) for p in e) for e in ends}
    for number, lattice in json.loads((DATA / "truss_lattices.json").read_text())["lattices"].items():
        mine = LATTICES[int(number)]
        assert struts(mine.vertices, mine.struts) == struts(lattice["vertices_in_unit_cube_0_1"], lattice["struts"])


@pytest.mark.parametrize("density", [0.002, 0.03, 0.1])
def test_exact_formulas(density):
    def b(A, l):
        I = A * A / (4 * np.pi)
        return 12 * I / (A * l * l) / (1 + 24 * 1.3 / 0.9 * I / (A * l * l))
    octet, bcc = effective_stiffness(plain((1, 1), density=density))[0], effective_stiffness(plain((2, 1), density=density))[0]
    x = b(density / (24 * np.sqrt(0.5)), np.sqrt(0.5))
    np.testing.assert_allclose([octet[0, 0], octet[0, 1], octet[3, 3]], [density / 6 * (1 + x), density / 12 * (1 - x), density / 12 * (1 + x)], rtol=1e-12)
    x = b(density / (8 * np.sqrt(0.75)), np.sqrt(0.75))
    np.testing.assert_allclose([bcc[0, 0], bcc[0, 1], bcc[3, 3]], density / 9 * np.array([1 + 2 * x, 1 - x, 1 + x / 2]), rtol=1e-12)
    U = torch.tensor([[0.6, 1.1, 1.9]], dtype=torch.float64)
    cubic, (u1, u2, u3) = effective_stiffness(plain((0, 1), density=density, U=U))[0].numpy(), U[0].numpy()
    V = u1 * u2 * u3
    A = density * V / (u1 + u2 + u3)
    I = A * A / (4 * np.pi)
    s1, s2 = (12 * I / (u * (1 + 24 * 1.3 / 0.9 * I / (A * u * u))) for u in (u1, u2))
    np.testing.assert_allclose([cubic[0, 0], cubic[0, 1], cubic[5, 5]], [A / (u2 * u3), 0, s1 * s2 / ((s1 + s2) * V)], rtol=1e-12, atol=1e-15)


def test_identities():
    designs = random_designs(40, seed=5)
    C = effective_stiffness(designs)
    assert (C[:, :3, :3].sum((1, 2)) <= designs.relative_density * (1 + 1e-9)).all()
    assert (torch.linalg.eigvalsh(C)[:, 0] > 0).all()
    whole, halved = plain((5, 1), (2, 1)), plain((5, 2), (2, 2))
    np.testing.assert_allclose(effective_stiffness(whole), effective_stiffness(halved), rtol=0, atol=1e-12)
    same = [effective_stiffness(plain(*slots))[0] for slots in (((3, 1), (4, 1)), ((0, 1), (2, 1)), ((0, 1), (3, 1)), ((0, 1), (4, 1)))]
    for other in same[1:]:
        np.testing.assert_allclose(other, same[0], rtol=0, atol=1e-12)
    one = effective_stiffness(designs[[7]])
    np.testing.assert_allclose(one[0], C[7], rtol=0, atol=1e-13)  # independent of the batch


@pytest.mark.parametrize("slots, exponent", [(((0, 1),), 2), (((2, 1),), 2), (((3, 1),), 2), (((5, 1),), 2), (((6, 1),), 2), (((1, 1),), 1), (((4, 1),), 1)])
def test_exponent_of_the_softest_mode(slots, exponent):
    low, high = (torch.linalg.eigvalsh(effective_stiffness(plain(*slots, density=d))[0])[0] for d in (1e-4, 2e-4))
    assert abs(torch.log2(high / low) - exponent) < 0.02


def test_stated_statistics():
    "Means of C_ort over the authors' 3,000,000 designs, within five standard errors of our 4000."
    C = effective_stiffness(random_designs(4000, seed=11), frame="orthotropic", dtype=torch.float64).numpy() * 1e3
    ours = np.stack([C[:, i, j] for i, j in ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2), (3, 3), (4, 4), (5, 5))], 1)
    mean = np.array([9.832, 3.585, 3.142, 8.529, 3.148, 12.381, 2.715, 2.707, 2.801])
    deviation = np.array([9.541, 2.970, 2.825, 8.926, 2.834, 11.670, 2.631, 2.619, 2.664])
    assert (abs(ours.mean(0) - mean) < 5 * deviation / np.sqrt(4000)).all(), (ours.mean(0), mean)
    np.testing.assert_allclose(ours.std(0), deviation, rtol=0.1)


def test_gradients():
    base = random_designs(1, seed=2)

    def stiffness(log_density, U, V, a, b):
        def turned(R, angle):
            c, s, o, l = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
            return R @ torch.stack([torch.stack([c, -s, o]), torch.stack([s, c, o]), torch.stack([o, o, l])])[None]
        return 1e3 * effective_stiffness(TrussDesign(base.types, base.tessellations, log_density.exp(), U, V, turned(base.R_I, a), turned(base.R_II, b)))
    inputs = [x.clone().requires_grad_() for x in (base.relative_density.log(), base.U, base.V, torch.tensor(0.3, dtype=torch.float64), torch.tensor(-0.2, dtype=torch.float64))]
    assert torch.autograd.gradcheck(stiffness, inputs, eps=1e-5, atol=1e-7, rtol=1e-6)
    assert torch.autograd.gradgradcheck(lambda log_density: stiffness(log_density, *inputs[1:]).sum(), inputs[:1], eps=1e-5, atol=1e-7, rtol=1e-6)


def test_table_round_trip():
    designs = random_designs(30, seed=3)
    again = from_table(to_table(designs))
    for name in ("types", "tessellations"):
        np.testing.assert_array_equal(getattr(again, name), getattr(designs, name))
    np.testing.assert_allclose(again.deformation_gradient(), designs.deformation_gradient(), atol=1e-7)
    np.testing.assert_allclose(effective_stiffness(designs.canonical()), effective_stiffness(designs), rtol=0, atol=1e-12)


def test_a_lattice_of_ones_own(monkeypatch):
    "A kite that has no inversion centre: without that reduction, against the textbook."
    from metanb.truss import design, topology
    own = list(topology.LATTICES)
    monkeypatch.setattr(topology, "LATTICES", own)
    monkeypatch.setattr(design, "LATTICES", own)
    corners = list(product((0.0, 1.0), repeat=3))
    number = topology.add_lattice("off-centre star", corners + [(0.5, 0.4, 0.3)], [(i, 8) for i in range(8)])
    assert number == 7 and topology.add_lattice("off-centre star", corners + [(0.5, 0.4, 0.3)], [(i, 8) for i in range(8)]) == 7
    monkeypatch.setattr(topology, "_known", topology._known.__wrapped__)
    mixed = plain((7, 1), (0, 1), density=0.03, U=torch.tensor([[0.8, 1.2, 1.0]]))
    expected = textbook(mixed)
    np.testing.assert_allclose(effective_stiffness(mixed)[0], expected, rtol=0, atol=1e-10)
    assert abs(reduced(slots_of([7, 0, 0], [1, 1, 1])).sign_a).min() == 0  # one node is held instead


@pytest.mark.parametrize("off", [2e-6, 5e-4])
def test_rounded_vertices(monkeypatch, off):
    "Half of the struts of a cubic cell end beside their partners: columns alone carry C11 = density / 3 if nodes are one."
    from metanb.truss import design, topology
    own = list(topology.LATTICES)
    monkeypatch.setattr(topology, "LATTICES", own)
    monkeypatch.setattr(design, "LATTICES", own)
    exact = own[0]
    vertices = np.array(exact.vertices, float)
    vertices[6] += [-off, -off / 2, 0]
    with pytest.raises(ValueError, match=r"vertices 0 and 6 of 'rounded', \[0.0, 0.0, 0.0\] and \[.*; allowed: at most tolerance=1e-07"):
        topology.add_lattice("rounded", vertices, exact.struts)
    number = topology.add_lattice("rounded", vertices, exact.struts, tolerance=1e-3)
    C = effective_stiffness(plain((number, 1), density=0.02))[0]
    np.testing.assert_allclose(C[0, 0], 0.02 / 3, rtol=1e-12)
    np.testing.assert_array_equal(own[number].vertices, exact.vertices)


def same(found, expected):
    "Whether two pairs of graphs hold the same numbers."
    return all(np.array_equal(vars(a)[name], vars(b)[name]) for a, b in zip(found, expected) for name in vars(b))


def test_the_cache_of_compounds_is_no_condition(monkeypatch, tmp_path):
    "No folder, no room, a file cut short or with flipped bits: the same stiffness, and a whole file afterwards."
    from metanb.core import files
    from metanb.truss import topology
    monkeypatch.setattr(topology, "_known", topology._known.__wrapped__)
    design = plain((0, 1), density=0.02)
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "data"):
        monkeypatch.setenv("METANB_DATA", str(folder))
        if folder.name == "data":
            def full(*_):
                raise OSError(28, "No space left on device")
            monkeypatch.setattr(files.os, "replace", full)
        np.testing.assert_allclose(effective_stiffness(design)[0, 0, 0], 0.02 / 3, rtol=1e-12)
        assert not list(tmp_path.rglob("*.npz"))
    monkeypatch.undo()
    monkeypatch.setattr(topology, "_known", topology._known.__wrapped__)
    monkeypatch.setenv("METANB_DATA", str(tmp_path / "data"))
    effective_stiffness(design)
    path, = tmp_path.rglob("*.npz")
    content, slots = path.stem, ((0, 1),)
    whole, expected = path.read_bytes(), (topology.build_compound(slots), topology.reduce_compound(topology.build_compound(slots)))
    assert same(topology._kept(content), expected)
    for length in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        np.testing.assert_allclose(effective_stiffness(design)[0, 0, 0], 0.02 / 3, rtol=1e-12)
        assert path.read_bytes() == whole
    for byte in np.random.default_rng(0).choice(len(whole), 60, replace=False):
        spoiled = bytearray(whole)
        spoiled[byte] ^= 1 << byte % 8
        path.write_bytes(spoiled)
        assert topology._kept(content) is None or same(topology._kept(content), expected)


@pytest.mark.parametrize("change, words", [
    (dict(types=[[0, 1, 9]]), "types"), (dict(tessellations=[[1, 1, 3]]), "tessellations"), (dict(relative_density=torch.tensor([1.2])), "relative_density"),
    (dict(relative_density=torch.tensor([float("nan")])), "relative_density"), (dict(U=torch.tensor([[1.0, -1, 1]])), "entry of U"),
    (dict(R_I=2 * torch.eye(3)[None]), "R_I"), (dict(V=torch.ones(2, 3)), "V.shape")])
def test_bad_designs(change, words):
    good = dict(types=[[0, 1, 2]], tessellations=[[1, 1, 2]], relative_density=torch.tensor([0.05]), **PLAIN)
    TrussDesign(**good)
    with pytest.raises(ValueError, match=words):
        TrussDesign(**{**good, **change})


def test_bad_settings():
    design = plain((0, 1))
    for arguments, words in ((dict(poisson=0.6), "poisson"), (dict(shear_factor=0), "shear_factor"), (dict(frame="other"), "frame")):
        with pytest.raises(ValueError, match=words):
            effective_stiffness(design, **arguments)
    with pytest.raises(ValueError, match="n is 0"):
        random_designs(0)
