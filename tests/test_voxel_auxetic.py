"""Auxetic cells: unions of blocks, their derivatives, what is kept by the search, and one short run that ends in a valid cell."""

import numpy as np
import pytest
import torch
from pretend_device import pretend_cuda
from scipy.ndimage import binary_opening, label

from metanb.voxel.auxetic import (
    STAGES, BlockSearch, Effort, GreyUnions, corner_nodes, flaws, grey_step, merit, node_filter, random_starts, scaleless,
    search_step, union)
from metanb.voxel.data import GOALS, make_shard
from metanb.voxel.design import family, fold, is_cubic, pack, random_designs, unfold
from metanb.voxel.mechanics import effective_stiffness, solve
from metanb.voxel.objectives import project
from metanb.voxel.octants import from_wedge, opened
from metanb.voxel.optimize import InverseHomogenization, optimize, restore_state, save_state

SHORT = Effort(starts=8, survivors=(3, 2), rounds=(10, 20))


def opened_cell(octant):
    "What an opening by a block of 2 x 2 x 2 leaves of the periodic cell: three copies along each axis, the middle one counts."
    n = 2 * len(octant)
    many = np.tile(unfold(octant), (3, 3, 3))
    return binary_opening(many, np.ones((2, 2, 2), bool))[n:2 * n, n:2 * n, n:2 * n]


def bodies(octant):
    "Parts of the periodic cell: labels of one cell, joined where they meet across its faces."
    labels, count = label(unfold(octant))
    owner = np.arange(count + 1)
    for axis in range(3):
        for a, b in zip(np.take(labels, 0, axis).flat, np.take(labels, -1, axis).flat):
            if a and b:
                owner[owner == owner[a]] = owner[b]
    return len(set(owner[1:]))


@pytest.mark.parametrize("n", [4, 7, 10])
def test_any_set_of_nodes_is_a_union_of_blocks(n):
    rng, corners = np.random.default_rng(n), corner_nodes(n)
    for share in (0.01, 0.05, 0.2):
        nodes = rng.random(corners.shape[1]) < share
        octant = from_wedge(union(nodes.astype(float), 1, corners)[0] > 0.5)
        assert is_cubic(unfold(octant)) and (opened_cell(octant) == unfold(octant)).all()
        for at in np.argwhere(octant)[:50]:  # the voxel, and one of its eight nodes
            around = np.sort([(at + (a, b, c)) for a in (0, 1) for b in (0, 1) for c in (0, 1)], axis=1)
            number = {tuple(p): m for m, p in enumerate(np.argwhere(np.indices((n + 1,) * 3)[0] >= 0)[_wedge_nodes(n)])}
            assert any(nodes[number[tuple(p)]] for p in around)


def _wedge_nodes(n):
    i, j, k = np.indices((n + 1,) * 3).reshape(3, -1)
    return np.flatnonzero((i <= j) & (j <= k))


def test_the_filter_keeps_constants_and_is_the_mean_of_mirrored_nodes():
    n, radius = 5, 1.5
    H = node_filter(n, radius)
    np.testing.assert_allclose(H @ np.ones(H.shape[1]), 1, rtol=1e-12)
    rng, keep = np.random.default_rng(0), _wedge_nodes(n)
    x = rng.random(len(keep))
    places = np.stack(np.unravel_index(keep, (n + 1,) * 3), 1)
    value = {tuple(p): v for p, v in zip(places, x)}
    def at(p):
        p = np.abs(p) % (2 * n)
        return value[tuple(np.sort(np.where(p > n, 2 * n - p, p)))]
    offsets = [np.array((a, b, c)) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)]
    weights = np.array([max(0.0, 1 - np.linalg.norm(o) / radius) for o in offsets])
    for m in range(0, len(x), 7):
        mean = sum(w * at(places[m] + o) for w, o in zip(weights, offsets)) / weights.sum()
        assert (H @ x)[m] == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("stage", [0, 2, 5])
