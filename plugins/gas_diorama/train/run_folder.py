"""The folder of a prepared run: what it starts from, what is done, and what to take away."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from gas_diorama import folders
from gas_diorama.train.restore import restore

NETWORKS = ("sd", "flow", "instruct", "instruct-remove")
"""Folders of the networks that draw, each after those that it rests on."""
PART = 15_000_000
"""Bytes of a part of the weights."""


class Run:
    """A run's folder: checkpoints and log at the top, `weights/` as the package has it, what to take away in `results`.

    Args:
        out: the folder.
        results: at most eight files, each below 16 MB: weights.tar in parts, train.log, pictures.png, figures.json.
    """

    def __init__(self, out: Path, results: Path) -> None:
        self.out, self.results, self.weights = out, results, out / "weights"
        self._done = out / "done.json"

    def begin(self, shipped: Path = folders.WEIGHTS) -> None:
        """Copies the shipped weights, and makes checkpoints of the denoiser's, where there are none yet."""
        for name in NETWORKS:
            if (shipped / name).is_dir() and not (self.weights / name).exists():
                partial = self.weights / f"{name}.partial"
                shutil.rmtree(partial, ignore_errors=True)
                shutil.copytree(shipped / name, partial)
                partial.rename(self.weights / name)
        if not (self.out / "unet.pt").exists():
            (self.out / "decoder.pt").unlink(missing_ok=True)  # of a start that was cut off between the two
            restore(self.out, self.weights / "sd")
        self.pack()

    @property
    def done(self) -> list[str]:
        """Networks that are trained already."""
        return json.loads(self._done.read_text()) if self._done.exists() else []

    def finish(self, name: str) -> None:
        """Notes that `name` is trained."""
        self._done.write_text(json.dumps([*self.done, name]))

    def pack(self) -> None:
        """Writes the results as they are now, each file whole."""
        self.results.mkdir(parents=True, exist_ok=True)
        whole = self.out / "weights.tar"
        with tarfile.open(whole, "w") as archive:
            for name in NETWORKS:
                if (self.weights / name).is_dir():
                    archive.add(self.weights / name, name)
        count = 0
        with whole.open("rb") as stream:
            while part := stream.read(PART):
                self._put(f"weights.tar.{count:02}", part)
                count += 1
        whole.unlink()
        for older in self.results.glob("weights.tar.*"):
            if older.suffix[1:].isdigit() and int(older.suffix[1:]) >= count:
                older.unlink()
        for name in ("train.log", "figures.json"):
            if (self.out / name).exists():
                self._put(name, (self.out / name).read_bytes())
        sheets = [sheet for sheet in map(self._latest, ("previews", "flow-previews")) if sheet is not None]
        if sheets:
            pictures = [np.array(Image.open(sheet)) for sheet in sheets]
            width = max(picture.shape[1] for picture in pictures)
            wide = [np.pad(picture, ((0, 0), (0, width - picture.shape[1]), (0, 0))) for picture in pictures]
            Image.fromarray(np.vstack(wide)).save(self.out / "pictures.png")
            self._put("pictures.png", (self.out / "pictures.png").read_bytes())

    def _latest(self, folder: str) -> Path | None:
        return max((self.out / folder).glob("step-*.png"), default=None)

    def _put(self, name: str, content: bytes) -> None:
        partial = self.results / f"{name}.partial"
        partial.write_bytes(content)
        os.replace(partial, self.results / name)
