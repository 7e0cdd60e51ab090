"The benchmark of a GPU on the CPU at its small sizes: lines, checks, and what is resumed."
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "benchmarks/gpu.py").is_file(), reason="the benchmarks belong to the checkout, not to the package")


def run(folder, *words):
    line = [sys.executable, "benchmarks/gpu.py", "--preset", "test", "--device", "cpu", "--out", str(folder), "--only", *words]
    environment = os.environ | {"METANB_DATA": str(folder / "data"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment)


def test_lines_agree_with_the_cpu_and_are_resumed(tmp_path):
    done = run(tmp_path, "voxel_128", "truss", "sampling_one", "training_voxel_unet")
    assert done.returncode == 0, done.stdout + done.stderr
    file = tmp_path / "gpu_cpu_test.json"
    lines = json.loads(file.read_text())["lines"]
    assert list(lines) == ["voxel_128", "truss", "sampling_one", "training_voxel_unet"]
    assert all(line["agrees"] and line["value"] > 0 and line["met"] is None for line in lines.values())
    lines["truss"]["value"] = 12345.0
    file.write_text(json.dumps(json.loads(file.read_text()) | {"lines": lines}))
    assert "1.234e+04 trusses" in run(tmp_path, "truss").stdout  # what is there is shown, not run again


@pytest.mark.weekly
@pytest.mark.timeout(3600)
def test_every_line_works(tmp_path):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from gpu import LINES

    done = run(tmp_path, *LINES)
    assert done.returncode == 0, done.stdout + done.stderr
