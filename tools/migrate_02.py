"""Carry data sets and weights of version 0.1 over to the names of version 0.2.

    python tools/migrate_02.py                  # what comes with the package, and the data sets of this user
    python tools/migrate_02.py FOLDER [...]     # data sets and weights below folders
    python tools/migrate_02.py --only voxel     # of one space
    python tools/migrate_02.py --dry-run        # only say what would be done

Only names change: parameters in the record of a data set, class paths and arguments on a card. Every shard is compared with its digest before and
after, the weights with the SHA-256 of their card. What is migrated already is left alone, so the script may be run again.
"""

import argparse
import hashlib
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import zarr
from safetensors.torch import load, save_file

from metanb.core.files import data_root, read_json, shipped_folder, write_file, write_json
from metanb.core.store import DIGEST, open_dataset, pack_dataset, verify


@dataclass(frozen=True)
class Renamed:
    "Parameters that have new names in the records of a space; `known_by` are those by which a record of version 0.1 is recognised."
    space: str
    known_by: frozenset
    names: dict


# ---------------------------------------------------------------- the tables; a space adds its lines here

SETS = (
    Renamed("cellular", frozenset({"pixels", "max_strain"}), {"pixels": "quarter"}),
    Renamed("voxel", frozenset({"size", "stage_steps"}), {"size": "octant"}),
)
CLASSES = {  # path of a class on a card: its new path
    "truss.model.AffineForward": "truss.forward.AffineForward",
    "truss.model.BlackBox": "truss.forward.BlackBox",
    "truss.model.ForwardModel": "truss.forward.ForwardModel",
}
ARGUMENTS = {  # new path of a class: old name of an argument of its constructor: new name
}
TENSORS = {  # new path of a class: old beginning of the name of a tensor: new one
    "kirigami.model.DDPM": {"unet.": "network."},
}


# ---------------------------------------------------------------- data sets

def new_record(record: dict, only: str | None = None) -> dict:
    "The record of a data set with new names; the same where nothing changes."
    params = record["params"]
    for renamed in SETS:
        if only in (None, renamed.space) and renamed.known_by <= params.keys():
            params = {renamed.names.get(name, name): value for name, value in params.items()}
    return record | {"params": params}


def digests(path: Path) -> bytes:
    "The digests of a data set, after a look at every shard."
    if damaged := verify(path, progress=False):
        raise ValueError(f"path is {str(path)!r}; allowed: data sets that are whole; shards {damaged} are damaged")
    place = zarr.storage.ZipStore(Path(path).absolute()) if Path(path).is_file() else path
    return zarr.open_group(place, mode="r")[DIGEST][:].tobytes()


def migrate_set(path: Path, only: str | None = None, dry_run: bool = False) -> bool:
    "Give the record of a data set, a folder or a packed one, its new names; whether there was something to do."
    try:
        record = open_dataset(path).attributes
    except ValueError:
        return False  # unfinished or another's: the call that goes on with it says so
    if new_record(record, only) == record or dry_run:
        return new_record(record, only) != record
    before = digests(path)
    if path.is_dir():
        zarr.open_group(path, mode="r+").attrs["metanb"] = new_record(record, only)
    else:
        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(path) as archive:
                archive.extractall(folder)
            migrate_set(Path(folder), only)
            pack_dataset(folder, path)
    assert digests(path) == before and open_dataset(path).attributes == new_record(record, only), path
    return True


# ---------------------------------------------------------------- weights

def migrate_card(file: Path, only: str | None = None, dry_run: bool = False) -> bool:
    "Give a card its new class path and arguments; whether there was something to do."
    card = read_json(file)
    if not {"model", "config", "sha256"} <= card.keys() or only not in (None, card["model"].split(".")[0]):
        return False
    model = CLASSES.get(card["model"], card["model"])
    names = ARGUMENTS.get(model, {})
    renamed = rename_tensors(file.parent / "model.safetensors", TENSORS.get(model, {}), card["sha256"], dry_run)
    config = {names.get(name, name): value for name, value in card["config"].items()}
    new = card | {"model": model, "config": config, "sha256": renamed or card["sha256"]}
    if new == card or dry_run:
        return new != card or renamed is not None
    content = (file.parent / "model.safetensors").read_bytes()
    if hashlib.sha256(content).hexdigest() != new["sha256"]:
        raise ValueError(f"path is {str(file)!r}; allowed: cards whose weights are whole")
    write_json(file, new)
    return True


def rename_tensors(file: Path, names: dict, digest: str, dry_run: bool = False) -> str | None:
    "Give tensors new names, bit by bit the same; the new digest of the file, None where there is nothing to do."
    content = file.read_bytes() if names else b""
    tensors = load(content) if names else {}
    new = {}
    for name, x in tensors.items():
        old = next((beginning for beginning in names if name.startswith(beginning)), None)
        new[name if old is None else names[old] + name.removeprefix(old)] = x
    if new.keys() == tensors.keys():
        return None
    if dry_run:
        return digest
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"path is {str(file)!r}; allowed: weights that are whole")
    write_file(file, lambda part: save_file(new, part))
    again = load(file.read_bytes())
    assert all(again[name].equal(x) for name, x in new.items()), file
    return hashlib.sha256(file.read_bytes()).hexdigest()


# ---------------------------------------------------------------- everything

def migrate(folders: list[Path], only: str | None = None, dry_run: bool = False) -> list[Path]:
    "Migrate all data sets and weights below folders; the files and folders that were changed."
    changed = []
    for folder in folders:
        sets = sorted({*folder.rglob("*.zip"), *(file.parent for file in folder.rglob("zarr.json"))})
        changed += [path for path in sets if migrate_set(path, only, dry_run)]
        changed += [file for file in sorted(folder.rglob("card.json")) if migrate_card(file, only, dry_run)]
    return changed


def main(arguments: list[str]) -> None:
    "The command line."
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--only", choices=["cellular", "kirigami", "truss", "voxel"])
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args(arguments)
    folders = given.folders or [shipped_folder("datasets"), shipped_folder("weights"), data_root()]
    for path in migrate(folders, given.only, given.dry_run):
        print(f"{'would change' if given.dry_run else 'changed'}  {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
