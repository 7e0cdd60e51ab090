"The package as pip installs it: built from a copy of the checkout, used from an empty folder."
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST = 95e6  # bytes; an index of packages takes 100 MB


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    "The wheel that pip would build, without its network."
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("metanb", "nbs", "tests/data"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    program = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.copy(tree / "metanb.egg-info/SOURCES.txt", out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    "The wheel installed; what it needs is taken from the environment of the tests."
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def metanb_says(site, cwd, *arguments):
    "What the installed command prints; it must not see the checkout."
    kept = {name: value for name, value in os.environ.items() if not name.startswith("METANB_")}
    program = "from metanb.core.runs import main; main()"
    done = subprocess.run([sys.executable, "-P", "-c", program, *arguments], cwd=cwd, env=kept | {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(cwd / "cache")},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_is_small_enough_to_be_published(wheel):
    assert wheel.stat().st_size < LARGEST


def test_the_wheel_brings_every_notebook_without_outputs(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if name.endswith(".ipynb")]
        sizes = sum(packed.getinfo(name).compress_size for name in names)
        cells = [cell for name in names for cell in json.loads(packed.read(name))["cells"] if cell["cell_type"] == "code"]
    expected = [path.relative_to(ROOT).as_posix() for kind in ("figures", "tutorials", "apps") for path in ROOT.glob(f"nbs/{kind}/*.ipynb")]
    assert sorted(names) == sorted(f"metanb/project/{name}" for name in expected)
    assert cells and not any(cell["outputs"] or cell["execution_count"] for cell in cells)
    assert sizes < 0.3e6


def test_a_source_package_brings_them_too(wheel):
    with zipfile.ZipFile(wheel) as packed:
        notebooks = {name.removeprefix("metanb/project/") for name in packed.namelist() if name.startswith("metanb/project/")}
    held = set((wheel.parent / "SOURCES.txt").read_text().splitlines())
    assert notebooks and notebooks <= held and {"setup.py", "pyproject.toml"} <= held


def test_list_run_and_copy_from_an_empty_folder(site, tmp_path):
    "What a newcomer does first."
    here = tmp_path / "thesis"
    here.mkdir()
    listed = metanb_says(site, here, "list")
    assert f"{site}" in listed and "tutorials/truss" in listed and "figures/kirigami_fig02_distance" in listed
    said = metanb_says(site, here, "run", "kirigami_fig02")
    run = next((here / "runs").iterdir())
    assert "1 of 1 notebooks done" in said and list(run.glob("figures/kirigami_fig02_distance/*.png"))
    assert "done at test" in metanb_says(site, here, "list")
    copied = metanb_says(site, here, "copy", "truss", "apps/cellular", "cellular_validation")
    assert copied.split() == ["truss.ipynb", "cellular_app.ipynb", "cellular_validation.ipynb"]
    text = "".join(path.read_text() for path in here.glob("*.ipynb"))
    assert "../" not in text.replace("...", "") and all(Path(file).is_file() for file in data_files(text))


def data_files(text):
    "Files that copies read."
    found = [word for word in text.split('\\"') if word.endswith(".json") and "tests/data" in word]
    assert found
    return found
