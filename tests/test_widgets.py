"""The widgets on a page that voila serves: a key moves a slider in headless Chromium, and the picture follows."""

import base64
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"))), None)
MISSING = [name for name in ("playwright", "voila") if importlib.util.find_spec(name) is None] + ([] if CHROMIUM else ["Chromium"])
pytestmark = [pytest.mark.browser, pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")]

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
         "--disable-sync"]
PATIENCE = 300_000  # [ms] for a slow machine; nothing here waits longer than it has to
WIDGETS = ("kirigami-pair", "kirigami-cut", "kirigami-rotation", "kirigami-generator", "cellular-explore")  # with one picture each
PLOTS = ("truss-explore",)  # with a plotly figure each from the beginning
CELLS = ["from metanb.kirigami.explore import cut_explorer, generator_explorer, pair_explorer, rotation_explorer",
         "pair_explorer()", "cut_explorer()", "rotation_explorer()", "generator_explorer({folders})",
         "generator_explorer([])",
         "from metanb.cellular.explore import compress_live, explore", "explore(quarter=6, solve=compress_live)",  # in a thread, uncompiled
         "from metanb.truss.explore import explore, target_explorer", "explore()", "target_explorer(n_candidates=40, keep=2)"]
VOXEL = ["from metanb.voxel.explore import family_explorer, optimiser_explorer", "family_explorer()",
         "optimiser_explorer(stage_steps=50, tolerance=1e-9)"]  # 300 steps, so that there is time to pause


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory) -> Path:
    "A folder with a notebook of all widgets, and two small untrained generators for the browser."
    from metanb.core.weights import save_pretrained
    from metanb.kirigami.model import build

    folder = tmp_path_factory.mktemp("page")
    saved = [str(save_pretrained(build(name, width=4, latent=4), folder / f"{name}_{limit}", {"title": f"untrained {name}"}))
             for name, limit in (("vae", 20), ("gan", 60))]
    write_page(folder / "page.ipynb", [source.format(folders=saved) for source in CELLS])
    return folder


def write_page(path: Path, sources: list[str]) -> None:
    "A notebook with these cells."
    cells = [{"cell_type": "code", "id": f"cell{k}", "metadata": {}, "outputs": [], "execution_count": None, "source": source} for k, source in enumerate(sources)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port: int, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < end and server.poll() is None:
        with socket.socket() as s:
            s.settimeout(1)
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"voila did not start:\n{log.read_text()}")


@pytest.fixture(scope="module")
def address(page_folder) -> Iterator[str]:
    "Where voila serves the notebook, for as long as the tests of this module run."
    with served(page_folder) as address:
        yield address


@contextmanager
def served(folder: Path) -> Iterator[str]:
    "Voila serves page.ipynb of a folder."
    port, log = free_port(), folder / "voila.log"
    command = [sys.executable, "-m", "voila", "page.ipynb", "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1",
               f"--VoilaExecutor.startup_timeout={PATIENCE // 1000}"]
    private = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "RUNTIME")} | {"IPYTHONDIR": str(folder / "ipython")}
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=folder, stdout=file, stderr=file, start_new_session=True,
                                  env=os.environ | private | {"OMP_NUM_THREADS": "1"})
    try:
        wait_for_port(port, server, log)
        yield f"http://127.0.0.1:{port}/"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture(scope="module")
def browser():
    "Headless Chromium."
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def open_page(browser, address: str):
    "A page; requests that leave the machine are refused, so the widgets need none."
    page = browser.new_page(viewport={"width": 1200, "height": 2800})
    page.set_default_timeout(PATIENCE)
    page.add_init_script("AbortSignal.timeout = () => new AbortController().signal")  # anywidget would give up on plotly after two seconds, too few for a busy machine
    page.route(lambda url: not url.startswith((address, "data:", "blob:")), lambda route: route.abort())
    page.goto(address)
    return page


@pytest.fixture(scope="module")
def page(browser, address):
    "The page in headless Chromium, all widgets drawn."
    page = open_page(browser, address)
    for name in WIDGETS:
        page.wait_for_selector(f".metanb-{name} img")
    for name in PLOTS:
        page.wait_for_selector(f".metanb-{name} .js-plotly-plot .main-svg")
    yield page
    page.close()


