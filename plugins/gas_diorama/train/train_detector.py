"""Trains the diorama's detector: dense targets for the encoder's proposals, overlaps as scores for the decoder."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertTokenizer, GroundingDinoForObjectDetection, GroundingDinoProcessor

from gas_diorama import folders
from gas_diorama.train.evaluate_grounding import measure_detector
from gas_diorama.train.train_backbone import DetectorBank, cell_loss, train_backbone
from gas_diorama.train.training import Average, learning_rate, load_checkpoint, log, save_checkpoint
from gas_diorama.world.asking import LABELS, Asked
from gas_diorama.world.detector import (
    DetectorSettings,
    build_detector,
    build_image_processor,
    build_tokenizer,
    caption_of,
    corners,
    overlap,
    phrase_tokens,
    to_pixels,
)
from gas_diorama.world.scene import SIZE

DETECTOR_WEIGHTS = folders.WEIGHTS / "grounding-dino"
WEIGHTS = {"encoder_score": 1.0, "encoder_box": 1.0, "decoder_score": 2.0, "decoder_box": 1.0, "cells": 0.5}
"""Of the parts of the loss."""
MOST_THINGS = 5
"""Three objects, ground and sky."""


def targets(
    tokenizer: BertTokenizer, boxes: Sequence[np.ndarray], asked: Sequence[Sequence[Asked]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The text as the network takes it, and what it should answer.

    The answer: "boxes" (n, 5, 4), middle, width and height as shares of the picture; "there" (n, 5), False past the
    last thing; "tokens" (n, 5, words), True where a token belongs to a phrase that means the thing.
    """
    text = tokenizer([caption_of([one.text for one in some]) for some in asked], padding=True, return_tensors="pt")
    count, length = text["input_ids"].shape
    middles = torch.zeros(count, MOST_THINGS, 4)
    there = torch.zeros(count, MOST_THINGS, dtype=torch.bool)
    tokens = torch.zeros(count, MOST_THINGS, length, dtype=torch.bool)
    for n, (own, some) in enumerate(zip(boxes, asked, strict=True)):
        x0, y0, x1, y1 = torch.from_numpy(own / SIZE).unbind(-1)
        middles[n, : len(own)] = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], -1)
        there[n, : len(own)] = True
        for one, (first, end) in zip(some, phrase_tokens(tokenizer, [one.text for one in some]), strict=True):
            for answer in one.answers:
                tokens[n, answer, first:end] = True
    return dict(text), {"boxes": middles, "there": there, "tokens": tokens}


def cell_middles(cells: int, coarsest: int) -> tuple[Tensor, Tensor]:
    """Middles (cells, 2) and strides (cells,) of the encoder's cells as shares of the picture; the coarsest level has
    `coarsest` cells a side, each level before it twice as many."""
    middles: list[Tensor] = []
    strides: list[Tensor] = []
    side = coarsest
    while sum(len(one) for one in middles) < cells:
        along = (torch.arange(side) + 0.5) / side
        middles.insert(0, torch.stack(torch.meshgrid(along, along, indexing="xy"), -1).flatten(0, 1))
        strides.insert(0, torch.full((side * side,), 1 / side))
        side *= 2
    return torch.cat(middles), torch.cat(strides)


def nearness(boxes: Tensor, there: Tensor, middles: Tensor, strides: Tensor) -> Tensor:
    """How near each cell is to the middle of each thing, (n, things, cells) in [0, 1]: a bell whose deviation is
    a quarter of the thing's side, at least half a cell and at most an eighth of the picture, with 1 at the nearest cell
    of each level."""
    spread = torch.maximum((boxes[:, :, None, 2:] / 4).clamp(max=1 / 8), strides[None, None, :, None] / 2)
    bell = torch.exp(-0.5 * (((middles - boxes[:, :, None, :2]) / spread) ** 2).sum(-1))
    for stride in strides.unique():
        level = strides == stride
        bell[..., level] = bell[..., level] / bell[..., level].amax(-1, keepdim=True).clamp(min=1e-6)
    return bell * there[:, :, None]


