"Data sets and weights of version 0.1 under the names of version 0.2: on copies, every shard and every weight as it was."
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from metanb.core import store, weights
from metanb.core.unet import UNet

SCRIPT = Path(__file__).resolve().parents[1] / "tools/migrate_02.py"
pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs the checkout, not only the package")


@pytest.fixture
def tool():
    "The script as a module."
    spec = importlib.util.spec_from_file_location("migrate_02", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_shard(n, seed, **params):
    "What a space of version 0.1 might have stored."
    return {"octant": np.random.default_rng(seed).integers(0, 255, (n, 8), dtype=np.uint8)}


OLD = {"voxel": {"size": 16, "stage_steps": 15, "low": 0.05}, "cellular": {"pixels": 24, "max_strain": 0.2, "frames": [0.5, 1.0]}}
NEW = {"voxel": {"octant": 16, "stage_steps": 15, "low": 0.05}, "cellular": {"quarter": 24, "max_strain": 0.2, "frames": [0.5, 1.0]}}


def contents(path):
    "All files of a data set but the record."
    return {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file() and file != path / "zarr.json"}


@pytest.mark.parametrize("space", ["voxel", "cellular"])
def test_only_the_record_changes(tool, tmp_path, space):
    ds = store.generate(tmp_path / "set", make_shard, n=20, shard_size=6, seed=3, params=OLD[space], progress=False)
    packed = store.pack_dataset(ds.path, tmp_path / "set.zip")
    before, rows = contents(ds.path), ds["octant"][:]
    assert tool.migrate([tmp_path], only="truss") == []
    assert tool.migrate([tmp_path], dry_run=True) == [ds.path, packed] and store.open_dataset(packed).attributes["params"] == OLD[space]
    assert tool.migrate([tmp_path]) == [ds.path, packed]
    for path in (ds.path, packed):
        found = store.open_dataset(path)
        assert found.attributes["params"] == NEW[space] and store.verify(path, progress=False) == []
        assert np.array_equal(found["octant"][:], rows)
    assert contents(ds.path) == before
    assert packed.read_bytes() == store.pack_dataset(ds.path, tmp_path / "again.zip").read_bytes()
    assert tool.migrate([tmp_path]) == []  # once is enough
    again = store.generate(ds.path, make_shard, n=20, shard_size=6, seed=3, params=NEW[space], progress=False)
    assert np.array_equal(again["octant"][:], rows)  # and the new names find it


def test_other_sets_are_left_alone(tool, tmp_path):
    params = {"size": 6, "sweeps": 30, "beta_max": 60.0}  # kirigami: size stays the cuts per side
    store.generate(tmp_path / "set", make_shard, n=4, shard_size=4, params=params, progress=False)
    (tmp_path / "half").mkdir()
    (tmp_path / "half/zarr.json").write_text("{")
    (tmp_path / "notes.zip").write_text("no zip")
    before = contents(tmp_path)
    assert tool.migrate([tmp_path]) == [] and contents(tmp_path) == before


def test_a_damaged_set_is_not_touched(tool, tmp_path):
    ds = store.generate(tmp_path / "set", make_shard, n=20, shard_size=6, params=OLD["cellular"], progress=False)
    file = next(place for place in (ds.path / "octant/c").rglob("*") if place.is_file())
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match="are damaged"):
        tool.migrate([tmp_path])
    assert store.open_dataset(ds.path).attributes["params"] == OLD["cellular"]


def test_cards_name_the_new_class(tool, tmp_path, monkeypatch):
    net = UNet(1, 1, 1, widths=(4, 8))
    folder = weights.save_pretrained(net, tmp_path / "net", {"title": "a net"})
    card = json.loads((folder / "card.json").read_text())
    old = card | {"model": "core.old.Net", "config": {"breadths" if k == "widths" else k: v for k, v in card["config"].items()}}
    (folder / "card.json").write_text(json.dumps(old))
    monkeypatch.setitem(tool.CLASSES, "core.old.Net", "core.unet.UNet")
    monkeypatch.setitem(tool.ARGUMENTS, "core.unet.UNet", {"breadths": "widths"})
    assert tool.migrate([tmp_path]) == [folder / "card.json"] and tool.migrate([tmp_path]) == []
    assert weights.card(folder) == card
    for a, b in zip(net.parameters(), weights.from_pretrained(folder).parameters(), strict=True):
        assert torch.equal(a, b)


def test_tensors_have_new_names(tool, tmp_path, monkeypatch):
    net = UNet(1, 1, 1, widths=(4, 8))
    folder = weights.save_pretrained(net, tmp_path / "net", {"title": "a net"})
    file, card = folder / "model.safetensors", json.loads((folder / "card.json").read_text())
    first = next(iter(net.state_dict())).split(".")[0] + "."
    whole = tool.with_names(file.read_bytes(), {first: "old."})
    file.write_bytes(whole)
    old = card | {"sha256": tool.hashlib.sha256(whole).hexdigest()}
    (folder / "card.json").write_text(json.dumps(old))
    monkeypatch.setitem(tool.TENSORS, card["model"], {"old.": first})
    assert tool.migrate([tmp_path], dry_run=True) == [folder / "card.json"] and file.read_bytes() == whole

    def cut_off(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tool, "write_json", cut_off)  # between the weights and their card
        tool.migrate([tmp_path])
    assert file.read_bytes() != whole and json.loads((folder / "card.json").read_text()) == old
    assert tool.migrate([tmp_path]) == [folder / "card.json"] and tool.migrate([tmp_path]) == []
    for a, b in zip(net.parameters(), weights.from_pretrained(folder).parameters(), strict=True):
        assert torch.equal(a, b)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="allowed: cards whose weights are whole"):
        tool.migrate([tmp_path])


def test_a_folder_that_is_missing_is_refused(tool, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        tool.main([str(tmp_path / "nowhere")])
    assert end.value.code == 2 and "FOLDER is" in capsys.readouterr().err


def test_what_is_shipped_is_migrated(tool):
    "Nothing of version 0.1 is left in the package."
    assert tool.migrate([tool.shipped_folder("datasets"), tool.shipped_folder("weights")], dry_run=True) == []


def test_every_new_class_exists(tool):
    for path in [*tool.CLASSES.values(), *tool.ARGUMENTS, *tool.TENSORS]:
        weights._model_class(path)