def test_pictures_are_dark_on_a_dark_page(page):
    for kind in ("img.widget-image", ".js-plotly-plot"):
        picture = page.locator(f".metanb-app {kind}").first
        seen = []
        for light in ("true", "false", "true"):
            page.evaluate(f"document.body.dataset.jpThemeLight = '{light}'")
            seen.append(picture.evaluate("e => getComputedStyle(e).filter"))
        assert seen[0] == seen[2] == "none" and "invert" in seen[1]


@pytest.fixture(scope="module")
def voxel_page(browser, tmp_path_factory):
    "A page of its own for the voxel widgets, with the known cells drawn: a page loads plotly once for each of its figures."
    folder = tmp_path_factory.mktemp("voxel")
    write_page(folder / "page.ipynb", VOXEL)
    with served(folder) as address:
        page = open_page(browser, address)
        page.wait_for_selector(".metanb-voxel-family .js-plotly-plot .main-svg")
        yield page
        page.close()


# ---------------------------------------------------------------- what a hand and an eye would do

DIGEST = """async css => {
    const bytes = await (await fetch(document.querySelector(css).src)).arrayBuffer();
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    return new TextDecoder("latin1").decode(bytes.slice(1, 4)) + " " + digest.join(" ");
}"""


def picture(page, name: str) -> str:
    "Format and digest of the picture that the page shows."
    return page.evaluate(DIGEST, f".metanb-{name} img")


def control(page, name: str, label: str):
    "The slider or menu with this label."
    return page.locator(f".metanb-{name} .jupyter-widgets:has(> label:text-is('{label}'))").first


def press(page, name: str, label: str, key: str = "ArrowRight") -> None:
    "Focus a slider and press a key."
    control(page, name, label).locator(".noUi-handle").focus()
    page.keyboard.press(key)


def new_picture(page, name: str, old: str) -> str:
    "Wait until the page shows another picture."
    end = time.monotonic() + PATIENCE / 1000
    while (new := picture(page, name)) == old:
        assert time.monotonic() < end, f"the picture of {name} did not change"
        page.wait_for_timeout(100)
    return new


@pytest.mark.parametrize("name, label", [("kirigami-pair", "A upper [°]"), ("kirigami-pair", "position"), ("kirigami-cut", "angle [°]"),
                                         ("kirigami-rotation", "beta max [°]"), ("kirigami-generator", "seed"), ("cellular-explore", "seed")])
def test_the_picture_follows_a_slider(page, name, label):
    old = picture(page, name)
    assert old.startswith("PNG ")
    others = {other: picture(page, other) for other in WIDGETS if other != name}
    readout = control(page, name, label).locator(".widget-readout")
    value = float(readout.inner_text())
    press(page, name, label)
    new = new_picture(page, name, old)
    assert float(readout.inner_text()) > value
    press(page, name, label, "ArrowLeft")
    assert new_picture(page, name, new) == old  # the same settings give the same picture
    assert others == {other: picture(page, other) for other in others}


def test_route_buttons(page):
    old = picture(page, "kirigami-pair")
    page.locator(".metanb-kirigami-pair button", has_text="through C").click()
    assert new_picture(page, "kirigami-pair", old) != old


def test_browser_menus_and_export(page):
    menus = {label: control(page, "kirigami-generator", label).locator("select") for label in ("model", "beta max")}
    assert menus["model"].locator("option").all_inner_texts() == ["vae", "gan"]
    links = page.locator(".metanb-kirigami-generator a[download]")
    assert [links.nth(k).get_attribute("download") for k in (0, 1)] == ["vae_20_seed0_cell1.svg", "vae_20_seed0_cell1.dxf"]
    svg = base64.b64decode(re.match(r"data:image/svg\+xml;base64,(.*)", links.nth(0).get_attribute("href")).group(1))
    assert len(ElementTree.fromstring(svg).findall(".//{*}g[@id='cuts']/{*}line")) == 36
    old = picture(page, "kirigami-generator")
    menus["model"].select_option("gan")  # for which there are no weights at 20 degrees
    remark = new_picture(page, "kirigami-generator", old)
    page.wait_for_function("() => !document.querySelector('.metanb-kirigami-generator a[download]')")
    menus["beta max"].select_option("60°")
    new_picture(page, "kirigami-generator", remark)
    page.wait_for_selector("a[download='gan_60_seed0_cell1.dxf']")


