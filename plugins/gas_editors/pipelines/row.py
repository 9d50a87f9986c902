"""What is known of a pipeline of diffusers that edits a picture by a sentence: a row of the table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

from gas.errors import UsageError
from gas.masks import Size
from gas.remedies import Option, Remedy

_ROUNDS = 8
_MOST_RATIO = 8.0  # FLUX.2 refuses more
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _no_arguments(size: Size) -> Mapping[str, Any]:
    return _NOTHING


@dataclass(frozen=True)
class Row:
    """A pipeline, and how it is called.

    * name: diffusers' class; reads: the pipelines that the index of a model for it may name: those with the same parts.
    * told: what it is told of a subtask: its instruction, or the phrase for what shall be there.
    * steps, guidance: the defaults; `distilled` the two for a model whose index says `is_distilled`.
    * guided_by: the argument that guidance is given as; negative: the negative prompt that switches it on.
    * resolution, multiple: side of the square whose area it works at, and what its sides are divisible by;
      least: the shortest side that it takes.
    * sizes_in: `module:CONSTANT`, the sizes (width, height) that it was trained at.
    * fixed: whether diffusers brings every picture to about a megapixel itself, with its sides `rounded` to the
      multiple; sized: whether it takes a size.
    * strength: for those that are told a mask the share of the steps that is made in it, 1: from pure noise.
    * worded, arguments: the sentence as it wants it; further arguments for a size.
    * latents: how it takes latents to begin with, as tokens `(1, n, C)` or on a grid `(1, C, h, w)`, where it is a
      rectified flow that is told the picture as tokens of the same size; "" where it is not.
    * may_lack: parts that its folder may be without.
    """

    name: str
    reads: tuple[str, ...]
    told: Literal["instruction", "target"]
    steps: int
    guidance: float
    said_in: str
    distilled: tuple[int, float] | None = None
    guided_by: str = "guidance_scale"
    negative: str | None = None
    resolution: int = 1024
    multiple: int = 16
    least: int = 16
    sizes_in: str = ""
    fixed: bool = False
    sized: bool = True
    rounded: Callable[[float], int] = round
    strength: float | None = None
    worded: Callable[[str], str] = str
    arguments: Callable[[Size], Mapping[str, Any]] = _no_arguments
    latents: Literal["", "tokens", "grid"] = ""
    may_lack: tuple[str, ...] = ()

    def defaults(self, distilled: bool) -> tuple[int, float]:
        """Steps and guidance where nobody says otherwise."""
        return self.distilled if distilled and self.distilled else (self.steps, self.guidance)

    def size(self, width: int, height: int, resolution: int | None) -> Size:
        """The size (width, height) to work at for a crop of that size; `resolution` is the user's.

        UsageError (exit 2) for a resolution of a pipeline whose size is fixed.
        """
        if resolution is not None and self.fixed:
            raise UsageError(
                f"{self.name} brings every picture to {self.resolution}x{self.resolution} pixels itself",
                Remedy("no_resolution", "leave {o} out", o=Option({"resolution": None})),
            )
        ratio = min(max(width / height, 1 / _MOST_RATIO), _MOST_RATIO)
        if self.sizes_in and resolution is None:
            module, _, constant = self.sizes_in.partition(":")
            known: list[Size] = getattr(import_module(module), constant)
            return min(known, key=lambda one: abs(one[0] / one[1] - ratio))
        side = resolution or self.resolution
        size = self._sides(side, ratio)
        if not self.fixed:  # more than that area FLUX.2 would shrink again
            while size[0] * size[1] > side * side and max(size) > self.least:
                wide = size[0] >= size[1]
                size = (size[0] - self.multiple * wide, size[1] - self.multiple * (not wide))
            return size
        # diffusers computes a size from the picture's ratio: it must come to the one that the picture has.
        for _ in range(_ROUNDS):
            size = self._sides(side, size[0] / size[1])
        return size

    def _sides(self, side: int, ratio: float) -> Size:
        """The sides of about `side` squared pixels with that ratio of width to height."""
        root = math.sqrt(ratio)
        width, height = (int(self.rounded(side * one / self.multiple)) * self.multiple for one in (root, 1 / root))
        return max(width, self.least), max(height, self.least)


def row_of(pipeline: str, rows: tuple[Row, ...]) -> Row | None:
    """The row for a model whose index names `pipeline`; None where there is none."""
    return next((row for row in rows if pipeline in row.reads), None)
