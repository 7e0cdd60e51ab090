"""Build the whole site from the notebooks as they are committed: python -m tools.docs [FOLDER]

nbdev's filter makes each notebook a page, Sphinx with MyST-NB sets the pages; nothing is executed. What a browser needs
to show them, equations and fonts included, lies in the folder, so the site can be read without a network. `_quarto.yml`
says what stands in the sidebar, in which order; a warning of Sphinx (a link that leads nowhere, say) is an error."""
import json
import os
import re
import shutil
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

import yaml
from nbdev.config import get_config

from tools.pages import LIBRARY, ROOT, filtered, site

NBS = ROOT / "nbs"
WIDGET = "application/vnd.jupyter.widget-view+json"

SETTINGS = {
    "extensions": ["myst_nb"],
    "mathjax_path": "mathjax/tex-chtml-full.js",
    "html_theme": "furo",
    "html_favicon": str(NBS / "images/kirigami.png"),
    "html_static_path": [str(ROOT / "tools/static")],
    "html_css_files": ["site.css"],
    "html_js_files": ["site.js"],
    "html_show_sourcelink": False,
    "html_copy_source": False,
    "html_use_index": False,
    "html_theme_options": {
        "source_repository": get_config().git_url,
        "source_branch": get_config().branch,
        "source_directory": "nbs/",
    },
    "master_doc": "index",
    "myst_enable_extensions": ["dollarmath"],
    "myst_dmath_double_inline": True,
    "myst_heading_anchors": 4,
    "nb_execution_mode": "off",
    "nb_merge_streams": True,
    "suppress_warnings": ["myst.header"],  # documentation starts at the third level wherever it stands
    "templates_path": [],
}


def notebooks():
    "All pages."
    return sorted(path for path in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def sidebar():
    "Sections of the sidebar with their pages: [(title, [notebook, ...]), ...], without the front page."
    quarto = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    entries = quarto["website"]["sidebar"]["contents"]
    return [(entry["section"], files(entry["contents"])) for entry in entries if "section" in entry]


def files(contents):
    "The notebooks of a section, patterns spelled out."
    entries = [contents] if isinstance(contents, str) else contents
    return [path for entry in entries for path in sorted(ROOT.glob(entry))]


def toctrees():
    "The sidebar as Sphinx reads it, for the end of the front page."
    blocks = []
    for title, paths in sidebar():
        entries = "\n".join(str(path.relative_to(NBS).with_suffix("")) for path in paths)
        blocks.append(f"```{{toctree}}\n:hidden:\n:caption: {title}\n\n{entries}\n```")
    return markdown("\n\n".join(blocks))


def markdown(text):
    "A cell of prose."
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def documented(text):
    "Documentation of a symbol: the link floats, and the name is a place to link to."
    text = re.sub(r"^---\n+", "", text)
    text = re.sub(r"\[source\]\(([^)]+)\)\{[^}]*\}", r'<a class="source" href="\1">source</a>', text)
    return re.sub(r"^(#+ \S+) \{#(\S+)\}$", r'<span id="\2"></span>\n\n\1', text, flags=re.M)


def converted(cell):
    "A cell in the dialect of MyST: without lines for Quarto, documentation as prose, no widget that needs a server."
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return markdown(source)
    outputs = []
    for output in cell["outputs"]:
        data = {kind: value for kind, value in output.get("data", {}).items() if kind != WIDGET}
        if source.startswith("#|") and "show_doc(" in source and "text/markdown" in data:
            return markdown(documented("".join(data["text/markdown"])))
        if WIDGET not in output.get("data", {}) or set(data) - {"text/plain"}:
            outputs.append({**output, "data": data} if "data" in output else output)
    source = re.sub(r"\A(#\|.*\n)+", "", source)
    return {**cell, "source": source, "outputs": outputs}


def write_sources(folder, pages):
    "The pages and their pictures, as Sphinx reads them."
    shutil.copytree(NBS / "images", folder / "images")
    for path, text in pages.items():
        page = json.loads(text)
        page["cells"] = [converted(cell) for cell in page["cells"]]
        if path == NBS / "index.ipynb":
            page["cells"].append(toctrees())
        target = folder / path.relative_to(NBS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(page), encoding="utf-8")


def bring_mathjax(folder):
    "The part of MathJax that sets equations, with its fonts."
    bundle = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static/mathjax"
    folder.mkdir()
    shutil.copy(bundle / "tex-chtml-full.js", folder)
    shutil.copytree(bundle / "output/chtml/fonts/woff-v2", folder / "output/chtml/fonts/woff-v2")


def make_links_relative(folder):
    "Links to documentation are written with the site's address; a reader stays where he is."
    written = f'"reference external" href="{site()}'
    for page in folder.rglob("*.html"):
        wanted = f'"reference internal" href="{os.path.relpath(folder, page.parent)}/'
        page.write_text(page.read_text(encoding="utf-8").replace(written, wanted), encoding="utf-8")


def build(folder, pages=None):
    "Write the site into a folder, which is emptied first; `pages`: what the filter made of each notebook, if known."
    import metanb
    from sphinx.application import Sphinx

    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    names = {"project": LIBRARY, "copyright": get_config().copyright, "html_title": f"{LIBRARY} {metanb.__version__}"}
    with tempfile.TemporaryDirectory() as work, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sources, out, trees = (Path(work) / name for name in ("pages", "out", "trees"))
        sources.mkdir()
        write_sources(sources, pages or {path: filtered(path) for path in notebooks()})
        app = Sphinx(sources, None, out, trees, "html", SETTINGS | names, status=None, warningiserror=True)
        app.build()
        shutil.copytree(out, folder / "nbs")
    bring_mathjax(folder / "nbs/_static/mathjax")
    make_links_relative(folder / "nbs")
    (folder / "index.html").write_text('<meta http-equiv="refresh" content="0; url=nbs/index.html">\n')
    if app.statuscode:
        raise SystemExit("Sphinx warns; see above")
    return folder / "nbs/index.html"


if __name__ == "__main__":
    print(f"site: {build(sys.argv[1] if len(sys.argv) > 1 else ROOT / '_docs')}")
