"What stands around the notebooks: the sidebar of the site, the links between pages, the pinned versions."
import ast
import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from contextlib import contextmanager
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NBS = ROOT / "nbs"
NOTEBOOKS = sorted(path for path in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *NOTEBOOKS]

pytestmark = pytest.mark.skipif(not (ROOT / "_quarto.yml").is_file(), reason="these belong to the checkout, not to the package")


def name(path, folder=ROOT):
    "A path as it is known in the checkout; names the test."
    return str(path.relative_to(folder))


def entries(contents):
    "Paths and patterns of the sidebar, in order."
    if isinstance(contents, str):
        return [contents]
    return [path for item in contents for path in (entries(item["contents"]) if isinstance(item, dict) and "contents" in item
                                                   else [item["href"] if isinstance(item, dict) else item])]


def sidebar():
    "The entries of the sidebar of `_quarto.yml`."
    return entries(yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))["website"]["sidebar"]["contents"])


def text(path):
    "The prose of a page; code is left out, for an index in it looks like a link."
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def links(path):
    "Targets of the links and pictures of a page that lead into the checkout."
    prose = re.sub(r"```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$", "", text(path), flags=re.S)
    targets = re.findall(r"\]\(([^()\s]+)\)", prose)
    if path.suffix == ".md":
        targets = [in_checkout(target) for target in targets]
    return [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:|#|attachment:", target)]


def in_checkout(target):
    "The README is read on the page of a package index, too, so its links are absolute: what they lead to here."
    target = re.sub(r"^https://(raw\.githubusercontent\.com/metanb/metanb|github\.com/metanb/metanb/blob)/main/", "", target)
    return re.sub(r"^https://metanb\.github\.io/metanb/(nbs/.*)\.html", r"\1.ipynb", target)


def test_there_is_something_to_check():
    "A wrong path would let everything pass."
    assert NBS / "index.ipynb" in NOTEBOOKS and "nbs/index.ipynb" in sidebar()
    assert {"nbs/images/kirigami.png", "nbs/tutorials/tour.ipynb", "CONTRIBUTING.md"} <= set(links(ROOT / "README.md"))


def test_links_of_the_readme_are_absolute():
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", text(ROOT / "README.md"), flags=re.S)
    assert [target for target in re.findall(r"\]\(([^()\s]+)\)", prose) if not target.startswith("https://")] == []


@pytest.mark.parametrize("entry", sidebar())
def test_sidebar_leads_somewhere(entry):
    "Quarto shows a dead entry as plain text, and stops at a pattern that nothing matches."
    assert list(ROOT.glob(entry))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_every_notebook_is_in_the_sidebar_once(notebook):
    assert len([entry for entry in sidebar() if notebook in ROOT.glob(entry)]) == 1


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


def test_front_page_leads_to_every_figure_and_tutorial():
    "And shows each space."
    found = links(NBS / "index.ipynb")
    assert {name(path, NBS) for kind in ("figures", "tutorials") for path in (NBS / kind).glob("*.ipynb")} <= set(found)
    pictures = sorted((NBS / "images").glob("*.png"))
    assert {name(path, NBS) for path in pictures} <= set(found) and all(path.stat().st_size < 40_000 for path in pictures)


@pytest.mark.parametrize("space", ["kirigami", "truss", "cellular", "voxel"])
def test_pictures_of_the_front_page_can_be_drawn_anew(space, tmp_path):
    from PIL import Image
    from tools import pictures
    pictures.write(next(draw for draw in pictures.DRAWN if draw.__name__ == space), tmp_path)
    with Image.open(tmp_path / f"{space}.png") as new, Image.open(NBS / f"images/{space}.png") as shown:
        assert new.size == shown.size
        assert len(new.getcolors()) > 4  # something is drawn


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name)
def test_every_notebook_has_one_title(notebook):
    "It is the name of the page in the sidebar."
    prose = re.sub(r"```.*?```", "", text(notebook), flags=re.S)
    assert len(re.findall(r"^# \S", prose, flags=re.M)) == 1


