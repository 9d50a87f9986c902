"""How large the cache may become, as people write it."""

from __future__ import annotations

import re

PATTERN = r"^\d{1,6}(\.\d{1,3})?\s*(MB|GB)$"
DEFAULT = "2GB"
_UNITS = {"MB": 10**6, "GB": 10**9}


def parse_limit(text: str) -> int:
    """The bytes that "500MB" or "2.5GB" means. ValueError for anything else."""
    if not re.match(PATTERN, text):
        raise ValueError(f"{text!r} is not a size such as 500MB or 2GB")
    return round(float(text[:-2]) * _UNITS[text[-2:]])
