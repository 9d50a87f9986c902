"""Trains the whole autoencoder further on pictures that are on the device already, before the networks that rest on its
latents: what a GPU does in a minute. `train_vae` trains it from nothing, and `train_decoder` its decoder alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from gas_diorama.train.graphs import Loss
from gas_diorama.train.scene_cache import SceneCache
from gas_diorama.train.train_vae import averaged_vae, edges, standardise
from gas_diorama.train.training import fit, load_checkpoint, noise_like, save_checkpoint
from gas_diorama.world.networks import cpu_generator, levels
from gas_diorama.world.scene import CELL


@dataclass(frozen=True)
class AutoencoderSettings:
    """Schedule: as `VAESettings`, with the weights of cells in the error (things, small things more)."""

    steps: int = 10**8
    batch: int = 128
    peak: float = 1e-3
    warm_up: int = 100
    decay: float = 1e-4
    average: float = 0.999
    kl: float = 1e-4
    edges: float = 0.5
    measured: int = 2048
    seed: int = 0
    save_every: int = 10**8


def train_autoencoder(
    out: Path, settings: AutoencoderSettings, scenes: SceneCache, device: str, until: float | None = None
) -> None:
    """Goes on from the autoencoder in `out`/decoder.pt, which `restore` writes, (or from `out`/autoencoder.pt) and puts
    it there, standardised anew. The latents of `scenes`, which keeps its pictures, are made anew."""
    vae = averaged_vae(out).to(device).train()

    def batch_at(step: int) -> tuple[Tensor, ...]:
        generator = cpu_generator(settings.seed + 60, step)
        index = torch.randint(scenes.known, (settings.batch,), generator=generator).to(device)
        eps = noise_like(scenes.latents[index].float(), generator)
        return scenes.pictures[index], scenes.weights[index].float(), eps

    def loss_of(pictures: Tensor, weights: Tensor, eps: Tensor) -> Tensor:
        x, w = levels(pictures), interpolate(weights, scale_factor=CELL)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            y = vae.decode(posterior.mean + posterior.std * eps).sample
        y = y.float()
        error = (w * ((y - x).abs() + 2 * (y - x).square())).mean() / w.mean()
        sharp = torch.stack([(a - b).abs().mean() for a, b in zip(edges(y), edges(x), strict=True)]).sum()
        divergence = posterior.kl().mean() / posterior.mean[0].numel()
        return error + settings.edges * sharp + settings.kl * divergence

    def saved(step: int, average: Mapping[str, Tensor], last: bool) -> None:
        if not last:
            return
        vae.load_state_dict(average)
        vae.eval()
        standardise(vae, levels(scenes.pictures[: min(settings.measured, scenes.known)]))
        scenes.encode(vae)
        kept = {name: value.cpu() for name, value in vae.state_dict().items()}
        state = load_checkpoint(out / "decoder.pt")
        assert state is not None
        save_checkpoint(out / "decoder.pt", state | {"network": kept, "average": kept})

    fit(out / "autoencoder.pt", vae, settings, Loss(batch_at, loss_of), saved, until=until)
