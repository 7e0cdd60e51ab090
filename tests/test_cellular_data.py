"Data sets of compressed cells: the error of stored fields, interruption, bad input, the command."
import inspect
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from metanb.cellular import data
from metanb.cellular.design import random_designs
from metanb.cellular.mechanics import compress
from metanb.cellular.result import ENERGIES, CompressionResult
from metanb.cellular.settings import FRAMES, Loading, Marching, Meshing
from metanb.core.runs import main
from metanb.core.store import generate, open_dataset, pack_dataset, shard_seed, verify
from metanb.core.workers import processes

SMALL = dict(preset="test", n=7, quarter=5, shard_size=2, seed=3, progress=False)


def answer(designs, *, max_strain, frames, **settings) -> CompressionResult:
    "A stand-in for the solver where storage is tested: numbers that follow from the designs, of which the first fails."
    rng = np.random.default_rng(np.packbits(designs))
    n, ny, nx = designs.shape
    shape = (n, len(frames))

    def field():
        return np.where(designs[:, None], rng.normal(size=(*shape, ny, nx)), 0).astype(np.float32)
    broken = np.arange(n) == 0
    result = CompressionResult(
        strain=np.array(frames) * max_strain, **{name: rng.random(shape) for name in data.CURVES}, **{name: field() for name in data.FIELDS},
        energies={name: rng.random(shape) for name in ENERGIES}, penetration=rng.random(n), min_jacobian=rng.random(n),
        steps=rng.integers(1000, 9000, n), repeats=rng.integers(0, 2, n), snapped=rng.random(shape) < 0.1,
        flags={name: broken & (name in ("unfinished", "kinetic")) for name in data.FLAGS})
    for values in (result.stress, *(getattr(result, name) for name in data.FIELDS)):
        values[0, -2:] = np.nan
    return result


def contents(path) -> dict[str, np.ndarray]:
    ds = open_dataset(path)
    return {key: ds[key][:] for key in ds.keys()}


def assert_same(a, b) -> None:
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key])


SHORT = dict(max_strain=0.2, frames=[0.01, 0.025, 0.05], repeats=0, compiled=False, device="cpu")  # 1 %: seconds


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A small set by the real solver in a process of its own, and what is printed meanwhile."
    lines = []
    with pytest.MonkeyPatch.context() as patch, processes(1) as pool:
        patch.setattr(data.tqdm, "write", lambda text, **options: lines.append(text))
        settings = dict(preset="test", n=2, quarter=5, shard_size=2, seed=4, progress=False) | SHORT
        ds = data.dataset(folder=tmp_path_factory.mktemp("sets"), executor=data.Reporting(pool), **settings)
    assert len(lines) == 1 and lines[0].endswith("2/2 since the start")
    return ds


# ---------------------------------------------------------------- fields

@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e6])
@pytest.mark.parametrize("offset", [0.0, -3.0])
@pytest.mark.parametrize("shape", [(4, 4), (3, 9), (17, 5)])
def test_error_is_half_a_step(scale, offset, shape):
    rng = np.random.default_rng(7)
    solid = rng.random((5, *shape)) < 0.6
    solid[0], solid[1], solid[:, 0, 0] = True, False, True
    field = np.where(solid[:, None], scale * (offset + rng.normal(size=(5, 3, *shape))), 0).astype(np.float32)
    packed, limits = data.quantise(field, solid)
    back = data.restore(packed, limits, solid)
    bound = np.ptp(limits, axis=-1)[..., None, None] / 510 + 1e-6 * np.abs(limits).max()  # half a step, and rounding of 32-bit floats
    error = np.abs(back - field)
    assert packed.dtype == np.uint8 and np.all(error <= bound)
    assert np.all(back[np.broadcast_to(~solid[:, None], back.shape)] == 0)
    # the extreme values come back exactly, and a level less would not reach the bound
    assert np.allclose(back.max((2, 3))[0], field.max((2, 3))[0], rtol=1e-6) and error[0].max() > 0.4 * np.ptp(limits[0], axis=-1).max() / 255


