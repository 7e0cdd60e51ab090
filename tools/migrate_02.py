"""Carry data sets and weights of version 0.1 over to the names of version 0.2.

    python tools/migrate_02.py                  # what comes with the package, and the data sets of this user
    python tools/migrate_02.py FOLDER [...]     # data sets and weights below folders
    python tools/migrate_02.py --only voxel     # of one space
    python tools/migrate_02.py --dry-run        # only say what would be done

Only names change: parameters in the record of a data set, class paths and arguments on a card, names of tensors. Every shard is compared with its digest before and
after, the weights with the SHA-256 of their card. What is migrated already is left alone, and a run that was cut off is finished by the next.
"""

import argparse
import hashlib
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import zarr
from safetensors.torch import load, save

from metanb.core.checks import refused
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
    names, tensors = ARGUMENTS.get(model, {}), TENSORS.get(model, {})
    config = {names.get(name, name): value for name, value in card["config"].items()}
    new = card | {"model": model, "config": config}
    weights = file.parent / "model.safetensors"
    content = weights.read_bytes()
    renamed = with_names(content, tensors)
    if hashlib.sha256(content).hexdigest() != card["sha256"]:
        # the weights are written before their card: a run may have been cut off between the two
        before = with_names(content, {now: old for old, now in tensors.items()})
        if renamed != content or hashlib.sha256(before).hexdigest() != card["sha256"]:
            raise refused("path", file, "cards whose weights are whole")
    new["sha256"] = hashlib.sha256(renamed).hexdigest()
    if new == card:
        return False
    if not dry_run:
        if renamed != content:
            write_file(weights, renamed)
        write_json(file, new)
    return True


def with_names(content: bytes, names: dict) -> bytes:
    "A file of tensors under new names, bit by bit the same; as it was where none is concerned."
    tensors, new = load(content), {}
    for name, x in tensors.items():
        old = next((beginning for beginning in names if name.startswith(beginning)), None)
        new[name if old is None else names[old] + name.removeprefix(old)] = x
    return content if new.keys() == tensors.keys() else save(new)


# ---------------------------------------------------------------- everything

def migrate(folders: list[Path], only: str | None = None, dry_run: bool = False) -> list[Path]:
    "Migrate all data sets and weights below folders; the files and folders that were changed."
    changed = []
    for folder in folders:
        if not folder.is_dir():
            raise refused("FOLDER", folder, "a folder that exists")
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
    own = [shipped_folder("datasets"), shipped_folder("weights"), data_root()]
    try:
        changed = migrate(given.folders or [folder for folder in own if folder.is_dir()], given.only, given.dry_run)
    except ValueError as error:
        parser.error(str(error))
    for path in changed:
        print(f"{'would change' if given.dry_run else 'changed'}  {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
