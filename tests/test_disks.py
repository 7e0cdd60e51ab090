"""Every command on a disk that is full, and on one that is mounted read-only: one line, exit code 2, and what was there is whole.

The disks are real and small. Where mounting is not allowed, the tests are skipped; those with pretended errors are in the other files.
"""

import shutil
import subprocess
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from metanb.core import store
from metanb.core.runs import main
from shards import make_cells

OPTIONS = dict(n=50, shard_size=8, seed=5, progress=False)


@contextmanager
def mounted(place, *options):
    "A mounted folder; skips the test where the system says no."
    place.mkdir()
    done = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip() if done else 'no mount'}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture(autouse=True)
def own_data(tmp_path, monkeypatch):
    "What a training learns from is made beside the disk."
    monkeypatch.setenv("METANB_DATA", str(tmp_path / "data"))


@pytest.fixture
def full(tmp_path):
    "A disk with 8 kB to spare, and what makes room on it."
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=200k", "tmpfs") as disk:
        (disk / "filler").write_bytes(bytes(192 * 1024))
        yield disk, lambda: subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)


@pytest.fixture
def frozen(tmp_path):
    "A folder that is mounted read-only, for the administrator, too."
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "old.npz").write_bytes(b"old")
    with ExitStack() as stack:
        disk = stack.enter_context(mounted(tmp_path / "disk", "--bind", str(tmp_path / "source")))
        done = subprocess.run(["mount", "-o", "remount,ro,bind", str(disk)], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting read-only is not allowed here: {done.stderr.strip()}")
        yield disk


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return store.generate(tmp_path_factory.mktemp("sets") / "set", make_cells, **OPTIONS | {"n": 2000, "shard_size": 1000}).path


COMMANDS = {  # what is written, and by what
    "data": ("sets", ["data", "kirigami", "--preset", "test", "--beta-max", "60", "--n", "400", "--sweeps", "1", "--shard-size", "200", "--out"]),
    "npz": ("set.npz", ["export", "SET"]), "zip": ("set.zip", ["export", "SET"]), "parquet": ("hub", ["export", "SET"]),
    "run": ("run", ["run", "kirigami_claims", "--preset", "test", "--out"]), "train": (
        "weights", ["train", "kirigami", "--model", "vae", "--beta-max", "60", "--preset", "test", "--steps", "1", "--n", "8", "--out"]),
}


def asked(name, disk, cells) -> list[str]:
    "The words of a command that writes to a disk."
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="the extra hub is not installed")
    target, words = COMMANDS[name]
    return [str(cells) if word == "SET" else word for word in words] + [str(disk / target)]


def refused(arguments, capsys) -> str:
    "The one line that a command ends with; progress bars may stand before it."
    with pytest.raises(SystemExit) as end:
        main(arguments)
    text = capsys.readouterr().err
    assert end.value.code == 2 and "Traceback" not in text
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip() and "shard" not in line.split("metanb: ")[0]]
    assert len(lines) == 1 and lines[0].split("metanb: ")[0].strip() == "", lines
    return lines[0]


@pytest.mark.parametrize("name", ["npz", "zip", "parquet"])
def test_a_full_disk(full, cells, capsys, name):
    disk, make_room = full
    arguments = asked(name, disk, cells)
    if name != "parquet":
        (disk / COMMANDS[name][0]).write_bytes(b"old")
    before = {path.name for path in disk.iterdir()}
    line = refused(arguments, capsys)
    assert "No space left on device" in line and str(disk) in line
    assert {path.name for path in disk.iterdir()} == before and all(path.read_bytes() == b"old" for path in disk.glob("set.*"))
    make_room()
    main_ends(arguments)
    assert (disk / COMMANDS[name][0]).stat().st_size > 3


def main_ends(arguments) -> None:
    try:
        main(arguments)
    except SystemExit as end:
        assert not end.code


def test_a_data_set_on_a_full_disk_goes_on_where_there_is_room(full, cells, capsys, tmp_path):
    "Its whole shards stay, and nothing else."
    disk, make_room = full
    line = refused(asked("data", disk, cells), capsys)
    assert "No space left on device" in line and not [path for path in disk.rglob("*") if ".part" in path.name]
    make_room()
    main_ends(asked("data", disk, cells))
    main_ends(asked("data", tmp_path, cells))
    made, other = ([path for path in (place / "sets").iterdir() if path.is_dir()] for place in (disk, tmp_path))
    assert len(made) == len(other) == 1 and not store.verify(made[0], progress=False)
    np.testing.assert_array_equal(store.open_dataset(made[0])["alpha"][:], store.open_dataset(other[0])["alpha"][:])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_read_only_disk(frozen, cells, capsys, name):
    line = refused(asked(name, frozen, cells), capsys)
    assert str(frozen) in line and ("ead-only" in line or "a folder that can be written to" in line)
    assert [path.name for path in frozen.iterdir()] == ["old.npz"]
