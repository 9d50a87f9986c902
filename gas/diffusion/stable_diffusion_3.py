"""The family of Stable Diffusion 3 and 3.5 (Esser et al. 2024, arXiv 2403.03206): a transformer, a rectified flow, and
three text encoders, of which the large one may be left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn import functional as F

from gas import notes
from gas.diffusion.attention.joint_sites import joint_sites, picture_first
from gas.diffusion.attention.sites import AttentionSite, SiteKind, Size
from gas.diffusion.backbone import Conditioning, ModelKind
from gas.diffusion.clip_text import ClipText
from gas.diffusion.latent_diffusion import LatentDiffusion
from gas.diffusion.loading import explained
from gas.diffusion.model_folder import ModelFolder
from gas.diffusion.parameterisation import Parameterisation
from gas.diffusion.schedule import FlowSchedule
from gas.diffusion.stable_diffusion_layout import KIND_REMEDIES
from gas.diffusion.t5_text import T5Text
from gas.errors import InputRefused, ModelUnavailable

T5_TOKENS = 256
"""Of its T5 encoder, as diffusers' pipeline cuts prompts; without the encoder as many rows of zeros."""
_NETWORKS = ("transformer", "vae", "text_encoder")
_OTHERS = ("tokenizer", "scheduler/scheduler_config.json")


