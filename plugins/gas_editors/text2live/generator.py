"""Text2LIVE's generator of an edit layer, and the optimiser that trains it on one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

# Colours that natural pictures mix (Olah et al. 2017, "Feature visualization", appendix): columns are light, and two
# opponent colours; the first is damped by 1.6 as Text2LIVE's code does.
_COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]]) / torch.tensor([1.6, 1, 1])
SMALLEST = 4
"""Side in pixels of what the deepest level sees of a square picture: 512 pixels and seven levels, as published."""
SKIPPED = 4
"""Channels that go past each level (Text2LIVE's `skip_n11`)."""
MOMENTUM, WEIGHT_DECAY, EPSILON = 0.9, 0.01, 1e-6


def levels_for(height: int, width: int, most: int) -> int:
    """How many of at most `most` levels a picture has room for, at least one."""
    return max(1, min(most, int(math.log2(max(2 * SMALLEST, min(height, width)) / SMALLEST))))


class _Convolution(nn.Sequential):
    """3x3 (or 1x1) with mirrored borders, normalised over the picture, leaky."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1, norm: bool = True) -> None:
        super().__init__(
            nn.Conv2d(
                inputs, outputs, size, stride, padding=size // 2, padding_mode="reflect" if size > 1 else "zeros"
            ),
            _norm(outputs) if norm else nn.Identity(),
            nn.LeakyReLU(0.2),
        )


def _norm(channels: int) -> nn.Module:
    """The batch is one picture, so these are its own statistics, in training and after it."""
    return nn.BatchNorm2d(channels, track_running_stats=False)


class _Level(nn.Module):
    """Half the size and back, beside a few channels that stay as large as they are."""

    def __init__(self, inputs: int, width: int, levels: int, *, first: bool = True) -> None:
        super().__init__()
        self.past = _Convolution(inputs, SKIPPED, size=1)
        self.down = nn.Sequential(_Convolution(inputs, width, stride=2), _Convolution(width, width))
        self.deeper = _Level(width, width, levels - 1, first=False) if levels > 1 else nn.Identity()
        self.up = nn.Sequential(
            _norm(SKIPPED + width),
            _Convolution(SKIPPED + width, width),
            _Convolution(width, width, size=1, norm=not first),
        )

    def forward(self, x: Tensor) -> Tensor:
        inside = F.interpolate(self.deeper(self.down(x)), scale_factor=2, mode="bilinear", align_corners=False)
        return self.up(torch.cat([self.past(x), inside[:, :, : x.shape[2], : x.shape[3]]], 1))


class LayerGenerator(nn.Module):
    """`(1, 4, H, W)` in (0, 1), colour and opacity, for a picture `(1, 3, H, W)` in [0, 1] of any size that leaves two
    pixels to the deepest level.

    An encoder and decoder with skip connections, `width` channels at each of `levels` levels (Text2LIVE's
    `models/backbone/skip.py`: 128 at 7).
    """

    colours: Tensor

    def __init__(self, width: int, levels: int) -> None:
        super().__init__()
        self.body = _Level(3, width, levels)
        self.out = nn.Conv2d(width, 4, 1)
        self.register_buffer("colours", _COLOURS / _COLOURS.norm(dim=0).max(), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        made = self.out(self.body(picture))
        colour = torch.einsum("nchw,dc->ndhw", made[:, :3], self.colours)
        return torch.sigmoid(torch.cat([colour, made[:, 3:]], 1))


class Generators:
    """Several generators of one form, whose parameters are the rows of one tensor `(n, parameters)`."""

    def __init__(self, count: int, width: int, levels: int, seed: int, device: torch.device | str = "cpu") -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            networks = [LayerGenerator(width, levels) for _ in range(count)]
        self.network = networks[0].to(device)
        self.shapes = {name: one.shape for name, one in self.network.named_parameters()}
        rows = [torch.cat([one.detach().flatten() for one in network.parameters()]) for network in networks]
        self.start = torch.stack([row.to(device) for row in rows])

    def layer(self, weights: Tensor, picture: Tensor) -> Tensor:
        """`(1, 4, H, W)`: the layer that the generator with these `weights` `(parameters,)` makes of `picture`."""
        parts = weights.split([shape.numel() for shape in self.shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}
        return functional_call(self.network, named, (picture,))


def madgrad_start(weights: Tensor) -> dict[str, Tensor]:
    """The state with which `madgrad` begins at `weights`."""
    weights = weights.detach()
    return {
        "weights": weights,
        "start": weights,
        "gradients": torch.zeros_like(weights),
        "squares": torch.zeros_like(weights),
    }


def madgrad(state: Mapping[str, Tensor], gradient: Tensor, learning_rate: float, step: int) -> dict[str, Tensor]:
    """The state after step number `step` (from 0) of MADGRAD (Defazio and Jelassi 2021, arXiv 2101.11075, algorithm 1)
    with momentum 0.9 and decay 0.01, as Text2LIVE trains. `state` is left as it is, which an interrupted run needs."""
    rate = (learning_rate + EPSILON) * math.sqrt(step + 1)
    gradient = gradient + WEIGHT_DECAY * state["weights"]
    squares = state["squares"] + rate * gradient.square()
    gradients = state["gradients"] + rate * gradient
    reached = state["start"] - gradients / (squares.pow(1 / 3) + EPSILON)
    weights = MOMENTUM * state["weights"] + (1 - MOMENTUM) * reached
    return {**state, "weights": weights, "gradients": gradients, "squares": squares}
