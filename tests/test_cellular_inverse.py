"""Catalogues, what is kept apart, networks that come with the package, children of cells, records of a search."""
import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import label
from scipy.spatial.distance import cdist

from metanb.cellular import benchmark, inverse, lessons
from metanb.cellular.data import initial_data
from metanb.cellular.design import mirror, random_designs
from metanb.cellular.forward import predict_curves, to_quarters
from metanb.cellular.generator import draw_valid, generate, tidy
from metanb.cellular.model import SIZES, VideoDiffusion, Videos
from metanb.core.search import Found
from metanb.core.weights import card, from_pretrained


@pytest.fixture(scope="module")
def data():
    return lessons.lessons(lessons.catalogue(24))


@pytest.fixture(scope="module")
def network():
    return from_pretrained("cellular/forward_24")


@pytest.fixture(scope="module")
def generator():
    return from_pretrained("cellular/bits_24")


def key(quarter):
    "A cell and its twin as one."
    return min(quarter.tobytes(), np.ascontiguousarray(quarter[:, ::-1]).tobytes())


def error(curves, target):
    "NRMSE by its formula."
    return np.sqrt(((curves - target) ** 2).sum(-1) / (target ** 2).sum(-1))


def test_the_catalogue_continues_the_data_set_with_fields():
    stored, cells = initial_data(quarter=12, progress=False), lessons.catalogue(24)
    n = len(stored)
    assert len(cells) > 2 * n and cells.pixels == 24
    assert np.array_equal(mirror(cells.quarters[:n]), stored.designs()) and np.array_equal(cells.passed[:n], stored.passed)
    assert np.allclose(cells.stress[:n], stored.stress, rtol=1e-6, equal_nan=True)
    assert cells.passed.mean() > 0.95


def test_what_is_kept_apart_stays_apart(data):
    learned, asked = ({key(q) for q in part.quarters} for part in (data.learned, data.heldout))
    assert len(asked) > 200 and not learned & asked
    assert not lessons.is_heldout(data.learned.quarters).any() and lessons.is_heldout(data.heldout.quarters[:, :, ::-1]).all()


def test_cells_that_a_network_tells_of_are_not_kept_apart_ones(network, data):
    quarters, curves = lessons.told_designs(network, 300, 11)
    all_drawn = to_quarters(random_designs(300, 11, quarter=12))
    assert len(quarters) == (~lessons.is_heldout(all_drawn)).sum() < 300 and curves.shape == (len(quarters), 11)


def test_a_torn_catalogue_is_refused(tmp_path, data):
    path = lessons.save_catalogue(data.heldout, tmp_path / "cells.npz")
    assert np.array_equal(lessons.load_catalogue(path).quarters, data.heldout.quarters)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="a catalogue of cells that is whole"):
        lessons.load_catalogue(path)
    with pytest.raises(ValueError, match="pixels is 40"):
        lessons.catalogue(40)


def test_the_card_of_the_forward_network_says_what_it_does(network, data):
    found = error(predict_curves(network, data.heldout.quarters), data.heldout.stress)
    metrics = card("cellular/forward_24")["metrics"]
    assert found.mean() == pytest.approx(metrics["mean"], rel=0.01) and np.median(found) == pytest.approx(metrics["median"], rel=0.02)
    apart = cdist(data.heldout.stress, data.learned.stress) / np.linalg.norm(data.heldout.stress, axis=1)[:, None]
    assert apart.min(1).mean() == pytest.approx(metrics["nearest_datum"], rel=0.01)


def test_the_generator_answers_to_the_curve(generator, network, data):
    "Told cells that are twice as stiff, it draws stiffer ones; every cell is one piece."
    curves = data.heldout.stress[:12].astype(float)
    drawn = [tidy(generate(generator, scale * curves, seed=3)) for scale in (0.7, 1.3)]
    soft, stiff = (predict_curves(network, part.quarters[part.valid])[:, -1].mean() for part in drawn)
    assert stiff > 1.3 * soft
    found, shares = draw_valid(generator, curves[:4], 3, seed=1)
    assert shares["refreshed"] >= shares["tidied"] and all(len(part) <= 3 for part in found)
    for quarter in np.concatenate(found):
        assert label(quarter)[1] == 1 and quarter[0].any() and quarter[-1].any() and quarter[:, 0].any() and quarter[:, -1].any()


def test_targets_are_those_of_the_paper_scaled_once():
    lists = benchmark.shipped_lists(24)
    published = [[float(x) for x in line] for line in csv.reader((Path(__file__).parent / "data" / "cellular_targets.csv").open())]
    scale = lists["engineering"] / published
    assert np.allclose(scale, scale[0, 0], rtol=1e-3)
    first = lessons.catalogue(24).good()
    assert lists["engineering"][0, -1] == pytest.approx(1.2 * first.stress[:2000, -1].max(), rel=1e-5)
    assert {name: len(targets) for name, targets in lists.items()}["held-out"] == 30