def score_loss(logits: Tensor, wanted: Tensor, known: Tensor) -> Tensor:
    """Quality focal loss (Li et al. 2020) of (n, m, words) where `known` (n, words), per wanted score."""
    away = (wanted - logits.sigmoid()).abs() ** 2
    every = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") * away
    return (every * known[:, None]).sum() / wanted.sum().clamp(min=1)


def _wanted(share: Tensor, tokens: Tensor) -> Tensor:
    """(n, things, m) and (n, things, words) to (n, m, words): the largest share of a thing that the word means."""
    wanted = share.new_zeros(share.shape[0], share.shape[2], tokens.shape[2])
    for thing in range(share.shape[1]):
        wanted = torch.maximum(wanted, share[:, thing, :, None] * tokens[:, thing, None])
    return wanted


def _box_loss(found: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    _, generalised = overlap(corners(found), corners(true))
    size = true[..., 2:].clamp(min=0.1)
    # an error counts for more on a small thing: what is asked for in the end is overlap
    shift = ((found - true).abs() / torch.cat([size, size], -1)).sum(-1)
    return ((2 * shift + 2 * (1 - generalised)) * weight).sum() / weight.sum().clamp(min=1)


def detection_loss(out: Any, answer: dict[str, Tensor], known: Tensor, coarsest: int) -> dict[str, Tensor]:
    """The four parts of the loss.

    Encoder: each cell's scores go to its nearness to a thing for the words that mean the thing and to 0 for others;
    cells near a thing learn its box. Decoder: each query is given to the thing that its box overlaps most; its scores
    go to that overlap, and its box to the thing's when the overlap is over 0.3 or no other query's is larger.

    Args:
        out: what the network returned.
        answer: as `targets` makes it.
        known: bool (n, words), False at padding.
        coarsest: cells a side of the coarsest level.
    """
    boxes, there, tokens = answer["boxes"], answer["there"], answer["tokens"].float()
    length = tokens.shape[-1]

    def finite(logits: Tensor) -> Tensor:
        return logits[..., :length].float().masked_fill(~known[:, None], 0)

    coordinates = out.enc_outputs_coord_logits.float().sigmoid()
    middles, strides = (one.to(boxes.device) for one in cell_middles(coordinates.shape[1], coarsest))
    near = nearness(boxes, there, middles, strides)
    encoder_score = score_loss(finite(out.enc_outputs_class), _wanted(near, tokens), known)
    best, owner = near.max(1)
    true = torch.gather(boxes, 1, owner[..., None].expand(-1, -1, 4))
    encoder_box = _box_loss(coordinates, true, best * (best > 0.2))

    found = out.pred_boxes.float()
    iou, _ = overlap(corners(found.detach())[:, None], corners(boxes)[:, :, None])
    iou = iou * there[:, :, None]
    best, owner = iou.max(1)
    mine = F.one_hot(owner, MOST_THINGS).transpose(1, 2).bool()
    first = F.one_hot(iou.argmax(-1), iou.shape[-1]).bool() & there[:, :, None]
    share = iou * ((mine & (iou > 0.4)) | first)
    decoder_score = score_loss(finite(out.logits), _wanted(share, tokens), known)
    weight = ((best > 0.3) | (first & mine).any(1)).float()
    true = torch.gather(boxes, 1, owner[..., None].expand(-1, -1, 4))
    decoder_box = _box_loss(found, true, weight)
    return {
        "encoder_score": encoder_score,
        "encoder_box": encoder_box,
        "decoder_score": decoder_score,
        "decoder_box": decoder_box,
    }


def train_detector(out: Path, settings: DetectorSettings, device: str = "cpu") -> GroundingDinoForObjectDetection:
    """The detector trained to `settings.steps`, with averaged weights; goes on from `out`/detector.pt when that is
    there."""
    state = load_checkpoint(out / "detector.pt")
    torch.manual_seed(settings.seed)
    tokenizer = build_tokenizer()
    detector = build_detector(settings, len(tokenizer)).to(device).train()
    helper = torch.nn.Linear(settings.width, len(LABELS)).to(device)
    average, first = Average(detector, settings.average), 0
    decayed = [p for p in [*detector.parameters(), *helper.parameters()] if p.ndim > 1]
    plain = [p for p in [*detector.parameters(), *helper.parameters()] if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=settings.peak, betas=(0.9, 0.98), fused=True)
    if state is not None:
        detector.load_state_dict(state["network"])
        helper.load_state_dict(state["helper"])
        optimiser.load_state_dict(state["optimiser"])
        average.weights, first = {k: v.to(device) for k, v in state["average"].items()}, state["step"]
    else:
        detector.model.backbone.conv_encoder.model.load_state_dict(train_backbone(out, settings, device))
        average = Average(detector, settings.average)
    bank = DetectorBank(settings)
    started, running = time.monotonic(), dict[str, float]()
    log.info("detector: %.2f M parameters, from step %d of %d", sum(p.numel() for p in detector.parameters()) / 1e6,
             first, settings.steps)  # fmt: skip
    for step in range(first, settings.steps):
        rng = np.random.default_rng((settings.seed, step))
        known = settings.first_scenes + settings.scenes_a_step * step
        pictures, boxes, labels, asked = bank.draw(rng, settings.batch, known)
        text, answer = targets(tokenizer, boxes, asked)
        text = {name: value.to(device) for name, value in text.items()}
        answer = {name: value.to(device) for name, value in answer.items()}
        with torch.autocast(device, dtype=torch.bfloat16):
            found = detector(pixel_values=to_pixels(pictures).to(device), **text)
        parts = detection_loss(found, answer, text["attention_mask"].bool(), bank.sides[-1])
        shown = helper(found.encoder_last_hidden_state_vision.float())
        parts["cells"] = cell_loss(shown, torch.from_numpy(labels).to(device))
        loss = torch.stack([WEIGHTS[name] * value for name, value in parts.items()]).sum()
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, settings.peak, settings.warm_up)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 2.0)
        optimiser.step()
        average.update(detector, step)
        for name, value in parts.items():
            running[name] = running.get(name, 0.0) + value.item()
        done = step + 1
        if done % 50 == 0:
            spent = (time.monotonic() - started) / (done - first)
            means = "  ".join(f"{name} {value / 50:.3f}" for name, value in running.items())
            log.info("detector %d  %s  %.2f s a step", done, means, spent)
            running = {}
        if done % settings.save_every == 0 or done == settings.steps:
            save_checkpoint(
                out / "detector.pt",
                {
                    "network": detector.state_dict(),
                    "helper": helper.state_dict(),
                    "average": average.weights,
                    "optimiser": optimiser.state_dict(),
                    "step": done,
                    "settings": asdict(settings),
                },
            )
            if settings.measured:
                figures = measure_detector(averaged_detector(out), tokenizer, settings.measured, part="validation")
                log.info("detector %d  %s", done, "  ".join(f"{k} {v:.3f}" for k, v in figures.items()))
    return averaged_detector(out)


