"""Attention of a UNet, seen and changed inside a `with` block: the one place that touches attention.

`control_attention` calls a control with the probabilities of every chosen layer at every forward pass. `AttentionMaps`
is a control that only looks: it averages as it goes. `Replace` and `Reweight` change what the words of one row's prompt
look at (Prompt-to-Prompt). `inject_attention` and `inject_features` give rows of a batch another row's self-attention
and features (Prompt-to-Prompt, Plug-and-Play), `share_attention` another row's keys and values (MasaCtrl); these three
keep the fused kernel. Which row takes from which is always said, as `{target: source}`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gas.diffusion.attention.alignment import TokenMap

Size = tuple[int, int]
Rows = Mapping[int, int]
"""Which row of a batch each row takes something from: `{target: source}`; rows that are not named keep their own."""


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


def layers_within(layers: Sequence[AttentionLayer], size: Size, cells: float) -> tuple[AttentionLayer, ...]:
    """Those whose grid over a latent of `size` (h, w) has at most `cells` cells; there may be none."""
    return tuple(layer for layer in layers if math.prod(layer.grid(size)) <= cells)


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
    from diffusers.models.attention_processor import AttnProcessor

    _check_known(module, layer)
    processor, scores = module.processor, module.get_attention_scores
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


def _check_known(module: Any, layer: AttentionLayer) -> None:
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    if type(module.processor) not in (AttnProcessor, AttnProcessor2_0):
        name = type(module.processor).__name__
        raise ValueError(f"the attention of {layer.name} is computed by {name}, which is not known")


def _blocks(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name in ("down_blocks", "mid_block", "up_blocks"):
        part = getattr(network, name, None)
        if isinstance(part, nn.ModuleList):
            yield from ((f"{name}.{number}", block) for number, block in enumerate(part))
        elif part is not None:
            yield name, part


# --- rows that take from other rows -----------------------------------------------------------------------------------


@contextmanager
def inject_features(network: nn.Module, names: Sequence[str], rows: Rows) -> Iterator[None]:
    """Inside the block each module of `names` puts out, in every target row, what it puts out in the source row.

    Names are those of `network.named_modules()`: a ResNet block ("up_blocks.1.resnets.1"), or its last convolution
    ("....conv2") for what it adds to its own input alone, which is what Plug-and-Play's code injects. The network is as
    before when the block ends, also by an exception; gradients flow. ValueError: no names, a name that is not there, a
    module that puts out anything but one tensor, or a row that the batch does not have.
    """
    modules = dict(network.named_modules())
    if unknown := [name for name in names if name not in modules]:
        raise ValueError(f"this network has no module {unknown[0]!r}")
    if not names:
        raise ValueError("no module was chosen")

    def injected(module: nn.Module, args: object, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise ValueError(f"a {type(module).__name__} puts out no single tensor, so its features cannot be replaced")
        return output[_sources(rows, output)]

    with ExitStack() as undo:
        for name in names:
            undo.callback(modules[name].register_forward_hook(injected).remove)
        yield


@contextmanager
def inject_attention(network: nn.Module, layers: Sequence[AttentionLayer], rows: Rows) -> Iterator[None]:
    """Inside the block target rows have, in each of `layers`, the source row's attention probabilities with their own
    values: self-attention of Prompt-to-Prompt (Hertz et al. 2022, sec. 3.3) and Plug-and-Play (Tumanyan et al. 2022,
    sec. 4).

    Queries and keys are replaced, which comes to the same and keeps the fused kernel. For layers that look at the
    prompt this is right only where both prompts have the same words in the same places; see `Replace`. As
    `inject_features` otherwise; ValueError too where a layer computes its attention in a way of its own.
    """
    for layer in layers:
        _check_known(network.get_submodule(layer.name), layer)
    with inject_features(network, [f"{layer.name}.{part}" for layer in layers for part in ("to_q", "to_k")], rows):
        yield


@dataclass(frozen=True)
class Parts:
    """Where the thing is, for `share_attention`: `(h, w)` shares in [0, 1] of a latent's cells, in the source row's
    picture and in the target row's. A cell belongs to the thing from 0.5 on."""

    source: Tensor
    target: Tensor


