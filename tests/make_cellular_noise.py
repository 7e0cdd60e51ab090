"""Compute tests/data/cellular_noise.json: how far curves of random cells move when nothing that matters is changed.

    python tests/make_cellular_noise.py [--pixels 24 48 96]

Where walls buckle, the smallest difference decides to which side, and with contact the answer is chaotic; so labels carry noise. The first cells of
`random_designs(n, seed=2, quarter=pixels // 2)` are compressed with the settings of the data sets and with one of them changed:

* `slow`: a quarter of the kinetic energy, half the speed; `undamped`: half the damping. The larger of their two medians is the noise.
* `mirrored`: the sway to the other side. The cells are mirror images of themselves, so only rounding is different.
* `swayed`: five times the sway. How sensitive the cells are to what no model can see.

The file: `seed` and, one a line, the `runs`: `pixels`, `change`, `settings` that differ, the threads and CPU seconds it took, and of each cell the
stress [MPa] at each frame, whether it passed all rules, whether it snapped before each frame, and its repetitions. It is written after each run;
what is there already is not computed again.
"""
import argparse
import json
import time
from pathlib import Path

import torch

from metanb.cellular.design import random_designs
from metanb.cellular.mechanics import compress
from metanb.cellular.settings import Marching, Meshing
from metanb.core.files import write_file

PATH = Path(__file__).parent / "data" / "cellular_noise.json"
SEED = 2
CELLS = {24: 100, 48: 30, 96: 8}
CHANGES = {
    "none": {},
    "slow": {"kinetic_target": Marching().kinetic_target / 4},
    "undamped": {"damping": Marching().damping / 2},
    "mirrored": {"imperfection": -Meshing().imperfection},
    "swayed": {"imperfection": 5 * Meshing().imperfection},
}


def run(pixels, change):
    "One line of the file."
    designs, begin = random_designs(CELLS[pixels], SEED, quarter=pixels // 2), time.process_time()
    result = compress(designs, **CHANGES[change])
    return {"pixels": pixels, "change": change, "settings": CHANGES[change], "threads": torch.get_num_threads(),
            "cpu_seconds": round(time.process_time() - begin), "passed": result.passed.astype(int).tolist(), "repeats": result.repeats.tolist(),
            "snapped": result.snapped.astype(int).tolist(), "stress": [[round(float(s), 4) for s in row] for row in result.stress]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, nargs="*", default=list(CELLS), choices=list(CELLS), help="sizes of cells (all)")
    for pixels in parser.parse_args().pixels:
        for change in CHANGES:
            runs = json.loads(PATH.read_text())["runs"] if PATH.exists() else []
            if any((done["pixels"], done["change"]) == (pixels, change) for done in runs):
                continue
            done = run(pixels, change)
            runs.append(done)
            print(pixels, change, f"{sum(done['passed'])} of {CELLS[pixels]} passed, {done['cpu_seconds']} CPU s", flush=True)
            lines = ",\n".join(json.dumps(entry) for entry in runs)
            write_file(PATH, f'{{"seed": {SEED}, "runs": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
