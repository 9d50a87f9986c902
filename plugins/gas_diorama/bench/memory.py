"""The memory that this process has used."""

from __future__ import annotations

import sys


def peak_memory() -> int | None:
    """The most memory that this process ever had resident, in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def shown(size: int | None) -> str:
    """Bytes for people: `1.23 GB`; "unknown" where the system did not tell them."""
    return "unknown" if size is None else f"{size / 1e9:.2f} GB"
