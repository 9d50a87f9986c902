"""What it costs to write an edited photograph of 24 megapixels, its check included: seconds and memory by sampling."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gas.picture import photo, photo_write
from gas.testing.jpeg.kinds import encoded
from gas.testing.jpeg.survey import edited

SIZE = (6000, 4000)
QUALITY = 85
"""The scene is full of noise: files of 9 to 18 MB, as of a camera at its best."""
SAMPLINGS = ("4:2:0", "4:2:2", "4:4:4")


@dataclass(frozen=True)
class Cost:
    """The size of the file in bytes, how it was written, seconds of wall and processor, and how many bytes of memory
    more than before were in use at the most (None: the system does not say)."""

    sampling: str
    size: int
    method: str
    wall: float
    processor: float
    memory: int | None


def cost(sampling: str, folder: Path, size: tuple[int, int] = SIZE) -> Cost:
    """An edit of three places of a photograph of this `size` (width, height), in the memory that it is in already."""
    source, out = folder / "large.jpg", folder / "large-out.jpg"
    source.write_bytes(encoded(size, quality=QUALITY, subsampling=sampling))
    out.unlink(missing_ok=True)
    read = photo.read(source)
    image, mask = edited(read.pixels)
    mask = mask.astype(np.float32)
    before = _peak(reset=True)
    wall, processor = time.perf_counter(), time.process_time()
    written = photo_write.write(read, out, image, mask)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    after = _peak()
    memory = None if before is None or after is None else after - before
    method = written.jpeg.method if written.jpeg else "re-encoded"
    return Cost(sampling, source.stat().st_size, method, wall, processor, memory)


def _peak(*, reset: bool = False) -> int | None:
    """The most memory, in bytes, that the process has had resident; since now, with `reset`. None where the system does
    not say (Linux does)."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
