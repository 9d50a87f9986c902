"""The page in a browser: from a dropped picture to the downloaded bytes, by what somebody sees and presses."""

from __future__ import annotations

import io
import shlex
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures
from places import ROOT
from served import FAKE, PLACES, serving

from gas.backends.registry import Registry
from gas.testing import fakes
from gas_cli.app import app
from gas_cli.run import run
from gas_ui.desk import Desk

playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install '.[dev]'")
pytestmark = pytest.mark.seeded  # the browser's driver and the planner's client draw random names
Tab = Any
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FAINT = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const not = ":disabled, .change.off, svg, .frames, .surface, .visually-hidden";
  const faint = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.checkVisibility() || one.closest(not)) continue;
    let behind = one;
    while (behind && !(parts(getComputedStyle(behind).backgroundColor)[3] ?? 1)) behind = behind.parentElement;
    const [a, b] = [light(parts(getComputedStyle(one).color)), light(parts(getComputedStyle(behind).backgroundColor))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${one.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return faint;
}"""
"""Text whose contrast with what is behind it is less than 4.5 (WCAG 2.2, AA); what is disabled may be faint."""
ASKED = "dog -> tiger; grass -> snow"
FEW_STEPS = "[options.ground-a-score]\nsteps = 4\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        found = next((path for path in map(shutil.which, NAMES) if path), None)
        if found is None and Path(started.chromium.executable_path).exists():
            found = started.chromium.executable_path
        if found is None:
            pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
        browser = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    (home / "config.toml").write_text(FEW_STEPS)
    return home


@pytest.fixture(scope="module")
def served(home: Path) -> Iterator[tuple[str, Desk]]:
    """The address of one server for all tests, each of which has a window of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAS_HOME", str(home))
        patch.setattr(Registry, "discover", classmethod(lambda cls: fake_backends.registry()))
        desk = Desk()
        with serving(desk) as address:
            yield address, desk
        desk.close()


class Open:
    """A window in the browser, and what it asked of whom."""

    def __init__(self, browser: Any, address: str, **how: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 820}, **how})
        self.tab: Tab = self.context.new_page()
        self.tab.set_default_timeout(90_000)
        self.faults: list[str] = []
        self.asked: list[str] = []
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.goto(address)
        self.tab.wait_for_selector(".empty")

    def choose(self, flags: dict[str, Any]) -> None:
        """Settings, as the page's own form sends them."""
        self.tab.evaluate(
            "async (flags) => { const id = sessionStorage.getItem('gas-window');"
            "await fetch(`/api/w/${id}/flags`, {method: 'PUT', body: JSON.stringify(flags)}); }",
            flags,
        )

    def fake(self, **more: Any) -> None:
        """Backends that need no model."""
        self.choose({**FAKE, "options": {"places": PLACES}, **more})
        self.tab.reload()
        self.tab.wait_for_selector(".empty")

    def drop(self, content: bytes | None = None, name: str = "dog.png") -> None:
        content = png() if content is None else content
        self.tab.set_input_files("#photo-input", {"name": name, "mimeType": "image/png", "buffer": content})

    def plan(self, request: str = ASKED) -> None:
        self.tab.wait_for_selector(".surface img")
        self.tab.fill("#ask", request)
        self.tab.click("#ask-button")

    def until(self, expression: str) -> None:
        """Waits for it to be true; the page's own rules forbid the driver to do so inside."""
        end = time.monotonic() + 60
        while not self.tab.evaluate(expression):
            assert time.monotonic() < end, expression
            self.tab.wait_for_timeout(50)

    def close(self) -> None:
        self.context.close()
        assert not self.faults, self.faults
        assert all(url.startswith(("http://127.0.0.1:", "data:", "blob:")) for url in self.asked), self.asked


@pytest.fixture
def opened(browser: Any, served: tuple[str, Desk]) -> Iterator[Any]:
    windows: list[Open] = []

    def open_one(**how: Any) -> Open:
        windows.append(Open(browser, served[0], **how))
        return windows[-1]

    yield open_one
    for window in windows:
        window.close()


def png() -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)
    Pictures.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


