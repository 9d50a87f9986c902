"""Writes the trained networks as a Stable Diffusion folder that diffusers loads, whole at every moment."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from gas_diorama import folders
from gas_diorama.train.train_unet import networks
from gas_diorama.train.training import log
from gas_diorama.world.networks import scheduler

WEIGHTS = folders.WEIGHTS / "sd"


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; at the end each of its files is renamed into its place in `folder`, so that those
    there are whole at every moment."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        partial = Path(name)
        yield partial
        for path in sorted(partial.rglob("*")):
            if path.is_file():
                target = folder / path.relative_to(partial)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.chmod(0o644)
                os.replace(path, target)


def export(out: Path, folder: Path = WEIGHTS) -> Path:
    """`folder`, which then holds the averaged weights of the last checkpoint under `out`: model_index.json, vae,
    text_encoder, tokenizer, unet, scheduler, in half precision."""
    vae, encoder, tokenizer, unet, state = networks(out)
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).to(dtype=torch.float16)
    with whole_folder(folder) as partial:
        pipeline.save_pretrained(partial, safe_serialization=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    log.info("exported step %s to %s: %.1f MB", state["step"], folder, size)
    return folder
