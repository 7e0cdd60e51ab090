"Shard functions for workers in other processes, which are up sooner without all that the tests import."

import os
import time

import numpy as np

LOGGED = dict(n=96, shard_size=8, seed=5, progress=False)


def make_cells(n: int, seed: int, delay: float = 0.0) -> dict[str, np.ndarray]:
    "Two arrays of a shard; `delay` [s] stands for the time that real shards take."
    time.sleep(delay)
    rng = np.random.default_rng(seed)
    return {"angle": rng.normal(size=(n, 6, 6)), "count": rng.integers(0, 9, size=n)}


def make_logged(n: int, seed: int, log: str, delay: float) -> dict[str, np.ndarray]:
    "Cells; begin and end of each call, with the process that made it, go to a file."
    def note(word: str) -> None:
        with open(log, "a") as file:
            file.write(f"{word} {seed} {os.getpid()}\n")

    note("begin")
    cells = make_cells(n, seed, delay)
    note("end")
    return cells


def fail_once(n: int, seed: int, bad: int) -> dict[str, np.ndarray]:
    "Fails in the shard with the seed `bad`."
    if seed == bad:
        raise RuntimeError("no such cell")
    return make_cells(n, seed)


def make_long(n: int, seed: int, short: list, delay: float) -> dict[str, np.ndarray]:
    "Takes `delay` [s], but for the seeds that are called short."
    return make_cells(n, seed, 0.0 if seed in short else delay)
