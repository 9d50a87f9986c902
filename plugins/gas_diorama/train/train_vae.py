"""Trains the diorama's AutoencoderKL: 128x128 pictures to 8x16x16 latents and back."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from gas_diorama.train.training import Average, learning_rate, load_checkpoint, log, save_checkpoint
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.drawing import silhouette
from gas_diorama.world.networks import cpu_generator, round_trip, to_tensor
from gas_diorama.world.scene import SIZE, Scene


@dataclass(frozen=True)
class VAESettings:
    """Size and schedule of the autoencoder's training."""

    channels: tuple[int, ...] = (16, 32, 64, 96)
    latent_channels: int = 8
    steps: int = 2800
    batch: int = 8
    peak: float = 2e-3
    warm_up: int = 100
    kl: float = 1e-4
    edges: float = 0.5
    average: float = 0.997
    scenes: int = 12000
    seed: int = 0
    save_every: int = 250
    measured: int = 512


def build_vae(settings: VAESettings) -> AutoencoderKL:
    """The untrained network."""
    depth = len(settings.channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * depth,
        up_block_types=("UpDecoderBlock2D",) * depth,
        block_out_channels=settings.channels,
        layers_per_block=1,
        latent_channels=settings.latent_channels,
        norm_num_groups=8,
        sample_size=128,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def psnr(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio in dB of each picture of two uint8 batches (n, h, w, 3)."""
    error = ((a.astype(np.float32) - b.astype(np.float32)) ** 2).mean(axis=(1, 2, 3))
    return 10 * np.log10(255**2 / np.maximum(error, 1e-6))


def edges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Differences of neighbours, along rows and along columns."""
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


@torch.no_grad()
def standardise(vae: AutoencoderKL, pictures: torch.Tensor) -> None:
    """Folds the latents' mean and deviation, channel by channel, into the two 1x1 convolutions around them, so that the
    posterior means have mean 0 and variance 1 over the pictures (n, 3, h, w) in [-1, 1] and `scaling_factor` is 1."""
    means = torch.cat([vae.encode(some.to(vae.device)).latent_dist.mean for some in pictures.split(32)])
    shift, scale = means.mean(dim=(0, 2, 3)), means.std(dim=(0, 2, 3))
    channels = len(shift)
    quant, post = vae.quant_conv, vae.post_quant_conv
    post.bias += (post.weight[:, :, 0, 0] * shift).sum(1)
    post.weight *= scale[None, :, None, None]
    quant.weight[:channels] /= scale[:, None, None, None]
    quant.bias[:channels] = (quant.bias[:channels] - shift) / scale
    quant.bias[channels:] -= 2 * scale.log()


@dataclass(frozen=True)
class DecoderSettings:
    """Schedule of the decoder's second training, in which the encoder, and so every latent, stays as it is.

    `thing` and `small` are added to the weight of a pixel where a thing, or a small thing, is; `small_share` is the
    share of each batch that is drawn from scenes with a small thing.
    """

    steps: int = 1200
    batch: int = 8
    peak: float = 6e-4
    warm_up: int = 50
    edges: float = 0.5
    thing: float = 3.0
    small: float = 9.0
    small_share: float = 0.5
    average: float = 0.995
    scenes: int = 8000
    seed: int = 50
    save_every: int = 100


def pixel_weights(scene: Scene, settings: DecoderSettings) -> np.ndarray:
    """Weight of each pixel, float32 (1, 128, 128): 1, `thing` more where a thing is, `small` more where it is a small
    one."""
    weights = np.ones((1, SIZE, SIZE), np.float32)
    for thing in scene.objects:
        more = settings.small if thing.is_small else settings.thing
        weights[0] = np.maximum(weights[0], 1 + more * silhouette(thing))
    return weights


def train_decoder(out: Path, settings: DecoderSettings, device: str = "cpu") -> AutoencoderKL:
    """The VAE of `out`/vae.pt with a decoder trained further, weighting things; goes on from `out`/decoder.pt.

    Latents do not change, so this may run before, after or while the denoiser trains.
    """
    state = load_checkpoint(out / "decoder.pt")
    vae = averaged_vae(out).to(device)
    vae_settings = (state or load_checkpoint(out / "vae.pt") or {})["vae_settings" if state is not None else "settings"]
    average, first = Average(vae, settings.average), 0
    parameters = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=settings.peak, betas=(0.9, 0.99), weight_decay=1e-4)
    if state is not None:
        vae.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        average.weights, first = {k: v.to(device) for k, v in state["average"].items()}, state["step"]
    banks = SceneBank(settings.scenes, settings.seed), SceneBank(settings.scenes, settings.seed + 1, small=True)
    few = round(settings.small_share * settings.batch)
    started, running = time.monotonic(), 0.0
    log.info("decoder: from step %d of %d", first, settings.steps)
    for step in range(first, settings.steps):
        known = min(settings.scenes, 1000 + settings.batch * step // 2)
        numbers = np.random.default_rng((settings.seed, step)).integers(0, known, settings.batch)
        drawn = list(zip(banks, (numbers[few:], numbers[:few]), strict=True))
        x = to_tensor(np.concatenate([bank.pictures(some) for bank, some in drawn])).to(device)
        weights = np.stack([pixel_weights(bank.scene(int(n)), settings) for bank, some in drawn for n in some])
        w = torch.from_numpy(weights).to(device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, settings.peak, settings.warm_up)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            with torch.no_grad():
                posterior = vae.encode(x).latent_dist
                noise = torch.randn(posterior.mean.shape, generator=cpu_generator(settings.seed, step)).to(device)
            y = vae.decode(posterior.mean + posterior.std * noise).sample
        y = y.float()
        error = (w * ((y - x).abs() + 2 * (y - x).square())).mean() / w.mean()
        sharp = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x), strict=True))
        optimiser.zero_grad(set_to_none=True)
        (error + settings.edges * sharp).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        average.update(vae, step)
        running = float(error) if step == first else 0.98 * running + 0.02 * float(error)
        last = step + 1 == settings.steps
        if step % 50 == 0 or last:
            rate = (step + 1 - first) * settings.batch / (time.monotonic() - started)
            log.info("decoder step %d weighted error %.4f, %.1f pictures/s", step, running, rate)
        if (step + 1) % settings.save_every == 0 or last:
            save_checkpoint(
                out / "decoder.pt",
                {
                    "network": vae.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "average": average.weights,
                    "step": step + 1,
                    "settings": asdict(settings),
                    "vae_settings": vae_settings,
                },
            )
    return averaged_vae(out)


