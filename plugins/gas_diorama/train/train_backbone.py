"""Teaches the detector's Swin what each cell of a picture shows, before the detector is trained as a whole.

A detection transformer learns from a few boxes a picture; here every cell teaches, at a quarter of the price.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gas_diorama.train.training import learning_rate, load_checkpoint, log, save_checkpoint
from gas_diorama.world.asking import LABELS, Asked, ask, cell_labels, visible_boxes
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.detector import DetectorSettings, build_swin, to_pixels
from gas_diorama.world.scene import COLOURS, KINDS, SIZE


class DetectorBank:
    """Scenes of a split, of three sorts: plain ones, ones with a small thing, ones with twins; their boxes, labels."""

    def __init__(self, settings: DetectorSettings, part: str = "train") -> None:
        quarter = max(settings.scenes // 4, 1)
        self.banks = (
            SceneBank(2 * quarter, settings.seed + 300, part),
            SceneBank(quarter, settings.seed + 301, part, small=True),
            SceneBank(quarter, settings.seed + 302, part, twins=True),
        )
        coarsest = SIZE // settings.patch // 2 ** (len(settings.swin) - 1)
        self.sides = [coarsest * 2**level for level in reversed(range(len(settings.swin)))]
        self._boxes: dict[tuple[int, int], np.ndarray] = {}
        self._labels: dict[tuple[int, int], np.ndarray] = {}

    def draw(
        self, rng: np.random.Generator, count: int, known: int
    ) -> tuple[np.ndarray, list[np.ndarray], np.ndarray, list[list[Asked]]]:
        """`count` of the first `known` scenes: pictures uint8 (n, 128, 128, 3), boxes of their things in pixels,
        `cell_labels` (n, cells, labels), phrases asked of them."""
        pictures, boxes, labels, asked = [], [], [], []
        for _ in range(count):
            sort = int(rng.choice(3, p=(0.5, 0.25, 0.25)))
            bank = self.banks[sort]
            number = int(rng.integers(min(bank.count, max(known // (2 if sort == 0 else 4), 1))))
            pictures.append(bank.pictures(np.array([number]))[0])
            scene, key = bank.scene(number), (sort, number)
            if key not in self._boxes:
                self._boxes[key], self._labels[key] = visible_boxes(scene), cell_labels(scene, self.sides)
            boxes.append(self._boxes[key])
            labels.append(self._labels[key])
            asked.append(ask(scene, rng))
        return np.stack(pictures), boxes, np.stack(labels), asked


def cell_loss(shown: Tensor, labels: Tensor) -> Tensor:
    """What each cell is said to be, (n, cells, labels), against what it is: each label by itself everywhere, and the
    right kind and colour among all where a thing is."""
    labels = labels.float()
    kinds, colours = slice(0, len(KINDS)), slice(len(KINDS), len(KINDS) + len(COLOURS))
    thing = labels[..., kinds].any(-1)
    every = F.binary_cross_entropy_with_logits(shown, labels)
    if not thing.any():  # a mean over nothing would be no number
        return 5 * every
    among = [F.cross_entropy(shown[thing][:, part], labels[thing][:, part]) for part in (kinds, colours)]
    return 5 * every + among[0] + among[1]


class CellHead(nn.Module):
    """One linear layer a level, thrown away after training."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, len(LABELS)) for width in widths])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Feature maps (n, width, rows, columns), finest first, to (n, cells, labels)."""
        flat = [one.float().flatten(2).transpose(1, 2) for one in maps]
        return torch.cat([layer(one) for layer, one in zip(self.layers, flat, strict=True)], 1)


@torch.no_grad()
def right_kinds(swin: nn.Module, head: CellHead, pictures: np.ndarray, labels: np.ndarray) -> float:
    """Share of the cells of things whose kind is told right."""
    shown = head(swin(to_pixels(pictures).to(next(swin.parameters()).device)).feature_maps).cpu()
    kinds = torch.from_numpy(labels)[..., : len(KINDS)]
    right = shown[..., : len(KINDS)].argmax(-1) == kinds.float().argmax(-1)
    return float(right[kinds.any(-1)].float().mean())


def train_backbone(out: Path, settings: DetectorSettings, device: str = "cpu") -> dict[str, Tensor]:
    """The Swin's weights after `settings.backbone_steps`; goes on from `out`/detector-backbone.pt if that is there."""
    path = out / "detector-backbone.pt"
    state = load_checkpoint(path)
    torch.manual_seed(settings.seed)
    swin = build_swin(settings).to(device).train()
    head = CellHead(swin.channels).to(device)
    both = [*swin.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(both, lr=settings.backbone_peak, betas=(0.9, 0.98), weight_decay=0.02, fused=True)
    first = 0
    if state is not None:
        swin.load_state_dict(state["network"])
        head.load_state_dict(state["head"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
    bank = DetectorBank(settings)
    measured = max(settings.measured, 4)
    validation = DetectorBank(replace(settings, scenes=measured), "validation")
    held, _, held_labels, _ = validation.draw(np.random.default_rng(settings.seed), measured, measured)
    started, running = time.monotonic(), 0.0
    for step in range(first, settings.backbone_steps):
        rng = np.random.default_rng((settings.seed, step, 1))
        known = settings.first_scenes + settings.scenes_a_step * step
        pictures, _, labels, _ = bank.draw(rng, settings.batch, known)
        with torch.autocast(device, dtype=torch.bfloat16):
            maps = swin(to_pixels(pictures).to(device)).feature_maps
        loss = cell_loss(head(maps), torch.from_numpy(labels).to(device))
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.backbone_steps, settings.backbone_peak, settings.warm_up)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(both, 2.0)
        optimiser.step()
        running += loss.item()
        done = step + 1
        if done % 100 == 0:
            kinds = right_kinds(swin, head, held, held_labels)
            spent = (time.monotonic() - started) / (done - first)
            log.info(
                "backbone %d  loss %.3f  kinds of cells right %.3f  %.2f s a step", done, running / 100, kinds, spent
            )
            running = 0.0
        if done % settings.save_every == 0 or done == settings.backbone_steps:
            save_checkpoint(
                path,
                {
                    "network": swin.state_dict(),
                    "head": head.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": done,
                    "settings": asdict(settings),
                },
            )
    return swin.state_dict()
