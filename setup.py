"""What pyproject.toml cannot say: a built package brings the figures, tutorials and apps, stripped of their outputs."""
import importlib.util
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class WithNotebooks(build_py):
    def run(self):
        super().run()
        if self.editable_mode:
            return  # the checkout itself is there
        # by its path: the package imports what an isolated build does not have
        spec = importlib.util.spec_from_file_location("notebooks", ROOT / "metanb/core/notebooks.py")
        notebooks = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(notebooks)
        project = Path(self.build_lib) / "metanb" / notebooks.PROJECT
        shutil.rmtree(project, ignore_errors=True)  # of an earlier build
        for name, content in notebooks.packed_notebooks(ROOT).items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_bytes(content)


setup(cmdclass={"build_py": WithNotebooks})
