"""`python -m gas_diorama.bench.before_after BEFORE AFTER OUT`: two pictures of this world side by side, for a page."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image as Pictures

from gas.picture.overlay import strip
from gas.run.output import write_picture

ENLARGED = 3


def main(arguments: list[str]) -> int:
    """0 after the picture was written, 2 for other arguments."""
    if len(arguments) != 3:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    before, after, out = map(Path, arguments)
    columns = []
    for name, path in (("before", before), ("after", after)):
        picture = np.asarray(Pictures.open(path).convert("RGB"))
        columns.append((name, picture.repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)))
    write_picture(out, strip(columns))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
