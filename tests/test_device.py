"""Everything on a CUDA device, without one: `pretend_device` says `cuda:0`, computes on the CPU and refuses what CUDA refuses.

What is tried is found: the trainings, solvers and samplers of every space, so that a new room is tested from its first day.
`pytest -m weekly tests/test_device.py` tries all models, all shipped weights and all notebooks at preset test.
"""

import ast
import copy
import importlib
import inspect
import json
import os
import subprocess
import sys
import warnings
from collections import Counter
from contextlib import nullcontext
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from metanb.cellular import motion
from metanb.cellular.design import random_designs as random_pixels
from metanb.cellular.material import Material
from metanb.cellular.mechanics import compress
from metanb.cellular.mesh import pixel_mesh
from metanb.cellular.settings import Loading, Marching
from metanb.core.batch import find_notebooks
from metanb.core.device import device_kind
from metanb.core.diffusion import Denoiser, invert_ddim, sample_ddim, sample_ddpm
from metanb.core.runs import main
from metanb.core.schedules import cosine_schedule
from metanb.core.training import Phase, fit
from metanb.core.unet import UNet
from metanb.core.weights import from_pretrained, weights
from metanb.truss.design import random_designs, to_table
from metanb.truss.forward import predict_stiffness
from metanb.truss.inverse import design_for, nmse, random_proposer, refine
from metanb.truss.mechanics import effective_stiffness
from metanb.voxel.families import random_cells
from metanb.voxel.gradation import between, sequence, to_noise
from metanb.voxel.mechanics import conjugate_gradients, homogenize
from metanb.voxel.model import CellDiffusion
from metanb.voxel.objectives import reach, youngs
from metanb.voxel.operators import Octant
from metanb.voxel.optimize import InverseHomogenization, _step_together
from metanb.voxel.train import TRAININGS
from pretend_device import cuda, pretend_cuda, write_hook  # noqa: F401  the first is a fixture
from safetensors.torch import load_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[1]
REAL = torch.cuda.is_available()  # then the package is tried on that one
SPACES = sorted(path.parent.name for path in (ROOT / "metanb").glob("*/design.py"))


@pytest.fixture
def device():
    "A CUDA device, the machine's or a pretended one, for the length of a test."
    with nullcontext() if REAL else pretend_cuda():
        yield "cuda"


# the device itself

REFUSED = {
    "two devices": lambda x: x + torch.zeros(2, 3),
    "product": lambda x: x @ torch.zeros(3, 3),
    "stacked scalars": lambda x: torch.stack([x[0, 0], torch.zeros(())]),
    "numpy": lambda x: x.numpy(),
    "asarray": np.asarray,
    "ufunc": np.log,
    "CUDA index of a CPU tensor": lambda x: torch.zeros(3)[x[0].long()],
    "CPU values at indices": lambda x: x.index_put((torch.tensor([0]), torch.tensor([1])), torch.ones(1)),
    "limit on the CPU": lambda x: torch.clamp(x, min=torch.zeros(())),
    "CPU generator": lambda x: torch.randn(3, generator=torch.Generator(), device="cuda"),
    "CUDA generator": lambda x: torch.rand(3, generator=torch.Generator("cuda")),
    "state of a CPU generator": lambda x: torch.Generator("cuda").set_state(torch.Generator().get_state()),
    "convolution": lambda x: nn.Conv1d(2, 2, 1)(x),
}
GRANTED = {
    "CPU scalar": lambda x: x * torch.ones(()),
    "two of them in where": lambda x: torch.where(x > 0, torch.ones(()), torch.zeros(())),
    "CPU indices": lambda x: x[torch.tensor([0, 1])],
    "list": lambda x: x[[0, 1], [1, 2]],
    "NumPy's integers": lambda x: x[:, list(np.array([0, 2]))],
    "assigned number": lambda x: x.clone().__setitem__(x > 1, 0.0),
    "assigned CPU tensor": lambda x: x.clone().__setitem__(slice(0, 1), torch.ones(1, 3)),
    "upload": lambda x: torch.as_tensor(np.ones(2), device="cuda") + x[0, :2],
    "list of scalars": lambda x: torch.tensor([x[0, 0], x[0, 1]]),
    "squeeze_": lambda x: x.clone()[None].squeeze_(),
    "fft": lambda x: torch.fft.irfft(torch.fft.rfft(x)),
}
pretended = pytest.mark.skipif(REAL, reason="this machine has a CUDA device, nothing needs to be pretended")


