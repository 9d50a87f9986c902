"""Pictures to latents and back, with diffusers' AutoencoderKL: Stable Diffusion's own, and that of its successors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gas.errors import InputRefused, ResultRefused
from gas.remedies import USE_FP32

if TYPE_CHECKING:
    from gas.types import Image


@dataclass(frozen=True)
class Autoencoder:
    """A frozen variational autoencoder; latents are scaled (and shifted) to about unit variance, as its configuration
    says. The sides of its latents must divide by `patch`, the cells on a side of what the network takes as one."""

    vae: Any  # diffusers.AutoencoderKL
    device: torch.device
    patch: int = 1

    @property
    def factor(self) -> int:
        """Pixels on a side of a latent cell (8)."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def channels(self) -> int:
        """C of its latents."""
        return int(self.vae.config.latent_channels)

    def encode(self, image: Image) -> Tensor:
        """The latent `(1, C, h, w)` of a picture `(H, W, 3)` uint8: the posterior's mean, scaled (DDS notebook, cell
        6)."""
        mean = self.encode_unscaled(image)
        shift, scale = self._latent_scale(mean)
        return (mean - shift) * scale

    @torch.no_grad()
    def encode_unscaled(self, image: Image) -> Tensor:
        """The posterior's mean `(1, C, h, w)` for a picture `(H, W, 3)` uint8, as the VAE itself gives it. InputRefused
        when the picture's sides do not divide into latent cells."""
        height, width = image.shape[:2]
        step = self.factor * self.patch
        if height % step or width % step:
            what = "latent cells" if self.patch == 1 else "patches of latent cells"
            raise InputRefused(
                f"a picture of {width}x{height} pixels does not divide into {what} of {step}",
                f"make both sides multiples of {step}",
            )
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(self.device, self.vae.dtype) / 127.5 - 1
        return self.vae.encode(pixels).latent_dist.mean

    @torch.no_grad()
    def decode(self, z: Tensor) -> Image:
        """The picture `(H, W, 3)` uint8 of a latent `(1, C, h, w)`. ResultRefused when the decoder gives no finite
        numbers."""
        shift, scale = self._latent_scale(z)
        pixels = self.vae.decode((z / scale + shift).to(self.vae.dtype), return_dict=False)[0][0]
        if not bool(torch.isfinite(pixels).all()):
            raise ResultRefused("the decoder's picture is not finite numbers", USE_FP32)
        image = ((pixels + 1) * 127.5).clamp(0, 255).round().byte()
        return image.permute(1, 2, 0).cpu().numpy()

    def _latent_scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """What to subtract from, and then to multiply, the VAE's own latents with."""
        config = self.vae.config
        shift = torch.tensor(getattr(config, "shift_factor", None) or 0.0).to(like)
        scale = torch.tensor(config.scaling_factor).to(like)
        if getattr(config, "latents_mean", None) is not None:
            shift = torch.tensor(config.latents_mean).to(like).view(1, -1, 1, 1)
        if getattr(config, "latents_std", None) is not None:
            scale = scale / torch.tensor(config.latents_std).to(like).view(1, -1, 1, 1)
        return shift, scale
