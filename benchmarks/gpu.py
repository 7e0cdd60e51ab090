"""What a GPU is worth for metanb: one command, a line for each kind of work, each checked against the CPU; resumable by line.

    python benchmarks/gpu.py [--device cuda] [--preset paper] [--only cellular ...] [--again] [--out benchmarks/results]

| line | what | goal at `paper` on an H200 |
|---|---|---|
| cellular | cells of 96 x 96 pixels compressed an hour, and hours for the paper's 53,007 | below 3 h |
| voxel_128, voxel_256, voxel_512 | one cubic cell of that edge homogenised | 25 ms for 128, 2 s for 512 |
| optimising | steps of optimisations of voxel cells, side by side | none |
| truss | designs homogenised a second, and minutes for three million | below 5 min |
| sampling_one, sampling_many | the paper's U-Net on octants of 64: a cell alone, a cell of a batch | 0.08 s, 0.02 s |
| training_... | steps a second of the four largest models | none |

At `test` the sizes are small, and nothing is judged: it shows that the lines work, as continuous integration does on the CPU. A line holds its time, its peak memory, and its check: the same work, smaller, on
the CPU and on the device, and how far the answers are apart. Times of a GPU are taken between synchronisations, after a first call that compiles. Writes gpu_DEVICE.json after every line.

Estimated hours for 53,007 cells of 96 x 96 pixels, one process on an H200; nothing of it was measured on a GPU. Counted (tests/test_device.py): 21 launches and 6.0 MB a cell for a compiled step, 1,005 and
75 MB for an eager one; 34 and 5.8 MB for both ends of a block, about 37 for its search for candidates, 5 waits (asked: 30 around the steps in all, and 2 waits; missed). Assumed: 4.0 TB/s, 2.5 us for a kernel, 0.25 ms of the host for a compiled step, 20 ms of
the host's own work a cell (drawing, meshing, packing) and 1.7 ms a frame; steps of the shipped cells of 48 x 48 pixels, doubled (four of 96 x 96 took 29,000 to 47,000), repetitions as there.

| cells in a batch | 256 | 512 | 1024 | 2048 | 2048, `places=256` |
|---|---|---|---|---|---|
| eager, to where the compiler's limit once sent new sizes | 125 | 72 | 43 | 27 | |
| 0.3.0: compiled step; 1,426 launches and 45 waits around it, 28 ms for the depth of an overlap | 14.7 | 11.6 | 9.1 | 8.0 | |
| all compiled | 4.7 | 4.1 | 2.9 | 2.2 | 2.2 |
| `graph=True` | 3.1 | 2.3 | 2.0 | 1.8 | 1.9 |

Estimated likewise, with 6 us of the host for an operator and 2 for a view, for a hard cell of 128^3 voxels (62 iterations, the first eight of a graph plain) in single precision; its two
ends, some 2 ms, are left out:

| way | launches, MB an iteration | ms: host, device |
|---|---|---|
| 0.3.0 | 58, 804 | 40, 16 |
| plain | 39, 733 | 33, 13 |
| `gathered` | 28, 280 | 19, 6 |
| `graph` | one for eight, 733 | 5 and what capturing takes, 13 |
| both | one for eight, 280 | 3 and what capturing takes, 6 |
"""

import argparse
import json
import os
import platform
import re
import time
from functools import cache, partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch

import metanb
from metanb.cellular import train as cellular_train
from metanb.cellular.design import random_designs as random_cells
from metanb.cellular.mechanics import compress
from metanb.core.device import can_compile, device_kind, pick_device
from metanb.core.diffusion import for_sampling
from metanb.core.files import read_json, write_json
from metanb.core.presets import pick
from metanb.core.training import Packed, fit
from metanb.kirigami.design import admissible_designs
from metanb.kirigami.model import RECIPES, to_network
from metanb.kirigami.model import build as build_kirigami
from metanb.truss.data import initial_data
from metanb.truss.design import random_designs as random_trusses
from metanb.truss.mechanics import effective_stiffness
from metanb.truss.train import TRAININGS as TRUSS
from metanb.truss.train import train as train_truss
from metanb.voxel import train as voxel_train
from metanb.voxel.design import family
from metanb.voxel.mechanics import homogenize
from metanb.voxel.model import generate, to_condition
from metanb.voxel.octants import wedge_size
from metanb.voxel.optimize import InverseHomogenization, optimize_together

