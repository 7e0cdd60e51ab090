"""Every public function and class, called with one bad argument at a time and the smallest legal rest.

The functions are found by themselves. What an argument may be, its annotation says; what it may not be, `KINDS` holds: hypothesis draws values of each
kind with a fixed seed, and the answer has to be a ValueError with the name of the argument. `VALUES` are kinds that no annotation forbids (0, a billion,
NaN in an array, another shape): they are refused by name or answered without NaN. `OPEN` (data/open_arguments.txt) names the pairs whose answer is not yet
clear, most of them NaN that goes through arithmetic of tensors; they do not count as asserted. With METANB_ALL_ARGUMENTS=1 all functions are called,
without it a fixed quarter of them.
"""
import collections.abc
import contextlib
import dataclasses
import importlib
import inspect
import io
import math
import numbers
import os
import pickle
import pkgutil
import re
import resource
import signal
import time
import types
import typing
import warnings
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

import metanb
from argument_recipes import INNER, LEGAL, LONG, OPEN, further, recipe
from metanb.core.checks import checked
from metanb.core.search import search
from metanb.core.training import Phase as Turn
from metanb.core.training import fit
from metanb.truss.design import random_designs
from metanb.truss.inverse import refine

LONGEST = 4.0  # seconds of a processor; what takes longer hangs
MEMORY = 2e9  # bytes that a call may ask for
EMPTY = inspect.Parameter.empty
REPEATED = {  # a billion of them takes long, and is legal
    "steps", "max_steps", "stage_steps", "n_steps", "rounds", "max_iterations", "iterations", "tries", "sweeps", "n_solves", "n_told", "n_drawn", "max_seconds", "epochs",
    "core.store.generate.n", "core.store.shard_rows.n", "kirigami.design.admissible_share.n", "kirigami.explore.rarity.n", "kirigami.explore.draw_limit.n", "kirigami.explore.generated_cells.n", "kirigami.model.generate.n",
    "kirigami.benchmark.draw_shipped.n", "truss.data.dataset.n", "voxel.data.make_shard.n", "voxel.data.dataset.n", "voxel.data.make_families.n", "voxel.data.families.n", "voxel.data.initial_data.seed",
    "voxel.families.random_cells.n", "voxel.cycles.make_perturbed.n", "voxel.benchmark.far_targets.n", "voxel.train.data_for.n",
}


# What is public -------------------------------------------------------------------------------------------------------
@lru_cache
def public():
    "Name -> function or class, of all names in the `__all__` of a module."
    found = {}
    for module in pkgutil.walk_packages(metanb.__path__, "metanb."):
        if module.name.endswith("_modidx"):
            continue
        loaded = importlib.import_module(module.name)
        for name in getattr(loaded, "__all__", ()):
            thing = getattr(loaded, name)
            if callable(thing) and getattr(thing, "__module__", None) == module.name:
                found[f"{module.name.removeprefix('metanb.')}.{name}"] = thing
    return found


@lru_cache
def parameters(name):
    "Argument -> (inspect.Parameter, what it accepts) of those that say what they are."
    thing = public()[name]
    inner = inspect.unwrap(thing.__init__ if inspect.isclass(thing) and "__init__" in dir(thing) and not hasattr(thing, "_fields") else thing)
    try:
        hints = typing.get_type_hints(inner, include_extras=True)
    except (NameError, TypeError):
        hints = {key: kind for key, kind in getattr(inner, "__annotations__", {}).items() if not isinstance(kind, str)}
    found = {}
    try:
        signature = inspect.signature(thing)
    except ValueError:  # of an exception
        return {}
    for key, parameter in signature.parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            accepted = accepts(hints.get(key, typing.Any))
            found[key] = parameter, accepted | ({"none"} if parameter.default is None else set())
    return found


