"""Data sets and weights: kills, damage, executors and bad input that do not fit into the notebook."""

import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from metanb.core import hub, store, weights, workers
from metanb.core.runs import main
from metanb.core.unet import UNet
from shards import LOGGED, fail_once, make_cells, make_logged

OPTIONS = dict(n=50, shard_size=8, seed=5, progress=False)
ROOT = Path(__file__).parents[1]
LAST = 6  # index of its last shard
WITH_TESTS = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])  # for processes that need the functions of shards.py


def contents(path) -> dict[str, np.ndarray]:
    ds = store.open_dataset(path)
    return {key: ds[key][:] for key in ds.keys()}


def assert_same(a: dict, b: dict) -> None:
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    "Contents of a data set that was never interrupted, computed without the store."
    shards = [make_cells(8, store.shard_seed(5, i)) for i in range(7)]
    return {key: np.concatenate([shard[key] for shard in shards])[:50] for key in ("angle", "count")}


# ---------------------------------------------------------------- kills

class Killed(BaseException):
    "Stands for a kill: nothing in the store catches it."


def killed_at(monkeypatch, step: int, after: bool) -> None:
    "End the program before or after the file number `step` is written."
    write, count = zarr.storage.LocalStore.set, iter(range(10**6))

    async def set_or_die(self, key, value, *args, **kwargs):
        turn = next(count)
        if turn == step and not after:
            raise Killed
        await write(self, key, value, *args, **kwargs)
        if turn == step:
            raise Killed

    monkeypatch.setattr(zarr.storage.LocalStore, "set", set_or_die)


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_file(tmp_path, whole, after):
    files = 1 + 3 + 7 * 3  # the group, three arrays, and for each of seven shards two arrays and a digest
    for step in range(files + 1):
        path = tmp_path / str(step)
        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, step, after)
            if step < files:
                with pytest.raises(Killed):
                    store.generate(path, make_cells, **OPTIONS)
            else:  # the count above is right: one more write never comes
                store.generate(path, make_cells, **OPTIONS)
        if step < files - 1:
            with pytest.raises(ValueError):
                store.open_dataset(path)
        store.generate(path, make_cells, **OPTIONS)
        assert_same(contents(path), whole)
        assert store.verify(path, progress=False) == []


CHILD = """
import sys, time
import numpy as np
from metanb.core import store
from metanb.core.workers import processes

{function}

if __name__ == "__main__":
    path, workers, delay = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    options = dict(n=240, shard_size=8, seed=5, params={{"delay": delay}}, progress=False)
    print("ready", flush=True)
    if workers:
        with processes(workers) as pool:
            store.generate(path, make_cells, executor=pool, **options)
    else:
        store.generate(path, make_cells, **options)
"""


def start_child(tmp_path: Path, path: Path, workers: int = 0, delay: float = 0.01) -> subprocess.Popen:
    "A process that generates 30 shards; returns when it is about to begin."
    script = tmp_path / "child.py"
    script.write_text(CHILD.format(function=inspect.getsource(make_cells)))
    child = subprocess.Popen([sys.executable, script, path, str(workers), str(delay)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             text=True, start_new_session=True)
    assert child.stdout.readline() == "ready\n"
    return child


def wait_for_shards(path: Path, n: int, child: subprocess.Popen) -> None:
    "Wait until n shards are finished."
    while len(list(path.glob("sha256/c/*/0"))) < n:
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.005)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_sigkill_at_random_moments(tmp_path):
    reference = store.generate(tmp_path / "reference", make_cells, n=240, shard_size=8, seed=5, params={"delay": 0.01}, progress=False)
    path, killed, finished = tmp_path / "killed", 0, 0
    for attempt in range(6):
        child = start_child(tmp_path, path)
        time.sleep(random.uniform(0, 0.15))
        child.kill()
        child.communicate(timeout=300)
        killed += child.returncode == -signal.SIGKILL
        before, finished = finished, len(list(path.glob("sha256/c/*/0")))
        assert finished >= before  # what was finished stays
    assert killed >= 3
    store.generate(path, make_cells, n=240, shard_size=8, seed=5, params={"delay": 0.01}, progress=False)
    assert_same(contents(path), contents(reference.path))
    assert store.verify(path, progress=False) == []


@pytest.mark.skipif(os.name != "posix", reason="signals to a process group")
@pytest.mark.parametrize("workers", [0, 1])
def test_ctrl_c_keeps_finished_shards(tmp_path, workers):
    path = tmp_path / "set"
    child = start_child(tmp_path, path, workers, delay=0.1)
    wait_for_shards(path, 3, child)
    os.killpg(child.pid, signal.SIGINT)  # as the terminal does: to the parent and its workers
    _, errors = child.communicate(timeout=300)
    assert child.returncode != 0 and errors.count("Traceback") == 1 and "KeyboardInterrupt" in errors
    left = store.verify(path, progress=False)
    assert 0 < len(left) <= 27
    assert not list(path.rglob("*.partial"))
    store.generate(path, make_cells, n=240, shard_size=8, seed=5, params={"delay": 0.1}, progress=False, executor=ThreadPoolExecutor(8))
    assert store.verify(path, progress=False) == []


LONG = """
import sys
from metanb.core import store, workers
from shards import make_long

if __name__ == "__main__":
    path, delay = sys.argv[1], float(sys.argv[2])
    params = {"short": [store.shard_seed(5, i) for i in (0, 1)], "delay": delay}
    with workers.processes(2) as pool:
        store.generate(path, make_long, n=80, shard_size=8, seed=5, params=params, progress=False, executor=pool)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals to a process group")
@pytest.mark.parametrize("times, delay", [(1, 1.5), (2, 3600)])
def test_ctrl_c_says_what_it_waits_for_and_a_second_one_does_not_wait(tmp_path, monkeypatch, times, delay):
    "The first keeps what is at work; with shards of an hour the second one ends at once. What was finished stays."
    (tmp_path / "child.py").write_text(LONG)
    monkeypatch.setenv("PYTHONPATH", WITH_TESTS)
    child = subprocess.Popen([sys.executable, tmp_path / "child.py", tmp_path / "set", str(delay)], stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_shards(tmp_path / "set", 2, child)
    time.sleep(0.5)  # two long ones are at work
    os.killpg(child.pid, signal.SIGINT)
    said = child.stderr.readline()
    assert "waiting for what is at work (shards 2, 3)" in said and "Again to end now" in said
    for _ in range(times - 1):
        os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=60)  # an hour, if it waited
    assert child.returncode != 0 and errors.count("Traceback") == 1 and "KeyboardInterrupt" in errors
    finished = len(list((tmp_path / "set").glob("sha256/c/*/0")))
    assert finished == (2 if times == 2 else 4)
    assert not set(store.verify(tmp_path / "set", progress=False)) & set(range(finished))


@pytest.mark.skipif(os.name != "posix", reason="a signal")
def test_an_error_does_not_wait_for_long_shards():
    "The processes end with the block that made them, whatever they are at."
    with pytest.raises(RuntimeError, match="elsewhere"):
        with workers.processes(1) as pool:
            assert pool.submit(abs, -1).result() == 1
            pool.submit(time.sleep, 3600)
            raise RuntimeError("elsewhere")


IDLE = """
import time
from metanb.core import store, workers

if __name__ == "__main__":
    with workers.processes(1) as pool:
        pool.submit(abs, -1).result()
        print("ready", flush=True)
        time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals to a process group")
def test_idle_workers_are_quiet_at_ctrl_c(tmp_path):
    (tmp_path / "idle.py").write_text(IDLE)
    child = subprocess.Popen([sys.executable, tmp_path / "idle.py"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert child.stdout.readline() == "ready\n"
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=300)
    assert errors.count("Traceback") == 1 and "idle.py" in errors and "KeyboardInterrupt" in errors  # the parent's own


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_workers_end_with_their_parent(tmp_path):
    child = start_child(tmp_path, tmp_path / "set", 2, delay=0.1)
    wait_for_shards(tmp_path / "set", 2, child)
    child.kill()
    child.communicate(timeout=300)  # ends only when every process that holds the pipe is gone, workers included


def test_two_processes_at_the_same_data_set(tmp_path):
    path = tmp_path / "set"
    children = [start_child(tmp_path, path) for _ in range(2)]
    for child in children:
        _, errors = child.communicate(timeout=300)
        assert child.returncode == 0, errors
    assert store.verify(path, progress=False) == []


def test_half_written_files_are_removed(tmp_path, whole):
    path = tmp_path / "set"
    store.generate(path, make_cells, **OPTIONS)
    old, young = path / "angle" / "c" / "0" / "0" / "0.1234.partial", path / "angle" / "zarr.5678.partial"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (0, time.time() - 3600))
    (path / "sha256" / "c" / "3" / "0").unlink()
    store.generate(path, make_cells, **OPTIONS)
    assert not old.exists() and young.exists()  # a young one may belong to another process
    assert_same(contents(path), whole)


# ---------------------------------------------------------------- executors

def dask_executor():
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)
    return distributed.Client(cluster).get_executor()


@pytest.mark.parametrize("make", [lambda: ThreadPoolExecutor(4), lambda: ProcessPoolExecutor(2), lambda: workers.processes(2), dask_executor],
                         ids=["threads", "processes", "spawned", "dask"])
def test_every_executor_gives_the_same_bits(tmp_path, whole, make):
    with make() as executor:
        store.generate(tmp_path / "set", make_cells, executor=executor, in_flight=3, **OPTIONS)
    assert_same(contents(tmp_path / "set"), whole)
    assert store.verify(tmp_path / "set", progress=False) == []
    if hasattr(executor, "_client"):
        executor._client.cluster.close()
        executor._client.close()


