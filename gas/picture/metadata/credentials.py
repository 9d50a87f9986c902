"""Content credentials (C2PA): what a claim in a file says. Signatures are not checked.

C2PA specification 2.1, section 11; JUMBF: ISO/IEC 19566-5; CBOR: RFC 8949. The claim is bound to the file's bytes, so
an edit invalidates it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

_DEEPEST = 16
_MOST_ITEMS = 10_000
_SHOWN = 120


def found_claim(data: bytes) -> bytes | None:
    """The JUMBF superbox of content credentials in a file's bytes, None when there is none."""
    at = 0
    while (at := data.find(b"jumb", at + 1)) >= 0:
        if at >= 4 and b"c2pa" in data[at : at + 64]:
            length = int.from_bytes(data[at - 4 : at], "big")
            return data[at - 4 : at - 4 + length] if length > 8 else data[at - 4 :]
    return None


def claim_words(claim: bytes) -> str:
    """What a claim says, in one line: who made it, its title, how the picture came about."""
    said: dict[str, Any] = {}
    sources: list[str] = []
    for label, content in _boxes(claim):
        if label.startswith("c2pa.claim"):
            said.update(content if isinstance(content, dict) else {})
        if label.startswith("c2pa.actions"):
            sources += _sources(content)
    generators = said.get("claim_generator_info")
    first = generators[0] if isinstance(generators, list) and generators else generators
    maker = first.get("name") if isinstance(first, dict) else None
    facts = [f"made by {_short(maker or said.get('claim_generator') or 'an unknown program')}"]
    if title := said.get("dc:title"):
        facts.append(f"title {_short(title)}")
    facts += [f"source {_short(source.rpartition('/')[2])}" for source in dict.fromkeys(sources)]
    return ", ".join(facts)


def _sources(actions: Any) -> list[str]:
    listed = actions.get("actions") if isinstance(actions, dict) else None
    found = [one.get("digitalSourceType") for one in listed or () if isinstance(one, dict)]
    return [source for source in found if isinstance(source, str)]


def _short(text: object) -> str:
    words = "".join(c if c.isprintable() else " " for c in str(text))
    return words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"


def _boxes(data: bytes, label: str = "", deep: int = 0) -> Iterator[tuple[str, Any]]:
    """The label and the content of each CBOR box within JUMBF boxes; what is broken is left out."""
    at = 0
    while at + 8 <= len(data) and deep < _DEEPEST:
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        length = length or len(data) - at
        if length < 8:
            return
        content = data[at + 8 : at + length]
        if kind == b"jumb":
            yield from _boxes(content, label, deep + 1)
        elif kind == b"jumd" and len(content) > 17 and content[16] & 2:
            label = content[17:].partition(b"\0")[0].decode("utf-8", "replace")
        elif kind == b"cbor":
            with contextlib.suppress(ValueError, IndexError, TypeError, KeyError):
                yield label, _Cbor(content).item()
        at += length


class _Cbor:
    """Reads one CBOR item: maps, lists, texts, numbers. ValueError or IndexError for anything broken or huge."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at, self._items = data, 0, 0

    def item(self, deep: int = 0) -> Any:
        self._items += 1
        if deep > _DEEPEST or self._items > _MOST_ITEMS:
            raise ValueError("too deep or too long")
        first = self._data[self._at]
        self._at += 1
        major, minor = first >> 5, first & 31
        if minor == 31:  # of no length that is known beforehand
            return self._endless(major, deep)
        count = self._count(minor)
        if major in {0, 1}:
            return count if major == 0 else -1 - count
        if major in {2, 3}:
            text = self._data[self._at : self._at + count]
            if len(text) < count:
                raise ValueError("cut off")
            self._at += count
            return text if major == 2 else text.decode()
        if major == 4:
            return [self.item(deep + 1) for _ in range(count)]
        if major == 5:
            return {self._key(deep): self.item(deep + 1) for _ in range(count)}
        if major == 6:
            return self.item(deep + 1)
        return {20: False, 21: True}.get(minor)

    def _endless(self, major: int, deep: int) -> Any:
        pairs: dict[Any, Any] = {}
        items: list[Any] = []
        while self._data[self._at] != 0xFF:
            if major == 5:
                pairs[self._key(deep)] = self.item(deep + 1)
            else:
                items.append(self.item(deep + 1))
        self._at += 1
        if major in {2, 3}:
            return b"".join(items) if major == 2 else "".join(items)
        return pairs if major == 5 else items

    def _key(self, deep: int) -> Any:
        key = self.item(deep + 1)
        return key if isinstance(key, str | int | bytes) else str(key)

    def _count(self, minor: int) -> int:
        if minor < 24:
            return minor
        width = {24: 1, 25: 2, 26: 4, 27: 8}[minor]
        count = int.from_bytes(self._data[self._at : self._at + width], "big")
        self._at += width
        return count
