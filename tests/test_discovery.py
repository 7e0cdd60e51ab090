"What a newcomer finds by typing: names to complete, help with shapes and units, typed packages."
import importlib
import inspect
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import metanb
from metanb.core.signatures import comments_of

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


def shown(thing):
    "What `help` prints."
    return pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("name, words", [
    ("truss.mechanics.effective_stiffness", ["designs", "B designs", "poisson", "of the base material", "(B, 6, 6) per Young's modulus"]),
    ("kirigami.design.admissible_designs", ["(0, 90] [degrees]", "angles [degrees]", "ArrayLike | None"]),
    ("voxel.mechanics.homogenize", ["spacing", "edges of a voxel along x, y, z", "of the residual"]),
    ("cellular.mechanics.compress", ["(B, ny, nx) or (ny, nx) bool", "True = solid"]),
])
def test_help_shows_each_argument_with_shape_and_unit(name, words):
    module, _, function = name.rpartition(".")
    thing = getattr(importlib.import_module(f"metanb.{module}"), function)
    text = shown(thing)
    assert all(word in text for word in words), text
    assert "\n" not in thing.__doc__.strip() and len(str(inspect.signature(thing))) < 320  # the source has it once; the signature is a line or three
    assert "_SupportsArray" not in text and "Buffer" not in text


def test_jupyter_shows_it_too():
    "? and Shift-Tab ask IPython."
    from IPython.core.oinspect import getdoc

    import metanb.truss.mechanics as mechanics

    assert "poisson       of the base material" in getdoc(mechanics.effective_stiffness)


def test_every_public_function_explains_its_arguments():
    "At least one of them has a comment; those of the command line have their help in the options."
    silent, all_of_them = [], 0
    for room in ["core", *SPACES]:
        for path in sorted((PACKAGE / room).glob("[a-z]*.py")):
            module = importlib.import_module(f"metanb.{room}.{path.stem}")
            for name in getattr(module, "__all__", []):
                thing = getattr(module, name)
                if inspect.isfunction(thing) and thing.__module__ == module.__name__ and inspect.signature(thing).parameters and not name.endswith("command"):
                    all_of_them += 1
                    silent += [f"{room}.{path.stem}.{name}"] * (not any(comments_of(inspect.unwrap(thing)).get(key) for key in inspect.signature(thing).parameters))
    assert all_of_them > 700 and silent == []
