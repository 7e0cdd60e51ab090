"""Compute tests/data/cellular_validation.json with CalculiX.

    python tests/make_cellular_validation.py [--seconds 600] [--cell PIXELS REFINE ROW]

Reference curves of figures/cellular_validation: random cells of 24, 48 and 96 pixels on the pixels as they are (no smoothing), between attached
platens, without contact, with the sway of `pixel_mesh(imperfection=0.2)`, CPE8R, up to 15 % strain. They are the first cells of
`random_designs(n, seed=1, quarter=pixels // 2)` that CalculiX brings there with one element a pixel; the same ones follow with 2 x 2, and the gap
between the two says how well the reference knows itself.

The file: `ccx` (the version), `seed`, `sway` [pixels] and `options` of `reference_compress` once; `cells`, one a line: `pixels`, `refine`, `row` of
the seed, `design` (see make_cellular_calculix.py), and what CalculiX answered: nominal strain, stress and shear [MPa], the strain `reached`,
processor time. Cells that CalculiX left before 15 %, and those that took longer than --seconds of processor time, stay in it with what they
reached (without processor time, where a run was ended from outside). It is written after each cell; what is there already is not computed again,
but for the one that --cell names.
"""
import argparse
import json
import os
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


def following(cells):
    "Pixels, refinement and row of all cells to be computed, while `cells` grows."
    for pixels, refine, count in PLAN:
        while (row := next_row(cells, pixels, refine, count)) is not None:
            yield pixels, refine, row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="processor time for a cell, then it is stopped (600)")
    parser.add_argument("--cell", type=int, nargs=3, metavar=("PIXELS", "REFINE", "ROW"), help="this one only, be it there or not")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CPU, (options.seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))  # of each process, ccx among them
    os.environ["GFORTRAN_UNBUFFERED_ALL"] = "1"  # ccx writes at once: what is stopped keeps its frames
    head = {"ccx": version(), "seed": SEED, "sway": SWAY, "options": {"max_strain": 0.2, "frames": FRAMES}}
    cells = json.loads(PATH.read_text())["cells"] if PATH.exists() else []
    for pixels, refine, row in [options.cell] if options.cell else following(cells):
        design = pack(random_designs(row + 1, SEED, quarter=pixels // 2)[row])
        answer = solve({"design": design, "sway": SWAY, "options": head["options"] | {"refine": refine}})
        cell = {"pixels": pixels, "refine": refine, "row": row, "design": design, **record(answer)}
        cells[:] = [other for other in cells if [other[key] for key in ("pixels", "refine", "row")] != [pixels, refine, row]] + [cell]
        print(pixels, refine, row, *(cell[key] for key in ("reached", "cpu_seconds", "stress")), answer.message, flush=True)
        lines = ",\n".join(json.dumps(cell) for cell in cells)
        write_file(PATH, json.dumps(head)[:-1] + f', "cells": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
