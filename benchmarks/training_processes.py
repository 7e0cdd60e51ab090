"""What several processes are worth in training: steps a second of one process and of several, of one thread each, on the same batches.

    python benchmarks/training_processes.py [--processes 2] [--steps 60] [--batch-size 64] [--space kirigami] [--device cpu]

Each run is started as a user would, by torchrun (`accelerate launch` makes one process of a CPU, whatever it is asked); the first steps are not counted. The losses of both are compared: what
the processes draw at random differs, their means do not.
"""

import argparse
import json
import os
import subprocess
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch

from metanb.core.training import Team, fit
from metanb.kirigami.design import admissible_designs
from metanb.kirigami.model import RECIPES, to_network
from metanb.kirigami.model import build as build_kirigami
from metanb.voxel import train as voxel_train
from metanb.voxel.model import to_condition
from metanb.voxel.octants import wedge_size


def kirigami():
    "The paper's diffusion model of 6 x 6 cells."
    return build_kirigami("ddpm"), to_network(admissible_designs(512, 0, sweeps=5))


def voxel():
    "The dense network on the free bits of an octant of 16, on random bits."
    rng = np.random.default_rng(0)
    bits = torch.as_tensor(rng.random((512, wedge_size(16))) < 0.5)
    return voxel_train.build("bits_16", preset="demo"), (bits, to_condition(rng.random((512, 4))))


SPACES = {"kirigami": kirigami, "voxel": voxel}


def train(arguments):
    "Steps a second, and the mean loss of the last ones; said by the first process."
    torch.manual_seed(0)
    model, data = SPACES[arguments.space]()
    options = dict(RECIPES["ddpm"]) if arguments.space == "kirigami" else {}
    options |= {"batch_size": arguments.batch_size, "device": arguments.device, "progress": False, "evaluate_every": 10}
    found = fit(model, data, steps=10 + arguments.steps, seed=0, **options)
    first, last = found.history[0]["seconds"], found.history[-1]["seconds"]
    loss = np.mean([value for row in found.history[-3:] for key, value in row.items() if key.startswith("loss")])
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps({"processes": Team(torch.device(arguments.device)).size, "steps_a_second": arguments.steps / (last - first), "loss": float(loss)}))


def launched(processes, words):
    "The answer of the same program in several processes."
    line = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes), __file__, "--child", *words]
    environment = os.environ | ({"ACCELERATE_USE_CPU": "true"} if "cpu" in words else {})
    begin = time.perf_counter()
    answer = subprocess.run(line, capture_output=True, text=True, check=False, env=environment)
    if answer.returncode:
        raise SystemExit(answer.stderr[-3000:])
    found = json.loads(answer.stdout.strip().splitlines()[-1])
    assert found["processes"] == processes, found
    return found | {"whole": time.perf_counter() - begin}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=64, help="of all processes together")
    parser.add_argument("--space", choices=list(SPACES), default="kirigami")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return train(arguments)
    words = ["--steps", str(arguments.steps), "--batch-size", str(arguments.batch_size), "--space", arguments.space, "--device", arguments.device]
    one, several = (launched(n, words) for n in (1, arguments.processes))
    for n, found in ((1, one), (arguments.processes, several)):
        print(f"{arguments.space}, batches of {arguments.batch_size}, {n} processes of one thread: {found['steps_a_second']:.2f} steps a second, "
              f"loss {found['loss']:.4f}, {found['whole']:.0f} s in all")
    print(f"{several['steps_a_second'] / one['steps_a_second']:.2f} times as fast")


if __name__ == "__main__":
    main()
