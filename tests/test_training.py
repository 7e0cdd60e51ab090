"Training under faults: kills, interrupts, bad numbers, bad input, missing compilers; and the laws that are too long for the notebook."
import json
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from metanb.core.device import pick_device
from metanb.core.training import Batches, Packed, Phase, ema_decay_at, fit, load_checkpoint, save_checkpoint

# One small problem with every kind of state: batch norm (buffers), dropout (global generator), noise (the run's generator),
# two phases of which one has its turn at every third step, a weight clip, averages, clipping and a schedule. The child processes run the same text.
PROBLEM = '''
import sys, time
import torch
from torch import nn
from metanb.core.training import Phase, fit

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Dropout(0.2), nn.Linear(8, 4))
        self.critic = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 1))

    def judge(self, x, generator):
        fake = self.generator(torch.randn(len(x), 3, generator=generator))
        return self.critic(fake).mean() - self.critic(x).mean()

    def fool(self, x, generator):
        return -self.critic(self.generator(torch.randn(len(x), 3, generator=generator))).mean()

    def clip(self):
        for p in self.critic.parameters():
            p.clamp_(-0.1, 0.1)

    def phases(self):
        return [Phase("critic", self.critic, self.judge, 1e-2, after=self.clip), Phase("generator", self.generator, self.fool, 1e-2, every=3)]

def train(evaluate=None, model=None, data=None, **options):
    torch.manual_seed(0)
    model = model() if isinstance(model, type) else model or Pair()     # a class: first weights from the seed
    data = torch.randn(50, 4) if data is None else data
    given = dict(steps=200, batch_size=8, seed=1, device="cpu", ema_decay=0.99, clip_norm=1.0, warmup=20, decay="cosine",
                 checkpoint_every=20, evaluate=evaluate, evaluate_every=15, progress=False)
    return fit(model, data, **(given | options))
'''
exec(PROBLEM)

CHILD = PROBLEM + '''
torch.set_num_threads(1)
slowly = lambda model, step: time.sleep(float(sys.argv[2]))
print("finished", train(slowly, checkpoint=sys.argv[1]).finished)
'''


@pytest.fixture(autouse=True)
def one_thread():
    "Sums over threads round differently: the comparisons to the last bit need one fixed number."
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference():
    "The run that nothing interrupts."
    torch.set_num_threads(1)
    return train()


