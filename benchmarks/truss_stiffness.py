"""Homogenised trusses per second: batched and reduced (what ships) against one sparse solve per lattice.

    python benchmarks/truss_stiffness.py [--designs 5000] [--sparse 100] [--dtype float64] [--device cpu]

* shipped: `effective_stiffness`, on designs drawn as the paper's data, topologies known beforehand.
* sparse: the whole compound of each lattice, assembled by the same beam in numpy and solved with `scipy.sparse.linalg.spsolve` for six strains.

One process, one thread. CPU seconds on the CPU. Both are compared design by design.
"""

import argparse
import os
import platform
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch

from metanb.truss.design import random_designs
from metanb.truss.mechanics import effective_stiffness
from metanb.truss.topology import compound

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def sparse_stiffness(design, poisson=0.3, shear_factor=0.9):
    "One design, without reductions."
    graph, F = compound(design.types[0], design.tessellations[0]), design.deformation_gradient()[0].numpy()
    V, v = np.linalg.det(F), graph.vectors @ F.T
    L = np.linalg.norm(v, axis=1)
    A = float(design.relative_density[0]) * V / L.sum()
    inertia, t = A * A / (4 * np.pi), v / L[:, None]
    phi = 24 * (1 + poisson) / shear_factor * inertia / A / L ** 2
    tt, eye = t[:, :, None] * t[:, None], np.eye(3)
    shear = 12 * inertia / ((1 + phi) * L ** 3)
    K = (A / L - shear)[:, None, None] * tt + shear[:, None, None] * eye
    R = (inertia / (1 + poisson) / L - inertia / L)[:, None, None] * tt + (inertia / L)[:, None, None] * eye
    half, zero, one = np.zeros((len(L), 3, 3)), np.zeros((len(L), 3, 3)), np.broadcast_to(eye, (len(L), 3, 3))
    half[:, [0, 1, 2], [1, 2, 0]], half[:, [1, 2, 0], [0, 1, 2]] = -v[:, [2, 0, 1]] / 2, v[:, [2, 0, 1]] / 2
    Bw, Bq = np.concatenate([-one, half, one, half], 2), np.concatenate([zero, -one, zero, one], 2)
    E = np.zeros((len(L), 3, 6))
    for m, (i, j) in enumerate(VOIGT):
        E[:, i, m] += v[:, j] * (1 if i == j else 0.5)
        if i != j:
            E[:, j, m] += v[:, i] * 0.5
    stiffness = Bw.transpose(0, 2, 1) @ K @ Bw + Bq.transpose(0, 2, 1) @ R @ Bq
    load = Bw.transpose(0, 2, 1) @ K @ E
    dof = np.concatenate([6 * graph.struts[:, :1] + np.arange(6), 6 * graph.struts[:, 1:] + np.arange(6)], 1)
    n = 6 * len(graph.nodes)
    rows, columns = np.repeat(dof, 12, 1).ravel(), np.tile(dof, (1, 12)).ravel()
    matrix = scipy.sparse.csc_matrix((stiffness.ravel(), (rows, columns)), shape=(n, n))[3:, 3:]
    right = np.zeros((n, 6))
    np.add.at(right, dof, load)
    solution = scipy.sparse.linalg.splu(matrix).solve(right[3:])
    return ((E.transpose(0, 2, 1) @ K @ E).sum(0) - right[3:].T @ solution) / V


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--designs", type=int, default=5000)
    parser.add_argument("--sparse", type=int, default=100, help="designs solved one by one")
    parser.add_argument("--dtype", default="float64", choices=("float64", "float32"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    dtype, clock = getattr(torch, args.dtype), time.process_time if args.device == "cpu" else time.perf_counter
    designs = random_designs(args.designs, seed=args.seed)
    start = clock()
    ours = effective_stiffness(designs, dtype=dtype, device=args.device).cpu()
    first, best = clock() - start, np.inf
    for _ in range(args.repeats):
        start = clock()
        effective_stiffness(designs, dtype=dtype, device=args.device).cpu()
        best = min(best, clock() - start)
    few = min(args.sparse, args.designs)
    singles = [designs[[i]] for i in range(few)]
    start = time.process_time()
    theirs = np.array([sparse_stiffness(single) for single in singles])
    loop = time.process_time() - start
    error = abs(theirs - ours[:few].numpy()).max((1, 2)) / abs(theirs).max((1, 2))
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, {args.dtype}, {args.device}, one thread, seed {args.seed}")
    print(f"shipped  {args.designs / best:8.0f} a second ({args.designs} designs; {args.designs / first:.0f} in the first call, with graphs read or built)")
    print(f"sparse   {few / loop:8.0f} a second ({few} designs); ratio {args.designs / best / (few / loop):.1f}")
    print(f"largest difference {error.max():.1e} of the largest entry")


if __name__ == "__main__":
    main()
