"Literate notebooks for generative inverse design of mechanical metamaterials."
__version__ = "0.3.0"

_SPACES = ("core", "kirigami", "truss", "cellular", "voxel")


def __getattr__(name: str):
    "The spaces, imported when they are used."
    if name in _SPACES:
        import importlib

        return importlib.import_module(f"metanb.{name}")
    raise AttributeError(f"module 'metanb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return ["__version__", *_SPACES]
