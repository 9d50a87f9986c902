"""What the families have in common that work on an autoencoder's latents (Rombach et al. 2022, arXiv 2112.10752)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from gas.diffusion.autoencoder import Autoencoder
from gas.diffusion.backbone import Backbone, ModelKind
from gas.diffusion.model_folder import ModelFolder

if TYPE_CHECKING:
    from gas.types import Image


@dataclass(frozen=True, eq=False, kw_only=True)
class LatentDiffusion(Backbone):
    """A frozen latent diffusion model. A family subclasses it, says its `family`, and reads its parts in `_read`."""

    family: ClassVar[str]
    """What errors call a model of the family: "FLUX.1 model"."""

    name: str
    network: Any
    autoencoder: Autoencoder
    resolution: int
    factor: int
    multiple: int
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        home: torch.device | None = None,
        name: str | None = None,
        kind: ModelKind = "text-to-image",
        variant: str | None = None,
        allow_pickle: bool = False,
    ) -> Self:
        """The model in a local folder, frozen; arguments and errors as in `gas.diffusion.load.backbone_from_folder`."""
        here = ModelFolder.find(folder, name, cls.family, device, home, variant=variant, allow_pickle=allow_pickle)
        return cls._read(here, dtype, kind)

    @classmethod
    @abstractmethod
    def _read(cls, here: ModelFolder, dtype: torch.dtype, kind: ModelKind) -> Self:
        """The model of the parts that lie `here`, its network in `dtype`. ModelUnavailable (exit 6): a part is missing,
        the parts do not fit each other, or the model is not of that `kind`."""

    def encode(self, image: Image) -> Tensor:
        return self.autoencoder.encode(image)

    def decode(self, z: Tensor) -> Image:
        return self.autoencoder.decode(z)
