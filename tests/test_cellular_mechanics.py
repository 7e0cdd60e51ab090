"The explicit solver against CalculiX: a ring whose slot closes, stored in tests/data/cellular_calculix.json."
import json
from pathlib import Path

import numpy as np

from metanb.cellular.mechanics import compress

STORED = json.loads((Path(__file__).parent / "data" / "cellular_calculix.json").read_text())


def design_of(case):
    shape = case["design"]["shape"]
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(case["design"]["bits"]), np.uint8))
    return bits[:shape[0] * shape[1]].reshape(shape).astype(bool)


def test_a_ring_closes_as_in_calculix():
    case = STORED["ring"]
    result = compress(design_of(case), smoothing=0.0, refine=2, imperfection=0.0, frames=tuple(case["options"]["frames"]), repeats=0)
    expected = np.array(STORED["ring_refined"]["stress"])
    assert result.passed.all(), result.flags
    assert np.all(abs(result.stress[0] / expected - 1) < 0.06)
    # the slot closes between 12 and 13 %: without contact the stress would stay near 10 MPa
    assert result.stress[0, -1] > 4 * result.stress[0, 11]
