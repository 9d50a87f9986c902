"""What an editor sees inside, handed to whoever asked for maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gas.files import slug
from gas.interfaces import Watch

if TYPE_CHECKING:
    from gas.diffusion.clip_text import ClipText


def save_map(watch: Watch, name: str, values: Tensor | np.ndarray, size: tuple[int, int]) -> None:
    """Hands the map `values` `(h, w)` in [0, 1] to `watch.save_map` under `name`, enlarged bilinearly to the picture's
    `size` (H, W); nothing is done where nobody asked for maps."""
    if watch.save_map is None:
        return
    small = torch.as_tensor(np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values))
    large = F.interpolate(small[None, None].float(), size=size, mode="bilinear", align_corners=False)
    watch.save_map(name, large[0, 0].clamp(0, 1).numpy())


def save_tokens(watch: Watch, words: ClipText, prompt: str, maps: Tensor, size: tuple[int, int], what: str) -> None:
    """Saves the attention `(tokens, h, w)` to each token of `prompt`, each scaled to its own top, at `size` (H, W)."""
    for position, name, one in zip(words.positions(prompt), words.token_names(prompt), maps, strict=True):
        save_map(watch, f"{what}-{position:02d}-{slug(name, empty='token')}", one / one.max(), size)
