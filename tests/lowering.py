"""What Inductor makes of a function for an H200, on a machine without one: how many kernels it launches and how many bytes they move.

Needs the `triton` wheel (Linux), no GPU and no driver: nothing is run, the source is written and read. Tested with PyTorch 2.13.

    with pretend_h200():
        found = lowered(function, tensors, sizes={170: 1_310_720, 138: 1_048_576})
    print(found.launches, found.bytes)
"""

import contextlib
import ctypes
import re
import types
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

FACTS = types.SimpleNamespace(
    name="NVIDIA H200", major=9, minor=0, total_memory=140 * 2**30, multi_processor_count=132, regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048, max_threads_per_block=1024, warp_size=32, shared_memory_per_block=49152,
    shared_memory_per_block_optin=232448, L2_cache_size=50 * 2**20, gcnArchName="", is_integrated=False)


class Driver:
    "What Triton asks a driver for when nothing runs."
    utils = types.SimpleNamespace(get_device_properties=lambda device: {"max_shared_mem": 232448, "multiprocessor_count": 132, "max_num_regs": 65536, "warpSize": 32})

    def __init__(self):
        from triton.backends.compiler import GPUTarget

        self.get_current_target = lambda: GPUTarget("cuda", 90, 32)
        self.get_current_device = lambda: 0
        self.get_current_stream = lambda device=None: 0
        self.get_active_torch_device = lambda: torch.device("cuda", 0)


def forget() -> None:
    "What PyTorch has found out about Triton."
    from torch.utils import _triton

    for found in vars(_triton).values():
        if hasattr(found, "cache_clear"):
            found.cache_clear()


@contextlib.contextmanager
def pretend_h200():
    "A block in which fake CUDA tensors and Inductor believe in the device."
    from torch._dynamo.device_interface import CudaInterface
    from triton.runtime.driver import driver

    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    slots = (ctypes.c_void_p * 16).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")  # by c10::DeviceType: 1 is CUDA, 14 Meta
    values = {"is_available": lambda: True, "device_count": lambda: 1, "current_device": lambda: 0, "_lazy_init": lambda: None, "is_initialized": lambda: True,
              "get_device_properties": lambda device=None: FACTS, "get_device_capability": lambda device=None: (9, 0), "_exchange_device": lambda device: 0,
              "_maybe_exchange_device": lambda device: 0, "set_device": lambda device: None, "synchronize": lambda device=None: None}
    shared = {name: staticmethod(values[name]) for name in ("is_available", "device_count", "current_device", "get_device_properties", "set_device")}
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.multiple(torch.cuda, **values))
        stack.enter_context(patch.multiple(CudaInterface, get_compute_capability=staticmethod(lambda device=None: 90), **shared))
        stack.enter_context(patch.multiple(CudaInterface.Worker, create=True, **shared))
        stack.enter_context(patch.object(torch.version, "cuda", torch.version.cuda or "12.8"))
        stack.enter_context(patch.object(driver, "_active", Driver()))
        before, slots[1] = slots[1], slots[14]  # a device guard that does nothing
        forget()
        try:
            yield
        finally:
            slots[1] = before
            forget()


class Lowered(NamedTuple):
    "What was written."
    launches: int   # of kernels, other libraries' included
    bytes: float    # that Triton's kernels read and write
    source: str     # Python


def lowered(function, arguments, sizes: dict[int, int]) -> Lowered:
    "Source for function(*arguments); an axis whose length is a key of `sizes` gets a symbol instead, with that value for a hint."
    from torch._inductor import config
    from torch._inductor.compile_fx import view_to_reshape
    from torch._inductor.debug import DebugContext
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.fx_passes.post_grad import post_grad_passes
    from torch._inductor.graph import GraphLowering
    from torch._inductor.virtualized import V
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import DimDynamic, ShapeEnv, StatelessSymbolicContext
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    mode = FakeTensorMode(allow_non_fake_inputs=True, shape_env=ShapeEnv())
    free = StatelessSymbolicContext(dynamic_sizes=[DimDynamic.DYNAMIC], constraint_sizes=[None])
    symbols = {n: mode.from_tensor(torch.empty(hint, device="meta"), symbolic_context=free).shape[0] for n, hint in sizes.items()}
    given, spec = tree_flatten(tuple(arguments))
    places = [i for i, leaf in enumerate(given) if isinstance(leaf, torch.Tensor)]

    def flat(*tensors):
        filled = list(given)
        for i, tensor in zip(places, tensors):
            filled[i] = tensor
        return [x for x in tree_flatten(function(*tree_unflatten(filled, spec)))[0] if isinstance(x, torch.Tensor)]

    with mode, torch.no_grad():
        inputs = [torch.empty([symbols.get(n, n) for n in given[i].shape], dtype=given[i].dtype, device="cuda") for i in places]
        graph_module = make_fx(flat, decomposition_table=select_decomp_table(), tracing_mode="real")(*inputs)
    with V.set_fake_mode(mode), config.patch(profile_bandwidth=True):  # writes the bytes of each kernel into its source
        graph_module.graph.eliminate_dead_code()
        view_to_reshape(graph_module)
        post_grad_passes(graph_module, True)
        FakeTensorProp(graph_module, mode=mode).propagate_dont_convert_inputs(*inputs)
        graph = GraphLowering(graph_module, example_inputs=inputs, shape_env=mode.shape_env, is_inference=True)
        with V.set_debug_handler(DebugContext()), V.set_graph_handler(graph):
            graph.run(*inputs)
            source = graph.codegen()[0].value
    runs = re.findall(r"(triton_\w+)\.run\(", source)
    moved = dict(re.findall(r"async_compile\.triton\('(\w+)', '''.*?'kernel_num_gb': ([\d.e-]+).*?'''", source, re.S))
    others = re.findall(r"^ +\w+ = (?:torch\.ops|extern_kernels|aten)\.[.\w]+\(", source, re.M)
    return Lowered(len(runs) + len(others), sum(1e9 * float(moved[name]) for name in runs), source)