def timeless(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def assert_same(one, other):
    for a, b in ((one.model, other.model), (one.ema, other.ema)):
        assert (a is None) == (b is None)
        if a is not None:
            pairs = zip(a.state_dict().items(), b.state_dict().values(), strict=True)
            assert [k for (k, x), y in pairs if not torch.equal(x, y)] == []
    assert timeless(one.history) == timeless(other.history)


def child(path, pause, **options):
    return subprocess.Popen([sys.executable, "-c", CHILD, str(path), str(pause)], text=True, **options)


def step_in(path):
    "The step of a checkpoint that another process keeps replacing; -1 before the first."
    return load_checkpoint(path)[1]["step"] if path.exists() else -1


def wait_for_step(process, path, step):
    while step_in(path) < step:
        assert process.poll() is None, "the child ended before it was stopped"
        time.sleep(0.005)


# ---- kills and interrupts

def test_killed_runs_end_like_an_uninterrupted_one(tmp_path, reference):
    path = tmp_path / "run.safetensors"
    for kill_at in (20, 100):
        process = child(path, 0.5)
        wait_for_step(process, path, kill_at)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert kill_at <= step_in(path) < 200
    for part in (tmp_path / ".run.safetensors.0a1b2c3d.part", *tmp_path.glob(".*.part")):  # what a kill in the midst of a write leaves
        part.mkdir(exist_ok=True)
        (part / path.name).write_bytes(b"half")
        for old in (part / path.name, part):
            os.utime(old, (0, 0))
    last = child(path, 0, stdout=subprocess.PIPE)
    assert last.communicate()[0].strip() == "finished True" and last.returncode == 0
    assert_same(train(checkpoint=path), reference)          # a finished run is only read
    assert [f.name for f in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("crash_at", [15, 45, 60, 195])
def test_exception_and_resume(tmp_path, reference, crash_at):
    def evaluate(model, step):
        if step == crash_at:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(evaluate, checkpoint=tmp_path / "c")
    assert step_in(tmp_path / "c") == (crash_at - 1) // 20 * 20
    assert_same(train(checkpoint=tmp_path / "c"), reference)


def test_interrupt_saves_a_whole_step_and_raises(tmp_path, reference):
    def evaluate(model, step):
        if step == 45:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="step 45"):
        train(evaluate, checkpoint=tmp_path / "c")
    assert step_in(tmp_path / "c") == 45
    assert signal.getsignal(signal.SIGINT) is before
    assert_same(train(checkpoint=tmp_path / "c"), reference)


def test_second_interrupt_stops_at_once(tmp_path):
    def evaluate(model, step):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("still running after the second Ctrl-C")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(evaluate, checkpoint=tmp_path / "c")
    assert step_in(tmp_path / "c") == 0 and signal.getsignal(signal.SIGINT) is before


def test_works_outside_the_main_thread(reference):
    found = []
    thread = threading.Thread(target=lambda: (torch.set_num_threads(1), found.append(train())))
    thread.start()
    thread.join()
    assert_same(found[0], reference)


def test_max_seconds_stops_at_a_checkpoint_and_continues(tmp_path, reference):
    calls = 0
    while True:
        run = train(checkpoint=tmp_path / "c", max_seconds=1e-9)    # one step a call
        calls += 1
        assert run.step == calls == step_in(tmp_path / "c") and run.finished == (calls == 200)
        if run.finished:
            break
    assert_same(run, reference)
    seconds = [row["seconds"] for row in run.history]
    assert all(a < b for a, b in zip(seconds, seconds[1:]))         # accumulated over the calls


def test_max_seconds_without_checkpoint():
    run = train(max_seconds=1e-9)
    assert run.step == 1 and not run.finished and run.history == []


def test_longer_run_continues_a_finished_one(tmp_path):
    train(checkpoint=tmp_path / "c", steps=60, decay=None)
    longer, direct = train(checkpoint=tmp_path / "c", steps=120, decay=None), train(steps=120, decay=None)
    assert all(torch.equal(p, q) for p, q in zip(longer.model.parameters(), direct.model.parameters()))
    with pytest.raises(ValueError, match="steps is 60; allowed: at least 120"):
        train(checkpoint=tmp_path / "c", steps=60, decay=None)


# ---- the checkpoint file

def test_failed_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c"
    save_checkpoint(path, {"x": torch.ones(3)}, header={"step": 1})
    left = tmp_path / ".c.k1ll3d_0.part"
    left.mkdir()
    (left / "c").write_bytes(b"left by a killed process")
    for part in (left / "c", left):
        os.utime(part, (0, 0))
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(ValueError, match="checkpoint is .*disk full"):
        save_checkpoint(path, {"x": torch.zeros(3)}, header={"step": 2})
    tensors, header = load_checkpoint(path)
    assert header == {"step": 1} and torch.equal(tensors["x"], torch.ones(3))
    assert [f.name for f in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.bool])
def test_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path, dtype):
    path, values = tmp_path / "c", {"x": torch.arange(40).reshape(4, 10).to(dtype), "y": torch.tensor(3), "z": torch.zeros(0, 2)}
    save_checkpoint(path, values, header={"step": 7, "history": [0.25]})
    intact, rng = path.read_bytes(), np.random.default_rng(0)
    for bit in rng.choice(8 * len(intact), 400, replace=False).tolist():
        content = bytearray(intact)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        try:
            tensors, header = load_checkpoint(path)
        except ValueError as error:
            assert "checkpoint is" in str(error) and str(path) in str(error)
        else:  # a blank of the padding, or a byte of a truth
            assert header == {"step": 7, "history": [0.25]} and all(torch.equal(tensors[name], values[name]) for name in values)


def test_loaded_tensors_outlive_the_file(tmp_path):
    save_checkpoint(tmp_path / "c", {"x": torch.ones(2**20)}, header={})
    tensors, _ = load_checkpoint(tmp_path / "c")
    os.truncate(tmp_path / "c", 100)  # a bus error for tensors that are views of the file
    assert tensors["x"].sum() == 2**20


@pytest.mark.parametrize("name", ["model.critic.0.weight", "ema.critic.0.weight", "random.generator", "random.cpu", "adam.critic.0.exp_avg", "step"])
def test_a_checkpoint_without_a_tensor_is_refused(tmp_path, name):
    train(checkpoint=tmp_path / "c", steps=20)
    tensors, header = load_checkpoint(tmp_path / "c")
    del (header if name == "step" else tensors)[name]
    save_checkpoint(tmp_path / "c", tensors, header=header)
    with pytest.raises(ValueError, match="checkpoint is .*allowed: one with all tensors of this run"):
        train(checkpoint=tmp_path / "c", steps=20)


