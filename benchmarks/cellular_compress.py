"""Time to compress random cells with contact, against the size of the batch, and against CalculiX without contact.

    python benchmarks/cellular_compress.py [--quick] [--pixels 24 48 96] [--batch 1 4 8 16] [--calculix 4] [--device cpu] [--out runs/benchmarks]

* With contact: `compress` as the data sets use it, its steps chosen by the energy rule, but without the repetition of flagged designs
  (--repeats 1 adds it) and compiled at every size. Seconds a design; microseconds per step and element, over the steps that the slowest design
  of the batch needs; designs an hour and the hours that 53,007 designs would take. Compilation is timed apart: once per size and process.
* Against CalculiX: the same pixels, one element a pixel (bilinear here, CPE8R there), no smoothing, no contact, the same imperfection. CalculiX gets
  one thread and one design after the other, and its time is processor time; here a whole batch of --calculix-batch designs is compressed, of which
  CalculiX gets the first ones. Where it stops before the last frame its time counts as it is, which flatters it. Skipped where `ccx`
  is missing; --calculix 0 leaves it out, --pixels without a number leaves out the first part.

One process, one thread on a CPU. Writes cellular_compress.json, .png and .svg.
"""

import argparse
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch._dynamo.utils import calculate_time_spent

from metanb.core.device import can_compile, pick_device
from metanb.core.files import write_json
from metanb.core.plotting import save_figure, use_house_style
from metanb.cellular import calculix
from metanb.cellular.design import random_designs
from metanb.cellular.mechanics import compress

PAPER = 53_007  # designs of the published data set


def timed(designs, **settings):
    "Answer of `compress`, seconds of the run and seconds of compilation."
    before, begin = calculate_time_spent().get("total_wall_time", 0.0), time.perf_counter()
    result = compress(designs, **settings)
    total, compilation = time.perf_counter() - begin, calculate_time_spent().get("total_wall_time", 0.0) - before
    return result, total - compilation, compilation


