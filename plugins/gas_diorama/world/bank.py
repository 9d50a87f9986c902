"""A numbered, endless supply of training scenes: number n gives the same scene on every machine, in every order of
asking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gas_diorama.world.drawing import render
from gas_diorama.world.scene import SIZE, Scene, sample_scene


class SceneBank:
    """The first `count` scenes of a split, drawn when first asked for and kept, 49 kB a picture.

    Args:
        count: how many different scenes there are.
        seed: another seed, other scenes.
        part: the split they come from.
        small: as `sample_scene` takes it.
        twins: as `sample_scene` takes it.
    """

    def __init__(
        self, count: int, seed: int = 0, part: str = "train", small: bool | None = None, twins: bool | None = None
    ) -> None:
        self.count, self.seed, self.part, self.small, self.twins = count, seed, part, small, twins
        self._pictures = np.zeros((count, SIZE, SIZE, 3), np.uint8)
        self._scenes: dict[int, Scene] = {}

    def scene(self, number: int) -> Scene:
        """Scene `number`, 0 <= number < count."""
        if number not in self._scenes:
            rng = np.random.default_rng((self.seed, number))
            self._scenes[number] = sample_scene(rng, part=self.part, small=self.small, twins=self.twins)
            self._pictures[number] = render(self._scenes[number])
        return self._scenes[number]

    def pictures(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Their pictures: uint8 (n, 128, 128, 3), RGB."""
        for number in numbers:
            self.scene(int(number))
        return self._pictures[numbers]
