"""The page that shows what a batch has done: `index.html` in the output folder, with small pictures in `report/`.

It opens from the disk, needs no server and asks no other host for anything. Everything in it that came from manifests,
files or models is data for its script, which sets it as text; the page's own rules forbid any other script.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections import Counter
from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from gas import files
from gas.batch.ledger import FOLDER, Entry, entries
from gas.characters import visible
from gas.version import __version__

PAGE = "index.html"
THUMBNAILS = Path("report") / "thumbnails"
MAX_SHOWN = 20_000
"""How many items a page shows; all failed ones come first."""

_SHOWN = (
    *("item", "out", "status", "attempt", "exit_code", "error", "remedy", "asked", "plan", "found", "outside"),
    *("verdicts", "warnings", "seed", "seconds", "thumbnail", "pixels"),
)


def write_report(out: Path, *, title: str, only: Collection[str] | None = None, store: str = "") -> Path:
    """The path of the page that was written, of the last attempt at each output that the ledger of the folder `out`
    knows (`only` these outputs, if given). Errors as `files.atomic`."""
    latest: dict[str, tuple[str, Entry]] = {}
    for entry in entries(out / FOLDER):
        if (only is None or entry.out in only) and entry.ended >= latest.get(entry.out, ("",))[0]:
            latest[entry.out] = (entry.ended, entry)
    found = [entry for _, entry in latest.values()]
    failed = [entry for entry in found if entry.status == "failed"]
    done = [entry for entry in found if entry.status == "done"]
    shown = [*failed, *done][:MAX_SHOWN]
    left_out = len(found) - len(shown)
    data = {
        "linked": not store,
        "totals": {"done": len(done), "failed": len(failed), "seconds": sum(entry.seconds for entry in done)},
        "verified": Counter(verdict for entry in found if (verdict := _verdict(entry))),
        "items": [_item(entry) for entry in shown],
    }
    more = f"{left_out:,} more items are in the ledger. " if left_out else ""
    path = out / PAGE
    files.write_text(path, _page(title, data, f"{more}Written by gas {__version__}."), overwrite=True)
    return path


def _item(entry: Entry) -> dict[str, Any]:
    """What the page is given of an entry; `written`: whether there is an edited picture."""
    written = entry.status == "done" or bool(entry.output_sha256)
    return {**{name: getattr(entry, name) for name in _SHOWN}, "written": written, "verdict": _verdict(entry)}


def _verdict(entry: Entry) -> str:
    """The worst of an entry's verdicts; empty where nothing was verified."""
    said = {one.get("verdict") for one in entry.verdicts if isinstance(one, Mapping)}
    return next((verdict for verdict in ("not done", "cannot tell", "done") if verdict in said), "")


def _page(title: str, data: Any, footer: str) -> str:
    source = resources.files("gas.batch") / "page"
    style, script = (source.joinpath(name).read_text("utf-8") for name in ("report.css", "report.js"))
    policy = "; ".join(
        (
            "default-src 'none'",
            "img-src 'self' file:",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    filled = {
        "policy": policy,
        "title": html.escape(visible(title)),
        "style": style,
        "footer": html.escape(footer),
        "data": _embedded(data),
        "script": script,
    }
    page = source.joinpath("report.html").read_text("utf-8")
    first, *pieces = page.split("{{")
    return first + "".join(filled[name] + rest for name, _, rest in (piece.partition("}}") for piece in pieces))


def _embedded(data: Any) -> str:
    """JSON that can stand inside a page's script element, whatever its texts are."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