def test_a_checkpoint_of_version_03_is_continued(tmp_path, reference):
    train(checkpoint=tmp_path / "c", max_seconds=1e-9)
    tensors, header = load_checkpoint(tmp_path / "c")
    del header["settings"]["data_digest"]
    save_file(tensors, tmp_path / "c", metadata={"metanb": json.dumps(header)})
    assert_same(train(checkpoint=tmp_path / "c"), reference)


@pytest.mark.parametrize("row", [0, 33, 299])
def test_one_other_number_in_the_data_is_noticed(tmp_path, row):
    data = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    other = data.clone()
    other[row, 2] = torch.nextafter(other[row, 2], torch.tensor(9.0))
    train(checkpoint=tmp_path / "c", data=data, max_seconds=1e-9)
    with pytest.raises(ValueError, match="belongs to another run: .*data_digest is"):
        train(checkpoint=tmp_path / "c", data=other)


def test_tied_weights_are_saved(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
            self.two.weight = self.one.weight

        def phases(self):
            return [Phase("tied", self, lambda x, g: (self.two(self.one(x)) - x).square().mean(), 1e-2)]

    train(model=Tied, checkpoint=tmp_path / "c", max_seconds=1e-9)
    again = train(model=Tied, checkpoint=tmp_path / "c")
    assert again.model.two.weight is again.model.one.weight
    assert_same(again, train(model=Tied))


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path(os.environ["TRAP"]),))


@pytest.mark.parametrize("content", ["pickle", "torch", "truncated", "empty", "text", "other header"])
def test_foreign_files_are_refused_and_never_run(tmp_path, monkeypatch, content):
    path, trap = tmp_path / "c", tmp_path / "trap"
    monkeypatch.setenv("TRAP", str(trap))
    if content == "truncated":
        train(checkpoint=path, steps=20)
        path.write_bytes(path.read_bytes()[:-100])
    elif content == "torch":
        torch.save(Trap(), path)
    elif content == "other header":
        from safetensors.torch import save_file
        save_file({"x": torch.ones(1)}, path)
    else:
        path.write_bytes({"pickle": pickle.dumps(Trap()), "empty": b"", "text": b"hello " * 100}[content])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="checkpoint is .*a readable checkpoint"):
        train(checkpoint=path)
    assert path.read_bytes() == before and not trap.exists()


def other_model():
    model = Pair()
    model.critic = nn.Sequential(nn.Linear(4, 9), nn.SiLU(), nn.Linear(9, 1))
    return model


def other_rate():
    model = Pair()
    phases = model.phases()
    phases[0].learning_rate = 2e-2
    model.phases = lambda: phases
    return model


@pytest.mark.parametrize("change, named", [
    (lambda: dict(batch_size=16), "batch_size is 8 there and 16 here"),
    (lambda: dict(seed=2), "seed is 1 there and 2 here"),
    (lambda: dict(ema_decay=None), "ema_decay is 0.99 there and None here"),
    (lambda: dict(precision="bf16"), "precision is fp32 there and bf16 here"),
    (lambda: dict(steps=100), "steps is 200 there and 100 here"),
    (lambda: dict(data=torch.randn(49, 4)), "data is"),
    (lambda: dict(data=torch.ones(50, 4)), "data_checksum is"),
    (lambda: dict(model=other_model()), "weights is"),
    (lambda: dict(model=other_rate()), "phases is"),
])
def test_checkpoint_of_another_run_is_refused(tmp_path, change, named):
    path = tmp_path / "c"
    train(checkpoint=path, max_seconds=1e-9)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="belongs to another run") as error:
        train(checkpoint=path, **change())
    assert named in str(error.value) and path.read_bytes() == before


def test_checkpoint_that_cannot_be_written_fails_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="checkpoint is .*allowed: a folder that can be written to"):
        train(lambda *a: pytest.fail("trained"), checkpoint=tmp_path / "file" / "c")
    with pytest.raises(ValueError, match="a file, not a folder"):
        train(checkpoint=tmp_path)


# ---- bad numbers

