"""Compute tests/data/cellular_symmetry.json: the same cells mirrored, shifted, and in other company.

    python tests/make_cellular_symmetry.py

Cells without any symmetry, so that nothing cancels: the quarters of 24 pixels of `random_designs(10, seed=3, quarter=24)`, each compressed as a cell of its own with the
settings of the data sets and without repetitions.

* `left_right`: mirrored, with the sway to the other side. `up_down`: mirrored, against `still`, both without sway, which is no symmetric function of the height.
* `shifted`: moved by seven pixels along the period.
* `alone`: each cell by itself; `seven`: the first seven; `sixty_four`: all, behind 54 others. Designs share one step, are thrown out as they finish and change their places.

The file: one line a run: its `change`, threads, CPU seconds, and of each cell the stress [MPa] at each frame (float32, all digits), the flags as names, and whether it snapped
before each frame.
"""
import json
import time
from pathlib import Path

import numpy as np
import torch

from metanb.cellular.design import random_designs
from metanb.cellular.mechanics import compress
from metanb.cellular.settings import Meshing
from metanb.core.files import write_file

PATH = Path(__file__).parent / "data" / "cellular_symmetry.json"
CELLS, PIXELS, SEED, SHIFT = 10, 24, 3, 7


def main():
    cells = random_designs(CELLS, SEED, quarter=PIXELS)[:, :PIXELS, :PIXELS]
    others = random_designs(64 - CELLS, SEED, quarter=PIXELS // 2)
    batches = {
        "base": [(cells, {})],
        "again": [(cells, {})],
        "left_right": [(cells[:, :, ::-1], {"imperfection": -Meshing().imperfection})],
        "still": [(cells, {"imperfection": 0.0})],
        "up_down": [(cells[:, ::-1], {"imperfection": 0.0})],
        "shifted": [(np.roll(cells, SHIFT, 2), {})],
        "alone": [(cell[None], {}) for cell in cells],
        "seven": [(cells[:7], {}), (cells[7:], {})],
        "sixty_four": [(np.concatenate([others, cells]), {})],
    }
    runs = json.loads(PATH.read_text())["runs"] if PATH.exists() else []
    for change, parts in batches.items():
        if any(run["change"] == change for run in runs):
            continue
        begin = time.process_time()
        results = [compress(np.ascontiguousarray(part), repeats=0, compiled=True, **options) for part, options in parts]
        stress, snapped = (np.concatenate([getattr(result, name) for result in results])[-CELLS:] for name in ("stress", "snapped"))
        flags = [[name for name, flag in result.flags.items() if flag[i]] for result in results for i in range(len(result.stress))][-CELLS:]
        runs.append({"change": change, "threads": torch.get_num_threads(), "cpu_seconds": round(time.process_time() - begin),
                     "stress": [[float(np.float32(s)) for s in row] for row in stress], "flags": flags, "snapped": snapped.astype(int).tolist()})
        print(change, f"{runs[-1]['cpu_seconds']} CPU s, {sum(not names for names in flags)} of {CELLS} pass", flush=True)
        lines = ",\n".join(json.dumps(run) for run in runs)
        write_file(PATH, f'{{"cells": {CELLS}, "pixels": {PIXELS}, "seed": {SEED}, "shift": {SHIFT}, "runs": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
