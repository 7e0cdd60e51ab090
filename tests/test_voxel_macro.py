"Bodies of cells: what does not read well inside a notebook."
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from metanb.voxel.cloak import LOADS, bracket, cloak, mirrored
from metanb.voxel.macro import block, displacement, equilibrium
from metanb.voxel.multiscale import Body, Reach, log_moduli, optimise

ROOT = Path(__file__).parents[1]


def cubic(shape, seed=0):
    "Random stable constants (3, l, m, n)."
    rng = np.random.default_rng(seed)
    C12 = rng.uniform(-0.05, 0.2, shape)
    return torch.as_tensor(np.stack([C12 + rng.uniform(0.2, 0.8, shape), C12, rng.uniform(0.02, 0.3, shape)]))


def test_load_cases_together_are_those_alone():
    shape, C = (4, 3, 5), cubic((4, 3, 5))
    loads = np.array([[0.1, 0, 0], [0, 0.2, -0.1]])
    clamped = [block(shape, n).held("-z", "x").held("-z", "y").held("-z", "z") for n in (1, 1, 2)]
    alone = torch.cat([equilibrium(C, case.pressed("+z", load), rtol=1e-10).u for case, load in zip(clamped, loads)])
    together = equilibrium(C, clamped[2].pressed("+z", loads), rtol=1e-10).u
    assert torch.allclose(alone, together, atol=1e-8 * float(alone.abs().max()))


def test_the_work_falls_with_every_constant():
    "The derivative of the work of the load is minus an energy, so it is below 0 for C11 and C44 everywhere."
    C = cubic((3, 3, 3)).requires_grad_()
    case = block((3, 3, 3)).held("-x", "x").held("-x", "y").held("-x", "z").pressed("+x", (0.1, 0.2, 0.3))
    (case.force * displacement(C, case, rtol=1e-10)).sum().backward()
    assert bool((C.grad[[0, 2]] < 0).all())


def test_turning_axes_turns_the_solution():
    C = cubic((3, 4, 2))
    case = block((3, 4, 2)).held("-x", "x").held("-y", "y").held("-z", "z").pressed("+x", (0.2, 0, 0)).pressed("+y", (0, -0.1, 0))
    turned = block((4, 3, 2)).held("-x", "x").held("-y", "y").held("-z", "z").pressed("+y", (0, 0.2, 0)).pressed("+x", (-0.1, 0, 0))
    u = equilibrium(C, case, rtol=1e-11).u
    v = equilibrium(C.transpose(1, 2), turned, rtol=1e-11).u
    assert torch.allclose(u[:, [1, 0, 2]].transpose(2, 3), v, atol=1e-8 * float(u.abs().max()))


@pytest.mark.parametrize("load", LOADS)
def test_the_mirrored_displacement_is_that_of_the_whole(load):
    part, whole = (cloak(6, (0.3, 0.1, 0.1), loads=[load], eighth=eighth) for eighth in (True, False))
    u, v = (equilibrium(task.body.constants, task.body.case, rtol=1e-11).u for task in (part, whole))
    assert np.allclose(mirrored(u, nodes=True), v.numpy(), atol=1e-8 * float(v.abs().max()))


def test_a_ring_that_is_stiff_enough_is_found_without_leaving_the_reach():
    task = cloak(8, (0.15, 0.05, 0.05))
    grid = np.stack(np.meshgrid(*3 * [np.linspace(-4, 0, 17)], indexing="ij"), -1).reshape(-1, 3)
    reach = Reach(grid, np.exp(grid.mean(1)), radius=0.2)
    found = optimise(task.body, reach, steps=15, progress=False)
    assert float(task.found(found.constants)) < 0.2 * float(task.found(task.body.constants))
    assert (reach.distance(found.x)[0] <= reach.radius).all()
    again = optimise(task.body, reach, steps=15, progress=False)
    assert np.array_equal(found.x, again.x)  # deterministic


def test_what_is_not_designed_stays():
    body = bracket(5, (0.4, 0.15, 0.1))
    half = Body(body.constants, body.designed & (torch.arange(5) < 2)[:, None, None], body.case, body.objective)
    grid = log_moduli(np.random.default_rng(0).uniform(0.5, 1.5, (50, 1)) * [0.4, 0.15, 0.1]).numpy()
    found = optimise(half, Reach(grid, np.full(50, 0.5)), steps=3, progress=False)
    assert torch.equal(found.constants[:, ~half.designed], body.constants[:, ~half.designed])
    assert not torch.equal(found.constants, body.constants)


@pytest.mark.skipif(not (ROOT / "benchmarks").is_dir(), reason="the benchmarks belong to the checkout, not to the package")
def test_the_benchmark_runs(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/voxel_macro.py"), "--sizes", "4", "--out", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = json.loads((tmp_path / "voxel_macro.json").read_text())["rows"]
    assert [row["solver"] for row in rows] == ["ours", "scikit-fem, conjugate gradients", "scikit-fem, LU"]
    assert all(row[key] < 1e-4 for row in rows[1:] for key in ("difference", "slope_difference"))
