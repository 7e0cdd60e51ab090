"""The linear answer of cells, against CalculiX and by its own laws."""
import json
from pathlib import Path

import numpy as np
import pytest

from metanb.cellular.design import random_designs
from metanb.cellular.elastic import linear_response, square_stiffness
from metanb.cellular.material import Material


def quarters(n, size, seed=0):
    return random_designs(n, seed, quarter=size)[:, :size, :size]


@pytest.mark.parametrize("pixels", [24, 48])
def test_it_is_the_stiffness_of_calculix(pixels):
    "Stored curves of CPE8R at a strain of 0.2 %, where little yields; elements of eight nodes are softer by some per cent."
    cases = json.loads((Path(__file__).parent / "data" / "cellular_validation.json").read_text())["cells"]
    cases = [case for case in cases if (case["pixels"], case["refine"]) == (pixels, 1)]
    assert len(cases) >= 10
    designs = random_designs(max(case["row"] for case in cases) + 1, 1, quarter=pixels // 2)[[case["row"] for case in cases]]
    ours = Material().young * linear_response(designs[:, :pixels // 2, :pixels // 2]).stiffness * [case["strain"][0] for case in cases]
    ratio = ours / [case["stress"][0] for case in cases]
    print(ratio.round(3))
    assert 1.0 < np.median(ratio) < 1.06 and ratio.min() > 0.98 and ratio.max() < 1.15


def test_laws():
    cells = quarters(5, 8)
    answer = linear_response(cells)
    assert np.allclose(answer.energy.sum((1, 2)), 1) and (answer.energy >= 0).all()
    assert (answer.energy * ~cells).sum((1, 2)).max() < 0.02, "voids carry next to nothing"
    one = linear_response(cells, batch=2)
    assert all(np.allclose(a, b, rtol=1e-10, atol=1e-12) for a, b in zip(answer, one)), "a cell does not know its batch"
    assert np.allclose(answer.displacement[:, 0], 0) and np.allclose(answer.displacement[:, -1, :, 1], -8)
    assert (linear_response(cells, platens="lubricated").stiffness <= answer.stiffness * (1 + 1e-12)).all(), "a constraint less"
    more = cells | quarters(5, 8, seed=1)
    assert (linear_response(more).stiffness >= answer.stiffness).all(), "more material is not softer"


def test_layers_in_series_and_side_by_side():
    "Without contraction (poisson 0) the means of the stiffness are exact."
    layers = np.ones((1, 6, 4), bool)
    layers[:, 2:4] = False
    soft = linear_response(layers, poisson=0.0, void=0.1).stiffness[0]
    assert soft == pytest.approx(1 / (4 / 6 + 2 / 6 / 0.1), rel=1e-12)
    beside = linear_response(np.array([[[True, True, False, False]] * 5]), poisson=0.0, void=0.1, platens="lubricated").stiffness[0]
    assert beside == pytest.approx(0.55, rel=1e-12)


def test_the_square():
    K = square_stiffness(0.3)
    assert np.allclose(K, K.T) and np.linalg.matrix_rank(K, tol=1e-10) == 5
    bent = np.array([1, 0, -1, 0, 1, 0, -1, 0]) / 4  # u = x y: curvature 1
    assert bent @ K @ bent / 2 == pytest.approx(1 / (1 - 0.3**2) / 24, rel=1e-12), "E' I / 2 with I = 1/12"
    for value in (0.5, -1, "0.3", np.nan):
        with pytest.raises(ValueError, match="poisson is"):
            square_stiffness(value)


def test_no_designs():
    answer = linear_response(np.zeros((0, 4, 4), bool))
    assert answer.stiffness.shape == (0,) and answer.energy.shape == (0, 4, 4)
