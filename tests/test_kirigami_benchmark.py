"The benchmark of kirigami cells: what it accepts, what it refuses, and that the shipped models solve it."

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from metanb.core.weights import weights
from metanb.kirigami import benchmark
from metanb.kirigami.design import admissible_designs, count_intersections, random_designs

ROOT = Path(__file__).resolve().parents[1]
SOLVERS = [f"{name}_{beta}" for name in ("energy", "anyorder", "jump") for beta in (60, 90)]


@pytest.fixture(scope="module")
def sets():
    return {name: admissible_designs(200, beta_max=90, sweeps=20, seed=k) for k, name in enumerate(("data", "heldout"))}


def returns(value):
    return lambda n, seed, beta_max: value


@pytest.mark.parametrize("value, message", [
    (np.zeros((60, 6, 5)), r"\(60, 6, 5\)"), (np.zeros((59, 6, 6)), r"\(59, 6, 6\)"), (np.full((60, 6, 6), np.nan), "finite"),
    (np.full((60, 6, 6), np.inf), "finite"), (None, "None"), ([["a"]], r"\[\['a'\]\]"), (np.zeros((60, 1, 6, 6)), r"\(60, 1, 6, 6\)"),
    (np.zeros((60, 6, 6), dtype=complex), "generated is"),
])
def test_a_generator_that_returns_something_else_is_refused(value, message, sets):
    with pytest.raises(ValueError, match=message):
        benchmark.score(returns(value), 90, n=60, classifier=False, **sets)


@pytest.mark.parametrize("n", [0, 49, 60.5, True])
def test_a_number_of_cells_that_says_nothing_is_refused(n, sets):
    with pytest.raises(ValueError, match="n is"):
        benchmark.score(random_designs, 90, n=n, classifier=False, **sets)


def test_half_turns_and_the_order_of_cells_do_not_change_the_score(sets):
    cells, options = admissible_designs(100, beta_max=90, sweeps=20, seed=9), dict(n=100, classifier=False, **sets)
    turns = 180.0 * np.random.default_rng(0).integers(-2, 3, cells.shape)
    plain, turned, mixed = (benchmark.score(returns(c), 90, **options) for c in (cells, cells + turns, cells[::-1]))
    for key in plain.keys() - {"seconds"}:
        assert turned[key] == pytest.approx(plain[key], abs=1e-6), key
        assert mixed[key] == pytest.approx(plain[key], abs=1e-6), key


def test_the_generator_is_handed_the_arguments_of_the_call(sets):
    seen = {}

    def generate(n, seed, *, beta_max):
        seen.update(n=n, beta_max=beta_max, seed=seed)
        return random_designs(n, seed, beta_max=beta_max)

    first = benchmark.score(generate, 90, n=70, seed=3, classifier=False, **sets)
    assert seen == {"n": 70, "beta_max": 90, "seed": 3} and first["n"] == 70 and first["seed"] == 3
    assert first["mean_intersections"] == count_intersections(random_designs(70, beta_max=90, seed=3)).mean()


def test_unknown_models_and_modules_are_named():
    with pytest.raises(ValueError, match="'vqvae'"):
        benchmark.command(names=["vqvae"])
    with pytest.raises(ValueError, match="nowhere:generate"):
        benchmark.find_generator("nowhere:generate")
    with pytest.raises(ValueError, match="metanb.kirigami.design"):
        benchmark.find_generator("metanb.kirigami.design")


def test_a_model_without_weights_for_a_range_is_refused():
    with pytest.raises(ValueError, match="beta_max is 37"):
        benchmark.draw_shipped("energy", 2, beta_max=37)


@pytest.mark.parametrize("name", SOLVERS)
def test_shipped_solvers_generate_admissible_cells(name):
    assert f"kirigami/{name}" in weights()
    model, _, beta = name.rpartition("_")
    cells = benchmark.generators(device="cpu")[model](100, 11, beta_max=float(beta))
    assert cells.shape == (100, 6, 6)
    assert (count_intersections(cells) == 0).mean() >= 0.9


def test_the_browser_offers_the_solvers():
    from metanb.kirigami.explore import offered

    assert {(name.rpartition("_")[0], f"{name.rpartition('_')[2]}°") for name in SOLVERS} <= offered().keys()


@pytest.mark.parametrize("model", ["energy", "anyorder", "jump"])
def test_shipped_solvers_draw_cells_of_other_sizes(model):
    for size in (4, 10, 12):
        cells = benchmark.generators(device="cpu")[model](4, 11, beta_max=90, size=size)
        assert cells.shape == (4, size, size) and count_intersections(cells).mean() < 1


def test_the_command_line_scores_a_module_of_the_user(tmp_path):
    (tmp_path / "mine.py").write_text("from metanb.kirigami.design import random_designs\n\n\n"
                                      "def generate(n, seed, *, beta_max):\n    return random_designs(n, seed, beta_max=beta_max)\n")
    out = tmp_path / "scores.json"
    words = ["benchmark", "kirigami", "--module", "mine:generate", "--beta-max", "90", "--n", "50", "--preset", "test", "--no-classifier", "--out", str(out)]
    run = subprocess.run([sys.executable, "-c", "from metanb.core.runs import main; main()", *words], cwd=tmp_path, capture_output=True, text=True,
                         env=os.environ | {"METANB_DATA": str(tmp_path / "data")})
    assert run.returncode == 0, run.stderr
    assert "mine:generate" in run.stdout and json.loads(out.read_text())[0]["mean_intersections"] > 10


def test_a_plan_comes_first(tmp_path, capsys):
    file = tmp_path / "scores.json"
    benchmark.command(names=["vae"], beta_max=[60], n=1000, out=file, dry_run=True)
    said = capsys.readouterr().out
    assert "1 score of 1,000 cells" in said and str(file) in said and "nothing was done" in said and not file.exists()
    benchmark.command(module=["metanb.kirigami.design:random_designs"], n=1000, dry_run=True)
    assert "without the time that metanb.kirigami.design:random_designs takes" in capsys.readouterr().out