class Spoiled(nn.Module):
    "A loss (or only its gradient) that is not finite from one step on."

    def __init__(self, at, in_gradient=False):
        super().__init__()
        self.weight, self.at, self.in_gradient, self.calls = nn.Parameter(torch.ones(())), at, in_gradient, 0

    def loss(self, x, generator):
        self.calls += 1
        bad = self.calls >= self.at
        if self.in_gradient:    # sqrt has an infinite slope at 0, times 0 gives NaN
            return (self.weight * (0.0 if bad else 1.0)).abs().sqrt()
        return self.weight.square() * (math.nan if bad else 1.0)

    def phases(self):
        return [Phase("spoiled", self, self.loss, 1e-3)]


@pytest.mark.parametrize("at", [1, 37, 40, 41, 75])
def test_nan_loss_names_phase_and_step_and_keeps_the_last_good_checkpoint(tmp_path, at):
    with pytest.raises(FloatingPointError, match=f"'spoiled' is nan at step {at}$"):
        train(model=Spoiled(at), checkpoint=tmp_path / "c")
    tensors, header = load_checkpoint(tmp_path / "c")
    assert header["step"] == (at - 1) // 20 * 20
    assert all(x.isfinite().all() for x in tensors.values() if x.is_floating_point())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    with pytest.raises(FloatingPointError, match="not finite after step 40"):
        train(model=Spoiled(40, in_gradient=True), checkpoint=tmp_path / "c", clip_norm=None)
    assert load_checkpoint(tmp_path / "c")[0]["model.weight"].isfinite()


# ---- laws of the loop

def test_phases_update_their_own_module_only_and_in_their_turn():
    model, seen = Pair(), []
    record = lambda m: [p.detach().clone() for p in m.parameters()]
    same = lambda a, b: all(torch.equal(p, q) for p, q in zip(a, b))
    state = dict(critic=record(model.critic), generator=record(model.generator))
    phases = model.phases()
    clip = phases[0].after

    def after(name):
        if name == "critic":
            clip()
        changed = [k for k in state if not same(state[k], record(getattr(model, k)))]
        seen.append((name, changed))
        state.update(critic=record(model.critic), generator=record(model.generator))
        assert all(p.grad is None for p in model.parameters())

    for phase in phases:
        phase.after = lambda name=phase.name: after(name)
    model.phases = lambda: phases
    train(model=model, steps=7, ema_decay=None)
    turn = ("critic", ["critic"])
    assert seen == [turn, turn, turn, ("generator", ["generator"]), turn, turn, turn, ("generator", ["generator"]), turn]
    assert max(p.abs().max() for p in model.critic.parameters()) <= 0.1


class Slope(nn.Module):
    "The loss is linear in the weight, so that the gradient is known: (3, 4), of norm 5."

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.seen = []

    def loss(self, x, generator):
        self.calls += 1
        value = self.weight @ torch.tensor([3.0, 4.0])
        self.seen.append(value.item())
        return value

    def phases(self):
        return [Phase("slope", self, self.loss, 0.5)]


def slope(**options):
    return train(model=Slope(), **(dict(ema_decay=None, clip_norm=None, warmup=0, decay=None) | options))


def test_adam_moves_a_constant_slope_by_the_scheduled_rate():
    # With a constant gradient every Adam step is -rate * sign(gradient): the weight is the sum of the rates.
    assert torch.allclose(slope(steps=10).model.weight, torch.full((2,), -5.0))
    assert torch.allclose(slope(steps=10, warmup=10).model.weight, torch.full((2,), -0.5 * 5.5))
    cosine = slope(steps=10, decay="cosine").model.weight
    assert torch.allclose(cosine, torch.full((2,), -0.5 * sum((1 + math.cos(math.pi * s / 10)) / 2 for s in range(10))))


@pytest.mark.parametrize("clip_norm, norm", [(None, 5.0), (1.0, 1.0), (100.0, 5.0)])
def test_gradient_norm_is_clipped(tmp_path, clip_norm, norm):
    slope(steps=1, clip_norm=clip_norm, checkpoint=tmp_path / "c")
    moment = load_checkpoint(tmp_path / "c")[0]["adam.slope.0.exp_avg"]      # (1 - beta_1) * gradient after one step
    assert moment.norm().item() / 0.1 == pytest.approx(norm, rel=1e-4)


