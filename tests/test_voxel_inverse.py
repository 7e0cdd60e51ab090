"""Cells for a stiffness, judged without the symmetry, the solver settings and the part finder that made them."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import label as scipy_label

from metanb.core.elasticity import isotropic_stiffness
from metanb.core.weights import card, weights
from metanb.voxel.benchmark import judge, leaderboard, shipped_lists, table
from metanb.voxel.data import RANGES
from metanb.voxel.design import unfold
from metanb.voxel.inverse import design_for, load_model, polish
from metanb.voxel.mechanics import homogenize
from metanb.voxel.octants import from_wedge, to_wedge, twin
from metanb.voxel.train import data_for

TARGET = (0.2, 0.06, 0.07)
NAN = float("nan")


@pytest.fixture(scope="module")
def lessons():
    return data_for(16, progress=False)


@pytest.fixture(scope="module")
def found():
    return design_for(TARGET, seed=1)


def whole(octant):
    "C11, C12, C44 of the whole cell: all six load cases, no symmetry, float64."
    C = homogenize(torch.as_tensor(unfold(octant)), symmetry="none", rtol=1e-6).C.numpy()
    return np.array([C[0, 0], C[0, 1], C[3, 3]])


def in_one_piece(cell) -> bool:
    "By parts of 2 x 2 x 2 repetitions: the largest one reaches everywhere that there is material."
    parts, count = scipy_label(np.tile(cell, (2, 2, 2)))
    middle = parts[tuple(slice(n // 2, n // 2 + n) for n in cell.shape)]
    faces = all(cell.take(end, axis).any() for axis in range(3) for end in (0, -1))
    return faces and count >= 1 and len(np.unique(middle[middle > 0])) == 1


def by_hand(constants, target=TARGET):
    "Eq. 4."
    return np.mean(abs(np.asarray(constants) - target) / (RANGES[:3, 1] - RANGES[:3, 0]))


def test_cells_are_what_their_numbers_say(found):
    assert 1 <= len(found) <= 4 and found.design.shape[1:] == (16, 16, 16)
    assert (np.diff(found.error) >= 0).all() and found.facts["sound_renoised"] > 0
    for octant, C, error, share in zip(found.design, found.verified, found.error, found.facts["volume_fraction"]):
        cell = unfold(octant)
        assert in_one_piece(cell) and abs(cell.mean() - share) < 1e-12
        for order in ((1, 0, 2), (0, 2, 1)):
            assert (cell == cell.transpose(order)).all()
        reference = whole(octant)
        assert abs(reference - C.numpy()[[0, 0, 3], [0, 1, 3]]).max() < 1e-4
        assert abs(by_hand(reference) - error) < 2e-4


def test_the_same_seed_gives_the_same_cells_and_a_tensor_is_its_constants(found):
    C = torch.zeros(6, 6, dtype=torch.float64)
    C[:3, :3], C[range(3), range(3)], C[range(3, 6), range(3, 6)] = TARGET[1], TARGET[0], TARGET[2]
    again = design_for(C, seed=1)
    assert (again.design == found.design).all() and np.allclose(again.error, found.error, rtol=1e-9)
    other = design_for(TARGET, seed=2)
    assert not np.array_equal(other.design[:1], found.design[:1])


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_a_volume_fraction_alone_and_nothing_at_all(share):
    one = design_for(volume_fraction=share, n_candidates=8, keep=8, seed=3)
    assert len(one) >= 4 and np.median(abs(one.design.mean((1, 2, 3)) - share)) < 0.03
    assert np.allclose(one.error, abs(one.design.mean((1, 2, 3)) - share) / np.ptp(RANGES[3]), atol=1e-9)
    free = design_for(n_candidates=8, keep=8, seed=3)
    assert len(free) and (free.error == 0).all() and free.design.mean((1, 2, 3)).std() > 0.03


def test_both_are_told(found):
    tight = design_for(TARGET, volume_fraction=0.33, n_candidates=8, keep=4, seed=1)
    assert abs(tight.facts["volume_fraction"] - 0.33).mean() < 0.03


def test_polished_cells_meet_the_target(found):
    better = design_for(TARGET, seed=1, keep=2, polish=True)
    assert len(better) == 2 and (better.error < found.error[:2].max()).all()
    assert better.error[0] < 0.003 and better.error[0] <= found.error[0]
    assert abs(by_hand(whole(better.design[0])) - better.error[0]) < 2e-4
    assert all(in_one_piece(unfold(octant)) for octant in better.design)


def test_polish_says_what_it_did(found):
    octant, properties, facts = polish(found.design[-1], [*TARGET, NAN], rounds=4)
    assert facts["solves"] > 4 and 0 < facts["changed"] < 0.15 and facts["changed"] == (octant != found.design[-1]).mean()
    assert by_hand(properties[:3]) < found.error[-1]


def test_larger_octants_are_verified_at_their_own_size():
    large = design_for(TARGET, seed=1, octant=32, n_candidates=2, keep=1)
    assert large.design.shape == (1, 32, 32, 32) and in_one_piece(unfold(large.design[0]))
    C = homogenize(torch.as_tensor(unfold(large.design[0])), symmetry="mirror", rtol=1e-5).C.numpy()
    assert abs(by_hand(C[[0, 0, 3], [0, 1, 3]]) - large.error[0]) < 3e-4
    with pytest.raises(ValueError, match="octant is 24; allowed: multiples of 16"):
        design_for(TARGET, octant=24, model=load_model(16))


@pytest.mark.parametrize("target, share, words", [
    ((1.5, 0.7, 0.38), None, "bulk modulus"),
    ((0.9, 0.4, 0.25), 0.3, "Hashin-Shtrikman bound at volume fraction 0.3"),
    ((0.2, 0.06, 0.5), None, "shear modulus C44"),
    ((0.2, 0.25, 0.07), None, "C11 - C12"),
    ((0.2, -0.11, 0.07), None, "C11 + 2 C12"),
    ((0.2, 0.06, -0.01), None, "C44 of target"),
])
def test_what_no_cell_can_have_is_refused_with_the_bound(target, share, words):
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        design_for(target, volume_fraction=share)


def test_a_target_far_from_the_data_is_told():
    with pytest.warns(UserWarning, match="away from the nearest cell that the model learned from"):
        far = design_for((0.5, -0.2, 0.02), seed=0)
    assert far.facts["outside"] and far.facts["distance"] > 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = design_for(TARGET, seed=1)
    assert not near.facts["outside"] and near.facts["distance"] < 0.02


def test_isotropic_targets_are_taken():
    C = isotropic_stiffness(0.12, 0.07)
    iso = design_for(C, seed=0)
    assert len(iso) and by_hand(whole(iso.design[0]), [float(C[0, 0]), float(C[0, 1]), float(C[3, 3])]) < 0.05


def test_twins_are_the_same_cell(found):
    assert abs(whole(found.design[0]) - whole(twin(found.design[0]))).max() < 1e-6
    assert (twin(found.design[0]) != found.design[0]).any()


def test_held_out_cells_and_their_twins_are_in_no_lesson(lessons):
    def names(free):
        return {row.tobytes() for row in np.packbits(free, axis=1)}

    learned, twins = names(lessons.free), to_wedge(twin(from_wedge(lessons.heldout_free)))
    assert not learned & names(lessons.heldout_free) and not learned & names(twins)
    assert len(lessons) > 20_000 and 0.03 < len(lessons.heldout_free) / len(lessons) < 0.07


def test_lists_of_targets(lessons):
    lists = shipped_lists(16)
    assert {name: len(rows) for name, rows in lists.items()} == dict.fromkeys(("held-out", "boxes", "hull"), 1000)
    held = {row.tobytes() for row in lessons.heldout_properties}
    assert all(row.tobytes() in held for row in lists["held-out"])
    with pytest.raises(ValueError, match="octant is 8"):
        shipped_lists(8)


def test_anyone_can_stand_in_the_table(lessons):
    targets = {"held-out": shipped_lists(16)["held-out"][:3]}

    def blocks(targets, seed):
        return np.ones((len(targets), 2, 16, 16, 16), bool)

    rows = {row["who"]: row for row in table({"blocks": blocks}, targets, lessons, few=1)}
    solid = np.array([1.3461538, 0.5769231, 0.3846154])
    assert abs(rows["blocks"]["mean"] - 100 * np.mean([by_hand(solid, row[:3]) for row in targets["held-out"]])) < 0.01
    assert rows["blocks"]["sound"] == 1 and rows["nearest datum"]["mean"] < 1 and "blocks" in leaderboard(list(rows.values()))
    with pytest.raises(ValueError, match=r"len\(targets\) is 3"):
        judge(blocks(targets["held-out"][:2], 0), targets["held-out"], lessons)


def test_the_card_tells_what_was_measured_on_held_out_cells():
    assert "voxel/bits_16" in weights("voxel")
    facts = card("voxel/bits_16")
    file = next(Path(__file__).parents[1].glob("metanb/weights/voxel/bits_16/*.safetensors"))
    assert facts["parameters"] <= 7_500_000 and file.stat().st_size < 16_000_000
    assert facts["metrics"]["targets"] >= 200 and 0 < facts["metrics"]["best"] < facts["metrics"]["mean"] < 10
    assert {"steps", "seed", "seconds", "preset", "device"} <= set(facts["training"]) and json.dumps(facts)
    model = load_model(16)
    assert not model.training and model.config["octant"] == 16 and not torch.isnan(model.known).any()
