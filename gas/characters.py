"""Characters that a reader does not see and a terminal may obey."""

from __future__ import annotations

import re

# C0 (but tab and newline) and C1 controls, zero-width characters, line separators and bidirectional overrides: they
# hide or reorder what a reader sees, and some are commands to a terminal.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def visible(text: str) -> str:
    """`text` with hidden characters as `\\u001b`: what JSON and TOML write for them, and no terminal obeys."""
    return HIDDEN.sub(lambda one: f"\\u{ord(one[0]):04x}", text)