def accepts(kind):
    "What an annotation accepts, in words of this file; 'any' where it does not say."
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind == ArrayLike:
        return {"numbers", "number"}
    if origin is typing.Annotated:
        return accepts(inner[0])
    if origin is typing.Literal:
        return {"text"}
    if origin in (typing.Union, types.UnionType):
        some = set(typing.get_args(ArrayLike))
        if some <= set(inner):
            return {"numbers", "number"}.union(*(accepts(one) for one in inner if one not in some))
        return set().union(*map(accepts, inner))
    if not isinstance(origin, type) or origin in (object, type, typing.Any):
        return {"any"}
    for base, said in ((bool, "truth"), (int, "whole"), (float, "real"), (str, "text"), (type(None), "none"), (os.PathLike, "path"), (np.ndarray, "numbers"),
                       (torch.Tensor, "numbers"), (collections.abc.Mapping, "mapping"), (bytes, "bytes")):
        if issubclass(origin, base):
            return {said}
    if origin is collections.abc.Callable:
        return {"function"}
    if origin is collections.abc.Iterable:
        return {"several", "mapping"}  # a dict gives its keys
    if issubclass(origin, collections.abc.Iterable) and origin.__module__ in ("builtins", "collections.abc"):
        return {"several"}
    return {"object"}


# What is bad ----------------------------------------------------------------------------------------------------------
words = st.text("abcdefghijklmnopqrstuvwxyz ", min_size=1, max_size=12).map(lambda text: f"no {text}")
KINDS = {  # name -> (values, accepted where one of these is)
    "None": (st.none(), {"none"}),
    "a text": (words, {"text", "path", "bytes"}),
    "a truth value": (st.booleans(), {"truth"}),
    "a fraction": (st.floats(0.01, 0.99).map(lambda x: x + 2), {"real", "number"}),
    "NaN": (st.sampled_from([math.nan, -math.nan, np.float32("nan"), np.float64("nan")]), {"number"}),
    "inf": (st.sampled_from([math.inf, -math.inf, np.float64("inf")]), {"number"}),
    "a whole number": (st.integers(2, 5), {"whole", "real", "number"}),
    "a list of lists": (st.just([[]]), {"numbers", "several"}),
    "a dict": (st.just({}), {"mapping"}),
    "an object": (st.builds(object), {"object", "function", "bytes"}),
}
VALUES = {  # name -> (values or function of the legal value, for what accepts this): refused by name, or a result without NaN
    "zero": (st.just(0), {"whole", "real"}),
    "negative": (st.integers(-9, -1), {"whole", "real"}),
    "a billion": (st.just(10**9), {"whole", "real"}),
    "another text": (words, {"text"}),
    "another path": (words, {"path"}),
    "array of NaN": (lambda legal: filled(legal, math.nan), {"numbers"}),
    "array of inf": (lambda legal: filled(legal, math.inf), {"numbers"}),
    "wrong shape": (lambda legal: reshaped(legal), {"numbers"}),
    "empty array": (lambda legal: shorter(legal), {"numbers"}),
}


def filled(legal, value):
    "An array of numbers like the legal one, all of them the same."
    if isinstance(legal, torch.Tensor):
        return torch.full(tuple(legal.shape), value, dtype=legal.dtype) if legal.is_floating_point() else None
    if legal is None or np.asarray(legal).dtype.kind != "f":
        return None
    return np.full(np.shape(legal), value, np.asarray(legal).dtype)


def reshaped(legal):
    "The legal array without its last axis's last row."
    if legal is None or np.ndim(legal) == 0 or np.shape(legal)[-1] < 2:
        return None
    return (legal if isinstance(legal, torch.Tensor) else np.asarray(legal))[..., :-1]


def shorter(legal):
    "No row of the legal array."
    if legal is None or np.ndim(legal) == 0:
        return None
    return (legal if isinstance(legal, torch.Tensor) else np.asarray(legal))[:0]


def kinds_of(accepted):
    "The kinds that are bad, or a matter of taste, for what accepts this."
    if "any" in accepted:
        return []
    bad = [kind for kind, (_, where) in KINDS.items() if not where & accepted]
    if accepted & {"several"}:
        bad = [kind for kind in bad if kind != "an object"]
    return bad + [kind for kind, (_, where) in VALUES.items() if where & accepted]


