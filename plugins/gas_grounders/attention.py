"""Regions with no model but the editor's own: where a diffusion model attends to a phrase as it denoises the picture.

Where: the cross-attention of the phrase's noun (DAAM, Tang et al. 2022, arXiv 2210.04885), carried to all that looks
alike by self-attention (DiffSegmenter, Wang et al. 2023, arXiv 2309.02773), its edges laid along the picture's by a
guided filter (He et al. 2013). Whether: attention always goes somewhere, also for a thing that is not there. So the
score is about the noise that the model predicts inside the region, told the phrase and told nothing: the share of the
second error in the sum of both, 0.5 where the phrase makes no difference (a diffusion classifier, Li et al. 2023, arXiv
2303.16203, for one region).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field, field_validator
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.attention.maps import collect_attention
from gas.diffusion.attention.phrase_tokens import phrase_tokens
from gas.diffusion.attention.sites import sites_near
from gas.diffusion.backbone import Backbone, Conditioning
from gas.diffusion.load import load_backbone
from gas.errors import InputRefused, ResultRefused, UsageError
from gas.interfaces import Step
from gas.masks import mask_box
from gas.picture.frame import Frame, work_frame
from gas.plan.phrases import main_noun, singular, words
from gas.remedies import USE_FP32, Option, Remedy
from gas.types import MAX_SUBTASKS
from gas_grounders.detector import Candidates, Detector, DetectorOptions, Query

if TYPE_CHECKING:
    from gas.interfaces import Watch
    from gas.types import Image, Mask

_GUIDE_EPS = 1e-3
"""Variance of colours in [0, 1] below which the guided filter takes a place for flat (He et al.: 0.01 to 0.0001)."""


class AttentionOptions(DetectorOptions):
    """What the model is told, where it looks, and what counts as found."""

    model: str | None = Field(None, description="hub id, id@revision, or folder; the editor's own shares its weights")
    variant: str | None = Field(None, description="middle part of the weights' file names, e.g. fp16")
    allow_pickle: bool = Field(False, description="read weights that exist as .bin only (tensors only)")
    score_threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="lowest score of a region, and of each part of it; 0.5: the phrase makes no difference",
    )
    caption: str = Field(
        "", description="what the picture shows: phrases are looked up in it; a phrase that is not in it stands alone"
    )
    words: Literal["noun", "all"] = Field(
        "noun", description="whose attention counts: that of the phrase's main noun, or the mean of all its words"
    )
    steps: int = Field(5, ge=1, le=1000, description="times t at which the model looks, evenly over t_range")
    t_range: tuple[int, int] = Field((100, 900), description="first and last t, both included")
    seed: int = Field(0, ge=0, lt=2**63, description="of the noise")
    side: float = Field(16, gt=0, le=1024, description="maps nearest to side x side cells are used")
    refine: int = Field(1, ge=0, le=8, description="how many times a map is spread along self-attention; 0: not at all")
    refine_side: float = Field(32, gt=0, le=128, description="self-attention nearest to so many cells a side is used")
    smooth: float = Field(
        1.5, ge=0, le=16, description="radius, in cells, of the filter that follows the picture's edges; 0: none"
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="a region is where its map, scaled to 0..1, is so high")
    min_area: float = Field(0.002, ge=0, lt=1, description="parts below this share of the picture are dropped")
    rows_per_call: int = Field(8, ge=1, description="most rows in one network call; less memory, more time")

    @field_validator("t_range")
    @classmethod
    def _in_order(cls, value: tuple[int, int]) -> tuple[int, int]:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("two times are needed, the smaller one first, neither below 0")
        return value


@dataclass(frozen=True)
class _Place:
    """Where a phrase is looked for: the row of the prompt that has it, its tokens there, the row of the phrase
    alone."""

    row: int
    tokens: tuple[int, ...]
    alone: int


@dataclass(frozen=True)
class _Seen:
    """At one t, for each prompt: cross-attention `(rows, tokens, h, w)`, self-attention `(rows, cells, h, w)` or None,
    and the squared error of the predicted noise `(rows, h, w)` on the latent grid."""

    cross: Tensor
    alike: Tensor | None
    error: Tensor

    def map(self, place: _Place, times: int) -> Tensor:
        """`(h, w)` of mean 1: attention to the place's tokens, spread `times` times along self-attention."""
        one = self.cross[place.row, list(place.tokens)].mean(0)
        if self.alike is not None:
            # alike[row, k, y, x] is how much the cell (y, x) attends to the cell k.
            weights = self.alike[place.row]
            size = (weights.shape[1], weights.shape[2])
            one = F.interpolate(one[None, None], size, mode="bilinear", align_corners=False)[0, 0]
            for _ in range(times):
                one = torch.einsum("khw,k->hw", weights, one.flatten())
        # Attention to a word is weaker where there is less noise; every t shall weigh the same.
        return one / one.mean()