@contextmanager
def share_attention(
    network: nn.Module, layers: Sequence[AttentionLayer], rows: Rows, parts: Mapping[int, Parts] | None = None
) -> Iterator[None]:
    """Inside the block target rows look, in each of the self-attention `layers`, at the source row with their own
    queries: keys and values are the source row's. MasaCtrl's mutual self-attention (Cao et al. 2023, sec. 3.2).

    `parts` restricts it for the target rows that it names (sec. 3.3): cells of the thing look at the source's thing
    only, the others at the rest of the source only; a part that has no cell in the source is looked for everywhere. The
    network is as before when the block ends, also by an exception; gradients flow. ValueError: no layers, a layer that
    looks at the prompt or computes its attention in a way of its own, a row that the batch does not have, `parts` of a
    row that takes nothing or of another latent.
    """
    parts = parts or {}
    if not layers:
        raise ValueError("no attention layer was chosen")
    if extra := set(parts) - set(rows):
        raise ValueError(f"row {min(extra)} has parts, but shares no other row's attention")

    def shared(layer: AttentionLayer, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # BasicTransformerBlock gives the cells as first argument, the rest by name.
        cells = args[0]
        kwargs = {**kwargs, "encoder_hidden_states": cells[_sources(rows, cells)]}
        if parts:
            kwargs["attention_mask"] = _bias(layer, parts, cells, kwargs.get("attention_mask"))
        return args, kwargs

    with ExitStack() as undo:
        for layer in layers:
            module = network.get_submodule(layer.name)
            _check_known(module, layer)
            if layer.kind != "self":
                raise ValueError(f"{layer.name} looks at the prompt: there is no other row's picture to look at")
            hook = module.register_forward_pre_hook(partial(shared, layer), with_kwargs=True)
            undo.callback(hook.remove)
        yield


def _sources(rows: Rows, batch: Tensor) -> Tensor:
    """The row that each row of `batch` takes from, `(rows,)`."""
    count = batch.shape[0]
    if wrong := [row for pair in rows.items() for row in pair if not 0 <= row < count]:
        raise ValueError(f"there is no row {wrong[0]} in a batch of {count}")
    return torch.tensor([rows.get(row, row) for row in range(count)], device=batch.device)


def _bias(layer: AttentionLayer, parts: Mapping[int, Parts], cells: Tensor, given: Tensor | None) -> Tensor:
    """What is added to the scores, `(rows, cells, cells)`: minus infinity where a cell may not look."""
    count = cells.shape[1]
    bias = torch.zeros(cells.shape[0], count, count, dtype=cells.dtype, device=cells.device)
    for row, part in parts.items():
        source, target = (
            F.adaptive_avg_pool2d(one[None, None].float().to(cells.device), layer.grid((one.shape[0], one.shape[1])))
            .flatten()
            .ge(0.5)
            for one in (part.source, part.target)
        )
        if len(source) != count or len(target) != count:
            raise ValueError(f"{layer.name} has {count} cells: the parts are of another latent")
        hidden = source[None, :] != target[:, None]
        bias[row].masked_fill_(hidden & ~hidden.all(1, keepdim=True), float("-inf"))
    return bias if given is None else bias + given


# --- controls that change what words look at --------------------------------------------------------------------------


class Replace:
    """A control of cross-attention: target rows look at their words where the source row looks at the words that
    these stand for (Prompt-to-Prompt: "word swap" and "adding a new phrase", Hertz et al. 2022, sec. 3.2).

    `maps` says for each target row which tokens stand for which (see `alignment`): its probabilities become
    `source @ map.carried`, plus its own for the tokens that are its own.
    """

    def __init__(self, rows: Rows, maps: Mapping[int, TokenMap]) -> None:
        if set(rows) != set(maps):
            raise ValueError(f"rows {sorted(rows)} take from others, but tokens are aligned for rows {sorted(maps)}")
        self.rows = rows
        self.maps = maps

    def __call__(self, layer: AttentionLayer, probabilities: Tensor) -> Tensor:
        sources = _sources(self.rows, probabilities)
        changed = probabilities.clone()
        for row, tokens in self.maps.items():
            source = probabilities[sources[row]]
            changed[row] = source @ tokens.carried.to(source) + probabilities[row] * tokens.own.to(source)
        return changed


class Reweight:
    """A control of cross-attention: words of a row's prompt count more or less (Prompt-to-Prompt: "attention
    re-weighting", Hertz et al. 2022, sec. 3.2).

    `factors` are `(tokens,)` for each row, 1 for what stays as it is; probabilities are multiplied with them and not
    scaled back to a sum of 1, as in the paper.
    """

    def __init__(self, factors: Mapping[int, Tensor]) -> None:
        self.factors = factors

    def __call__(self, layer: AttentionLayer, probabilities: Tensor) -> Tensor:
        _sources({row: row for row in self.factors}, probabilities)
        changed = probabilities.clone()
        for row, factors in self.factors.items():
            changed[row] = probabilities[row] * factors.to(changed)
        return changed


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
