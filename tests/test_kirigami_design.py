"Kirigami cells against a second computation, exact values and the uniform distribution."

import json
import math

import warnings
import numpy as np
import pytest
from scipy.stats import ks_2samp

from metanb.kirigami.data import command, dataset
from metanb.kirigami.design import (CUT_LENGTH, NEIGHBOURS, admissible_designs, admissible_share, base_angles,
                                    blocked_arcs, count_intersections, cut_ends, cuts_cross, export_dxf, export_svg,
                                    free_share, intersections, pair_path, random_designs)


def segments_meet(p, q, r, s):
    "Whether segments p-q and r-s share a point, by solving for both parameters."
    matrix = np.array([q - p, r - s]).T
    if abs(np.linalg.det(matrix)) < 1e-12:
        return False
    t = np.linalg.solve(matrix, r - p)
    return bool(((t > 0) & (t < 1)).all())


@pytest.mark.parametrize("size", [4, 6, (4, 8)])
def test_count_against_segments_in_the_plane(size):
    for cell in random_designs(8, beta_max=90, seed=3, size=size):
        n, m = cell.shape
        ends = cut_ends(cell).reshape(-1, 2, 2)
        shifts = [np.array((a * m, b * n)) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        found = 0
        for k, first in enumerate(ends):
            for l, second in enumerate(ends):
                for shift in shifts:
                    other = second + shift
                    if (k != l or shift.any()) and np.linalg.norm(first.mean(0) - other.mean(0)) < CUT_LENGTH:
                        found += segments_meet(*first, *other)
        assert count_intersections(cell) == found / 2


def test_diagonal_partners_matter():
    meets = intersections(random_designs(20_000, beta_max=90, seed=1))
    share = meets[..., 2:].sum() / meets.sum()
    assert 0.07 < share < 0.10  # what counting the four nearest neighbours only would miss


def test_every_cut_has_eight_partners_within_reach():
    distances = sorted(math.hypot(di, dj) for di in range(-3, 4) for dj in range(-3, 4) if di or dj)
    assert sum(d < CUT_LENGTH for d in distances) == len(NEIGHBOURS) == 8


@pytest.mark.parametrize("beta", [30.0, 30.0 + 1e-6])
def test_touching_at_thirty_degrees(beta):
    assert bool(cuts_cross(beta, 90 + beta, (0, 1))) is (beta > 30)


def test_free_share_is_the_acceptance_of_random_angles():
    cells = random_designs(200, beta_max=90, seed=2)
    free, hits, rng = free_share(cells)[:, 2, 3], 0, np.random.default_rng(0)
    for _ in range(200):
        angle = rng.uniform(0, 180, 200)
        hits += ~np.any([cuts_cross(angle, cells[:, 2 + di, 3 + dj], (di, dj)) for di, dj in NEIGHBOURS], 0)
    error = np.sqrt(free * (1 - free) / 200)
    assert np.abs(hits / 200 - free).mean() < error.mean() and np.abs(hits / 200 - free).max() < 6 * error.max()


def test_blocked_arcs_at_their_ends():
    start, width = blocked_arcs(random_designs(50, beta_max=90, seed=4))
    cells = random_designs(50, beta_max=90, seed=4)
    for k, (di, dj) in enumerate(NEIGHBOURS):
        partner, there = np.roll(cells, (-di, -dj), (1, 2)), width[..., k] > 1e-3
        for edge, inwards in ((start[..., k], 1e-5), (start[..., k] + width[..., k], -1e-5)):
            assert cuts_cross(edge + inwards, partner, (di, dj))[there].all()
            assert not cuts_cross(edge - inwards, partner, (di, dj))[there].any()


def statistics(cells):
    beta = cells - base_angles(cells.shape[1:])
    double = np.radians(2 * cells)
    yield np.abs(beta).mean((1, 2))
    yield beta[:, 1, 2]
    for di, dj in NEIGHBOURS[:4]:
        yield np.cos(double - np.roll(double, (-di, -dj), (1, 2))).mean((1, 2))


@pytest.mark.parametrize("size,beta_max,draws", [(6, 35, 6_000), (4, 60, 400_000)])
def test_sampler_is_uniform(size, beta_max, draws):
    drawn = random_designs(draws, beta_max=beta_max, seed=5, size=size)
    drawn = drawn[count_intersections(drawn) == 0]
    assert len(drawn) > 800
    gibbs = admissible_designs(len(drawn), beta_max=beta_max, sweeps=60, seed=6, size=size)
    p_values = [ks_2samp(a, b).pvalue for a, b in zip(statistics(drawn), statistics(gibbs))]
    assert min(p_values) > 1e-4, p_values


def test_sampler_would_be_caught_if_it_were_not_uniform():
    drawn = admissible_designs(1000, beta_max=60, sweeps=60, seed=1)
    short = admissible_designs(1000, beta_max=60, sweeps=1, seed=2)
    assert min(ks_2samp(a, b).pvalue for a, b in zip(statistics(drawn), statistics(short))) < 1e-6


def test_data_are_invariant_under_the_symmetries():
    cells = admissible_designs(1500, beta_max=90, sweeps=60, seed=3)
    for image in (np.roll(cells, 1, 1), -cells[:, :, ::-1], np.rot90(cells, axes=(1, 2)) - 90):
        assert count_intersections(image).max() == 0
    beta = (cells - base_angles(6) + 90) % 180 - 90
    moved = (np.roll(cells, 1, 1) - base_angles(6) + 90) % 180 - 90
    assert ks_2samp(np.abs(beta[:, 2, 2]), np.abs(moved[:, 2, 2])).pvalue > 1e-4


def test_admissible_share_against_plain_counting():
    share, error = admissible_share(50_000, beta_max=40, seed=1)
    plain = np.mean(count_intersections(random_designs(50_000, beta_max=40, seed=2)) == 0)
    assert abs(share - plain) < 6 * error


def test_data_set_is_the_same_for_any_number_of_workers(tmp_path):
    from metanb.core.workers import processes
    sizes = dict(preset="test", n=90, sweeps=3, shard_size=40, progress=False)
    alone = dataset(beta_max=60, folder=tmp_path / "a", **sizes)["alpha"][:]
    with processes(2) as pool:
        together = dataset(beta_max=60, folder=tmp_path / "b", executor=pool, **sizes)["alpha"][:]
    assert np.array_equal(alone, together) and count_intersections(alone).max() == 0


def test_the_command_writes_sets_and_their_statistics_and_says_where(tmp_path, capsys):
    command(beta_max=[60, 90], preset="test", n=60, shard_size=30, sweeps=5, jobs=1, out=tmp_path)
    said = capsys.readouterr().out
    for beta in (60, 90):
        path = tmp_path / f"kirigami_6x6_beta{beta}_sweeps5_shard30_seed0"
        facts = json.loads((tmp_path / f"{path.name}_statistics.json").read_text())
        assert (facts["n"], facts["beta_max"], facts["sweeps"], facts["admissible_share"]) == (60, beta, 5, 1)
        assert f"{path}: 60 cells" in said


@pytest.mark.parametrize("bad,message", [
    (np.zeros((5, 6)), "even"), (np.zeros((2, 2)), "at least 4"), (np.zeros(6), "shape"), (np.full((4, 4), np.nan), "finite"),
    (np.full((4, 4), np.inf), "finite"), (np.zeros((0, 6, 6)), "at least one")])
def test_bad_cells(bad, message):
    for function in (count_intersections, blocked_arcs, intersections):
        with pytest.raises(ValueError, match=message):
            function(bad)


@pytest.mark.parametrize("beta_max", [0, -5, 91, float("nan")])
def test_bad_beta_max(beta_max, tmp_path):
    for function in (lambda: random_designs(1, beta_max=beta_max), lambda: admissible_designs(1, beta_max=beta_max), lambda: admissible_share(1, beta_max=beta_max),
                     lambda: dataset(beta_max=beta_max, preset="test", folder=tmp_path / "set")):
        with pytest.raises(ValueError, match="beta_max"):
            function()
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("function", [random_designs, admissible_designs])
@pytest.mark.parametrize("n", [-1, 1.5, True])
def test_bad_counts(function, n):
    with pytest.raises(ValueError, match="n is"):
        function(n)


def test_blocked_ends_of_a_path():
    with pytest.raises(ValueError, match="admissible"):
        pair_path((-30.0, 30.0), (5.0, 4.0))


@pytest.mark.parametrize("change, message", [(dict(step=0), "step is 0; allowed"), (dict(step=-1.0), "step is -1.0"), (dict(step=91), "step is 91"),
                                             (dict(limit=0), "limit is 0; allowed"), (dict(limit=float("nan")), "limit is nan")])
def test_bad_grids_of_a_path(change, message):
    with pytest.raises(ValueError, match=message):
        pair_path((5.0, 4.0), (-5.0, -3.0), **change)


@pytest.mark.parametrize("export", [export_svg, export_dxf])
def test_bad_exports_leave_nothing(export, tmp_path):
    cell = base_angles(6)
    for options, message in ((dict(edge=-1), "edge"), (dict(edge=float("nan")), "edge"), (dict(repeats=(0, 1)), "repeats"), (dict(repeats=0), "repeats")):
        with pytest.raises(ValueError, match=message):
            export(cell, tmp_path / "cell", **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("export, name", [(export_svg, "a.svg"), (export_dxf, "a.dxf")])
def test_a_sheet_that_falls_apart_is_said(tmp_path, export, name):
    "So are radians; an admissible cell in degrees is cut without a word."
    good = admissible_designs(1, seed=0)[0]
    bad = next(cell for cell in random_designs(100, beta_max=90, seed=0) if count_intersections(cell))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export(good, tmp_path / name)
    with pytest.warns(UserWarning, match=f"^{count_intersections(bad)} pairs of cuts meet"):
        export(bad, tmp_path / name)
    with pytest.warns(UserWarning, match="degrees are meant, not radians"):
        export(np.radians(good), tmp_path / name)