# What comes of it -----------------------------------------------------------------------------------------------------
class TooLong(BaseException):
    "A call that does not end."


def _alarm(*_):
    raise TooLong


@contextlib.contextmanager
def guarded():
    "Without words, windows and unbounded memory."
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() if os.path.exists("/proc/self/statm") else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, _alarm)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if size:
            resource.setrlimit(resource.RLIMIT_AS, (int(size + MEMORY), hard))
        signal.setitimer(signal.ITIMER_PROF, LONGEST, 0.2)  # again, where the first one comes at a place that swallows it
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
            signal.signal(signal.SIGPROF, before)


def holds_nan(value, depth=4):
    "Whether a result holds NaN."
    if isinstance(value, numbers.Real):
        return value != value
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() and bool(torch.isnan(value).any())
    if isinstance(value, np.ndarray):
        return value.dtype.kind == "f" and bool(np.isnan(value).any())
    if depth and isinstance(value, list | tuple):
        return any(holds_nan(one, depth - 1) for one in value)
    if depth and isinstance(value, dict):
        return any(holds_nan(one, depth - 1) for one in value.values())
    if depth and dataclasses.is_dataclass(value) and not isinstance(value, type):
        return any(holds_nan(getattr(value, one.name), depth - 1) for one in dataclasses.fields(value))
    return False


def call(name, arguments):
    "The result of a call, those given by place put there."
    thing, placed, rest = public()[name], [], dict(arguments)
    for key, (parameter, _) in parameters(name).items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            placed.append(rest.pop(key))
        elif parameter.kind is parameter.VAR_POSITIONAL and key in rest:
            placed = [rest.pop(one) for one in [k for k in parameters(name) if k in rest and k != key][:list(parameters(name)).index(key)]]
            placed += rest.pop(key)
    result = thing(*placed, **rest)
    if isinstance(result, collections.abc.Iterator) and not isinstance(result, io.IOBase):
        return next(result, None)
    if hasattr(result, "__enter__") and type(result).__module__ == "contextlib":
        with result as inner:
            return inner
    return result


def legal_call(name):
    "The smallest legal arguments of a function, newly made."
    arguments = {}
    for key, (parameter, accepted) in parameters(name).items():
        needed = parameter.default is EMPTY and parameter.kind is not parameter.VAR_POSITIONAL
        given = recipe(name, key, accepted, required=needed)
        if given is not EMPTY:
            arguments[key] = given
    return arguments | further(name)


def outcome(name, key, kind, value, arguments, nan_is_legal):
    "'' where the answer is clear, else what it is."
    parameter = parameters(name)[key][0]
    given = arguments | {key: (value,) if parameter.kind is parameter.VAR_POSITIONAL else value}
    try:
        with guarded():
            result = call(name, given)
    except ValueError as error:
        both = kind in ("wrong shape", "empty array") or kind in VALUES and re.search(rf"(?<![\w.]){re.escape(str(value))}(?![\w.])", str(error))  # of two that do not fit together either may be named
        return "" if any(one in str(error) for one in (given if both else (key,))) else f"unclear: ValueError without the name: {error}"
    except TooLong:
        return "" if kind == "a billion" and {key, f"{name}.{key}"} & REPEATED else "unclear: takes too long"
    except (Exception, SystemExit) as error:
        return f"unclear: {type(error).__name__}: {error}"
    if is_legal(name, key, kind):
        return ""
    if kind in KINDS:
        return "silent: taken"
    if not nan_is_legal and not isinstance(public()[name], type) and holds_nan(result):  # a record holds what it is given
        return "silent: NaN"
    return ""


def is_legal(name, key, kind):
    "Whether a kind is legal for an argument, with a reason in the table."
    return any((where, kind) in LEGAL for where in (f"{name}.{key}", f"{name}.*", f"*.{key}"))


def plan(name):
    "The pairs of argument and bad kind of a function."
    return [(key, kind) for key, (_, accepted) in parameters(name).items() for kind in kinds_of(accepted)]


