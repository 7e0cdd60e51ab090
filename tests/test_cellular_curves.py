"""Distances between curves, the look-up, wishes at other strains, and lists of hard targets."""
import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from metanb.cellular import curves as c
from metanb.cellular.settings import FRAMES

STRAIN = 0.2 * np.array(FRAMES)


def some(n, seed=0):
    return np.cumsum(np.random.default_rng(seed).uniform(0, 5, (n, len(STRAIN))), axis=1)


def test_the_nearest_is_the_nearest():
    "An independent look-up: distances by scipy."
    data, targets = some(40), some(7, seed=1)
    apart = cdist(targets, data) / np.linalg.norm(targets, axis=1)[:, None]
    found = c.nearest(data, targets, k=3)
    assert np.array_equal(found.index, np.argsort(apart, axis=1)[:, :3]) and np.allclose(found.error, np.sort(apart, axis=1)[:, :3])
    assert (c.nearest(data, data).error == 0).all()
    alone = c.nearest(data, data, without=np.arange(40))
    assert (alone.index[:, 0] != np.arange(40)).all() and (alone.error > 0).all()


def test_open_frames_do_not_count():
    data, target = some(20), some(1, seed=2)
    target[0, 4:] = np.nan
    assert np.allclose(c.nearest(data, target).error[0, 0], c.nearest(data[:, :4], target[:, :4]).error[0, 0])
    data[3, 2] = np.nan
    assert np.isnan(c.nrmse(data[3], target[0])) and c.nearest(data, target, k=20).index[0, -1] == 3
    assert c.nearest(data, target, k=20).error[0, -1] == np.inf


def test_wishes_at_other_strains():
    fine = np.linspace(0.01, 0.25, 400)
    assert np.allclose(c.at_frames(100 * fine, fine), 100 * STRAIN)
    assert np.allclose(c.at_frames(STRAIN[1:] * 7, STRAIN[1:])[1:], 7 * STRAIN[1:])
    assert np.isnan(c.at_frames([1, 2], [0.02, 0.05])[3:]).all()
    assert c.at_frames([1, 2], [0.3, 0.4])[-1] == pytest.approx(2 / 3)  # from zero up to its first point
    gap = c.at_frames([5, 6, np.nan, 8, 9], [0.02, 0.04, 0.06, 0.08, 0.1])
    assert np.isfinite(gap).tolist() == [True, True, True, False, True, True] + [False] * 5
    assert np.allclose(gap[[1, 2, 4, 5]], [5, 6, 8, 9])
    for stress, strain, message in (([1, 2], [0.1, 0.1], "increase"), ([1, 2], [-0.1, 0.1], "strain is"), ([1, -1], [0.1, 0.2], "stress is"),
                                    ([3, 4], [0, 0.1], r"stress\[0\] is"), ([1, 2], [10, 20], "no per cent"),
                                    ([0, 0], [0.1, 0.2], "stress is"), ([1, 2, 3], [0.1, 0.2], "strain.shape"), ([1, np.inf], [0.1, 0.2], "stress"),
                                    ([], [], "strain")):
        with pytest.raises(ValueError, match=message):
            c.at_frames(stress, strain)


def test_kinds():
    flat = np.full(11, 10.0) * np.minimum(STRAIN / 0.04, 1)
    soft, again = flat.copy(), flat.copy()
    soft[5:] *= 0.9
    again[7:] += [5, 10, 15, 20]
    all_ = np.stack([flat, soft, again, flat * 0.1, *some(40) * 20 + 50])
    kinds = c.kinds_of_curves(all_, STRAIN)
    assert kinds["softening"][:4].tolist() == [False, True, False, False] and kinds["stiffening"][:4].tolist() == [False, False, True, False]
    assert kinds["softest"].sum() == 3 and kinds["softest"][3]
    assert np.allclose(c.largest_fall(all_[:4]), [0, 0.1, 0, 0])
    with pytest.raises(ValueError, match="0.04, 0.1 and 0.2"):
        c.kinds_of_curves(all_, STRAIN * 0.5)


def test_lists():
    data = np.concatenate([some(30), some(30)[:, ::-1] + 1])
    for name in c.HARD:
        targets, rows = c.hard_targets(name, data, STRAIN, n=6)
        again, _ = c.hard_targets(name, data, STRAIN, n=6)
        assert np.array_equal(targets, again) and 0 < len(targets) <= 6 and len(set(rows.tolist())) == len(rows)
        ratio = targets / data[rows]
        if name == "rise":
            assert np.allclose(ratio[:, STRAIN <= 0.1], 1) and np.allclose(ratio[:, -1], 1.5) and (np.diff(ratio, axis=1) >= -1e-12).all()
        else:
            assert np.allclose(ratio, 1.2 if name == "stiffer" else 1.0)
        if name in ("softening", "stiffening", "softest"):
            assert c.kinds_of_curves(data, STRAIN)[name][rows].all()
    assert not np.array_equal(c.hard_targets("rise", data, STRAIN, seed=1)[1], c.hard_targets("rise", data, STRAIN)[1])


def test_the_published_targets():
    "Numbers of the authors' file."
    published = list(csv.reader((Path(__file__).parent / "data" / "cellular_targets.csv").open()))
    assert np.array_equal(c.engineering_targets(), np.array(published, float))
    scaled = c.engineering_targets(70.0)
    assert scaled[0, -1] == pytest.approx(84) and np.allclose(scaled / c.engineering_targets(), 84 / 85.1)
