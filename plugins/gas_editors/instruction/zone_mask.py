"""ZONE's mask, step by step (Li et al. 2023, arXiv 2312.16794): from attention to what is pasted.

Pictures are `(H, W, 3)` uint8, masks `(H, W)` bool unless it is said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as PillowImage
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from gas.types import Image

_NEIGHBOURS = np.ones((3, 3))
_GREY = np.array([0.299, 0.587, 0.114])


def attention_difference(first: Tensor, last: Tensor, size: tuple[int, int], *, whole: bool = False) -> np.ndarray:
    """`(H, W)` float32 in [0, 255]: how much more the start mark than the end mark of the instruction is attended to
    (ZONE, eq. 4).

    `first` and `last` are the two tokens' maps `(h, w)`, each of which is scaled by its own top; `size` is (H, W).
    Where it is small, the instruction is at work. `whole`: in whole levels, enlarged by Pillow (ZONE's code).
    """
    if whole:
        one, other = ((255 * each / each.max()).floor() for each in (first, last))
        levels = PillowImage.fromarray((one - other).clamp(min=0).byte().cpu().numpy())
        return np.asarray(levels.resize((size[1], size[0]), PillowImage.Resampling.BICUBIC), np.float32)
    difference = (255 * (first / first.max() - last / last.max())).clamp(min=0)
    return _enlarged(difference, size)


def relevance_difference(relevance: Tensor, size: tuple[int, int]) -> np.ndarray:
    """`(H, W)` float32 in [0, 255] in the place of `attention_difference`: 0 where the instruction changes the
    prediction most, 255 where it changes nothing.

    `relevance` `(h, w)` is the mean of |eps(c_I, c_T) - eps(c_I, 0)| over channels and steps (Watch Your Steps, Mirzaei
    et al. 2023, arXiv 2308.08947, which takes it at one time of a noised picture).
    """
    share = relevance.float() / relevance.max().clamp(min=1e-12)
    return _enlarged(255 * (1 - share), size)


def _enlarged(difference: Tensor, size: tuple[int, int]) -> np.ndarray:
    """`(H, W)` float32 in [0, 255] from one `(h, w)`."""
    large = F.interpolate(difference[None, None].float(), size=size, mode="bicubic", align_corners=False)[0, 0]
    return large.clamp(0, 255).cpu().numpy()


def drop_small(mask: np.ndarray, least: float, *, corners: bool = True) -> np.ndarray:
    """The mask without its connected parts of fewer than `least` pixels; pixels that touch at a corner alone are
    connected where `corners` says so. (The reference code zeroes the boxes around them, and with them parts of
    others.)"""
    labels, count = ndimage.label(mask, structure=_NEIGHBOURS if corners else None)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    kept = areas >= least
    kept[0] = False
    return kept[labels]


def one_place(mask: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The connected part of the mask that shares most with `near`; of those that share nothing the largest. (Ours.)"""
    labels, count = ndimage.label(mask, structure=_NEIGHBOURS)
    if count < 2:
        return mask
    shared, areas = (np.bincount(labels[one], minlength=count + 1)[1:] for one in (mask & near, mask))
    return labels == 1 + int(np.lexsort((areas, shared))[-1])


def touching(mask: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The connected parts of the mask that `place` overlaps. (Ours.)"""
    labels, count = ndimage.label(mask, structure=_NEIGHBOURS)
    kept = np.zeros(count + 1, bool)
    kept[labels[mask & place]] = True
    return kept[labels]


def choose_segment(mask: np.ndarray, segments: Sequence[np.ndarray], least: float = 0.0) -> tuple[int | None, float]:
    """The number of the segment with the greatest IoU with `mask`, and that IoU (ZONE, eq. 6).

    None when no segment's is above `least`: the reference code ends there, this toolkit goes on with the rough mask.
    """
    best, found = None, 0.0
    for number, segment in enumerate(segments):
        overlap = float((segment & mask).sum()) / max(float((segment | mask).sum()), 1.0)
        if overlap > max(found, least):
            best, found = number, overlap
    return best, found


def dilate(mask: np.ndarray, pixels: int) -> np.ndarray:
    """The mask grown by `pixels` on every side, corners included: as often dilated by a 3 x 3 square."""
    return ndimage.maximum_filter(mask, 2 * pixels + 1, mode="constant") if pixels else mask


def close(mask: np.ndarray, side: int) -> np.ndarray:
    """The mask after a morphological closing by a square of `side` pixels; the picture's border counts for neither."""
    if side < 2:
        return mask
    grown = ndimage.maximum_filter(mask, side, mode="constant", cval=0)
    # An even square's middle lies beside its centre, so the way back has to lean the other way.
    return ndimage.minimum_filter(grown, side, mode="constant", cval=1, origin=-1 if side % 2 == 0 else 0)


def edge_response(
    before: Image, after: Image, mask: np.ndarray, radius: float, *, swapped: bool = False, whole: bool = False
) -> np.ndarray:
    """`(H, W)` float32: the difference in grey inside `mask` after an ideal low-pass filter (ZONE, eq. 7 and 8).

    `radius` is the cut-off frequency in bins of the Fourier transform. As in ZONE's code, which takes BGR for RGB,
    `swapped` weighs blue as red and red as blue; `whole` cuts grey and result to whole levels.
    """
    weights = _GREY[::-1] if swapped else _GREY
    one, other = (picture.astype(np.float64) @ weights * mask for picture in (after, before))
    if whole:
        one, other = np.rint(one), np.rint(other)
    height, width = mask.shape
    bins = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.fftfreq(width)[None] * width)
    response = np.abs(np.fft.ifft2((np.fft.fft2(one) - np.fft.fft2(other)) * (bins <= radius)))
    return (np.floor(response) if whole else response).astype(np.float32)


def smoothed_mask(response: np.ndarray, threshold: float, closing: int) -> np.ndarray:
    """Where the `edge_response` is above `threshold`, closed by a square of `closing` pixels, without holes."""
    return ndimage.binary_fill_holes(close(response > threshold, closing))


def layer_strength(region: np.ndarray, smoothed: np.ndarray | None, alpha: float) -> np.ndarray:
    """`(H, W)` float32: how strongly the edit is pasted: 1 in the region and the smoothed mask, `alpha` where only one
    of them is, 0 elsewhere. Without a smoothed mask the region itself."""
    if smoothed is None:
        return region.astype(np.float32)
    return np.where(smoothed & region, 1, np.where(smoothed ^ region, alpha, 0)).astype(np.float32)
