"""A CUDA device that is only pretended: finds device faults of PyTorch code on a machine without a GPU.

Inside `pretend_cuda()` everything that asks for "cuda" gets it. Tensors there hold real numbers, computed by the CPU, but
say `device='cuda:0'`, and refuse what CUDA refuses:

- operations that mix devices. Which operators allow a CPU scalar, CPU indices or a copy is read from the table of
  operators that ships with PyTorch (`torchgen`), not guessed;
- `.numpy()`, `np.asarray`, `np.log(tensor)`, matplotlib, pickling through NumPy;
- a generator of the wrong device, in either direction;
- reading or writing the CUDA random state without a CUDA generator (the state has 16 bytes, as Philox's, so that a
  checkpoint that takes the CPU's 5056 bytes for it fails here, too).

`torch.autocast("cuda")` casts as on a GPU (the lists of operators are read from PyTorch's own header), which is how bf16
training meets its first test. What runs is written down: kernel launches, host synchronisations, copies between host and
device, bytes, floating-point operations, peak memory, each with the line of the code that caused it; and a roofline
estimate of the time on a given GPU follows from that.

Not pretended: CUDA streams and graphs, kernels that a GPU lacks for some type, the order of atomic additions (operators
whose result depends on it are listed as `unordered`), rounding, `torch.compile` (pass `compile=False`), several GPUs.

    from pretend_device import pretend_cuda

    with pretend_cuda() as gpu:
        model = build("ddpm").to("cuda")
        fit(model, data, steps=3, device="cuda")
    print(gpu.report())
    assert gpu.count("sync", "training.py") <= 1

A test that takes the fixture `cuda` runs with the pretended device (`from pretend_device import cuda`). From the shell:
`python tests/pretend_device.py script.py --device cuda`; for programs that start others, put the folder that
`python tests/pretend_device.py --hook FOLDER` writes in front of PYTHONPATH and set PRETEND_CUDA=1.

Tested with PyTorch 2.13 (CPU build, Linux). How it works: a tensor subclass wraps a CPU tensor. PyTorch's C++ core is told
that it lives on "meta", since the autograd engine of a CPU build refuses "cuda" tensors; and as a CPU build has no guard for
CUDA devices, without which `.to("cuda")` fails early, the guard of "meta" stands in for it while the device is pretended.
"""

import contextlib
import ctypes
import os
import re
import runpy
import sys
import weakref
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cache
from numbers import Integral
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

CUDA = torch.device("cuda", 0)
CPU = torch.device("cpu")
aten = torch.ops.aten
RealGenerator = torch.Generator

# rules