@pretended
@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_cuda_refuses(cuda, name):  # noqa: F811
    with pytest.raises((RuntimeError, TypeError)):
        REFUSED[name](torch.arange(6.0, device="cuda").reshape(2, 3))


@pretended
@pytest.mark.parametrize("name", GRANTED)
def test_grants_what_cuda_grants(cuda, name):  # noqa: F811
    GRANTED[name](torch.arange(6.0, device="cuda").reshape(2, 3))


@pretended
def test_numbers_and_gradients_are_those_of_the_cpu():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.SiLU(), nn.Flatten(), nn.Linear(16, 1))
    x = torch.randn(3, 1, 4, 4)
    net(x).sum().backward()
    with pretend_cuda() as gpu:
        there = copy.deepcopy(net).to("cuda")
        there.zero_grad()
        there(x.to("cuda")).sum().backward()
        for p, q in zip(net.parameters(), there.parameters()):
            assert q.grad.is_cuda and torch.equal(p.grad, q.grad.cpu())
        assert gpu.kernels > 10 and gpu.count("to device", Path(__file__).name) and gpu.peak > 0
    assert not torch.cuda.is_available() and isinstance(torch.Generator(), torch.Generator)


@pretended
def test_autocast_casts_by_cudas_lists(cuda):  # noqa: F811
    x = torch.ones(2, 4, device="cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        product = x @ x.T
        assert product.dtype == torch.bfloat16 and product.sum().dtype == torch.float32
        assert nn.functional.group_norm(product, 2).dtype == torch.float32
        assert (x.double() @ x.T.double()).dtype == torch.float64


@pretended
def test_what_happened_is_written_down(cuda):  # noqa: F811
    x = torch.ones(1000, device="cuda")
    cuda.clear()
    for _ in range(3):
        x = x + 1
    assert (cuda.kernels, cuda.syncs) == (3, 0)
    float(x.sum()), x.cpu(), x[x > 0]
    assert cuda.count("sync") == 2 and cuda.count("to host") == 1 and not cuda.uploads


# what the spaces do there


def room(space, name):
    "A module of a space, or nothing."
    if (ROOT / "metanb" / space / f"{name}.py").is_file():
        return importlib.import_module(f"metanb.{space}.{name}")


def parts(x):
    "The arrays of an answer, however it is packed."
    if isinstance(x, (torch.Tensor, np.ndarray)):
        return [x.numpy(force=True) if isinstance(x, torch.Tensor) else x]
    if is_dataclass(x):
        x = [getattr(x, field.name) for field in fields(x)]
    return [a for part in (x.values() if isinstance(x, dict) else x if isinstance(x, (list, tuple)) else ())
            for a in parts(part)]


def hasty(plan, at, factor, left, frame, active):
    "For `Plan.speed`: five blocks to a frame, where there are at least sixty."
    left = np.where(left > 0, left, 5)
    way = plan.marks[np.minimum(frame, len(plan.marks) - 1)] - at
    return np.where(active, way / (left * motion.BLOCK), 0.0), left


@pytest.fixture
def quick(monkeypatch):
    "A compression of ten steps; its numbers are of no use but to be compared."
    monkeypatch.setattr(motion, "BLOCK", 2)
    monkeypatch.setattr(motion.Plan, "speed", hasty)


SMALL = {  # arguments of `random_designs`, and of the solvers
    "voxel": (dict(octant=4, volume_fraction=0.5), {}),
    "cellular": (dict(quarter=6), dict(max_strain=1e-3, frames=(1.0,), repeats=0, compiled=False, steps=100)),
}


def solvers():
    "Public functions of `mechanics` that begin with designs: (space, name)."
    for space in SPACES:
        module = room(space, "mechanics")
        for name in module.__all__ if module else ():
            function = getattr(module, name)
            if inspect.isfunction(function) and next(iter(inspect.signature(function).parameters), "") == "designs":
                yield space, name


def test_there_is_something_to_try():
    assert SPACES == ["cellular", "kirigami", "truss", "voxel"]
    assert {space for space, _ in solvers()} == {"cellular", "truss", "voxel"}
    assert {space for space, _ in trainings()} >= {"kirigami", "truss"}


@pytest.mark.parametrize("space, name", [*solvers()])
def test_solvers_give_the_numbers_of_the_cpu(quick, device, space, name):
    drawing, options = SMALL.get(space, ({}, {}))
    designs = room(space, "design").random_designs(2, 0, **drawing)
    here, there = (parts(getattr(room(space, "mechanics"), name)(designs, device=where, **options))
                   for where in ("cpu", device))
    assert len(here) == len(there) > 0
    for a, b in zip(here, there):
        np.testing.assert_allclose(b, a, rtol=1e-4 if REAL else 0, atol=1e-8 if REAL else 0)


def trainings(every=True):
    "What can be trained, (space, name); else the first of each space, and the first that is sampled from."
    for space in SPACES:
        recipes = room(space, "train").TRAININGS if room(space, "train") else {}
        sampled = [name for name in recipes if hasattr(recipes[name].network, "sample")]
        for name in recipes if every else dict.fromkeys([*list(recipes)[:1], *sampled[:1]]):
            yield space, name


def train(space, name, out, *words):
    "The command that trains, and what was saved."
    limit = ["--beta-max", "60"] if space == "kirigami" else []
    with pytest.raises(SystemExit) as end:
        main(["train", space, "--model", name, "--preset", "test", "--n", "200", "--out", str(out), *limit, *words])
    assert end.value.code in (0, None)
    return load_file(next(out.rglob(f"{name}*/*.safetensors")))


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    "Where the data sets of the trainings are, made on the CPU by the first of them."
    folder = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METANB_DATA", str(folder))
        for space, name in {space: (space, name) for space, name in reversed([*trainings()])}.values():
            train(space, name, folder / "weights", "--steps", "1", "--device", "cpu")
    return folder


@pytest.mark.parametrize("space, name", [*trainings(every=False)])
def test_training_sampling_and_resuming(device, sets, tmp_path, monkeypatch, space, name):
    "A training that was stopped after its first step ends in the same weights; its card measures them, by sampling."
    monkeypatch.setenv("METANB_DATA", str(sets))
    line = ["--steps", "2", "--device", device]
    whole = train(space, name, tmp_path / "whole", *line)
    train(space, name, tmp_path / "again", *line, "--max-minutes", "1e-9")
    resumed = train(space, name, tmp_path / "again", *line)
    assert whole.keys() == resumed.keys()
    for key, tensor in whole.items():
        torch.testing.assert_close(resumed[key], tensor, rtol=0, atol=0, equal_nan=True)  # places that hold nothing are NaN


# what was at fault once


def test_notebooks_load_networks_onto_the_device():
    "Without the argument `metanb run --device cuda` would sample on the CPU."
    for path in sorted((ROOT / "nbs").glob("figures/*.ipynb")) + sorted((ROOT / "nbs").glob("tutorials/*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"):
            for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
                if getattr(call.func, "id", "") in ("from_pretrained", "load_proposer"):
                    assert len(call.args) == 2 or "device" in [given.arg for given in call.keywords], (path.name, ast.unparse(call))


def moved(designs, device):
    "Trusses whose tensors are on a device."
    return replace(designs, **{f.name: getattr(designs, f.name).to(device) for f in fields(designs)
                               if isinstance(getattr(designs, f.name), torch.Tensor)})


TAKES = {  # where -> the same from designs and stiffness of trusses (3, 6, 6), wherever they are
    "truss.design.to_table": lambda d, C: to_table(d),
    "truss.forward.predict_stiffness": lambda d, C: nmse(predict_stiffness(from_pretrained("truss/affine", C.device), d), C),
    "truss.inverse.nmse": lambda d, C: (nmse(C, C[:1].cpu()), nmse(C.cpu(), C[:1])),
    "truss.inverse.refine": lambda d, C: refine(d[:1], C[1], iterations=1)[2],
    "truss.inverse.random_proposer": lambda d, C: random_proposer(C[0], 3),
    "truss.inverse.design_for": lambda d, C: design_for(C[0], n_candidates=4, n_polished=0, keep=1, propose=random_proposer).error,
    "voxel.objectives.youngs": lambda d, C: youngs(C[0]),
    "voxel.objectives.reach": lambda d, C: reach(C[0])(C[1]),
}


@pytest.mark.parametrize("where", TAKES)
def test_public_functions_take_tensors_of_the_device(device, where):
    designs = room("truss", "design").random_designs(3, 0)
    C = room("truss", "mechanics").effective_stiffness(designs, device="cpu")
    here, there = parts(TAKES[where](designs, C)), parts(TAKES[where](moved(designs, device), C.to(device)))
    assert len(here) == len(there) > 0
    for a, b in zip(here, there):
        np.testing.assert_allclose(b, a, rtol=1e-4 if REAL else 1e-12)


def test_tensors_of_one_design_share_a_device(device):
    designs = room("truss", "design").random_designs(3, 0)
    with pytest.raises(ValueError, match="device of V is 'cuda:0'; allowed: cpu, that of relative_density"):
        replace(designs, V=designs.V.to(device))


def test_samplers_move_the_condition_and_keep_the_device_of_the_start(device):
    "Also where the network is a function, which has no device."
    start, schedule = torch.randn(2, 1, 4, 4, device=device), cosine_schedule(4)
    asked = Denoiser(UNet(2, 1, 1, widths=(8,), n_conditions=1).to(device), schedule, condition=torch.ones(2, 1))
    for denoise in (asked, Denoiser(lambda x, t, condition: x, schedule)):
        found = sample_ddim(denoise, start, (2, 4))
        assert found.is_cuda and sample_ddpm(denoise, start).is_cuda and invert_ddim(denoise, found, (2, 4)).is_cuda


def test_a_network_in_half_precision_says_what_it_says_in_single():
    "Weights are rounded, angles of the time are not."
    torch.manual_seed(0)
    net = UNet(2, 1, 1, widths=(8, 8), n_conditions=1).eval()
    for p in net.parameters():
        p.data = p.data.bfloat16().float() + 0.0
    net.head.conv.weight.data.normal_()
    net.head.conv.weight.data = net.head.conv.weight.data.bfloat16().float()
    x, t, condition = torch.randn(4, 1, 8, 8), torch.tensor([0.017, 0.333, 0.701, 0.99]), torch.rand(4, 1)
    single, half = net(x, t, condition), copy.deepcopy(net).bfloat16()(x, t, condition)
    assert half.dtype == torch.bfloat16
    assert (half.float() - single).norm() < 0.03 * single.norm()


# what a GPU has to launch and how often it waits, counted

def _counted(gpu, call):
    "Kernels, synchronisations and uploads of a call, the second one: tables are made once."
    call()
    gpu.clear()
    call()
    return np.array([gpu.kernels, gpu.syncs, gpu.uploads])


@pretended
def test_an_iteration_of_the_voxel_solver_launches_little_and_seldom_waits():
    with pretend_cuda() as gpu:
        E = torch.ones(2, 8, 8, 8, device="cuda")
        E[:, :4, :4, :4] = 1e-3
        cell = Octant(E, [0, 3], 0.3)
        load, never = cell.load(), torch.zeros(2, device="cuda")
        less, more = (_counted(gpu, lambda n=n: conjugate_gradients(cell.times, cell.green, load, never, max_iterations=n))
                      for n in (16, 32))
    assert ((more - less) / 16 <= (45, 1 / 8, 0)).all() and more[0] > less[0] + 200


SIMPLE = Material(plastic_strain=(0, 0.02, 0.1), yield_stress=(40, 50, 60))  # a short table is compiled in less time


def a_batch(n, quarter, device):
    "Cells under compression, and how a block of their motion begins."
    meshes = [pixel_mesh(design) for design in random_pixels(n, seed=0, quarter=quarter)]
    batch = motion.Batch(meshes, SIMPLE, Loading(), Marching(device=device))
    return batch, motion.State(batch), motion.make_plan(batch), motion._functions(SIMPLE, False)


@pretended
def test_a_block_of_cells_waits_five_times_and_uploads_once():
    "The search for candidates needs three sizes and a height; all else comes to the host at once. Of a frame only what has reached it."
    with pretend_cuda() as gpu, torch.no_grad():
        batch, state, plan, kernel = a_batch(2, 6, "cuda")
        advance = lambda: motion._advance(batch, state, plan, kernel, lambda now, still: now)  # without the steps
        kernels, syncs, uploads = _counted(gpu, advance)
        assert (syncs, uploads) == (5, 1) and kernels < 1200
        step = advance()._replace(arrive=np.array([True, False]))
        gpu.clear()
        motion.Record(batch, plan).write(batch, state, step, kernel, np.arange(2))
        assert (gpu.syncs, gpu.uploads) == (5, 2) and gpu.copied < 40 * (len(batch.meshes[0].X) + batch.meshes[0].conn.shape[1])


@pretended
def test_compiled_parts_of_a_compression_launch_little():
    "As Inductor writes them for an H200, for any sizes; bytes are those of a batch of 256 cells of 96 x 96 pixels."
    pytest.importorskip("triton", reason="compiled code for a GPU is counted where the triton wheel is installed")
    from lowering import lowered, pretend_h200

    B = 3
    batch, state, plan, kernel = a_batch(B, 6, "cpu")
    now, still = motion._begin(batch, state, plan, np.zeros(B), kernel)
    parts = batch.parts
    sizes = {parts.x: 4408, parts.conn: 4016, batch.boundary.nodes: 704, now.rub: 64, parts.held: 91, torch.zeros(B): 1}
    sizes = {tensor.shape[-1]: 256 * each for tensor, each in sizes.items()}
    assert len(sizes) == 6  # no two are equal
    moving = state.u, state.drift
    calls = {"step": (now, still), "begin": (*moving, state.rub, torch.zeros(2, B), parts, still.candidates), "finish": (*moving, now, still)}
    with pretend_h200():
        found = {name: lowered(getattr(kernel, name), given, sizes) for name, given in calls.items()}
    assert found["step"].launches <= 30 and found["step"].bytes <= 256 * 7e6
    assert found["begin"].launches + found["finish"].launches <= 40 and found["begin"].bytes + found["finish"].bytes <= 256 * 7e6


def test_one_compilation_serves_batches_of_all_sizes(quick, monkeypatch):
    "Of each part, without a break but those of the search. The numbers are those of plain code."
    graphs, real = [], torch.compile

    def compile(function, **settings):
        return real(function, dynamic=True, backend=lambda graph, given: graphs.append(function.__name__) or graph)
    monkeypatch.setattr(torch, "compile", compile)
    monkeypatch.setattr(motion, "_kernels", {})
    motion._kernels[SIMPLE, True, "cpu"] = motion._kernel(SIMPLE, True, torch.device("cuda"))  # there all parts are compiled
    found = []
    for n, quarter in ((5, 6), (3, 7), (7, 5)):
        designs, options = random_pixels(n, 0, quarter=quarter), dict(max_strain=1e-3, frames=(1.0,), repeats=0, device="cpu")
        plain = compress(designs, SIMPLE, compiled=False, **options)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what is said where a compiler fails
            assert all(np.array_equal(x, y) for x, y in zip(parts(plain), parts(compress(designs, SIMPLE, compiled=True, **options))))
        found.append(Counter(graphs))
    assert found == found[:1] * 3 and found[0].pop("search") < 15 and found[0] == dict(step=1, begin=1, finish=1, picture=1)


class Replayed:
    "A CUDA graph on the CPU: the same operators, on the same memory."

    def __init__(self):
        self.calls = []

    def replay(self):
        for function, given, options, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(function(*given, **options))):
                old.copy_(new)


class Capture(TorchDispatchMode):
    "Stands for `torch.cuda.graph`."

    def __init__(self, graph):
        super().__init__()
        self.graph = graph

    def __torch_dispatch__(self, function, types, given=(), options=None):
        out = function(*given, **(options or {}))
        self.graph.calls.append((function, given, options or {}, out))
        return out


@pretended
def test_a_graph_of_steps_gives_what_the_steps_give(quick, monkeypatch):
    "Its memory is written over by each replay, which must not reach what is kept."
    made = []
    monkeypatch.setattr(motion, "BLOCK", 1)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: made.append(Replayed()) or made[-1])
    monkeypatch.setattr(torch.cuda, "graph", Capture)
    designs, options = random_pixels(2, 0, quarter=5), dict(max_strain=1e-3, frames=(1.0,), repeats=0, compiled=False)
    for more in ({}, {"contact": False}):
        here = compress(designs, device="cpu", **options, **more)
        with pretend_cuda():
            there = compress(designs, device="cuda", graph=True, **options, **more)
        assert all(np.array_equal(x, y) for x, y in zip(parts(here), parts(there)))
    assert len(made) >= 2 and all(graph.calls for graph in made)