def examine(name, draws):
    "Pairs that were asserted, those for which there is no such value, and faults of a function; none is asserted where it cannot be called."
    Path(name).mkdir(exist_ok=True)
    with contextlib.chdir(name):  # what one function wrote is not read by the next one
        return _examined(name, draws)


def _examined(name, draws):
    pairs = [(key, kind) for key, kind in plan(name) if (f"{name}.{key}", kind) not in OPEN]
    if name in INNER or not pairs:
        return [], [], []
    arguments, nan_is_legal = None, True
    if name in LONG:
        pairs = [(key, kind) for key, kind in pairs if kind in KINDS and not is_legal(name, key, kind)]
    else:
        try:
            arguments = legal_call(name)
            with guarded():
                nan_is_legal = holds_nan(call(name, arguments))
        except (Exception, TooLong) as error:
            return [], [], [("", "", f"no legal call: {type(error).__name__}: {error}")]
    asserted, without, faults = [], [], []
    for key, kind in pairs:
        values = (KINDS | VALUES)[kind][0]
        if kind == "a billion" and draws == 1 and {key, f"{name}.{key}"} & REPEATED:  # until it is stopped: in the long part only
            drawn = []
        elif callable(values):
            legal = legal_call(name).get(key, recipe(name, key, parameters(name)[key][1], required=True))
            value = None if legal is EMPTY else values(legal)
            drawn = [] if value is None else [value]
        else:
            drawn = values_of(kind, draws if kind in KINDS else 1)
        (asserted if drawn else without).append((key, kind))
        for value in drawn:
            fault = outcome(name, key, kind, value, legal_call(name), nan_is_legal)
            if fault:
                faults.append((key, kind, fault))
                break
    return asserted, without, faults


