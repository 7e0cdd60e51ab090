"""Compute tests/data/cellular_validation.json with CalculiX: python tests/make_cellular_validation.py.

Reference curves of figures/cellular_validation: random cells of 24, 48 and 96 pixels on the pixels as they are (no smoothing), between attached
platens, without contact, with the sway of `pixel_mesh(imperfection=0.2)`, CPE8R, up to 15 % strain. They are the first cells of
`random_designs(n, seed=1, quarter=pixels // 2)` that CalculiX brings there with one element a pixel; the same ones follow with 2 x 2, and the gap
between the two says how well the reference knows itself.

The file: `ccx` (the version), `seed`, `sway` [pixels] and `options` of `reference_compress` once; `cells`, one a line: `pixels`, `refine`, `row` of
the seed, `design` (see make_cellular_calculix.py), and what CalculiX answered: nominal strain, stress and shear [MPa], the strain `reached`,
processor time. Cells that CalculiX left before 15 % stay in it. It is written after each cell; what is there already is not computed again.
"""
import json
import resource
import subprocess
from pathlib import Path

from make_cellular_calculix import pack, record, solve
from metanb.cellular.design import random_designs
from metanb.core.files import write_file

PATH = Path(__file__).parent / "data" / "cellular_validation.json"
SEED = 1
SWAY = 0.2  # [pixels]
MOST = 0.15  # strain
FRAMES = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75)  # of 20 % strain: with the increments of cellular_calculix.json
PLAN = ((24, 1, 10), (48, 1, 10), (24, 2, 10), (96, 1, 2), (48, 2, 5))  # pixels, elements along a pixel, cells
SECONDS = 600  # of processor time for a cell, then it counts as left


def version():
    "Of `ccx`."
    return subprocess.run(["ccx", "-v"], capture_output=True, text=True).stdout.split()[-1]


def of_kind(cells, pixels, refine):
    "Stored cells of a size and refinement, by row of the seed."
    return {cell["row"]: cell for cell in cells if (cell["pixels"], cell["refine"]) == (pixels, refine)}


def brought(cells, pixels):
    "Rows that CalculiX brought to the last frame with one element a pixel, in their order."
    return sorted(row for row, cell in of_kind(cells, pixels, 1).items() if cell["reached"] > MOST - 1e-6)


def next_row(cells, pixels, refine, count):
    "The row to be computed next, or None: of the coarse cells until there are enough, of the refined ones where the coarse one is whole."
    known, whole = of_kind(cells, pixels, refine), brought(cells, pixels)
    if refine == 1:
        return None if len(whole) >= count else len(known)
    return next((row for row in whole[:count] if row not in known), None)


def main():
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, resource.getrlimit(resource.RLIMIT_CPU)[1]))  # of each process, ccx among them
    head = {"ccx": version(), "seed": SEED, "sway": SWAY, "options": {"max_strain": 0.2, "frames": FRAMES}}
    cells = json.loads(PATH.read_text())["cells"] if PATH.exists() else []
    for pixels, refine, count in PLAN:
        while (row := next_row(cells, pixels, refine, count)) is not None:
            design = random_designs(row + 1, SEED, quarter=pixels // 2)[row]
            case = {"design": pack(design), "sway": SWAY, "options": head["options"] | {"refine": refine}}
            answer = solve(case)
            cells.append({"pixels": pixels, "refine": refine, "row": row, "design": case["design"], **record(answer)})
            print(pixels, refine, row, *(cells[-1][key] for key in ("reached", "cpu_seconds", "stress")), answer.message, flush=True)
            lines = ",\n".join(json.dumps(cell) for cell in cells)
            write_file(PATH, json.dumps(head)[:-1] + f', "cells": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
