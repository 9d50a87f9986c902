"""The family of Stable Diffusion XL (Podell et al. 2023, arXiv 2307.01952): two text encoders, and rows that are told
sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from gas.diffusion.adapters import adapt_all
from gas.diffusion.attention.sites import CONTRASTED, AttentionSite, SiteKind, Size, unet_sites
from gas.diffusion.autoencoder import Autoencoder
from gas.diffusion.backbone import Conditioning, ModelKind
from gas.diffusion.clip_text import ClipText
from gas.diffusion.latent_diffusion import LatentDiffusion
from gas.diffusion.loading import explained
from gas.diffusion.model_folder import ModelFolder
from gas.diffusion.parameterisation import Parameterisation
from gas.diffusion.schedule import VPSchedule
from gas.diffusion.single_file.stable_diffusion_xl import read_single_file
from gas.diffusion.stable_diffusion_layout import KIND_REMEDIES
from gas.errors import ModelUnavailable

_NETWORKS = ("unet", "vae", "text_encoder", "text_encoder_2")
_OTHERS = ("tokenizer", "tokenizer_2", "scheduler/scheduler_config.json")
_OTHER_MODEL = "name a text-to-image Stable Diffusion XL"


@dataclass(frozen=True, eq=False, kw_only=True)
class StableDiffusionXL(LatentDiffusion):
    """A frozen Stable Diffusion XL. Beside the embeddings of both encoders, side by side, its rows have "pooled" `(n,
    dim)`, the second encoder's pooled embedding, and "size_ids" `(n, 6)`: height and width of the original, top and
    left of the crop, height and width of the picture, in pixels (sec. 2.2). Rows say that the picture is an original
    of its own size which was not cropped.

    * zero_null: whether the null prompt's embeddings are zeros and not those of "" (`force_zeros_for_empty_prompt`).
    * words: the first encoder; the second has the same tokens at the same places.

    The UNet works in `dtype`; text encoders and VAE in fp32 at least: its VAE overflows in fp16.
    """

    family: ClassVar = "Stable Diffusion XL model"

    network: Any  # diffusers.UNet2DConditionModel
    words: ClipText
    second: ClipText
    zero_null: bool
    schedule: VPSchedule
    parameterisation: Parameterisation

    @classmethod
    def _read(cls, here: ModelFolder, dtype: torch.dtype, kind: ModelKind) -> Self:
        from diffusers import UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        here.check_kind(kind, KIND_REMEDIES[kind])
        once = torch.promote_types(dtype, torch.float32)
        if here.folder.is_file():
            return cls._of_file(here, dtype, once)
        here.check_layout(_NETWORKS, _OTHERS)
        index = here.settings("model_index.json") if (here.folder / "model_index.json").exists() else {}
        with explained(here.name):
            scheduler = here.settings("scheduler/scheduler_config.json")
            unet = adapt_all(here.part(UNet2DConditionModel, "unet", dtype), here.adapters)
            autoencoder = here.autoencoder(once)
            words = here.clip_text(CLIPTextModel, "", once)
            second = here.clip_text(CLIPTextModelWithProjection, "_2", once)
        zero_null = bool(index.get("force_zeros_for_empty_prompt", True))  # the pipeline's own default
        return cls._of(here, unet, autoencoder, words, second, scheduler, zero_null, dtype)

    @classmethod
    def _of_file(cls, here: ModelFolder, dtype: torch.dtype, once: torch.dtype) -> Self:
        """The model in a single file (`gas.diffusion.single_file`)."""
        here.check_variant(())
        formats = {"unet": dtype, "vae": once, "text_encoder": once, "text_encoder_2": once}
        read, tokenizers, scheduler = read_single_file(here.folder, here.name, formats, allow_pickle=here.allow_pickle)
        parts = {place: one.to(here.home).eval().requires_grad_(False) for place, one in read.items()}
        words, second = (
            ClipText(tokenizer, parts[place], here.device)
            for tokenizer, place in zip(tokenizers, ("text_encoder", "text_encoder_2"), strict=True)
        )
        autoencoder = Autoencoder(parts["vae"], here.device)
        return cls._of(here, parts["unet"], autoencoder, words, second, scheduler, True, dtype)

    @classmethod
    def _of(
        cls,
        here: ModelFolder,
        unet: Any,
        autoencoder: Autoencoder,
        words: ClipText,
        second: ClipText,
        scheduler: dict[str, Any],
        zero_null: bool,
        dtype: torch.dtype,
    ) -> Self:
        """The model of these parts; ModelUnavailable unless they fit each other."""
        prediction = scheduler.get("prediction_type", "epsilon")
        with explained(here.name):
            schedule = VPSchedule.from_config(scheduler).to(here.device)
        _check_parts(unet.config, autoencoder.channels, words, second, here.name)
        _check_schedule(scheduler, prediction, here.name)
        return cls(
            name=here.name,
            network=unet,
            autoencoder=autoencoder,
            words=words,
            second=second,
            zero_null=zero_null,
            schedule=schedule,
            parameterisation=prediction,
            resolution=int(unet.config.sample_size or 128) * autoencoder.factor,
            factor=autoencoder.factor,
            multiple=autoencoder.factor,
            device=here.device,
            dtype=dtype,
        )

    def networks(self) -> dict[str, Any]:
        encoders = {"text_encoder": self.words.encoder, "text_encoder_2": self.second.encoder}
        return {**encoders, "unet": self.network, "vae": self.autoencoder.vae}

    # --- predictions --------------------------------------------------------------------------------------------------

    def condition(self, prompts: Sequence[str], size: Size) -> Conditioning:
        first, _ = self.words.layer_before_last(prompts)
        second, pooled = self.second.layer_before_last(prompts, warn=False)
        states = torch.cat([first, second], dim=-1)
        if self.zero_null:
            said = torch.tensor([float(bool(prompt)) for prompt in prompts]).to(states)
            states, pooled = states * said.view(-1, 1, 1), pooled * said.view(-1, 1)
        height, width = (side * self.factor for side in size)
        ids = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32, device=self.device)
        return Conditioning(states, {"pooled": pooled, "size_ids": ids.repeat(len(prompts), 1)})

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        output = self.network(
            z_t.to(self.dtype),
            t,
            conditioning.embeddings.to(self.dtype),
            added_cond_kwargs={
                "text_embeds": conditioning.extra["pooled"].to(self.dtype),
                "time_ids": conditioning.extra["size_ids"],  # bf16 has no 1000
            },
            return_dict=False,
        )
        return output[0].to(z_t.dtype)

    # --- inside -------------------------------------------------------------------------------------------------------

    def attention_sites(self, kind: SiteKind | None = None) -> tuple[AttentionSite, ...]:
        return tuple(site for site in self._sites if kind in (None, site.kind))

    @cached_property
    def _sites(self) -> tuple[AttentionSite, ...]:
        """The UNet's. The 36 modules that the contrastive loss compares count as much as the nine of Stable Diffusion
        1.x, for which its weight is published: 1/4 each."""
        sites = unet_sites(self.network)
        share = CONTRASTED / max(1, sum(bool(site.contrast) for site in sites))
        return tuple(replace(site, contrast=site.contrast * share) for site in sites)


def _check_parts(unet: Any, channels: int, words: ClipText, second: ClipText, name: str) -> None:
    """ModelUnavailable unless the parts fit each other, in a UNet (its configuration) that takes a noisy latent."""
    if unet.in_channels != channels:
        kinds = {2 * channels: " (an instruction model)", 2 * channels + 1: " (an inpainting model)"}
        raise ModelUnavailable(
            f"{name}: its UNet takes {unet.in_channels} channels{kinds.get(unet.in_channels, '')}, but latents have "
            f"{channels}",
            _OTHER_MODEL,
        )
    if unet.addition_embed_type != "text_time":
        raise ModelUnavailable(
            f"{name}: its UNet is not told sizes, as that of a {StableDiffusionXL.family} is", _OTHER_MODEL
        )
    sides = [one.encoder.config.hidden_size for one in (words, second)]
    given = unet.projection_class_embeddings_input_dim - 6 * unet.addition_time_embed_dim
    pooled = second.encoder.config.projection_dim
    for what, wants, gives in (
        ("prompt embeddings", unet.cross_attention_dim, sum(sides)),
        ("pooled embeddings", given, pooled),
    ):
        if wants != gives:
            raise ModelUnavailable(
                f"{name}: the UNet wants {what} of {wants} numbers, the text encoders give {gives}",
                "use parts that belong together",
            )


def _check_schedule(scheduler: dict[str, Any], prediction: str, name: str) -> None:
    """ModelUnavailable unless the model was trained on a variance-preserving schedule, to predict noise or v."""
    trained = str(scheduler.get("_class_name", ""))
    if prediction not in ("epsilon", "v_prediction"):
        raise ModelUnavailable(f"{name}: prediction type {prediction!r} is not supported", _OTHER_MODEL)
    if trained.startswith("EDM"):
        raise ModelUnavailable(f"{name}: it was trained on the schedule of {trained}, not SDXL's", _OTHER_MODEL)