@lru_cache
def values_of(kind, draws):
    "Some values of a kind, the same ones in each run."
    drawn = []

    @settings(max_examples=draws, derandomize=True, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given((KINDS | VALUES)[kind][0])
    def draw(value):
        if len(drawn) < draws and repr(value) not in map(repr, drawn):
            drawn.append(value)
    draw()
    return tuple(drawn)


# The tests ------------------------------------------------------------------------------------------------------------
@pytest.fixture
def aside(tmp_path, monkeypatch):
    "A folder of its own for what the functions write."
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("METANB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_the_functions_are_found():
    assert len(public()) > 600 and "truss.design.random_designs" in public() and "voxel.model.CellDiffusion" in public()


@pytest.mark.timeout(3000)
def test_a_bad_argument_is_named(aside, capsys):
    "No silent answer and no unclear one, to what cannot be that argument."
    everything = bool(os.environ.get("METANB_ALL_ARGUMENTS"))
    names = [name for name in public() if everything or zlib.crc32(name.encode()) % 4 == 0]
    total, asserted, faults, uncalled, long = 0, 0, [], [], []
    for name in names:
        begin = time.process_time()
        called, without, found = examine(name, 3 if everything else 1)
        total += len(plan(name)) - len(without)
        asserted += len(called)
        faults += [" ".join((name, *fault)) for fault in found if fault[1]]
        uncalled += [f"{name}: {fault[2]}" for fault in found if not fault[1]]
        long.append((time.process_time() - begin, name))
    with capsys.disabled():
        print(f"\n{len(names)} functions, {total} pairs of argument and kind; {asserted / total:.1%} of them called and asserted, {len(OPEN)} known to be unclear")
        print(f"the longest: {', '.join(f'{name} {seconds:.1f} s' for seconds, name in sorted(long)[:-6:-1])}; {sum(one[0] for one in long):.0f} s of all")
        print(*uncalled, sep="\n", end="\n" * bool(uncalled))
    assert not faults, "\n".join(faults)
    assert asserted / total >= 0.8  # the rest: the functions of INNER, the values of those of LONG, and OPEN


# The decorator --------------------------------------------------------------------------------------------------------
@checked(n=(1, 9))
def scaled(x: np.ndarray, n: int = 1, *, by: float = 1.0, both: tuple[int, int] = (1, 1), name: str | None = None, fast: bool = False) -> tuple:
    "Nothing."
    return n, by, both, name, fast


@checked
@dataclasses.dataclass
class Pair:
    a: int
    b: float | None = None


class Triple(Pair):
    def __init__(self, a, b, c):
        super().__init__(a, b)
        self.c = c


@pytest.mark.parametrize("scalar", [np.int64, np.uint8, np.array, torch.tensor, lambda n: np.array(n, ">i4")])
def test_scalars_are_numbers(scalar):
    assert scaled(np.ones(2), scalar(3), by=scalar(2), both=[scalar(1), 2])[0] == 3
    assert Pair(scalar(1), scalar(2)).a == 1


@pytest.mark.parametrize("bad, words", [
    ({"n": 0}, "n is 0; allowed: a whole number from 1 to 9"), ({"n": 2.0}, "n is 2.0"), ({"n": True}, "n is True"), ({"by": math.nan}, "by is nan; allowed: a finite number"),
    ({"by": None}, "by is None"), ({"both": (1, 2, 3)}, "both is .*2 values"), ({"both": (1, "a")}, r"both\[1\] is 'a'"), ({"name": 3}, "name is 3; allowed: a text or None"), ({"fast": "no"}, "fast is 'no'; allowed: True or False"),
    ({"x": "ab"}, "x is 'ab'; allowed: an array of numbers"), ({"x": 1.0}, "x is 1.0"), ({"x": None}, "x is None"),
])
def test_what_is_refused(bad, words):
    with pytest.raises(ValueError, match=f"^{words}"):
        scaled(**{"x": np.ones(2)} | bad)


def test_a_class_stays_the_same_class():
    pair = dataclasses.replace(Pair(1), b=2.0)
    assert isinstance(pair, Pair) and issubclass(Triple, Pair) and Triple(1, None, 2).c == 2 and pickle.loads(pickle.dumps(pair)) == pair
    for bad in ({"a": "1"}, {"a": 1, "b": math.inf}):
        with pytest.raises(ValueError, match="is .*; allowed: "):
            Pair(**bad)
    with pytest.raises(ValueError, match="a is 'x'"):
        Triple("x", None, 2)


def test_a_function_stays_what_it_says():
    assert pickle.loads(pickle.dumps(scaled)) is scaled and scaled.__doc__ == "Nothing."
    assert list(inspect.signature(scaled).parameters) == ["x", "n", "by", "both", "name", "fast"]
    cached = checked(lru_cache(lambda n: n))
    assert cached(1) == cached(1) == 1 and cached.cache_info().hits == 1


def test_compilers_and_transforms_pass():
    double = checked(torch_double)
    x = torch.ones(3)
    assert torch.compile(lambda x: double(x, 2), fullgraph=True, backend="eager")(x).tolist() == [2, 2, 2]
    assert torch.func.vmap(lambda x: double(x, 2))(x).tolist() == [2, 2, 2] and torch.func.grad(lambda x: double(x, 2).sum())(x).tolist() == [2, 2, 2]


def torch_double(x: torch.Tensor, n: int) -> torch.Tensor:
    return x * n


class Stopped(LookupError):
    "An exception of the caller's own."


def test_errors_of_the_callers_own_functions_stay_what_they_are():
    def raised(kind):
        def give(*_):
            raise kind("index 4 is out of bounds for axis 0 with size 2")
        return give

    class Model(torch.nn.Linear):
        def phases(self):
            return [Turn("its own", self, raised(IndexError), 1e-3)]

    truss, goal = random_designs(1, seed=0), np.eye(6)
    for kind, call in ((IndexError, lambda: search(raised(IndexError), lambda x: x, lambda x: x, n_candidates=4, keep=1)),
                       (IndexError, lambda: fit(Model(1, 1), torch.ones(4, 1), steps=1, batch_size=4, device="cpu", progress=False)),
                       (Stopped, lambda: refine(truss, goal, iterations=4, watch=raised(Stopped)))):
        with pytest.raises(kind, match="^index 4 is out of bounds for axis 0 with size 2$"):
            call()
