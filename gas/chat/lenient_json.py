"""Reads JSON as language models write it, within fixed bounds, and executes nothing.

Besides JSON: single and curly quotes, trailing commas, Python's True, False and None, tuples, names without quotes as
keys, line breaks inside strings. Whatever could mean two things is refused. Every bound is checked before the work
that it bounds, so that reading takes milliseconds whatever comes.
"""

from __future__ import annotations

import re
from typing import Any

MAX_TEXT = 2_000_000
MAX_DEPTH = 8
MAX_ENTRIES = 100
MAX_VALUES = 4_000
MAX_STRING = 20_000
MAX_STARTS = 16

_SPACE = re.compile(r"\s*+")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,15})(?:\.\d{1,20})?(?:[eE][+-]?\d{1,3})?(?![\w.])")
_WORD = re.compile(r"[+-]?[A-Za-z_][A-Za-z0-9_]{0,39}")
_STRAIGHT = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_AFTER_STRING = re.compile(r"\s*+(?:[,:\]})]|\Z)")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_CLOSING = {"'": "'", "‘": "’", "“": "”", "„": "“"}
_LITERALS = {"true": True, "True": True, "false": False, "False": False, "null": None, "None": None}
_NOT_NUMBERS = {"nan", "infinity", "inf"}
_KEY_AHEAD = re.compile(r"""\{\s*+(?:["'‘“„]|[A-Za-z_]\w{0,39}\s*+:|\}|\Z)""")


class Unreadable(ValueError):
    """Why a text is refused, in words for the user. `cut` says that it ended too early."""

    def __init__(self, message: str, *, cut: bool = False) -> None:
        super().__init__(message)
        self.cut = cut


def objects_in(text: str) -> list[dict[str, Any]]:
    """The objects `{...}` in `text`, in order, with whatever prose or fences are around them.

    Unreadable when one of them is malformed: what is left of a broken answer must not pass for the whole of it. A
    brace that no key follows is prose.
    """
    check_length(text)
    found: list[dict[str, Any]] = []
    position = 0
    for _ in range(MAX_STARTS):
        position = text.find("{", position)
        if position < 0:
            return found
        if _KEY_AHEAD.match(text, position) is None:
            position += 1
            continue
        value, position = _Parser(text).value(position, 1)
        found.append(value)
    if text.find("{", position) >= 0:
        raise Unreadable(f"the reply has more than {MAX_STARTS} opening braces outside of a plan")
    return found


def value_at(text: str, position: int = 0) -> tuple[Any, int]:
    """The value that begins at `position` (after space), and the position after it. Unreadable when it is malformed."""
    check_length(text)
    return _Parser(text).value(position, 1)