def test_the_gradient_of_the_chain_is_that_of_differences(stage):
    "Filter, projection, union, interpolation, homogenisation and objective, for one level and in double precision."
    n, v = 5, 0.35
    run = GreyUnions(random_starts(v, n, 1, seed=3), v, dtype=torch.float64)
    run.stage = stage
    sharpness, softness = STAGES[stage]

    def chain(x):
        y, slope = project(run.filtered(x), sharpness)
        rho, back = union(y, softness, run.corners)
        E = torch.as_tensor(1e-5 + (1 - 1e-5) * rho[0] ** 3)[run.number_of].reshape(1, n, n, n)
        found = solve(E, symmetry="cubic", rtol=1e-8, max_iterations=5000)
        c = found.constants[0].clone().requires_grad_()
        f = scaleless(c)
        by = torch.autograd.grad(f, c)[0].numpy() @ found.sensitivity[0].reshape(3, -1)[:, run.images[0]].numpy() / n**3
        by_rho = by * run.times * (1 - 1e-5) * 3 * rho[0] ** 2
        return float(f.detach()), (run.H.T @ (back(by_rho[None]) * slope).T).T[0]

    x, direction = np.clip(run.x, 0.05, 0.95), np.random.default_rng(0).standard_normal(run.x.shape)
    slope = chain(x)[1] @ direction[0]
    high, low = (chain(x + s * 1e-5 * direction)[0] for s in (1, -1))
    assert slope == pytest.approx((high - low) / 2e-5, rel=1e-4)


def test_a_step_follows_that_gradient_and_keeps_the_volume():
    v = 0.3
    run = GreyUnions(random_starts(v, 6, 4, seed=2), v)
    objectives = np.array([[record["objective"] for record in grey_step(run)] for _ in range(10)])
    assert (objectives[-1] < objectives[0]).all()
    assert (run.densities(run.x) @ run.share <= v + 1e-6).all() and run.x.min() >= 0 and run.x.max() <= 1


def test_more_starts_begin_with_the_same_ones():
    few, many = (random_starts(0.25, 6, count, seed=4) for count in (2, 5))
    assert (few == many[:2]).all() and not (random_starts(0.25, 6, 1, seed=5)[0] == many).all((1, 2, 3)).any()


def test_a_search_never_leaves_what_is_asked_for():
    start = opened(fold(family("bars", 16, 0.35)))
    v = start.mean()
    run = GreyUnions(random_starts(v, 8, 1), v)
    search = BlockSearch(start, run, rounds=25, seed=(0, 0))
    while not search.finished:
        search_step(search)
        assert (opened_cell(search.octant) == unfold(search.octant)).all() and bodies(search.octant) == 1
    assert abs(search.best.sum() - start.sum()) <= max(0.01 * start.sum(), 3) and not (search.best == start).all()
    constants = solve(torch.as_tensor(search.best, dtype=torch.float64)[None], symmetry="cubic").constants[0]
    assert float(merit(constants)) == pytest.approx(search.best_score, abs=5e-3)  # float32 and a coarse tolerance, while it searches


def test_a_short_run_ends_in_a_valid_cell():
    "One run with a sixth of the usual effort; six seeds were valid, with Poisson's ratios from 0.01 to -0.41, this one the best."
    best = optimize("poisson", 0.25, octant=10, seed=1, effort=SHORT, device="cpu")
    assert flaws(best.octant, 0.25) == [] and best.feasible and best.bears and best.blocks
    assert (opened_cell(best.octant) == unfold(best.octant)).all() and bodies(best.octant) == 1
    assert all(face.any() for axis in range(3) for face in (np.take(best.octant, 0, axis), np.take(best.octant, -1, axis)))
    C = effective_stiffness(unfold(best.octant), symmetry="none", rtol=1e-6)
    np.testing.assert_allclose(best.C, C, rtol=0, atol=1e-6)
    assert 1 / torch.linalg.inv(C)[0, 0] >= 0.004 and best.poisson_ratio < -0.15
    assert len(best.history) >= 72 and {record["grey"] == 0 for record in best.history[72:]} == {True}


def test_flaws_name_what_is_wrong():
    n = 8
    block = np.zeros((n, n, n), bool)
    block[2:6, 2:6, 2:6] = True
    found = " | ".join(flaws(block, 0.125))
    assert "not one body" in found and "Young's modulus" in found and "thinner" not in found and "volume" not in found
    wall = np.indices((n, n, n)).min(0) < 1  # two voxels with its mirror image
    assert flaws(wall, wall.mean()) == []
    inside = (np.indices((n, n, n)) == 3).any(0)  # one voxel
    assert flaws(inside, inside.mean())[0] == "100.0% of the solid is thinner than two voxels"
    assert "0.3301 instead of 0.3400" in flaws(wall, 0.34)[0]


