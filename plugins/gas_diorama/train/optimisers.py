"""The optimisers that trainers choose from: AdamW, or Muon for matrices inside a network with AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

Group = dict[str, Any]
"""Weights under "params", with the "rate" that multiplies the learning rate, and "weight_decay"."""


class Together:
    """Several optimisers that step as one: what `fit` needs of an optimiser."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[Group]:
        """The groups of all parts; changes reach the parts."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self) -> None:
        """One step of each part."""
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """The parts' states in their order."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """What `state_dict` returned; also the state of a lone optimiser, as older checkpoints have it."""
        states = state.get("parts", [state])
        for part, one in zip(self.parts, states, strict=True):
            part.load_state_dict(one)


def grouped(named: Mapping[str, nn.Parameter], rate: Callable[[str], float], decay: float) -> list[Group]:
    """The weights by rate, and by whether they decay: matrices and convolutions do, vectors do not."""
    kinds = [(factor, decays) for factor in dict.fromkeys(map(rate, named)) for decays in (True, False)]
    groups = [
        {
            "params": [p for name, p in named.items() if rate(name) == factor and (p.ndim > 1) == decays],
            "rate": factor,
            "weight_decay": decay if decays else 0.0,
        }
        for factor, decays in kinds
    ]
    return [group for group in groups if group["params"]]


def adamw(
    named: Mapping[str, nn.Parameter], peak: float, decay: float, rate: Callable[[str], float] = lambda name: 1.0
) -> Together:
    """AdamW for all of `named`."""
    return Together(torch.optim.AdamW(grouped(named, rate, decay), lr=peak, betas=(0.9, 0.99), fused=True))


def muon(inside: Callable[[str], bool]) -> Callable[..., Together]:
    """Muon (Jordan et al. 2024) for those matrices whose names `inside` accepts, AdamW for everything else.

    Steps are scaled to the size of AdamW's (Liu et al. 2025), so that one learning rate serves both.
    """

    def build(
        named: Mapping[str, nn.Parameter], peak: float, decay: float, rate: Callable[[str], float] = lambda name: 1.0
    ) -> Together:
        matrices = {name: p for name, p in named.items() if p.ndim == 2 and inside(name)}
        others = {name: p for name, p in named.items() if name not in matrices}
        first = torch.optim.Muon(
            grouped(matrices, rate, decay), lr=peak, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
        )
        return Together(first, *adamw(others, peak, decay, rate).parts)

    return build