def test_nothing_is_compiled_while_a_graph_is_captured(monkeypatch):
    "Neither after a block without a graph, whose arguments are views."
    made = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", nullcontext)
    batch, state, plan, kernel = a_batch(2, 5, "cpu")
    step = torch.compile(kernel.step, dynamic=True, backend=lambda graph, given: made.append(graph) or graph)
    with torch.no_grad(), motion._constants(True):
        given = motion._begin(batch, state, plan, np.zeros(2), kernel)
        block = motion.Graph(lambda now, still: step(step(now, still), still))
        block.block(*given)
        block(*given)
        before = len(made)
        block(*given)
    assert block.graph is not None and len(made) == before > 0


@pretended
def test_symmetries_of_voxel_cells_are_looked_at_once_for_a_batch():
    with pretend_cuda() as gpu:
        cells = torch.ones(8, 8, 8, 8, device="cuda")
        cells[:, 2:6, 2:6, 2:6] = 0.5
        one, eight = (_counted(gpu, lambda c=c: homogenize(c, dtype=torch.float32)) for c in (cells[:1], cells))
    assert (one == eight).all() and one[1] <= 8


@pretended
def test_optimisations_side_by_side_wait_as_often_as_one():
    def begun(n):
        settings = dict(octant=4, sharpness=(1,), device="cuda", rtol=0.5)  # which takes no more than eight iterations
        return [InverseHomogenization("bulk", 0.4, seed=seed, **settings).way for seed in range(n)]

    with pretend_cuda() as gpu:
        one, six = (_counted(gpu, lambda n=n: _step_together(begun(n))) for n in (1, 6))
    assert (one == six).all() and one[0] > 100