@dataclass(frozen=True, eq=False, kw_only=True)
class StableDiffusion3(LatentDiffusion):
    """A frozen Stable Diffusion 3 or 3.5. Its rows are the tokens of both CLIP encoders, side by side and filled up
    with zeros, and then those of T5; "pooled" `(n, dim)` are the pooled embeddings of the CLIP encoders.

    Times are those of the flow, from 0 to 1; the network is told 1000 t. Transformer and T5 work in `dtype`, CLIP and
    VAE in fp32 at least. `t5` is None where the model has none: it then sees what CLIP sees. `second` is None for a
    small model of the same transformer whose index says that it has one encoder alone: its rows are that one's tokens,
    and nothing else.
    """

    family: ClassVar = "Stable Diffusion 3 model"

    network: Any  # diffusers.SD3Transformer2DModel
    first: ClipText
    second: ClipText | None
    t5: T5Text | None
    schedule: FlowSchedule
    parameterisation: Parameterisation = "velocity"

    @classmethod
    def _read(cls, here: ModelFolder, dtype: torch.dtype, kind: ModelKind) -> Self:
        from diffusers import SD3Transformer2DModel
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        here.check_kind(kind, KIND_REMEDIES[kind])
        here.refuse_adapters()
        alone, has_t5 = here.lacks("text_encoder_2"), (here.folder / "text_encoder_3").exists()
        others = [*([] if alone else ["_2"]), *(["_3"] if has_t5 else [])]
        here.check_layout(
            (*_NETWORKS, *(f"text_encoder{one}" for one in others)), (*_OTHERS, *(f"tokenizer{one}" for one in others))
        )
        once = torch.promote_types(dtype, torch.float32)
        with explained(here.name):
            transformer = here.part(SD3Transformer2DModel, "transformer", dtype)
            settings = transformer.config
            autoencoder = here.autoencoder(once, settings.patch_size)
            first = here.clip_text(CLIPTextModel if alone else CLIPTextModelWithProjection, "", once)
            second = None if alone else here.clip_text(CLIPTextModelWithProjection, "_2", once)
            t5 = here.t5_text("_3", dtype, T5_TOKENS) if has_t5 else None
            schedule = FlowSchedule.from_config(here.settings("scheduler/scheduler_config.json"), 0)
        _check_parts(settings, autoencoder.channels, first, second, t5, here.name)
        if t5 is None and not alone:
            notes.warn(
                f"{here.name} has no T5 encoder (text_encoder_3): its CLIP encoders alone read the prompts, of which "
                f"they see {first.max_tokens} tokens"
            )
        return cls(
            name=here.name,
            network=transformer,
            autoencoder=autoencoder,
            first=first,
            second=second,
            t5=t5,
            schedule=schedule,
            resolution=int(settings.sample_size) * autoencoder.factor,
            factor=autoencoder.factor,
            multiple=autoencoder.factor * int(settings.patch_size),
            device=here.device,
            dtype=dtype,
        )

    def networks(self) -> dict[str, Any]:
        encoders = {"text_encoder": self.first, "text_encoder_2": self.second, "text_encoder_3": self.t5}
        there = {place: one.encoder for place, one in encoders.items() if one is not None}
        return {**there, "transformer": self.network, "vae": self.autoencoder.vae}

    # --- predictions --------------------------------------------------------------------------------------------------

    def condition(self, prompts: Sequence[str], size: Size) -> Conditioning:
        """As `Backbone.condition`. InputRefused (exit 3) for latents larger than its position embeddings."""
        self._check_size(size)
        wide = self.network.config.joint_attention_dim
        if self.second is None:
            states, pooled = self.first.layer_before_last(prompts)
            return Conditioning(F.pad(states, (0, wide - states.shape[-1])), {"pooled": pooled})
        alone = self.t5 is None
        first, pooled = self.first.layer_before_last(prompts, warn=alone)
        second, pooled_2 = self.second.layer_before_last(prompts, warn=False)
        clip = torch.cat([first, second], dim=-1)
        large = clip.new_zeros(len(clip), T5_TOKENS, wide) if self.t5 is None else self.t5.states(prompts).to(clip)
        states = torch.cat([F.pad(clip, (0, wide - clip.shape[-1])), large], dim=1)
        return Conditioning(states, {"pooled": torch.cat([pooled, pooled_2], dim=-1)})

    def dropped_words(self, prompt: str) -> str:
        return (self.first if self.t5 is None else self.t5).dropped_words(prompt)

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        output = self.network(
            z_t.to(self.dtype),
            conditioning.embeddings.to(self.dtype),
            conditioning.extra["pooled"].to(self.dtype),
            1000 * t,
            return_dict=False,
        )
        return output[0].to(z_t.dtype)

    def _check_size(self, size: Size) -> None:
        most = self.network.config.pos_embed_max_size * self.network.config.patch_size * self.factor
        height, width = (side * self.factor for side in size)
        if max(height, width) > most:
            raise InputRefused(
                f"{self.name} knows places in pictures of up to {most} pixels a side, this one has {width}x{height}",
                f"make both sides {most} pixels or less",
            )

    # --- inside -------------------------------------------------------------------------------------------------------

    def attention_sites(self, kind: SiteKind | None = None) -> tuple[AttentionSite, ...]:
        return self._sites if kind in (None, "joint") else ()

    @cached_property
    def _sites(self) -> tuple[AttentionSite, ...]:
        blocks = enumerate(self.network.transformer_blocks)
        return joint_sites([(f"transformer_blocks.{i}.attn", block.attn, picture_first) for i, block in blocks])


def _check_parts(
    transformer: Any, channels: int, first: ClipText, second: ClipText | None, t5: T5Text | None, name: str
) -> None:
    """ModelUnavailable unless the parts fit each other; `transformer` is its configuration."""
    clip = [one.encoder.config for one in (first, second) if one is not None]
    wide = transformer.joint_attention_dim
    pooled = attrgetter("hidden_size" if second is None else "projection_dim")
    facts = [
        ("latents of {} channels", transformer.in_channels, channels),
        ("pooled embeddings of {} numbers", transformer.pooled_projection_dim, sum(map(pooled, clip))),
    ]
    if t5 is not None:
        facts.append(("prompt embeddings of {} numbers", wide, t5.encoder.config.d_model))
    for what, wants, gives in facts:
        if wants != gives:
            raise ModelUnavailable(
                f"{name}: the transformer wants {what.format(wants)}, the parts beside it give {gives}",
                "use parts that belong together",
            )
    if sum(one.hidden_size for one in clip) > wide:
        raise ModelUnavailable(
            f"{name}: its CLIP encoders give more numbers than the {wide} that its transformer takes",
            "use parts that belong together",
        )