def test_runs_are_resumed_to_the_last_bit(tmp_path):
    settings = dict(octant=6, seed=3, effort=Effort(starts=3, survivors=(2, 2), steps=3, rounds=(4, 6)), device="cpu")
    whole, path = optimize("poisson", 0.35, **settings), tmp_path / "state.npz"
    for stop in (7, 20, 23):
        def interrupt(run):
            if len(run.history) == stop:
                raise KeyboardInterrupt
        with pytest.raises(KeyboardInterrupt):
            optimize("poisson", 0.35, checkpoint=path, checkpoint_every=2, callback=interrupt, **settings)
    again = optimize("poisson", 0.35, checkpoint=path, **settings)
    assert (again.octant == whole.octant).all() and again.history == whole.history
    with pytest.raises(ValueError, match="effort"):
        optimize("poisson", 0.35, checkpoint=path, **settings | {"effort": SHORT})
    with pytest.raises(ValueError, match="same settings"):
        optimize("poisson", 0.35, checkpoint=path, method="oc", **settings)


def test_it_can_be_stopped_at_any_step():
    run = InverseHomogenization("poisson", 0.35, octant=6, effort=SHORT, device="cpu")
    for _ in range(12):
        record = run.step()
    assert set(record) == set(InverseHomogenization("bulk", 0.35, octant=6, device="cpu").step())
    best = run.result()
    assert best.octant.dtype == bool and best.density.shape == (6, 6, 6) and run.sharpness == 2 and not run.finished


def test_a_start_of_ones_own_is_the_only_one(tmp_path):
    start = random_designs(1, 0, octant=6, volume_fraction=0.35)[0]
    run = InverseHomogenization("poisson", 0.35, octant=6, start=start, effort=SHORT, device="cpu")
    run.step()
    assert len(run.way.x) == 1
    restore_state(InverseHomogenization("poisson", 0.35, octant=6, start=start, effort=SHORT, device="cpu"), save_state(run, tmp_path / "a.npz"))


def test_sets_of_cells_keep_the_way_they_were_made():
    "Their cells of a small Poisson's ratio are those of optimality criteria, to the bit."
    shard, rng, settings = make_shard(6, 1, octant=4, low=0.3, stage_steps=3, sharpness=(1, 16)), np.random.default_rng(1), dict(octant=4, stage_steps=3, sharpness=(1, 16))
    share = np.array(list(GOALS.values())) / sum(GOALS.values())
    for i in range(6):
        goal, wanted, start = rng.choice(3, p=share), rng.uniform(0.3, 1.0), int(rng.integers(2**31))
        assert shard["goal"][i] == goal
        if goal == 2:
            best = optimize("poisson", wanted, seed=start, method="oc", device="cpu", **settings)
            assert (pack(best.octant) == shard["octant"][i]).all() and not best.blocks
    assert (shard["goal"] == 2).any()


@pytest.mark.parametrize("settings, name", [
    (dict(method="blocks", isotropy=0.1), "method is 'blocks'"), (dict(objective="bulk", method="blocks"), "method is 'blocks'"), (dict(effort=None), "effort is None"),
    (dict(octant=0), "octant is 0"), (dict(seed=-1), "seed is -1"), (dict(volume_fraction=0), "volume_fraction is 0"), (dict(start=np.ones((3, 3, 3))), "start.shape")])
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=name):
        InverseHomogenization(**{"objective": "poisson", "volume_fraction": 0.3, "octant": 6} | settings)


def test_the_same_steps_on_a_gpu(tmp_path):
    "On a pretended device all tensors go where they belong, states included, and the cells are those of the CPU."
    settings = dict(octant=5, seed=2, effort=Effort(starts=3, survivors=(2, 1), steps=2, rounds=(2, 2)))
    on_cpu = optimize("poisson", 0.35, device="cpu", **settings)
    with pretend_cuda():
        run = InverseHomogenization("poisson", 0.35, device="cuda", **settings)
        while not run.finished:
            run.step()
            other = InverseHomogenization("poisson", 0.35, device="cuda", **settings)
            run = restore_state(other, save_state(run, tmp_path / "state.npz"))
        best = run.result()
        assert flaws(best.octant, 0.35, device="cuda") == flaws(best.octant, 0.35)
    assert (best.octant == on_cpu.octant).all() and best.C.device.type == "cpu"