@pytest.mark.skipif(not REAL, reason="this machine has no CUDA device")
@pytest.mark.parametrize("graph", [False, True])
def test_cells_are_compressed_as_on_the_cpu_compiled_and_as_a_graph(graph):
    designs, options = random_pixels(4, 0, quarter=12), dict(frames=(0.01, 0.05, 0.1), repeats=0)
    here, there = compress(designs, device="cpu", **options), compress(designs, device="cuda", compiled=True, graph=graph, **options)
    assert there.passed.all()
    np.testing.assert_allclose(there.stress, here.stress, rtol=1e-2)
    np.testing.assert_allclose(there.u1, here.u1, atol=1e-2 * abs(here.u1).max())


@pretended
def test_designs_of_trusses_cost_few_uploads_and_two_waits():
    few, many = (random_designs(n, seed=1) for n in (10, 40))
    with pretend_cuda() as gpu:
        less, more = (_counted(gpu, lambda d=d: effective_stiffness(d, device="cuda")) for d in (few, many))
        both = _counted(gpu, lambda: effective_stiffness(many, frame="both", device="cuda"))  # in one pass
    assert more[0] > 3 * less[0] and (more[1:] == less[1:]).all() and (more[1:] <= (2, 3)).all()  # whatever the topologies
    assert both[0] < 1.05 * more[0] and both[1] == more[1] and both[2] <= more[2] + 1


