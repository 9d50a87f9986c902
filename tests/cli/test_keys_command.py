"""`gas keys`: names and origins are shown, keys never."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable

import pytest
from test_cli import Said, gas, here  # noqa: F401 (fixtures)


def test_keys_are_listed_by_name_and_removed(
    gas: Callable[..., Said],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("sk-canary-123456\n"))
    assert gas("keys", "set", "openai").code == 0
    plain, told = gas("keys", "ls"), gas("keys", "ls", "--json")
    assert "openai: from " in plain.out and json.loads(told.out)["data"][0]["name"] == "openai"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other-123456")
    assert "from $OPENAI_API_KEY" in gas("keys", "ls").out, "the environment goes before the file"
    assert "canary" not in plain.out + plain.err + told.out + told.err
    assert gas("keys", "rm", "openai").code == 0
    assert gas("keys", "ls").out == ""
    assert gas("keys", "rm", "openai").code == 2
