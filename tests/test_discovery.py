"What a newcomer finds by typing: names to complete, help with shapes and units, typed packages."
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import metanb

PACKAGE = Path(metanb.__file__).parent
SPACES = ["kirigami", "truss", "voxel", "cellular"]


@pytest.mark.parametrize("space", SPACES)
def test_a_space_offers_its_main_names(space):
    "Five to ten, each a function of the room that is said, none hidden by a room of the same name."
    package = importlib.import_module(f"metanb.{space}")
    rooms = {path.stem for path in (PACKAGE / space).glob("*.py")} - {"__init__"}
    assert 5 <= len(package.__all__) <= 10 and not rooms & set(package.__all__)
    assert {*package.__all__, *rooms} <= set(dir(package))
    for name in package.__all__:
        assert callable(getattr(package, name)) and getattr(package, name).__module__.startswith(f"metanb.{space}.")


def test_spaces_are_there_without_importing_them():
    "`import metanb` is enough to go on typing, and loads nothing that is large."
    program = ("import metanb, sys; assert {'core', 'kirigami', 'truss', 'voxel', 'cellular'} <= set(dir(metanb)); metanb.truss; metanb.core; "
               "assert 'design_for' in dir(metanb.truss) and 'store' in dir(metanb.core); "
               "assert not {'torch', 'numpy'} & set(sys.modules); metanb.kirigami.count_intersections; assert 'metanb.kirigami.design' in sys.modules")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    for package in (metanb, metanb.truss):
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            package.nothing


def test_editors_may_trust_the_types():
    assert (PACKAGE / "py.typed").is_file()
