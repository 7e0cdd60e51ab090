"""Homogenisation of voxel cells: against torch-fem, scikit-fem and fedoo, iterations and cost against the resolution, two processes, a GPU.

    python benchmarks/voxel_homogenize.py [--quick] [--sizes 16 32 64 128] [--peers 16 32 64] [--device cpu] [--out runs/benchmarks]

* Peers, side by side and warm: the same cells in float64, from the array of moduli to C, elements of void left out of their meshes, conjugate gradients
  to a residual of 1e-6 of the assembled load. torch-fem has no periodic conditions: it gets the octant, two load cases (as strains of its
  elements) and mirror conditions by hand, with its algebraic multigrid and with a diagonal preconditioner. scikit-fem (periodic by a matrix) and fedoo (its own
  periodic conditions) solve the whole cell for six cases with a diagonal preconditioner. "error" is the largest one of C / E_base against a
  solution to 1e-11; ours is the square of the residual, theirs is not always, so ours is shown with its default tolerance, too. What would take longer than --limit seconds, judged by the size before, and what is not installed is skipped.
  --peers without a number leaves this part out.
* Iterations to 1e-6, and cost: CPU seconds and peak memory of a process of its own, float32 with an error of C below 1e-4, and float64.
* Two processes: the same cells by one process and by two at a time.
* GPU, where there is one: seconds a cell at 128^3 and 256^3, alone and in batches.

One thread, and seconds of CPU time unless stated, so that other work on the machine disturbs little. Writes voxel_homogenize.json, .png and .svg.
"""

import argparse
import functools
import importlib.util
import multiprocessing
import os
import platform
import resource
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import matplotlib.pyplot as plt
import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch

from metanb.core.elasticity import PAIRS
from metanb.core.files import write_json
from metanb.core.plotting import save_figure, use_house_style
from metanb.voxel.design import family, fold, random_designs, remove_islands, unfold
from metanb.voxel.mechanics import homogenize
from metanb.voxel.operators import Octant

KINDS = ("random", "octet")
TOLERANCE = {torch.float64: 1e-6, torch.float32: 3e-3}