def test_similarity_is_the_share_of_equal_pixels(data):
    a, b = data.heldout.quarters[:6], data.learned.quarters[:50]
    flat = [part.reshape(len(part), -1) for part in (a, b, b[:, :, ::-1])]
    apart = np.minimum(cdist(flat[0], flat[1], "hamming"), cdist(flat[0], flat[2], "hamming"))
    assert np.allclose(inverse.similarity(a, b), 1 - apart)


def test_children_change_the_boundary_alone(data):
    parent = data.learned.quarters[7]
    young = inverse.children(parent, 40, np.random.default_rng(0), most=3)
    for child in young:
        pieces, many = label(child)
        changed = child != parent
        assert many == 1 and 0 < changed.sum()
        added = changed & child
        assert not (added & ~inverse.boundary(parent)).any()


def test_a_record_forgets_nothing_and_ranks_only_cells_that_kept_the_rules(data):
    target = data.heldout.stress[0].astype(float)
    known = inverse.from_data(target[None], data.learned, 3)[0]
    apart = error(data.learned.stress.astype(float), target)
    assert np.allclose(known.errors, np.sort(apart)[:3])
    known.add(data.heldout.quarters[0], target, False, 2)
    assert known.error == pytest.approx(apart.min()) and len(known.quarters) == 4 and 3 not in known.best(4)
    known.add(data.heldout.quarters[0], np.full(11, np.nan), True, 2)
    assert np.isinf(known.errors[-1])


def test_an_open_target_is_filled_from_the_nearest_cell(data):
    target = data.learned.stress[5].astype(float)
    target[4:8] = np.nan
    whole = inverse.filled(target, data.learned)
    assert np.allclose(whole, data.learned.stress[5], rtol=1e-5)


def test_films_of_proposed_cells_are_kept_by_their_cells(data, network, monkeypatch):
    quarters = data.heldout.quarters[:6].copy()
    quarters[4] = False  # a film without a cell
    fields = np.arange(6.0)[:, None, None, None, None] * np.ones((1, 3, 11, 24, 24))
    asked = []

    def drawn(model, curves, **options):
        asked.append((curves, options))
        return Videos(fields, quarters, np.ones((6, 11)))

    monkeypatch.setattr(inverse, "generate", drawn)
    films, model = {}, VideoDiffusion(**SIZES["test"])
    propose = inverse.proposer(model, network, choose_from=1, guidance_scale=1.5, n_steps=3, films=films)
    curves = data.heldout.stress[:2].astype(float)
    found = propose(curves, 3, 7)
    assert np.array_equal(asked[0][0], curves[[0, 0, 0, 1, 1, 1]]) and asked[0][1] == dict(seed=7, guidance_scale=1.5, n_steps=3)
    assert [len(part) for part in found] == [3, 2]
    for t, part in enumerate(found):
        told = error(predict_curves(network, part), curves[t])
        assert (np.diff(told) >= 0).all()
        for quarter in part:
            row = int((quarters == quarter).all((1, 2)).argmax())
            assert row // 3 == t and np.array_equal(films[quarter.tobytes()], fields[row])
    assert len(films) == 5


@pytest.mark.parametrize("wrong, words", [
    (dict(target=[-1.0] * 11), "stress is"), (dict(target=np.ones(11), strain=np.linspace(0, 20, 11)), "strain"),
    (dict(target=np.ones(11), keep=0), "keep is 0"), (dict(target=np.ones(11), n_candidates="x"), "n_candidates is 'x'"),
    (dict(target=np.ones(11), second="best"), "second is 'best'"), (dict(target=np.ones(11), model="gan"), "model is 'gan'")])
def test_a_wish_that_cannot_be_is_refused_before_anything_is_compressed(wrong, words, monkeypatch):
    monkeypatch.setattr(inverse, "compress", lambda *a, **k: pytest.fail("compressed"))
    with pytest.raises(ValueError, match=words):
        inverse.design_for(**wrong)


def test_a_far_target_is_told(monkeypatch, data):
    answers = []

    def nothing_passes(designs, **options):
        answers.append(len(designs))
        from types import SimpleNamespace

        B = len(designs)
        return SimpleNamespace(stress=np.ones((B, 11)), passed=np.zeros(B, bool))

    monkeypatch.setattr(inverse, "compress", nothing_passes)
    with pytest.warns(UserWarning, match="away from the nearest") as heard:
        found = inverse.design_for(500 * np.ones(11), model="nearest", polish=2, n_solves=4)
    assert isinstance(found, Found) and len(found) == 0 and answers == [2]
    assert any("none of 2 cells kept the rules" in str(warning.message) for warning in heard)
