"""A plan's instructions in one denoising, each in its own region."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from gas.diffusion.stepping import Work
from gas.errors import ResultRefused
from gas.remedies import USE_FP32
from gas_editors.instruction.turn import Turn

if TYPE_CHECKING:
    from gas.types import Image


class Together(Work):
    """One turn of all instructions, step by step."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._values: dict[str, float] = {}

    def step(self, i: int) -> None:
        self.turn.step()

    def state(self) -> dict[str, Any]:
        return self.turn.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.turn.restore(state)

    def numbers(self) -> Mapping[str, Tensor]:
        return self.turn.numbers()

    def not_finite(self, what: str, name: str, i: int) -> ResultRefused:
        return not_finite(name, f"step {i + 1} of {self.turn.options.steps}")

    def values(self, renewed: bool) -> Mapping[str, float]:
        if renewed or self.turn.done == 1:
            self._values = {"instruction": self.turn.effect()}
        return self._values

    def preview(self) -> Callable[[], Image]:
        return self.turn.preview()


def not_finite(name: str, where: str) -> ResultRefused:
    """The error for the number `name` of a turn that is not finite at the step that `where` names."""
    if name == "prediction":
        return ResultRefused(f"the network's prediction is not a finite number ({where})", USE_FP32)
    return ResultRefused(f"the latent is not a finite number any more ({where})", "use a smaller guidance_scale")