def test_constant_fields_come_back_exactly():
    solid = np.ones((1, 4, 4), bool)
    field = np.full((1, 2, 4, 4), 0.3, np.float32)
    assert np.array_equal(data.restore(*data.quantise(field, solid), solid), field)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_frame_that_is_not_finite_is_nan_and_leaves_the_others_alone(value):
    rng = np.random.default_rng(8)
    solid = rng.random((2, 6, 6)) < 0.7
    field = np.where(solid[:, None], rng.normal(size=(2, 4, 6, 6)), 0).astype(np.float32)
    spoilt = field.copy()
    spoilt[1, 2][solid[1]] = np.where(np.arange(solid[1].sum()) == 3, value, 1.0)  # one pixel of one frame
    back, whole = (data.restore(*data.quantise(f, solid), solid) for f in (spoilt, field))
    assert np.isnan(back[1, 2]).all()
    back[1, 2] = whole[1, 2]
    assert np.array_equal(back, whole)


def test_the_solver_comes_back_within_the_stated_error(made):
    held = data.load(made)
    designs = random_designs(2, shard_seed(4, 0), quarter=5)
    result = compress(designs, **SHORT)
    assert np.array_equal(held.designs(), designs) and np.allclose(held.strain, result.strain)
    assert set(result.flags) == set(data.FLAGS) and set(result.energies) == set(ENERGIES)
    for name in data.CURVES:
        assert np.array_equal(getattr(held, name), getattr(result, name).astype(np.float32), equal_nan=True)
    for name in data.FIELDS:
        exact, bound = getattr(result, name), held.field_error(name)
        assert np.all(np.abs(held.field(name) - exact).max((2, 3)) <= bound * (1 + 1e-4) + 1e-9)
        untouched = name == "contact22" and not exact.any()  # so early no walls meet
        assert untouched or 0 < bound.max() < 0.01 * np.abs(exact).max()
        assert np.array_equal(held.field(name, slice(1, 2)), held.field(name)[1:2])
    for name, flag in result.flags.items():
        assert np.array_equal(held.flags[name], flag)
    for name in ENERGIES:
        assert np.array_equal(held.energies[name], result.energies[name].astype(np.float32))
    assert np.array_equal(held.passed, result.passed) and np.array_equal(held.steps, result.steps)


def test_what_contact_carries_through_voids_is_stored(monkeypatch, tmp_path):
    everywhere = np.random.default_rng(9).normal(size=(2, 3, 10, 10)).astype(np.float32)
    monkeypatch.setattr(data, "compress", lambda designs, **settings: replace(answer(designs, max_strain=0.2, frames=(0.1, 0.2, 0.3)), contact22=everywhere))
    held = data.load(data.dataset(folder=tmp_path, **SMALL | {"n": 2}, frames=(0.1, 0.2, 0.3)))
    assert not held.designs().all()
    assert np.all(np.abs(held.field("contact22") - everywhere).max((2, 3)) <= held.field_error("contact22") * 1.001)