@pretended
def test_a_call_of_the_voxel_network_in_half_precision_launches_little():
    "That of preset paper, on a smaller octant: as many layers."
    net = TRAININGS["unet"].build(preset="paper", octant=16).network.unet.eval()
    with pretend_cuda() as gpu, torch.no_grad():
        net = net.to("cuda").bfloat16()
        x, t, given = (torch.zeros(1, *s, device="cuda", dtype=torch.bfloat16) for s in ((2, 16, 16, 16), (), (4,)))
        assert _counted(gpu, lambda: net(x, t, given))[0] <= 300


@pretended
def test_a_regressor_on_the_cpu_guides_a_network_on_a_gpu():
    torch.manual_seed(0)
    model, cells = CellDiffusion(octant=8, width=32, blocks=1, embedding=16, noise_steps=20).eval(), random_cells(2, 0, octant=8)[0]
    with pretend_cuda():
        model = model.to("cuda")
        arc = between(*to_noise(model, cells, n_steps=3), 2)
        guided = sequence(model, arc, n_steps=3, ends=cells, regressor=nn.Linear(120, 1))
    assert guided.shape == (2, 8, 8, 8)


class Line(nn.Module):
    "A line, and the type in which it was evaluated."

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def loss(self, batch, generator):
        out = self.linear(batch)
        self.seen = out.dtype
        return out.float().square().mean()

    def phases(self):
        return [Phase("line", self.linear, self.loss, 1e-3)]