class AttentionGrounder(Detector[AttentionOptions]):
    """Finds things by a diffusion model's own cross-attention: box, mask and score."""

    options_type: ClassVar = AttentionOptions
    name = "attention"

    @property
    def model(self) -> Backbone:
        """The shared model; loaded when first asked for."""
        options = self.options
        if not options.model:
            raise UsageError(
                "no model is named for the grounder attention",
                Remedy(
                    "name_attention_model",
                    "use {model} (a folder, or OWNER/NAME of the hub), preferably the editor's own",
                    model=Option({"model": "NAME"}, "attention"),
                ),
            )
        return load_backbone(options.model, self.runtime, variant=options.variant, allow_pickle=options.allow_pickle)

    @torch.no_grad()
    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        """One candidate for each query, or each separate part of its region where several must be told apart.

        InputRefused (exit 3): a phrase that the model has no tokens for. ResultRefused (exit 11): numbers that are not
        finite.
        """
        model, options = self.model, self.options
        times = self._times(model)
        found = [self._prompt_and_tokens(model, query.text) for query in queries]
        # A score is about the phrase alone, whatever else a caption says.
        prompts = list(dict.fromkeys(["", *(query.text for query in queries), *(prompt for prompt, _ in found)]))
        places = [
            _Place(prompts.index(prompt), tokens, prompts.index(query.text))
            for query, (prompt, tokens) in zip(queries, found, strict=True)
        ]
        frame = work_frame((image.shape[1], image.shape[0]), (), "full", model.resolution, model.multiple)
        working = frame.cut(image)
        z = model.encode(working)
        size = z.shape[2], z.shape[3]
        told = model.condition(prompts, size)
        generator = torch.Generator().manual_seed(options.seed)
        maps = [torch.zeros((), device=z.device)] * len(queries)
        errors = []
        for number, t in enumerate(times, 1):
            watch.check_stop()
            eps = torch.randn(z.shape, generator=generator).to(z)
            seen = self._step(model, z, t, eps, told)
            errors.append(seen.error)
            maps = [total + seen.map(place, options.refine) for total, place in zip(maps, places, strict=True)]
            if watch.on_step is not None:
                watch.on_step(Step(number, len(times)))
        error = torch.stack(errors)
        if not bool(torch.isfinite(error).all()):
            raise ResultRefused("the model predicts numbers that are not finite", USE_FP32)
        return [
            self._candidates(query, place, one, error, frame, working)
            for query, place, one in zip(queries, places, maps, strict=True)
        ]

    def _candidates(
        self, query: Query, place: _Place, one: Tensor, error: Tensor, frame: Frame, working: Image
    ) -> Candidates:
        """The candidates of a query from its map `(h, w)` and the errors `(times, rows, h, w)` of all rows."""
        options = self.options
        soft = frame.native_mask(_enlarged(one, working, options.smooth))
        labels, parts = _parts(soft >= options.threshold * soft.max(), options.min_area)

        def score(mask: np.ndarray) -> float:
            cells = torch.from_numpy(frame.cut_mask(soft * mask))[None, None]
            # Squared, so that what the word also brings to mind says less than the thing itself.
            weights = F.interpolate(cells, (error.shape[2], error.shape[3]), mode="area").to(error)[0].square()
            without, told = ((error[:, row] * weights).sum((1, 2)) for row in (0, place.alone))
            return float(1 / (1 + (told / without).mean()))

        masks = [labels == part for part in parts[:MAX_SUBTASKS]]
        scores = [score(mask) for mask in masks]
        if not query.several:
            # A part that the phrase does not explain belongs to something else that the word makes the model think of.
            # Whether the thing is there at all is asked of the whole: of many parts one is always explained by chance.
            good = [mask for mask, one in zip(masks, scores, strict=True) if one >= options.score_threshold]
            scores = [score(np.logical_or.reduce(masks))]
            masks = [np.logical_or.reduce(good or masks)]
        boxes = np.array([mask_box(mask) for mask in masks])
        return Candidates(boxes, np.array(scores), mask_of=lambda chosen: masks[chosen].astype(np.float32))

    def _step(self, model: Backbone, z: Tensor, t: float, eps: Tensor, told: Conditioning) -> _Seen:
        options, size = self.options, (z.shape[2], z.shape[3])
        method = "the grounder attention"
        cross = sites_near(model.need_sites("cross", method), size, options.side)
        own = sites_near(model.need_sites("self", method), size, options.refine_side) if options.refine else ()
        times = torch.tensor([t], dtype=z.dtype, device=z.device)
        z_t = model.schedule.add_noise(z, eps, t)
        crossed, alike, errors = [], [], []
        for rows in told.split(options.rows_per_call):
            n = len(rows)
            with ExitStack() as stack:
                maps = stack.enter_context(collect_attention(cross, size))
                if options.refine:
                    selves = stack.enter_context(collect_attention(own, size))
                predicted = model.epsilon(z_t.expand(n, -1, -1, -1), times.expand(n), rows)
            crossed.append(maps.mean())
            errors.append((predicted - eps).square().mean(1))
            if options.refine:
                alike.append(selves.mean())
        return _Seen(torch.cat(crossed), torch.cat(alike) if alike else None, torch.cat(errors))

    def _times(self, model: Backbone) -> list[float]:
        first, last = self.options.t_range
        if self.options.steps == 1:
            published = [(first + last) // 2]
        else:
            published = [round(t) for t in np.linspace(first, last, self.options.steps).tolist()]
        try:
            return [model.schedule.published(t) for t in published]
        except ValueError as error:
            raise UsageError(f"t_range {(first, last)}: {error}", "choose smaller times") from None

    def _prompt_and_tokens(self, model: Backbone, phrase: str) -> tuple[str, tuple[int, ...]]:
        """The prompt that a phrase is looked for in, the caption or the phrase itself, and its tokens there."""
        word = _noun(phrase) if self.options.words == "noun" else None
        seen = model.need_words("the grounder attention")
        for prompt in (self.options.caption, phrase):
            places = phrase_tokens(seen.tokenizer, prompt, phrase, seen.max_tokens, word=word)
            if places:
                return prompt, tuple(token for place in places for token in place)
        shown = " ".join(phrase.split())[:100]
        raise InputRefused(
            f"there is nothing to look for in {shown!r}, or it has more than the {seen.max_tokens} tokens that the "
            "model sees",
            "name the thing in a few words",
        )


def _noun(phrase: str) -> str | None:
    """The phrase's main noun as it stands in it; None when it has none that can be told."""
    noun = main_noun(phrase)
    return next((word for word in words(phrase) if singular(word) == noun), None)


def _enlarged(one: Tensor, working: Image, smooth: float) -> Mask:
    """A map `(h, w)` at the working picture's size, scaled to 0..1, its edges laid along the picture's by a guided
    filter of radius `smooth` cells."""
    height, width = working.shape[:2]
    large = F.interpolate(one[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0].cpu().numpy()
    radius = round(smooth * height / one.shape[0])
    if radius:
        large = guided_filter(_scaled(large), working.astype(np.float32) / 255, radius)
    return _scaled(large)


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return ((values - low) / (high - low) if high > low else np.ones_like(values)).astype(np.float32)


def guided_filter(values: np.ndarray, guide: np.ndarray, radius: int, eps: float = _GUIDE_EPS) -> np.ndarray:
    """`values` `(H, W)` smoothed in windows of `radius` pixels, but not across the edges of `guide` `(H, W, 3)` in
    [0, 1] (He et al. 2013, "Guided image filtering", eq. 14-16)."""
    side = 2 * radius + 1

    def mean(array: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(array, (side, side, *(0,) * (array.ndim - 2)), mode="nearest")

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values[..., None]) - mean_guide * mean_values[..., None]
    squares = (guide[..., :, None] * guide[..., None, :]).reshape(*values.shape, 9)
    variance = mean(squares).reshape(*values.shape, 3, 3) - mean_guide[..., :, None] * mean_guide[..., None, :]
    slope = np.linalg.solve(variance + eps * np.eye(3, dtype=np.float32), covariance[..., None])[..., 0]
    offset = mean_values - (slope * mean_guide).sum(-1)
    return (mean(slope) * guide).sum(-1) + mean(offset)


def _parts(mask: np.ndarray, least: float) -> tuple[np.ndarray, list[int]]:
    """A label for each pixel `(H, W)`, and the labels of the mask's separate parts, the largest first, without those
    below the share `least` of the picture; the largest always stays."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-areas, kind="stable")
    kept = order[areas[order] >= least * mask.size]
    return labels, ((kept if len(kept) else order[:1]) + 1).tolist()
