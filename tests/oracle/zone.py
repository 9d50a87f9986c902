"""What ZONE's reference code makes its masks by, step by step, in whole levels and with OpenCV.

Read in lsl001006/ZONE `msk_from_attn.py` and `utils/mask_utils.py`. Retold, not copied. Its pictures are BGR, as OpenCV
reads them, and are turned to grey as if they were RGB.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image
from scipy import ndimage


def location(first: np.ndarray, last: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The rough mask, bool of `size` (H, W), from the maps `(h, w)` of the first and the last token."""
    levels = [(255 * one / one.max()).astype(np.uint8) for one in (first, last)]
    difference = Image.fromarray(cv2.subtract(*levels)).resize((size[1], size[0]))
    return cv2.convertScaleAbs(np.asarray(difference), alpha=2, beta=0) <= 108


def parts(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """The mask's connected parts, numbered from 1, and how many there are."""
    return ndimage.label(mask)


def smoother(before: np.ndarray, after: np.ndarray, mask: np.ndarray, threshold: int = 30, d0: int = 200) -> np.ndarray:
    """The smoothed mask, bool `(H, W)`, of two RGB pictures inside the boolean `mask`."""
    spectra = []
    for picture in (after, before):
        bgr = np.ascontiguousarray(picture[..., ::-1]) * mask[..., None].astype(np.uint8)
        spectra.append(np.fft.fftshift(np.fft.fft2(cv2.cvtColor(bgr, cv2.COLOR_RGB2GRAY))))
    height, width = mask.shape
    disc = np.zeros(mask.shape, np.uint8)
    cv2.circle(disc, (width // 2, height // 2), d0, 1, -1)
    response = np.abs(np.fft.ifft2(np.fft.ifftshift((spectra[0] - spectra[1]) * disc))).astype(np.uint8)
    binary = np.where(response > threshold, 255, 0).astype(np.uint8)
    closed = cv2.morphologyEx(binary, cv2.MORPH_CLOSE, np.ones((21, 21), np.uint8))
    contours, _ = cv2.findContours(closed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros_like(closed), contours, -1, 255, cv2.FILLED) > 0
