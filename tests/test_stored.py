"The comparison of stored pages with a run: what it reads, and what it calls a difference."
import json
import sys
from pathlib import Path

import pytest

from metanb.core.metrics import metrics_table, row

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(not (ROOT / "tools/stored.py").is_file(), reason="the tools belong to the checkout, not to the package")
sys.path.insert(0, str(ROOT))


def test_a_stored_table_is_read_as_it_was_written(tmp_path):
    from tools.stored import table_now, table_of

    rows = [row("a < b [%]", 1234.5, at_most=2000), row("said", 0.1, shown="0.10 (nearest 0.30)"), row("small", 3, at_least=4, judge=False)]
    html = metrics_table(rows)._repr_html_()
    page = {"cells": [{"cell_type": "code", "outputs": [{"data": {"text/html": [html]}}, {"data": {"text/html": "<table><tr><th>x</th></tr></table>"}}]}]}
    (tmp_path / "page.ipynb").write_text(json.dumps(page))
    (tmp_path / "metrics.json").write_text(json.dumps({"rows": rows}))
    expected = {"a < b [%]": ("1234", "yes"), "said": ("0.10 (nearest 0.30)", "for information"), "small": ("3", "not judged")}
    assert table_of(tmp_path / "page.ipynb") == table_now(tmp_path / "metrics.json") == expected


def test_what_counts_as_a_difference():
    from tools.stored import differences

    stored = {"a": ("1,000 of 1.0e-3", "yes"), "b": ("0.5", "NO"), "c": ("2.0", "yes")}
    assert differences(stored, stored, 0.0) == []
    assert differences(stored, stored | {"a": ("1,050 of 1.0e-3", "yes")}, 0.1) == []
    assert len(differences(stored, stored | {"a": ("1,250 of 1.0e-3", "yes")}, 0.1)) == 1
    assert len(differences(stored, stored | {"b": ("0.5", "yes")}, 0.1)) == 1
    assert differences(stored, {"a": stored["a"], "b": stored["b"], "d": ("1", "yes")}, 0.1) == ["gone: c", "new: d"]


def test_every_stored_row_has_a_verdict():
    from tools.stored import table_of

    tables = {page.stem: table_of(page) for page in sorted(ROOT.glob("nbs/figures/*.ipynb"))}
    verdicts = [verdict for table in tables.values() for _, verdict in table.values()]
    assert len(verdicts) > 300 and set(verdicts) <= {"yes", "NO", "for information", "not judged"}
