"""The page's figures: from start to ready, until a 12-megapixel photograph is shown, and what previews cost.

    PYTHONPATH=tests python tests/ui/figures.py

prints a line for each. Processor time is the process's own, so that other work on the machine counts little; the looks
of the page are counted in it, too.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pictures
from served import ORIGIN, PORT, Page, serving
from starlette.testclient import TestClient

from gas_ui.desk import Desk
from gas_ui.guard import Door, Guard
from gas_ui.routes import application

LOOKED = 0.35
"""Seconds between two looks of the page at what runs."""


def start() -> tuple[float, bool]:
    """Seconds until the page and all that it asks first are there, and whether torch was loaded (Linux; else False)."""
    began = time.monotonic()
    command = [sys.executable, "-m", "gas_cli", "ui", "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        address = process.stderr.readline().split()[-1]
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        opener.open(address, timeout=60).read()
        site, _, _ = address.partition("/?")
        for path in ("/static/main.js", "/api/start", "/api/choices"):
            opener.open(site + path, timeout=60).read()
        seconds = time.monotonic() - began
        maps = Path(f"/proc/{process.pid}/maps")
        return seconds, maps.exists() and "libtorch" in maps.read_text()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def photograph(width: int = 4000, height: int = 3000) -> bytes:
    """A JPEG of so many pixels, with detail at every scale."""
    random = np.random.default_rng(1)
    image = np.zeros((height, width, 3), np.float32)
    for side in (8, 32, 128, 512):
        noise = random.integers(0, 256, (side, side, 3), dtype=np.uint8)
        image += np.asarray(Pictures.fromarray(noise).resize((width, height), Pictures.Resampling.BICUBIC)) / 4
    stream = io.BytesIO()
    Pictures.fromarray(image.astype(np.uint8)).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def shown(content: bytes, desk: Desk) -> float | None:
    """Seconds from dropping a photograph to its being on the screen; None where there is no browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    with sync_playwright() as playwright, serving(desk) as address:
        found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
        if found is None:
            return None
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(address)
        tab.wait_for_selector(".empty")
        began = time.monotonic()
        tab.set_input_files("#photo-input", {"name": "large.jpg", "mimeType": "image/jpeg", "buffer": content})
        tab.wait_for_selector(".surface img", timeout=60_000)
        while not tab.evaluate(
            "[...document.querySelectorAll('.surface img')].some((one) => one.complete && one.naturalWidth > 0)"
        ):
            time.sleep(0.01)
        seconds = time.monotonic() - began
        browser.close()
        return seconds


def edit(page: Page, look: bool) -> tuple[float, int]:
    """Processor seconds of one edit, looked at as the page does or not at all, and the previews that were made."""
    began = time.process_time()
    assert page.post("/edit").status_code == 200
    task = page.desk.windows[page.id].task
    assert task is not None
    while not task.over:
        if look:
            told = page.get(f"/tasks/{task.id}").json()
            if told["progress"]["previews"]:
                page.get(f"/tasks/{task.id}/preview")
        time.sleep(LOOKED if look else 0.02)
    assert task.error is None, task.error
    return time.process_time() - began, task.progress.previews


def previews(desk: Desk, client: Any, flags: dict[str, Any], pairs: int) -> tuple[float, float, int]:
    """The median over pairs of edits of the processor time with previews to that without, the median seconds without,
    and how many previews an edit had."""
    page = Page(client, desk)
    assert page.put("/flags", {"profile": "diorama", "planner": "rules", "seed": 1, **flags}).status_code == 200
    page.post("/example", {"number": 0})
    example = page.state["picture"]["example"]
    assert page.do("/plan", {"instruction": example})["error"] is None
    edit(page, look=False)  # loads the model
    ratios, seconds, counts = [], [], []
    for _ in range(pairs):
        without, _ = edit(page, look=False)
        watched, count = edit(page, look=True)
        ratios.append(watched / without)
        seconds.append(without)
        counts.append(count)
    return statistics.median(ratios), statistics.median(seconds), round(statistics.median(counts))


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description="The page's figures.")
    parser.add_argument("--steps", type=int, default=100, help="of ground-a-score, with and without previews")
    parser.add_argument("--pairs", type=int, default=5, help="of edits, with and without previews")
    asked = parser.parse_args()
    os.environ["GAS_HOME"] = tempfile.mkdtemp(prefix="gas-figures-")
    seconds = sorted(start() for _ in range(3))
    torch = "loaded" if any(one for _, one in seconds) else "not loaded"
    print(f"start to ready: {seconds[1][0]:.2f} s, torch {torch}", flush=True)
    desk = Desk()
    content = photograph()
    took = [one for one in (shown(content, desk) for _ in range(3)) if one is not None]
    size = f"a photograph of 12 megapixels, {len(content) / 1e6:.1f} MB"
    print(f"{size}: shown after {statistics.median(took):.2f} s" if took else f"{size}: no Chromium here", flush=True)
    door = Door("127.0.0.1", PORT)
    client = TestClient(Guard(application(desk, door), door), base_url=ORIGIN, headers={"origin": ORIGIN})
    client.cookies.set(door.cookie, door.session)
    steps = {"editor": "ground-a-score", "options": {"ground-a-score": {"steps": str(asked.steps)}}}
    for name, flags in ((f"ground-a-score, {asked.steps} steps", steps), ("auto", {"editor": "auto"})):
        ratio, without, count = previews(desk, client, flags, asked.pairs)
        print(f"{name}: {count} previews, {100 * (ratio - 1):+.1f} % of {without:.1f} s processor time", flush=True)
    desk.close()
    shutil.rmtree(os.environ["GAS_HOME"], ignore_errors=True)


if __name__ == "__main__":
    main()
