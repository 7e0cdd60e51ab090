"Draw one design of each space, for the front page and the README: python -m tools.pictures [SPACE ...]"
import io
import sys

import matplotlib
import numpy as np
from PIL import Image

from tools.pages import ROOT

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

FOLDER = ROOT / "nbs/images"
PIXELS = 320  # along each side


def kirigami(figure):
    "An admissible pattern of cuts."
    from metanb.kirigami.design import admissible_designs, plot_cell
    plot_cell(admissible_designs(1, seed=0, beta_max=60)[0], ax=figure.add_subplot())


def truss(figure):
    "Two lattices in one cell, the cell stretched."
    from metanb.truss.design import TrussDesign
    from metanb.truss.plotting import plot_cell
    plot_cell(TrussDesign.of((1, 1), (2, 1), density=0.08, U=(1.0, 1.0, 1.2)), ax=figure.add_subplot(projection="3d"))


def cellular(figure):
    "A cell of the shipped set, compressed by a fifth and coloured by the stress."
    from metanb.cellular.data import initial_data
    from metanb.cellular.plotting import plot_frame, stored_result
    plot_frame(*stored_result(initial_data(), 4), ax=figure.add_subplot())


def voxel(figure):
    "A minimal surface, thickened."
    from metanb.voxel.design import family, plot_cell
    plot_cell(family("gyroid", 64, 0.3), ax=figure.add_subplot(projection="3d"))


DRAWN = (kirigami, truss, cellular, voxel)


def write(draw, folder=FOLDER):
    "The picture on white, cut to what is drawn, in few colours."
    figure = plt.figure(figsize=(4, 4), dpi=200)
    draw(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    image = Image.open(buffer).convert("RGB")
    rows, columns = np.nonzero((np.asarray(image) < 250).any(axis=2))
    x, y = (columns.min() + columns.max()) // 2, (rows.min() + rows.max()) // 2
    half = max(np.ptp(rows), np.ptp(columns)) // 2 + 8
    image = image.crop((x - half, y - half, x + half, y + half)).resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)
    path = folder / f"{draw.__name__}.png"
    image.quantize(48, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.1f} kB")


if __name__ == "__main__":
    for draw in DRAWN:
        if draw.__name__ in sys.argv[1:] or len(sys.argv) == 1:
            write(draw)