class Reversing(Executor):
    "Finishes calls three at a time, the last one first; notes how many are submitted and not yet stored."

    def __init__(self, path: Path):
        self.path, self.submitted, self.most, self.waiting = path, 0, 0, []

    def submit(self, fn, /, *args):
        future = Future()
        self.waiting.append((future, fn, args))
        self.submitted += 1
        self.most = max(self.most, self.submitted - len(list(self.path.glob("sha256/c/*/0"))))
        if len(self.waiting) == 3:
            while self.waiting:
                waiting, fn, args = self.waiting.pop()
                waiting.set_result(fn(*args))
        return future


def test_shards_in_flight_are_bounded_and_come_in_any_order(tmp_path, whole):
    executor = Reversing(tmp_path / "set")
    store.generate(tmp_path / "set", make_cells, n=48, shard_size=8, seed=5, progress=False, executor=executor, in_flight=3)
    assert executor.most == 3
    assert_same(contents(tmp_path / "set"), {key: a[:48] for key, a in whole.items()})


@pytest.mark.parametrize("threads", [None, 2])
def test_error_in_a_shard_comes_through_and_keeps_the_others(tmp_path, threads):
    with pytest.raises(RuntimeError, match="no such cell"):
        store.generate(tmp_path / "set", fail_once, params={"bad": store.shard_seed(5, 3)}, executor=threads and ThreadPoolExecutor(threads), **OPTIONS)
    missing = store.verify(tmp_path / "set", progress=False)
    assert missing == [3, 4, 5, 6] if threads is None else 3 in missing


# ---------------------------------------------------------------- clusters

def log_lines(log: Path, word: str) -> list[list[int]]:
    "Seed and process of each call that came to `word`."
    lines = log.read_text().splitlines() if log.exists() else []
    return [[int(number) for number in line.split()[1:]] for line in lines if line.startswith(word + " ")]


def assert_complete(ds: store.Dataset) -> None:
    "Digests and contents are those of a serial run, each shard is there once, nothing else is."
    rows = store.shard_rows(LOGGED["n"], LOGGED["shard_size"])
    serial = [make_cells(r.stop - r.start, store.shard_seed(LOGGED["seed"], i)) for i, r in enumerate(rows)]
    recorded = zarr.open_group(ds.path, mode="r")[store.DIGEST][:]
    assert [digest.tobytes() for digest in recorded] == [store.digest(shard) for shard in serial]
    assert store.verify(ds.path, progress=False) == []
    assert_same(contents(ds.path), {key: np.concatenate([shard[key] for shard in serial]) for key in serial[0]})
    files = {str(p.relative_to(ds.path)) for p in ds.path.rglob("*") if p.is_file()}
    shards = {f"{key}/c/{i}{tail}" for i in range(len(rows)) for key, tail in (("angle", "/0/0"), ("count", ""), ("sha256", "/0"))}
    assert files == shards | {"zarr.json", "angle/zarr.json", "count/zarr.json", "sha256/zarr.json"}


@pytest.fixture(scope="module")
def cluster():
    "A scheduler and two workers, each a process with one thread, that a nanny starts again when they end."
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def kill_one_at_work(log: Path, after: int, killed: list[int]) -> None:
    "Kill a process in the middle of a shard, once `after` shards are finished."
    while not killed:
        ended = log_lines(log, "end")
        at_work = [call for call in log_lines(log, "begin") if call not in ended]
        if len(ended) >= after and at_work:
            os.kill(at_work[-1][1], signal.SIGKILL)
            killed.append(at_work[-1][0])
        time.sleep(0.01)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_dask_worker_costs_nothing(tmp_path, cluster):
    log, killed = tmp_path / "log", []
    killer = threading.Thread(target=kill_one_at_work, args=(log, 3, killed), daemon=True)
    killer.start()
    with workers.workers(cluster.scheduler_address) as pool:
        assert pool.in_flight == 4
        ds = store.generate(tmp_path / "set", make_logged, params={"log": str(log), "delay": 0.2}, executor=pool, **LOGGED)
    killer.join()
    begun, ended = ([line[0] for line in log_lines(log, word)] for word in ("begin", "end"))
    assert begun.count(killed[0]) == 2 and ended.count(killed[0]) == 1  # cut off, and made again
    assert len({pid for _, pid in log_lines(log, "end")}) > 1
    assert_complete(ds)


def test_truss_command_on_a_cluster(tmp_path, cluster, capsys):
    digests = []
    for scheduler in (cluster.scheduler_address, "local:1"):
        with pytest.raises(SystemExit) as end:
            main(["data", "truss", "--preset", "test", "--scheduler", scheduler, "--out", str(tmp_path / scheduler[:3])])
        assert end.value.code == 0 and "std  authors" in capsys.readouterr().out
        assert store.verify(tmp_path / scheduler[:3] / "truss_shard1000_seed0", progress=False) == []
        digests.append(zarr.open_group(tmp_path / scheduler[:3] / "truss_shard1000_seed0", mode="r")[store.DIGEST][:])
    np.testing.assert_array_equal(*digests)


def test_shards_on_a_cluster_have_one_thread():
    distributed = pytest.importorskip("distributed")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with distributed.LocalCluster(n_workers=1, processes=False, protocol="tcp://", dashboard_address=None) as cluster:
            with distributed.Client(cluster, set_as_default=False) as client:
                assert client.submit(torch.get_num_threads).result() == 2  # without metanb
            with workers.workers(cluster.scheduler_address) as pool:
                assert pool.submit(torch.get_num_threads).result() == 1
    finally:
        torch.set_num_threads(threads)


def test_errors_on_a_cluster_come_through(tmp_path, cluster):
    with pytest.raises(RuntimeError, match="no such cell"), workers.workers(cluster.scheduler_address) as pool:
        store.generate(tmp_path / "set", fail_once, params={"bad": store.shard_seed(5, LAST)}, executor=pool, **OPTIONS)
    missing = store.verify(tmp_path / "set", progress=False)
    assert LAST in missing and len(missing) <= 4  # what was under way
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError, match="a worker has metanb .*, its caller 0.0"), workers.workers(cluster.scheduler_address) as pool:
        patch.setattr(workers.metanb, "__version__", "0.0")
        store.generate(tmp_path / "other", make_cells, executor=pool, **OPTIONS)
    assert not (tmp_path / "other").exists()


SCHEDULER = """
import distributed, sys, time

if __name__ == "__main__":
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(600)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_lost_scheduler_keeps_what_is_finished(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    (tmp_path / "scheduler.py").write_text(SCHEDULER)
    monkeypatch.setenv("PYTHONPATH", WITH_TESTS)
    child = subprocess.Popen([sys.executable, tmp_path / "scheduler.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    address, params = child.stdout.readline().strip(), {"log": str(tmp_path / "log"), "delay": 0.1}
    killer = threading.Thread(target=kill_one_at_work, args=(tmp_path / "log", 3, []), daemon=True)
    killer.start()
    with pytest.raises(ConnectionError, match="scheduler='tcp://.*the connection was lost"), workers.workers(address) as pool:
        store.generate(tmp_path / "set", make_logged, params=params, executor=pool, **LOGGED)
    killer.join()
    child.communicate(timeout=300)
    assert 0 < len(store.verify(tmp_path / "set", progress=False)) < 12
    with pytest.raises(ValueError, match="allowed: the address of a dask scheduler that answers"), workers.workers(address):
        pass
    child = subprocess.Popen(child.args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with pytest.raises(ConnectionError), workers.workers(child.stdout.readline().strip()) as pool:
        child.kill()
        child.communicate(timeout=300)
        assert wait_until(lambda: pool.client.status == "closed")  # noticed between two shards
        pool.submit(abs, -1)
    assert_complete(store.generate(tmp_path / "set", make_logged, params=params, **LOGGED))


ON_CLUSTER = """
import sys
from metanb.core import store, workers
from shards import LOGGED, make_logged

if __name__ == "__main__":
    address, folder = sys.argv[1:]
    with workers.workers(address) as pool:
        store.generate(folder + "/set", make_logged, params={"log": folder + "/log", "delay": 0.1}, executor=pool, **LOGGED)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals to a process group")