def test_sets_of_version_0_2_are_read(tmp_path):
    "They hold neither P22 nor what contact carries nor snaps, and other rules."
    shape, rng = (3, 4, 100), np.random.default_rng(0)
    solid = rng.random((3, 10, 10)) < 0.6
    names = ("u1", "u2", "sigma22", "plastic_strain")
    field = {name: np.where(solid[:, None], rng.normal(size=(3, 4, 10, 10)), 0) for name in names}

    def make_shard(n, seed, **params):
        packed = {name: data.quantise(value, solid) for name, value in field.items()}
        return {"design": np.packbits(solid, axis=-1), **{name: levels for name, (levels, _) in packed.items()},
                "limits": np.stack([limits for _, limits in packed.values()], 1), **{name: np.ones(shape[:2], np.float32) for name in data.CURVES},
                "energies": np.ones((3, 8, 4), np.float32), "flags": np.eye(3, 7, 4, dtype=bool),
                **{name: np.ones(3, kind) for name, kind in data.NUMBERS.items()}}
    params = {"quarter": 5, "max_strain": 0.2, "frames": [0.25, 0.5, 0.75, 1.0], "platens": "attached"}
    held = data.load(generate(tmp_path / "old", make_shard, n=3, shard_size=3, seed=0, params=params, progress=False))
    assert held.fields == names and "penalty" in held.flags and "contact" in held.energies and held.snapped is None
    assert held.flags["penalty"].tolist() == [True, False, False] and held.flags["damping"].tolist() == [False, True, False]
    for name in names:
        assert np.all(np.abs(held.field(name) - field[name]).max((2, 3)) <= held.field_error(name) * 1.001)
    with pytest.raises(ValueError, match="name is 'P22'; allowed: u1, u2, sigma22, plastic_strain"):
        held.field("P22")
    assert data.statistics(held)["snapped"] is None


def test_a_copy_with_some_fields_is_read(made, tmp_path):
    held = data.load(made)
    keys = [key for key in held.dataset.keys() if key not in ("sigma22", "u1")]
    few = data.load(pack_dataset(held.dataset.path, tmp_path / "few.zip", keys=keys))
    assert few.fields == ("u2", "P22", "contact22", "plastic_strain")
    for name in few.fields:
        assert np.array_equal(few.field(name), held.field(name))
    with pytest.raises(ValueError, match="name is 'sigma22'; allowed: u2, P22, contact22, plastic_strain"):
        few.field_error("sigma22")


@pytest.mark.parametrize("quarter, n, shard", [(24, 256, 32), (12, 640, 128)])
def test_the_shipped_sets(quarter, n, shard):
    held = data.initial_data(quarter=quarter)
    assert len(held) == n and held.pixels == 2 * quarter and held.fields == data.FIELDS and held.passed.mean() >= 0.97
    assert np.array_equal(held.designs(slice(0, shard)), random_designs(shard, shard_seed(0, 0), quarter=quarter))
    facts = data.statistics(held)
    assert facts == json.loads(held.dataset.path.with_name(f"{held.dataset.path.stem}_statistics.json").read_text())
    carried = -(held.field("P22", slice(0, 8)) + held.field("contact22", slice(0, 8))).mean(-1)  # (8, F, ny)
    step = (held.field_error("P22", slice(0, 8)) + held.field_error("contact22", slice(0, 8)))[..., None]
    apart = np.abs(carried - held.stress[:8, :, None])[:, 1:]
    assert np.all(apart <= 0.03 * held.stress[:8, 1:, None] + step[:, 1:])


# ---------------------------------------------------------------- sets

def test_flagged_designs_stay(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "compress", answer)
    held = data.load(data.dataset(folder=tmp_path, **SMALL))
    assert len(held) == 7 and held.passed.tolist() == [False, True] * 3 + [False]
    assert np.isnan(held.stress[0, -2:]).all() and np.isnan(held.field("u1")[0, -2:]).all() and np.isfinite(held.field("u1")[:, :-2]).all()
    facts = data.statistics(held)
    assert facts["n"] == 7 and facts["passed"] == 3 / 7 and facts["flags"]["kinetic"] == 4 / 7 and facts["flags"]["damping"] == 0
    assert np.allclose(facts["stress"][2], np.median(held.stress[held.passed], axis=0))
    assert facts["relative_density"]["mean"] == pytest.approx(held.designs().mean())
    json.dumps(facts, allow_nan=False)


