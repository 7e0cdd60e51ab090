"""Cut updates per second and core of three ways to draw admissible kirigami cells.

    python benchmarks/kirigami_data.py [--cells 5000] [--sweeps 5]

* shipped: `admissible_designs`, draw and reject, thousands of cells at a time.
* arcs: the exact complement of the eight blocked arcs, vectorised the same way; no draw is ever rejected.
* loop: one cut after the other, as one would write it from the paper.

All three start from the same cells, in the middle of the chain. One process, one thread.
"""

import argparse
import math
import os
import platform
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np

from metanb.kirigami.design import (NEIGHBOURS, PERIOD, admissible_designs, base_angles, blocked_arc,
                                    count_intersections)


def sweep_arcs(cells, beta_max, rng):
    "One sweep, every angle drawn from the complement of the blocked arcs."
    base = base_angles(cells.shape[1:])
    n, m = base.shape
    for ci, cj in ((0, 0), (0, 1), (1, 0), (1, 1)):
        for i in range(ci, n, 2):
            for j in range(cj, m, 2):
                arcs = [blocked_arc(cells[:, (i + di) % n, (j + dj) % m], (di, dj)) for di, dj in NEIGHBOURS]
                start = np.stack([a[0] for a in arcs])
                width = np.stack([a[1] for a in arcs])
                cells[:, i, j] = draw_outside(start, width, base[i, j], beta_max, rng)


def draw_outside(start, width, base, beta_max, rng):
    "Uniform angles in [base - beta_max, base + beta_max] outside the arcs (8, cells)."
    low = (start - (base - beta_max)) % PERIOD  # measured from the lower end of the range
    high = low + width
    wrapped = np.maximum(high - PERIOD, 0)  # an arc that runs over the end of the circle goes on at its beginning
    span = 2 * beta_max
    low = np.concatenate([low, np.zeros_like(low)]).clip(max=span)
    high = np.concatenate([np.minimum(high, PERIOD), wrapped]).clip(max=span)
    order = np.argsort(low, 0)
    low, high = np.take_along_axis(low, order, 0), np.take_along_axis(high, order, 0)
    reached = np.maximum.accumulate(high, 0)
    left = np.concatenate([np.zeros_like(reached[:1]), reached])  # the free gaps lie between left and right
    right = np.concatenate([low, np.full_like(low[:1], span)])
    total = np.cumsum(np.maximum(right - left, 0), 0)
    target = rng.random(low.shape[1]) * total[-1]
    gap = (total <= target).sum(0).clip(max=len(total) - 1)
    columns = np.arange(low.shape[1])
    return base - beta_max + right[gap, columns] - (total[gap, columns] - target)


def sweep_loop(cells, beta_max, rng):
    "One sweep of one cell at a time: draw an angle until it meets none of its neighbours."
    base = base_angles(cells.shape[1:])
    n, m = base.shape
    for cell in cells:
        for i in range(n):
            for j in range(m):
                while True:
                    angle = base[i, j] + rng.uniform(-beta_max, beta_max)
                    if not any(crosses(angle, cell[(i + di) % n, (j + dj) % m], dj, -di) for di, dj in NEIGHBOURS):
                        break
                cell[i, j] = angle


def crosses(first, second, dx, dy):
    "Scalar crossing test."
    s1, c1, s2, c2 = (f(math.radians(a)) for a in (first, second) for f in (math.sin, math.cos))
    return max(abs(dx * c2 - dy * s2), abs(dx * c1 - dy * s1)) < math.sqrt(3) / 2 * abs(s1 * c2 - c1 * s2)


def rate(function, cells, repeats):
    "Cut updates per second: the fastest of a few repeats."
    best = math.inf
    for _ in range(repeats):
        copy = cells.copy()
        begin = time.perf_counter()
        copy, sweeps = function(copy)
        best = min(best, (time.perf_counter() - begin) / sweeps)
        assert count_intersections(copy).max() == 0
    return cells.size / best


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=5000)
    parser.add_argument("--sweeps", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}; {options.cells} cells")
    print(f"{'beta_max':>8} {'shipped':>12} {'arcs':>12} {'loop':>12}   cut updates per second and core")
    for beta in (20, 60, 90):
        cells = admissible_designs(options.cells, beta_max=beta, sweeps=20, seed=1)
        rng = np.random.default_rng(2)

        def shipped(copy):
            return admissible_designs(len(copy), beta_max=beta, sweeps=options.sweeps, seed=3, start=copy), options.sweeps

        def arcs(copy):
            sweep_arcs(copy, beta, rng)
            return copy, 1

        def loop(copy):
            sweep_loop(copy, beta, rng)
            return copy, 1

        rates = [rate(shipped, cells, options.repeats), rate(arcs, cells, options.repeats), rate(loop, cells[:50], options.repeats)]
        print(f"{beta:>8} " + " ".join(f"{r:>12,.0f}" for r in rates), flush=True)


if __name__ == "__main__":
    main()