def test_ctrl_c_leaves_the_cluster_idle(tmp_path, cluster, monkeypatch):
    distributed = pytest.importorskip("distributed")
    (tmp_path / "child.py").write_text(ON_CLUSTER)
    monkeypatch.setenv("PYTHONPATH", WITH_TESTS)
    child = subprocess.Popen([sys.executable, tmp_path / "child.py", cluster.scheduler_address, tmp_path], stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_shards(tmp_path / "set", 3, child)
    os.killpg(child.pid, signal.SIGINT)
    _, errors = child.communicate(timeout=300)
    assert child.returncode != 0 and "KeyboardInterrupt" in errors and errors.count("Traceback") == 1, errors
    with distributed.Client(cluster.scheduler_address, set_as_default=False) as client:
        assert wait_until(lambda: not any(client.processing().values()))  # no shard is left to compute
    assert 0 < len(store.verify(tmp_path / "set", progress=False)) <= 9
    assert not list(tmp_path.rglob("*.partial"))


def wait_until(true, seconds: float = 120) -> bool:
    "Whether something comes true in time."
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


@pytest.mark.parametrize("scheduler", ["", "pbs", "local:0", "local:-1", "local:two", "tcp://", "tcp://host", "tcp:/host:8786", "http://host:80", "slurm:4", "slurm ", 4])
def test_unknown_schedulers(tmp_path, scheduler):
    with pytest.raises(ValueError, match=f"^scheduler is {scheduler!r}; allowed: local, local:N .* tcp://host:port .* slurm$"), workers.workers(scheduler):
        pass


@pytest.mark.parametrize("jobs", [0, -1, 1.5, True, None])
def test_unusable_jobs(jobs):
    with pytest.raises(ValueError, match=f"^jobs is {jobs}; allowed: a whole number of at least 1"), workers.workers(None, jobs):
        pass


@pytest.mark.parametrize("scheduler, module", [("tcp://127.0.0.1:8786", "distributed"), ("slurm", "dask_jobqueue")])
def test_a_missing_extra_is_named(monkeypatch, scheduler, module):
    pytest.importorskip("distributed")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"scheduler is '{scheduler}'; allowed: local; this one needs {module}.*pip install 'metanb\[cluster\]'"), workers.workers(scheduler):
        pass


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "tcp://no-such-host.invalid:8786", "tls://127.0.0.1:1"])
def test_nobody_answers(address, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(workers, "TIMEOUT", 2)
    with pytest.raises(ValueError, match=f"scheduler is '{address}'; allowed: the address of a dask scheduler that answers ."), workers.workers(address):
        pass


@pytest.mark.parametrize("space", ["kirigami", "truss", "cellular"])
def test_every_data_command_knows_schedulers(tmp_path, space, capsys):
    with pytest.raises(SystemExit) as end:
        main(["data", space, "--preset", "test", "--scheduler", "cloud", "--out", str(tmp_path)])
    assert end.value.code == 2 and "scheduler is 'cloud'; allowed: local" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scheduler", [None, "local", "local:3"])
def test_local_workers(scheduler):
    with workers.workers(scheduler, 1) as pool:
        assert isinstance(pool, ProcessPoolExecutor) and pool._max_workers == (3 if scheduler == "local:3" else 1)


# ---------------------------------------------------------------- SLURM

@pytest.fixture
def slurm(tmp_path, monkeypatch):
    "Commands `sbatch` and `scancel` that run jobs on this machine, and the settings that a user would have."
    dask = pytest.importorskip("dask")
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("dask_jobqueue is not installed")
    workers._extra("dask_jobqueue", "slurm")  # not imported by itself: see the test of Ctrl-C
    (tmp_path / "jobs").mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": 'kill -9 -- -"$1"; rm -f {jobs}/"$1"'}.items():
        (tmp_path / name).write_text("#!/bin/bash\n" + text.format(jobs=tmp_path / "jobs", python=sys.executable))
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", WITH_TESTS)
    with dask.config.set({"jobqueue.slurm.memory": "1GB", "jobqueue.slurm.queue": "night", "jobqueue.slurm.walltime": "02:00:00",
                          "jobqueue.slurm.scheduler-options": {"dashboard_address": ":0"}, "distributed.deploy.lost-worker-timeout": "500ms"}):
        yield tmp_path / "jobs"


SBATCH = """[ -e {jobs}/refuse ] && {{ rm {jobs}/refuse; echo "invalid partition" >&2; exit 1; }}
cp "$1" {jobs}/script.sh
setsid bash {jobs}/script.sh > /dev/null 2>&1 &
echo $! >> {jobs}/submitted; touch {jobs}/$!
echo "Submitted batch job $!"
"""


def test_slurm_jobs_compute_the_shards(tmp_path, slurm, monkeypatch):
    monkeypatch.setattr(workers, "TIMEOUT", 10)
    with workers.workers("slurm", 2) as pool:
        assert pool.in_flight == 4
        ds = store.generate(tmp_path / "set", make_logged, params={"log": str(tmp_path / "log"), "delay": 0.1}, executor=pool, **LOGGED)
    assert_complete(ds)
    script = (slurm / "script.sh").read_text()
    for line in ("#SBATCH -n 1", "#SBATCH --cpus-per-task=1", "#SBATCH --mem=954M", "#SBATCH -p night", "#SBATCH -t 02:00:00", "--nthreads 1"):
        assert line in script
    assert len((slurm / "submitted").read_text().split()) == 2
    assert wait_until(lambda: not [p for p in slurm.iterdir() if p.name.isdigit()])  # all jobs are cancelled at the end


@pytest.mark.parametrize("cores", [1, 2])
def test_slurm_jobs_that_end_early_are_replaced(tmp_path, slurm, monkeypatch, cores):
    import dask

    monkeypatch.setattr(workers, "TIMEOUT", 3)
    log = tmp_path / "log"

    def end_all_jobs() -> None:  # as a walltime does, and SLURM is busy for a moment afterwards
        wait_until(lambda: len(log_lines(log, "end")) >= 2)
        (slurm / "refuse").touch()
        for job in (slurm / "submitted").read_text().split():
            os.killpg(int(job), signal.SIGKILL)

    threading.Thread(target=end_all_jobs, daemon=True).start()
    settings, refusal = dask.config.set({"jobqueue.slurm.cores": cores}), pytest.warns(UserWarning, match="SLURM took no job(.|\n)*invalid partition")
    with settings, refusal, workers.workers("slurm", cores) as pool:
        ds = store.generate(tmp_path / "set", make_logged, params={"log": str(log), "delay": 0.2}, executor=pool, **LOGGED)
    assert_complete(ds)
    assert not (slurm / "refuse").exists() and len((slurm / "submitted").read_text().split()) == 2
    assert len({pid for _, pid in log_lines(log, "end")}) > cores


def test_ctrl_c_stays_what_it_was(slurm, monkeypatch):
    "dask_jobqueue takes it away from Python when it is imported."
    for name in [name for name in sys.modules if name.split(".")[0] == "dask_jobqueue"]:
        monkeypatch.delitem(sys.modules, name)
    before = signal.getsignal(signal.SIGINT)
    (slurm / "refuse").touch()
    with pytest.raises(ValueError, match="invalid partition"), workers.workers("slurm"):
        pass
    assert "dask_jobqueue.runner" in sys.modules and signal.getsignal(signal.SIGINT) is before


def test_slurm_settings_with_several_cores(slurm):
    import dask
    from dask_jobqueue import SLURMCluster

    with dask.config.set({"jobqueue.slurm.cores": 4}), pytest.MonkeyPatch.context() as patch:
        patch.setattr(SLURMCluster, "_correct_state", lambda self: (_ for _ in ()).throw(RuntimeError(self.job_script())))
        with pytest.raises(ValueError, match="--cpus-per-task=4\n(.|\n)*--nthreads 1 .*--nworkers 4"), workers.workers("slurm", 8):
            pass


@pytest.mark.parametrize("broken, message", [("memory", "memory per job"), ("refuse", "invalid partition"), ("PATH", "sbatch")])
def test_slurm_that_cannot_be_used(slurm, monkeypatch, broken, message):
    import dask

    if broken == "PATH":
        monkeypatch.setenv("PATH", "")
    (slurm / "refuse").touch()
    with dask.config.set({"jobqueue.slurm.memory": None if broken == "memory" else "1GB"}):
        with pytest.raises(ValueError, match=rf"^scheduler is 'slurm'; allowed: settings jobqueue.slurm of dask that SLURM takes(.|\n)*{message}"), workers.workers("slurm"):
            pass
    assert wait_until(lambda: not [p for p in slurm.iterdir() if p.name.isdigit()])  # where one of two jobs was taken, it is cancelled


# ---------------------------------------------------------------- packed data sets

def test_every_damaged_byte_of_a_packed_set_is_noticed(tmp_path, whole):
    store.generate(tmp_path / "set", make_cells, **OPTIONS)
    file = store.pack_dataset(tmp_path / "set", tmp_path / "set.zip")
    intact, silent = file.read_bytes(), 0
    for position in [*random.sample(range(len(intact)), 150), *range(len(intact) - 22, len(intact))]:
        file.write_bytes(intact[:position] + bytes([intact[position] ^ random.randrange(1, 256)]) + intact[position + 1:])
        try:
            read = contents(file)
        except ValueError as error:
            assert re.search("set.zip'; allowed: .*(verify|copied anew)", str(error)), error
            continue
        silent += 1
        assert_same(read, whole)
    assert silent < 100


def make_flagged(n, seed):
    return make_cells(n, seed) | {"flags": np.random.default_rng(seed).random((n, 7)) < 0.5}


def test_a_set_as_npz_is_the_set(tmp_path):
    "With flags whose number is no multiple of eight."
    file = store.export_npz(store.generate(tmp_path / "set", make_flagged, **OPTIONS | {"n": 20}).path, tmp_path / "set.npz")
    arrays = dict(np.load(file))
    record = json.loads(str(arrays.pop("record")))
    assert record["bits"] == {"flags": 7} and arrays["flags"].shape == (20, 1)
    flags = np.unpackbits(arrays["flags"], axis=-1, count=7).astype(bool)
    np.testing.assert_array_equal(flags, store.open_dataset(tmp_path / "set")["flags"][:])
    np.testing.assert_array_equal(arrays["angle"], store.open_dataset(tmp_path / "set")["angle"][:])


def test_a_set_as_parquet_is_the_set(tmp_path, capsys):
    "Read back by pyarrow alone, in another process; the card says shapes, units, license and where it comes from."
    pytest.importorskip("pyarrow", reason="the extra hub is not installed")
    ds = store.generate(tmp_path / "kirigami_set", make_flagged, **OPTIONS | {"n": 20, "shard_size": 8})
    main_ends(["export", str(ds.path), str(tmp_path / "hub")])
    card = (tmp_path / "hub/README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlicense: apache-2.0\n") and "| `flags` | bool | 7 |" in card and '"seed": 5' in card
    reader = f"import os; os.chdir({str(tmp_path / 'hub')!r})\n" + re.search("```python\n(.*?)```", card, re.DOTALL)[1]
    reader += "import sys; assert not [m for m in sys.modules if m.startswith(('metanb', 'zarr'))]\nnp.savez('read.npz', **arrays)\n"
    subprocess.run([sys.executable, "-c", reader], check=True)
    read = dict(np.load(tmp_path / "hub/read.npz"))
    assert {key: a.dtype.kind for key, a in read.items()} == {"angle": "f", "count": "i", "flags": "b"}
    assert_same(read, contents(ds.path))
    with pytest.raises(ValueError, match=r"shard 1 is damaged"):  # before anything is written
        damage = ds.path / "angle/c/1"
        next(p for p in (damage, *damage.rglob("*")) if p.is_file()).write_bytes(b"no")
        hub.export_parquet(ds.path, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def main_ends(arguments) -> int:
    "The exit code of a command."
    try:
        main(arguments)
    except SystemExit as end:
        return end.code or 0
    return 0


def test_parquet_needs_its_extra(tmp_path, monkeypatch, capsys):
    ds = store.generate(tmp_path / "set", make_cells, **OPTIONS | {"n": 20})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main_ends(["export", str(ds.path), str(tmp_path / "hub")]) == 2
    assert "pip install 'metanb[hub]'" in capsys.readouterr().err and not (tmp_path / "hub").exists()
    assert main_ends(["export", str(ds.path), str(tmp_path / "set.npz")]) == 0 == main_ends(["export", str(ds.path), str(tmp_path / "set.zip")])
    assert (tmp_path / "set.npz").is_file() and len(store.open_dataset(tmp_path / "set.zip")) == 20


def test_a_packed_set_travels_and_leaves_nothing_behind(tmp_path, whole):
    ds = store.generate(tmp_path / "set", make_cells, **OPTIONS)
    (tmp_path / "set" / "angle" / "half.partial").write_bytes(b"half")
    file = store.pack_dataset(ds.path, tmp_path / "deep" / "set.zip")
    with zipfile.ZipFile(file) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED} and "angle/half.partial" not in archive.namelist()
    shutil.rmtree(tmp_path / "set")
    with workers.processes(1) as pool:
        np.testing.assert_array_equal(pool.submit(store.open_dataset(file).rows, "angle", [49, 0, 7]).result(), whole["angle"][[49, 0, 7]])
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["deep", "set.zip"]


def test_a_smaller_copy_is_packed(tmp_path, whole):
    ds = store.generate(tmp_path / "set", make_cells, **OPTIONS)
    size = OPTIONS["shard_size"]
    few = store.open_dataset(store.pack_dataset(ds.path, tmp_path / "few.zip", n=size + 1, keys=["angle"], level=19))
    assert len(few) == size + 1 and few.keys() == ["angle"] and store.verify(few.path, progress=False) == []
    np.testing.assert_array_equal(few["angle"][:], whole["angle"][:size + 1])
    again = store.open_dataset(store.pack_dataset(ds.path, tmp_path / "all.zip", level=19))
    assert_same(contents(again.path), whole)
    np.testing.assert_array_equal(again.digests[:], ds.digests[:])
    for options, message in (({"n": 0}, "n is 0"), ({"n": len(ds) + 1000}, "missing"), ({"keys": ["nothing"]}, r"keys\[0\] is 'nothing'"), ({"keys": []}, r"keys is \[\]; allowed: None for all"), ({"level": 30}, "level is 30")):
        with pytest.raises(ValueError, match=message):
            store.pack_dataset(ds.path, tmp_path / "no.zip", **options)
    (ds.path / "sha256" / "c" / "0" / "0").unlink()
    with pytest.raises(ValueError, match="first shards are finished"):
        store.pack_dataset(ds.path, tmp_path / "no.zip", partial=True, level=5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.zip", "few.zip", "set"]


def test_a_failed_pack_keeps_the_file_that_was_there(tmp_path, monkeypatch):
    store.generate(tmp_path / "set", make_cells, **OPTIONS)
    file = store.pack_dataset(tmp_path / "set", tmp_path / "set.zip")
    before = file.read_bytes()
    content = (tmp_path / "set" / "count" / "c" / "2").read_bytes()
    (tmp_path / "set" / "count" / "c" / "2").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"shards \[2\] are damaged"):
        store.pack_dataset(tmp_path / "set", file)
    (tmp_path / "set" / "count" / "c" / "2").write_bytes(content)
    monkeypatch.setattr(zipfile.ZipFile, "writestr", lambda *args, **options: (_ for _ in ()).throw(Killed))
    with pytest.raises(Killed):
        store.pack_dataset(tmp_path / "set", file)
    assert file.read_bytes() == before and sorted(p.name for p in tmp_path.iterdir()) == ["set", "set.zip"]


def test_shipped_data_sets(tmp_path, whole, monkeypatch):
    monkeypatch.setattr(store, "shipped_folder", lambda what: tmp_path / what)
    assert store.datasets() == []
    store.generate(tmp_path / "set", make_cells, **OPTIONS)
    for name in ("truss_small", "voxel_a", "voxel_b"):
        store.pack_dataset(tmp_path / "set", tmp_path / "datasets" / f"{name}.zip")
    assert store.datasets() == ["truss_small", "voxel_a", "voxel_b"] and store.datasets("voxel") == ["voxel_a", "voxel_b"]
    assert_same(contents(store.shipped("voxel_b").path), whole)
    with pytest.raises(ValueError, match="name is 'voxel_c'; allowed: truss_small, voxel_a, voxel_b"):
        store.shipped("voxel_c")
    with pytest.raises(ValueError, match="space is 'kirigami'.*truss, voxel"):
        store.datasets("kirigami")


def test_a_packed_set_of_compressed_cells(tmp_path, monkeypatch):
    from metanb.cellular import data
    from test_cellular_data import answer

    monkeypatch.setattr(data, "compress", answer)  # storage is tested here, not the solver
    made = data.dataset(preset="test", n=2, quarter=5, shard_size=2, max_strain=0.05, device="cpu", folder=tmp_path, progress=False)
    folder, packed = data.load(made.path), data.load(store.pack_dataset(made.path, tmp_path / "cells.zip"))
    np.testing.assert_array_equal(folder.field("sigma22"), packed.field("sigma22"))
    facts, expected = data.statistics(packed), data.statistics(folder)
    assert facts["bytes_per_design"] == (tmp_path / "cells.zip").stat().st_size / 2
    assert {**facts, "bytes_per_design": None} == {**expected, "bytes_per_design": None}


def test_what_is_missing_is_told_without_work(tmp_path):
    "Of a new set, of one that is begun, of a finished one; nothing is written."
    def call(n):
        return lambda: store.generate(tmp_path / "set", make_cells, **OPTIONS | {"n": n})

    size = OPTIONS["shard_size"]
    assert store.missing(call(3 * size)) == store.Missing(tmp_path / "set", 3 * size, 3 * size)
    assert not (tmp_path / "set").exists()
    call(2 * size)()
    before = contents(tmp_path / "set")
    assert [store.missing(call(n * size)).rows for n in (1, 2, 5)] == [0, 0, 3 * size]
    assert_same(contents(tmp_path / "set"), before)
    assert len(call(3 * size)()) == 3 * size  # the next call works as ever


# ---------------------------------------------------------------- more rows, fewer rows, some shards

def digests(path) -> list[bytes]:
    return [row.tobytes() for row in zarr.open_group(path, mode="r")[store.DIGEST][:]]


def begin(path: Path, calls: int, **options) -> None:
    "Generate a set, and end it in the call of make_shard after so many."
    left = iter(range(calls))

    def make_cut(n, seed, delay=0.0):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return make_cells(n, seed)

    make_cut.__name__ = "make_cells"
    with pytest.raises(KeyboardInterrupt):
        store.generate(path, make_cut, **OPTIONS | options)


@pytest.mark.parametrize("few", [1, 8, 16, 20, 48, 49])
def test_a_grown_set_is_the_one_made_at_once(tmp_path, whole, few):
    at_once = store.generate(tmp_path / "whole", make_cells, **OPTIONS)
    seeds = []

    def make_counted(n, seed, delay=0.0):
        seeds.append(seed)
        return make_cells(n, seed)

    make_counted.__name__ = "make_cells"
    ds = store.generate(tmp_path / "set", make_counted, **OPTIONS | {"n": few})
    assert len(ds) == few == len(store.open_dataset(tmp_path / "set")) and ds["angle"].shape == (few, 6, 6)
    assert_same({key: ds[key][:] for key in ds.keys()}, {key: a[:few] for key, a in whole.items()})
    grown = store.generate(tmp_path / "set", make_counted, **OPTIONS)
    assert sorted(seeds) == sorted(store.shard_seed(5, i) for i in range(7))  # each shard once
    assert_same(contents(tmp_path / "set"), whole)
    assert digests(tmp_path / "set") == digests(tmp_path / "whole") and store.verify(tmp_path / "set", progress=False) == []
    assert grown.attributes == at_once.attributes == store.open_dataset(tmp_path / "set").attributes
    packed = [store.pack_dataset(tmp_path / name, tmp_path / f"{name}.zip").read_bytes() for name in ("set", "whole")]
    assert packed[0] == packed[1]


def test_fewer_rows_are_the_first_ones(tmp_path, whole):
    store.generate(tmp_path / "set", make_cells, **OPTIONS)
    for n in (1, 8, 13, 50):
        ds = store.generate(tmp_path / "set", make_cells, **OPTIONS | {"n": n})
        assert len(ds) == n and ds.shards == store.shard_rows(n, 8) and ds.attributes["n"] == n
        assert_same({key: ds[key][:] for key in ds.keys()}, {key: a[:n] for key, a in whole.items()})
    assert len(store.open_dataset(tmp_path / "set")) == 50


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_file_while_it_grows(tmp_path, whole, after):
    small = dict(OPTIONS, n=20)  # three shards
    store.generate(tmp_path / "small", make_cells, **small)
    files = 3 + 4 * 3 + 1  # three arrays are lengthened, four shards, at last the record
    for step in range(files + 1):
        path = tmp_path / str(step)
        shutil.copytree(tmp_path / "small", path)
        with pytest.MonkeyPatch.context() as patch:
            killed_at(patch, step, after)
            if step < files:
                with pytest.raises(Killed):
                    store.generate(path, make_cells, **OPTIONS)
            else:
                store.generate(path, make_cells, **OPTIONS)
        if step + after < files:  # it is still the set that it was
            assert_same(contents(path), {key: a[:20] for key, a in whole.items()})
            assert store.verify(path, progress=False) == []
            assert_same(contents(store.pack_dataset(path, tmp_path / "set.zip")), contents(path))
        part = store.open_dataset(path, partial=True)
        assert len(part) >= 20 and np.array_equal(part["angle"][:50], whole["angle"][:len(part)])
        store.generate(path, make_cells, **OPTIONS)
        assert_same(contents(path), whole)
        assert store.verify(path, progress=False) == []


def test_partial_leaves_out_what_is_missing(tmp_path, whole):
    path = tmp_path / "set"
    store.generate(path, make_cells, **OPTIONS)
    for hole in (2, 3, 5):
        (path / "sha256" / "c" / str(hole) / "0").unlink()
    with pytest.raises(ValueError, match="3 of 7 shards are missing.*partial=True"):
        store.open_dataset(path)
    rows = np.r_[0:16, 32:40, 48:50]  # shards 0, 1, 4 and what was asked for of 6
    held = {key: a[rows] for key, a in whole.items()}
    packed = store.pack_dataset(path, tmp_path / "set.zip", partial=True)
    with zipfile.ZipFile(packed) as archive:
        assert {name.split("/")[2] for name in archive.namelist() if "/c/" in name} == {"0", "1", "4", "6"}
    for place in (path, packed):
        ds = store.open_dataset(place, partial=True)
        assert len(ds) == 26 and ds.finished.tolist() == [0, 1, 4, 6] and ds.shards == store.shard_rows(26, 8)
        assert_same({key: ds[key][:] for key in ds.keys()}, held)
        for index in (25, -1, slice(10, 20), slice(None, None, -3), [25, 0, 15, 16], np.arange(26) % 5 == 0, slice(9, 9)):
            np.testing.assert_array_equal(ds["angle"][index], held["angle"][index])
        np.testing.assert_array_equal(ds["angle"][14:18, 2, 1:3], held["angle"][14:18, 2, 1:3])
        np.testing.assert_array_equal(ds.rows("count", [17, 3]), held["count"][[17, 3]])
        np.testing.assert_array_equal(np.asarray(ds["count"]), held["count"])
        np.testing.assert_array_equal(np.concatenate([ds["count"][shard] for shard in ds.shards]), held["count"])
        with pytest.raises(IndexError):
            ds["angle"][26]
    with pytest.raises(ValueError, match="3 of 7 shards are missing"):
        store.open_dataset(packed)
    assert ds.bytes_on_disk == packed.stat().st_size
    flip = path / "angle" / "c" / "4" / "0" / "0"
    flip.write_bytes(flip.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"shards \[4\] are damaged"):
        store.pack_dataset(path, packed, partial=True)
    with workers.processes(1) as pool:  # and travels
        np.testing.assert_array_equal(pool.submit(ds.rows, "angle", [17, 3]).result(), held["angle"][[17, 3]])


def test_partial_grows_with_the_set(tmp_path, whole):
    path = tmp_path / "set"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, 4, after=False)  # arrays, and no shard
        store.generate(path, make_cells, **OPTIONS)
    with pytest.raises(ValueError, match="allowed: data sets with a finished shard; here none is"):
        store.open_dataset(path, partial=True)
    begin(path, 2)
    assert len(store.open_dataset(path, partial=True)) == 16
    assert len(store.generate(path, make_cells, **OPTIONS | {"n": 20})) == 20  # fewer than it was begun with
    with pytest.raises(ValueError, match="4 of 7"):
        store.open_dataset(path)
    begin(path, 1, n=100)
    assert len(store.open_dataset(path, partial=True)) == 32
    store.generate(path, make_cells, **OPTIONS)
    assert_same(contents(path), whole)
    assert_same(contents(path), {key: store.open_dataset(path, partial=True)[key][:] for key in whole})


