"""The family of Stable Diffusion 1.x and 2.x: text to image, by instruction (InstructPix2Pix) and with boxes (GLIGEN),
from the parts that diffusers saves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gas.diffusion.adapters import adapt_all, find_base
from gas.diffusion.attention.sites import AttentionSite, SiteKind, Size, unet_sites
from gas.diffusion.autoencoder import Autoencoder
from gas.diffusion.backbone import Backbone, Conditioning, ModelKind
from gas.diffusion.clip_text import ClipText
from gas.diffusion.gligen import told_boxes
from gas.diffusion.loading import check_variant, explained, load_part, pipeline_of, read_settings
from gas.diffusion.parameterisation import Parameterisation
from gas.diffusion.schedule import VPSchedule
from gas.diffusion.single_file.stable_diffusion_1 import read_single_file
from gas.diffusion.stable_diffusion_layout import PICKLES, WEIGHTS, check_layout, check_parts
from gas.models.account import load_tokenizer

if TYPE_CHECKING:
    from gas.types import Image


@dataclass(frozen=True, eq=False, kw_only=True)
class StableDiffusion(Backbone):
    """A frozen Stable Diffusion 1.x or 2.x. Beside their embeddings its rows may have in `Conditioning.extra`:

    * "beside" `(n, C', h, w)`: channels that the UNet takes beside the noisy latent: the picture's latent (instruction
      models), or what stays of it and a mask (inpainting);
    * "boxes", "phrases" and "things": see `gas.diffusion.gligen`.

    The UNet works in `dtype`. The text encoder and the VAE work in fp32 (fp64 beside an fp64 UNet): they run once, and
    what they round off would be seen in the picture.
    """

    name: str
    kind: ModelKind
    network: Any  # diffusers.UNet2DConditionModel
    autoencoder: Autoencoder
    words: ClipText
    schedule: VPSchedule
    parameterisation: Parameterisation
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
    ) -> StableDiffusion:
        """The model in a local folder of diffusers' layout, or of an adapter on one (`gas.diffusion.adapters`), or in a
        single file (`gas.diffusion.single_file`), frozen. `name` is what errors call it; the rest as in
        `gas.diffusion.load.backbone_from_folder`."""
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        folder, device = Path(folder), torch.device(device)
        name = name or str(folder)
        once = torch.promote_types(dtype, torch.float32)
        if folder.is_file():
            check_variant({}, name, variant)
            formats = {"unet": dtype, "vae": once, "text_encoder": once}
            networks, tokenizer, scheduler = read_single_file(folder, name, formats, allow_pickle=allow_pickle)
            return cls._of(networks, tokenizer, scheduler, device, home, dtype, name, kind)
        folder, adapters = find_base(folder)
        check_layout(folder, pipeline_of(folder, name), name)
        files = {place: (WEIGHTS[place], PICKLES[place]) for place in WEIGHTS}
        check_variant({folder / place: stems for place, stems in files.items()}, name, variant)

        def part(network: Any, place: str, dtype: torch.dtype) -> Any:
            options: dict[str, Any] = {"variant": variant, "allow_pickle": allow_pickle}
            return load_part(network, folder / place, files[place], name, part=place, dtype=dtype, **options)

        with explained(name):
            scheduler = read_settings(folder / "scheduler" / "scheduler_config.json", name)
            networks = {
                "unet": adapt_all(part(UNet2DConditionModel, "unet", dtype), adapters),
                "vae": part(AutoencoderKL, "vae", once),
                "text_encoder": part(CLIPTextModel, "text_encoder", once),
            }
            tokenizer = load_tokenizer(CLIPTokenizer, folder / "tokenizer", name, networks["text_encoder"])
        return cls._of(networks, tokenizer, scheduler, device, home, dtype, name, kind)

    @classmethod
    def _of(
        cls,
        networks: Mapping[str, Any],
        tokenizer: Any,
        scheduler: Mapping[str, Any],
        device: torch.device,
        home: torch.device | None,
        dtype: torch.dtype,
        name: str,
        kind: ModelKind,
    ) -> StableDiffusion:
        """The model of these parts, frozen; ModelUnavailable unless they fit each other and are of the `kind`."""
        frozen = {place: one.to(home or device).eval().requires_grad_(False) for place, one in networks.items()}
        unet, encoder = frozen["unet"], frozen["text_encoder"]
        with explained(name):
            autoencoder = Autoencoder(frozen["vae"], device)
            schedule = VPSchedule.from_config(scheduler).to(device)
        prediction = scheduler.get("prediction_type", "epsilon")
        check_parts(unet.config, autoencoder.channels, encoder.config.hidden_size, prediction, kind, name)
        return cls(
            name=name,
            kind=kind,
            network=unet,
            autoencoder=autoencoder,
            words=ClipText(tokenizer, encoder, device),
            schedule=schedule,
            parameterisation=prediction,
            resolution=_side(unet.config.sample_size) * autoencoder.factor,
            factor=autoencoder.factor,
            multiple=autoencoder.factor,
            device=device,
            dtype=dtype,
        )

    def networks(self) -> dict[str, Any]:
        return {"text_encoder": self.words.encoder, "unet": self.network, "vae": self.autoencoder.vae}

    # --- pictures -----------------------------------------------------------------------------------------------------

    def encode(self, image: Image) -> Tensor:
        return self.autoencoder.encode(image)

    def decode(self, z: Tensor) -> Image:
        return self.autoencoder.decode(z)

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
