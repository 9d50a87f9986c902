"""Crops first (MIRAGE, arXiv 2604.05180): several regions begin apart, each on its own enlarged crop, and end together.

The first share of the steps each region's crop is denoised alone, told its own instruction. What the model then takes
for the clean crop is put into its place in the whole picture, and that is denoised to the end, told all instructions;
outside all regions it is the noised source at the time that each step has reached.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gas.errors import ModelUnavailable
from gas.masks import any_set
from gas.picture.frame import Frame, work_frame
from gas.remedies import Option, Remedy
from gas.types import Region
from gas_editors.pipelines.calling import PipelineCalls
from gas_editors.pipelines.run import Run, Turn
from gas_editors.pipelines.tokens import CELL, count, from_latents, unpacked

if TYPE_CHECKING:
    from gas.types import Mask


class _Alone(Exception):
    """A crop has made its steps; `clean` are the tokens that the model takes it for."""

    def __init__(self, clean: Tensor) -> None:
        super().__init__()
        self.clean = clean


def steps_alone(steps: int, share: float) -> int:
    """How many of the steps each crop makes alone: the share of them, at least one, and one less than all."""
    return max(1, min(round(share * steps), steps - 1))


def check(run: Run, share: float) -> None:
    """ModelUnavailable (exit 6) where the run's pipeline cannot begin at a latent of ours."""
    if not run.row.latents or run.steps < 2:
        why = "makes a single step" if run.row.latents else "takes no latents to begin with"
        raise ModelUnavailable(
            f"crops_first={share:g} does not work with {run.row.name}, which {why}",
            Remedy("no_crops_first", "leave {o} out: the subtasks are then turns", o=Option({"crops_first": None})),
        )


def make_crops_first(
    run: Run, calls: PipelineCalls, share: float, together: Callable[[Frame], Mapping[str, Any]]
) -> None:
    """Makes all turns of a run, which all have regions, at once. `together` gives what the pipeline is told of all
    subtasks on the crop of a frame. Stopped and errors as `PipelineCalls.make`."""
    first = steps_alone(run.steps, share)
    calls.total = len(run.turns) * first + run.steps - first
    whole = _frame_of_all(run)
    clean = [_alone(run, calls, turn, number, first) for number, turn in enumerate(run.turns)]
    arguments = run.arguments(together(whole), whole)
    seed = run.job.seed + len(run.turns)
    tokens, sigmas = calls.begin(arguments, seed)
    noise, source = tokens.split(count(whole.size), dim=1)[:2]
    masks = [_token_mask(turn.mask, whole) for turn in run.turns if turn.mask is not None]
    begun = source.clone()
    for turn, mask, one in zip(run.turns, masks, clean, strict=True):  # the smallest comes last and stays on top
        begun = torch.where(mask.to(begun.device), _placed(one, turn.frame, source, whole), begun)
    inside = torch.stack(masks).any(0).to(source.device)

    def at(clean_tokens: Tensor, sigma: Tensor) -> Tensor:
        return (1 - sigma) * clean_tokens + sigma * noise

    def after(i: int, latents: Tensor) -> Tensor:
        reached = calls.pipeline.scheduler.sigmas[i + 1].to(latents)
        return torch.where(inside, latents, at(source, reached).to(latents))

    begin = at(begun, sigmas[first].to(noise))
    more = from_latents(begin, first, run.steps, run.row, whole.size)
    made = calls.make({**arguments, **more}, seed, whole.size, run.steps - first, {"subtask": 0}, after)
    for turn in run.turns:
        told = {"subtask": turn.index + 1, "seed": seed, "told": arguments["prompt"], "crops_first": first}
        run.paste(turn, whole, made, None, told)


def _frame_of_all(run: Run) -> Frame:
    """The crop around all regions, at the model's size."""
    height, width = run.job.image.shape[:2]
    resolution = run.editor.options.resolution
    masks = [turn.mask for turn in run.turns if turn.mask is not None]
    every = Region("", mask=any_set(masks).astype(np.float32))
    x0, y0, x1, y1 = work_frame((width, height), [every], "crop", resolution or run.row.resolution).crop
    return Frame((width, height), (x0, y0, x1, y1), run.row.size(x1 - x0, y1 - y0, resolution))


def _alone(run: Run, calls: PipelineCalls, turn: Turn, number: int, first: int) -> Tensor:
    """The tokens `(1, n, C)` that the model takes the crop of a turn for after its steps alone, told its own
    instruction."""
    assert turn.mask is not None
    crop = turn.frame.cut(run.job.image)
    subtask = run.job.plan.subtasks[turn.index]
    given = run.editor.arguments(subtask, run.row, crop, turn.frame.cut_mask(turn.mask))
    arguments, seed = run.arguments(given, turn.frame), run.job.seed + number
    states: list[Tensor] = []
    if first == 1:  # its velocity takes two states, and the first is the noise
        states.append(calls.begin(arguments, seed)[0][:, : count(turn.frame.size)])

    def after(i: int, latents: Tensor) -> Tensor:
        states[:] = [*states[-1:], latents]
        if i + 1 == first:
            then, now = (calls.pipeline.scheduler.sigmas[at].to(latents) for at in (i, i + 1))
            velocity = (states[1] - states[0]) / (now - then)
            raise _Alone(states[1] - now * velocity)
        return latents

    try:
        calls.make(arguments, seed, turn.frame.size, first, {"subtask": turn.index + 1}, after)
    except _Alone as alone:
        return alone.clean
    raise AssertionError("a pipeline that makes fewer steps than it was told")


def _token_mask(mask: Mask, frame: Frame) -> Tensor:
    """Which tokens of the picture have something of the mask, `(1, n, 1)` bool."""
    width, height = frame.size
    cells = torch.from_numpy(frame.cut_mask(mask) > 0).reshape(height // CELL, CELL, width // CELL, CELL)
    return cells.any(3).any(1).reshape(1, -1, 1)


def _placed(clean: Tensor, own: Frame, source: Tensor, whole: Frame) -> Tensor:
    """The tokens of the `source` `(1, n, C)` with those of a crop in their place, to half a cell of the latent."""
    cell = CELL // 2
    latent, crop = unpacked(source, whole.size), unpacked(clean, own.size)
    (sx, sy), (left, top) = whole.scale, whole.crop[:2]
    x0, y0, x1, y1 = own.crop
    c0, c1 = (round((x - left) * sx / cell) for x in (x0, x1))
    r0, r1 = (round((y - top) * sy / cell) for y in (y0, y1))
    rows, columns = latent.shape[2:]
    size = max(r1 - r0, 1), max(c1 - c0, 1)
    resized = F.interpolate(crop.float(), size, mode="bicubic", antialias=True, align_corners=False).to(latent)
    # A crop may reach beyond the part of the photograph that holds all regions.
    r, c = slice(max(r0, 0), min(r1, rows)), slice(max(c0, 0), min(c1, columns))
    latent[:, :, r, c] = resized[:, :, r.start - r0 : r.stop - r0, c.start - c0 : c.stop - c0]
    return F.pixel_unshuffle(latent, 2).flatten(2).transpose(1, 2)


def suits(run: Run) -> bool:
    """Whether there is anything to begin apart: several turns, each with a region."""
    return len(run.turns) > 1 and all(turn.mask is not None for turn in run.turns)
