"""How much memory an edit takes, beside what the editor takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures

CODE = """
import json, sys
from pathlib import Path
import numpy as np
import fake_backends
from gas.picture import photo
from gas.regions.folder import read_mask
from gas.run.job import prepare
from gas.run.session import Session
from gas.types import EditPlan, Region, Subtask

def peak():  # not ru_maxrss, which begins at that of the parent
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

def edit(source, mask, out):
    session = Session.of(registry=fake_backends.registry(), planner="arrows", editor="painter", profile="diorama")
    read = photo.read(source)
    plan = EditPlan(subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="sky", target="night")))
    width, height = read.size
    dog = Region("dog", (0.3 * width, 0.3 * height, 0.7 * width, 0.6 * height))
    sky = Region("sky", mask=read_mask(mask, read.size))
    prepare(session, read, plan, [dog, sky], seed=5).run(out)

folder = Path(sys.argv[1])
edit(folder / "small.jpg", folder / "small.png", folder / "small-out.jpg")  # so that everything is imported
before = peak()
edit(folder / "large.jpg", folder / "large.png", folder / ("out" + sys.argv[2]))
print(json.dumps(peak() - before))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
@pytest.mark.parametrize(("suffix", "most"), [(".jpg", 25), (".png", 19)])
def test_an_edit_takes_19_bytes_a_pixel_above_its_editor(tmp_path: Path, suffix: str, most: int) -> None:
    """Two regions, one of them most of the picture, soft and from a file: 1.9 GB for 108 megapixels. JPEG whose
    coefficients stay takes 6 more, with half of the colours' lines and columns."""
    for name, side in (("small", 40), ("large", 3000)):
        y, x = np.mgrid[:side, : side * 4 // 3]
        image = np.stack([x % 256, y % 256, (x + y) % 256], axis=-1).astype(np.uint8)
        Pictures.fromarray(image).save(tmp_path / f"{name}.jpg", quality=90)
        levels = np.clip((0.6 * side - y) * 10, 0, 255).astype(np.uint8)
        Pictures.fromarray(levels).save(tmp_path / f"{name}.png", compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path), suffix],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert 8 * 3000 * 4000 < json.loads(done.stdout) < most * 3000 * 4000
