"""Attention, seen and changed inside a `with` block: the one place that takes a module's attention apart.

`control_attention` calls a control with the probabilities of every chosen site at every forward pass. `Replace` and
`Reweight` change what the words of one row's prompt look at (Prompt-to-Prompt); `gas.diffusion.attention.maps` has one
that only looks. Which row takes from which is always said, as `{target: source}`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from gas.diffusion.attention.alignment import TokenMap
from gas.diffusion.attention.sites import AttentionSite

TakenRows = Mapping[int, int]
"""Which row of a batch each row takes something from: `{target: source}`; rows that are not named keep their own."""


class Control(Protocol):
    """What looks at attention, and may change it."""

    def __call__(self, site: AttentionSite, probabilities: Tensor) -> Tensor | None:
        """`probabilities` are `(rows, heads, cells, tokens)`, of sum 1 over the tokens: rows of the batch; cells of
        `site.grid`, row by row; tokens of the prompt, or the cells again where a site looks at the picture. They are
        the network's own: do not write into them. Returns others of the same shape to be used instead, or None to leave
        them."""


@contextmanager
def control_attention(sites: Sequence[AttentionSite], control: Control, *, beside: bool = False) -> Iterator[None]:
    """Inside the block `control` is called for each of `sites` at each forward pass.

    Those sites compute their attention plainly, the others with the fused kernel as before; up to rounding the
    network's output is the same until the control changes something. Blocks nest: the inner control sees what the outer
    one left. The network is as before when the block ends, also by an exception; gradients flow. ValueError when there
    are no sites, or one computes its attention in a way of its own (IP-Adapter, custom diffusion, ...).

    `beside` is for a control that only looks, where it must not be noticed that it does: a site then computes its
    attention twice, once as before, which the network goes on with to the last bit, and once plainly for the control.
    """
    if not sites:
        raise ValueError("no attention site was chosen")
    with ExitStack() as undo:
        for site in sites:
            undo.enter_context(_opened(site, control, beside))
        yield


@cache
def _beside() -> type[Any]:
    """A processor with the fused attention and after it the plain one, whose output nobody takes."""
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    class Beside(AttnProcessor2_0):
        def __call__(self, attn: Any, *args: Any, **kwargs: Any) -> Tensor:
            made: Tensor = super().__call__(attn, *args, **kwargs)
            with torch.no_grad():
                AttnProcessor()(attn, *args, **kwargs)
            return made

    return Beside


@contextmanager
def _opened(site: AttentionSite, control: Control, beside: bool) -> Iterator[None]:
    from diffusers.models.attention_processor import AttnProcessor

    check_known(site)
    module = site.module
    processor, scores = module.processor, module.get_attention_scores
    shadowed = "get_attention_scores" in vars(module)

    def seen(query: Tensor, key: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        flat = scores(query, key, attention_mask)
        probabilities = flat.unflatten(0, (-1, module.heads))
        changed = control(site, probabilities)
        if changed is None:
            return flat
        if changed.shape != probabilities.shape:
            raise ValueError(f"attention of {tuple(probabilities.shape)} was changed into {tuple(changed.shape)}")
        return changed.to(flat.dtype).flatten(0, 1)

    # diffusers' plain processor asks the module itself for its probabilities: the one place where they are whole.
    plain = type(processor) is AttnProcessor
    module.set_processor(_beside()() if beside and not plain else AttnProcessor())
    module.get_attention_scores = seen
    try:
        yield
    finally:
        module.set_processor(processor)
        if shadowed:
            module.get_attention_scores = scores
        else:
            del module.get_attention_scores


def check_known(site: AttentionSite) -> None:
    """ValueError for a site whose attention is computed in a way of its own (IP-Adapter, custom diffusion, ...)."""
    from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

    if type(site.module.processor) not in (AttnProcessor, AttnProcessor2_0, _beside()):
        name = type(site.module.processor).__name__
        raise ValueError(f"the attention of {site.name} is computed by {name}, which is not known")


def source_rows(rows: TakenRows, batch: Tensor) -> Tensor:
    """The row that each row of `batch` takes from, `(rows,)`."""
    count = batch.shape[0]
    if wrong := [row for pair in rows.items() for row in pair if not 0 <= row < count]:
        raise ValueError(f"there is no row {wrong[0]} in a batch of {count}")
    return torch.tensor([rows.get(row, row) for row in range(count)], device=batch.device)


class Replace:
    """A control of cross-attention: target rows look at their words where the source row looks at the words that
    these stand for (Prompt-to-Prompt: "word swap" and "adding a new phrase", Hertz et al. 2022, sec. 3.2).

    `maps` says for each target row which tokens stand for which (see `alignment`): its probabilities become
    `source @ map.carried`, plus its own for the tokens that are its own.
    """

    def __init__(self, rows: TakenRows, maps: Mapping[int, TokenMap]) -> None:
        if set(rows) != set(maps):
            raise ValueError(f"rows {sorted(rows)} take from others, but tokens are aligned for rows {sorted(maps)}")
        self.rows = rows
        self.maps = maps

    def __call__(self, site: AttentionSite, probabilities: Tensor) -> Tensor:
        sources = source_rows(self.rows, probabilities)
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

    def __call__(self, site: AttentionSite, probabilities: Tensor) -> Tensor:
        source_rows({row: row for row in self.factors}, probabilities)
        changed = probabilities.clone()
        for row, factors in self.factors.items():
            changed[row] = probabilities[row] * factors.to(changed)
        return changed
