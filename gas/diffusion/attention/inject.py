"""Rows of a batch that take another row's features or attention, inside a `with` block.

`inject_attention` and `inject_features` give rows another row's self-attention and features (Prompt-to-Prompt,
Plug-and-Play), `share_attention` another row's keys and values (MasaCtrl). All keep the fused kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gas.diffusion.attention.control import TakenRows, check_known, source_rows
from gas.diffusion.attention.sites import AttentionSite


@contextmanager
def inject_features(modules: Sequence[nn.Module], rows: TakenRows) -> Iterator[None]:
    """Inside the block each of `modules` puts out, in every target row, what it puts out in the source row.

    A module is a ResNet block, say, or its last convolution for what it adds to its own input alone, which is what
    Plug-and-Play's code injects. The network is as before when the block ends, also by an exception; gradients flow.
    ValueError: no modules, one that puts out anything but one tensor, or a row that the batch does not have.
    """
    if not modules:
        raise ValueError("no module was chosen")

    def injected(module: nn.Module, args: object, output: Any) -> Tensor:
        if not isinstance(output, Tensor):
            raise ValueError(f"a {type(module).__name__} puts out no single tensor, so its features cannot be replaced")
        return output[source_rows(rows, output)]

    with ExitStack() as undo:
        for module in modules:
            undo.callback(module.register_forward_hook(injected).remove)
        yield


@contextmanager
def inject_attention(sites: Sequence[AttentionSite], rows: TakenRows) -> Iterator[None]:
    """Inside the block target rows have, in each of `sites`, the source row's attention probabilities with their own
    values: self-attention of Prompt-to-Prompt (Hertz et al. 2022, sec. 3.3) and Plug-and-Play (Tumanyan et al. 2022,
    sec. 4).

    Queries and keys are replaced, which comes to the same and keeps the fused kernel. For sites that look at the
    prompt this is right only where both prompts have the same words in the same places; see `Replace`. As
    `inject_features` otherwise; ValueError too where a site computes its attention in a way of its own.
    """
    for site in sites:
        check_known(site)
    with inject_features([part for site in sites for part in (site.module.to_q, site.module.to_k)], rows):
        yield


@dataclass(frozen=True)
class Parts:
    """Where the thing is, for `share_attention`: `(h, w)` shares in [0, 1] of a latent's cells, in the source row's
    picture and in the target row's. A cell belongs to the thing from 0.5 on."""

    source: Tensor
    target: Tensor


@contextmanager
def share_attention(
    sites: Sequence[AttentionSite], rows: TakenRows, parts: Mapping[int, Parts] | None = None
) -> Iterator[None]:
    """Inside the block target rows look, in each of the self-attention `sites`, at the source row with their own
    queries: keys and values are the source row's. MasaCtrl's mutual self-attention (Cao et al. 2023, sec. 3.2).

    `parts` restricts it for the target rows that it names (sec. 3.3): cells of the thing look at the source's thing
    only, the others at the rest of the source only; a part that has no cell in the source is looked for everywhere. The
    network is as before when the block ends, also by an exception; gradients flow. ValueError: no sites, a site that
    looks at the prompt or computes its attention in a way of its own, a row that the batch does not have, `parts` of a
    row that takes nothing or of another latent.
    """
    parts = parts or {}
    if not sites:
        raise ValueError("no attention site was chosen")
    if extra := set(parts) - set(rows):
        raise ValueError(f"row {min(extra)} has parts, but shares no other row's attention")

    def shared(site: AttentionSite, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # BasicTransformerBlock gives the cells as first argument, the rest by name.
        cells = args[0]
        kwargs = {**kwargs, "encoder_hidden_states": cells[source_rows(rows, cells)]}
        if parts:
            kwargs["attention_mask"] = _bias(site, parts, cells, kwargs.get("attention_mask"))
        return args, kwargs

    with ExitStack() as undo:
        for site in sites:
            check_known(site)
            if site.kind != "self":
                raise ValueError(f"{site.name} looks at the prompt: there is no other row's picture to look at")
            hook = site.module.register_forward_pre_hook(partial(shared, site), with_kwargs=True)
            undo.callback(hook.remove)
        yield


def _bias(site: AttentionSite, parts: Mapping[int, Parts], cells: Tensor, given: Tensor | None) -> Tensor:
    """What is added to the scores, `(rows, cells, cells)`: minus infinity where a cell may not look."""
    count = cells.shape[1]
    bias = torch.zeros(cells.shape[0], count, count, dtype=cells.dtype, device=cells.device)
    for row, part in parts.items():
        source, target = (
            F.adaptive_avg_pool2d(one[None, None].float().to(cells.device), site.grid((one.shape[0], one.shape[1])))
            .flatten()
            .ge(0.5)
            for one in (part.source, part.target)
        )
        if len(source) != count or len(target) != count:
            raise ValueError(f"{site.name} has {count} cells: the parts are of another latent")
        hidden = source[None, :] != target[:, None]
        bias[row].masked_fill_(hidden & ~hidden.all(1, keepdim=True), float("-inf"))
    return bias if given is None else bias + given