def averaged_vae(out: Path) -> AutoencoderKL:
    """The network with the averaged, standardised weights of the last checkpoint under `out`, and the decoder of
    `out`/decoder.pt when that is there."""
    polished = load_checkpoint(out / "decoder.pt")
    if polished is not None:
        vae = build_vae(VAESettings(**polished["vae_settings"]))
        vae.load_state_dict(polished["average"])
        return vae.eval()
    state = load_checkpoint(out / "vae.pt")
    if state is None:
        raise FileNotFoundError(f"no VAE checkpoint in {out}: run `python -m gas_diorama.train vae --out {out}` first")
    settings = VAESettings(**state["settings"])
    vae = build_vae(settings)
    vae.load_state_dict(state["average"])
    vae.eval()
    standardise(vae, to_tensor(SceneBank(settings.measured, settings.seed).pictures(np.arange(settings.measured))))
    return vae


def train_vae(out: Path, settings: VAESettings, device: str = "cpu") -> AutoencoderKL:
    """The trained network; goes on from `out`/vae.pt when that is there.

    Loss: mean of absolute and squared error, absolute error of neighbour differences (edges) and a light KL term.
    """
    torch.manual_seed(settings.seed)
    vae = build_vae(settings).to(device).train()
    optimiser = torch.optim.AdamW(vae.parameters(), lr=settings.peak, betas=(0.9, 0.99), weight_decay=1e-4)
    average, first = Average(vae, settings.average), 0
    state = load_checkpoint(out / "vae.pt")
    if state is not None:
        vae.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        average.weights, first = {k: v.to(device) for k, v in state["average"].items()}, state["step"]
    bank = SceneBank(settings.scenes, settings.seed)
    log.info(
        "vae: %.2f M parameters, from step %d of %d",
        sum(p.numel() for p in vae.parameters()) / 1e6,
        first,
        settings.steps,
    )
    started, running = time.monotonic(), 0.0
    for step in range(first, settings.steps):
        known = min(settings.scenes, 1500 + settings.batch * step // 2)
        numbers = np.random.default_rng((settings.seed, step)).integers(0, known, settings.batch)
        x = to_tensor(bank.pictures(numbers)).to(device)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, settings.peak, settings.warm_up)
        with torch.autocast(x.device.type, dtype=torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=cpu_generator(settings.seed, step)).to(device)
            y = vae.decode(posterior.mean + posterior.std * noise).sample
        y = y.float()
        error = (y - x).abs().mean() + 2 * (y - x).square().mean()
        sharp = sum((a - b).abs().mean() for a, b in zip(edges(y), edges(x), strict=True))
        loss = error + settings.edges * sharp + settings.kl * posterior.kl().mean() / posterior.mean[0].numel()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        average.update(vae, step)
        running = float(error) if step == first else 0.98 * running + 0.02 * float(error)
        last = step + 1 == settings.steps
        if step % 100 == 0 or last:
            rate = (step + 1 - first) * settings.batch / (time.monotonic() - started)
            log.info("vae step %d error %.4f sharp %.4f, %.1f pictures/s", step, running, float(sharp), rate)
        if (step + 1) % settings.save_every == 0 or last:
            save_checkpoint(
                out / "vae.pt",
                {
                    "network": vae.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "average": average.weights,
                    "step": step + 1,
                    "settings": asdict(settings),
                },
            )
            mean = build_vae(settings).to(device)
            mean.load_state_dict(average.weights)
            held_out = SceneBank(32, settings.seed, part="validation").pictures(np.arange(32))
            log.info("vae step %d: held-out PSNR %.2f dB", step + 1, psnr(held_out, round_trip(mean, held_out)).mean())
    return averaged_vae(out)
