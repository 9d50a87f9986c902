"""What a folder must hold, and its networks be like, to be a Stable Diffusion 1.x or 2.x of a kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gas.diffusion.backbone import ModelKind
from gas.errors import ModelUnavailable

NETWORKS = ("unet", "vae", "text_encoder")

KIND_REMEDIES: dict[ModelKind, str] = {
    "text-to-image": "name a text-to-image Stable Diffusion 1.x or 2.x",
    "instruction": "name an instruction model of the Stable Diffusion 1.x kind, such as timbrooks/instruct-pix2pix",
    "boxes": "name a GLIGEN model, such as masterful/gligen-1-4-inpainting-text-box",
}


def check_layout(folder: Path, pipeline: str, name: str) -> None:
    """ModelUnavailable unless the parts are there, of a model whose index names this `pipeline`."""
    if "XL" in pipeline or (folder / "text_encoder_2").exists():
        raise ModelUnavailable(
            f"{name} has the parts of a Stable Diffusion XL model, but its index names the pipeline {pipeline!r}",
            "correct _class_name in model_index.json, or name another model",
        )
    needed = [f"{place}/config.json" for place in NETWORKS] + ["tokenizer", "scheduler/scheduler_config.json"]
    missing = [file for file in needed if not (folder / file).exists()]
    if missing:
        raise ModelUnavailable(
            f"{name} is not a Stable Diffusion model in diffusers' layout: {', '.join(missing)} missing",
            "give a folder with unet, vae, text_encoder, tokenizer and scheduler",
        )


def check_parts(unet: Any, latent_channels: int, text_dim: int, prediction: str, kind: ModelKind, name: str) -> None:
    """ModelUnavailable unless the parts fit each other and are of the `kind`; `unet` is its configuration."""
    remedy = KIND_REMEDIES[kind]
    if kind == "boxes":
        _check_gated(unet, latent_channels, name, remedy)
    else:
        _check_channels(unet, latent_channels, kind, name, remedy)
    if getattr(unet, "addition_embed_type", None):
        raise ModelUnavailable(f"{name}: its UNet is one of the SDXL kind, beside one text encoder", remedy)
    if unet.cross_attention_dim != text_dim:
        raise ModelUnavailable(
            f"{name}: the UNet wants prompt embeddings of {unet.cross_attention_dim} numbers, "
            f"the text encoder gives {text_dim}",
            "use parts that belong together",
        )
    if prediction not in ("epsilon", "v_prediction"):
        raise ModelUnavailable(f"{name}: prediction type {prediction!r} is not supported", remedy)


def _check_channels(unet: Any, channels: int, kind: ModelKind, name: str, remedy: str) -> None:
    """A text-to-image UNet takes a noisy latent, an instruction model's the picture's beside it."""
    pictures = 1 if kind == "instruction" else 0
    if unet.in_channels == channels * (1 + pictures):
        return
    kinds = {
        channels: " (a text-to-image model)",
        2 * channels: " (an instruction model such as InstructPix2Pix)",
        2 * channels + 1: " (an inpainting model)",
    }
    raise ModelUnavailable(
        f"{name}: its UNet takes {unet.in_channels} channels{kinds.get(unet.in_channels, '')}, but "
        + (
            f"an instruction model takes {channels * (1 + pictures)}: the noisy latent and the picture's"
            if pictures
            else f"latents have {channels}"
        ),
        remedy,
    )


def _check_gated(unet: Any, channels: int, name: str, remedy: str) -> None:
    """GLIGEN's UNet takes phrases with boxes by gated attention, and a noisy latent, or one with the picture's and a
    mask."""
    kind = getattr(unet, "attention_type", None)
    if kind != "gated":
        pictures = " that take phrases alone (it takes pictures too)" if kind == "gated-text-image" else ""
        raise ModelUnavailable(
            f"{name} is not a GLIGEN model: its UNet has no gated attention layers{pictures}", remedy
        )
    if unet.in_channels not in (channels, 2 * channels + 1):
        raise ModelUnavailable(
            f"{name}: its UNet takes {unet.in_channels} channels, but a GLIGEN model takes {channels}, or "
            f"{2 * channels + 1} for inpainting",
            remedy,
        )