@pytest.fixture(scope="session")
def pages():
    "Every page as the site's filter leaves it, all in one process."
    from tools.pages import filtered
    with warnings.catch_warnings(action="ignore"):
        return {notebook: json.loads(filtered(notebook)) for notebook in NOTEBOOKS}


def shown(page):
    "What a filtered page says: its prose and the documentation between."
    for cell in page["cells"]:
        yield "".join(cell["source"]) if cell["cell_type"] == "markdown" else ""
        yield from ("".join(output.get("data", {}).get("text/markdown", "")) for output in cell.get("outputs", []))


def test_filter_links_each_source_to_the_page_s_own_module(pages):
    "The same word stands in all four spaces, and leads to its own; what a page documents comes in the order of its source."
    for notebook, page in pages.items():
        links = re.findall(r"\[source\]\(https://github.com/metanb/metanb/blob/main/(\S+?)#L(\d+)\)", "\n".join(shown(page)))
        module = notebook.relative_to(NBS).with_suffix(".py")
        assert {file for file, _ in links} <= {f"metanb/{module}"}
        assert [int(line) for _, line in links] == sorted(int(line) for _, line in links)
        exported = ROOT / "metanb" / module
        public = [node.name for node in ast.parse(exported.read_text(encoding="utf-8")).body if hasattr(node, "name") and not node.name.startswith("_")] \
            if exported.is_file() else []
        assert len(links) == len(public), f"{name(notebook)} does not document all of {public}"


def test_filter_links_names_to_the_page_that_holds_them(pages):
    "A word in backticks leads to a definition of that name, on the page itself where there is one."
    for notebook, page in pages.items():
        for word, target, anchor in re.findall(r"\[`([\w.]+)(?:\(\))?`\]\(https://metanb.github.io/metanb/nbs/(\S+?)\.html#([\w.]+)\)", "\n".join(shown(page))):
            assert word.split(".")[0] == anchor
            assert re.search(rf"^(def|class) {anchor}\b", (ROOT / f"metanb/{target}.py").read_text(encoding="utf-8"), flags=re.M)


def test_filter_is_what_quarto_calls():
    "The command finds tools/ from the checkout alone, and links as here."
    done = subprocess.run([Path(sys.executable).with_name("nbdev_filter"), "--fname", "nbs/core/metrics.ipynb"], cwd=ROOT,
                          env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "metanb/core/metrics.py#L" in done.stdout


@pytest.fixture(scope="session")
def built(pages, tmp_path_factory):
    "The whole site; a warning of Sphinx is an error."
    pytest.importorskip("sphinx")
    from tools.docs import build
    folder = tmp_path_factory.mktemp("site")
    build(folder, {notebook: json.dumps(page) for notebook, page in pages.items()})
    return folder


def test_docs_build_has_every_page_and_its_pictures(built):
    for notebook in NOTEBOOKS:
        page = (built / "nbs" / notebook.relative_to(NBS)).with_suffix(".html").read_text(encoding="utf-8")
        outputs = [output for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] for output in cell.get("outputs", [])]
        assert '<img src="data:' not in page
        assert len(set(re.findall(r'src="(\S*_images/\S+)"', page))) >= len({str(found["data"]["image/png"]) for found in outputs if "image/png" in found.get("data", {})})
        assert "jupyter.widget" not in page


def test_docs_build_links_lead_somewhere(built):
    "Every link, picture, script and style within the site; a part of a page is there, too. Nothing else is loaded from elsewhere."
    texts = {page: page.read_text(encoding="utf-8") for page in built.rglob("*.html")}
    places = {page: set(re.findall(r'\bid="([^"]+)"', text)) for page, text in texts.items()}
    dead = []
    for page, text in texts.items():
        for target in set(map(unescape, re.findall(r'<\w[^<>]*?\s(?:href|src)="([^"]*)"', text))):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, place = unquote(target).partition("#")
            file = (page.parent / path.split("?")[0]).resolve() if path else page
            if not file.is_file() or (place and file in places and place not in places[file]):
                dead.append((name(page, built), target))
    assert dead == []


