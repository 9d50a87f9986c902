"""Boxes compared: how much they overlap, and which of them are different things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def suppress(boxes: np.ndarray, order: Sequence[int], limit: float) -> list[int]:
    """The indices in `order` without those whose box overlaps an earlier one by more than `limit` (IoU): greedy NMS."""
    kept: list[int] = []
    for index in order:
        if not kept or iou(boxes[index], boxes[kept]).max() <= limit:
            kept.append(index)
    return kept


def iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The intersection over union of a box `(4,)` with each of `others` `(n, 4)`."""
    corners = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    intersection = np.prod(np.clip(corners, 0, None), axis=1)
    areas = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    return intersection / np.maximum(areas - intersection, np.finfo(np.float64).tiny)
