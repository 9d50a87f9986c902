"""Checkpoints made from shipped weights, so that training goes on where no checkpoint was kept."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from gas_diorama.train.export import WEIGHTS
from gas_diorama.train.train_text import TextSettings
from gas_diorama.train.train_unet import Denoiser, UNetSettings
from gas_diorama.train.train_vae import DecoderSettings, VAESettings
from gas_diorama.train.training import log, save_checkpoint


def restore(out: Path, folder: Path = WEIGHTS) -> None:
    """Writes tokenizer, decoder.pt and unet.pt under `out` from the diffusers folder `folder`, at step 0 of a schedule.

    What was shipped are averaged weights in half precision; the optimisers' state is not shipped and starts empty.
    Nothing is overwritten.

    Raises:
        FileExistsError: `out` has checkpoints already.
    """
    for name in ("vae.pt", "decoder.pt", "unet.pt", "text.pt"):
        if (out / name).exists():
            raise FileExistsError(f"{out / name} is there already: restore into another folder (--out)")
    vae = AutoencoderKL.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32)
    vae_settings = VAESettings(
        channels=tuple(vae.config.block_out_channels), latent_channels=vae.config.latent_channels
    )
    text = TextSettings(
        width=encoder.config.hidden_size,
        layers=encoder.config.num_hidden_layers,
        heads=encoder.config.num_attention_heads,
    )
    settings = UNetSettings(channels=tuple(unet.config.block_out_channels), heads=unet.config.attention_head_dim)
    decoder = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    shutil.copytree(folder / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    save_checkpoint(
        out / "decoder.pt",
        {
            "network": vae.state_dict(),
            "average": vae.state_dict(),
            "optimiser": torch.optim.AdamW(decoder, betas=(0.9, 0.99), weight_decay=1e-4).state_dict(),
            "step": 0,
            "settings": asdict(DecoderSettings()),
            "vae_settings": asdict(vae_settings),
        },
    )
    weights = Denoiser(unet, encoder).state_dict()
    save_checkpoint(
        out / "unet.pt",
        {
            "network": weights,
            "average": weights,
            "step": 0,
            "settings": asdict(settings),
            "text_settings": asdict(text),
        },
    )
    log.info("restored %s from %s", out, folder)
