"""`python -m gas_editors.retouch.trial.copies FOLDER`: small copies of photographs, as this repository has them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image as Pictures

from gas_editors.retouch.trial.pictures import load

COPIED = ("astronaut", "chelsea", "coffee", "rocket")
"""Of scikit-image's sample pictures; docs/photographs/LICENCES.md says whose they are."""
MOST_BYTES = 150_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Writes each as FOLDER/NAME.jpg, at the best quality that stays below 150 kB."""
    folder = Path((sys.argv[1:] if arguments is None else arguments)[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        path = folder / f"{name}.jpg"
        for quality in range(95, 50, -1):
            Pictures.fromarray(load(name)).save(path, quality=quality, subsampling=0, optimize=True)
            if path.stat().st_size <= MOST_BYTES:
                break
        sys.stdout.write(f"{path}: quality {quality}, {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
