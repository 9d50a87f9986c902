"""The page's figures: from start to ready, until a 12-megapixel photograph is shown, and what previews cost.

    PYTHONPATH=tests python tests/ui/figures.py

prints a line for each. The first two are read off a clock, so they want an idle machine; what previews cost is
processor time.
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
from gas_ui.progress import Progress
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


def edit(page: Page) -> tuple[float, float, int]:
    """Processor seconds of one edit that is looked at as the page does, those of its previews, and their number."""
    spent = 0.0
    step = Progress.step

    def counted(self: Progress, now: Any) -> None:
        nonlocal spent
        began = time.thread_time()
        step(self, now)
        spent += time.thread_time() - began

    Progress.step = counted  # type: ignore[method-assign]
    try:
        assert page.post("/edit").status_code == 200
        task = page.desk.windows[page.id].task
        assert task is not None
        began = time.process_time()
        while not task.over:
            page.get(f"/tasks/{task.id}")
            time.sleep(LOOKED)
    finally:
        Progress.step = step  # type: ignore[method-assign]
    assert task.error is None, task.error
    return time.process_time() - began, spent, task.progress.previews


def look(page: Page, times: int = 100) -> float:
    """Processor seconds of one look: how far it is, and the preview."""
    task = page.desk.windows[page.id].task
    assert task is not None
    began = time.process_time()
    for _ in range(times):
        page.get(f"/tasks/{task.id}")
        page.get(f"/tasks/{task.id}/preview")
    return (time.process_time() - began) / times


def previews(desk: Desk, client: Any, flags: dict[str, Any], edits: int) -> tuple[float, float, int, float]:
    """Of an edit with `flags`: the median share of its processor time that previews take, its processor seconds and
    previews, and the share of a core that looking takes. Threads of torch are not counted: run it with one."""
    page = Page(client, desk)
    assert (
        page.put("/flags", {"profile": "diorama", "planner": "rules", "seed": 1, "cache": False, **flags}).status_code
        == 200
    )
    page.post("/example", {"number": 0})
    assert page.do("/plan", {"instruction": page.state["picture"]["example"]})["error"] is None
    edit(page)  # loads the model
    made = [edit(page) for _ in range(edits)]
    share = statistics.median(spent / (whole - spent) for whole, spent, _ in made)
    whole = statistics.median(whole for whole, _, _ in made)
    return share, whole, round(statistics.median(count for _, _, count in made)), look(page) / LOOKED


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description="The page's figures.")
    parser.add_argument("--steps", type=int, default=100, help="of ground-a-score")
    parser.add_argument("--edits", type=int, default=3, help="how many are looked at")
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
        share, whole, count, looking = previews(desk, client, flags, asked.edits)
        print(
            f"{name}: {whole:.1f} s of processor time, {count} previews take {100 * share:.1f} % more; looking at it "
            f"takes {100 * looking:.1f} % of a core",
            flush=True,
        )
    desk.close()
    shutil.rmtree(os.environ["GAS_HOME"], ignore_errors=True)


if __name__ == "__main__":
    main()
