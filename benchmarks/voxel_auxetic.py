"""Auxetic cells over seeds: Poisson's ratio, Young's modulus, volume, whether they are valid, and CPU seconds.

    python benchmarks/voxel_auxetic.py [--seeds 0 20] [--octant 12] [--volume-fraction 0.25] [--noise 0] [--threads 1] [--method blocks] [--out runs/benchmarks]

Valid: one body through faces, solid on all faces, every solid voxel in a solid block of 2 x 2 x 2 voxels, E >= 0.004 of the base material, the volume within 1 %
(`voxel.auxetic.flaws`). The numbers are those of the black and white cell, homogenised anew in double precision; "fine" are those of the cell with each voxel
split into eight. --noise is added to every start (standard deviation of the densities). --method oc is one descent from one start, the way of the data sets.
CPU seconds are of the process, all threads together; they vary by half with what else the machine does. Appends a line of JSON a run to voxel_auxetic.jsonl.

Measured with one thread on two shared cores: octant 12, volume 0.25, seeds 0 to 19: 20 valid, nu -0.695 to -0.470, mean -0.593, E from 0.0063, 18 to 40 CPU s;
seeds 0 to 3 with --noise 1e-6: 4 valid, nu -0.604 to -0.451, 23 to 30 CPU s; octant 16, seed 0: valid, nu -0.707 at volume 0.2, -0.758 at 0.25, -0.704 at 0.4, 43 to 47 CPU s.
Two threads on those busy cores, seed 0: stopped after 104 CPU s without an end.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from metanb.voxel.auxetic import AuxeticSearch, Effort, flaws, random_starts, ratio_and_modulus
from metanb.voxel.mechanics import solve
from metanb.voxel.optimize import optimize


def noisy(v, octant, seed, effort, noise):
    "The starts of a seed with a little noise, the same for each seed."
    starts = random_starts(v, octant, effort.starts, seed=seed)
    return np.clip(starts + noise * np.random.default_rng(1).standard_normal(starts.shape), 0, 1)


def found(v, octant, seed, noise, method, effort):
    "A finished octant, and the number of steps."
    if method == "oc":
        best = optimize("poisson", v, octant=octant, seed=seed, method="oc", device="cpu")
        return best.octant, len(best.history)
    run = AuxeticSearch(v, octant=octant, seed=seed, effort=effort, starts=noisy(v, octant, seed, effort, noise) if noise else None)
    while not run.finished:
        run.step()
    return run.octant(), len(run.history)


def numbers(octant):
    "Poisson's ratio and Young's modulus."
    E = torch.as_tensor(octant, dtype=torch.float64)[None]
    constants = solve(E, symmetry="cubic", strict=False, max_iterations=10_000).constants
    return [float(value[0]) for value in ratio_and_modulus(constants)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs=2, default=(0, 20), help="the first, and the one after the last")
    parser.add_argument("--octant", type=int, default=12)
    parser.add_argument("--volume-fraction", type=float, default=0.25)
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--method", choices=("blocks", "oc"), default="blocks")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    n, v, rows = args.octant, args.volume_fraction, []
    for seed in range(*args.seeds):
        begin = time.process_time()
        octant, steps = found(v, n, seed, args.noise, args.method, Effort())
        seconds = time.process_time() - begin
        wrong = flaws(octant, v)
        (nu, E), fine = numbers(octant), numbers(octant.repeat(2, 0).repeat(2, 1).repeat(2, 2))
        rows.append((nu, E, not wrong, seconds))
        print(f"octant {n}, volume {v:g}, noise {args.noise:g}, {args.threads} threads, seed {seed:2d}: nu {nu:.3f} (fine {fine[0]:.3f}), E {E:.4f} ({fine[1]:.4f}), "
              f"volume {octant.mean():.4f}, {'valid' if not wrong else '; '.join(wrong)}, {steps} steps, {seconds:.0f} CPU s", flush=True)
        line = {"octant": n, "volume_fraction": v, "noise": args.noise, "threads": args.threads, "method": args.method, "seed": seed, "nu": nu, "E": E, "nu_fine": fine[0],
                "E_fine": fine[1], "volume": float(octant.mean()), "flaws": wrong, "steps": steps, "cpu_s": seconds}
        with open(args.out / "voxel_auxetic.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    nu, E, valid, seconds = map(np.array, zip(*rows))
    print(f"{len(nu)} seeds, {valid.sum()} valid: nu {nu.min():.3f} to {nu.max():.3f}, mean {nu.mean():.3f}; least E {E.min():.4f}; most CPU s {seconds.max():.0f}")


if __name__ == "__main__":
    main()