def test_resumed_is_the_same_as_uninterrupted(monkeypatch, tmp_path):
    calls = []

    def interrupted(designs, **settings):
        if len(calls) == stop:
            raise KeyboardInterrupt
        calls.append(len(designs))
        return answer(designs, **settings)
    monkeypatch.setattr(data, "compress", interrupted)
    stop = None
    whole = contents(data.dataset(folder=tmp_path / "whole", **SMALL).path)
    for stop in range(4):
        calls.clear()
        folder = tmp_path / str(stop)
        with pytest.raises(KeyboardInterrupt):
            data.dataset(folder=folder, **SMALL)
        stop, before = None, len(calls)
        path = data.dataset(folder=folder, **SMALL).path
        assert calls == [2] * 4, f"a shard was computed twice or not at all after {before}"
        assert_same(contents(path), whole)
        assert verify(path, progress=False) == []
    calls.clear()
    data.dataset(folder=folder, **SMALL)
    assert not calls, "a finished set is not computed again"


def test_any_executor_and_one_seed(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "compress", answer)
    first = contents(data.dataset(folder=tmp_path / "a", **SMALL).path)
    with ThreadPoolExecutor(3) as pool:
        assert_same(contents(data.dataset(folder=tmp_path / "b", executor=data.Reporting(pool), **SMALL).path), first)
    ds = data.dataset(folder=tmp_path / "a", **SMALL)
    for index, rows in enumerate(ds.shards):
        shard = data.make_shard(2, shard_seed(3, index), **ds.attributes["params"])
        for key in shard:
            np.testing.assert_array_equal(shard[key][:rows.stop - rows.start], first[key][rows])
    other = contents(data.dataset(folder=tmp_path / "a", **SMALL | {"seed": 4}).path)
    assert not np.array_equal(other["design"], first["design"])


def test_a_damaged_shard_is_found_and_computed_again(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "compress", answer)
    path = data.dataset(folder=tmp_path, **SMALL).path
    whole = contents(path)
    file = next(p for p in sorted((path / "u1").rglob("*")) if p.is_file() and p.name != "zarr.json")
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x10
    file.write_bytes(content)
    assert len(verify(path, repair=True, make_shard=data.make_shard, progress=False)) == 1
    assert_same(contents(path), whole)


def test_what_a_shard_prints(monkeypatch, tmp_path):
    lines = []
    monkeypatch.setattr(data, "compress", answer)
    monkeypatch.setattr(data.tqdm, "write", lambda text, **options: lines.append(text))
    with ThreadPoolExecutor(1) as pool:
        data.dataset(folder=tmp_path, executor=data.Reporting(pool), **SMALL)
    assert lines[0] == "1/2 passed, 1/2 since the start (flagged: unfinished 1, kinetic 1)" and "4/8 since the start" in lines[-1]


# ---------------------------------------------------------------- command and bad input

def test_finished_shards_can_be_looked_at(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "compress", answer)
    ds = data.dataset(folder=tmp_path, **SMALL)
    whole = data.load(ds)
    (ds.path / "sha256" / "c" / "1" / "0").unlink()
    with pytest.raises(ValueError, match="1 of 4 shards are missing"):
        data.load(ds.path)
    part = data.load(ds.path, partial=True)
    rows = [0, 1, 4, 5, 6]
    assert data.statistics(part)["n"] == len(part) == 5 and data.statistics(part)["bytes_per_design"] > 0
    assert np.array_equal(part.designs(), whole.designs()[rows]) and np.array_equal(part.stress, whole.stress[rows], equal_nan=True)
    assert np.array_equal(part.field("u2", slice(1, 4)), whole.field("u2")[[1, 4, 5]], equal_nan=True)


