"""The family of Stable Diffusion 1.x and 2.x: text to image, by instruction (InstructPix2Pix) and with boxes (GLIGEN),
from the parts that diffusers saves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from gas.diffusion.adapters import adapt_all
from gas.diffusion.attention.sites import AttentionSite, SiteKind, Size, unet_sites
from gas.diffusion.autoencoder import Autoencoder
from gas.diffusion.backbone import Conditioning, ModelKind
from gas.diffusion.clip_text import ClipText
from gas.diffusion.gligen import told_boxes
from gas.diffusion.latent_diffusion import LatentDiffusion
from gas.diffusion.loading import explained, pipeline_of
from gas.diffusion.model_folder import ModelFolder
from gas.diffusion.parameterisation import Parameterisation
from gas.diffusion.schedule import VPSchedule
from gas.diffusion.single_file.stable_diffusion_1 import read_single_file
from gas.diffusion.stable_diffusion_layout import NETWORKS, check_layout, check_parts
from gas.models.account import load_tokenizer

if TYPE_CHECKING:
    from gas.types import Image


@dataclass(frozen=True, eq=False, kw_only=True)
class StableDiffusion(LatentDiffusion):
    """A frozen Stable Diffusion 1.x or 2.x. Beside their embeddings its rows may have in `Conditioning.extra`:

    * "beside" `(n, C', h, w)`: channels that the UNet takes beside the noisy latent: the picture's latent (instruction
      models), or what stays of it and a mask (inpainting);
    * "boxes", "phrases" and "things": see `gas.diffusion.gligen`.

    The UNet works in `dtype`. The text encoder and the VAE work in fp32 (fp64 beside an fp64 UNet): they run once, and
    what they round off would be seen in the picture.
    """

    family: ClassVar = "Stable Diffusion model"

    kind: ModelKind
    network: Any  # diffusers.UNet2DConditionModel
    words: ClipText
    schedule: VPSchedule
    parameterisation: Parameterisation

    @classmethod
    def _read(cls, here: ModelFolder, dtype: torch.dtype, kind: ModelKind) -> Self:
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        once = torch.promote_types(dtype, torch.float32)
        networks: dict[str, Any]
        if here.folder.is_file():
            here.check_variant(())
            formats = {"unet": dtype, "vae": once, "text_encoder": once}
            networks, tokenizer, scheduler = read_single_file(
                here.folder, here.name, formats, allow_pickle=here.allow_pickle
            )
            return cls._of(networks, tokenizer, scheduler, here, dtype, kind)
        check_layout(here.folder, pipeline_of(here.folder, here.name), here.name)
        here.check_variant(NETWORKS)
        with explained(here.name):
            scheduler = here.settings("scheduler/scheduler_config.json")
            networks = {
                "unet": adapt_all(here.part(UNet2DConditionModel, "unet", dtype), here.adapters),
                "vae": here.part(AutoencoderKL, "vae", once),
                "text_encoder": here.part(CLIPTextModel, "text_encoder", once),
            }
            tokenizer = load_tokenizer(CLIPTokenizer, here.folder / "tokenizer", here.name, networks["text_encoder"])
        return cls._of(networks, tokenizer, scheduler, here, dtype, kind)

    @classmethod
    def _of(
        cls,
        networks: Mapping[str, Any],
        tokenizer: Any,
        scheduler: Mapping[str, Any],
        here: ModelFolder,
        dtype: torch.dtype,
        kind: ModelKind,
    ) -> Self:
        """The model of these parts, frozen; ModelUnavailable unless they fit each other and are of the `kind`."""
        frozen = {place: one.to(here.home).eval().requires_grad_(False) for place, one in networks.items()}
        unet, encoder = frozen["unet"], frozen["text_encoder"]
        with explained(here.name):
            autoencoder = Autoencoder(frozen["vae"], here.device)
            schedule = VPSchedule.from_config(scheduler).to(here.device)
        prediction = scheduler.get("prediction_type", "epsilon")
        check_parts(unet.config, autoencoder.channels, encoder.config.hidden_size, prediction, kind, here.name)
        return cls(
            name=here.name,
            kind=kind,
            network=unet,
            autoencoder=autoencoder,
            words=ClipText(tokenizer, encoder, here.device),
            schedule=schedule,
            parameterisation=prediction,
            resolution=_side(unet.config.sample_size) * autoencoder.factor,
            factor=autoencoder.factor,
            multiple=autoencoder.factor,
            device=here.device,
            dtype=dtype,
        )

    def networks(self) -> dict[str, Any]:
        return {"text_encoder": self.words.encoder, "unet": self.network, "vae": self.autoencoder.vae}

    # --- pictures -----------------------------------------------------------------------------------------------------

    def picture_condition(self, image: Image) -> Tensor:
        """The picture's latent, not scaled, as InstructPix2Pix was trained."""
        return (
            self.autoencoder.encode_unscaled(image) if self.kind == "instruction" else super().picture_condition(image)
        )

    # --- predictions --------------------------------------------------------------------------------------------------

    def condition(self, prompts: Sequence[str], size: Size) -> Conditioning:
        return Conditioning(self.words.states(prompts))

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        rows, beside = z_t, conditioning.extra.get("beside")
        if beside is not None:
            rows = torch.cat([z_t, beside.to(z_t)], dim=1)
        output = self.network(
            rows.to(self.dtype),
            t,
            conditioning.embeddings.to(self.dtype),
            return_dict=False,
            **told_boxes(conditioning, self.dtype),
        )
        return output[0].to(z_t.dtype)

    # --- inside -------------------------------------------------------------------------------------------------------

    def attention_sites(self, kind: SiteKind | None = None) -> tuple[AttentionSite, ...]:
        return tuple(site for site in self._sites if kind in (None, site.kind))

    @cached_property
    def _sites(self) -> tuple[AttentionSite, ...]:
        return unet_sites(self.network)


def _side(size: int | Sequence[int] | None) -> int:
    """Side in cells of the square latents that a UNet with this `sample_size` was trained on."""
    sides = (size, size) if isinstance(size, int) else tuple(size or (64, 64))
    return round(math.sqrt(sides[0] * sides[1]))
