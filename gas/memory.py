"""How much memory this process can still get."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_CGROUPS = (  # of version 2 and 1: (limit, in use)
    ("memory.max", "memory.current"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
)


class Memory(NamedTuple):
    """Bytes that can still be had, and all that there are."""

    available: int
    total: int


def memory() -> Memory | None:
    """What the system, the container and the process' own limit leave; None where the system does not say (it does on
    Linux)."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines) if rest}
    if not {"MemAvailable", "MemTotal"} <= sizes.keys():
        return None
    free, total = sizes["MemAvailable"], sizes["MemTotal"]
    for limit, used in (*_cgroups(), *_own_limit()):
        free, total = min(free, max(limit - used, 0)), min(total, limit)
    return Memory(free, total)


def swap() -> int:
    """Bytes of the disk that stand in for memory and are free; 0 where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("SwapFree:")), 0)


def gigabytes(count: float) -> str:
    """A number of bytes for people: `1.2 GB`."""
    return f"{count / 1e9:.1f} GB"


def _cgroups() -> list[tuple[int, int]]:
    found = []
    for limit, used in _CGROUPS:
        try:
            pair = [int((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii")) for name in (limit, used)]
        except (OSError, ValueError):  # none, or "max"
            continue
        found.append((pair[0], pair[1]))
    return found


def _own_limit() -> list[tuple[int, int]]:
    """The address space that the process may take, and takes."""
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return []
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return [(limit, pages * resource.getpagesize())]
