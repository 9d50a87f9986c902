"""The family of FLUX.1 (Black Forest Labs, 2024): a transformer over packed latents, a rectified flow, and guidance
that is told as a number (dev) or that there is none of (schnell)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.attention.joint_sites import joint_sites, picture_first
from gas.diffusion.attention.sites import AttentionSite, SiteKind, Size
from gas.diffusion.backbone import Conditioning, ModelKind
from gas.diffusion.clip_text import ClipText
from gas.diffusion.guidance import Guidance
from gas.diffusion.latent_diffusion import LatentDiffusion
from gas.diffusion.loading import explained
from gas.diffusion.model_folder import ModelFolder
from gas.diffusion.parameterisation import Parameterisation
from gas.diffusion.schedule import FlowSchedule
from gas.diffusion.single_file.flux import read_transformer
from gas.diffusion.stable_diffusion_layout import KIND_REMEDIES
from gas.diffusion.t5_text import T5Text
from gas.errors import ModelUnavailable
from gas.remedies import Option, Remedy

if TYPE_CHECKING:
    from collections.abc import Mapping

PATCH = 2
"""Cells on a side of what is packed into one token."""
T5_TOKENS = 512
_PLAIN = 1.0
"""The guidance that rows are told where nobody said one."""
_NETWORKS = ("transformer", "vae", "text_encoder", "text_encoder_2")
_OTHERS = ("tokenizer", "tokenizer_2", "scheduler/scheduler_config.json")


@dataclass(frozen=True, eq=False, kw_only=True)
class Flux(LatentDiffusion):
    """A frozen FLUX.1. Its rows are T5's; "pooled" `(n, dim)` is CLIP's pooled embedding, and "guidance" `(n,)` the
    number that each row is told, where the network takes one.

    Times are those of the flow, from 0 to 1. `scheduler` is the configuration of its schedule, whose shift grows with
    the picture where it is dynamic; `schedule` is that of a picture of `resolution`. Transformer and T5 work in
    `dtype`, CLIP and VAE in fp32 at least.
    """

    family: ClassVar = "FLUX.1 model"

    network: Any  # diffusers.FluxTransformer2DModel
    clip: ClipText
    t5: T5Text
    scheduler: Mapping[str, Any]
    schedule: FlowSchedule
    guidance: Guidance
    parameterisation: Parameterisation = "velocity"

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
        parts: Path | None = None,
    ) -> Self:
        """As those of the other families, or with the transformer in a single file (`gas.diffusion.single_file`) and
        all else in the folder `parts`."""
        how: dict[str, Any] = {"variant": variant, "allow_pickle": allow_pickle}
        if not Path(folder).is_file():
            return super().from_folder(folder, device, dtype, home=home, name=name, kind=kind, **how)
        name = name or str(folder)
        if parts is None:
            raise ModelUnavailable(
                f"{name} holds the transformer of a {cls.family} alone: text encoders and VAE are missing",
                Remedy(
                    "give_parts",
                    "name the folder or hub id of a whole FLUX.1, whose other parts are used: {parts}",
                    parts=Option({"parts_model": None}),
                ),
            )
        here = ModelFolder.find(parts, name, cls.family, device, home, **how)
        return cls._read(here, dtype, kind, Path(folder))

    @classmethod
    def _read(cls, here: ModelFolder, dtype: torch.dtype, kind: ModelKind, file: Path | None = None) -> Self:
        from diffusers import FluxTransformer2DModel
        from transformers import CLIPTextModel

        here.check_kind(kind, KIND_REMEDIES[kind])
        here.refuse_adapters()
        here.check_layout(_NETWORKS[file is not None :], _OTHERS)
        once = torch.promote_types(dtype, torch.float32)
        if file is not None:
            transformer = read_transformer(file, here.name, dtype, allow_pickle=here.allow_pickle)
            transformer = transformer.to(here.home).eval().requires_grad_(False)
        with explained(here.name):
            if file is None:
                transformer = here.part(FluxTransformer2DModel, "transformer", dtype)
            autoencoder = here.autoencoder(once, PATCH)
            clip = here.clip_text(CLIPTextModel, "", once)
            t5 = here.t5_text("_2", dtype, T5_TOKENS)
            scheduler = here.settings("scheduler/scheduler_config.json")
            side = int(autoencoder.vae.config.sample_size)  # 1024; the transformer's settings say nothing of sizes
            tokens = (side // autoencoder.factor // PATCH) ** 2
            schedule = FlowSchedule.from_config(scheduler, tokens)
        _check_parts(transformer.config, autoencoder.channels, clip, t5, here.name)
        return cls(
            name=here.name,
            network=transformer,
            autoencoder=autoencoder,
            clip=clip,
            t5=t5,
            scheduler=scheduler,
            schedule=schedule,
            guidance="told" if transformer.config.guidance_embeds else "none",
            resolution=side,
            factor=autoencoder.factor,
            multiple=autoencoder.factor * PATCH,
            device=here.device,
            dtype=dtype,
        )

    def networks(self) -> dict[str, Any]:
        encoders = {"text_encoder": self.clip.encoder, "text_encoder_2": self.t5.encoder}
        return {**encoders, "transformer": self.network, "vae": self.autoencoder.vae}

    # --- predictions --------------------------------------------------------------------------------------------------

    def condition(self, prompts: Sequence[str], size: Size) -> Conditioning:
        states = self.t5.states(prompts)
        return Conditioning(states, {"pooled": self.clip.pooled(prompts, warn=False)})

    def dropped_words(self, prompt: str) -> str:
        return self.t5.dropped_words(prompt)

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = z_t.shape[2] // PATCH, z_t.shape[3] // PATCH
        packed = F.pixel_unshuffle(z_t, PATCH).flatten(2).transpose(1, 2)  # (n, tokens, 4 C)
        told = conditioning.extra.get("guidance", torch.full((len(z_t),), _PLAIN, device=z_t.device))
        output = self.network(
            packed.to(self.dtype),
            conditioning.embeddings.to(self.dtype),
            conditioning.extra["pooled"].to(self.dtype),
            t.to(self.dtype),
            img_ids=_places(height, width, z_t.device),
            txt_ids=torch.zeros(conditioning.embeddings.shape[1], 3, device=z_t.device),
            guidance=told.to(self.dtype) if self.guidance == "told" else None,
            return_dict=False,
        )
        velocity = output[0].to(z_t.dtype).transpose(1, 2).unflatten(2, (height, width))
        return F.pixel_shuffle(velocity, PATCH)

    def schedule_for(self, size: Size) -> FlowSchedule:
        return FlowSchedule.from_config(self.scheduler, (size[0] // PATCH) * (size[1] // PATCH))

    # --- inside -------------------------------------------------------------------------------------------------------

    def attention_sites(self, kind: SiteKind | None = None) -> tuple[AttentionSite, ...]:
        return self._sites if kind in (None, "joint") else ()

    @cached_property
    def _sites(self) -> tuple[AttentionSite, ...]:
        apart, together = self.network.transformer_blocks, self.network.single_transformer_blocks
        without_prompt = partial(_after, self.t5.max_tokens)
        return joint_sites(
            [(f"transformer_blocks.{i}.attn", block.attn, picture_first) for i, block in enumerate(apart)]
            + [(f"single_transformer_blocks.{i}.attn", block.attn, without_prompt) for i, block in enumerate(together)]
        )


def _after(tokens: int, output: Tensor) -> Tensor:
    """The picture's cells where the prompt's `tokens` come before them."""
    return output[:, tokens:]


def _places(height: int, width: int, device: torch.device) -> Tensor:
    """`(height * width, 3)`: 0, row and column of each token, which its rotary embedding turns by."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], -1).flatten(0, 1).float().to(device)


def _check_parts(transformer: Any, channels: int, clip: ClipText, t5: T5Text, name: str) -> None:
    """ModelUnavailable unless the parts fit each other; `transformer` is its configuration."""
    packed = channels * PATCH**2
    if transformer.in_channels != packed:
        more = " (a model that takes a picture too, such as Fill)" if transformer.in_channels > packed else ""
        raise ModelUnavailable(
            f"{name}: its transformer takes {transformer.in_channels} channels{more}, but packed latents have {packed}",
            "name a text-to-image FLUX.1 (dev, schnell)",
        )
    for what, wants, gives in (
        ("pooled embeddings", transformer.pooled_projection_dim, clip.encoder.config.hidden_size),
        ("prompt embeddings", transformer.joint_attention_dim, t5.encoder.config.d_model),
    ):
        if wants != gives:
            raise ModelUnavailable(
                f"{name}: the transformer wants {what} of {wants} numbers, the text encoder gives {gives}",
                "use parts that belong together",
            )
