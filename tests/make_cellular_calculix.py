"""Compute tests/data/cellular_calculix.json with CalculiX: python tests/make_cellular_calculix.py [names of cases].

What is there already stays, unless it is named. Each case holds a design (hexadecimal digits of `numpy.packbits`, row 0 at the bottom), the options of
`metanb.cellular.calculix.reference_compress` beside their defaults, and what CalculiX answered. `contact` lists void regions whose lower walls touch their upper ones; `sway` is the amplitude of an imperfection in pixels (`swayed_nodes`).
"""
import json
import sys
from pathlib import Path

import numpy as np

from metanb.cellular.calculix import Compression, oblique_blocks, reference_compress, swayed_nodes, walls

PATH = Path(__file__).parent / "data" / "cellular_calculix.json"


def pack(design):
    "A design as shape and hexadecimal digits."
    return {"shape": list(design.shape), "bits": np.packbits(design).tobytes().hex()}


def unpack(packed):
    "The design again."
    rows, columns = packed["shape"]
    return np.unpackbits(np.frombuffer(bytes.fromhex(packed["bits"]), np.uint8), count=rows * columns).reshape(rows, columns).astype(bool)


def solve(case, **others) -> Compression:
    "Run one case."
    options = {**case["options"], **others}
    if "oblique_blocks" in case:
        return reference_compress(**oblique_blocks(**case["oblique_blocks"]), **options)
    design = unpack(case["design"])
    voids = [unpack(void) for void in case.get("contact", ())]
    contact = [(walls(design, void, sides=["below"]), walls(design, void, sides=["above"])) for void in voids]
    nodes = swayed_nodes(design.shape, case["sway"]) if "sway" in case else None
    return reference_compress(design, contact=contact, nodes=nodes, **options)


def drawn(rows, columns, solid, voids=()):
    "A design from rectangles (first row, last row, first column, last column), and its void regions."
    design, regions = np.zeros((rows, columns), bool), []
    for top, box in [(True, box) for box in solid] + [(False, box) for box in voids]:
        region = np.zeros_like(design)
        region[box[0]:box[1] + 1, box[2]:box[3] + 1] = True
        design[region] = top
        regions += [] if top else [region]
    return design, regions


def cases():
    "All cases by name."
    from metanb.cellular.design import random_designs

    fine = [round(0.05 * i, 2) for i in range(1, 21)]
    small, large = random_designs(6, seed=0, quarter=12), random_designs(4, seed=0, quarter=24)
    ring = drawn(16, 24, [(3, 12, 1, 22), (4, 11, 0, 23), (0, 2, 8, 15), (13, 15, 8, 15)], [(7, 8, 4, 19)])
    jaw = drawn(16, 24, [(3, 12, 2, 21), (0, 2, 8, 15), (13, 15, 8, 15)], [(7, 8, 7, 21)])
    beam = drawn(24, 24, [(0, 23, 0, 23)], [(8, 8, 4, 19), (13, 13, 0, 7), (13, 13, 16, 23)])
    foot = drawn(24, 24, [(0, 4, 0, 23), (6, 8, 2, 12), (19, 23, 0, 23), *((row, row, row - 4, row - 1) for row in range(9, 19))], [(5, 5, 0, 23)])
    found = {}
    for name, (design, regions) in {"ring": ring, "jaw": jaw}.items():
        found[name] = {"design": pack(design), "contact": [pack(region) for region in regions], "options": {"frames": fine}}
    found["ring_frictionless"] = {**found["ring"], "options": {"frames": fine, "friction": 0.0}}
    found["jaw_frictionless"] = {**found["jaw"], "options": {"frames": fine, "friction": 0.0}}
    found["ring_soft_penalty"] = {**found["ring"], "options": {"frames": fine, "penalty": 2306.0}}
    found["ring_refined"] = {**found["ring"], "options": {"frames": fine, "refine": 2}}
    found["ring_without_contact"] = {"design": pack(ring[0]), "options": {"frames": fine}}
    for name, friction in {"foot": 0.4, "foot_frictionless": 0.0}.items():
        found[name] = {"design": pack(foot[0]), "contact": [pack(region) for region in foot[1]], "options": {"frames": fine, "max_strain": 0.1, "friction": friction}}
    for i, design in enumerate(small):
        found[f"porous24_{i}"] = {"design": pack(design), "options": {}}
    for name, angle in {"sticking": 15, "sliding": 30}.items():
        for what, options in {"elastic": {"elastic_only": True}, "plastic": {}}.items():
            found[f"blocks_{name}_{what}"] = {"oblique_blocks": {"angle": angle, "columns": 6, "rows": 6},
                                              "options": {"periodic": False, "max_strain": 0.05, "frames": fine[1::2], **options}}
    for i, design in enumerate(small[:3]):
        found[f"porous24_{i}_refined"] = {"design": pack(design), "options": {"refine": 2}}
    for i, design in enumerate(large):
        found[f"porous48_{i}"] = {"design": pack(design), "options": {}}
    for i, design in enumerate(small[:4]):
        found[f"porous24_{i}_swayed"] = {"design": pack(design), "sway": 0.02, "options": {}}
    for i, design in enumerate(large[:2]):
        found[f"porous48_{i}_swayed"] = {"design": pack(design), "sway": 0.02, "options": {}}
    hinge = {"max_strain": 0.06, "frames": [round(1 / 6, 6), round(1 / 3, 6), 0.5, round(2 / 3, 6), round(5 / 6, 6), 1.0]}
    for name, options in {"swayed_fine": {}, "swayed_refined": {"refine": 2}, "swayed_full": {"element": "CPE8"}, "swayed_full_refined": {"element": "CPE8", "refine": 2}}.items():
        found[f"porous24_0_{name}"] = {"design": pack(small[0]), "sway": 0.02, "options": {**hinge, **options}}
    found["beam"] = {"design": pack(beam[0]), "contact": [pack(region) for region in beam[1]], "options": {"frames": fine[:12]}}
    return found


def record(answer):
    "What is stored of an answer."
    shear, stress = ([float(f"{value:.6g}") for value in values] for values in (answer.shear, answer.stress))
    return {"strain": answer.strain.round(6).tolist(), "stress": stress, "shear": shear,
            "reached": round(answer.reached, 6), "cpu_seconds": round(answer.cpu_seconds, 1)}


def main():
    known = json.loads(PATH.read_text()) if PATH.exists() else {}
    for name, case in cases().items():
        if name in known and name not in sys.argv[1:]:
            continue
        answer = solve(case, timeout=300)
        known[name] = {**case, **record(answer)}
        print(name, known[name]["reached"], known[name]["stress"][-1:], known[name]["cpu_seconds"], answer.message, flush=True)
        PATH.parent.mkdir(exist_ok=True)
        PATH.write_text("{\n" + ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in known.items()) + "\n}\n")


if __name__ == "__main__":
    main()
