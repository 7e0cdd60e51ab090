"""Macroscopic elasticity of a block of cells: one solution and one optimisation step against scikit-fem, in one run.

    python benchmarks/voxel_macro.py [--sizes 5 10 20] [--direct 10] [--out runs/benchmarks]

One eighth of the cloak's block (`voxel.cloak`) with a ring of random tensors, sizes n^3 elements. scikit-fem assembles the matrix for these constants, then
SciPy solves it: by conjugate gradients with the diagonal as preconditioner to the same residual of 1e-6, and, up to --direct, by a sparse LU factorisation.
A step is the displacement, the adjoint and the derivative of the distortion by every constant; ours starts from nothing ("cold") or from the solutions of
the step before ("warm", as an optimisation does). Both derivatives are compared. CPU seconds of one thread, the least of up to three runs.
Writes voxel_macro.json.
"""

import argparse
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import scipy.sparse.linalg
import skfem
import torch
from skfem.helpers import ddot, sym_grad

from metanb.core.files import write_json
from metanb.voxel.cloak import cloak
from metanb.voxel.macro import displacement, equilibrium


def seconds(run, enough=2.0):
    "Answer and least CPU seconds of up to three runs; one where it takes long."
    best, begin = np.inf, time.process_time()
    for _ in range(3):
        start = time.process_time()
        answer = run()
        best = min(best, time.process_time() - start)
        if time.process_time() - begin > enough:
            break
    return answer, best