def test_half_precision_by_itself_only_where_a_model_says_so(device):
    for says, seen in ((None, torch.float32), (True, torch.bfloat16)):
        model = Line()
        if says:
            model.bf16 = True
        fit(model, torch.ones(4, 1), steps=1, batch_size=2, device=device, progress=False)
        assert model.seen == seen


MADE = {"truss": dict(n=2, shard_size=2), "voxel": dict(n=1, shard_size=1, octant=4, stage_steps=1),
        "cellular": dict(n=1, shard_size=1, quarter=6, max_strain=1e-3, frames=(1.0,), repeats=0, steps=100, compiled=False)}


@pytest.mark.parametrize("space", [space for space in SPACES if room(space, "mechanics")])
def test_data_sets_are_made_on_the_device(quick, device, tmp_path, space):
    "A shard says where it was made."
    data = room(space, "data")
    assert "device" in inspect.signature(data.command).parameters
    made = data.dataset(preset="test", device=device, folder=tmp_path, progress=False, **MADE.get(space, {}))
    assert made.attributes["made_on"] == [device_kind(device)] != ["cpu"]


def test_where_a_compiler_fails_the_compression_goes_on(quick, monkeypatch):
    "The step is compiled at its first call; a broken compiler is one warning."
    def broken(function, **settings):
        def call(*arguments):
            raise RuntimeError("InductorError: no such compiler")
        return call

    cell, options = np.ones((4, 4), bool), dict(max_strain=1e-3, frames=(1.0,), repeats=0, steps=100, device="cpu")
    monkeypatch.setattr(motion, "_kernels", {})
    monkeypatch.setattr(torch, "compile", broken)
    plain = room("cellular", "mechanics").compress(cell, compiled=False, **options)
    with pytest.warns(UserWarning, match="goes on uncompiled, since a compiler failed"):
        found = room("cellular", "mechanics").compress(cell, compiled=True, **options)
    np.testing.assert_array_equal(found.stress, plain.stress)


