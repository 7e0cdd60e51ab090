"""Inverse homogenisation and its data: what must hold beyond the examples of the notebooks."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from metanb.core.coverage import Coverage
from metanb.voxel.auxetic import Effort
from metanb.voxel.data import PROPERTIES, RANGES, Cells, dataset, initial_data, load, make_shard, moduli, statistics
from metanb.voxel.design import components, family, fold, is_connected, is_cubic, percolates, random_designs, remove_islands, unfold
from metanb.voxel.mechanics import homogenize, stiffness_of
from metanb.voxel.objectives import OBJECTIVES, poisson, random_start, reach, threshold
from metanb.voxel.optimize import InverseHomogenization, optimize, optimize_together, restore_state, save_state

LITTLE = Effort(starts=4, survivors=(2, 2), rounds=(10, 10))
SMALL = dict(octant=6, stage_steps=5, sharpness=(1, 8, 32), effort=LITTLE, device="cpu")


def stiffness(*constants):
    return stiffness_of(torch.tensor(constants, dtype=torch.float64))


@pytest.mark.parametrize("method", ["auto", "oc"])
@pytest.mark.parametrize("objective, v, seed", [
    ("bulk", 0.3, 0), ("shear", 0.45, 1), ("youngs", 0.6, 2), ("poisson", 0.35, 3), ("poisson", 0.35, 7),
    ("poisson", 0.2, 1), ("poisson", 0.5, 4), ("poisson", 0.8, 0), ("bulk", 0.9, 5)])
def test_finished_cells_meet_the_volume_and_their_numbers_are_their_own(objective, v, seed, method):
    "After clean-up, whatever the objective and the start: the volume within half an orbit, or 1 % of a union of blocks."
    best = optimize(objective, v, seed=seed, octant=8, stage_steps=8, sharpness=(1, 8, 32), method=method, effort=LITTLE, device="cpu")
    cell = unfold(best.octant)
    assert best.octant.dtype == bool and is_cubic(cell) and best.wanted == v
    assert best.blocks == (objective == "poisson" and method == "auto") and best.feasible
    assert abs(best.volume_fraction - v) <= max(3 / 8**3, 0.01 * v * best.blocks) + 1e-12
    assert best.connected == is_connected(cell) and best.bears == (best.connected and bool(percolates(cell).all()))
    again = homogenize(cell, symmetry="none", rtol=1e-6).C  # the whole cell, not the octant
    np.testing.assert_allclose(best.C, again, rtol=0, atol=1e-6)
    assert best.residual <= 2e-4


def islands(seed, v):
    "Densities of an octant whose plain threshold at the volume fraction v has parts that are lost."
    n = 8
    grey = random_designs(1, seed, octant=n, volume_fraction=0.5, steepness=4)[0]
    walls = np.indices((n, n, n)).min(0) < 1
    return np.maximum(grey * 0.9, walls * (0.95 if seed % 2 else 0.5))


@pytest.mark.parametrize("v", [0.1, 0.4, 0.55, 0.8])
@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_meets_the_volume_after_clean_up(seed, v):
    density = islands(seed, v)
    octant = threshold(density, v)
    cell = unfold(octant)
    assert is_cubic(cell) and abs(octant.mean() - v) <= 3 / 8**3 + 1e-12
    if is_connected(cell):
        assert (remove_islands(cell) == cell).all()
    least = np.sort(density[octant])[:1]
    outside = density[~octant]
    plain = density >= np.sort(density, axis=None)[-round(v * density.size)]
    if components(unfold(plain))[1] == 1 and abs(plain.mean() - v) <= 3 / 8**3:  # nothing is lost: nothing else is done
        assert outside.size == 0 or least >= outside.max() - 1e-12


def test_the_threshold_is_the_same_for_a_cell_that_is_black_and_white():
    for seed in range(4):
        octant = threshold(random_designs(1, seed, octant=6, volume_fraction=0.4)[0], 0.4)
        assert (threshold(octant, octant.mean()) == octant).all()
    assert threshold(np.ones((4, 4, 4)), 1.0).all()


@pytest.mark.parametrize("v", [0.1, 0.3, 0.45])
@pytest.mark.parametrize("name", ["bars", "octet", "schwarz_p", "bcc", "plates"])
def test_less_of_a_black_and_white_cell_is_still_one_piece(name, v):
    "All its voxels are equally dense, and no level is light enough: what stays is cut out of it."
    for size in (16, 24):
        whole = fold(family(name, size, 0.5))
        less = threshold(whole, v)
        assert abs(less.mean() - v) <= 3 / whole.size + 1e-12 and is_cubic(unfold(less)) and not (less & ~whole).any()
        assert components(unfold(less))[1] == 1 and (v < 0.3 or percolates(unfold(less)).all())


def test_an_island_denser_than_the_rest_does_not_break_the_cell():
    bars = fold(family("bars", 16, 0.5)).astype(float)
    for at in np.argwhere(bars):
        density = bars * 0.9
        for order in itertools.permutations(at):
            density[order] = 1
        assert is_connected(unfold(threshold(density, 0.3)))


@pytest.mark.parametrize("n", [2, 4, 8])
@pytest.mark.parametrize("v", [1e-6, 0.001, 0.004, 0.02])
def test_the_smallest_volumes_are_met_as_well(n, v):
    for at in ((0, 0, 0), (0, 0, 1), (0, 1, n - 1), (n - 1, n - 1, n - 1)):
        density = np.full((n, n, n), 0.1)
        for order in itertools.permutations(at):
            density[order] = 1
        for octant in (density, density[::-1, ::-1, ::-1], random_designs(1, n, octant=n, volume_fraction=0.3)[0]):
            assert abs(threshold(octant, v).mean() - v) <= 3 / n**3 + 1e-12


def test_the_threshold_names_what_is_not_symmetric():
    density = np.zeros((4, 4, 4))
    density[0, 1, 2] = 0.25
    with pytest.raises(ValueError) as error:
        threshold(density, 0.5)
    assert str(error.value) == "density's largest change by an exchange of axes is 0.25; allowed: 0"


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_what_holds_for_any_start(noise):
    "Steps are chaotic: another number of threads or a little noise may end in another cell. This does not depend on it."
    for seed, objective in enumerate(("bulk", "poisson")):
        start = random_start(0.35, 6, seed=seed)
        start = np.clip(start + noise * np.random.default_rng(0).standard_normal(start.shape), 0, 1)
        run = InverseHomogenization(objective, 0.35, start=start, **SMALL)
        while not run.finished:
            run.step()
        best = run.result()
        assert abs(run.history[-1]["volume_fraction"] - 0.35) < (3 / 6**3 if best.blocks else 1e-3)
        assert abs(best.volume_fraction - 0.35) <= 3 / 6**3 + 1e-12 and is_cubic(unfold(best.octant))
        assert best.residual <= 2e-4 and torch.linalg.eigvalsh(best.C).min() > -1e-8


def test_poissons_objective_prefers_a_stiff_auxetic_cell_to_a_dead_one():
    dead, alive, auxetic = (float(poisson(stiffness(*c), 100)) for c in ((0, 0, 0), (0.1, 0.001, 0.02), (0.1, -0.03, 0.02)))
    assert auxetic < alive < dead


@pytest.mark.parametrize("settings", [dict(objective="bulk"), dict(objective="shear", isotropy=0.05), dict(objective=reach(stiffness(0.3, 0.1, 0.1)), method="mma")])
def test_resumed_runs_end_in_the_same_cell(settings, tmp_path):
    whole = optimize(volume_fraction=0.4, **settings, **SMALL)

    def stop(task):
        if len(task.history) == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        optimize(volume_fraction=0.4, checkpoint=tmp_path / "state.npz", checkpoint_every=3, callback=stop, **settings, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["state.npz"]
    again = optimize(volume_fraction=0.4, checkpoint=tmp_path / "state.npz", **settings, **SMALL)
    assert (again.density == whole.density).all() and again.history == whole.history


def test_a_state_belongs_to_its_task(tmp_path):
    path, target = tmp_path / "state.npz", stiffness(0.3, 0.1, 0.1)
    optimize(reach(target), 0.4, max_steps=3, checkpoint=path, seed=np.int64(1), **SMALL)
    more = optimize(reach(target), 0.4, max_steps=6, checkpoint=path, seed=1, **SMALL)  # goes on
    assert len(more.history) == 6
    for other in (dict(objective=reach(2 * target)), dict(objective=reach(target), seed=2), dict(objective=reach(target), constraints=[lambda C, step: C[0, 1] - 1]),
                  dict(objective=reach(target), octant=4)):
        with pytest.raises(ValueError, match="same settings"):
            optimize(volume_fraction=0.4, checkpoint=path, **{"seed": 1, **SMALL, **other})


@pytest.mark.parametrize("content", [b"", b"abc", b"PK\x03\x04 torn"])
def test_damaged_states_are_named(content, tmp_path):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="state.npz"):
        optimize("bulk", 0.4, checkpoint=path, **SMALL)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="state.npz"):
        optimize("bulk", 0.4, checkpoint=path, **SMALL)
    assert path.exists()


def test_every_flipped_bit_of_a_state_is_noticed(tmp_path):
    path = tmp_path / "state.npz"
    run = InverseHomogenization("bulk", 0.4, seed=1, **SMALL)
    save_state(run, path)
    intact, x, rng = path.read_bytes(), run.way.x.copy(), np.random.default_rng(0)
    for bit in rng.choice(8 * len(intact), 200, replace=False).tolist():
        content = bytearray(intact)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        run.way.x = x + 1
        try:
            restore_state(run, path)
        except ValueError as error:
            assert "path is" in str(error) and "state.npz" in str(error)
        else:  # a byte that no reader looks at
            np.testing.assert_array_equal(run.way.x, x)


@pytest.mark.parametrize("settings, name", [
    (dict(isotropy=0.0), "isotropy"), (dict(isotropy=-0.1), "isotropy"), (dict(isotropy=math.nan), "isotropy"), (dict(sharpness=()), "sharpness"), (dict(sharpness=(0,)), "sharpness"),
    (dict(octant=4.0), "octant"), (dict(octant=0), "octant"), (dict(stage_steps=0), "stage_steps"), (dict(max_steps=0), "max_steps"), (dict(volume_fraction="a"), "volume_fraction"),
    (dict(volume_fraction=0.0), "volume_fraction"), (dict(device="tpu"), "device"), (dict(poisson=-1), "poisson"), (dict(objective="soft"), "objective"), (dict(start=np.full((6, 6, 6), 2.0)), "start")])
def test_bad_settings_are_named(settings, name):
    with pytest.raises(ValueError, match=name):
        InverseHomogenization(**{"objective": "bulk", "volume_fraction": 0.4, **SMALL, **settings})


@pytest.mark.parametrize("every", [0, -1, 2.5])
def test_checkpoints_come_after_whole_numbers_of_steps(every, tmp_path):
    with pytest.raises(ValueError, match="checkpoint_every"):
        optimize("bulk", 0.4, checkpoint=tmp_path / "state.npz", checkpoint_every=every, **SMALL)
    assert not list(tmp_path.iterdir())


def test_an_objective_that_is_not_finite_stops_with_its_step():
    with pytest.raises(ValueError, match="step 0"):
        optimize(lambda C, step: C[0, 0] * torch.nan, 0.4, **SMALL)


@pytest.mark.parametrize("settings, name", [
    (dict(low="a"), "low is 'a'"), (dict(high=None), "high is None"), (dict(low=0), "low is 0;"), (dict(low=0.5, high=0.4), "low is 0.5; allowed: a finite number in (0, 0.4]"),
    (dict(high=1.5), "high is 1.5"), (dict(low=np.array([0.1, 0.2])), "low is"), (dict(high=math.nan), "high is nan"), (dict(low=True), "low is True")])
def test_bad_volumes_of_a_data_set_are_named(settings, name, tmp_path):
    with pytest.raises(ValueError) as error:
        dataset(preset="test", folder=tmp_path, progress=False, **settings)
    assert name in str(error.value) and "allowed" in str(error.value) and not list(tmp_path.iterdir())


def test_only_cells_that_carry_load_are_good(tmp_path):
    ds = dataset(preset="test", folder=tmp_path, n=6, octant=6, stage_steps=4, low=0.1, high=0.4, progress=False)
    cells = load(ds.path)
    octants, C = cells.octants(), cells.stiffness
    for i in range(len(cells)):
        whole = homogenize(unfold(octants[i]), symmetry="none", rtol=1e-6).C  # not the octants that made the values
        np.testing.assert_allclose(C[i], whole[[0, 0, 3], [0, 1, 3]], rtol=1e-4, atol=1e-7)
        if cells.good[i]:
            assert percolates(unfold(octants[i])).all() and C[i, 0] > 1e-5
    facts = statistics(cells)
    assert facts["good"] == cells.good.sum() and facts["n"] == 6
    json.dumps(facts, allow_nan=False)


def test_the_shipped_cells_have_the_stiffness_that_is_stored():
    "Made by version 0.1 and kept: a few of its octants, homogenised anew."
    cells = initial_data("demo")
    rows = np.arange(0, len(cells), len(cells) // 8)
    found = homogenize(cells.octants(rows), symmetry="octant", rtol=1e-4)
    np.testing.assert_allclose(found.C[:, [0, 0, 3], [0, 1, 3]], cells.stiffness[rows], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(cells.octants(rows).mean((1, 2, 3)), cells.volume_fraction[rows], rtol=1e-6)


def test_ratios_of_dead_cells_are_unknown():
    class Fake:
        attributes = {"params": {"poisson": 0.3}}

    cells = Cells(Fake(), np.array([[2e-9, -1e-9, 1e-9], [0.2, 0.05, 0.06]], np.float32), np.array([0.1, 0.3]), np.zeros(2), np.zeros(2), np.array([False, True]))
    values = moduli(cells)
    assert np.isnan(values["poisson"][0]) and np.isnan(values["zener"][0]) and np.isclose(values["poisson"][1], 0.2)


def test_shards_depend_on_their_seed_alone():
    one, two, other = (make_shard(2, seed, octant=4, low=0.3, stage_steps=3, sharpness=(1, 16)) for seed in (5, 5, 6))
    assert all((one[name] == two[name]).all() for name in one) and (one["wanted"] != other["wanted"]).all()


def test_thinning_keeps_what_is_alone():
    rng = np.random.default_rng(0)
    properties = rng.uniform((0, 0, 0, 0), (1, 0.5, 0.3, 1), (500, 4))
    cloud = lambda values: Coverage(values, PROPERTIES, RANGES)
    for width in (0.05, 0.2):
        kept = cloud(properties).thin(width=width)
        assert (cloud(properties[kept]).thin(width=width) == np.arange(len(kept))).all()  # nothing more to remove
        assert len(cloud(properties).thin(width=width, most=500)) == 500
    assert len(cloud(np.zeros((0, 4))).thin()) == 0


def test_a_finished_cell_says_which_constraints_it_breaks():
    "One constraint that holds for any cell, one for none, and isotropy, which the threshold knows nothing of."
    never, ever = (lambda C, step, sign=sign: C[3, 3] * 0 + sign * C[0, 0] / C[0, 0] for sign in (1, -1))
    best = optimize("bulk", 0.4, octant=6, isotropy=0.05, constraints=(ever, never), max_steps=12, device="cpu")
    assert best.constraints == pytest.approx((-1, 1, ((best.zener_ratio - 1) / 0.05) ** 2 - 1), abs=1e-9)
    assert not best.feasible and "constraints broken by" in repr(best)
    assert best.objective == pytest.approx(float(OBJECTIVES["bulk"](best.C, len(best.history))))
    free = optimize("bulk", 0.4, octant=6, max_steps=12, device="cpu")
    assert free.constraints == () and free.feasible and "constraints" not in repr(free)


def test_one_of_several_that_is_done_keeps_its_own_displacements_alone():
    runs = [InverseHomogenization("bulk", 0.4, octant=4, seed=seed, max_steps=2 + seed, device="cpu") for seed in range(3)]
    optimize_together(runs)
    assert [len(run.history) for run in runs] == [2, 3, 4]
    kept = [run.way.cell.displacement for run in runs]
    assert all(u.untyped_storage().nbytes() == u.nbytes for u in kept)