def make_cell(kind, N):
    "A connected cubic cell, the same shape at every resolution."
    if kind == "octet":
        return family("octet", N, 0.3).astype(float)
    field = random_designs(1, 4, octant=N // 2, volume_fraction=0.5, n_frequencies=2)[0]
    return remove_islands(unfold(field > np.median(field))).astype(float)


def constants(C):
    return np.array([C[0, 0], C[0, 1], C[3, 3]], dtype=float)


def seconds(run, enough=2.0):
    "Answer and least CPU seconds of up to three runs; one where it takes long."
    best, begin = np.inf, time.process_time()
    while True:
        start = time.process_time()
        answer = run()
        best = min(best, time.process_time() - start)
        if time.process_time() - begin > enough or time.process_time() - begin > 2.5 * best:
            return answer, best


# ---- ours and the peers: cell (N, N, N) -> C11, C12, C44

def ours(cell, rtol):
    return constants(homogenize(torch.as_tensor(cell), rtol=rtol * assembled_load(cell)).C)


def assembled_load(cell):
    "Our residual is relative to the load before assembly, where opposite forces do not cancel yet: the factor between the two."
    octant = torch.as_tensor(fold(cell)).contiguous()
    domain = Octant(octant.expand(2, *octant.shape).contiguous(), (0, 3), 0.3)
    whole = octant.square().sum().sqrt() * (domain.affine @ domain.k).norm(dim=1)
    return float((domain.load().flatten(1).norm(dim=1) / whole).min())


def hexahedra(solid):
    "Nodes (M, 3) and elements (S, 8), in the usual order of corners, of the solid voxels."
    n = solid.shape[0]
    corners = np.array([(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)])
    nodes = np.argwhere(solid)[:, None] + corners
    used, elements = np.unique(np.ravel_multi_index(nodes.reshape(-1, 3).T, 3 * (n + 1,)), return_inverse=True)
    return np.stack(np.unravel_index(used, 3 * (n + 1,)), 1), elements.reshape(-1, 8)


def by_torchfem(cell, rtol, preconditioner):
    "The octant under a normal and a shear strain."
    from torchfem import Solid
    from torchfem.materials import IsotropicElasticity3D
    octant = fold(cell)
    n, (nodes, elements) = len(octant), hexahedra(octant > 0)
    x = torch.as_tensor(nodes, dtype=torch.float64)
    modulus = torch.as_tensor(octant[octant > 0])
    model = Solid(x, torch.as_tensor(elements), IsotropicElasticity3D(modulus, torch.full_like(modulus, 0.3)))
    face = torch.as_tensor((nodes == 0) | (nodes == n))  # (M, 3 axes)
    answers = []
    for i, j in ((0, 0), (1, 2)):
        strain = torch.zeros(3, 3, dtype=torch.float64)
        strain[i, j] = strain[j, i] = 1.0 if i == j else 0.5
        # the unknown is the fluctuation, as in ours; about the planes normal to y and z a shear of yz is odd itself
        model.constraints = face if i == j else torch.stack([face.any(1), face[:, 2], face[:, 1]], 1)
        model.ext_strain = -strain.expand(len(elements), 3, 3)
        u, f, *_ = model.solve(rtol=10 * rtol, stol=rtol, method="cg", preconditioner=preconditioner)
        answers += [float(((u + x @ strain) * f).sum()) / n**3]
        if i == j:
            answers += [float((f[:, 1] * x[:, 1]).sum()) / n**3]
    return np.array(answers)


def jacobi(matrix, b, rtol):
    "Conjugate gradients with a diagonal preconditioner."
    diagonal = matrix.diagonal()
    inverse = scipy.sparse.diags(np.where(diagonal > 0, 1 / np.where(diagonal > 0, diagonal, 1), 0))
    x, status = scipy.sparse.linalg.cg(matrix, b, rtol=rtol, M=inverse, maxiter=20_000)
    if status:
        raise RuntimeError(f"conjugate gradients stopped with {status}")
    return x


def by_scikit_fem(cell, rtol):
    "The whole cell under six strains."
    import skfem
    from skfem.models.elasticity import lame_parameters, linear_elasticity
    N, (nodes, elements) = len(cell), hexahedra(cell > 0)
    order = [0, 1, 3, 4, 2, 5, 7, 6]  # corners in the order of its reference cube
    mesh = skfem.MeshHex(np.ascontiguousarray(nodes.T, float), np.ascontiguousarray(elements[:, order].T), sort_t=False, validate=False)
    basis = skfem.Basis(mesh, skfem.ElementVector(skfem.ElementHex1()), intorder=2)
    if np.ptp(cell[cell > 0]) > 0:
        raise ValueError("cell has several moduli; allowed: one modulus and void")
    K = linear_elasticity(*lame_parameters(1.0, 0.3)).assemble(basis)
    strain = np.zeros((6, 3, 3))
    for case, (i, j) in enumerate(PAIRS):
        strain[case, i, j] = strain[case, j, i] = 1.0 if i == j else 0.5
    master, affine = np.zeros(K.shape[0], int), np.zeros((K.shape[0], 6))
    for component in range(3):
        master[basis.nodal_dofs[component]] = 3 * np.ravel_multi_index((nodes % N).T, (N, N, N)) + component
        affine[basis.nodal_dofs[component]] = nodes @ strain[:, component].T
    _, master = np.unique(master, return_inverse=True)
    fold_up = scipy.sparse.csr_matrix((np.ones(len(master)), (np.arange(len(master)), master)))
    matrix, load = (fold_up.T @ K @ fold_up).tocsr(), -fold_up.T @ (K @ affine)
    total = affine + fold_up @ np.stack([jacobi(matrix, b, rtol) for b in load.T], 1)
    return constants(total.T @ (K @ total) / N**3)


def by_fedoo(cell, rtol):
    "The whole cell by its own homogenisation: six mean stresses and the strains that follow."
    import fedoo
    N, (nodes, elements) = len(cell), hexahedra(cell > 0)
    fedoo.Problem.get_all().pop("_perturbation", None)  # of the mesh before
    fedoo.ModelingSpace("3D")
    mesh = fedoo.Mesh(nodes / N, elements, "hex8")
    law = fedoo.constitutivelaw.ElasticIsotrop(float(cell.max()), 0.3)
    assembly = fedoo.Assembly.create(fedoo.weakform.StressEquilibrium(law), mesh, "hex8")
    return constants(fedoo.homogen.get_homogenized_stiffness(assembly, solver=lambda A, b, **_: jacobi(A, b, rtol)))


SOLVERS = {
    "ours": ("torch", ours),
    "ours, rtol 1e-4": ("torch", lambda cell, rtol: constants(homogenize(torch.as_tensor(cell)).C)),
    "torch-fem, multigrid": ("torchfem", lambda cell, rtol: by_torchfem(cell, rtol, "amg")),
    "torch-fem, diagonal": ("torchfem", lambda cell, rtol: by_torchfem(cell, rtol, "jacobi")),
    "scikit-fem": ("skfem", by_scikit_fem),
    "fedoo": ("fedoo", by_fedoo),
}


def against_peers(sizes, limit, rtol=1e-6):
    "Rows of the first table."
    torch.set_default_dtype(torch.float64)  # torch-fem asks for it
    print(f"peers, float64, residual {rtol:g} of the assembled load, CPU seconds\n{'cell':>8} {'N':>4} {'solver':>22} {'seconds':>9} {'ratio':>7} {'error':>9}")
    rows, last = [], {}
    for kind in KINDS if sizes else ():
        for N in sizes:
            cell = make_cell(kind, N)
            exact = constants(homogenize(torch.as_tensor(cell), rtol=1e-11).C)
            for name, (module, run) in SOLVERS.items():
                row = {"cell": kind, "N": N, "solver": name}
                expected = max((s * (N / M)**3.5 for (k, M, other), s in last.items() if other == name and M < N), default=0.0)
                if importlib.util.find_spec(module) is None:
                    row["skipped"] = f"{module} is not installed"
                elif expected > limit:
                    row["skipped"] = f"expected to take {expected:.0f} s"
                else:
                    if not any(other == name for _, _, other in last):
                        run(make_cell("octet", 8), rtol)  # warm
                    C, row["seconds"] = seconds(lambda: run(cell, rtol))
                    row["error"], last[kind, N, name] = float(abs(C - exact).max()), row["seconds"]
                    assert row["error"] < 1e-5, (row, C, exact)
                    row["ratio"] = row["seconds"] / last[kind, N, "ours"]
                rows.append(row)
                text = f"{row['seconds']:>9.3f} {row['ratio']:>7.1f} {row['error']:>9.1e}" if "seconds" in row else f"  skipped: {row['skipped']}"
                print(f"{kind:>8} {N:>4} {name:>22} {text}", flush=True)
    torch.set_default_dtype(torch.float32)
    return rows


# ---- ours alone

def peak_memory():
    "Bytes of this process; what getrusage says on Linux may be those of the process that started it."
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM")))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def alone(kind, N, dtype, rtol):
    "CPU seconds, iterations, C and peak memory, in a process of its own."
    torch.set_num_threads(1)
    cell = torch.as_tensor(make_cell(kind, N)).to(dtype)
    before = peak_memory()
    found, once = seconds(lambda: homogenize(cell, rtol=rtol), enough=0.0)
    memory = peak_memory()
    _, warm = seconds(lambda: homogenize(cell, rtol=rtol))
    return {"cell": kind, "N": N, "dtype": str(dtype).split(".")[1], "rtol": rtol, "seconds": warm, "first": once, "iterations": int(found.iterations.max()),
            "memory": memory, "memory_before": before, "C": constants(found.C).tolist()}


def apart(function, *arguments):
    "Call in a fresh process."
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def cost(sizes, quick):
    "Rows of the second table; float64 also gives the iterations to 1e-6 and the C that float32 is held against."
    print(f"\ncost, {'this process' if quick else 'a process each'}\n{'cell':>8} {'N':>4} {'dtype':>8} {'rtol':>7} {'iterations':>10} {'CPU s':>8} {'first':>8} {'peak MB':>8} {'before':>7} {'error':>8}")
    rows = []
    for kind in KINDS:
        for N in sizes:
            for dtype, rtol in TOLERANCE.items():
                row = (alone if quick else functools.partial(apart, alone))(kind, N, dtype, rtol)
                exact = row["C"] if dtype == torch.float64 else rows[-1]["C"]
                row["error"] = float(abs(np.subtract(row["C"], exact)).max())
                assert row["error"] < 1e-4, row
                rows.append(row)
                print(f"{kind:>8} {N:>4} {row['dtype']:>8} {rtol:>7.0e} {row['iterations']:>10} {row['seconds']:>8.3f} {row['first']:>8.3f} "
                      f"{row['memory'] / 1e6:>8.0f} {row['memory_before'] / 1e6:>7.0f} {row['error']:>8.1e}", flush=True)
    return rows


def work(start, kind, N, repeats):
    "Wall and CPU seconds of some designs, begun at an agreed time."
    torch.set_num_threads(1)
    cell = torch.as_tensor(make_cell(kind, N)).float()
    homogenize(cell, rtol=1e-3)
    time.sleep(max(0.0, start - time.time()))
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        homogenize(cell, rtol=1e-3)
    return time.perf_counter() - wall, time.process_time() - cpu


def two_processes(N, repeats):
    "Designs a second by one process and by two at a time."
    record, context = {"N": N, "repeats": repeats, "cores": os.cpu_count(), "load": os.getloadavg()[0]}, multiprocessing.get_context("spawn")
    for n in (1, 2):
        with context.Pool(n) as pool:
            start = time.time() + 8
            found = pool.starmap(work, [(start, "random", N, repeats)] * n, chunksize=1)
        record[str(n)] = {"per_second": n * repeats / max(wall for wall, _ in found), "cpu_seconds": max(cpu for _, cpu in found) / repeats}
    record["speedup"] = record["2"]["per_second"] / record["1"]["per_second"]
    record["cpu_ratio"] = record["1"]["cpu_seconds"] / record["2"]["cpu_seconds"]
    print(f"\ntwo processes, N = {N}, float32, load of the machine before {record['load']:.1f} on {record['cores']} cores: {record['1']['per_second']:.2f} designs a second by one, "
          f"{record['2']['per_second']:.2f} by two ({record['speedup']:.2f}x); CPU seconds a design {record['1']['cpu_seconds']:.3f} and {record['2']['cpu_seconds']:.3f}")
    return record


def on_gpu(sizes, batches, device):
    "Rows of the GPU: seconds a cell, float32."
    name, rows = torch.cuda.get_device_name(device), []
    print(f"\n{name}, float32, rtol {TOLERANCE[torch.float32]:g}\n{'N':>4} {'batch':>6} {'ms/cell':>9} {'iterations':>10} {'peak GB':>8}")
    for N in sizes:
        cell = torch.as_tensor(make_cell("random", N), dtype=torch.float32, device=device)
        for batch in batches:
            cells, times = cell.expand(batch, N, N, N), []
            torch.cuda.reset_peak_memory_stats()
            for _ in range(4):
                torch.cuda.synchronize()
                start = time.perf_counter()
                found = homogenize(cells, rtol=TOLERANCE[torch.float32])
                torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
            rows.append({"device": name, "N": N, "batch": batch, "seconds": min(times[1:]) / batch, "iterations": int(found.iterations.max()),
                         "memory": torch.cuda.max_memory_allocated(), "C": constants(found.C[0].cpu()).tolist()})
            print(f"{N:>4} {batch:>6} {1e3 * rows[-1]['seconds']:>9.2f} {rows[-1]['iterations']:>10} {rows[-1]['memory'] / 1e9:>8.2f}", flush=True)
    return rows


def figure(rows, peers):
    "CPU seconds, peak memory and iterations against the resolution."
    use_house_style()
    fig, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
    styles = {"float64": "-", "float32": "--"}
    for color, kind in zip(("C0", "C1"), KINDS):
        for dtype, style in styles.items():
            some = [row for row in rows if row["cell"] == kind and row["dtype"] == dtype]
            for ax, values in zip(axes, ([row["seconds"] for row in some], [row["memory"] / 1e6 for row in some], [row["iterations"] for row in some])):
                ax.plot([row["N"] for row in some], values, style, color=color, marker="o", ms=4, label=f"{kind}, {dtype}, rtol {some[0]['rtol']:g}")
    for color, name in zip(("C2", "C3", "C4", "C5"), list(SOLVERS)[2:]):
        some = [row for row in peers if row["solver"] == name and row["cell"] == "random" and "seconds" in row]
        if some:
            axes[0].plot([row["N"] for row in some], [row["seconds"] for row in some], ":", color=color, marker="s", ms=3)
            axes[0].annotate(name, (some[-1]["N"], some[-1]["seconds"]), xytext=(5, -7 if "diagonal" in name else 2), textcoords="offset points", fontsize=7, color=color)
    sizes = sorted({row["N"] for row in rows} | {row["N"] for row in peers})
    for ax, label in zip(axes, ("CPU seconds a cell", "peak memory of the process [MB]", "iterations")):
        ax.set_xscale("log", base=2)
        ax.set(xlabel="voxels along an edge N", ylabel=label)
        ax.set_xticks(sizes, [str(N) for N in sizes])
    axes[0].set_yscale("log")
    axes[0].set_xlim(sizes[0] * 0.85, sizes[-1] * 2)
    for ax in axes[1:]:
        ax.set_ylim(0)
    fig.legend(*axes[2].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=7)
    return fig


def parse():
    "The options, with what --quick stands for."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=None, help="N for the cost (16 32 64 128)")
    parser.add_argument("--peers", type=int, nargs="*", default=None, help="N for the peers (16 32 64)")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a peer may take")
    parser.add_argument("--processes", type=int, default=None, help="N for two processes (64); 0 leaves them out")
    parser.add_argument("--device", default="cpu", help="cuda times the GPU, and nothing else")
    parser.add_argument("--quick", action="store_true", help="N = 8 and 16, peers at 16, all in one process")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    defaults = ([8, 16], [16], 0) if options.quick else ([16, 32, 64, 128], [16, 32, 64], 64)
    for name, value in zip(("sizes", "peers", "processes"), defaults):
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main():
    options = parse()
    torch.set_num_threads(1)
    record = {"machine": f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}",
              "options": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()}}
    print(f"{record['machine']}, one thread")
    options.out.mkdir(parents=True, exist_ok=True)
    if options.device != "cpu":
        record["gpu"] = on_gpu([32] if options.quick else [64, 128, 256], [1, 4] if options.quick else [1, 8], options.device)
        name = "voxel_homogenize_gpu"
    else:
        name = "voxel_homogenize"
        record["peers"] = against_peers(options.peers, options.limit)
        record["cost"] = cost(options.sizes, options.quick)
        if options.processes:
            record["processes"] = two_processes(options.processes, 4)
        if record["cost"]:
            save_figure(figure(record["cost"], record["peers"]), options.out, name)
    write_json(options.out / f"{name}.json", record, argument="out")
    print(f"written to {options.out}/{name}.*")


if __name__ == "__main__":
    main()