def test_a_set_with_other_keys_is_left_alone(tmp_path):
    "Such as one of a former version, whose function gave other arrays under the same name."
    def make_cells(n, seed, delay=0.0):
        return {"angle": np.zeros((n, 6, 6)), "force": np.zeros(n)}

    made = store.generate(tmp_path / "set", globals()["make_cells"], **OPTIONS | {"n": 16})
    before = {file: file.read_bytes() for file in made.path.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match="keys of a shard is 'angle, force'; allowed: angle, count, as in"):
        store.generate(tmp_path / "set", make_cells, **OPTIONS)
    assert {file: file.read_bytes() for file in made.path.rglob("*") if file.is_file()} == before


def make_old(path: Path, n: int, size: int, params: dict) -> None:
    "A data set as version 0.1 wrote it: the last shard is short, the codec has no checksum."
    slices = store.shard_rows(n, size)
    shards = [make_cells(rows.stop - rows.start, store.shard_seed(5, i)) for i, rows in enumerate(slices)]
    record = {"n": n, "shard_size": size, "seed": 5, "params": params, "make_shard": "make_cells"}
    group = zarr.open_group(path, mode="a", zarr_format=3, attributes={"metanb": record})
    for key in ("angle", "count"):
        first = shards[0][key]
        array = group.create_array(key, shape=(n, *first.shape[1:]), shards=(size, *first.shape[1:]), chunks=(size, *first.shape[1:]), dtype=first.dtype)
        for rows, shard in zip(slices, shards):
            array[rows] = shard[key]
    array = group.create_array("sha256", shape=(len(shards), 32), chunks=(1, 32), dtype="uint8", compressors=None)
    for i, shard in enumerate(shards):
        array[i] = np.frombuffer(store.digest(shard), np.uint8)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda"])
