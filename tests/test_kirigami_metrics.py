"""Laws of the generation metrics that do not read well inside the notebook: slow oracles, invariances, bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest

from metanb.kirigami.design import NEIGHBOURS, admissible_designs, base_angles, count_intersections, random_designs
from metanb.kirigami.metrics import (added_rotations, classifier_two_sample_test, evaluate, histogram_distance,
                                     histogram_floor, intersection_statistics, marginal_baseline, memorisation,
                                     nearest_distance, pair_histogram, pair_histograms, pair_path_admissible,
                                     pair_statistics, path_admissible, symmetry_images)


@pytest.fixture(scope="module")
def draws():
    "Two independent draws of admissible cells at 60 degrees."
    return [admissible_designs(1500, beta_max=60, sweeps=15, seed=s) for s in (10, 11)]


def plain_distance(a, b):
    "Root mean square difference on the circle, written out: (n, N)."
    gap = np.abs(a[:, None] - b[None]) % 180
    return np.sqrt(np.mean(np.minimum(gap, 180 - gap) ** 2, axis=(2, 3)))


# Intersections

def test_a_share_of_one_or_zero_still_has_an_error(draws):
    all_free, none_free = intersection_statistics(draws[0]), intersection_statistics(random_designs(500, beta_max=90))
    assert all_free["admissible_share"] == 1 and none_free["admissible_share"] == 0
    assert all_free["admissible_share_error"] > 0 and none_free["admissible_share_error"] > 0


def test_share_within_the_range_counts_the_cells_that_leave_it(draws):
    cells = draws[0][:100].copy()
    free = np.flatnonzero([count_intersections(c) == 0 for c in _turn_beyond(cells)])
    cells[free[:10]] = _turn_beyond(cells)[free[:10]]
    numbers = intersection_statistics(cells, 60)
    assert numbers["admissible_share"] == 1 and numbers["admissible_within_share"] == pytest.approx(0.9)


def _turn_beyond(cells):
    "One cut of every cell turned to beta = 65 degrees."
    cells = cells.copy()
    cells[:, 0, 0] = 65
    return cells


def test_single_precision_and_half_turns_stay_within_the_range():
    edge = base_angles(6) + np.where(np.arange(36).reshape(6, 6) % 2, 60.0, -60.0)
    beta = added_rotations((edge + 180).astype(np.float32))
    np.testing.assert_allclose(np.abs(beta), 60, atol=1e-4)
    single = (admissible_designs(200, beta_max=60, sweeps=5) + 180).astype(np.float32)
    assert intersection_statistics(single, 60)["admissible_within_share"] == 1


# Baseline

def test_baseline_keeps_the_marginals_and_loses_the_dependence(draws):
    n = 20_000
    cells = marginal_baseline(draws[0], n, seed=1)
    edges = np.linspace(-60, 60, 9)
    for i, j in np.ndindex(6, 6):
        ours, theirs = (np.histogram(added_rotations(c)[:, i, j], edges)[0] / len(c) for c in (cells, draws[0]))
        assert np.abs(ours - theirs).max() < 5 * np.sqrt(0.25 / n)
    right = pair_histograms(cells, 12)[0]
    # Even and odd sites have different marginals, so the pair histogram is the mean of two outer products.
    angle = cells % 180
    even = base_angles(6) == 0
    p, q = (np.histogram(angle[:, mask], 12, (0, 180))[0] / angle[:, mask].size for mask in (even, ~even))
    independent = (np.outer(p, q) + np.outer(q, p)) / 2
    assert np.abs(right - independent).sum() / 2 < 2 * histogram_floor(cells, n, bins=12)
    assert np.abs(pair_histograms(draws[0], 12)[0] - independent).sum() / 2 > 0.02


def test_baseline_depends_on_the_seed_alone(draws):
    assert np.array_equal(marginal_baseline(draws[0], 50, seed=3), marginal_baseline(draws[0], 50, seed=3))
    assert not np.array_equal(marginal_baseline(draws[0], 50, seed=3), marginal_baseline(draws[0], 50, seed=4))


# Neighbours

@pytest.mark.parametrize("size", [(4, 6), (6, 6)])
def test_pair_histograms_agree_with_a_loop_over_cuts(size):
    cells, bins = random_designs(3, beta_max=90, size=size) + 180, 7
    expected = np.zeros((8, bins, bins))
    for cell in cells:
        for k, (di, dj) in enumerate(NEIGHBOURS):
            for i, j in np.ndindex(*size):
                first, second = cell[i, j], cell[(i + di) % size[0], (j + dj) % size[1]]
                expected[k, int(first % 180 // (180 / bins)), int(second % 180 // (180 / bins))] += 1
    np.testing.assert_allclose(pair_histograms(cells, bins), expected / cells.size, atol=1e-15)


def test_pair_histogram_agrees_with_a_loop_over_cuts():
    cells = random_designs(5, beta_max=60, seed=2)
    beta, expected = added_rotations(cells), np.zeros((6, 6))
    for cell in beta:
        for i, j in np.ndindex(6, 6):
            first, second = cell[i, j], cell[(i + 1) % 6, j]
            if (i + j) % 2 == 0 and max(abs(first), abs(second)) < 30:
                expected[int((first + 30) // 10), int((second + 30) // 10)] += 1
    share, edges = pair_histogram(cells, (-30, 30), bins=6)
    np.testing.assert_allclose(share, expected / (5 * 18))
    np.testing.assert_allclose(edges, np.linspace(-30, 30, 7))


def test_angles_that_round_to_the_period_are_counted():
    assert pair_histograms(np.full((1, 6, 6), -1e-20))[0].sum() == 1  # -1e-20 % 180 is 180.0


def test_distance_is_zero_for_one_set_and_one_for_sets_apart(draws):
    shuffled = np.roll(draws[0][::-1], (2, 4), (1, 2)) - 540
    assert histogram_distance(draws[0], shuffled)[0] < 1e-3  # a few angles fall on the other side of an edge
    assert histogram_distance(draws[0], draws[0])[0] == 0
    still, turned = np.full((5, 6, 6), 10.0), np.full((5, 6, 6), 100.0)
    assert histogram_distance(still, turned)[0] == pytest.approx(1)


@pytest.mark.parametrize("size", [4, (6, 8)])
def test_two_independent_uniform_sets_lie_at_the_expected_floor(size):
    n, bins = 1000, 24
    pairs = n * base_angles(size).size
    between = [histogram_distance(random_designs(n, beta_max=90, seed=s, size=size), random_designs(n, beta_max=90, seed=s + 50, size=size),
                                  bins=bins)[0] for s in range(4)]
    floor = bins / np.sqrt(np.pi * pairs)
    assert np.mean(between) == pytest.approx(floor, rel=0.03)
    assert histogram_floor(random_designs(4 * n, beta_max=90, size=size), n, bins=bins) == pytest.approx(floor, rel=0.03)


def test_two_draws_of_the_data_lie_at_the_floor(draws):
    assert histogram_distance(*draws)[0] == pytest.approx(histogram_floor(np.concatenate(draws), 1500), rel=0.1)


# Novelty

def test_nearest_distance_agrees_with_all_distances():
    cells, reference = random_designs(40, beta_max=90, seed=1), random_designs(500, beta_max=90, seed=2)
    np.testing.assert_allclose(nearest_distance(cells, reference), plain_distance(cells, reference).min(1))
    images = np.min([plain_distance(c, reference).min(1) for c in symmetry_images(cells[:5])], axis=0)
    np.testing.assert_allclose(nearest_distance(cells[:5], reference, symmetry_of=90), images)


def test_nearest_distance_does_not_see_half_turns_and_blocks():
    cells, reference = random_designs(300, beta_max=90, seed=3), random_designs(400, beta_max=90, seed=4)
    turns = 180 * np.random.default_rng(0).integers(-3, 4, cells.shape)
    np.testing.assert_allclose(nearest_distance(cells + turns, reference), nearest_distance(cells, reference))
    np.testing.assert_allclose(nearest_distance(cells[280:], reference), nearest_distance(cells, reference)[280:])


def test_nearest_distance_is_a_length():
    cell = random_designs(1, beta_max=90, seed=5)
    for turn, expected in ((0, 0), (7, 7), (90, 90), (170, 10)):
        np.testing.assert_allclose(nearest_distance(cell + turn, cell), expected, atol=1e-6)


@pytest.mark.parametrize("beta_max, shift, same", [(90, (0, 1), True), (60, (0, 1), False), (60, (1, 1), True)])
def test_symmetry_of_the_data_set_decides_which_shifts_count(beta_max, shift, same):
    cells = random_designs(3, beta_max=60, seed=6)
    distance = nearest_distance(np.roll(cells, shift, (1, 2)), cells, symmetry_of=beta_max)
    assert (distance.max() < 1e-6) == same


def test_symmetry_images_form_a_group():
    cell = random_designs(1, beta_max=90, seed=7, size=4)
    canonical = lambda cells: {tuple(np.round(c.ravel() % 180, 6) % 180) for c in cells}
    images = [c[0] for c in symmetry_images(cell, 60)]
    assert canonical(images) == canonical(c[0] for c in symmetry_images(images[37][None], 60))


def test_copies_are_found_and_another_draw_is_not(draws):
    train, heldout = draws
    copies = memorisation(train[:300] + 180, train, heldout=heldout)
    assert copies["copied_share"] == 1 and copies["nearer_share"] == 1 and copies["nearest_generated"] < 1e-6
    honest = memorisation(admissible_designs(600, beta_max=60, sweeps=15, seed=12), train, heldout=heldout)
    assert abs(honest["nearer_share"] - 0.5) < 4.5 * honest["nearer_share_error"] and honest["copied_share"] < 0.02
    same = memorisation(heldout, train, heldout=heldout)
    assert same["nearer_share"] == pytest.approx(0.5) and same["copied_share"] == 0


def test_mirrored_copies_are_found_only_up_to_symmetry(draws):
    train, heldout = draws[0][:200], draws[1][:20]
    mirrored = -np.roll(train[:20, :, ::-1], 1, 2)
    assert memorisation(mirrored, train, heldout=heldout)["copied_share"] < 0.5
    assert memorisation(mirrored, train, heldout=heldout, symmetry_of=60)["copied_share"] == 1


# Classifier

@pytest.mark.parametrize("seed", [0, 1])
def test_classifier_cannot_tell_two_draws(draws, seed):
    accuracy, error = classifier_two_sample_test(*draws, seed=seed)
    assert 0 < error < 0.02 and abs(accuracy - 0.5) < 4.5 * error


def test_classifier_tells_the_baseline_and_a_wrong_range(draws):
    assert classifier_two_sample_test(marginal_baseline(draws[0], 1500), draws[1])[0] > 0.95
    assert classifier_two_sample_test(admissible_designs(1500, beta_max=55, sweeps=15, seed=13), draws[1])[0] > 0.6


def test_classifier_sees_beyond_neighbours():
    "Cuts two columns apart agree: no pair of neighbours shows it, only the network around each cut can."
    cells = random_designs(3000, beta_max=20, seed=8)
    cells[:, :, 4] = cells[:, :, 2]
    uniform = random_designs(3000, beta_max=20, seed=9)
    distance = histogram_distance(cells, uniform, bins=12)[0]
    assert distance < 1.2 * histogram_distance(random_designs(3000, beta_max=20, seed=10), uniform, bins=12)[0]
    accuracy, error = classifier_two_sample_test(cells, uniform)
    assert accuracy > 0.5 + 5 * error


def test_classifier_is_reproducible_and_leaves_the_global_generator_alone(draws):
    import torch
    sets = [c[:200] for c in draws]
    state = torch.get_rng_state()
    assert classifier_two_sample_test(*sets, seed=5) == classifier_two_sample_test(*sets, seed=5)
    assert torch.equal(state, torch.get_rng_state())


def test_classifier_takes_other_sizes():
    a, b = (random_designs(300, beta_max=20, seed=s, size=(4, 6)) for s in (1, 2))
    assert classifier_two_sample_test(a + 40, b)[0] > 0.95


def test_import_needs_no_torch():
    code = "import sys, metanb.kirigami.metrics; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Paths

def test_path_agrees_with_many_equal_steps():
    a, b = (admissible_designs(400, beta_max=45, sweeps=15, seed=s) for s in (1, 2))
    equal = np.all([count_intersections(a + t * (b - a)) == 0 for t in np.linspace(0, 1, 501)], axis=0)
    walked = path_admissible(a, b)
    assert 0.05 < walked.mean() < 0.95
    assert not (walked & ~equal).any() and (walked != equal).mean() < 0.01


def test_path_checks_both_ends_and_keeps_the_shape():
    good, bad = base_angles(6), np.zeros((6, 6))
    assert path_admissible(good, good) and not path_admissible(bad, good) and not path_admissible(good, bad)
    assert path_admissible(np.tile(good, (2, 3, 1, 1)), np.tile(good, (2, 3, 1, 1))).shape == (2, 3)
    assert pair_path_admissible((0, 90), (0, 90)) and not pair_path_admissible((0, 90), (30, 150))


def test_pair_paths_are_cell_paths_with_the_other_cuts_out_of_reach():
    "In a cell of base angles only one pair moves, by so little that it cannot meet the others."
    rng = np.random.default_rng(0)
    ends = rng.uniform(-30, 30, (2, 200, 2)) + (0, 90)
    cells = np.tile(base_angles(6), (2, 200, 1, 1))
    cells[..., 2, 2], cells[..., 3, 2] = ends[..., 0], ends[..., 1]
    assert np.array_equal(path_admissible(*cells), pair_path_admissible(*ends))


def test_pair_statistics_converge_with_the_step():
    shares = [pair_statistics(90, 50_000, n_steps=k)["blocked_share"] for k in (20, 200, 2000)]
    assert shares[0] <= shares[1] <= shares[2] and shares[2] - shares[1] < 0.002
    assert pair_statistics(60, 50_000)["blocked_share"] < shares[2] / 4, "the paper's point about 60 degrees"


# Everything at once

def test_evaluate_is_flat_and_ready_for_json(draws):
    numbers = evaluate(draws[1].astype(np.float32), draws[0], heldout=admissible_designs(700, beta_max=60, sweeps=15, seed=14), beta_max=60)
    assert json.loads(json.dumps(numbers)) == numbers
    assert all(np.isfinite(v) for v in numbers.values())
    assert numbers["n"] == 1500 and numbers["n_compared"] == 700
    assert numbers["admissible_within_share"] == 1 and numbers["tv_ratio"] < 1.3
    assert abs(numbers["nearer_share"] - 0.5) < 4.5 * numbers["nearer_share_error"]


def test_evaluate_without_heldout_cells_leaves_novelty_out(draws):
    numbers = evaluate(draws[1], draws[0], classifier=False)
    assert numbers["n_compared"] == 750
    assert not {"nearer_share", "classifier_accuracy", "admissible_within_share"} & set(numbers)


# Bad input

GOOD = random_designs(60, beta_max=20)
NAN = np.where(np.arange(36).reshape(6, 6) == 8, np.nan, GOOD)


@pytest.mark.parametrize("call, message", [
    (lambda: intersection_statistics(GOOD[0]), r"alpha.shape is \(6, 6\)"),
    (lambda: intersection_statistics(GOOD[:1]), "alpha.shape is.*at least 2"),
    (lambda: intersection_statistics(GOOD[:, :5]), r"alpha.shape is \(60, 5, 6\).*even"),
    (lambda: intersection_statistics(GOOD, 91), "beta_max is 91"),
    (lambda: intersection_statistics(GOOD, float("nan")), "beta_max is nan"),
    (lambda: marginal_baseline(NAN, 5), r"data\[0, 1, 2\] is nan"),
    (lambda: marginal_baseline(GOOD, -1), "n is -1"),
    (lambda: marginal_baseline(GOOD, 2.5), "n is 2.5"),
    (lambda: marginal_baseline(GOOD[:0], 5), "data.shape is"),
    (lambda: pair_histograms(GOOD, 0), "bins is 0"),
    (lambda: pair_histogram(GOOD, (-91, 90)), "beta_range is"),
    (lambda: histogram_distance(GOOD, random_designs(5, beta_max=20, size=4)), r"b.shape is \(5, 4, 4\)"),
    (lambda: histogram_floor(GOOD, 0), "n is 0"),
    (lambda: list(symmetry_images(GOOD, 0)), "beta_max is 0"),
    (lambda: nearest_distance(GOOD, NAN), "reference.* is nan"),
    (lambda: nearest_distance(GOOD, GOOD, candidates=0), "candidates is 0"),
    (lambda: memorisation(GOOD, GOOD, heldout=NAN), "heldout.* is nan"),
    (lambda: classifier_two_sample_test(GOOD[:49], GOOD), r"a.shape is \(49, 6, 6\).*at least 50"),
    (lambda: classifier_two_sample_test(GOOD, GOOD, epochs=0), "epochs is 0"),
    (lambda: path_admissible(GOOD, GOOD[0]), r"b.shape is \(6, 6\)"),
    (lambda: path_admissible(GOOD, GOOD, n_steps=0), "n_steps is 0"),
    (lambda: pair_path_admissible((1, 2), (1, np.inf)), r"b\[1\] is inf; allowed: finite"),
    (lambda: pair_statistics(0), "beta_max is 0"),
    (lambda: pair_statistics(60, 10), "n is 10"),
    (lambda: evaluate(GOOD, GOOD, heldout=GOOD[:10]), r"heldout.shape is \(10, 6, 6\)"),
    (lambda: evaluate(GOOD, GOOD), "data.shape is.*at least 100"),
])
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
