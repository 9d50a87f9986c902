"""`gas cache ls` and `gas cache clear`: the stages that are kept, and their removal."""

from __future__ import annotations

from gas.cache.limit import parse_limit
from gas.cache.store import KINDS, Store, by_kind
from gas.errors import UsageError
from gas.folders import stages_folder
from gas.settings.settings import Settings
from gas.validation import unknown
from gas_cli.output import people, print_json, print_table, print_text


def ls(settings: Settings, *, as_json: bool) -> None:
    """Lists the kinds of entries: how many, how large, and when the last and the first of them was used. UsageError
    (exit 2) for a folder that cannot be listed, or that edits would not use."""
    store = _store(settings)
    entries = store.listed()
    rows = list(by_kind(entries))
    total = sum(one.bytes for one in entries)
    if as_json:
        kinds = [
            {"kind": kind, "entries": count, "bytes": many, "youngest_s": round(young), "oldest_s": round(old)}
            for kind, count, many, young, old in rows
        ]
        print_json("cache ls", {"folder": str(store.folder), "bytes": total, "limit": store.limit, "kinds": kinds})
        return
    if rows:
        print_table(
            f"{store.folder}: {_size(total)} of {_size(store.limit)}",
            ("kind", "entries", "size", "last used", "longest unused", "holds"),
            [
                (kind, str(count), _size(many), _ago(young), _ago(old), KINDS[kind])
                for kind, count, many, young, old in rows
            ],
        )
    else:
        print_text(f"nothing is kept in {store.folder}")
    if not settings.cache:
        people().print(f"the cache is switched off ({settings.origin('cache')})", markup=False, soft_wrap=True)


def clear(settings: Settings, kind: str | None, *, as_json: bool) -> None:
    """Removes the entries of a kind, or all. UsageError (exit 2) for a kind that there is not, a folder as for `ls`,
    and entries that cannot be removed."""
    if kind is not None and kind not in KINDS:
        raise unknown("kind", kind, KINDS, "see: gas cache ls")
    store = _store(settings)
    store.listed()
    removed = store.clear(kind)
    total = sum(one.bytes for one in removed)
    if left := [one for one in store.entries() if kind in {None, one.kind}]:
        raise UsageError(f"{store.folder}: {len(left)} of what is kept cannot be removed", "look at its permissions")
    if as_json:
        print_json("cache clear", {"entries": len(removed), "bytes": total})
    else:
        entries = f"{len(removed)} entr{'y' if len(removed) == 1 else 'ies'}"
        print_text(f"removed {entries}, {_size(total)}" if removed else "nothing was kept")


def _store(settings: Settings) -> Store:
    return Store(stages_folder(), parse_limit(settings.cache_size))


def _size(count: int) -> str:
    """A size for people: 812 bytes, 4.5 kB, 1.2 GB."""
    from rich.filesize import decimal

    return decimal(count)


def _ago(seconds: float) -> str:
    """An age for people: 40 s, 12 min, 5 h, 3 days."""
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