def test_ema_follows_its_recursion_and_copies_buffers():
    run = slope(steps=30, ema_decay=0.7)
    weight = mean = 0.0
    for k in range(30):
        weight -= 0.5
        mean += (1 - ema_decay_at(k, 0.7)) * (weight - mean)
    assert torch.allclose(run.ema.weight, torch.full((2,), mean)) and run.ema.calls == 30
    assert not run.ema.weight.requires_grad and run.model.weight.requires_grad
    assert slope(steps=30, ema_decay=0.0).ema.weight.equal(run.model.weight)


def test_history_holds_means_since_the_last_row_and_the_evaluation():
    run = slope(steps=25, evaluate_every=10, evaluate=lambda m, s: {"twice": 2 * s, "list": m.weight})
    assert [row["step"] for row in run.history] == [10, 20, 25]
    assert [row["epoch"] for row in run.history] == [10 * 8 / 50, 20 * 8 / 50, 25 * 8 / 50]
    means = [np.mean(run.model.seen[a:b]) for a, b in ((0, 10), (10, 20), (20, 25))]
    assert [row["loss_slope"] for row in run.history] == pytest.approx(means)
    assert [row["twice"] for row in run.history] == [20, 40, 50] and run.history[0]["list"] == pytest.approx([-5.0, -5.0])
    assert json.loads(json.dumps(run.history)) == run.history


def test_evaluation_does_not_disturb_training(reference):
    drawn = []

    def evaluate(model, step):
        assert not any(m.training for m in model.modules()) and not torch.is_grad_enabled()
        drawn.append(torch.randn(()).item())
        return {"drawn": drawn[-1]}

    run = train(evaluate)
    pairs = zip(reference.model.state_dict().values(), run.model.state_dict().values())
    assert all(torch.equal(x, y) for x, y in pairs)
    assert len(set(drawn)) == len(drawn) == 14                                  # another draw at each step,
    assert [row["drawn"] for row in train(evaluate).history] == drawn[:14]      # the same in each run
    frozen = Pair()
    frozen.generator[1].eval()                                                  # fit sets all to training; evaluate puts that back
    assert not train(evaluate, model=frozen).model.training


def test_evaluation_gets_the_average_where_there_is_one():
    seen = []
    look = lambda m, s: seen.append(m)
    averaged, plain = train(look), train(look, ema_decay=None)
    assert all(m is averaged.ema for m in seen[:14]) and all(m is plain.model for m in seen[14:]) and len(seen) == 28


def test_callers_random_state_is_untouched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    model, data = Pair(), torch.zeros(9, 4)
    torch.manual_seed(5)
    fit(model, data, steps=3, device="cpu", progress=False)
    assert torch.equal(torch.rand(3), expected)


def test_seed_changes_the_run_and_the_callers_state_does_not(reference):
    weights = lambda run: torch.cat([p.flatten() for p in run.model.parameters()])
    assert not torch.equal(weights(train(seed=2)), weights(reference))
    torch.manual_seed(123)
    assert torch.equal(weights(train()), weights(reference))


def test_bf16_computes_in_bf16_and_keeps_fp32_weights():
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.dtypes = nn.Linear(4, 4), set()

        def loss(self, x, generator):
            y = self.map(x)
            self.dtypes.add(y.dtype)
            return (y - x).square().mean()

        def phases(self):
            return [Phase("line", self, self.loss, 1e-2)]

    runs = {p: train(model=Line, precision=p) for p in ("fp32", "bf16", "auto")}
    dtypes = {p: r.model.dtypes for p, r in runs.items()}
    assert dtypes == dict(fp32={torch.float32}, bf16={torch.bfloat16}, auto={torch.float32})     # auto on the CPU
    assert all(p.dtype == torch.float32 for r in runs.values() for p in r.model.parameters())
    last = {p: r.history[-1]["loss_line"] for p, r in runs.items()}
    assert last["auto"] == last["fp32"] != last["bf16"] and last["bf16"] == pytest.approx(last["fp32"], rel=0.05)


# ---- larger batches, several processes, bits

def test_a_batch_in_parts_is_the_whole_batch_up_to_rounding():
    whole, parts = (slope_of_data(accumulate=k) for k in (1, 4))
    assert torch.allclose(whole.model.weight, parts.model.weight, rtol=1e-5)
    assert [row["loss_slope"] for row in whole.history] == pytest.approx([row["loss_slope"] for row in parts.history], rel=1e-5)