def test_docs_build_has_the_sidebar_of_quarto(built):
    "One source of truth for sections and their order."
    page = (built / "nbs/index.html").read_text(encoding="utf-8")
    tree = page[page.index("sidebar-tree"):page.index("</aside>")]
    listed = re.findall(r'class="reference internal" href="(\S+)\.html"', tree)
    assert [f"nbs/{entry}.ipynb" for entry in listed] == [name(path) for entry in sidebar()[1:] for path in sorted(ROOT.glob(entry))]


@contextmanager
def served(folder):
    "A folder on a port of this machine."
    class Quiet(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def end_headers(self):
            self.send_header("Cache-Control", "max-age=600")
            super().end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.browser
def test_docs_build_needs_no_network(built):
    "A browser opens each page; no request leaves the site, nothing is missing, nothing complains, equations are set, nothing sticks out."
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium")
    playwright = pytest.importorskip("playwright.sync_api")
    quiet = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update --disable-sync"
    complaints = []
    with playwright.sync_playwright() as driver, served(built) as address:
        chromium = driver.chromium.launch(executable_path=browser, args=[*quiet.split(), "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"])
        page = chromium.new_page(viewport={"width": 1300, "height": 900})
        page.on("request", lambda request: None if request.url.startswith((address, "data:")) else complaints.append(request.url))
        page.on("response", lambda response: complaints.append(f"{response.url}: {response.status}") if response.status >= 400 else None)
        page.on("console", lambda message: complaints.append(f"{page.url}: {message.text}") if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        for file in sorted(built.rglob("nbs/**/*.html")):
            page.goto(f"{address}/{name(file, built)}")
            state = page.evaluate("""async () => {
                if (window.MathJax?.startup) await MathJax.startup.promise;
                return {raw: document.querySelectorAll('.math').length - document.querySelectorAll('.math mjx-container').length,
                        wrong: document.querySelectorAll('mjx-merror, [data-mjx-error]').length,
                        blank: [...document.images].filter(image => image.complete && !image.naturalWidth).length,
                        wide: document.documentElement.scrollWidth - window.innerWidth}}""")
            if max(state.values()) > 0:
                complaints.append(f"{name(file, built)}: {state}")
        page.goto(f"{address}/nbs/search.html?q=stiffness")
        page.wait_for_selector("#search-results li", timeout=20_000)
        chromium.close()
    assert complaints == []


def test_versions_are_pinned():
    "constraints.txt holds every direct dependency, exactly, and no build of one machine."
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    plain = lambda requirement: re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()
    assert {plain(line) for line in wanted} - {plain(line) for line in lines} == set()


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    package = re.search(r'^__version__ = "(.+)"', (ROOT / "metanb/__init__.py").read_text(encoding="utf-8"), flags=re.M)[1]
    settings = re.search(r"^version = (.+)$", (ROOT / "settings.ini").read_text(encoding="utf-8"), flags=re.M)[1]
    assert citation == package == settings


def test_settings_are_the_same_for_nbdev_2_and_3():
    "nbdev 2 reads settings.ini, nbdev 3 the table of pyproject.toml."
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["nbdev"]
    assert {key: str(value) for key, value in table.items()} == dict(settings["DEFAULT"])


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=name)
def test_workflows_call_what_exists(workflow):
    "Every step that runs make or a script names a target or a file of the checkout."
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    commands = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.M))
    assert commands
    assert {found for command in commands for found in re.findall(r"^make ([a-z-]+)", command)} <= targets
    assert all((ROOT / found).is_file() for command in commands for found in re.findall(r"^bash (\S+)", command))


def test_front_page_says_the_times_that_are_measured():
    "python -m tools.times renews both; a page that nobody has measured has no time."
    from tools.times import TIMES, with_times

    page = (NBS / "index.ipynb").read_text(encoding="utf-8")
    times = json.loads(TIMES.read_text(encoding="utf-8"))
    assert len(times) >= 32 and with_times(page, times) == page
    other = with_times(page, {name: {"test": 7200} for name in times})
    assert other.count("(2 h)") >= 32 and with_times(other, times) == page
