"""SDEdit in tiles: a picture larger than its model likes gets noise and is sampled clean again, the predictions of
overlapping tiles mixed at every step (MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113, eq. 3)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gas.diffusion.guidance import NoisePrediction
from gas.diffusion.masks import Cells
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.phases import clean, ddim
from gas.diffusion.sample.targets import COVERED
from gas.diffusion.schedule import times
from gas.diffusion.stepping import State, Work, same_size
from gas.diffusion.tiles import Tiling, part

if TYPE_CHECKING:
    from gas.diffusion.backbone import Backbone
    from gas.diffusion.schedule import Schedule
    from gas.types import Image


@dataclass(frozen=True)
class TiledSettings:
    """How much is drawn anew: noise of the share `strength` is put on and taken off, `repeats` times, by a sampler of
    `steps` steps over the whole schedule, under a prompt with this guidance."""

    steps: int
    strength: float
    repeats: int
    guidance_scale: float


def tilings(tiling: Tiling, count: int, seed: int) -> list[Tiling]:
    """The tiling of each of `count` times, moved by chance."""
    shifts = torch.rand((count, 2), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return [replace(tiling, shift=(down, across)) for down, across in shifts.tolist()]


def tiled_steps(schedule: Schedule, mask: Tensor, tiling: Tiling, settings: TiledSettings, seed: int) -> int:
    """How many steps a `TiledSampling` of these has: at each time the tiles that show the mask."""
    count = settings.repeats * len(times(schedule, settings.steps, settings.strength))
    return sum(len(one.showing(mask >= COVERED)) for one in tilings(tiling, count, seed))


class TiledSampling(Work):
    """A latent `z` `(1, C, h, w)` redrawn under `prompt` where `mask` `(1, 1, h, w)` covers half of a cell; elsewhere,
    after each step, it is z with the same noise on it.

    A step is the prediction of one tile at one time, for then a run can be stopped, and resumed, within a time. `show`
    decodes a latent for previews.
    """

    def __init__(
        self,
        model: Backbone,
        z: Tensor,
        mask: Tensor,
        prompt: str,
        tiling: Tiling,
        settings: TiledSettings,
        seed: int,
        show: Callable[[Tensor], Image],
    ) -> None:
        self.predictor = Predictor(model, tiling.tile_size)
        self.schedule = self.predictor.schedule
        self.every = times(self.schedule, settings.steps, settings.strength)
        self.settings, self.inside = settings, (mask >= COVERED).to(z.device)
        self.tilings = tilings(tiling, settings.repeats * len(self.every), seed)
        self.tiles: list[tuple[Cells, ...]] = [one.showing(mask >= COVERED) for one in self.tilings]
        self._ends = list(accumulate(len(tiles) for tiles in self.tiles))
        self._told = self.predictor.guided([prompt], settings.guidance_scale)
        self._window = tiling.window.to(z)
        generator = torch.Generator().manual_seed(seed)
        self._noises = torch.randn((settings.repeats, *z.shape), generator=generator).to(z)
        self._source, self._show = z, show
        self.current: dict[str, Tensor] = {"z": z, "sum": torch.zeros_like(z), "estimate": z}

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return self._ends[-1]

    def step(self, i: int) -> None:
        time = bisect_right(self._ends, i)
        tiles = self.tiles[time]
        number = i - (self._ends[time] - len(tiles))
        repeat, place = divmod(time, len(self.every))
        t = self.every[place]
        z, total = self.current["z"], self.current["sum"].clone()
        if not number:
            z = z if place else self._noisy(z, repeat, t)
            total.zero_()
        part(total, tiles[number]).add_(self._window * self._predicted(part(z, tiles[number]), t))
        self.current = {**self.current, "z": z, "sum": total}
        if number + 1 < len(tiles):
            return
        prediction = total / self.tilings[time].weights(tiles).to(z).clamp(min=1e-6)
        s = self.every[place + 1] if place + 1 < len(self.every) else self.schedule.clean
        there, source = ddim(self.schedule, z, prediction, t, s), self._noisy(self._source, repeat, s)
        self.current |= {
            "z": torch.where(self.inside, there, source),
            "estimate": torch.where(self.inside, clean(self.schedule, z, prediction, t), self._source),
        }

    def state(self) -> State:
        return {**self.current}

    def restore(self, state: State) -> None:
        self.current = {name: same_size(state[name], one) for name, one in self.current.items()}

    def numbers(self) -> dict[str, Tensor]:
        return self.current

    def preview(self) -> Callable[[], Image]:
        estimate = self.current["estimate"]
        return lambda: self._show(estimate)

    def _predicted(self, z: Tensor, t: float) -> Tensor:
        rows = self.predictor.predict(z, t, self._told)
        return NoisePrediction(rows[:-1] if len(rows) > 1 else None, rows[-1:]).guided(self.settings.guidance_scale)

    def _noisy(self, z: Tensor, repeat: int, t: float) -> Tensor:
        return z if t == self.schedule.clean else self.schedule.add_noise(z, self._noises[repeat], t)
