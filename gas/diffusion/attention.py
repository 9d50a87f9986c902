"""Attention of a UNet, seen and changed inside a `with` block: the one place that touches attention processors.

A control is called with the probabilities of every chosen layer at every forward pass. `AttentionMaps` is one that only
looks: it averages as it goes. Editing by attention (Prompt-to-Prompt, Plug-and-Play) is another that returns changed
probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Size = tuple[int, int]


@dataclass(frozen=True)
class AttentionLayer:
    """An attention module of a UNet: its name, whether it looks at the prompt ("cross") or at the picture ("self"), and
    how many times the latent was halved before it."""

    name: str
    kind: Literal["cross", "self"]
    level: int

    def grid(self, size: Size) -> Size:
        """Rows and columns of its cells over a latent of `size` (h, w): halved, rounding up, as strided convolutions
        do."""
        return -(-size[0] // 2**self.level), -(-size[1] // 2**self.level)


class Control(Protocol):
    """What looks at attention, and may change it."""

    def __call__(self, layer: AttentionLayer, probabilities: Tensor) -> Tensor | None:
        """`probabilities` are `(rows, heads, cells, tokens)`, of sum 1 over the tokens: rows of the batch; cells of
        `layer.grid`, row by row; tokens of the prompt, or the cells again where a layer looks at the picture. They are
        the network's own: do not write into them. Returns others of the same shape to be used instead, or None to leave
        them."""


# --- which layers -----------------------------------------------------------------------------------------------------


def attention_layers(network: nn.Module, kind: Literal["cross", "self"] | None = None) -> tuple[AttentionLayer, ...]:
    """The attention layers of a diffusers UNet2DConditionModel, in the order in which they are computed; of one `kind`
    only, if given."""
    from diffusers.models.attention_processor import Attention

    found = []
    level = 0
    for prefix, block in _blocks(network):
        for name, module in block.named_modules():
            if isinstance(module, Attention):
                own: Literal["cross", "self"] = "cross" if module.is_cross_attention else "self"
                found.append(AttentionLayer(f"{prefix}.{name}", own, level))
        level += bool(getattr(block, "downsamplers", None)) - bool(getattr(block, "upsamplers", None))
    return tuple(layer for layer in found if kind in (None, layer.kind))


def layers_near(
    layers: Sequence[AttentionLayer], size: Size, side: float, least: int = 1
) -> tuple[AttentionLayer, ...]:
    """Those of one level: the one whose grid over a latent of `size` (h, w) is nearest to `side` x `side` cells, among
    those of at least `least` x `least` cells.

    Near is a matter of the ratio of areas; of two as near, the finer one. `side=16` are the 16x16 maps of Stable
    Diffusion 1.x at 512 pixels, 1/32 of the picture (ZONE, `msk_from_attn.py`). ValueError when no layer has so many
    cells.
    """
    fine = [layer for layer in layers if min(layer.grid(size)) >= least]
    if not fine:
        raise ValueError(f"no attention layer has {least} x {least} cells over a latent of {size[0]} x {size[1]}")

    def distance(layer: AttentionLayer) -> tuple[float, int]:
        return abs(math.log(math.prod(layer.grid(size)) / side**2)), layer.level

    best = min(map(distance, fine))
    return tuple(layer for layer in fine if distance(layer) == best)


# --- the block --------------------------------------------------------------------------------------------------------


@contextmanager
def control_attention(network: nn.Module, layers: Sequence[AttentionLayer], control: Control) -> Iterator[None]:
    """Inside the block `control` is called for each of `layers` at each forward pass.

    Those layers compute their attention plainly, the others with the fused kernel as before; up to rounding the
    network's output is the same until the control changes something. Blocks nest: the inner control sees what the outer
    one left. The network is as before when the block ends, also by an exception; gradients flow. ValueError when there
    are no layers, or one computes its attention in a way of its own (IP-Adapter, custom diffusion, ...).
    """
    if not layers:
        raise ValueError("no attention layer was chosen")
    with ExitStack() as undo:
        for layer in layers:
            undo.enter_context(_opened(network.get_submodule(layer.name), layer, control))
        yield


@contextmanager
def _opened(module: Any, layer: AttentionLayer, control: Control) -> Iterator[None]:
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    processor, scores = module.processor, module.get_attention_scores
    if type(processor) not in (AttnProcessor, AttnProcessor2_0):
        raise ValueError(f"the attention of {layer.name} is computed by {type(processor).__name__}, which is not known")
    shadowed = "get_attention_scores" in vars(module)

    def seen(query: Tensor, key: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        flat = scores(query, key, attention_mask)
        probabilities = flat.unflatten(0, (-1, module.heads))
        changed = control(layer, probabilities)
        if changed is None:
            return flat
        if changed.shape != probabilities.shape:
            raise ValueError(f"attention of {tuple(probabilities.shape)} was changed into {tuple(changed.shape)}")
        return changed.to(flat.dtype).flatten(0, 1)

    # diffusers' plain processor asks the module itself for its probabilities: the one place where they are whole.
    module.set_processor(AttnProcessor())
    module.get_attention_scores = seen
    try:
        yield
    finally:
        module.set_processor(processor)
        if shadowed:
            module.get_attention_scores = scores
        else:
            del module.get_attention_scores


def _blocks(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name in ("down_blocks", "mid_block", "up_blocks"):
        part = getattr(network, name, None)
        if isinstance(part, nn.ModuleList):
            yield from ((f"{name}.{number}", block) for number, block in enumerate(part))
        elif part is not None:
            yield name, part


# --- a control that only looks ----------------------------------------------------------------------------------------


class AttentionMaps:
    """A control that keeps the mean of the probabilities over forward passes, heads and layers, and nothing else.

    `size` is the latent's (h, w). `rows` are the rows of the batch to keep, each on its own (default: all; under
    classifier-free guidance those of the prompt); `tokens` the positions to keep, in that order (default: all).
    """

    def __init__(self, size: Size, rows: Sequence[int] | None = None, tokens: Sequence[int] | None = None) -> None:
        self.size = size
        self.rows = rows
        self.tokens = tokens
        self._sums: dict[Size, Tensor] = {}
        self._count = 0

    def __call__(self, layer: AttentionLayer, probabilities: Tensor) -> None:
        grid = layer.grid(self.size)
        if probabilities.shape[2] != math.prod(grid):
            raise ValueError(
                f"{layer.name} has {probabilities.shape[2]} cells: that is not a latent of "
                f"{self.size[0]} x {self.size[1]}"
            )
        kept = probabilities.detach()
        kept = kept if self.rows is None else kept[list(self.rows)]
        kept = kept if self.tokens is None else kept[..., list(self.tokens)]
        mean = kept.float().mean(1).transpose(1, 2).unflatten(-1, grid)
        self._sums[grid] = self._sums[grid] + mean if grid in self._sums else mean
        self._count += 1

    def mean(self) -> Tensor:
        """`(rows, tokens, h, w)` float32 in [0, 1], on the finest grid that was seen; coarser maps are enlarged
        bilinearly, and every layer of every pass weighs the same.

        Of self-attention, whose tokens are the cells, layers of one level only. ValueError when nothing was seen.
        """
        if not self._sums:
            raise ValueError("no forward pass was made inside the block, so there is no attention")
        finest = max(self._sums, key=math.prod)
        total = torch.zeros_like(self._sums[finest])
        for grid, one in self._sums.items():
            total += one if grid == finest else F.interpolate(one, finest, mode="bilinear", align_corners=False)
        return total / self._count

    def state(self) -> dict[str, Tensor]:
        """What was collected so far, for `restore`: tensors on the CPU by name."""
        sums = {f"sum.{h}x{w}": one.cpu().clone() for (h, w), one in self._sums.items()}
        return {"count": torch.tensor(self._count), **sums}

    def restore(self, state: Mapping[str, Tensor], device: torch.device | str) -> None:
        """Goes on from a `state`, on `device`. KeyError or ValueError when it is not one."""
        self._count = int(state["count"])
        self._sums = {}
        for name, one in state.items():
            if name != "count":
                rows, columns = name.removeprefix("sum.").split("x")
                self._sums[int(rows), int(columns)] = one.to(device)


@contextmanager
def collect_attention(
    network: nn.Module,
    layers: Sequence[AttentionLayer],
    size: Size,
    *,
    rows: Sequence[int] | None = None,
    tokens: Sequence[int] | None = None,
) -> Iterator[AttentionMaps]:
    """The `AttentionMaps` of the forward passes inside the block, for a latent of `size` (h, w)."""
    maps = AttentionMaps(size, rows, tokens)
    with control_attention(network, layers, maps):
        yield maps