def test_sets_of_version_01(tmp_path, device):
    path, params = tmp_path / "set", {"delay": 0.0}
    make_old(path, 50, 8, params | {"device": device})
    before = contents(path)
    options = OPTIONS | {"params": params}
    assert len(store.generate(path, make_cells, **options)) == 50
    assert_same(contents(path), before)
    assert len(store.generate(path, make_cells, **options | {"n": 30})) == 30
    with pytest.raises(ValueError, match="n is 51; allowed: at most 50: the last shard of .* is not whole"):
        store.generate(path, make_cells, **options | {"n": 51})
    for shard in (1, 6):  # continued and repaired as they were begun
        (path / "sha256" / "c" / str(shard) / "0").unlink()
        assert store.verify(path, progress=False) == [shard]
        store.generate(path, make_cells, **options)
        (path / "count" / "c" / str(shard)).unlink()
        assert store.verify(path, repair=True, make_shard=make_cells, progress=False) == [shard]
        assert_same(contents(path), before)
    make_old(tmp_path / "whole", 48, 8, params | {"device": device})
    store.generate(tmp_path / "whole", make_cells, **options | {"n": 60})
    assert store.verify(tmp_path / "whole", progress=False) == [] and len(store.open_dataset(tmp_path / "whole")) == 60
    make_old(tmp_path / "one", 5, 8, params)  # a single shard, which has its rows as size now
    assert len(store.generate(tmp_path / "one", make_cells, **options | {"n": 5, "shard_size": 5})) == 5
    with pytest.raises(ValueError, match="n is 6; allowed: at most 5"):
        store.generate(tmp_path / "one", make_cells, **options | {"n": 6, "shard_size": 5})


def test_every_space_finds_its_sets_of_version_01(tmp_path, monkeypatch):
    from metanb.cellular import data as cellular
    from metanb.kirigami import data as kirigami
    from metanb.truss import data as truss
    from metanb.voxel import data as voxel
    calls = {cellular: ({"quarter": 5}, "cellular_10x10_attached"), kirigami: ({"beta_max": 60, "sweeps": 5}, "kirigami_6x6_beta60_sweeps5"),
             truss: ({}, "truss"), voxel: ({"octant": 4, "low": 0.1}, "voxel_8")}
    for space, (options, name) in calls.items():
        asked = []
        monkeypatch.setattr(space, "generate", lambda path, make_shard, **given: asked.append((path.name, given["n"], given["shard_size"])))
        end = "_low0.1" if "low" in options else ""
        for n, shard in ((3, 3), (4, 3), (3, None)):
            space.dataset(preset="test", n=n, shard_size=shard, folder=tmp_path, **options)
        assert asked == [(f"{name}_shard3_seed0{end}", n, 3) for n in (3, 4, 3)]
        (tmp_path / f"{name}_n4_seed0{end}").mkdir()
        space.dataset(preset="test", n=4, shard_size=3, folder=tmp_path, **options)
        (tmp_path / f"{name}_n4_seed0{end}" / "zarr.json").touch()
        space.dataset(preset="test", n=4, shard_size=3, folder=tmp_path, **options)
        assert [path for path, *_ in asked[3:]] == [f"{name}_shard3_seed0{end}", f"{name}_n4_seed0{end}"]