# The two processes below run the same text, too.
FITTED = '''
class Fitted(nn.Module):
    "Least squares without noise, with a running mean."

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))
        self.register_buffer("mean", torch.zeros(()))

    def loss(self, x, generator):
        self.mean.lerp_(x.mean(), 0.1)
        return (x @ self.weight - 1).square().mean()

    def phases(self):
        return [Phase("slope", self, self.loss, 0.05)]

def slope_of_data(**options):
    return train(model=Fitted, **(dict(clip_norm=1.0, ema_decay=0.9, batch_size=8, steps=40) | options))
'''
exec(FITTED)

TOGETHER = PROBLEM + FITTED + '''
import json
import os

torch.set_num_threads(1)
first = slope_of_data(max_seconds=1e-9, checkpoint=sys.argv[1])     # one step, then from the checkpoint
run = slope_of_data(checkpoint=sys.argv[1])
if os.environ["RANK"] == "0":
    print(json.dumps([first.step, run.step, run.model.weight.tolist(), run.ema.weight.tolist(), run.model.mean.item(), run.history]))
'''


def test_two_processes_are_one(tmp_path):
    "Started by torchrun's variables, over gloo: weights, averages, losses and running means of one process, also across a checkpoint."
    pytest.importorskip("accelerate")
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    children = []
    for rank in (0, 1):
        env = os.environ | {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
                            "LOCAL_WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "true"}
        children.append(subprocess.Popen([sys.executable, "-c", TOGETHER, str(tmp_path / "c")], env=env, text=True,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    answers = [child.communicate(timeout=240) for child in children]
    assert [child.returncode for child in children] == [0, 0], answers[0][1][-2000:] + answers[1][1][-2000:]
    first, step, weight, average, mean, history = json.loads(answers[0][0].strip().splitlines()[-1])
    alone = slope_of_data()
    assert (first, step) == (1, 40)
    assert weight == pytest.approx(alone.model.weight.tolist(), rel=1e-5) and average == pytest.approx(alone.ema.weight.tolist(), rel=1e-5)
    assert mean == pytest.approx(alone.model.mean.item(), rel=1e-4)
    assert [row["loss_slope"] for row in history] == pytest.approx([row["loss_slope"] for row in alone.history], rel=1e-5)
    with pytest.raises(ValueError, match="processes is 2 there and 1 here"):
        slope_of_data(checkpoint=tmp_path / "c")


def test_bits_train_as_their_numbers(tmp_path):
    x = torch.randint(0, 2, (50, 4), generator=torch.Generator().manual_seed(0))
    plain, packed = (slope_of_data(data=data) for data in (x.float(), Packed.of(x)))
    assert torch.equal(plain.model.weight, packed.model.weight) and timeless(plain.history) == timeless(packed.history)
    grid = torch.randint(0, 2, (9, 2, 3, 5), generator=torch.Generator().manual_seed(0))
    found, rows = Batches((Packed.of(grid), torch.arange(9)), 4, seed=2)(3)
    assert torch.equal(found, grid[rows].float())


# ---- data

def test_batches_keep_tuples_together_and_visit_each_design_once_an_epoch():
    x = torch.arange(23)
    batches = Batches((x, -x.double()), 5, seed=4)
    drawn = [batches(step) for step in range(46)]
    assert all(torch.equal(a.double(), -b) and len(a) == 5 for a, b in drawn)
    epochs = torch.cat([a for a, _ in drawn]).reshape(10, 23)
    assert torch.equal(epochs.sort(dim=1).values, x.expand(10, 23)) and len({tuple(e.tolist()) for e in epochs}) == 10
    jump = Batches((x, -x.double()), 5, seed=4)(31)                              # without the steps before
    assert torch.equal(jump[0], drawn[31][0])


def test_numpy_and_float64_data_and_odd_dtypes():
    assert train(data=np.random.default_rng(0).standard_normal((50, 4)).astype("float32")).finished
    assert Batches(torch.zeros(4, 2, dtype=torch.bool), 3)(0).dtype == torch.bool
    assert slope(data=torch.zeros(6, dtype=torch.uint8), steps=2).finished
    assert slope(data=torch.zeros(6, 2, dtype=torch.bool), steps=2).finished


@pytest.mark.parametrize("data", [torch.zeros(0, 4), torch.tensor(1.0), (torch.zeros(3, 4), torch.zeros(2)), ()])
def test_bad_data(data):
    with pytest.raises(ValueError, match="data is"):
        train(data=data)


# ---- bad input

@pytest.mark.parametrize("name, value", [
    ("steps", 0), ("steps", 1.5), ("steps", True), ("accumulate", 0), ("accumulate", 3), ("batch_size", 0), ("batch_size", -3), ("seed", -1), ("seed", 0.5), ("precision", "fp8"), ("ema_decay", 1.5),
    ("ema_decay", math.nan), ("clip_norm", 0.0), ("clip_norm", math.nan), ("warmup", -1), ("decay", "linear"), ("checkpoint_every", 0),
    ("evaluate_every", 0), ("max_seconds", 0), ("max_seconds", math.nan), ("device", "tpu"), ("device", "cuda:x"),
])
def test_bad_arguments_are_named_and_leave_nothing_behind(tmp_path, name, value):
    shown = "batch_size" if (name, value) == ("accumulate", 3) else name
    with pytest.raises(ValueError, match=f"^{shown} is "):
        train(checkpoint=tmp_path / "folder" / "c", **{name: value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_missing_gpu():
    with pytest.raises(ValueError, match="device is 'cuda'.*0 CUDA devices"):
        pick_device("cuda")


def with_phases(make):
    model = Pair()
    phases = make(model)
    model.phases = lambda: phases
    return model


@pytest.mark.parametrize("model, message", [
    (lambda: nn.Linear(4, 4), "with a method phases"),
    (lambda: with_phases(lambda m: []), "at least one"),
    (lambda: with_phases(lambda m: m.phases()[:1] * 2), "all different"),
    (lambda: with_phases(lambda m: [Phase("a.b", m, m.fool, 1e-3)]), "without dots"),
    (lambda: with_phases(lambda m: [Phase("a", nn.Linear(4, 4), m.fool, 1e-3)]), "parameters of the model"),
    (lambda: with_phases(lambda m: [Phase("a", nn.SiLU(), m.fool, 1e-3)]), "trainable"),
    (lambda: with_phases(lambda m: [Phase("a", m, m.fool, -1.0)]), "learning_rate is -1.0"),
    (lambda: with_phases(lambda m: [Phase("a", m, m.fool, 1e-3, every=0)]), "every is 0"),
])
def test_bad_phases(model, message):
    with pytest.raises(ValueError, match=message):
        train(model=model())


@pytest.mark.parametrize("found, message", [({"step": 1}, "the key 'step'"), ({"x": object()}, "dict of numbers")])
def test_bad_evaluation(found, message):
    with pytest.raises(ValueError, match=f"evaluate is .*{message}"):
        train(lambda m, s: found)


# ---- compilation

def test_without_a_compiler_training_runs_uncompiled_with_one_warning(tmp_path, reference):
    code = PROBLEM + '''
import os, warnings
torch.set_num_threads(1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    run = train(checkpoint=sys.argv[1], compile=True)
print(*[w.message for w in caught if "compile=True" in str(w.message)], sep="\\n")
'''
    env = os.environ | {"CXX": str(tmp_path / "no-such-compiler"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "c")], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert len(lines) == 1 and "no effect" in lines[0] and "compiler" in lines[0]
    assert_same(train(checkpoint=tmp_path / "c"), reference)


# ---- on a GPU

@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_resume_on_a_gpu(tmp_path):
    class Line(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.2), nn.Linear(16, 4))

        def loss(self, x, generator):
            return (self.map(x + torch.randn(x.shape, generator=generator, device=x.device)) - x).square().mean()

        def phases(self):
            return [Phase("line", self, self.loss, 1e-2)]

    through = train(model=Line, device="cuda")
    for _ in range(3):
        train(model=Line, device="cuda", checkpoint=tmp_path / "c", max_seconds=1e-9)
    resumed = train(model=Line, device="cuda", checkpoint=tmp_path / "c")
    for p, q in zip(through.model.parameters(), resumed.model.parameters()):
        assert p.device.type == "cuda" and torch.allclose(p, q, atol=1e-5)
    with pytest.raises(ValueError, match="device is cuda there and cpu here"):
        train(model=Line, device="cpu", precision="bf16", checkpoint=tmp_path / "c")


def test_bf16_without_instructions_for_it_is_told(monkeypatch):
    monkeypatch.setattr("metanb.core.training.has_fast_bf16", lambda device: False)
    with pytest.warns(UserWarning, match="no instructions: 'fp32' is faster"):
        train(steps=1, precision="bf16")
    monkeypatch.setattr("metanb.core.training.has_fast_bf16", lambda device: True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(steps=1, precision="bf16")
