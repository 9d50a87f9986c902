"""The report: it shows what the ledger says, and nothing in it can run or ask another host."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gas.batch.ledger import FOLDER, Entry, Ledger
from gas.batch.report import write_report
from gas.process import random_states_kept

HOSTILE = "</script><script>window.hurt=1</script><img src=x onerror=window.hurt=2>\u2028 & \"'"


def made(out: Path, entries: list[Entry], **named: Any) -> str:
    with Ledger(out / FOLDER) as ledger:
        ledger.append(entries)
    return write_report(out, title=named.pop("title", "jobs.jsonl"), **named).read_text("utf-8")


def data(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def entry(name: str, status: str = "done", **more: Any) -> Entry:
    return Entry(more.pop("key", name), name, name, status, **{"ended": "1", "asked": "x", **more})  # type: ignore[arg-type]


def test_the_last_attempt_at_each_output_is_shown_failed_ones_first(tmp_path: Path) -> None:
    page = made(tmp_path, [
        entry("a.png", "failed", key="k1"), entry("b.png", seconds=2.0), entry("c.png", "failed", error="broken"),
        entry("a.png", key="k2", ended="2", attempt=2, seconds=1.0), entry("gone.png"),
    ], only={"a.png", "b.png", "c.png"})  # fmt: skip
    shown = data(page)
    assert [(one["item"], one["status"]) for one in shown["items"]] == [
        ("c.png", "failed"), ("a.png", "done"), ("b.png", "done")
    ]  # fmt: skip
    assert shown["totals"] == {"done": 2, "failed": 1, "seconds": 3.0}


def test_nothing_that_is_shown_ends_its_place_in_the_page(tmp_path: Path) -> None:
    hostile = entry(
        HOSTILE, "failed", error=HOSTILE, remedy=HOSTILE, asked=HOSTILE, plan=(HOSTILE,), warnings=(HOSTILE,)
    )
    page = made(tmp_path, [hostile], title=HOSTILE)
    assert page.count("<script") == 2 and "<img" not in page and "\u2028" not in page
    assert data(page)["items"][0]["error"] == HOSTILE
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None and "default-src 'none'" in policy[1] and "unsafe" not in policy[1]
    assert not re.search(r"https?://", page)


def test_a_report_of_very_many_stays_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gas.batch.report.MAX_SHOWN", 5)
    page = made(tmp_path, [*(entry(f"{i}.png") for i in range(20)), entry("bad.png", "failed")])
    shown = data(page)
    assert len(shown["items"]) == 5 and shown["items"][0]["item"] == "bad.png"
    assert shown["totals"]["done"] == 20 and "16 more items are in the ledger" in page


def verdict(verdict: str, **more: Any) -> dict[str, Any]:
    said = {"what": "a tiger", "verdict": verdict, "failure": None, "score": 0.25, "by": "judge", "tries": 1}
    return {**said, **more}


def test_verdicts_are_shown_and_counted_by_the_worst_of_each_item(tmp_path: Path) -> None:
    page = made(tmp_path, [
        entry("plain.png"), entry("good.png", verdicts=(verdict("done"),)),
        entry("mixed.png", "failed", exit_code=12, output_sha256="ab", verdicts=(verdict("done"), verdict("not done"))),
        entry("open.png", verdicts=(verdict("cannot tell", what=HOSTILE), verdict("done"))),
        entry("broken.png", "failed", exit_code=3),
    ])  # fmt: skip
    assert data(page)["verified"] == {"done": 1, "not done": 1, "cannot tell": 1}
    shown = {one["item"]: (one["verdict"], one["written"]) for one in data(page)["items"]}
    assert shown == {
        "plain.png": ("", True), "good.png": ("done", True), "mixed.png": ("not done", True),
        "open.png": ("cannot tell", True), "broken.png": ("", False),
    }  # fmt: skip
    assert page.count("<script") == 2


def chromium() -> str:
    import shutil

    pytest.importorskip("playwright")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no browser is installed")
    return found


def test_a_browser_shows_it_from_the_disk_and_runs_nothing_of_it(tmp_path: Path) -> None:
    path = chromium()
    with random_states_kept():
        _look(path, tmp_path)


def _look(path: str, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    hostile = entry(HOSTILE, "failed", error=HOSTILE, asked=HOSTILE, exit_code=3, remedy="give another")
    undone = verdict("not done", what=HOSTILE, failure="wrong colour", tries=2)
    wrong = entry("1.png", "failed", exit_code=12, output_sha256="ab", verdicts=(undone, verdict("done", by=None)))
    others = (entry(f"{i}.png", seconds=1.0) for i in range(130) if i != 1)
    made(tmp_path, [hostile, wrong, *others], title=HOSTILE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        problems: list[str] = []
        asked: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "index.html").as_uri())
        assert page.title() == " ".join(HOSTILE.split()) or HOSTILE[:10] in page.title()
        assert page.evaluate("window.hurt") is None
        assert page.locator(".card").count() >= 60 and page.locator("#count").inner_text() == "131 items"
        page.get_by_role("button", name="Failed").click()
        assert page.locator(".card").count() == 2 and "onerror" in page.locator(".error").first.inner_text()
        assert page.get_by_role("button", name="Verified").count() == 0
        page.get_by_role("button", name="Not there").click()
        assert page.locator(".card").count() == 1
        chips = page.locator(".verdicts li").all_inner_texts()
        assert "onerror" in chips[0] and "no" in chips[0] and "wrong colour, judge 0.25, 2 tries" in chips[0]
        assert chips[1].startswith("a tiger: yes") and page.evaluate("window.hurt") is None
        page.get_by_role("button", name="All").click()
        page.locator("#search").fill("77.PNG")
        assert page.locator(".card").count() == 1
        assert not problems and all(url.startswith("file:") for url in asked)
        browser.close()
