"""A batch that verifies: verdicts of each item, further tries, and what a manifest may say of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import batch_backends
import numpy as np
import pytest
from batch_backends import FLAGS, pictures, rows
from PIL import Image as Pictures

import gas
from gas.batch.items import Common, Keyed, items_of, keyed
from gas.batch.ledger import Entry, Ledger, entries
from gas.batch.manifest import of_items, read
from gas.batch.recipes import Recipes
from gas.errors import UsageError
from gas.run.record import read_record

GREEN = {"options": {"painter": {"colour": [0, 200, 0]}}}
"""A row that paints what the verifier does not want."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(items: Any, **named: Any) -> dict[str, Entry]:
    """The entries of a batch that asks the fake verifier, by their pictures."""
    flags = {"out": "out", "workers": 1, **FLAGS, "verifier": "judge", **named}
    return {entry.item: entry for entry in gas.batch(items, **flags)}


def test_one_of_three_that_is_not_done_is_that_items_outcome_and_its_picture_is_kept(here: Path) -> None:
    names = pictures(here, 3)
    listed = rows(names)
    listed[1] |= GREEN
    listed[2]["instruction"] = "dog -> fog"
    found = run(listed, verify=True)
    assert [(found[name].status, found[name].exit_code) for name in names] == [("done", 0), ("failed", 12), ("done", 0)]
    verdicts = [found[name].verdicts for name in names]
    assert [[one["verdict"] for one in each] for each in verdicts] == [["done"], ["not done"], ["cannot tell"]]
    (undone,) = verdicts[1]
    assert undone["what"] == "tiger in the place of dog" and undone["failure"] == "wrong colour"
    assert undone["by"] == "judge" and undone["tries"] == 1 and undone["score"] < 0.5
    failed = found[names[1]]
    assert "1 of 1 changes not done" in failed.error and failed.remedy and failed.output_sha256 and failed.thumbnail
    record = read_record(here / "out" / names[1])
    assert record.verified is not None and record.verified.undone == (0,) and record.verifier is not None
    assert list(entries(here / "out" / "ledger")) == list(found.values())

    page = (here / "out" / "index.html").read_text("utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    shown = json.loads(data[1])
    assert shown["verified"] == {"done": 1, "not done": 1, "cannot tell": 1}
    of = {one["item"]: one for one in shown["items"]}
    assert of[names[1]]["verdicts"] == [dict(undone)] and of[names[1]]["verdict"] == "not done"
    assert of[names[1]]["written"] and of[names[1]]["status"] == "failed"

    assert set(run(listed, verify=True)) == {names[1]}  # what failed is tried again, and replaces its own picture
    assert run(listed, verify=True, skip_failed=True) == {}


def test_a_row_is_verified_and_tried_again_where_it_says_so(here: Path) -> None:
    names = pictures(here, 3)
    listed = [{**row, **GREEN} for row in rows(names)]
    listed[1]["tries"] = 2
    listed[2]["verify"] = True
    found = run(listed, retry_editors=("second",))
    assert found[names[0]].verdicts == () and found[names[0]].status == "done"
    (again,) = found[names[1]].verdicts
    assert (found[names[1]].status, again["verdict"], again["tries"]) == ("done", "done", 2)
    red = np.asarray(Pictures.open(here / "out" / names[1])).astype(int)[16, 16]
    assert red[0] > red[1] + 100
    assert (found[names[2]].exit_code, found[names[2]].verdicts[0]["tries"]) == (12, 1)


def key(**flags: Any) -> str:
    """The key of one item under these settings and columns."""
    row = {name: flags.pop(name) for name in ("row",) if name in flags}.get("row", {})
    settings = {**{name: value for name, value in FLAGS.items() if name != "registry"}, "verifier": "judge", **flags}
    recipes = Recipes(lambda said: gas.Session.of(registry=batch_backends.registry(), row=said, **settings), own=True)
    (item,) = items_of(of_items([{**rows(["p000.png"])[0], **row}]), recipes, Common(Path("out")))
    made: Keyed = keyed(item, Common(Path("out")), Ledger(Path("out") / "ledger"))
    return made.key


def test_verification_belongs_to_the_key_only_where_it_is_asked_for(here: Path) -> None:
    pictures(here, 1)
    plain = key()
    assert key(retry_editors=("second",)) == key(verifier="combined") == key(tries=3) == plain
    strict = {**FLAGS["options"], "judge": {"least": 0.9}}
    blue = {**FLAGS["options"], "second": {"colour": (0, 0, 255)}}
    keys = [
        plain,
        key(verify=True),
        key(verify=True, tries=2),
        key(verify=True, tries=3),
        key(verify=True, options=strict),
        key(verify=True, tries=2, retry_editors=("second",)),
        key(verify=True, tries=2, retry_editors=("second",), options=blue),
        key(verify=True, tries=2, budget="5rows"),
    ]
    assert len(set(keys)) == len(keys)
    assert key(row={"verify": True}) == keys[1] and key(row={"tries": 2}) == keys[2]
    assert key(verify=True, row={"verify": False}) == plain


def test_a_row_chooses_no_verifier_that_sends_pictures_away(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(here, 1)
    monkeypatch.setenv("GAS_HOME", str(here / "home"))
    from gas.backends.profiles import user_profiles
    from gas.folders import config_folder

    (config_folder() / "profiles").mkdir(parents=True)
    (config_folder() / "profiles" / "afar.toml").write_text(
        'planner = "arrows"\ngrounders = ["places"]\neditor = "painter"\nverifier = "far"\n'
    )
    assert "afar" in user_profiles()
    line = {"image": "p000.png", "instruction": "dog -> cat", "profile": "afar", "verify": True}
    (here / "jobs.jsonl").write_text(json.dumps(line) + "\n")
    flags = {name: value for name, value in FLAGS.items() if name in {"options", "profile"}}

    def check(**more: Any) -> None:
        recipes = Recipes(lambda row: gas.Session.of(registry=batch_backends.registry(), row=row, **flags, **more))
        (item,) = items_of(read("jobs.jsonl"), recipes, Common(here / "out"))
        item.recipe.check(plans=True, looks=True, require=lambda session, looks: None)

    with pytest.raises(UsageError, match=r"line 1: verifier 'far' sends the picture to another machine") as caught:
        check()
    assert caught.value.hint.code == "allow_remote"
    check(verifier="judge")
    check(verifier="far")