def check_length(text: str) -> None:
    """Raises Unreadable for a text longer than any reply needs to be."""
    if len(text) > MAX_TEXT:
        raise Unreadable(f"the reply is {len(text)} characters long; at most {MAX_TEXT} are read")


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.values = 0

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        at = self._skip(at)
        if at >= len(self.text):
            raise _cut()
        self.values += 1
        if self.values > MAX_VALUES:
            raise Unreadable(f"the reply holds more than {MAX_VALUES} values")
        character = self.text[at]
        if character in "{[(" and depth > MAX_DEPTH:
            raise Unreadable(f"the reply is nested deeper than {MAX_DEPTH} levels")
        if character == "{":
            return self._object(at + 1, depth)
        if character in "[(":
            return self._list(at + 1, "]" if character == "[" else ")", depth)
        if character == '"' or character in _CLOSING:
            return self._string(at)
        return self._bare(at)

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        while True:
            at = self._skip(at)
            if self._at(at) == "}":
                return found, at + 1
            if len(found) >= MAX_ENTRIES:
                raise Unreadable(f"an object has more than {MAX_ENTRIES} keys")
            if self.text[at] == '"' or self.text[at] in _CLOSING:
                key, at = self._string(at)
            elif (word := _WORD.match(self.text, at)) is not None:
                key, at = word[0], word.end()
            else:
                raise self._unexpected(at, "a key")
            at = self._skip(at)
            if self._at(at) != ":":
                raise self._unexpected(at, "':'")
            if key in found:
                raise Unreadable(f"the key {shown(key)} is there twice")
            found[key], at = self.value(at + 1, depth + 1)
            at = self._comma(at, "}")

    def _list(self, at: int, end: str, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        while True:
            at = self._skip(at)
            if self._at(at) == end:
                return found, at + 1
            if len(found) >= MAX_ENTRIES:
                raise Unreadable(f"a list has more than {MAX_ENTRIES} entries: no plan has so many subtasks")
            value, at = self.value(at, depth + 1)
            found.append(value)
            at = self._comma(at, end)

    def _comma(self, at: int, end: str) -> int:
        at = self._skip(at)
        character = self._at(at)
        if character == ",":
            return at + 1
        if character != end:
            raise self._unexpected(at, f"',' or '{end}'")
        return at

    def _string(self, at: int) -> tuple[str, int]:
        limit = at + MAX_STRING + 2
        if self.text[at] == '"':
            match = _STRAIGHT.match(self.text, at, limit)
            if match is None:
                raise self._endless(limit)
            return self._unescaped(match[1]), match.end()
        # Single and curly quotes are apostrophes too: one closes only where something that follows a string follows it.
        closing = _CLOSING[self.text[at]]
        end = at
        while (end := self.text.find(closing, end + 1, limit)) >= 0:
            if _AFTER_STRING.match(self.text, end + 1) is not None and not self._escaped(at, end):
                return self._unescaped(self.text[at + 1 : end]), end + 1
        raise self._endless(limit)

    def _escaped(self, start: int, at: int) -> bool:
        """Whether an odd number of backslashes stands before `at`."""
        before = self.text[start + 1 : at]
        return (len(before) - len(before.rstrip("\\"))) % 2 == 1

    def _unescaped(self, body: str) -> str:
        if "\\" not in body:
            return body

        def plain(match: re.Match[str]) -> str:
            code = match[1]
            if len(code) > 1:
                return chr(int(code[1:], 16))
            if code not in _ESCAPES:
                raise Unreadable(f"malformed escape {shown(match[0])}")
            return _ESCAPES[code]

        # JSON writes characters beyond U+FFFF as two halves; a half alone stays what it is, and is removed later.
        return _joined(_ESCAPE.sub(plain, body))

    def _bare(self, at: int) -> tuple[Any, int]:
        if (number := _NUMBER.match(self.text, at)) is not None:
            text = number[0]
            value = float(text) if any(c in text for c in ".eE") else int(text)
            if value in (float("inf"), float("-inf")):
                raise Unreadable(f"the number {text} is not finite")
            return value, number.end()
        word = _WORD.match(self.text, at)
        if word is not None and word[0] in _LITERALS:
            return _LITERALS[word[0]], word.end()
        if word is not None and word[0].lstrip("+-").lower() in _NOT_NUMBERS:
            raise Unreadable(f"{word[0]} is not a number that a plan can hold")
        raise self._unexpected(at, "a value")

    def _skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        assert match is not None
        return match.end()

    def _at(self, at: int) -> str:
        if at >= len(self.text):
            raise _cut()
        return self.text[at]

    def _endless(self, limit: int) -> Unreadable:
        if limit >= len(self.text):
            return _cut()
        return Unreadable(f"a text in the reply does not end within {MAX_STRING} characters")

    def _unexpected(self, at: int, wanted: str) -> Unreadable:
        if at >= len(self.text):
            return _cut()
        line = self.text.count("\n", 0, at) + 1
        return Unreadable(f"malformed JSON in line {line}: {wanted} expected before {shown(self.text[at : at + 20])}")


def shown(value: object) -> str:
    """A short, printable form of an untrusted value."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}...'"


def _joined(text: str) -> str:
    """`text` with the halves of characters beyond U+FFFF joined."""
    return _PAIR.sub(lambda m: chr(0x10000 + ((ord(m[0][0]) - 0xD800) << 10) + ord(m[0][1]) - 0xDC00), text)


def _cut() -> Unreadable:
    return Unreadable("the reply is cut off before its end", cut=True)


_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
