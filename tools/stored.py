"""Whether the stored pages are what the code gives: a run of them against the tables they hold.

    metanb run --preset demo --jobs 2 --out stored --yes; python -m tools.stored runs/stored

A verdict that changed, a row that came or went, or a number farther off than the tolerance is printed; the exit code says whether there is any.
"""
import argparse
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from metanb.core.metrics import COLUMNS, metrics_table

ROOT = Path(__file__).parents[1]
NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


class _Cells(HTMLParser):
    "The entries of the tables of a page, row by row."

    def __init__(self, text):
        super().__init__()
        self.rows, self.entry = [], None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        self.entry = "" if tag in ("td", "th") else self.entry

    def handle_data(self, data):
        if self.entry is not None:
            self.entry += data

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(self.entry)
            self.entry = None


def table_of(page):
    "The rows of metrics that a notebook stores: quantity -> (ours, verdict)."
    found = {}
    for cell in json.loads(page.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            rows = _Cells("".join(output.get("data", {}).get("text/html", ""))).rows
            if rows and tuple(rows[0]) == COLUMNS:
                found |= {row[0]: (row[2], row[4]) for row in rows[1:]}
    return found


def table_now(file):
    "The same from what a run wrote."
    rows = _Cells(metrics_table(json.loads(file.read_text(encoding="utf-8"))["rows"])._repr_html_()).rows[1:]
    return {row[0]: (row[2], row[4]) for row in rows}


def differences(stored, now, tolerance):
    "What differs, in lines: rows, verdicts, numbers."
    lines = [f"gone: {name}" for name in stored if name not in now] + [f"new: {name}" for name in now if name not in stored]
    for name in stored.keys() & now.keys():
        (before, verdict), (after, verdict_now) = stored[name], now[name]
        a, b = ([float(x.replace(",", "")) for x in NUMBER.findall(text)] for text in (before, after))
        far = NUMBER.sub("", before) != NUMBER.sub("", after) or len(a) != len(b) or any(abs(x - y) > tolerance * max(abs(x), abs(y)) for x, y in zip(a, b))
        if verdict != verdict_now or far:
            lines.append(f"{name}: {before} ({verdict}) stored, {after} ({verdict_now}) now")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run at the preset of the stored pages")
    parser.add_argument("--tolerance", type=float, default=0.1, help="of numbers, relative")
    arguments = parser.parse_args()
    total = pages = 0
    for state in sorted(arguments.run.glob("*/*/state.json")):
        page, metrics = ROOT / "nbs" / state.parent.parent.name / f"{state.parent.name}.ipynb", state.parent / "metrics.json"
        status = json.loads(state.read_text(encoding="utf-8"))["status"]
        if status != "done":
            lines = [f"it is {status}"]
        else:
            lines = differences(table_of(page), table_now(metrics) if metrics.is_file() else {}, arguments.tolerance)
        pages, total = pages + 1, total + len(lines)
        print("\n  ".join([f"{page.parent.name}/{page.stem}: {len(lines) or 'no'} differences", *lines]))
    print(f"{total} differences on {pages} pages")
    raise SystemExit(1 if total or not pages else 0)


if __name__ == "__main__":
    main()