PAPER_CELLS, PAPER_TRUSSES = 53_007, 3_000_000


def wait(device):
    "Until the device has done what it was given."
    if pick_device(device).type == "cuda":
        torch.cuda.synchronize()


def timed(work, device, repeats=1):
    "Seconds of one call, and the last answer; the first call compiles and is not counted."
    answer = work()
    wait(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        answer = work()
    wait(device)
    return (time.perf_counter() - begin) / repeats, answer


def quickest(ways, device, repeats=1):
    "Seconds, answer and name of the quickest of several ways, and what became of the others: some have never run on a GPU."
    found, others = [], {}
    for name, work in ways.items():
        try:
            found.append((*timed(work, device, repeats), name))
            others[name] = found[-1][0]
        except Exception as error:  # the plain way remains
            others[name] = f"{type(error).__name__}: {error}"
    if not found:
        raise RuntimeError(f"no way works: {others}")
    seconds, answer, name = min(found, key=lambda one: one[0])
    return seconds, answer, {"way": name, "ways": others}


def apart(a, b):
    "Largest difference over the largest value."
    a, b = (np.asarray(x.detach().cpu() if isinstance(x, torch.Tensor) else x, float) for x in (a, b))
    if not np.array_equal(np.isfinite(a), np.isfinite(b)) or not np.isfinite(a).any():
        return 1e300  # a number for JSON that no line allows
    return float(np.nanmax(np.abs(a - b)) / np.nanmax(np.abs(a)))


def compressed(designs, device, **settings):
    "Work for `timed`: first a few designs a short way, which compiles for all sizes, then all of them."
    batches = iter([(designs[:3], {"frames": (0.01,), "repeats": 0}), (designs, {})])

    def work():
        some, short = next(batches)
        return compress(some, device=device, **settings | short)
    return work


def cellular(preset, device):
    "Compression, on a GPU with all steps of a block as one CUDA graph; step by step where that fails."
    quarter, batch = pick(preset, test=8, demo=24, paper=48), pick(preset, test=2, demo=32, paper=512)
    quick = pick(preset, test=dict(kinetic_target=0.01, repeats=0, compiled=False), demo={}, paper={})
    designs, cuda = random_cells(batch, 0, quarter=quarter), pick_device(device).type == "cuda"
    way = lambda graph: {("a graph of the steps" if graph else "step by step"): compressed(designs, device, graph=graph, **quick)}
    try:
        seconds, result, told = quickest(way(cuda), device)
    except RuntimeError as error:
        seconds, result, told = quickest(way(False), device)
        told["ways"]["a graph of the steps"] = str(error)
    few, like = random_cells(2, 1, quarter=8), {"compiled": cuda and can_compile(device), "graph": told["way"] != "step by step"}
    both = [compress(few, device=place, kinetic_target=0.01, repeats=0, **options).stress for place, options in (("cpu", {"compiled": False}), (device, like))]
    hours = PAPER_CELLS * seconds / batch / 3600
    return {"seconds": seconds, "value": 3600 * batch / seconds, "unit": f"cells of {2 * quarter} pixels an hour", "projected": hours,
            "projection": "hours for 53,007", "goal": 3.0, "judged": hours, "passed": int(result.passed.sum()),
            "check": apart(*both), "check_at_most": 0.01, **told}  # below the label noise


def voxel(edge):
    "Homogenisation of one cubic cell."
    def line(preset, device):
        N = pick(preset, test=edge // 16, demo=edge // 4, paper=edge)
        cell = torch.as_tensor(family("gyroid" if N < 8 else "schwarz_p", N, 0.3)).to(pick_device(device))
        own = [()] + [("graph",), ("gathered",), ("graph", "gathered")] * (pick_device(device).type == "cuda")
        ways = {" and ".join(gpu) or "plain": partial(homogenize, cell, dtype=torch.float32, gpu=gpu) for gpu in own}
        seconds, answer, told = quickest(ways, device, pick(preset, test=1, demo=3, paper=5))
        small = family("schwarz_p", 16, 0.3)
        both = [homogenize(small, device=place, gpu=ways[told["way"]].keywords["gpu"]).C for place in ("cpu", device)]
        goal = {128: 0.025, 512: 2.0}.get(edge)
        return {"seconds": seconds, "value": 1e3 * seconds, "unit": f"ms a cell of {N}^3", "goal": goal, "judged": seconds,
                "iterations": int(answer.iterations), "check": apart(*both), "check_at_most": 1e-5, **told}
    return line


def optimising(preset, device):
    "Steps of optimisations side by side; a shard of the paper's data set makes 100 and more."
    n, octant = pick(preset, test=2, demo=8, paper=32), pick(preset, test=4, demo=16, paper=32)
    steps, settings = 5, dict(octant=octant, stage_steps=5, sharpness=(1,), device=device)
    task = [("bulk", 0.3, 0), ("shear", 0.4, 1), ("bulk", 0.5, 2)]

    def work(place=device, few=n, **more):
        runs = [InverseHomogenization(goal, share, seed=seed + i, **(settings | {"device": place} | more))
                for i in range(few) for goal, share, seed in [task[i % 3]]]
        return optimize_together(runs)

    seconds, _ = timed(work, device)
    both = [work(place, 2, octant=4, dtype=torch.float64, rtol=1e-8)[0].history[-1]["objective"] for place in ("cpu", device)]
    return {"seconds": seconds, "value": n * steps / seconds, "unit": f"steps of cells a second, {n} cells of {2 * octant}^3 side by side",
            "goal": None, "judged": None, "check": apart(*([x] for x in both)), "check_at_most": 1e-5}


def truss(preset, device):
    "Stiffness of random trusses."
    n = pick(preset, test=200, demo=20_000, paper=300_000)
    designs = random_trusses(n, seed=0)
    seconds, _ = timed(lambda: effective_stiffness(designs, device=device), device)
    few = random_trusses(100, seed=1)
    both = [effective_stiffness(few, device=place) for place in ("cpu", device)]
    minutes = PAPER_TRUSSES * seconds / n / 60
    return {"seconds": seconds, "value": n / seconds, "unit": "trusses a second", "projected": minutes, "projection": "minutes for 3,000,000",
            "goal": 5.0, "judged": minutes, "check": apart(*both), "check_at_most": 1e-8}


def sampling(batch):
    "Cells of a diffusion model with the paper's U-Net; its weights are random, which costs the same."
    def line(preset, device):
        size = {"octant": 8, "widths": [4, 8], "attention": [False, True]} if preset == "test" else {}
        model = voxel_train.build("unet", preset="demo" if preset == "demo" else "paper", **size).eval()
        n = min(batch, 2) if preset == "test" else batch
        wanted, steps = np.full((n, 4), np.nan), 20
        model, kinds = model.to(pick_device(device)), {"plain": lambda net: net, "half": for_sampling}
        if pick_device(device).type == "cuda":
            kinds["compiled"] = partial(for_sampling, compiled=True)
        made = {name: cache(partial(kind, model)) for name, kind in kinds.items()}  # compiled at the first call alone
        ways = {name: lambda make=make: generate(make(), wanted, n_steps=steps) for name, make in made.items()}
        seconds, octants, told = quickest(ways, device)
        small = voxel_train.build("unet", preset="test").eval()
        x = torch.randn(2, 1, wedge_size(small.config["octant"]), generator=torch.Generator().manual_seed(0))
        both = [denoised(small, x), denoised(kinds[told["way"]](small.to(pick_device(device))), x.to(pick_device(device)))]
        return {"seconds": seconds, "value": seconds / n, "unit": f"s a cell, {n} at once, octants of {octants.shape[1]}, {steps} steps",
                "goal": 0.08 if batch == 1 else 0.02, "judged": seconds / n, "check": apart(*both), "check_at_most": 1e-3 if told["way"] == "plain" else 0.03, **told}
    return line


def denoised(model, x):
    "One call of a network."
    told = model.conditions((None, to_condition(np.full((len(x), 4), 0.3)).to(x.device)))
    with torch.no_grad():
        return model.denoiser(told)(x, 10)


def steps_a_second(build, data, settings):
    "A short training; the check is its first losses on the CPU."
    def line(preset, device):
        few, many = pick(preset, test=(2, 4), demo=(5, 25), paper=(10, 60))
        kept = {key: value for key, value in settings(preset).items() if key not in ("steps", "evaluate")}

        def run(place, steps, precision="auto", size=None):
            smaller = {} if size is None else {"batch_size": size}
            return fit(build(preset), data(preset), steps=steps, device=place, precision=precision, seed=0, progress=False, **(kept | smaller))

        run(device, few)
        wait(device)
        times = []
        for steps in (few, many):
            begin = time.perf_counter()
            result = run(device, steps)
            wait(device)
            times.append(time.perf_counter() - begin)
        rate = (many - few) / max(1e-9, times[1] - times[0])
        both = [loss_of(run(place, 1, "fp32", 2)) for place in ("cpu", device)]
        size = sum(p.numel() for p in result.model.parameters())
        return {"seconds": times[1], "value": rate, "unit": f"steps a second of {kept.get('batch_size')}, {size / 1e6:.1f} M parameters",
                "goal": None, "judged": None, "check": apart(*both), "check_at_most": 0.05}  # noise is drawn on each device
    return line


def loss_of(result):
    "The losses of the first step."
    return [value for key, value in sorted(result.history[-1].items()) if key.startswith("loss")]


def octant_data(preset):
    "Random bits and properties, as many as a batch needs."
    n, rng = pick(preset, test=8, demo=16, paper=64), np.random.default_rng(0)
    free = rng.random((256, wedge_size(n))) < 0.5
    return Packed.of(free), to_condition(rng.random((256, 4)))


def film_data(preset):
    "Random films and curves."
    n = pick(preset, test=24, demo=24, paper=96)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 3, 11, n, n, generator=generator), torch.rand(16, 11, generator=generator) + 0.1


def trained_truss(preset, device):
    "The published inverse network, through its forward one."
    size = pick(preset, test="test", demo="demo", paper="paper")
    data = initial_data("test", progress=False)
    few, many = pick(preset, test=(2, 4), demo=(5, 25), paper=(10, 60))
    forward = TRUSS["affine"].build(preset=size)
    times = []
    for steps in (few, few, many):
        begin = time.perf_counter()
        result = train_truss("inverse_paper", data, forward=forward, preset=size, device=device, steps=steps, progress=False)
        wait(device)
        times.append(time.perf_counter() - begin)
    first = dict(steps=1, only=["topology"], precision="fp32", progress=False)  # a phase that draws no noise; in the published network there is none
    both = [loss_of(train_truss("inverse", data, forward=forward, preset=size, device=place, **first)) for place in ("cpu", device)]
    parameters = sum(p.numel() for p in result.model.parameters())
    return {"seconds": times[2], "value": (many - few) / max(1e-9, times[2] - times[1]), "unit": f"steps a second, {parameters / 1e6:.1f} M parameters",
            "goal": None, "judged": None, "check": apart(*both), "check_at_most": 1e-3}


def of(trainings, name):
    "How to build and fit a model of a space at a preset."
    return (lambda preset: trainings[name].build(preset=preset)), (lambda preset: trainings[name].for_fit(preset))


UNET = of(voxel_train.TRAININGS, "unet")
LINES = {
    "cellular": cellular, "voxel_128": voxel(128), "voxel_256": voxel(256), "voxel_512": voxel(512), "optimising": optimising,
    "truss": truss,
    "sampling_one": sampling(1), "sampling_many": sampling(32),
    "training_voxel_unet": steps_a_second(UNET[0], octant_data, UNET[1]),
    "training_cellular_video": steps_a_second(
        lambda preset: cellular_train.build(pick(preset, test="video_24", demo="video_24", paper="video_96"), preset=preset), film_data,
        lambda preset: cellular_train.TRAININGS[pick(preset, test="video_24", demo="video_24", paper="video_96")].for_fit(preset)),
    "training_kirigami_ddpm": steps_a_second(
        lambda preset: build_kirigami("ddpm"), lambda preset: to_network(admissible_designs(256, 0, sweeps=5)), lambda preset: RECIPES["ddpm"]),
    "training_truss_inverse": trained_truss,
}


def measured(name, preset, device):
    "One line, with its memory; an error is an answer, too."
    cuda = pick_device(device).type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    begin = time.perf_counter()
    try:
        found = LINES[name](preset, device)
    except Exception as error:  # the other lines are worth running
        return {"error": f"{type(error).__name__}: {error}", "total": time.perf_counter() - begin}
    judged = preset == "paper" and found["goal"] is not None and cuda
    found["met"] = bool(found["judged"] <= found["goal"]) if judged else None
    found["agrees"] = bool(found["check"] <= found["check_at_most"])
    return found | {"total": time.perf_counter() - begin, "peak_memory_GB": torch.cuda.max_memory_allocated() / 1e9 if cuda else None}


def told(name, line):
    "A line for people."
    if "error" in line:
        return f"{name:<24} failed: {line['error'][:140]}"
    more = f", {line['projected']:.3g} {line['projection']}" if "projected" in line else ""
    more += f", {line['way']}" if "way" in line else ""
    met = {True: "goal met", False: "goal MISSED", None: "no goal here"}[line["met"]]
    memory = "" if line["peak_memory_GB"] is None else f", {line['peak_memory_GB']:.2g} GB"
    agrees = "agrees with the CPU" if line["agrees"] else f"DIFFERS from the CPU by {line['check']:.2g}"
    return f"{name:<24} {line['value']:.4g} {line['unit']}{more}{memory}; {met}, {agrees}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--preset", default="test", choices=("test", "demo", "paper"))
    parser.add_argument("--only", nargs="*", choices=list(LINES), default=list(LINES))
    parser.add_argument("--again", action="store_true", help="also the lines that are there")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    kind = device_kind(arguments.device)
    file = arguments.out / f"gpu_{re.sub('[^a-z0-9]+', '_', kind.lower())}_{arguments.preset}.json"
    facts = {"device": kind, "preset": arguments.preset, "metanb": metanb.__version__, "torch": torch.__version__, "python": platform.python_version()}
    known = read_json(file) if file.is_file() else {}
    lines = known.get("lines", {}) if {key: known.get(key) for key in facts} == facts else {}
    for name in arguments.only:
        if arguments.again or name not in lines or "error" in lines[name]:
            lines[name] = measured(name, arguments.preset, arguments.device)
            arguments.out.mkdir(parents=True, exist_ok=True)
            write_json(file, facts | {"lines": lines})
        print(told(name, lines[name]), flush=True)
    print(json.dumps({key: str(value) for key, value in facts.items()}), file, sep="\n")
    wrong = [name for name in arguments.only if "error" in lines[name] or not lines[name]["agrees"]]
    raise SystemExit(f"failed or different from the CPU: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()
