"""Apps in a browser: seconds until the first picture, with a kernel that is ready and from nothing, and requests to other servers.

    python benchmarks/apps.py [NAME ...] [--pictures FOLDER] [--out runs/benchmarks]

Needs voila, playwright and Chromium. Cold: from the start of `metanb app` to the first picture, with the page asked for as soon as the port answers. Warm: from
asking for the page to its first picture, once voila says that the kernel has run the notebook. A picture is an image, a canvas or a plotly figure that the app shows.
--pictures saves the page at widths of 1200 and 600 pixels. Appends a line of JSON an app to apps.jsonl.

Measured on two cores with a load of 5 to 8 from other work: kirigami cold 19.5 s, warm 3.1 and 3.7 s; truss cold 23.9 s, warm 10.4 and 12.7 s, where the browser
draws in three dimensions without a GPU and reads plotly first. The goals, 12 s cold and 5 s warm, are met by kirigami warm; on an idle machine they were not measured.
No request to another server in any of them.
"""

import argparse
import json
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

from metanb.core.apps import app_server, apps, write_app

FIRST = "[class*=metanb-] img[src^=blob], [class*=metanb-] canvas, [class*=metanb-] .js-plotly-plot .main-svg"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(true, patience=300):
    end = time.monotonic() + patience
    while not true():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def first_picture(browser, address, pictures, width):
    "Seconds to the first picture, and what was asked of others."
    page, outside = browser.new_page(viewport={"width": width, "height": 1300}), []
    page.on("request", lambda request: None if request.url.startswith((address, "data:", "blob:", address.replace("http", "ws"))) else outside.append(request.url))
    begin = time.perf_counter()
    page.goto(address, timeout=120_000)
    page.locator(FIRST).locator("visible=true").first.wait_for(timeout=120_000)
    seconds = time.perf_counter() - begin
    if pictures:
        page.wait_for_timeout(4000)
        tabs = page.get_by_role("tab")
        for k in range(max(1, tabs.count())):
            if tabs.count():
                tabs.nth(k).click()
                page.wait_for_timeout(1500)
            page.screenshot(path=f"{pictures}_{width}_{k}.png")
    page.close()
    return seconds, outside


def measure(name, browser, pictures):
    "One app."
    with tempfile.TemporaryDirectory() as folder:
        port, log = free_port(), Path(folder) / "log.txt"
        address, begin = f"http://127.0.0.1:{port}/", time.perf_counter()
        server = app_server(write_app(name, Path(folder)), port, log=log)
        filled = "is filled with"
        try:
            wait_until(lambda: answers(port))
            up = time.perf_counter() - begin
            cold, outside = first_picture(browser, address, None, 1200)
            warm = []
            for turn, width in enumerate((1200, 600)):
                wait_until(lambda: log.read_text().count(filled) > turn)
                seconds, more = first_picture(browser, address, pictures and f"{pictures}/{name}", width)
                warm.append(seconds)
                outside += more
        finally:
            server.terminate()
            server.wait()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"app": name, "cold_s": round(up + cold, 2), "warm_s": [round(x, 2) for x in warm], "outside": outside, "load": load}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    options = parser.parse_args()
    for folder in filter(None, (options.pictures, options.out)):
        folder.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox", "--disable-gpu"])
        for name in options.names or apps():
            line = json.dumps(measure(name, browser, options.pictures))
            print(line, flush=True)
            with (options.out / "apps.jsonl").open("a") as file:
                file.write(line + "\n")
        browser.close()


if __name__ == "__main__":
    main()
