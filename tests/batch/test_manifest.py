"""Manifests: every format says the same, and what a stranger's may not say is refused before anything runs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from batch_backends import FLAGS, pictures, registry

import gas
from gas.batch import manifest, places
from gas.batch.items import Common, items_of
from gas.batch.manifest import of_items, read
from gas.batch.recipes import Recipes
from gas.batch.rows import Row, template
from gas.errors import GasError, InputRefused, ModelUnavailable, UsageError
from gas.run.session import Session
from gas.types import EditPlan

PLAN = {"version": 1, "subtasks": [{"source": "dog", "target": "cat"}]}
ROWS: list[dict[str, Any]] = [
    {"image": "a.png", "instruction": 'make "it", ä\nred', "seed": 7, "out": "x/a.png"},
    {"image": "b.png", "plan": PLAN, "boxes": {"dog": [1, 2, 30, 40]}, "grounder": ["colour", "grabcut"]},
    {"image": "c.png", "plan": "plans/c.json", "masks": {"dog": ["m.png", "n.png"]}, "options": {"steps": 3}},
    {"image": "e.png", "instruction": "x", "verify": True, "tries": 3},
    {"image": "d.png", "instruction": "x", "boxes": {"dog": [["1%", "2%", "3%", "4%"], ["5%", "6%", "7%", "8%"]]}},
]


def cells(row: dict[str, Any]) -> dict[str, str]:
    """The row as a table of texts has it."""
    return {
        name: ",".join(value) if name == "grounder" else value if isinstance(value, str) else json.dumps(value)
        for name, value in row.items()
    }


def written(folder: Path, kind: str) -> str:
    """The manifest of ROWS in `folder`, in the format `kind`."""
    path = folder / f"jobs.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", "utf-8")
    elif kind == "csv":
        import csv

        with path.open("w", newline="", encoding="utf-8-sig") as stream:
            table = csv.DictWriter(stream, [*manifest.COLUMNS])
            table.writeheader()
            table.writerows([cells(row) for row in ROWS])
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        texts = [cells(row) for row in ROWS]
        columns = {name: [row.get(name) for row in texts] for name in manifest.COLUMNS}
        parquet.write_table(pyarrow.table({n: v for n, v in columns.items() if any(v)}), path)
    return str(path)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_every_format_says_the_same(kind: str, tmp_path: Path) -> None:
    found = read(written(tmp_path, kind))
    assert [row for _, row in found.rows] == [Row.model_validate(row) for row in ROWS]
    assert found.root == str(tmp_path) and not found.own
    assert found.rows[0][0] == ("row 1" if kind == "parquet" else f"line {1 + (kind == 'csv')}")


def test_parquets_own_tables_and_lists_are_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    listed = [
        {"image": "a.png", "instruction": "x", "boxes": {"dog": [1.0, 2.0, 3.0, 4.0], "cat": None}, "seed": 4},
        {"image": "b.png", "instruction": "y", "boxes": {"dog": None, "cat": [1.0, 2.0, 3.0, 4.0]}, "seed": None},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(listed), tmp_path / "jobs.parquet")
    rows = [row for _, row in read(str(tmp_path / "jobs.parquet")).rows]
    assert [list(row.boxes or ()) for row in rows] == [["dog"], ["cat"]] and rows[0].seed == 4


def test_a_folder_has_every_picture_below_it_but_outputs(tmp_path: Path) -> None:
    pictures(tmp_path / "photos", 2)
    pictures(tmp_path / "photos" / "more", 1)
    pictures(tmp_path / "photos" / "out", 1)
    pictures(tmp_path / "photos" / "earlier", 1)
    (tmp_path / "photos" / "earlier" / "ledger").mkdir()
    (tmp_path / "photos" / "earlier" / "ledger" / "part-0.jsonl").touch()
    pictures(tmp_path / "photos" / ".hidden", 1)
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    found = read(str(tmp_path / "photos"), instruction="make it red", but=tmp_path / "photos" / "out")
    assert [row.image for _, row in found.rows] == ["p000.png", "p001.png", "more/p000.png"]
    assert {row.instruction for _, row in found.rows} == {"make it red"}
    with pytest.raises(UsageError, match="no instruction"):
        read(str(tmp_path / "photos"))


@pytest.mark.parametrize(("line", "words"), [
    ("{", "malformed JSON"),
    ("[1]", "is not a table"),
    ('{"image": "a.png"}', "neither an instruction nor a plan"),
    ('{"image": "a.png", "instruction": "x", "plan": "p.json"}', "both an instruction and a plan"),
    ('{"image": "a.png", "instruction": "x", "sead": 1}', "sead: extra inputs"),
    ('{"image": "a.png", "instruction": "x", "seed": -1}', "seed: "),
    ('{"image": "a.png", "instruction": "x", "seed": 1, "seed": 2}', "there twice"),
    ('{"image": "a.png", "instruction": "x", "boxes": {"dog": [1, 2, 3]}}', "boxes.dog"),
    ('{"image": "a.png", "instruction": "x", "boxes": {"dog": [1, 2, 3, NaN]}}', "NaN"),
    ('{"image": "a.png", "plan": {"subtasks": []}}', "plan"),
    ('{"image": "a.png", "instruction": "x", "options": ' + "[" * 40 + "]" * 40 + "}", "nested deeper"),
    ('{"image": "", "instruction": "x"}', "image: "),
    ('{"image": "a.png", "instruction": "x", "tries": 0}', "tries: "),
    ('{"image": "a.png", "instruction": "x", "tries": 11}', "tries: "),
    ('{"image": "a.png", "instruction": "x", "verify": "perhaps"}', "verify: "),
    ('{"image": "a.png", "instruction": "x", "verify": false, "tries": 2}', "verify is false"),
    ('{"image": "a.png", "instruction": "x", "verifier": "vlm"}', "verifier: extra inputs"),
])  # fmt: skip
def test_what_is_wrong_is_named_by_its_line(line: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text(f'{{"image": "a.png", "instruction": "x"}}\n{line}\n')
    with pytest.raises(InputRefused) as caught:
        read(str(tmp_path / "jobs.jsonl"))
    assert "line 2" in caught.value.message and words in caught.value.message
    assert "nothing was done" in caught.value.message and caught.value.remedy


def test_all_wrong_lines_are_listed_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text("{\n" * 50)
    with pytest.raises(InputRefused, match=r"50 rows cannot be used(.|\n)*line 20: (.|\n)*and 30 more") as caught:
        read(str(tmp_path / "jobs.jsonl"))
    assert len(caught.value.message.splitlines()) == 22


@pytest.mark.parametrize(("name", "data"), [
    ("jobs.csv", b'image,instruction\na.png,"x\n'), ("jobs.csv", b"image,instruction\na.png,x,y,z\n"),
    ("jobs.jsonl", b"\xff\xfe"), ("jobs.jsonl", b""), ("jobs.jsonl", b'{"image": "' + b"a" * 2**21 + b'"}'),
    ("jobs.parquet", b"PAR1 nothing"), ("jobs.csv", b"image,instruction\n\x00,\x00\n"),
])  # fmt: skip
def test_files_that_are_none_are_refused(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(InputRefused):
        items(read(str(tmp_path / name)), tmp_path / "out")
    with pytest.raises(UsageError, match="unknown extension"):
        read(str(tmp_path / "jobs.xlsx"))


def test_the_template_is_a_manifest(tmp_path: Path) -> None:
    (tmp_path / "jobs.jsonl").write_text(template())
    assert len(read(str(tmp_path / "jobs.jsonl")).rows) == 3


# --- what a manifest may not say --------------------------------------------------------------------------------------


def opener(**more: Any) -> Callable[[Any], Session]:
    flags = {name: value for name, value in {**FLAGS, **more}.items() if name != "registry"}
    return lambda row: gas.Session.of(registry=registry(), row=row, **flags)


def items(listed: manifest.Manifest, out: Path, anywhere: bool = False, **more: Any) -> Any:
    recipes = Recipes(opener(**more), allow_model=more.pop("allow_model", False))
    return items_of(listed, recipes, Common(out, anywhere=anywhere))


def of_row(folder: Path, **row: Any) -> manifest.Manifest:
    (folder / "jobs.jsonl").write_text(json.dumps({"image": "p000.png", "instruction": "dog -> cat", **row}) + "\n")
    return read(str(folder / "jobs.jsonl"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pictures(tmp_path / "in", 2)
    pictures(tmp_path, 1)
    (tmp_path / "in" / "away.png").symlink_to(tmp_path / "p000.png")
    (tmp_path / "in" / "elsewhere").symlink_to(tmp_path)
    (tmp_path / "in" / "near.png").symlink_to(tmp_path / "in" / "p001.png")
    return tmp_path / "in"


@pytest.mark.parametrize("column", ["image", "plan", "masks"])
@pytest.mark.parametrize("name", ["../p000.png", "{parent}/p000.png", "away.png", "elsewhere/p000.png", "s3://b/p.png"])
def test_inputs_stay_in_the_manifests_folder(column: str, name: str, folder: Path) -> None:
    name = name.format(parent=folder.parent)
    row: dict[str, Any] = {column: {"dog": name} if column == "masks" else name}
    if column == "plan":
        row["instruction"] = ""
    with pytest.raises(InputRefused, match=r"line 1: .* is outside the manifest's folder") as caught:
        items(of_row(folder, **row), folder / "out")
    assert caught.value.hint.code == "allow_outside"
    (item,) = items(of_row(folder, **row), folder / "out", anywhere=True)
    assert name in (item.place, item.plan_place, *(place for _, place in item.masks)) or not name.startswith("s3:")


def test_a_link_within_the_folder_is_no_matter(folder: Path) -> None:
    (item,) = items(of_row(folder, image="near.png"), folder / "out")
    assert item.out == "near.png"


@pytest.mark.parametrize("name", [
    "../a.png", "/a.png", "a/../../b.png", "C:\\a.png", "a\\b.png", "s3://b/a.png", "ledger/a.png", "index.html",
    "report/a.png", "Ledger/a.png", "con.png", "a.gif", "a", "a.png.", "a\n.png", "x/../../a.png", "linked/a.png",
])  # fmt: skip
def test_outputs_stay_in_the_output_folder(name: str, folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out" / "linked").symlink_to(folder.parent)
    with pytest.raises(InputRefused, match=r"line 1: "):
        items(of_row(folder, out=name), folder / "out")


def test_two_rows_with_one_output_are_refused(folder: Path) -> None:
    rows = [{"image": "p000.png", "instruction": "a -> b", "out": name} for name in ("x.png", "X.png")]
    with pytest.raises(InputRefused, match="two rows write to"):
        items(of_items(rows), folder / "out")


def test_a_row_names_no_backend_that_sends_pictures_away(folder: Path) -> None:
    (item,) = items(of_row(folder, planner="service"), folder / "out")
    with pytest.raises(UsageError, match=r"sends the picture to another machine.*the manifest") as caught:
        item.recipe.check(plans=True, looks=True, require=lambda session, looks: None)
    assert caught.value.hint.code == "allow_remote"
    (item,) = items(of_row(folder, planner="service"), folder / "out", planner="service")
    item.recipe.check(plans=True, looks=True, require=lambda session, looks: None)


@pytest.mark.parametrize(("row", "kind", "words"), [
    ({"options": {"openai": {"base_url": "http://x"}}, "planner": "openai"}, InputRefused, "address of a service"),
    ({"profile": "../evil.toml"}, InputRefused, "profile by its path"),
    ({"editor": "dds", "options": {"model": "owner/strange"}}, ModelUnavailable, "not on this machine"),
    ({"editor": "dds", "options": {"model": "/nowhere/at/all"}}, GasError, "is not there"),
    ({"editor": "paynter"}, UsageError, "did you mean 'painter'"),
    ({"options": {"colur": 1}}, UsageError, "has no option"),
    ({"options": {"zone": {"steps": 1}}}, UsageError, "not in use"),
])  # fmt: skip
def test_what_a_row_may_not_choose_is_named_by_its_line(row: Any, kind: Any, words: str, folder: Path) -> None:
    with pytest.raises(kind, match=words) as caught:
        (item,) = items(of_row(folder, **row), folder / "out")
        item.recipe.check(plans=True, looks=True, require=lambda session, looks: None)
    assert "line 1: " in caught.value.message


def test_a_model_that_the_user_allows_may_be_named(folder: Path) -> None:
    recipes = Recipes(opener(), allow_model=True)
    row = {"editor": "dds", "options": {"model": "owner/strange"}}
    (item,) = items_of(of_row(folder, **row), recipes, Common(folder / "out"))
    assert item.recipe.session.settled("editors", "dds").options.model == "owner/strange"


def test_places_behind_addresses_stay_below_the_manifests(tmp_path: Path) -> None:
    root = "s3://bucket/jobs"
    assert places.inside(root, "a.png") == "s3://bucket/jobs/a.png"
    assert places.inside(root, "s3://bucket/jobs/x/a.png") == "s3://bucket/jobs/x/a.png"
    for name in ("../a.png", "s3://bucket/other/a.png", "s3://bucket/jobs/../other/a.png", "file:///etc/passwd"):
        with pytest.raises(InputRefused):
            places.inside(root, name)


def test_names_of_outputs(tmp_path: Path) -> None:
    os.chdir(tmp_path)
    listed = [
        {"image": image, "instruction": "a -> b", **({"out": out} if out else {})}
        for image, out in [
            ("a.jpg", ""), ("x/a.jpg", ""), ("a.jpg", ""), ("b.gif", ""), ("c.jpg", "a-2.jpg"), ("/abs/a.jpg", ""),
            ("../up/q.PNG", ""), ("ledger/z.png", ""),
        ]
    ]  # fmt: skip
    found = [item.out for item in items(of_items(listed), tmp_path / "out")]
    assert found == ["a.jpg", "x/a.jpg", "a-3.jpg", "b.png", "a-2.jpg", "a-4.jpg", "q.PNG", "pictures/ledger/z.png"]


def test_an_inline_plan_is_a_plan(folder: Path) -> None:
    (item,) = items(of_row(folder, plan=PLAN, instruction=""), folder / "out")
    assert isinstance(item.row.plan, EditPlan)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("photo.jpg", "is one picture"),
        ("nowhere", "there is no such folder"),
        ("jobs.jsonl", "is not a folder, so it takes no instruction"),
        ("jobs.txt", "unknown extension '.txt'"),
    ],
)
def test_what_is_neither_a_folder_nor_a_list_is_named(source: str, words: str, tmp_path: Path) -> None:
    for name in ("jobs.jsonl", "jobs.txt"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=words) as caught:
        read(str(tmp_path / source), instruction="" if source.endswith("txt") else "make it darker")
    assert ("gas edit " in caught.value.remedy) is (source == "photo.jpg")
