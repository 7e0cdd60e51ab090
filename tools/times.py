"""How long the notebooks take: from the folder of a run of all of them into nbs/times.json and onto the front page.

    metanb run --preset test --out all && python -m tools.times runs/all
"""
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TIMES = ROOT / "nbs/times.json"


def collect(folder):
    "Add the CPU times of a run to those that are known."
    times = json.loads(TIMES.read_text()) if TIMES.exists() else {}
    for path in sorted(Path(folder).glob("*/*/state.json")):
        state = json.loads(path.read_text())
        if state["status"] == "done":
            times.setdefault(state["notebook"], {})[state["parameters"]["preset"]] = max(1, round(state["cpu_seconds"]))
    present = {f"{path.parent.name}/{path.stem}" for path in ROOT.glob("nbs/*/*.ipynb")}
    return {name: times[name] for name in sorted(times) if name in present}


def with_times(text, times):
    "The front page: behind each link to a figure or a tutorial how long it takes."
    from metanb.core.plans import duration

    def line(link):
        seconds = times.get(link[2], {}).get("test")
        return link[1] + (f" ({duration(seconds)})" if seconds else "")

    link = re.compile(r"(\]\(((?:figures|tutorials)/\w+)\.ipynb\))(?: \(\d[\d.]* (?:s|min|h)\))?")
    return "\n".join(link.sub(line, row) if row.lstrip().startswith(('"- [', '"| [tutorial]')) else row for row in text.split("\n"))


if __name__ == "__main__":
    found = collect(sys.argv[1])
    TIMES.write_text(json.dumps(found, indent=1) + "\n")
    page = ROOT / "nbs/index.ipynb"
    page.write_text(with_times(page.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(f"{len(found)} notebooks in {TIMES}")