# all of it, once a week


@pytest.mark.weekly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("space, name", [*trainings()])
def test_trains_at_preset_test(device, sets, tmp_path, monkeypatch, space, name):
    monkeypatch.setenv("METANB_DATA", str(sets))
    found = train(space, name, tmp_path, "--device", device)
    assert all(x.isfinite().all() for x in found.values() if x.is_floating_point())


@pytest.mark.weekly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("key", weights())
def test_shipped_weights_are_sampled(device, key):
    "By number of designs, or by their stiffness."
    model = from_pretrained(key, device)
    if not hasattr(model, "sample"):
        pytest.skip("a forward network; its training measures it")
    if next(iter(inspect.signature(model.sample).parameters)) == "n":
        found = model.sample(2, torch.Generator(device).manual_seed(0))
    else:
        found = model.sample(torch.eye(6, device=device).expand(2, 6, 6) * 0.01)
    assert len(parts(found)[0]) == 2


@pytest.mark.weekly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("notebook", [notebook.key for notebook in find_notebooks()])
def test_notebooks_run_at_preset_test(tmp_path, notebook):
    write_hook(tmp_path / "hook")
    hook = {} if REAL else {"PRETEND_CUDA": "1", "PYTHONPATH": os.pathsep.join([str(tmp_path / "hook"), str(ROOT)])}
    line = [sys.executable, "-c", "from metanb.core.runs import main; main()", "run", notebook, "--preset", "test",
            "--device", "cuda", "--out", str(tmp_path / "run")]
    done = subprocess.run(line, cwd=ROOT, env=os.environ | hook, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
