"""`python -m gas_diorama.evaluate_grounding`: how well phrases are found in held-out scenes."""

from __future__ import annotations

import numpy as np
from torch import nn
from transformers import BertTokenizer

from gas_diorama.asking import ABSENT, ask_absent, plain, visible_boxes
from gas_diorama.bank import SceneBank
from gas_diorama.detector import detect

THRESHOLD = 0.4


def box_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(wide, 0) * max(high, 0)
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def measure_detector(
    detector: nn.Module, tokenizer: BertTokenizer, scenes: int, part: str, seed: int = 7
) -> dict[str, float]:
    """Figures of the bare detector on `scenes` scenes of a split: recall at 0.5, mean overlap, recall of small things,
    share of absent phrases for which something is returned, and the threshold at which as many present phrases are
    missed as absent ones are answered."""
    bank = SceneBank(scenes, seed, part=part)
    pictures = bank.pictures(np.arange(scenes))
    present = [plain(bank.scene(n)) for n in range(scenes)]
    rng = np.random.default_rng(seed)
    forms = [form for form in ABSENT if form != "stranger"]
    absent = [[ask_absent(bank.scene(n), rng, form).text for form in forms] for n in range(scenes)]
    overlaps, scores, small, parts = [], [], [], []
    answers = detect(detector, tokenizer, pictures, [[one.text for one in some] for some in present])
    for n, some in enumerate(answers):
        scene, boxes = bank.scene(n), visible_boxes(bank.scene(n))
        for i, (score, box) in enumerate(some):
            overlaps.append(box_overlap(np.array(box), boxes[i]))
            scores.append(score)
            small.append(i < len(scene.objects) and scene.objects[i].is_small)
            parts.append(i >= len(scene.objects))
    wrong = np.array([[score for score, _ in some] for some in detect(detector, tokenizer, pictures, absent)])
    iou, score, little, part_of = np.array(overlaps), np.array(scores), np.array(small), np.array(parts)
    hit = (iou >= 0.5) & (score >= THRESHOLD)
    levels = np.linspace(0.05, 0.95, 91)
    gap = [abs(float((score < level).mean()) - float((wrong >= level).mean())) for level in levels]
    even = float(levels[int(np.argmin(gap))])
    return {
        "recall": float(hit.mean()),
        "recall_objects": float(hit[~part_of].mean()),
        "recall_small": float(hit[little].mean()) if little.any() else float("nan"),
        "iou": float(iou.mean()),
        "iou_objects": float(iou[~part_of].mean()),
        "iou_small": float(iou[little].mean()) if little.any() else float("nan"),
        "absent": float((wrong >= THRESHOLD).mean()),
        **{
            f"absent_{form.replace(' ', '_')}": float(v)
            for form, v in zip(forms, (wrong >= THRESHOLD).mean(0), strict=True)
        },
        "even": even,
        "missed_even": float((score < even).mean()),
    }