def with_contact(pixels, batch, *, device, seed, repeats):
    "One row of the first table."
    designs = random_designs(batch, seed, quarter=pixels // 2)
    result, seconds, compilation = timed(designs, device=device, repeats=repeats, compiled=can_compile() or None)
    updates = result.steps.max() * designs.sum()
    return {"pixels": pixels, "batch": batch, "seconds_per_design": seconds / batch, "microseconds_per_step_element": 1e6 * seconds / updates,
            "compilation": compilation, "steps_median": float(np.median(result.steps)), "steps_largest": int(result.steps.max()),
            "elements_mean": float(designs.sum() / batch), "passed": int(result.passed.sum()), "repeated": int((result.repeats > 0).sum()),
            "designs_per_hour": 3600 * batch / seconds, "hours_paper": PAPER * seconds / batch / 3600}


def against_calculix(pixels, n, *, batch, device, seed, timeout):
    "Rows of the second table, one for each of the first n designs of a batch, and what the batch took."
    designs = random_designs(max(n, batch), seed, quarter=pixels // 2)
    result, seconds, compilation = timed(designs, device=device, contact=False, smoothing=0.0, repeats=0)
    rows = []
    for i, design in enumerate(designs[:n]):
        answer = calculix.reference_compress(design, element="CPE8R", nodes=calculix.swayed_nodes(design.shape, 0.02), timeout=timeout)
        frames = len(answer.stress)
        rows.append({"design": i, "elements": int(design.sum()), "ours": seconds / len(designs), "calculix": answer.cpu_seconds,
                     "ratio": answer.cpu_seconds * len(designs) / seconds,
                     "reached": float(answer.reached), "finished": bool(answer.finished), "steps": int(result.steps[i]), "passed": bool(result.passed[i]),
                     "stress_ours": result.stress[i, :frames].tolist(), "stress_calculix": answer.stress.tolist()})
        print_calculix(rows[-1])
    return {"pixels": pixels, "batch": len(designs), "seconds": seconds, "compilation": compilation, "rows": rows}


def print_calculix(row):
    "One line of the second table."
    ours, theirs = (np.array(row[key]) for key in ("stress_ours", "stress_calculix"))
    until = np.arange(len(theirs)) < 8  # frames at 0.2, 2, 4 ... 14 % strain
    difference = np.abs(ours / theirs - 1)[until].max(initial=0.0)
    print(f"{row['design']:>6} {row['elements']:>8} {row['ours']:>8.1f} {row['calculix']:>9.1f} {row['ratio']:>6.1f} {100 * row['reached']:>7.1f}% "
          f"{100 * difference:>9.1f}%", flush=True)


def figure(contact):
    "Seconds a design and microseconds per step and element against the size of the batch."
    use_house_style()
    fig, axes = plt.subplots(1, 2, figsize=(7, 2.8))
    for pixels in sorted({row["pixels"] for row in contact}):
        rows = [row for row in contact if row["pixels"] == pixels]
        for ax, key in zip(axes, ("seconds_per_design", "microseconds_per_step_element")):
            ax.loglog([row["batch"] for row in rows], [row[key] for row in rows], marker="o", label=f"{pixels} x {pixels}")
    axes[0].set(xlabel="designs in a batch", ylabel="seconds a design")
    axes[1].set(xlabel="designs in a batch", ylabel="µs per step and element")
    axes[0].legend()
    return fig


def parse():
    "The options, with what --quick stands for."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, nargs="*", default=None, help="along one side of a cell (24 48 96)")
    parser.add_argument("--batch", type=int, nargs="*", default=None, help="designs in a batch (1 4 8 16)")
    parser.add_argument("--calculix", type=int, default=None, help="designs for CalculiX (4)")
    parser.add_argument("--calculix-batch", type=int, default=None, help="designs compressed together for the comparison (16)")
    parser.add_argument("--calculix-pixels", type=int, default=None, help="along one side of their cells (48)")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds for CalculiX and a design")
    parser.add_argument("--repeats", type=int, default=0, help="repetitions of flagged designs with more steps")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="24 x 24 pixels only, batches of 1 and 8, CalculiX for one design")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    defaults = ([24], [1, 8], 1, 8, 24) if options.quick else ([24, 48, 96], [1, 4, 8, 16], 4, 16, 48)
    for name, value in zip(("pixels", "batch", "calculix", "calculix_batch", "calculix_pixels"), defaults):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main():
    options = parse()
    torch.set_num_threads(1)
    device = pick_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    machine = f"{name}, Python {platform.python_version()}, torch {torch.__version__}"
    print(f"{machine}; contact, 20 % strain, repeats {options.repeats}")
    print(f"{'pixels':>6} {'batch':>6} {'s/design':>9} {'us/step/el':>11} {'compile s':>10} {'steps':>14} {'passed':>8} {'designs/h':>10} {'h for 53,007':>13}")
    record = {"machine": machine, "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}, "contact": [], "calculix": None}
    options.out.mkdir(parents=True, exist_ok=True)
    for pixels in options.pixels:
        for batch in options.batch:
            row = with_contact(pixels, batch, device=options.device, seed=options.seed, repeats=options.repeats)
            record["contact"].append(row)
            print(f"{pixels:>6} {batch:>6} {row['seconds_per_design']:>9.1f} {row['microseconds_per_step_element']:>11.3f} {row['compilation']:>10.1f} "
                  f"{row['steps_median']:>6.0f} {row['steps_largest']:>7} {row['passed']:>4}/{batch:<3} {row['designs_per_hour']:>10.0f} {row['hours_paper']:>13.0f}", flush=True)
            write_json(options.out / "cellular_compress.json", record, argument="out")
    if options.calculix and not calculix.available():
        print("CalculiX: ccx is not on the path; skipped")
    elif options.calculix:
        print(f"\nwithout contact, {options.calculix_pixels} x {options.calculix_pixels}, a batch of {max(options.calculix, options.calculix_batch)}, CPE8R in CalculiX")
        print(f"{'design':>6} {'elements':>8} {'ours s':>8} {'ccx cpu s':>9} {'ratio':>6} {'ccx to':>8} {'differs':>10}   (largest difference of stress up to 15 % strain)")
        record["calculix"] = against_calculix(options.calculix_pixels, options.calculix, batch=options.calculix_batch, device=options.device,
                                              seed=options.seed + 1, timeout=options.timeout)
        print(f"compilation {record['calculix']['compilation']:.1f} s; median ratio {np.median([row['ratio'] for row in record['calculix']['rows']]):.1f}")
    write_json(options.out / "cellular_compress.json", record, argument="out")
    if record["contact"]:
        save_figure(figure(record["contact"]), options.out, "cellular_compress")
    print(f"written to {options.out}/cellular_compress.*")


if __name__ == "__main__":
    main()
