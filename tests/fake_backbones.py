"""Backbones of a dozen lines in the layouts of SDXL and of FLUX, in a world of plain colours: what the protocol
must be able to carry, and that nothing but the protocol is needed.

A prompt's pictures have the colour that its first word names, give or take; the null prompt's are grey.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.backbone import Backbone, Conditioning
from gas.diffusion.load import Family
from gas.diffusion.schedule import FlowSchedule, stable_diffusion_schedule
from gas.errors import InputRefused, ResultRefused

COLOURS = {"red": (0.6, -0.5, -0.5), "blue": (-0.5, -0.4, 0.6), "green": (-0.4, 0.5, -0.4), "": (0.0, 0.0, 0.0)}
SPREAD = 0.2


def colours(prompts: Sequence[str]) -> Tensor:
    """`(n, 3)` in [-1, 1]: what the prompts name; a word that is no colour is told apart, but hardly."""
    found = [COLOURS.get((prompt.split() or [""])[0], (0.01 * len(prompt),) * 3) for prompt in prompts]
    return torch.tensor(found)


class PlainColours(Backbone):
    """Latents are pictures of an eighth of the size."""

    device, dtype = torch.device("cpu"), torch.float32
    resolution, multiple, factor = 64, 8, 8

    @classmethod
    def from_folder(cls, folder: Path, device: Any, dtype: Any, *, name: str, **kind: Any) -> PlainColours:
        made = cls()
        made.name = name
        return made

    @staticmethod
    def hub_files(variant: str | None, allow_pickle: bool) -> list[str]:
        return ["model_index.json"]

    def encode(self, image: Any) -> Tensor:
        if image.shape[0] % 8 or image.shape[1] % 8:
            raise InputRefused("its sides do not divide by 8")
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
        return F.avg_pool2d(pixels, 8)

    def decode(self, z: Tensor) -> Any:
        if not bool(torch.isfinite(z).all()):
            raise ResultRefused("it is not finite")
        large = F.interpolate(z.float(), scale_factor=8, mode="nearest")[0]
        return ((large + 1) * 127.5).clamp(0, 255).round().byte().permute(1, 2, 0).numpy()


class FakeXL(PlainColours):
    """The layout of SDXL: two encoders side by side, a pooled embedding and size ids for each row, zeros for the empty
    prompt, noise on Stable Diffusion's schedule, classifier-free guidance."""

    schedule = stable_diffusion_schedule()

    def condition(self, prompts: Sequence[str], size: tuple[int, int]) -> Conditioning:
        named = colours(prompts)
        both = torch.cat([named, 2 * named], 1)[:, None].repeat(1, 77, 1)
        ids = torch.tensor([8.0 * size[0], 8.0 * size[1], 0, 0, 8.0 * size[0], 8.0 * size[1]]).repeat(len(prompts), 1)
        return Conditioning(both, {"pooled": named, "size_ids": ids})

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        assert torch.equal(conditioning.extra["size_ids"][:, 0], torch.full((len(z_t),), 8.0 * z_t.shape[2]))
        mean = (conditioning.embeddings[:, 0, 3:] - conditioning.extra["pooled"])[:, :, None, None]
        alpha, sigma = self.schedule.coefficients(t, z_t.dtype)
        return sigma * (z_t - alpha * mean) / (alpha**2 * SPREAD**2 + sigma**2)


class FakeFlow(PlainColours):
    """The layout of FLUX: a rectified flow, latents packed two by two, guidance as a number, no null row."""

    schedule = FlowSchedule(shift=3.0)
    parameterisation = "velocity"
    guidance = "told"
    multiple = 16

    def condition(self, prompts: Sequence[str], size: tuple[int, int]) -> Conditioning:
        return Conditioning(colours(prompts)[:, None].repeat(1, 512, 1), {"pooled": colours(prompts)})

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        packed = F.pixel_unshuffle(z_t, 2).flatten(2).transpose(1, 2)  # (n, tokens, 4 C)
        scale = conditioning.extra.get("guidance", torch.ones(len(z_t)))[:, None]
        mean = (scale * conditioning.extra["pooled"]).repeat_interleave(4, 1)[:, None]
        alpha, sigma = (one[:, 0] for one in self.schedule.coefficients(t, z_t.dtype))
        away = (packed - alpha * mean) / (alpha**2 * SPREAD**2 + sigma**2)
        velocity = sigma * away - (mean + alpha * SPREAD**2 * away)
        grid = z_t.shape[2] // 2, z_t.shape[3] // 2
        return F.pixel_shuffle(velocity.transpose(1, 2).unflatten(2, grid), 2)


FAMILIES = tuple(
    Family(kind.__name__, (f"{kind.__name__}Pipeline",), ("never",), f"fake_backbones:{kind.__name__}")
    for kind in (FakeXL, FakeFlow)
)


def model_folder(folder: Path, kind: type[PlainColours]) -> Path:
    """`folder`, now with a model that only its index tells."""
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": f"{kind.__name__}Pipeline"}))
    return folder