def slowly(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.03, wait: Callable[[], object] | None = None) -> None:
    """Makes every step of the fake editor take its time, or wait as `wait` does."""
    edit, pause = fakes.FakeEditor.edit, wait or (lambda: time.sleep(seconds))

    def slow(self: Any, job: Any) -> Any:
        from dataclasses import replace

        told = job.watch.on_step
        return edit(self, replace(job, watch=replace(job.watch, on_step=lambda step: (pause(), told(step))[1])))

    monkeypatch.setattr(fakes.FakeEditor, "edit", slow)


def test_from_a_scene_of_the_gallery_to_the_bytes_that_gas_edit_writes(
    opened: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = opened()
    tab = window.tab
    tab.click(".example >> nth=1")
    tab.wait_for_selector(".surface img")
    assert tab.input_value("#ask") == "change the red car into a green tree"
    tab.press("#ask", "Control+Enter")
    tab.wait_for_selector(".chip .number")
    assert tab.locator(".change").count() == 1 and "a red car" in tab.inner_text(".frame")
    tab.click("[data-key=edit]")
    tab.wait_for_selector("[data-key=download]")
    with tab.expect_download() as loading:
        tab.click("[data-key=download]")
    mine = Path(loading.value.path()).read_bytes()
    assert loading.value.suggested_filename == "two-cars-edited.png"
    assert "every pixel is the photograph's" in tab.inner_text("#result")
    line = tab.locator("code.command").text_content()
    shutil.copy(ROOT / "plugins" / "gas_diorama" / "scenes" / "two-cars.png", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAS_HOME", str(home))
    monkeypatch.setattr(sys, "argv", shlex.split(line))
    with pytest.raises(SystemExit) as ended:
        run(app)
    assert not ended.value.code
    assert mine == (tmp_path / "two-cars-edited.png").read_bytes()
    # the slider is for the keyboard too
    tab.focus(".split")
    before = tab.locator(".split-line").bounding_box()["x"]
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(".split-line").bounding_box()["x"] < before


def test_painting_changes_that_region_alone(opened: Any, served: tuple[str, Desk]) -> None:
    window = opened()
    tab = window.tab
    window.fake()
    window.drop()
    window.plan()
    tab.wait_for_selector(".chip .number")
    ours = served[1].windows[tab.evaluate("sessionStorage.getItem('gas-window')")]
    dog, grass = (place.region.mask.copy() for place in ours.places)
    tab.click(".chip >> nth=0")
    tab.wait_for_selector("[data-key=tool-brush][aria-pressed=true]")
    window.until("document.querySelectorAll('.layer').length === 2")
    tab.wait_for_timeout(200)
    box = tab.locator(".surface").bounding_box()
    tab.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 0.1 * box["height"], steps=3)
    tab.mouse.up()
    tab.wait_for_selector(".chip:has-text('drawn')")
    now = [place.region.mask for place in ours.places]
    assert np.array_equal(now[1], grass)
    added = (now[0] != dog).nonzero()
    assert len(added[0]) > 4 and now[0][added].min() == 1
    assert added[0].max() < 0.25 * 90 and added[1].min() > 0.7 * 120  # where the brush was, and nowhere else
    tab.keyboard.press("Control+z")
    window.until("document.querySelector('[data-key=press-undo]').disabled === false")
    tab.wait_for_timeout(300)
    assert np.array_equal(ours.places[0].region.mask, dog)


def test_open_opens_though_an_original_was_asked_for_before(opened: Any) -> None:
    window = opened()
    tab = window.tab
    window.fake()
    window.drop()
    window.plan("dog -> tiger")
    tab.wait_for_selector(".chip .number")
    tab.click("[data-key=edit]")
    with tab.expect_download() as loading:
        tab.click("[data-key=download]")
    other = opened()
    other.drop(Path(loading.value.path()).read_bytes(), "made.png")
    with other.tab.expect_file_chooser():
        other.tab.click("[data-key=original]")  # and nothing is chosen
    with other.tab.expect_file_chooser() as chooser:
        other.tab.click("#open-photo")
    chooser.value.set_files({"name": "next.png", "mimeType": "image/png", "buffer": png()})
    other.tab.wait_for_selector("#file-name:has-text('next.png')", timeout=20_000)


def test_a_thing_that_is_drawn_is_no_longer_said_not_to_be_found(opened: Any) -> None:
    window = opened()
    tab = window.tab
    window.fake()
    window.drop()
    window.plan("cat -> tiger; owl -> fox")
    tab.wait_for_selector("#plan .problem")
    for number in (0, 1):
        assert tab.locator("#plan .problem").count() == 1
        tab.click("text=Draw its place >> nth=0")
        box = tab.locator(".surface").bounding_box()
        tab.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"])
        tab.mouse.down()
        tab.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"], steps=3)
        tab.mouse.up()
        window.until(f"document.querySelectorAll('.chip .swatch').length === {number + 1}")
    assert tab.locator("#plan .problem").count() == 0
    assert "Each change has its place" in tab.inner_text("body")


def test_regions_are_moved_grown_removed_and_added_by_keys(opened: Any, served: tuple[str, Desk]) -> None:
    window = opened()
    tab = window.tab
    window.fake()
    window.drop()
    window.plan()
    tab.wait_for_selector(".chip .number")
    ours = served[1].windows[tab.evaluate("sessionStorage.getItem('gas-window')")]
    dog = ours.places[0].region.mask.copy()
    grass = ours.places[1].region.mask.copy()
    tab.focus(".surface")
    tab.keyboard.press(".")
    tab.wait_for_selector(".chip.on >> nth=0")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("Shift+ArrowDown")
    window.until("document.querySelector('.chip').textContent.startsWith('drawn')")
    moved = np.zeros_like(dog)
    moved[10:, 1:] = dog[:-10, :-1]
    assert np.array_equal(ours.places[0].region.mask, moved)
    tab.keyboard.press("+")
    window.until("document.querySelector('#announced').textContent !== ''")
    wait_for(lambda: ours.places[0].region.mask.sum() > moved.sum())
    tab.keyboard.press("Control+z")
    wait_for(lambda: np.array_equal(ours.places[0].region.mask, moved))
    tab.keyboard.press("-")
    wait_for(lambda: ours.places[0].region.mask.sum() < moved.sum())
    assert np.array_equal(ours.places[1].region.mask, grass)
    tab.keyboard.press("n")  # another box for the same change
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_selector("[data-key=put-box]")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Shift+ArrowRight")
    assert "% from the left" in tab.text_content("#announced")
    tab.keyboard.press("Enter")
    wait_for(lambda: len(ours.places) == 3)
    added = ours.places[-1]
    x0, y0, x1, y1 = added.region.box
    assert (round(x1 - x0), round(y1 - y0)) == (38, 27) and added.row == ours.places[
        0
    ].row  # 36 wide, and one step of two more
    tab.wait_for_selector(".chip.on")
    tab.keyboard.press("Delete")
    wait_for(lambda: len(ours.places) == 2)
    window.until("!document.querySelector('.chip.on')")
    tab.focus("#ask")  # who writes is not disturbed
    tab.keyboard.press(".")
    tab.keyboard.press("ArrowLeft")
    assert tab.locator(".chip.on").count() == 0


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_each_change_is_checked_and_one_is_made_again(opened: Any) -> None:
    window = opened()
    tab = window.tab
    eye = {"colour-eye": {"tolerance": "100"}}
    window.fake(verifier="colour-eye", options={"places": PLACES, "painter": {"grain": "40"}, **eye})
    window.drop()
    window.plan()
    tab.wait_for_selector("[data-key=detail]:has-text('worked on at')")
    tab.click("[data-key=verify]")
    tab.wait_for_selector("[data-key=tries]")
    tab.click("[data-key=edit]")
    tab.wait_for_selector("[data-key=download]")
    assert tab.locator(".seal.mark-yes").count() == 2
    assert "--verify" in tab.locator("code.command").text_content()
    assert "about" in tab.inner_text(".preflight")
    tab.click("[data-key=evidence-0] summary")
    assert "at least 0.90" in tab.inner_text("[data-key=evidence-0]")
    tab.click("[data-key=redo-1]")
    tab.click("dialog .first")
    tab.wait_for_selector("[data-key=accept]")
    assert tab.inner_text("#result-title") == "Change 2, made again" and tab.locator("[data-key=download]").count() == 0
    tab.click("[data-key=discard]")
    tab.wait_for_selector("[data-key=download]")
    assert tab.locator(".thumb").count() == 1
    tab.click("[data-key=redo-1]")
    tab.click("dialog .first")
    tab.click("[data-key=accept]")
    tab.wait_for_selector("[data-key=download]")
    assert tab.locator("code.command").text_content() == "gas replay dog-edited.png --input dog.png"
    assert "Made again by hand with painter" in tab.inner_text("#result") and tab.locator(".thumb").count() == 2


def test_what_is_not_there_says_why_and_what_to_try(opened: Any) -> None:
    window = opened()
    tab = window.tab
    window.fake(verify=True, verifier="colour-eye", options={"places": PLACES, "painter": {"colour": "0,0,250"}})
    window.drop()
    window.plan()
    tab.wait_for_selector(".chip .number")
    tab.click("[data-key=edit]")
    tab.wait_for_selector("[data-key=download]")
    told = tab.inner_text("#result")
    assert "0 of 2 changes are there." in told and "It has another colour" in told and "Check each change" in told


def test_every_role_has_its_options_as_a_form(opened: Any, served: tuple[str, Desk]) -> None:
    window = opened()
    tab = window.tab
    window.fake()
    ours = served[1].windows[tab.evaluate("sessionStorage.getItem('gas-window')")]
    tab.click("#open-settings")
    for role, name, option, value in (
        ("planner", "arrows", "arrow", "=>"),
        ("grounder", "places", "score", "0.5"),
        ("verifier", "combined", "looks", "clip"),
    ):
        tab.click(f"[data-key=options-{role}-{name}] summary")
        tab.fill(f"[data-key=option-{name}-{option}]", value)
        tab.keyboard.press("Tab")
        tab.wait_for_selector(f"[data-key=option-{name}-{option}-back]")
        assert ours.flags["options"][name] == ({**PLACES, option: value} if name == "places" else {option: value})
    tab.fill("[data-key=option-places-score]", "7")  # what cannot be is said, and stays out
    tab.keyboard.press("Tab")
    tab.wait_for_selector("#settings .toast.bad")
    assert ours.flags["options"]["places"]["score"] == "0.5"
    tab.click("[data-key=option-arrows-arrow-back]")
    window.until("!document.querySelector('[data-key=option-arrows-arrow-back]')")
    assert "arrows" not in ours.flags["options"]
    tab.select_option("[data-key=set-dtype]", "fp32")  # the shared settings, by their own schema
    tab.wait_for_selector("[data-key=set-dtype-back]")
    assert ours.flags["dtype"] == "fp32"
    tab.select_option("[data-key=grounders-add]", "grabcut")
    tab.wait_for_selector("[data-key=grounders-up-grabcut]:not([disabled])")
    tab.click("[data-key=grounders-up-grabcut]")
    window.until("document.querySelector('[data-key=grounders-up-grabcut]').disabled")
    assert ours.flags["grounders"] == ["grabcut", "places"]


def test_stop_keeps_and_resume_goes_on(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slowly(monkeypatch)
    window = opened()
    tab = window.tab
    window.fake(options={"places": PLACES, "painter": {"steps": "120"}})
    window.drop()
    window.plan("dog -> tiger")
    tab.wait_for_selector(".chip .number")
    tab.click("[data-key=edit]")
    tab.wait_for_selector("img.preview")  # it is watched while it happens
    tab.click("[data-key=stop]")
    tab.wait_for_selector("[data-key=resume]")
    assert "Stopped" in tab.inner_text("#result-title")
    monkeypatch.undo()
    tab.click("[data-key=resume]")
    tab.wait_for_selector("#result-title:has-text('The result')")
    assert tab.locator("[data-key=resume]").count() == 0


def test_an_edit_that_is_over_at_once_is_shown_too(
    opened: Any, served: tuple[str, Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    window = opened()
    start = served[1].start

    def start_and_end(ours: Any, kind: str, work: Any) -> Any:
        task = start(ours, kind, work)
        while not task.over:
            time.sleep(0.005)
        return task

    window.fake()
    window.drop()
    window.plan("dog -> tiger")
    window.tab.wait_for_selector(".chip .number")
    monkeypatch.setattr(served[1], "start", start_and_end)
    window.tab.click("[data-key=edit]")
    window.tab.wait_for_selector("[data-key=download]")


def test_two_windows_wait_for_each_other_and_share_nothing(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = threading.Event()
    slowly(monkeypatch, wait=lambda: seen.wait(60))
    first, second = opened(), opened()
    for window in (first, second):
        window.fake(options={"places": PLACES, "painter": {"steps": "2"}})
        window.drop()
        window.plan("dog -> tiger")
        window.tab.wait_for_selector(".chip .number")
    first.tab.click("[data-key=edit]")
    first.tab.wait_for_selector("[data-key=stop]")
    second.tab.click("[data-key=edit]")
    second.tab.wait_for_selector("text=Waiting: 1 before this one")
    assert second.tab.locator("#result:visible").count() == 0
    first.tab.reload()  # closing or reloading the page stops nothing
    first.tab.wait_for_selector("[data-key=stop]")
    seen.set()
    for window in (first, second):
        window.tab.wait_for_selector("#result-title:has-text('The result')")
        assert window.tab.locator(".thumb").count() == 1


def test_what_cannot_be_is_said_where_one_looks(opened: Any) -> None:
    window = opened()
    tab = window.tab
    window.drop(b"this is no picture", "notes.txt")
    tab.wait_for_selector(".toast.bad:has-text('cannot be read as a picture')")
    window.drop()
    tab.wait_for_selector(".surface img")
    tab.fill("#ask", "what a lovely day")
    tab.click("#ask-button")
    tab.wait_for_selector("#plan .problem")  # refused by the planner, said in the plan
    assert tab.locator("#plan .problem p").count() == 2
    window.choose({"profile": "retouch", "planner": "ollama", "options": {"ollama": {"host": "http://127.0.0.1:9"}}})
    tab.click("#ask-button")
    tab.wait_for_selector("#plan .problem:has-text('Ollama')")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_phones_width_holds_everything(opened: Any, served: tuple[str, Desk], scheme: str) -> None:
    window = opened(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True)
    tab = window.tab

    def fits() -> bool:
        assert tab.evaluate(FAINT) == []
        return bool(tab.evaluate("document.documentElement.scrollWidth <= 390"))

    assert fits()
    window.fake()
    window.drop()
    window.plan()
    tab.wait_for_selector(".chip .number")
    assert fits()
    tab.click("[data-key=edit]")
    tab.wait_for_selector("[data-key=download]")
    assert fits()
    tab.click("#open-settings")
    tab.wait_for_selector("[data-key=set-profile]")
    assert fits()
    nameless = tab.evaluate(
        "[...document.querySelectorAll('button, input, select, textarea')].filter((one) => one.offsetParent && "
        "!(one.textContent.trim() || one.ariaLabel || one.labels?.length || one.getAttribute('aria-labelledby')))"
        ".map((one) => one.outerHTML.slice(0, 120))"
    )
    assert nameless == []
    tab.click("[data-key=options-editor-painter] summary")  # the editor's own options, as a form
    tab.fill("[data-key=option-painter-steps]", "7")
    tab.keyboard.press("Tab")
    tab.wait_for_selector(".cell.changed:has-text('Steps')")
    tab.click("[data-key=set-grounded]")
    window.until("document.querySelector('[data-key=set-grounded]').checked")
    assert fits()
    tab.keyboard.press("Escape")
    assert tab.evaluate("document.querySelector('#settings').open") is False
    ours = served[1].windows[tab.evaluate("sessionStorage.getItem('gas-window')")]
    assert ours.flags["options"]["painter"] == {"steps": "7"} and ours.flags["grounded"] is True