@pytest.mark.parametrize("space, options", [("kirigami", dict(beta_max=60, sweeps=1)), ("truss", {}), ("voxel", dict(octant=4, stage_steps=1))])
def test_every_space_reads_finished_shards(tmp_path, space, options):
    data = importlib.import_module(f"metanb.{space}.data")
    ds = data.dataset(preset="test", n=5, shard_size=2, folder=tmp_path, progress=False, **options)
    few = data.dataset(preset="test", n=3, shard_size=2, folder=tmp_path, progress=False, **options)
    assert few.path == ds.path and len(data.load(few)) == 3 and len(data.load(ds.path)) == 5
    key = ds.keys()[0]
    whole = ds[key][:]
    (ds.path / "sha256" / "c" / "1" / "0").unlink()
    with pytest.raises(ValueError, match="1 of 3 shards are missing"):
        data.load(ds.path)
    part = data.load(ds.path, partial=True)
    np.testing.assert_array_equal(store.open_dataset(ds.path, partial=True)[key][:], whole[[0, 1, 4]])
    assert len(part) == 3 and data.statistics(part)


# ---------------------------------------------------------------- devices

def make_somewhere(n: int, seed: int, device: str = "cpu") -> dict[str, np.ndarray]:
    "Numbers whose last bit depends on the device."
    return {"a": np.random.default_rng(seed).normal(size=n) * (1 + 2**-52 * (device != "cpu"))}


@pytest.fixture
def gpu(monkeypatch):
    "A machine with a GPU, as far as names go."
    monkeypatch.setattr("metanb.core.device.device_kind", lambda name: "cpu" if name == "cpu" else "GPU 9000")


def test_the_device_is_no_part_of_a_set(tmp_path, gpu):
    path, options = tmp_path / "set", dict(shard_size=4, progress=False)
    assert store.generate(path, make_somewhere, n=8, device="cpu", **options).attributes["made_on"] == ["cpu"]
    ds = store.generate(path, make_somewhere, n=16, device="cuda", **options)
    assert ds.attributes["params"] == {} and ds.attributes["made_on"] == ["cpu", "GPU 9000"]
    assert store.generate(path, make_somewhere, n=16, **options).attributes == ds.attributes
    with pytest.raises(ValueError, match="params is .*allowed: a dict without device, which is an argument of its own"):
        store.generate(path, make_somewhere, n=16, params={"device": "cpu"}, **options)


def test_other_bits_on_another_kind_of_device(tmp_path, gpu):
    path = tmp_path / "set"
    store.generate(path, make_somewhere, n=8, shard_size=4, device="cuda", progress=False)
    before = digests(path)
    (path / "a" / "c" / "1").unlink()
    for device in (None, "cpu"):
        with pytest.raises(ValueError, match="device is 'cpu'; allowed: GPU 9000, where the set was made; last bits differ .*: shard 1 of .* repaired there"):
            store.verify(path, repair=True, make_shard=make_somewhere, device=device, progress=False)
    assert store.verify(path, repair=True, make_shard=make_somewhere, device="cuda", progress=False) == [1]
    assert store.verify(path, progress=False) == [] and digests(path) == before  # as often as one likes: the same bits
    assert store.open_dataset(path).attributes["made_on"] == ["GPU 9000"]


def test_the_kind_of_device_without_a_gpu(tmp_path):
    ds = store.generate(tmp_path / "set", make_somewhere, n=4, shard_size=4, device="cpu", progress=False)
    assert ds.attributes["made_on"] == ["cpu"]
    assert store.generate(tmp_path / "other", make_cells, **OPTIONS).attributes["made_on"] == ["cpu"]


def test_the_codec_notices_a_damaged_row(tmp_path):
    ds = store.generate(tmp_path / "set", make_cells, **OPTIONS)
    file = tmp_path / "set" / "angle" / "c" / "2" / "0" / "0"
    intact = file.read_bytes()
    index = 8 * 2 + 4  # one piece: offset, length, and the checksum of these
    for position in range(0, len(intact) - index, 7):
        file.write_bytes(intact[:position] + bytes([intact[position] ^ 1]) + intact[position + 1:])
        with pytest.raises(ValueError, match="checksum"):
            ds["angle"][17]
    file.write_bytes(intact)
    ds["angle"][17]


# ---------------------------------------------------------------- damage

def changed(path: Path) -> None:
    "Shard 2 with one other number, its checksums right."
    array = zarr.open_group(path, mode="r+")["angle"]
    array[17, 0] = np.nextafter(array[17, 0], 7)


def missing(path: Path) -> None:
    "Shard 2 without a file, which zarr reads as zeros."
    (path / "angle" / "c" / "2" / "0" / "0").unlink()


def swapped(path: Path) -> None:
    "The file of shard 3 in the place of shard 2."
    shutil.copy(path / "angle" / "c" / "3" / "0" / "0", path / "angle" / "c" / "2" / "0" / "0")


@pytest.mark.parametrize("damage", [changed, missing, swapped])
def test_what_no_checksum_sees_is_noticed_at_the_first_read(tmp_path, whole, damage):
    store.generate(tmp_path / "set", make_cells, **OPTIONS)
    damage(tmp_path / "set")
    ds = store.open_dataset(tmp_path / "set")
    for read in (lambda: ds["angle"][17], lambda: ds["angle"][:], lambda: ds["count"][[0, 20]], lambda: ds.rows("count", [23])):
        with pytest.raises(ValueError, match=r"path is '.*set'; .*shard 2 is damaged .*: see verify"):
            read()
    np.testing.assert_array_equal(ds["angle"][24:], whole["angle"][24:])  # the others are read as ever
    assert store.verify(tmp_path / "set", repair=True, make_shard=make_cells, progress=False) == [2]
    assert_same(contents(tmp_path / "set"), whole)


def test_a_shard_is_compared_once(tmp_path, monkeypatch):
    ds, calls, digest = store.generate(tmp_path / "set", make_cells, **OPTIONS), [], store.digest
    monkeypatch.setattr(store, "digest", lambda arrays: calls.append(1) or digest(arrays))
    for _ in range(3):
        ds["angle"][:], ds["count"][3], ds["count"][20:30]
    assert len(calls) == 7


@pytest.mark.parametrize("file, keys, value", [
    ("zarr.json", ("attributes", "metanb", "n"), 10**12),
    ("zarr.json", ("attributes", "metanb", "n"), -50),
    ("zarr.json", ("attributes", "metanb", "n"), 50.0),
    ("zarr.json", ("attributes", "metanb", "shard_size"), 9),
    ("zarr.json", ("attributes", "metanb", "shard_size"), 0),
    ("zarr.json", ("attributes", "metanb", "seed"), -1),
    ("zarr.json", ("attributes", "metanb", "params"), []),
    ("zarr.json", ("attributes", "metanb", "make_shard"), 3),
    ("angle/zarr.json", ("shape", 0), 10),
    ("angle/zarr.json", ("shape", 1), 3),
    ("sha256/zarr.json", ("shape", 1), 33),
])
def test_a_record_that_cannot_be_is_refused_on_opening(tmp_path, file, keys, value):
    store.generate(tmp_path / "set", make_cells, **OPTIONS)
    record = entry = json.loads((tmp_path / "set" / file).read_text())
    for key in keys[:-1]:
        entry = entry[key]
    assert entry[keys[-1]] != value or isinstance(value, float)
    entry[keys[-1]] = value
    (tmp_path / "set" / file).write_text(json.dumps(record))
    for call in (store.open_dataset, store.verify, lambda path: store.open_dataset(path, partial=True)):
        with pytest.raises(ValueError, match="path is '.*set'; allowed: data sets whose zarr.json are whole.*verify"):
            call(tmp_path / "set")


@pytest.mark.parametrize("file", ["angle", "sha256"])
def test_an_array_that_says_it_is_longer(tmp_path, whole, file):
    store.generate(tmp_path / "set", make_cells, **OPTIONS)
    record = json.loads((tmp_path / "set" / file / "zarr.json").read_text())
    record["shape"][0] = 10**12
    (tmp_path / "set" / file / "zarr.json").write_text(json.dumps(record))
    assert_same(contents(tmp_path / "set"), whole)
    assert len(store.open_dataset(tmp_path / "set", partial=True)) == 50 and store.verify(tmp_path / "set", progress=False) == []


def shard_files(path: Path) -> dict[Path, int]:
    "Every file that belongs to one shard, and that shard's index."
    return {file: int(file.relative_to(path).parts[2]) for file in path.rglob("*") if file.is_file() and file.name != "zarr.json"}