def problem(n):
    "A cloak of 2 n elements along the edge, its ring of random tensors."
    task = cloak(2 * n, (0.15, 0.05, 0.05))
    factor = 0.5 + 4 * torch.rand(int(task.body.designed.sum()), 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return task, task.body.with_constants(factor * torch.tensor([0.15, 0.05, 0.05], dtype=torch.float64))


class ScikitFem:
    "The same block: everything that does not depend on the constants is made once, as in an optimisation."

    def __init__(self, task, constants):
        self.task, full = task, np.asarray(constants)
        mesh = skfem.MeshHex.init_tensor(*(np.arange(s + 1.0) for s in full.shape[1:]))
        solid = full[0][tuple(np.floor(mesh.p[:, mesh.t].mean(1)).astype(int))] > 0
        self.mesh = mesh.restrict(np.flatnonzero(solid))
        self.at = tuple(np.floor(self.mesh.p[:, self.mesh.t].mean(1)).astype(int))
        self.basis = skfem.Basis(self.mesh, skfem.ElementVector(skfem.ElementHex1()), intorder=3)
        self.nodes, self.number = tuple(self.mesh.p.astype(int)), self.basis.nodal_dofs
        fixed = np.asarray(task.body.case.fixed)[(slice(None), *self.nodes)]
        self.free = np.setdiff1d(np.arange(self.basis.N), self.number[fixed])
        self.force = self.vector(np.asarray(task.body.case.force[0]))

    def vector(self, field):
        out = np.zeros(self.basis.N)
        out[self.number] = field[(slice(None), *self.nodes)]
        return out

    def field(self, vector):
        out = np.zeros(self.task.reference.shape[1:])
        out[(slice(None), *self.nodes)] = vector[self.number]
        return torch.as_tensor(out)[None]

    def matrix(self, constants):
        C = np.asarray(constants)[(slice(None), *self.at)][:, :, None]

        @skfem.BilinearForm
        def energy(u, v, w):
            e, d = sym_grad(u), sym_grad(v)
            normal = sum((C[0] - C[1]) * e[i, i] * d[i, i] for i in range(3)) + C[1] * (e[0, 0] + e[1, 1] + e[2, 2]) * (d[0, 0] + d[1, 1] + d[2, 2])
            return normal + 2 * C[2] * (ddot(e, d) - sum(e[i, i] * d[i, i] for i in range(3)))

        return energy.assemble(self.basis)[self.free][:, self.free]

    def solver(self, constants, direct):
        "A function from a right-hand side to its solution."
        K = self.matrix(constants).tocsc()
        if direct:
            factor = scipy.sparse.linalg.splu(K)
            solve = factor.solve
        else:
            inverse = scipy.sparse.diags_array(1 / K.diagonal())

            def solve(b):
                x, info = scipy.sparse.linalg.cg(K.tocsr(), b, rtol=1e-6, M=inverse, maxiter=5000)
                assert info == 0
                return x

        def whole(b):
            out = np.zeros(self.basis.N)
            out[self.free] = solve(b[self.free])
            return out
        return whole

    def solve(self, constants, direct):
        return self.field(self.solver(constants, direct)(self.force))

    def step(self, constants, direct):
        "The derivative of the distortion by the constants (3, l, m, n)."
        solve = self.solver(constants, direct)
        u = self.field(solve(self.force)).requires_grad_()
        (slope,) = torch.autograd.grad(self.task.body.objective(u), u)
        adjoint, u = solve(self.vector(slope[0].numpy())), self.vector(u.detach()[0].numpy())
        e, d = (sym_grad(self.basis.interpolate(x)) for x in (u, adjoint))
        trace = (e[0, 0] + e[1, 1] + e[2, 2]) * (d[0, 0] + d[1, 1] + d[2, 2])
        same = sum(e[i, i] * d[i, i] for i in range(3))
        parts = [same, trace - same, 2 * (ddot(e, d) - same)]
        out = np.zeros((3, *np.shape(constants)[1:]))
        for i, part in enumerate(parts):
            out[(i, *self.at)] = -(part * self.basis.dx).sum(1)
        return out


def our_step(task, constants, memory):
    c = constants.clone().requires_grad_()
    task.body.objective(displacement(c, task.body.case, memory=memory)).backward()
    return c.grad.numpy()


def measure(n, direct):
    "Rows of one size."
    task, constants = problem(n)
    changed = constants * (1 + 0.02 * torch.rand(constants.shape[1:], generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    peer, solid = ScikitFem(task, constants), np.asarray(constants[0] > 0)
    (found, t_solve), (slope, t_step) = seconds(lambda: equilibrium(constants, task.body.case)), seconds(lambda: our_step(task, constants, {}))
    warm = []
    for _ in range(3):
        memory = {}
        our_step(task, changed, memory)
        start = time.process_time()
        our_step(task, constants, memory)
        warm.append(time.process_time() - start)
    rows = [{"n": n, "solver": "ours", "solve": t_solve, "step": t_step, "warm": min(warm), "iterations": int(found.iterations[0])}]
    for name, is_direct in (("scikit-fem, conjugate gradients", False), ("scikit-fem, LU", True)):
        if is_direct and n > direct:
            continue
        (u, solve), (other, step) = seconds(lambda: peer.solve(constants, is_direct)), seconds(lambda: peer.step(constants, is_direct))
        apart = float((u - found.u).norm() / found.u.norm()), float(abs(other - slope)[:, solid].max() / abs(slope[:, solid]).max())
        assert max(apart) < 1e-3, apart
        rows.append({"n": n, "solver": name, "solve": solve, "step": step, "difference": apart[0], "slope_difference": apart[1]})
    for row in rows:
        more = "" if "difference" not in row else f"   {row['solve'] / t_solve:5.1f} {row['step'] / t_step:5.1f} {row['step'] / min(warm):5.1f}   differs by {row['difference']:.1e}, derivative by {row['slope_difference']:.1e}"
        print(f"{n:>4}^3 {row['solver']:>32} {row['solve']:>9.3f} {row['step']:>9.3f} {row.get('warm', float('nan')):>9.3f}{more}", flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[5, 10, 20])
    parser.add_argument("--direct", type=int, default=10, help="largest size of the factorisation")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, scikit-fem {skfem.__version__}"
    print(f"{machine}, one thread, CPU seconds\n{'size':>6} {'solver':>32} {'solve':>9} {'step':>9} {'warm':>9}   theirs / ours: solve, cold step, warm step")
    rows = [row for n in options.sizes for row in measure(n, options.direct)]
    options.out.mkdir(parents=True, exist_ok=True)
    write_json(options.out / "voxel_macro.json", {"machine": machine, "rows": rows}, argument="out")


if __name__ == "__main__":
    main()