def test_a_browser_without_weights_says_so(page):
    assert page.get_by_text("No trained generator of kirigami cells").count() == 1


def paint(page, pixels: int, start: tuple[int, int], *ends: tuple[int, int]) -> None:
    "Press at one pixel (row from the bottom, column) of the canvas, drag to others, let go."
    canvas = page.locator(".metanb-cellular-explore canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()

    def move(row, column, steps):
        page.mouse.move(box["x"] + (column + 0.5) * box["width"] / pixels, box["y"] + (pixels - row - 0.5) * box["height"] / pixels, steps=steps)

    move(*start, 1)
    page.mouse.down()
    for end in ends:
        move(*end, 4 * pixels)
    page.mouse.up()


def test_compress_a_cell_and_scrub_through_its_frames(page):
    old = picture(page, "cellular-explore")
    page.locator(".metanb-cellular-explore button", has_text="compress").click()
    page.wait_for_function("() => /[0-9]+ steps;/.test(document.querySelector('.metanb-cellular-explore').innerText)")
    last = new_picture(page, "cellular-explore", old)
    press(page, "cellular-explore", "frame", "ArrowLeft")
    page.wait_for_timeout(200)
    assert new_picture(page, "cellular-explore", last) != old
    assert control(page, "cellular-explore", "frame").locator(".widget-readout").inner_text() == "15"


def test_a_compression_is_stopped_and_the_canvas_has_an_undo(page):
    app, name = page.locator(".metanb-cellular-explore"), "cellular-explore"
    old, drawn = picture(page, name), app.locator("canvas").evaluate("c => c.toDataURL()")
    control(page, name, "begin with").locator("select").select_option("diamonds")
    assert new_picture(page, name, old) != old
    app.locator("button", has_text="compress").click()
    app.get_by_text("of the way").wait_for()
    app.locator("button", has_text="stop").click()
    app.get_by_text("not compressed yet").wait_for()
    app.locator("button", has_text="clear").click()
    wait_for(page, lambda: "not compressed yet" not in app.inner_text() and "solid" in app.inner_text())
    app.locator("button", has_text="fill").click()
    app.get_by_text("100% solid").wait_for()
    for _ in range(3):
        app.locator("button", has_text="undo").click()
    wait_for(page, lambda: app.locator("canvas").evaluate("c => c.toDataURL()") == drawn)
    control(page, name, "begin with").locator("select").select_option("random field")
    assert "Traceback" not in page.content()


def test_a_painted_cut_is_told_in_words(page):
    from metanb.cellular.design import random_designs

    cell = random_designs(1, threshold=0.4, quarter=6)[0]  # what the sliders show
    row, solid = 3, int(cell[3].argmax())
    text = page.locator(".metanb-cellular-explore")
    paint(page, 12, (row, solid), (row, 0), (row, 11))  # the first pixel is solid, so this takes away, here and in the mirror image
    page.wait_for_function("() => document.querySelector('.metanb-cellular-explore').innerText.includes('pieces that share no edge')")
    page.locator(".metanb-cellular-explore button", has_text="compress").click()
    page.wait_for_timeout(300)
    assert "pieces that share no edge" in text.inner_text() and "Traceback" not in page.content()
    old = picture(page, "cellular-explore")
    paint(page, 12, (row, 0), (row, 11))  # mended
    page.wait_for_function("() => document.querySelector('.metanb-cellular-explore').innerText.includes('not compressed yet')")
    assert new_picture(page, "cellular-explore", old) != old


# ---------------------------------------------------------------- trusses

PLOTTED = """name => document.querySelector(`.metanb-${name} .js-plotly-plot`).data.map(trace => {
    const mean = values => { const all = Array.from(values).flatMap(x => typeof x === "object" ? Array.from(x) : [x]).filter(Number.isFinite);
                             return all.reduce((a, b) => a + Math.abs(b), 0) / all.length; };
    return mean(trace.z ?? trace.y);
})"""


def table(page) -> list[float]:
    "The 36 numbers of the stiffness on the page."
    return [float(x) for x in page.locator(".metanb-truss-explore .metanb-stiffness td").all_inner_texts()]


def new_table(page, old: list[float]) -> list[float]:
    "Wait until the page shows another stiffness."
    page.wait_for_function("old => [...document.querySelectorAll('.metanb-truss-explore .metanb-stiffness td')].some((td, k) => Number(td.innerText) !== old[k])", arg=old)
    return table(page)


def test_a_stretch_changes_stiffness_cell_and_surface(page):
    old, drawn = table(page), page.evaluate(PLOTTED, "truss-explore")
    assert len(old) == 36 and old[0] == old[7] == old[14] and len(drawn) == 3  # cubic; tubes, edges, surface
    press(page, "truss-explore", "U1", "PageUp")
    new = new_table(page, old)
    assert new[0] > new[7] == new[14] and all(new[6 * i + j] == new[6 * j + i] for i in range(6) for j in range(i))
    assert "E1" in page.locator(".metanb-truss-explore").inner_text()
    page.wait_for_function(f"old => ({PLOTTED})('truss-explore').every((x, k) => Math.abs(x / old[k] - 1) > 1e-6 || k < 2)", arg=drawn)
    press(page, "truss-explore", "U1", "PageDown")
    assert new_table(page, new) == old


def test_topology_and_load_case(page):
    old = table(page)
    drawn = page.evaluate(PLOTTED, "truss-explore")
    control(page, "truss-explore", "load").locator("select").select_option("tension 33")
    page.get_by_text("tension 33 of 10%").wait_for()
    page.wait_for_function(f"old => Math.abs(({PLOTTED})('truss-explore')[0] / old[0] - 1) > 0.01", arg=drawn)  # the cell is longer
    assert table(page) == old
    control(page, "truss-explore", "lattice 1").locator("select").select_option("diamond")
    new = new_table(page, old)
    page.get_by_text("body-centred cubic + diamond").wait_for()
    control(page, "truss-explore", "lattice 1").locator("select").select_option("octet")
    assert new_table(page, new) == old


def test_designs_for_bone_and_their_files(page):
    editor = page.locator(".metanb-truss-target")
    assert "proposals" in editor.inner_text() and editor.locator(".js-plotly-plot").count() == 0
    editor.get_by_role("button", name="Design").click()
    editor.locator(".metanb-ranking").wait_for()
    rows = [row.split("\t") for row in editor.locator(".metanb-ranking tr").all_inner_texts()[1:]]
    assert len(rows) == 2 and all(0 <= float(row[2]) <= float(row[1]) for row in rows) and float(rows[0][2]) <= float(rows[1][2])
    editor.locator(".js-plotly-plot .main-svg").first.wait_for()
    assert len(page.evaluate(PLOTTED, "truss-target")) == 8
    editor.get_by_role("button", name="make files").click()
    links = editor.locator("a[download]")
    links.first.wait_for()
    nodes = base64.b64decode(links.nth(0).get_attribute("href").split(",")[1]).decode()
    assert nodes.startswith("node,x_mm,y_mm,z_mm") and links.nth(0).get_attribute("download") == "truss_nodes.csv"


def test_a_target_that_is_no_stiffness_is_told_in_words(page):
    editor = page.locator(".metanb-truss-target")
    field = control(page, "truss-target", "C12").locator("input")
    field.fill("9")
    field.press("Enter")
    page.wait_for_function("() => /own\\sconstants/.test(document.querySelector('.metanb-truss-target select').selectedOptions[0].text)")  # with a no-break space
    editor.get_by_role("button", name="Design").click()
    editor.get_by_text("eigenvalue").wait_for()
    assert "Traceback" not in page.content()


# ---------------------------------------------------------------- voxels

SQUARES = PLOTTED.replace("Math.abs(b)", "b * b")  # the mean height of a symmetric cell is always one half


def voxel_numbers(page, name: str) -> dict[str, float]:
    "Names and numbers of the tables on the page."
    rows = page.locator(f".metanb-{name} .metanb-numbers tr").all_inner_texts()
    return {label: float(value) for label, value in (row.split("\t") for row in rows if row.count("\t") == 1)}


def wait_for(page, change, patience: float = PATIENCE / 1000):
    "What `change` returns, once it is true."
    end = time.monotonic() + patience
    while not (found := change()):
        assert time.monotonic() < end, "nothing changed on the page"
        page.wait_for_timeout(100)
    return found


def test_a_volume_fraction_changes_cell_surface_bars_and_numbers(voxel_page):
    page, name = voxel_page, "voxel-family"
    old = wait_for(page, lambda: "C11" in (now := voxel_numbers(page, name)) and "K / K_HS" in now and now)  # two tables, drawn one by one
    drawn = page.evaluate(SQUARES, name)
    assert len(drawn) == 3 and abs(old["volume fraction"] - 0.3) < 0.002 and abs(drawn[2] - sum(old[k] ** 2 for k in ("K / K_HS", "G Reuss / G_HS", "C44 / G_HS", "C' / G_HS")) / 4) < 0.002
    press(page, name, "volume fraction", "PageUp")
    new = wait_for(page, lambda: all((now := voxel_numbers(page, name)).get(k, old[k]) != old[k] for k in ("volume fraction", "C11")) and now)
    assert all(new[k] > old[k] for k in ("volume fraction", "C11", "C12", "C44", "K / K_HS", "E along an axis"))
    page.wait_for_function(f"old => ({SQUARES})('{name}').every((x, k) => Math.abs(x / old[k] - 1) > 1e-6)", arg=drawn)
    press(page, name, "volume fraction", "PageDown")
    wait_for(page, lambda: voxel_numbers(page, name) == old)
    assert "one octant, two load cases" in page.locator(f".metanb-{name}").inner_text()


def test_a_family_without_mirrors_and_one_cut_open(voxel_page):
    page, name = voxel_page, "voxel-family"
    text, drawn = page.locator(f".metanb-{name}"), page.evaluate(SQUARES, name)
    control(page, name, "family").locator("select").select_option("gyroid")
    text.get_by_text("no mirror planes: the whole cell, six load cases").wait_for()
    assert text.locator(".metanb-stiffness td").count() == 36
    control(page, name, "along an edge").locator("select").select_option("16 voxels")
    control(page, name, "family").locator("select").select_option("octet_plates")
    text.get_by_text("16 voxels an edge allow a volume fraction of 0.414, not 0.30").wait_for()
    text.get_by_text("stiffer than the bound allows").wait_for()
    closed = wait_for(page, lambda: (now := page.evaluate(SQUARES, name)) != drawn and now)
    text.get_by_label("cut open").check()
    wait_for(page, lambda: abs(page.evaluate(SQUARES, name)[0] / closed[0] - 1) > 1e-3)  # the corner that is highest and nearest is gone
    assert abs(page.evaluate(SQUARES, name)[2] / closed[2] - 1) < 1e-9


STEPS = "() => (document.querySelector('.metanb-voxel-optimiser .js-plotly-plot')?.data?.[2]?.y ?? []).length"  # that the page has drawn


def test_an_optimisation_is_started_paused_taken_up_and_finished(voxel_page):
    from metanb.core.elasticity import bounds

    page, name = voxel_page, "voxel-optimiser"
    app = page.locator(f".metanb-{name}")
    assert app.locator(".js-plotly-plot").count() == 0 and app.locator("a[download]").count() == 0
    app.locator(".jupyter-button", has_text="start").click()
    first = wait_for(page, lambda: page.evaluate(STEPS))
    wait_for(page, lambda: page.evaluate(STEPS) > first)
    app.locator(".jupyter-button", has_text="pause").click()
    app.get_by_text("paused at step").wait_for()
    paused = int(re.search(r"paused at step (\d+)", app.inner_text()).group(1))
    assert 0 < paused < 300
    press(page, "voxel-family", "volume fraction")  # another app answers meanwhile
    page.wait_for_timeout(500)
    assert f"paused at step {paused}" in app.inner_text() and page.evaluate(STEPS) <= paused
    app.locator(".jupyter-button", has_text="go on").click()
    app.get_by_text("in black and white, homogenised anew").wait_for()
    values = wait_for(page, lambda: voxel_numbers(page, name))
    assert 0.8 < values["K / K_HS"] <= 1 and abs(values["volume fraction"] - 0.3) < 0.01
    assert abs((values["C11"] + 2 * values["C12"]) / 3 - values["K / K_HS"] * float(bounds(values["volume fraction"])[0])) < 0.001
    wait_for(page, lambda: page.evaluate(STEPS) == 300)
    link = app.locator("a[download]")
    content = base64.b64decode(link.get_attribute("href").split(",")[1])
    assert link.get_attribute("download") == "bulk_0.30_seed0.stl" and len(content) == 84 + 50 * int.from_bytes(content[80:84], "little") > 10_000
    app.locator(".jupyter-button", has_text="reset").click()
    app.get_by_text("ready to start").wait_for()
    wait_for(page, lambda: page.evaluate(STEPS) == 0)
    assert "Traceback" not in page.content()


def test_a_setting_that_moves_ends_the_run(voxel_page):
    page, name = voxel_page, "voxel-optimiser"
    app = page.locator(f".metanb-{name}")
    control(page, name, "along an edge").locator("select").select_option("16 voxels")
    app.locator(".jupyter-button", has_text="start").click()
    wait_for(page, lambda: page.evaluate(STEPS))
    press(page, name, "random start")
    app.get_by_text("ready to start").wait_for()
    wait_for(page, lambda: page.evaluate(STEPS) == 0)
    page.wait_for_timeout(700)
    assert page.evaluate(STEPS) == 0 and app.locator(".jupyter-button", has_text="start").count() == 1


def test_cells_for_a_stiffness_are_drawn_verified_and_offered(browser, tmp_path):
    "The app of nbs/apps as it is."
    from metanb.voxel.mechanics import effective_stiffness

    shutil.copy(Path(__file__).parents[1] / "nbs/apps/voxel.ipynb", tmp_path / "page.ipynb")
    with served(tmp_path) as address:
        page = open_page(browser, address)
        app = page.locator(".metanb-voxel-target")
        app.locator(".js-plotly-plot .main-svg").first.wait_for()
        assert app.locator("a[download]").count() == 0
        app.get_by_text("polish").click()
        app.get_by_role("button", name="four cells").click()
        app.get_by_role("button", name="stop").click()
        app.get_by_text("stopped", exact=True).wait_for()
        app.get_by_text("polish").click()
        app.get_by_role("button", name="four cells").click()
        app.locator(".metanb-found").wait_for()
        rows = [[float(x) for x in row.split("\t")[1:] if x.strip()] for row in app.locator(".metanb-found tr").all_inner_texts()[1:]]
        wanted, best = rows[0], rows[1]
        assert len(rows) >= 3 and len(wanted) == 3 and len(best) == 5
        found = wait_for(page, lambda: voxel_numbers(page, "voxel-target"))
        assert abs(found["C11"] - best[0]) < 1e-3 and abs(found["volume fraction"] - best[3]) < 1e-3
        app.locator(".js-plotly-plot .main-svg").nth(1).wait_for()
        content = base64.b64decode(app.locator("a[download]").get_attribute("href").split(",")[1])
        assert len(content) == 84 + 50 * int.from_bytes(content[80:84], "little") > 10_000
        import numpy as np
        import trimesh

        # the file, put back into voxels, has the stiffness that the page tells
        (tmp_path / "cell.stl").write_bytes(content)
        mesh = trimesh.load(tmp_path / "cell.stl")
        assert mesh.is_watertight
        centres = (np.stack(np.meshgrid(*3 * [np.arange(32)], indexing="ij"), -1).reshape(-1, 3) + 0.5) * 10 / 32
        cell = mesh.contains(centres).reshape(32, 32, 32)
        assert abs(cell.mean() - best[3]) < 1e-3 and abs(float(effective_stiffness(cell)[0, 0]) - best[0]) < 1e-3
        assert "Traceback" not in page.content()
        page.close()


# ---------------------------------------------------------------- cells for a curve

CURVE = ["""from functools import partial
from metanb.cellular.inverse import design_for
from metanb.cellular.target import target_explorer
target_explorer(search=partial(design_for, kinetic_target=0.004, repeats=0, compiled=False, n_solves=2))"""]


def test_a_curve_that_is_drawn_gets_cells_while_the_page_lives(browser, tmp_path):
    "Points are dragged, the search runs beside the page and can be stopped, frames are played."
    write_page(tmp_path / "page.ipynb", CURVE)
    with served(tmp_path) as address:
        page = open_page(browser, address)
        app = page.locator(".metanb-cellular-target")
        app.get_by_text("known cells is").wait_for()
        words = app.get_by_text("known cells is").inner_text()
        box = app.locator("canvas").bounding_box()
        page.mouse.move(box["x"] + 0.98 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.98 * box["width"], box["y"] + 0.2 * box["height"])
        page.mouse.up()
        wait_for(page, lambda: app.get_by_text("known cells is").inner_text() != words)
        control(page, "cellular-target", "begin with").locator("select").select_option("the paper's: kink")
        control(page, "cellular-target", "cells from").locator("select").select_option("data alone")
        press(page, "cellular-target", "rounds", "Home")
        app.get_by_role("button", name="find cells").click()
        app.get_by_text("compressing the nearest data").wait_for()
        assert app.get_by_role("button", name="find cells").is_disabled()
        app.get_by_text("each compressed").wait_for()
        pictures = app.locator("img")
        wait_for(page, lambda: pictures.count() == 2)
        old = pictures.nth(1).get_attribute("src")
        press(page, "cellular-target", "frame", "ArrowLeft")
        wait_for(page, lambda: pictures.nth(1).get_attribute("src") != old)
        press(page, "cellular-target", "rounds", "End")
        app.get_by_role("button", name="find cells").click()
        app.get_by_text("compressing the nearest data").wait_for()
        app.get_by_role("button", name="stop").click()
        app.get_by_text("stopped").wait_for()
        wait_for(page, app.get_by_role("button", name="find cells").is_enabled)  # it follows the words
        assert "Traceback" not in page.content()
        page.close()


# ---------------------------------------------------------------- apps as they are served

FIRST = "[class*=metanb-] img[src^=blob], [class*=metanb-] canvas, [class*=metanb-] .js-plotly-plot .main-svg"


@pytest.mark.parametrize("name", ["kirigami", "truss"])
def test_an_app_asks_nobody_and_fits_a_narrow_page(browser, tmp_path, name):
    "`metanb app NAME`: a picture, no request to another server, links to the site, nothing beyond the edge at 600 pixels, a control that answers."
    from metanb.core.apps import app_server, write_app

    port, log, outside = free_port(), tmp_path / "voila.log", []
    (tmp_path / "app").mkdir()
    server = app_server(write_app(name, tmp_path / "app"), port, log=log, options=[f"--VoilaExecutor.startup_timeout={PATIENCE // 1000}"])
    try:
        wait_for_port(port, server, log)
        end = time.monotonic() + PATIENCE / 1000
        while "is filled with" not in log.read_text():  # the kernel has run the notebook
            assert time.monotonic() < end and server.poll() is None
            time.sleep(0.1)
        address = f"http://127.0.0.1:{port}/"
        page = browser.new_page(viewport={"width": 600, "height": 1400})
        page.set_default_timeout(PATIENCE)
        page.add_init_script("AbortSignal.timeout = () => new AbortController().signal")
        page.on("request", lambda request: outside.append(request.url) if not request.url.startswith((address, "data:", "blob:", f"ws://127.0.0.1:{port}/")) else None)
        page.goto(address)
        page.locator(FIRST).locator("visible=true").first.wait_for()
        links = [link.get_attribute("href") for link in page.locator(".jp-MarkdownOutput a, .jp-RenderedMarkdown a").all()]
        assert any(link.endswith(f"/{name}/explore.html") for link in links)
        assert all(link.startswith(("https://metanb.github.io/", "#")) for link in links)
        over = page.evaluate("() => [...document.querySelectorAll('[class*=metanb-] *')].filter(e => e.getBoundingClientRect().width && e.getBoundingClientRect().right > innerWidth + 1).length")
        assert over == 0
        cut = page.evaluate("() => [...document.querySelectorAll('.widget-label')].filter(e => e.offsetWidth && e.scrollWidth > e.offsetWidth + 1).map(e => e.innerText)")
        assert cut == []
        if name == "kirigami":
            old = picture(page, "kirigami-pair")
            press(page, "kirigami-pair", "position")
            new_picture(page, "kirigami-pair", old)
        else:
            old = table(page)
            press(page, "truss-explore", "density", "PageUp")
            new_table(page, old)
        assert outside == [] and "Traceback" not in page.content()
        page.close()
    finally:
        server.terminate()
        server.wait(60)