def averaged_detector(out: Path) -> GroundingDinoForObjectDetection:
    """The detector of `out`/detector.pt with its averaged weights, ready to answer.

    Raises:
        FileNotFoundError: nothing was trained there.
    """
    state = load_checkpoint(out / "detector.pt")
    if state is None:
        raise FileNotFoundError(
            f"{out / 'detector.pt'} is missing: run python -m gas_diorama.train detector --out {out}"
        )
    saved: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in state["settings"].items()}
    settings = DetectorSettings(**saved)
    detector = build_detector(settings, len(build_tokenizer()))
    detector.load_state_dict(state["average"])
    return detector.eval()


def export_detector(out: Path, folder: Path = DETECTOR_WEIGHTS) -> Path:
    """`folder`, which then holds the averaged weights of `out`/detector.pt as transformers keeps a detector: config,
    safetensors in half precision, tokenizer and processor. Each file is written elsewhere first and then renamed."""
    detector = averaged_detector(out).half()
    processor = GroundingDinoProcessor(build_image_processor(), build_tokenizer())
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
        detector.save_pretrained(partial)
        processor.save_pretrained(partial)
        for path in sorted(Path(partial).iterdir()):
            path.chmod(0o644)
            os.replace(path, folder / path.name)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    log.info("exported the detector to %s: %.1f MB", folder, size)
    return folder