def test_every_damaged_byte_costs_one_shard(tmp_path, whole):
    path = tmp_path / "set"
    store.generate(path, make_cells, **OPTIONS)
    files = shard_files(path)
    assert len(files) == 7 * 3
    for file, shard in files.items():
        intact = file.read_bytes()
        positions = random.sample(range(len(intact)), 4) + [0, len(intact) - 1]
        damaged = [intact[:p] + bytes([intact[p] ^ random.randrange(1, 256)]) + intact[p + 1:] for p in positions]
        for content in [*damaged, intact[: len(intact) // 2], b"", intact + b"x"]:
            file.write_bytes(content)
            found = store.verify(path, progress=False)
            if found == [] and content != intact:  # a byte that no reader looks at: the contents are whole
                assert_same(contents(path), whole)
            else:
                assert found == [shard], file
            file.write_bytes(intact)


def test_repair_restores_the_files_of_one_shard_only(tmp_path, whole):
    path = tmp_path / "set"
    store.generate(path, make_cells, **OPTIONS)
    for file, shard in shard_files(path).items():
        others = {f: f.stat().st_mtime_ns for f, s in shard_files(path).items() if s != shard}
        content = bytearray(file.read_bytes())
        content[len(content) // 3] ^= 0x10
        file.write_bytes(content)
        assert store.verify(path, repair=True, make_shard=make_cells, progress=False) == [shard]
        assert others == {f: f.stat().st_mtime_ns for f in others}
        assert store.verify(path, progress=False) == []
    assert_same(contents(path), whole)


def test_verify_finishes_what_is_missing(tmp_path, whole):
    path = tmp_path / "set"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        killed_at(patch, 11, after=True)
        store.generate(path, make_cells, **OPTIONS)
    assert store.verify(path, progress=False) == [2, 3, 4, 5, 6]
    store.verify(path, repair=True, make_shard=make_cells, progress=False)
    assert_same(contents(path), whole)


def test_a_function_that_gives_other_numbers_repairs_nothing(tmp_path):
    path = tmp_path / "set"
    store.generate(path, make_cells, **OPTIONS)
    file = path / "count" / "c" / "4"
    file.write_bytes(file.read_bytes()[:-1])

    def impostor(n, seed, delay=0.0):
        return make_cells(n, seed + 1)

    with pytest.raises(ValueError, match="make_shard is .*allowed: 'make_cells'"):
        store.verify(path, repair=True, make_shard=impostor, progress=False)
    impostor.__name__ = "make_cells"
    before = {f: f.read_bytes() for f in shard_files(path)}
    with pytest.raises(ValueError, match="does not reproduce shard 4"):
        store.verify(path, repair=True, make_shard=impostor, progress=False)
    assert before == {f: f.read_bytes() for f in shard_files(path)}


@pytest.mark.parametrize("name", ["zarr.json", "angle/zarr.json", "sha256/zarr.json"])
def test_damaged_metadata_is_a_clear_error(tmp_path, name):
    path = tmp_path / "set"
    store.generate(path, make_cells, **OPTIONS)
    file = path / name
    file.write_bytes(file.read_bytes()[:100])
    for call in (store.open_dataset, store.verify, lambda p: store.generate(p, make_cells, **OPTIONS)):
        with pytest.raises(ValueError, match="allowed: data sets whose zarr.json are whole"):
            call(path)


# ---------------------------------------------------------------- contents

def make_kinds(n: int, seed: int) -> dict[str, np.ndarray]:
    "Arrays of many types, with values that a careless store loses."
    x = np.random.default_rng(seed).normal(size=(n, 3))
    x[0] = -0.0, np.nan, np.inf
    return {"half": x.astype("f2"), "single": x.astype("f4"), "double": x, "big": x.astype(">f8"), "wave": x.astype(complex),
            "flag": x > 0, "byte": (x > 0).astype("u1"), "long": np.full((n, 2, 1, 2), 2**62 + seed % 97), "zero": np.full(n, -0.0)}


@pytest.mark.parametrize("n, shard_size", [(1, 1), (7, 100), (12, 4), (13, 4)])
def test_types_and_sizes(tmp_path, n, shard_size):
    ds = store.generate(tmp_path / "set", make_kinds, n=n, shard_size=shard_size, progress=False)
    assert len(ds) == n and ds.shards[-1].stop == n
    assert store.verify(tmp_path / "set", progress=False) == []
    for index, rows in enumerate(ds.shards):
        for key, a in make_kinds(shard_size, store.shard_seed(0, index)).items():
            assert ds[key].dtype == a.dtype.newbyteorder("<") and ds[key].shape == (n, *a.shape[1:])
            assert ds[key][rows].tobytes() == a[:rows.stop - rows.start].astype(ds[key].dtype).tobytes(), key


def test_shards_are_compressed_in_pieces(tmp_path):
    def make_voxels(n, seed):
        return {"solid": np.zeros((n, 64, 64, 64), np.uint8), "cell": np.zeros((n, 6, 6))}

    ds = store.generate(tmp_path / "set", make_voxels, n=48, shard_size=24, progress=False)
    assert ds.arrays["solid"].shards == (24, 64, 64, 64) and ds.arrays["solid"].chunks == (1, 64, 64, 64)
    assert ds.arrays["cell"].chunks == (24, 6, 6)


def make_uneven(n: int, seed: int, what: str) -> dict[str, np.ndarray]:
    "Shards that differ from the first in key, shape or type."
    if seed == store.shard_seed(5, 0):
        return {"a": np.zeros((n, 2))}
    return {"key": {"b": np.zeros((n, 2))}, "shape": {"a": np.zeros((n, 3))}, "type": {"a": np.zeros((n, 2), np.float32)}}[what]


@pytest.mark.parametrize("what", ["key", "shape", "type"])
def test_shards_must_agree(tmp_path, what):
    with pytest.raises(ValueError, match="a row of shard 1 is "):
        store.generate(tmp_path / "set", make_uneven, params={"what": what}, **OPTIONS)
    assert store.verify(tmp_path / "set", progress=False) == [1, 2, 3, 4, 5, 6]


def test_params_reach_the_function_as_they_are_stored(tmp_path):
    seen = []

    def make_shard(n, seed, **params):
        seen.append(params)
        return {"a": np.zeros(n)}

    ds = store.generate(tmp_path / "set", make_shard, n=1, shard_size=1, params={"size": (6, 6), "beta_max": 60}, progress=False)
    assert seen == [{"size": [6, 6], "beta_max": 60}] == [ds.attributes["params"]]


def test_read_only_folders(tmp_path, whole, monkeypatch):
    store.generate(tmp_path / "set", make_cells, **OPTIONS)
    (tmp_path / "empty").mkdir()
    monkeypatch.setattr(os, "access", lambda *args, **options: False)  # also where the tests run as root, who may write anywhere
    for path in (tmp_path / "empty", tmp_path / "new" / "set"):
        with pytest.raises(ValueError, match="path is .*allowed: a (folder|file) that can be written"):
            store.generate(path, make_cells, **OPTIONS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "set"]
    store.generate(tmp_path / "set", make_cells, **OPTIONS)  # finished: nothing to write
    assert_same(contents(tmp_path / "set"), whole)
    assert len(store.generate(tmp_path / "set", make_cells, **OPTIONS | {"n": 9})) == 9
    with pytest.raises(ValueError, match="path is .*allowed: a folder that can be written"):
        store.generate(tmp_path / "set", make_cells, **OPTIONS | {"n": 51})


@pytest.mark.parametrize("change, message", [
    (dict(n=True), "n is True"), (dict(n="9"), "n is '9'"), (dict(shard_size=0), "shard_size is 0"), (dict(seed=1.5), "seed is 1.5"),
    (dict(params=[1]), "params is "), (dict(params={"a": float("nan")}), "params is "), (dict(in_flight=0), "in_flight is 0"), (dict(executor="fast"), "executor is 'fast'")])
def test_bad_arguments_leave_nothing(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        store.generate(tmp_path / "new" / "set", make_cells, **{**OPTIONS, **change})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("result", [None, {}, [1], {"a b": np.zeros(8)}, {"a": [0.0] * 8}, {"a": np.float64(1)}, {"a": np.zeros(7)},
                                    {"a": np.array(["x"] * 8)}, {"a": np.zeros((1, 8))}, {"a": np.zeros((8, 0))}])
def test_bad_shards_leave_nothing(tmp_path, result):
    with pytest.raises(ValueError, match="make_shard"):
        store.generate(tmp_path / "new" / "set", lambda n, seed: result, **OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_unknown_key_lists_the_known_ones(tmp_path):
    ds = store.generate(tmp_path / "set", make_cells, **OPTIONS)
    with pytest.raises(KeyError, match="angle.*count"):
        ds["alpha"]


def test_a_data_set_travels_to_another_process(tmp_path, whole):
    ds = store.generate(tmp_path / "set", make_cells, **OPTIONS)
    with workers.processes(1) as pool:  # as the workers of a data loader do
        np.testing.assert_array_equal(pool.submit(ds.rows, "angle", [49, 0, 7]).result(), whole["angle"][[49, 0, 7]])


def _own(x):
    "The GPU of a worker, when both are at work."
    time.sleep(0.3)
    return workers._gpu


def test_each_worker_has_one_gpu_of_several(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with workers.processes(2) as pool:
        assert {*pool.map(_own, range(8))} == {0, 1}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with workers.processes(1) as pool:  # nothing to choose
        assert pool.submit(_own, 0).result() is None


def test_import_does_not_load_torch():
    code = "import sys, metanb.core.store as s; s.datasets(); print([m for m in ('torch', 'safetensors', 'nbdev', 'fastcore') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


# ---------------------------------------------------------------- weights

@pytest.fixture
def net():
    torch.manual_seed(0)
    return UNet(2, 1, 1, widths=(4, 8))


def assert_same_network(a, b):
    for (name, x), (other, y) in zip(a.state_dict().items(), b.state_dict().items(), strict=True):
        assert name == other and x.dtype == y.dtype and torch.equal(x, y)


def test_names_of_the_package(tmp_path, net, monkeypatch):
    monkeypatch.setattr(weights, "shipped_folder", lambda what: tmp_path / what)
    assert weights.weights() == []
    for name in ("kirigami/ddpm_60", "kirigami/ddpm_90", "truss/vae"):
        weights.save_pretrained(net, tmp_path / "weights" / name, {"title": name})
    assert weights.weights() == ["kirigami/ddpm_60", "kirigami/ddpm_90", "truss/vae"] and weights.weights("truss") == ["truss/vae"]
    assert weights.card("truss/vae")["title"] == "truss/vae"
    assert_same_network(net, weights.from_pretrained("kirigami/ddpm_60"))
    for call in (weights.from_pretrained, weights.card):
        with pytest.raises(ValueError, match="'kirigami/ddpm_61'.*kirigami/ddpm_60, kirigami/ddpm_90, truss/vae"):
            call("kirigami/ddpm_61")
    with pytest.raises(ValueError, match="space is 'voxel'.*kirigami, truss"):
        weights.weights("voxel")


def test_refused_saves_change_nothing(tmp_path, net, monkeypatch):
    folder = weights.save_pretrained(net, tmp_path / "net", {"version": 1})
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with torch.no_grad():
        next(net.parameters()).fill_(1e6)
    for bad, options in (({}, {"half": True}), ({"x": float("nan")}, {}), (None, {}), ({"x": object()}, {})):
        with pytest.raises(ValueError, match="half is True|card is"):
            weights.save_pretrained(net, folder, bad, **options)
        with pytest.raises(ValueError, match="half is True|card is"):
            weights.save_pretrained(net, tmp_path / "deep" / "er", bad, **options)
    assert before == {file.name: file.read_bytes() for file in folder.iterdir()}
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


@pytest.mark.parametrize("step", range(3))
def test_a_kill_leaves_the_old_weights_or_the_new(tmp_path, net, step):
    "A process ends before the first, second or third of the renames of a save; nothing of it is tidied up."
    folder = weights.save_pretrained(net, tmp_path / "net", {"version": 1})
    (folder / "README.md").write_text("mine")
    code = f"""
import os
import torch
from metanb.core import weights
rename, left = os.replace, [{step}]
def replace(a, b):
    if not left[0]: os._exit(9)
    left[0] -= 1
    rename(a, b)
os.replace = replace
net = weights.from_pretrained({str(folder)!r})
with torch.no_grad():
    for p in net.parameters(): p.fill_(2.0)
weights.save_pretrained(net, {str(folder)!r}, {{"version": 2}})
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 9
    version = weights.card(folder)["version"]
    assert version == (2 if step == 2 else 1)  # the card is the second
    loaded = weights.from_pretrained(folder)
    if version == 1:
        assert_same_network(net, loaded)
    else:
        assert all(torch.all(p == 2) for p in loaded.parameters())
    for left in [*folder.iterdir(), *folder.glob(".*/*")]:
        os.utime(left, (0, 0))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(ValueError, match="No space left on device"):
        patch.setattr("metanb.core.files.os.fsync", full)
        weights.save_pretrained(net, folder, {"version": 3})
    assert_same_network(loaded, weights.from_pretrained(folder))
    assert_same_network(net, weights.from_pretrained(weights.save_pretrained(net, folder, {"version": 3})))
    assert sorted(p.name for p in folder.iterdir()) == ["README.md", "card.json", "model.safetensors"]


def test_what_a_user_keeps_with_weights_stays(tmp_path, net):
    folder, link = weights.save_pretrained(net, tmp_path / "net", {}), tmp_path / "link"
    link.symlink_to(folder, target_is_directory=True)
    (folder / "notes").mkdir()
    (folder / "notes/thesis.tex").write_text("precious")
    weights.save_pretrained(net, link, {"version": 2})
    assert link.is_symlink() and weights.card(folder)["version"] == 2 and (folder / "notes/thesis.tex").read_text() == "precious"


def test_weights_that_version_03_moved_aside_come_back(tmp_path, net):
    folder = weights.save_pretrained(net, tmp_path / "net", {})
    folder.rename(tmp_path / ".net.123.old")  # and then it was killed
    assert_same_network(net, weights.from_pretrained(folder))
    assert [p.name for p in tmp_path.iterdir()] == ["net"]


def test_settings_that_differ_have_places_of_their_own():
    betas = (22, 22.5, 22.7, 22.70000001)
    from metanb.kirigami.train import weights_name

    names = [weights_name("ddpm", beta) for beta in betas]
    assert names == ["kirigami/ddpm_22", "kirigami/ddpm_22.5", "kirigami/ddpm_22.7", "kirigami/ddpm_22.70000001"]


def full(*args, **options):
    raise OSError(28, "No space left on device")


def writers():
    import trimesh

    from metanb.cellular.calculix import write_deck
    from metanb.core import files, plotting, printing, training
    from metanb.kirigami.design import export_dxf, export_svg
    from metanb.truss import export
    figure = __import__("matplotlib.figure").figure.Figure()
    truss = export.TrussGraph(np.eye(3)[:2], np.array([[0, 1]]), np.ones(1), np.ones(1))
    return {
        "a.svg": lambda path: export_svg(np.zeros((4, 4)), path), "a.dxf": lambda path: export_dxf(np.zeros((4, 4)), path),
        "a.stl": lambda path: printing.write_mesh(trimesh.creation.box(), path), "a.inp": lambda path: write_deck(np.eye(2, dtype=bool) | True, path),
        "a.json": lambda path: files.write_json(path, {}), "a.png": lambda path: plotting.save_figure(figure, path.parent, "a"),
        "a_nodes.csv": lambda path: export.write_csv(truss, path.parent, "a"), "a.vtu": lambda path: export.write_vtu(truss, path),
        "a.ckpt": lambda path: training.save_checkpoint(path, {"x": torch.ones(2)}, header={}),
    }


@pytest.mark.parametrize("name", writers())
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, name):
    path, write = tmp_path / name, writers()[name]
    write(path)
    assert path.stat().st_size > 0
    path.write_bytes(b"old")
    monkeypatch.setattr("metanb.core.files.os.fsync", full)
    with pytest.raises(ValueError, match=f"{name}.*allowed: a file that can be written.*No space left on device"):
        write(path)
    assert path.read_bytes() == b"old" and not list(tmp_path.glob(".*"))


def test_checkpoints_on_a_full_disk(tmp_path, monkeypatch):
    "safetensors has an error of its own for a disk."
    from safetensors import SafetensorError

    from metanb.core import training
    def fail(*args, **options):
        raise SafetensorError("I/O error: No space left on device (os error 28)")
    monkeypatch.setattr(training, "save_file", fail)
    with pytest.raises(ValueError, match="checkpoint is .*No space left"):
        training.save_checkpoint(tmp_path / "a.ckpt", {"x": torch.ones(2)}, header={})
    assert not list(tmp_path.iterdir())


def test_files_come_into_being_at_one_place():
    "Logs, which others write to, are the exceptions."
    plain = re.compile(r"""\.write_(text|bytes)\(|\bopen\([^)\n]*,\s*["'][wax]|\.savefig\((?!buffer)|np\.save\(""")
    found = [f"{path.parent.name}/{path.name}: {line.strip()}" for path in (ROOT / "metanb").glob("*/*.py") if path.name != "files.py"
             for line in path.read_text().splitlines() if plain.search(line) and "/ f\"{job}.log\"" not in line and '/ "log.txt"' not in line]
    assert found == []


def test_weights_are_replaced_and_other_folders_are_not(tmp_path, net):
    folder = weights.save_pretrained(net, tmp_path / "net", {"version": 1})
    assert weights.card(weights.save_pretrained(net, folder, {"version": 2}))["version"] == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex", tmp_path / "mine" / "thesis.tex" / "net"):
        with pytest.raises(ValueError, match="folder is "):
            weights.save_pretrained(net, place, {})
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["card.json", "mine", "model.safetensors", "net", "thesis.tex"]


def test_tied_and_strided_weights(tmp_path, net):
    kernels = [p for p in net.parameters() if p.ndim == 4 and p.shape[0] == p.shape[1]]
    kernels[0].data = kernels[0].data.transpose(0, 1)
    twin = next(p for p in kernels[1:] if p.shape == kernels[0].shape)
    twin.data = kernels[0].data
    assert not kernels[0].is_contiguous()
    assert_same_network(net, weights.from_pretrained(weights.save_pretrained(net, tmp_path / "net", {})))


def test_every_damaged_weights_file_is_named(tmp_path, net):
    folder = weights.save_pretrained(net, tmp_path / "net", {})
    file = folder / "model.safetensors"
    intact = file.read_bytes()
    for content in (intact[:-1], intact[:7], b"", intact[:-1] + bytes([intact[-1] ^ 1]), b"\x80\x04." + intact):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="model.safetensors.*missing, truncated or damaged"):
            weights.from_pretrained(folder)
    file.unlink()
    with pytest.raises(ValueError, match="model.safetensors.*missing"):
        weights.from_pretrained(folder)


def test_no_pickle_is_ever_read(tmp_path, net):
    folder = weights.save_pretrained(net, tmp_path / "net", {})
    torch.save(net.state_dict(), folder / "model.safetensors")
    facts = json.loads((folder / "card.json").read_text())
    facts["sha256"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="model.safetensors"):
        weights.from_pretrained(folder)


def test_a_missing_device_is_refused(tmp_path, net):
    folder = weights.save_pretrained(net, tmp_path / "net", {})
    assert next(weights.from_pretrained(folder, "auto").parameters()).device.type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="abacus"):
        weights.from_pretrained(folder, "abacus")


def test_the_folder_may_move(tmp_path, net):
    folder = weights.save_pretrained(net, tmp_path / "net", {})
    shutil.move(folder, tmp_path / "elsewhere")
    assert_same_network(net, weights.from_pretrained(tmp_path / "elsewhere"))