@cache
def unchecked_operators() -> frozenset[str]:
    "Names such as 'add.Tensor' of the operators whose CUDA kernels check devices themselves (TensorIterator); all others want one device."
    import torchgen

    text = (Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml").read_text(encoding="utf-8")
    entries = re.split(r"^- func: ", text, flags=re.M)[1:]
    return frozenset(entry.split("(")[0] for entry in entries if re.search(r"^  device_check: NoCheck", entry, re.M))


@cache
def autocast_lists() -> dict[str, str]:
    "Name of an operator -> 'low', 'float' or 'widest': what CUDA's autocast does with its inputs."
    text = (Path(torch.__file__).parent / "include/ATen/autocast_mode.h").read_text(encoding="utf-8")
    found = {}
    for macro, kind in (("LOWER_PRECISION_FP", "low"), ("FP32", "float"), ("FP32_SET_OPT_DTYPE", "float"), ("PROMOTE", "widest")):
        body = re.search(rf"#define AT_FORALL_{macro}\(_\)((?:.*\\\n)*.*\n)", text)[1]
        found |= {name: kind for name in re.findall(r"_\((\w+)", body)}
    # functions written in Python or composed in C++, by what they call
    composed = {"__matmul__": "low", "__rmatmul__": "low", "__pow__": "float", "__rpow__": "float", "interpolate": "float", "cross_entropy": "float",
                "norm": "float", "normalize": "float", "linalg_norm": "float", "grid_sample": "widest", "gaussian_nll_loss": "float"}
    return found | composed


# operators that may read one device and write another, or take scalars of another device as they are
_COPIES = {"copy_", "copy", "_to_copy", "_foreach_copy_", "_copy_from", "_copy_from_and_resize"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
_SCALARS_WELCOME = {"where", "fill_", "fill", "masked_fill", "masked_fill_"}  # any number of 0-dimensional CPU tensors
_TERNARY = {"addcmul", "addcmul_", "addcdiv", "addcdiv_", "lerp", "lerp_", "clamp"}  # no CPU scalars among their tensors
_SYNCS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "unique_dim_consecutive", "equal",
          "is_nonzero", "bincount", "_linalg_check_errors", "_assert_async", "histogram", "segment_reduce"}
_UNORDERED = {"index_add", "index_add_", "scatter_add", "scatter_add_", "scatter_reduce", "scatter_reduce_", "put_", "grid_sampler_2d_backward",
              "grid_sampler_3d_backward", "embedding_dense_backward", "upsample_bilinear2d_backward", "upsample_trilinear3d_backward",
              "max_pool3d_with_indices_backward", "cumsum"}
_FREE = {"empty", "empty_strided", "empty_like", "new_empty", "new_empty_strided", "detach", "detach_", "alias", "lift_fresh", "_unsafe_view", "_reshape_alias",
         "_local_scalar_dense", "set_"}


@cache
def _name(func) -> str:
    return func._schema.name.split("::")[1]


def _full_name(func) -> str:
    overload = func._schema.overload_name
    return _name(func) + (f".{overload}" if overload else "")


def _leaves(x) -> list:
    "What lies in nested lists, tuples and dictionaries."
    if isinstance(x, (list, tuple)):
        return [leaf for part in x for leaf in _leaves(part)]
    return [leaf for part in x.values() for leaf in _leaves(part)] if isinstance(x, dict) else [x]


def _map(function, x):
    "The same nest with the function of each leaf."
    if isinstance(x, (list, tuple)):
        return type(x)(_map(function, part) for part in x)
    return {key: _map(function, part) for key, part in x.items()} if isinstance(x, dict) else function(x)


def _mixed(func, positions) -> None:
    names = [argument.name for argument in func._schema.arguments]
    where = ", ".join(f"{names[i]} on {'cuda:0' if on else 'cpu'}" for i, on in positions if i < len(names))
    raise RuntimeError(f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! (in aten::{_full_name(func)}: {where})")


def check_devices(func, args, kwargs) -> int:
    "Refuse what CUDA refuses; returns the number of bytes of CPU indices, which CUDA copies to the device first."
    placed, copied = [], 0
    for position, argument in enumerate((*args, *kwargs.values())):
        for x in _leaves(argument):
            if isinstance(x, Tensor):
                placed.append((position, isinstance(x, PretendTensor), x))
    if len({on for _, on, _ in placed}) < 2:
        return 0
    name, positions = _name(func), sorted({(i, on) for i, on, _ in placed})
    if name in _COPIES:
        return 0
    if name in _INDEXING:
        on_device = isinstance(args[0], PretendTensor)
        for index in args[1]:
            if isinstance(index, Tensor) and not isinstance(index, PretendTensor):
                copied += index.nbytes if on_device else 0
            elif isinstance(index, Tensor) and not on_device:
                raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
        if len(args) > 2 and args[2].dim() and isinstance(args[2], PretendTensor) != on_device:
            _mixed(func, positions)
        return copied
    cpu = [x for _, on, x in placed if not on]
    if name in _SCALARS_WELCOME and all(x.dim() == 0 for x in cpu):
        return 0
    if name.startswith("_foreach_"):
        lists = [argument for argument in args if isinstance(argument, (list, tuple)) and argument and isinstance(argument[0], Tensor)]
        for row in zip(*lists):
            if len({isinstance(x, PretendTensor) for x in row}) > 1:
                _mixed(func, positions)
        return 0
    if _full_name(func) not in unchecked_operators() or name in _TERNARY or any(x.dim() for x in cpu):
        _mixed(func, positions)
    if len(cpu) > 1:
        raise RuntimeError("Trying to pass too many CPU scalars to non-CPU kernel!")
    return 0


# tensors


class PretendTensor(Tensor):
    "A tensor on the pretended device; `elem` is the CPU tensor behind it."

    elem: Tensor

    @staticmethod
    def __new__(cls, elem: Tensor):
        return Tensor._make_wrapper_subclass(cls, elem.size(), strides=elem.stride(), storage_offset=elem.storage_offset(), dtype=elem.dtype,
                                             layout=elem.layout, device="meta", requires_grad=False)

    def __init__(self, elem: Tensor):
        self.elem = elem
        if _recorder is not None:
            _recorder.hold(self)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.is_autocast_enabled("cuda"):
            kind = autocast_lists().get(getattr(func, "__name__", ""))
            if kind is not None:
                args, kwargs = _autocast(kind, args, kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    device = property(lambda self: CUDA)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    is_meta = property(lambda self: False)

    def get_device(self) -> int:
        return 0

    def numpy(self, *, force: bool = False):
        if force:
            return self.detach().cpu().numpy()
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")

    def __array__(self, dtype=None, copy=None):
        return self.numpy()

    def tolist(self):
        return self.detach().cpu().tolist()

    def __getitem__(self, index):
        return Tensor.__getitem__(self, _uploaded(index))

    def __setitem__(self, index, value):
        Tensor.__setitem__(self, _uploaded(index), value)

    def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
        return torch.tensor(data, dtype=dtype or self.dtype, device=device or CUDA, requires_grad=requires_grad)

    def data_ptr(self) -> int:
        return self.elem.data_ptr()

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            if not self.is_leaf:
                raise RuntimeError("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.")
            new = PretendTensor(self.elem.clone()).requires_grad_(self.requires_grad)
            if getattr(self, "_is_param", False):
                new._is_param = True
            memo[id(self)] = new
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        raise NotImplementedError("a pretended tensor cannot be pickled")

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 and spec else repr(self)

    def __repr__(self, *, tensor_contents=None) -> str:
        return f"{repr(self.elem)[:-1]}, device='cuda:0')"

    # Module.to then swaps a parameter's contents in place, as it does for real devices
    def __tensor_flatten__(self):
        return ["elem"], None

    @staticmethod
    def __tensor_unflatten__(inner, context, size, stride):
        return PretendTensor(inner["elem"])


def _uploaded(index):
    "An index whose lists are tensors on the device, as CUDA makes of them."
    if isinstance(index, tuple):
        return tuple(map(_uploaded, index))
    if isinstance(index, list) and all(isinstance(i, (Integral, list)) or type(i).__name__ == "bool_" for i in index):  # NumPy's integers, too
        return torch.tensor(index, dtype=None if index else torch.long, device=CUDA)
    return index


def _autocast(kind: str, args, kwargs):
    low, floats = torch.get_autocast_dtype("cuda"), (torch.float32, torch.float16, torch.bfloat16)
    tensors = [x for x in _leaves([args, kwargs]) if isinstance(x, PretendTensor) and x.dtype in floats]
    if kind == "widest":
        target = torch.float32 if any(x.dtype == torch.float32 for x in tensors) else low
    else:
        target = low if kind == "low" else torch.float32

    def cast(x):
        return x.to(target) if isinstance(x, PretendTensor) and x.dtype in floats and x.dtype != target else x
    return _map(cast, tuple(args)), _map(cast, kwargs)


# generators


class _GeneratorType(type(RealGenerator)):
    def __instancecheck__(cls, instance) -> bool:
        return type(RealGenerator).__instancecheck__(RealGenerator, instance)


class PretendGenerator(RealGenerator, metaclass=_GeneratorType):
    "Stands for `torch.Generator`: a generator of the pretended device where one is asked for, a real one else."

    def __new__(cls, device="cpu"):
        if torch.device(device).type == "cpu":
            return RealGenerator(device)
        self = RealGenerator.__new__(cls, device="cpu")
        self._seed, self._offset = 67280421310721, 0  # PyTorch's default seed
        _generators[self._cdata] = self
        return self

    def __init__(self, device="cpu"):
        pass

    device = property(lambda self: CUDA)

    def manual_seed(self, seed: int):
        self._seed, self._offset = int(seed) % 2**64, 0
        return self

    def seed(self) -> int:
        self.manual_seed(int.from_bytes(os.urandom(7), "little"))
        return self._seed

    def initial_seed(self) -> int:
        return self._seed

    def get_state(self) -> Tensor:
        return torch.frombuffer(bytearray(self._seed.to_bytes(8, "little") + self._offset.to_bytes(8, "little")), dtype=torch.uint8).clone()

    def set_state(self, state: Tensor):
        if isinstance(state, PretendTensor) or state.dtype != torch.uint8 or not isinstance(state, Tensor):
            raise TypeError("RNG state must be a torch.ByteTensor")
        if state.numel() != 16:
            raise RuntimeError("RNG state is wrong size")
        content = bytes(state.tolist())
        self._seed, self._offset = int.from_bytes(content[:8], "little"), int.from_bytes(content[8:], "little")
        return self

    def clone_state(self) -> "PretendGenerator":
        return PretendGenerator("cuda").set_state(self.get_state())

    def next_seed(self, numbers: int) -> int:
        "A seed for the next draw; the offset moves on as Philox's does."
        seed = hash((self._seed, self._offset)) % 2**63
        self._offset += 4 * (1 + numbers // 2**20)
        return seed


_generators: "weakref.WeakValueDictionary[int, PretendGenerator]" = weakref.WeakValueDictionary()
_default_generator: PretendGenerator | None = None


def _as_pretended(generator) -> PretendGenerator | None:
    "C++ hands the generator on as a plain object; its address tells."
    return generator if isinstance(type(generator), _GeneratorType) else _generators.get(generator._cdata)


# dispatch


class _Mode(TorchDispatchMode):
    "Sees what no pretended tensor takes part in: making tensors, moving them there, drawing random numbers."

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _run(func, args, kwargs or {})


def _is_there(device) -> bool:
    return device is not None and torch.device(device).type in ("cuda", "meta")


def _run(func, args, kwargs):
    "Check an operator against CUDA's rules, compute it on the CPU, put its results where CUDA would."
    leaves = _leaves(args) + _leaves(kwargs)
    here = any(isinstance(x, PretendTensor) for x in leaves)
    device, generator = kwargs.get("device"), next((x for x in leaves if isinstance(x, RealGenerator)), None)
    there = _is_there(device) if device is not None else here
    if not here and not there and generator is None:
        return func(*args, **kwargs)
    if _name(func) in ("resize_", "set_"):
        raise NotImplementedError(f"aten::{_full_name(func)} on a pretended tensor")
    moved, crossing = check_devices(func, args, kwargs), None
    if _name(func) in _COPIES:
        source, target = (here, there) if _name(func) == "_to_copy" else tuple(isinstance(_leaves(x)[0], PretendTensor) for x in (args[1], args[0]))
        crossing = None if source == target else "to device" if target else "to host"
    inner_args, inner_kwargs = _map(_inner, args), _map(_inner, kwargs)
    inner_kwargs.pop("pin_memory", None)
    with _random_numbers(func, generator, there):
        out = func(*inner_args, **inner_kwargs)
    if torch.Tag.inplace_view in func.tags:  # such as squeeze_: the shape of the tensor itself changes
        with no_dispatch():
            func(*args, **kwargs)
    if _recorder is not None and (here or there):
        _recorder.note(func, inner_args, inner_kwargs, out, moved=moved, crossing=crossing)
    return _placed(func, args, kwargs, out, there)


def _inner(x):
    "What stands behind a pretended tensor or device."
    return x.elem if isinstance(x, PretendTensor) else CPU if isinstance(x, torch.device) and _is_there(x) else x


def _outer(x):
    return PretendTensor(x) if isinstance(x, Tensor) and not isinstance(x, PretendTensor) else x


@cache
def _writes(func) -> tuple[tuple, tuple]:
    "Positions and names of the arguments that an operator changes, and which of them, by number, each of its results is."
    changed = [(i, a.name, frozenset(a.alias_info.before_set)) for i, a in enumerate(func._schema.arguments) if a.alias_info is not None and a.alias_info.is_write]
    results = [next((n for n, (_, _, s) in enumerate(changed) if r.alias_info is not None and r.alias_info.is_write and s == frozenset(r.alias_info.before_set)), None)
               for r in func._schema.returns]
    return tuple((i, name) for i, name, _ in changed), tuple(results)


def _placed(func, args, kwargs, out, there: bool):
    "Results on their device; of an operator that changes an argument, that argument."
    changed, results = _writes(func)
    if not results:
        return out
    outs = list(out) if len(results) > 1 else [out]
    for i, number in enumerate(results):
        if number is not None:
            position, name = changed[number]
            outs[i] = args[position] if position < len(args) else kwargs[name]
        elif there:
            outs[i] = _map(_outer, outs[i])
    return outs[0] if len(results) == 1 else tuple(outs)


@contextlib.contextmanager
def _random_numbers(func, generator, there: bool):
    "The right source of random numbers for an operator, or CUDA's refusal."
    if generator is not None:
        pretended = _as_pretended(generator)
        if (pretended is not None) != there:
            kinds = ("cuda", "cpu") if there else ("cpu", "cuda")
            raise RuntimeError("Expected a '{}' device type for generator but found '{}'".format(*kinds))
        if pretended is not None:
            RealGenerator.manual_seed(generator, pretended.next_seed(0))
        yield
    elif there and torch.Tag.nondeterministic_seeded in func.tags:
        state = torch.default_generator.get_state()
        torch.default_generator.manual_seed(_default_generator.next_seed(0))
        try:
            yield
        finally:
            torch.default_generator.set_state(state)
    else:
        yield


# recording


@dataclass(frozen=True)
class GPU:
    "Figures for the estimate; the defaults are an H200 and a fast host."
    bandwidth: float = 4.0e12  # bytes / s that plain kernels reach
    fp32: float = 5.0e13       # flop / s that products of matrices reach; the same for float64 on its tensor cores
    fp64: float = 5.0e13
    bf16: float = 6.0e14
    kernel: float = 2.5e-6     # s, shortest kernel
    launch: float = 6.0e-6     # s that Python and the dispatcher need for one operator
    sync: float = 1.5e-5       # s lost at a synchronisation
    bus: float = 2.5e10        # bytes / s between host and device, pageable memory


@dataclass
class Recorder:
    "What the pretended device was asked to do."
    package: str = ""          # lines of files below a folder of this name are blamed; empty: any that are not PyTorch's
    gpu: GPU = field(default_factory=GPU)
    events: Counter = field(default_factory=Counter)       # (kind, operator, line) -> number; kinds: kernel, view, sync, to device, to host, unordered
    bytes_by: Counter = field(default_factory=Counter)     # (operator, line) -> bytes read and written
    flops: int = 0
    device_seconds: float = 0.0  # of all kernels, one after the other
    copied: int = 0            # bytes between host and device
    allocated: int = 0         # bytes now
    peak: int = 0              # bytes
    _held: dict = field(default_factory=lambda: defaultdict(int))
    _files: dict = field(default_factory=dict)

    # what it was

    @property
    def kernels(self) -> int:
        return self._total("kernel")

    @property
    def syncs(self) -> int:
        "Points at which the host waits for the device, copies to the host included."
        return self._total("sync") + self._total("to host")

    @property
    def uploads(self) -> int:
        "Copies from the host; from pageable memory they hold the host up as well."
        return self._total("to device")

    @property
    def host_seconds(self) -> float:
        "Time in which an eager host can submit all that, synchronisations and copies included."
        operators = self.kernels + 0.3 * self._total("view")
        return operators * self.gpu.launch + self.syncs * self.gpu.sync + self.uploads * self.gpu.launch * 1.5 + self.copied / self.gpu.bus

    @property
    def seconds(self) -> float:
        "Estimate of the time on the GPU, eager: the slower of host and device."
        return max(self.host_seconds, self.device_seconds)

    def _total(self, kind: str) -> int:
        return sum(n for (k, *_), n in self.events.items() if k == kind)

    def count(self, kind: str, line: str = "") -> int:
        "Number of events of a kind at lines that contain a text."
        return sum(n for (k, _, where), n in self.events.items() if k == kind and line in where)

    def lines(self, kind: str, most: int = 20) -> list[tuple[str, int, str]]:
        "The lines with most events of a kind: line, number, operators."
        by_line, names = Counter(), defaultdict(set)
        for (k, name, where), n in self.events.items():
            if k == kind:
                by_line[where] += n
                names[where].add(name)
        return [(where, n, ", ".join(sorted(names[where])[:6])) for where, n in by_line.most_common(most)]

    def clear(self) -> None:
        "Forget all but what is allocated."
        self.events.clear()
        self.bytes_by.clear()
        self.flops, self.device_seconds, self.copied, self.peak = 0, 0.0, 0, self.allocated

    def report(self, most: int = 12) -> str:
        "A page of text."
        moved = sum(self.bytes_by.values())
        out = [f"{self.kernels} kernels, {self._total('view')} views, {self.syncs} synchronisations, {self.uploads} uploads, {moved / 1e9:.3g} GB moved, "
               f"{self.flops / 1e9:.3g} Gflop, peak {self.peak / 1e9:.3g} GB",
               f"estimate: host {1e3 * self.host_seconds:.2f} ms, device {1e3 * self.device_seconds:.2f} ms -> {'launch' if self.host_seconds > self.device_seconds else 'device'} bound"]
        for kind in ("sync", "to host", "to device", "unordered", "kernel"):
            rows = self.lines(kind, most)
            out += [f"{kind}:"] * bool(rows) + [f"  {n:8d}  {where}  ({names})" for where, n, names in rows]
        heavy = Counter()
        for (_, where), n in self.bytes_by.items():
            heavy[where] += n
        out += ["bytes:"] + [f"  {n / 1e6:8.1f} MB  {where}" for where, n in heavy.most_common(most)]
        return "\n".join(out)

    # what happens

    def where(self) -> str:
        "The innermost line of the code under test."
        frame, outer = sys._getframe(2), None
        while frame is not None:
            known = self._files.get(frame.f_code)
            if known is None:
                known = self._files[frame.f_code] = self._look(frame.f_code.co_filename)
            name, ours = known
            if ours:
                return f"{name}:{frame.f_lineno}"
            if outer is None and name:
                outer = f"{name}:{frame.f_lineno}"
            frame = frame.f_back
        return outer or "?"

    def _look(self, name: str) -> tuple[str, bool]:
        "Short name of a file, empty for PyTorch's own, and whether its lines are blamed."
        if "/torch/" in name or name.startswith("<") or name == __file__:
            return "", False
        return "/".join(Path(name).parts[-2:]), not self.package or f"/{self.package}/" in name

    def note(self, func, args, kwargs, out, *, moved: int, crossing: str | None) -> None:
        "One operator."
        name, line = _name(func), self.where()
        inputs = [x for x in _leaves(args) + _leaves(kwargs) if isinstance(x, Tensor)]
        outputs = [x for x in _leaves(out) if isinstance(x, Tensor)]
        if moved:
            self.events["to device", name, line] += 1
            self.copied += moved
        if crossing is not None:
            self.events[crossing, name, line] += 1
            self.copied += sum(x.nbytes for x in outputs)
            return
        boolean = name in _INDEXING and any(isinstance(x, Tensor) and x.dtype in (torch.bool, torch.uint8) for x in args[1])
        asks = name in _SYNCS and not (name == "segment_reduce" and kwargs.get("unsafe"))  # which looks at the lengths otherwise
        if asks or boolean or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            self.events["sync", name, line] += 1
        if name in _FREE:
            return
        if func.is_view or name == "copy_" and _same_memory(*args[:2]):  # x[i] += y ends with a copy of x[i] to itself, which is skipped
            self.events["view", name, line] += 1
            return
        if name in _UNORDERED and inputs[0].is_floating_point() and not {"amax", "amin"} & {x for x in args if isinstance(x, str)}:
            self.events["unordered", name, line] += 1
        size = sum(map(_span, inputs)) + sum(x.nbytes for x in outputs)
        count = flop_registry[func._overloadpacket](*args, **kwargs, out_val=out) if func._overloadpacket in flop_registry else 0
        widest = max((x.dtype for x in inputs if x.is_floating_point()), key=lambda d: d.itemsize, default=torch.float32)
        speed = {8: self.gpu.fp64, 4: self.gpu.fp32}.get(widest.itemsize, self.gpu.bf16)
        self.events["kernel", name, line] += 1
        self.bytes_by[name, line] += size
        self.flops += count
        self.device_seconds += max(self.gpu.kernel, size / self.gpu.bandwidth, count / speed)

    def hold(self, tensor: PretendTensor) -> None:
        "Count the memory of a tensor until it is gone; views share theirs."
        storage = tensor.elem.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if not self._held[key]:
            self.allocated += size
            self.peak = max(self.peak, self.allocated)
        self._held[key] += 1
        weakref.finalize(tensor.elem, self._release, key, size)  # not of the tensor itself: one with weak references cannot be swapped

    def _release(self, key: int, size: int) -> None:
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
            self.allocated -= size


def _same_memory(x: Tensor, y: Tensor) -> bool:
    return x.data_ptr() == y.data_ptr() and x.shape == y.shape and x.stride() == y.stride() and x.dtype == y.dtype


def _span(x: Tensor) -> int:
    "Bytes that a tensor really covers: those of an expanded one are read once."
    count = 1
    for size, stride in zip(x.shape, x.stride()):
        count *= size if stride else 1
    return count * x.element_size()


_recorder: Recorder | None = None

# the device


class _DeviceContext:
    "`torch.cuda.device(0)`"

    def __init__(self, device=None):
        self.idx = 0

    def __enter__(self):
        return self

    def __exit__(self, *details):
        return False


def _fill_guard(fill: bool) -> None:
    "Let the guard of the meta device stand in for the one of CUDA, or take it away."
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    slots = (ctypes.c_void_p * 16).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")  # by c10::DeviceType: 1 is CUDA, 14 Meta
    slots[1] = slots[14] if fill else None


def _numbers(function):
    "`torch.tensor` and `as_tensor` that read CUDA scalars in lists, one synchronisation each."
    def read(data):
        if isinstance(data, (list, tuple)):
            return [read(x) for x in data]
        return data.item() if isinstance(data, PretendTensor) and data.dim() == 0 else data

    def make(data, **options):
        listed = isinstance(data, (list, tuple)) and any(isinstance(x, PretendTensor) for x in _leaves(data))
        return function(read(data) if listed else data, **options)
    return make


def _state(device="cuda") -> Tensor:
    return _default_generator.get_state()


def _patches(memory: int) -> list[tuple]:
    "Attributes that change while the device is pretended."
    free = lambda device=None: (memory - (_recorder.allocated if _recorder else 0), memory)  # noqa: E731
    properties = type("_CudaDeviceProperties", (), {"name": "pretended", "major": 9, "minor": 0, "total_memory": memory, "multi_processor_count": 132})()
    values = {
        "is_available": lambda: True, "device_count": lambda: 1, "_lazy_init": lambda: None, "is_initialized": lambda: True, "init": lambda: None,
        "current_device": lambda: 0, "set_device": lambda device: None, "device": _DeviceContext, "mem_get_info": free,
        "is_bf16_supported": lambda including_emulation=True: True, "get_device_name": lambda device=None: "pretended",
        "get_device_capability": lambda device=None: (9, 0), "get_device_properties": lambda device=None: properties,
        "synchronize": lambda device=None: None, "empty_cache": lambda: None, "_is_in_bad_fork": lambda: False,
        "manual_seed": lambda seed: _default_generator.manual_seed(seed), "manual_seed_all": lambda seed: _default_generator.manual_seed(seed),
        "initial_seed": lambda: _default_generator.initial_seed(), "get_rng_state": _state, "get_rng_state_all": lambda: [_state()],
        "set_rng_state": lambda state, device="cuda": _default_generator.set_state(state) and None,
        "set_rng_state_all": lambda states: _default_generator.set_state(states[0]) and None,
        "memory_allocated": lambda device=None: _recorder.allocated if _recorder else 0, "max_memory_allocated": lambda device=None: _recorder.peak if _recorder else 0,
    }
    own = {"Generator": PretendGenerator, "tensor": _numbers(torch.tensor), "as_tensor": _numbers(torch.as_tensor)}
    return [(torch.cuda, name, value) for name, value in values.items()] + [(torch, name, value) for name, value in own.items()]


_installed: list | None = None


def install(*, record: Recorder | None = None, memory: int = 140 * 2**30) -> Recorder:
    "Pretend from now on, in this thread."
    global _installed, _recorder, _default_generator
    if torch.cuda.is_available():
        raise RuntimeError("this machine has a real CUDA device" if _installed is None else "the device is pretended already")
    _recorder = record or Recorder()
    _default_generator = PretendGenerator("cuda")
    undo = []
    for owner, name, value in _patches(memory):
        undo.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)
    for module in [m for n, m in sys.modules.items() if m is not None and n.split(".")[0] != "torch"]:
        if vars(module).get("Generator") is RealGenerator:  # from torch import Generator
            undo.append((module, "Generator", RealGenerator))
            module.Generator = PretendGenerator
    _fill_guard(True)
    mode = _Mode()
    mode.__enter__()
    undo.append((mode, None, torch._C._only_lift_cpu_tensors()))
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device="cuda") then moves where the mode can see it
    _installed = undo
    return _recorder


def uninstall() -> None:
    "No longer pretend; modules imported meanwhile get PyTorch's own generator back."
    global _installed, _recorder, _default_generator
    for owner, name, value in reversed(_installed or []):
        if name is None:
            owner.__exit__(None, None, None)
            _fill_guard(False)
            torch._C._set_only_lift_cpu_tensors(value)
        else:
            setattr(owner, name, value)
    for module in [m for n, m in sys.modules.items() if m is not None and n.split(".")[0] != "torch" and m is not sys.modules[__name__]]:
        if vars(module).get("Generator") is PretendGenerator:
            module.Generator = RealGenerator
    _installed = _recorder = _default_generator = None


@contextlib.contextmanager
def pretend_cuda(package: str = "", *, gpu: GPU | None = None, memory: int = 140 * 2**30):
    "A block with the pretended device; gives the `Recorder`."
    recorder = install(record=Recorder(package, gpu or GPU()), memory=memory)
    try:
        yield recorder
    finally:
        uninstall()


@pytest.fixture
def cuda():
    "The pretended device, for the length of a test."
    with pretend_cuda() as gpu:
        yield gpu


HOOK = '''"Python imports this file at its start, where its folder is in PYTHONPATH: the process then has a pretended CUDA device."
import os
import sys

if os.environ.get("PRETEND_CUDA") == "1":
    sys.path.insert(0, {folder!r})
    import atexit

    import pretend_device

    recorder = pretend_device.install(record=pretend_device.Recorder(os.environ.get("PRETEND_PACKAGE", "")))
    if os.environ.get("PRETEND_REPORT"):
        atexit.register(lambda: open(os.environ["PRETEND_REPORT"] + f".{{os.getpid()}}.txt", "w").write(" ".join(sys.argv) + "\\n" + recorder.report()))
'''


def write_hook(folder: Path) -> None:
    "A file that makes every Python process with this folder in PYTHONPATH, and PRETEND_CUDA=1, pretend."
    folder.mkdir(parents=True, exist_ok=True)
    text = HOOK.format(folder=str(Path(__file__).resolve().parent))
    (folder / "sitecustomize.py").write_text(text, encoding="utf-8")


def _main(words: list[str]) -> None:
    if words[:1] == ["--hook"]:
        folder = Path(words[1])
        write_hook(folder)
        print(f"PRETEND_CUDA=1 PYTHONPATH={folder}:$PYTHONPATH command ...")
        return
    sys.modules["pretend_device"] = sys.modules["__main__"]
    sys.argv = words
    recorder = install()
    try:
        runpy.run_path(words[0], run_name="__main__")
    finally:
        print(recorder.report(), file=sys.stderr)


if __name__ == "__main__":
    _main(sys.argv[1:])