def test_command_writes_set_and_statistics(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(data, "compress", answer)  # in a thread, where the stand-in is known; processes are tested above
    monkeypatch.setattr(data, "workers", lambda scheduler, jobs: ThreadPoolExecutor(jobs))
    monkeypatch.setattr(data.tqdm, "write", lambda text, **options: None)
    with pytest.raises(SystemExit) as end:
        main(["data", "cellular", "--preset", "test", "--n", "3", "--quarter", "5", "--shard-size", "2", "--max-strain", "0.05", "--seed", "4", "--out", str(tmp_path)])
    assert end.value.code == 0
    path = tmp_path / "cellular_10x10_attached_shard2_seed4"
    held, facts = data.load(path), json.loads(Path(f"{path}_statistics.json").read_text())
    assert f"{path}: 3 designs" in capsys.readouterr().out
    assert facts["n"] == 3 and facts["pixels"] == 10 and facts["passed"] == held.passed.mean() == 1 / 3
    assert facts["bytes_per_design"] > 500 and len(facts["stress"][0]) == len(FRAMES) == len(facts["strain"]) and facts["strain"][-1] == 0.05


def test_pictures_show_every_design(made):
    curves, points = data.draw_responses(data.load(made)).axes
    assert len(curves.lines) == 2 + 3 and len(points.collections[0].get_offsets()) == 2


def test_settings_are_those_of_the_functions_that_take_them():
    known = {field.name for part in (Loading, Meshing, Marching) for field in fields(part)} | set(inspect.signature(random_designs).parameters)
    of_dataset = set(data.FURTHER) | set(inspect.signature(data.dataset).parameters)
    assert set(data.FURTHER) <= known and known - of_dataset == {"dtype", "min_contact", "threshold"}


@pytest.mark.parametrize("change, words", [
    (dict(preset="huge"), ["preset", "huge", "test, demo, paper"]), (dict(n=0), ["n is 0", "at least 1"]), (dict(shard_size=0), ["shard_size is 0"]),
    (dict(quarter=2), ["quarter", "2"]), (dict(seed=-1), ["seed is -1"]), (dict(t_max=9), ["t_max", "9"]), (dict(colour=1), ["colour", "friction"]),
    (dict(platens="glued"), ["platens", "glued", "lubricated"]), (dict(max_strain=0.7), ["max_strain", "0.7", "0.5"]), (dict(friction=-1), ["friction", "-1"]),
    (dict(frames=(0.5, 0.2)), ["frames", "increasing"]), (dict(device="abacus"), ["device", "abacus"]), (dict(executor="pool"), ["executor", "pool"])])
def test_bad_settings_are_named_and_leave_nothing(tmp_path, change, words):
    with pytest.raises(ValueError) as error:
        data.dataset(folder=tmp_path / "new", **SMALL | change)
    assert all(word in str(error.value) for word in words), error.value
    assert not (tmp_path / "new").exists()


def test_other_bad_input(made, monkeypatch, tmp_path, capsys):
    held = data.load(made)
    for call, words in ((lambda: held.field("u3"), ["u3", "u1, u2, P22"]), (lambda: data.load(tmp_path), [str(tmp_path), "a data set of metanb"]),
                        (lambda: data.statistics(held, quantiles=(0.5, 2)), ["quantiles", "[0, 1]"])):
        with pytest.raises(ValueError) as error:
            call()
        assert all(word in str(error.value) for word in words), error.value
    designs = np.ones((1, 4, 4), bool)
    with pytest.raises(ValueError, match="allowed: unfinished"):
        data.encode(designs, replace(answer(designs, max_strain=0.2, frames=FRAMES), flags={"tired": np.zeros(1, bool)}))
    monkeypatch.setattr(data, "compress", answer)
    data.dataset(folder=tmp_path, **SMALL)
    with pytest.raises(ValueError, match="max_strain"):
        data.dataset(folder=tmp_path, max_strain=0.1, **SMALL)
    data.dataset(folder=tmp_path, device="cpu", **SMALL)  # wherever it is computed, it is the same set
    from metanb.kirigami.data import dataset as kirigami
    with pytest.raises(ValueError, match="compressed cells"):
        data.load(kirigami(beta_max=60, preset="test", n=4, sweeps=1, shard_size=4, folder=tmp_path, progress=False).path)
    for arguments, word in ((["--jobs", "0"], "jobs"), (["--preset", "huge"], "preset")):
        with pytest.raises(SystemExit) as end:
            main(["data", "cellular", *arguments, "--out", str(tmp_path)])
        assert end.value.code == 2 and word in capsys.readouterr().err
