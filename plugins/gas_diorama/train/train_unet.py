"""Trains the diorama's UNet2DConditionModel (v-prediction) on cached latents, and the text encoder along with it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from gas_diorama.train.train_text import TextSettings, build_text_encoder, load_tokenizer, train_text
from gas_diorama.train.train_vae import averaged_vae
from gas_diorama.train.training import Average, learning_rate, load_checkpoint, log, save_checkpoint
from gas_diorama.world.drawing import render, silhouette
from gas_diorama.world.language import caption, training_text
from gas_diorama.world.networks import cpu_generator, scheduler, to_pictures, to_tensor, token_ids
from gas_diorama.world.scene import CELL, SIZE, Scene, sample_scene

GRID = SIZE // CELL


@dataclass(frozen=True)
class UNetSettings:
    """Size and schedule of the denoiser's training."""

    channels: tuple[int, ...] = (96, 128, 144)
    heads: int = 2
    steps: int = 5000
    batch: int = 32
    peak: float = 1e-3
    warm_up: int = 150
    text_peak: float = 3e-4
    average: float = 0.999
    snr_limit: float = 5.0
    empty: float = 0.12
    short: float = 0.33
    scenes: int = 50000
    first_scenes: int = 6000
    scenes_a_step: int = 10
    seed: int = 0
    save_every: int = 250
    preview_every: int = 500
    previews: int = 24


def build_unet(settings: UNetSettings, latent_channels: int, text_width: int) -> UNet2DConditionModel:
    """The untrained network: three levels, cross attention on the upper two and in the middle."""
    return UNet2DConditionModel(
        sample_size=GRID,
        in_channels=latent_channels,
        out_channels=latent_channels,
        block_out_channels=settings.channels,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=text_width,
        attention_head_dim=settings.heads,
        norm_num_groups=16,
    )


class LatentBank:
    """Latents and weights of numbered training scenes, made when first asked for and kept: 4.5 kB a scene.

    Args:
        vae: the trained autoencoder.
        count: how many different scenes there are.
        seed: another seed, other scenes.
    """

    def __init__(self, vae: AutoencoderKL, count: int, seed: int) -> None:
        self.vae, self.seed = vae, seed
        self.known = np.zeros(count, bool)
        self.scenes: list[Scene | None] = [None] * count
        self.latents = torch.zeros((count, vae.config.latent_channels, GRID, GRID), dtype=torch.float16)
        self.weights = torch.zeros((count, 1, GRID, GRID), dtype=torch.float16)

    @torch.no_grad()
    def _make(self, numbers: np.ndarray) -> None:
        scenes = [sample_scene(np.random.default_rng((self.seed, 1, int(n))), part="train") for n in numbers]
        pictures = to_tensor(np.stack([render(scene) for scene in scenes])).to(self.vae.device)
        with torch.autocast(pictures.device.type, dtype=torch.bfloat16):
            latents = self.vae.encode(pictures).latent_dist.mean
        for n, scene, latent in zip(numbers, scenes, latents, strict=True):
            self.scenes[n], self.latents[n], self.weights[n] = scene, latent.cpu().half(), cell_weights(scene)
        self.known[numbers] = True

    def batch(self, numbers: np.ndarray) -> tuple[list[Scene], torch.Tensor, torch.Tensor]:
        """Scenes, latents float32 (n, c, 16, 16) and loss weights float32 (n, 1, 16, 16)."""
        missing = np.unique(numbers[~self.known[numbers]])
        if len(missing):
            self._make(missing)
        index = torch.from_numpy(numbers)
        scenes = [scene for scene in (self.scenes[n] for n in numbers) if scene is not None]
        return scenes, self.latents[index].float(), self.weights[index].float()


def cell_weights(scene: Scene) -> torch.Tensor:
    """Weight of each latent cell in the loss, (1, 16, 16): 1, more where a thing is, and most where it is a small
    one."""
    weights = torch.ones(1, GRID, GRID)
    for thing in scene.objects:
        cover = torch.from_numpy(silhouette(thing))[None, None]
        share = nn.functional.max_pool2d(cover, CELL)[0]
        weights = torch.maximum(weights, 1 + (5 if thing.is_small else 2) * share)
    return weights


def velocity_weights(alphas: torch.Tensor, limit: float) -> torch.Tensor:
    """Weights of the v loss at cumulative alphas: min(snr + 1, limit) / (snr + 1), so that the clean end counts less.
    Min-SNR (Hang et al. 2023) has min(snr, limit) above; with the one added, the noisy end, where words decide most,
    keeps weight 1."""
    snr = alphas / (1 - alphas)
    return (snr + 1).clamp(max=limit) / (snr + 1)


@torch.no_grad()
def sample_latents(
    unet: UNet2DConditionModel,
    text: torch.Tensor,
    empty: torch.Tensor,
    seed: int,
    guidance_scale: float = 4.0,
    steps: int = 25,
) -> torch.Tensor:
    """Latents drawn by DDIM for text states (n, 77, d) with the states of the empty text (1, 77, d): (n, c, 16, 16)."""
    plan = scheduler()
    plan.set_timesteps(steps)
    n = len(text)
    z = torch.randn((n, unet.config.in_channels, GRID, GRID), generator=torch.Generator().manual_seed(seed)).to(
        text.device
    )
    rows = torch.cat([empty.expand(n, -1, -1), text])
    for t in plan.timesteps:
        v = unet(torch.cat([z, z]), t, rows).sample.float()
        uncond, cond = v.chunk(2)
        z = plan.step(uncond + guidance_scale * (cond - uncond), t, z).prev_sample
    return z


@torch.no_grad()
def preview(
    vae: AutoencoderKL, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, unet: UNet2DConditionModel, count: int
) -> np.ndarray:
    """A sheet of pictures for the plain captions of the first `count` validation scenes, eight in a row: uint8 (h, w,
    3)."""
    device = unet.device
    captions = [caption(sample_scene(np.random.default_rng((5, n)), part="validation")) for n in range(count)]
    with torch.autocast(device.type, dtype=torch.bfloat16):
        text = encoder(token_ids(tokenizer, captions).to(device)).last_hidden_state
        empty = encoder(token_ids(tokenizer, [""]).to(device)).last_hidden_state
        latents = sample_latents(unet, text, empty, seed=0)
        pictures = to_pictures(vae.decode(latents).sample)
    return np.vstack([np.hstack(list(pictures[row : row + 8])) for row in range(0, count, 8)])


def networks(
    out: Path, average: bool = True
) -> tuple[AutoencoderKL, CLIPTextModel, CLIPTokenizer, UNet2DConditionModel, Mapping[str, object]]:
    """VAE, text encoder, tokenizer and UNet of the last checkpoint under `out` (averaged weights, or the last ones),
    and its state."""
    state = load_checkpoint(out / "unet.pt")
    if state is None:
        raise FileNotFoundError(
            f"no UNet checkpoint in {out}: run `python -m gas_diorama.train unet --out {out}` first"
        )
    settings, text_settings = UNetSettings(**state["settings"]), TextSettings(**state["text_settings"])
    vae = averaged_vae(out)
    tokenizer = load_tokenizer(out, text_settings)
    encoder = build_text_encoder(text_settings, tokenizer)
    unet = build_unet(settings, vae.config.latent_channels, text_settings.width)
    chosen = "average" if average else "network"
    unet.load_state_dict(state[chosen])
    encoder.load_state_dict(state[f"text_{chosen}"])
    return vae, encoder.eval(), tokenizer, unet.eval(), state


def train_unet(
    out: Path, settings: UNetSettings, text_settings: TextSettings, device: str = "cpu", compiled: bool = False
) -> None:
    """Trains UNet and text encoder together into `out`/unet.pt, going on from there when it is there. `compiled` costs
    some minutes at the start and then trains about a fifth faster on a CPU."""
    encoder, tokenizer = train_text(out, text_settings, device)
    vae = averaged_vae(out).to(device)
    torch.manual_seed(settings.seed)
    unet = build_unet(settings, vae.config.latent_channels, text_settings.width).to(device).train()
    unet.set_attn_processor(AttnProcessor())  # plain attention trains faster than the fused one on CPUs
    encoder.train()
    denoise = torch.compile(unet, dynamic=False) if compiled else unet
    optimiser = torch.optim.AdamW(
        [
            {"params": list(unet.parameters()), "peak": settings.peak},
            {"params": list(encoder.parameters()), "peak": settings.text_peak},
        ],
        lr=settings.peak,
        betas=(0.9, 0.99),
        weight_decay=0.01,
        fused=True,
    )
    average, text_average, first = Average(unet, settings.average), Average(encoder, settings.average), 0
    state = load_checkpoint(out / "unet.pt")
    if state is not None:
        unet.load_state_dict(state["network"])
        encoder.load_state_dict(state["text_network"])
        optimiser.load_state_dict(state["optimiser"])
        average.weights = {k: v.to(device) for k, v in state["average"].items()}
        text_average.weights = {k: v.to(device) for k, v in state["text_average"].items()}
        first = state["step"]
    bank = LatentBank(vae, settings.scenes, settings.seed)
    alphas = scheduler().alphas_cumprod
    size = sum(p.numel() for p in unet.parameters()) / 1e6
    log.info("unet: %.2f M parameters, from step %d of %d", size, first, settings.steps)
    started, running = time.monotonic(), 0.0
    for step in range(first, settings.steps):
        rng = np.random.default_rng((settings.seed, 2, step))
        noise_rng = cpu_generator(settings.seed, step)
        known = min(settings.scenes, settings.first_scenes + settings.scenes_a_step * step)
        scenes, z, weights = bank.batch(rng.integers(0, known, settings.batch))
        ids = token_ids(tokenizer, [training_text(s, rng, settings.empty, settings.short) for s in scenes])
        shares = (torch.rand(settings.batch, generator=noise_rng) + torch.arange(settings.batch)) / settings.batch
        t = (shares * len(alphas)).long()
        eps = torch.randn(z.shape, generator=noise_rng)
        alpha, sigma = alphas[t].sqrt()[:, None, None, None], (1 - alphas[t]).sqrt()[:, None, None, None]
        weights = weights * velocity_weights(alphas[t], settings.snr_limit)[:, None, None, None]
        z_t, v = alpha * z + sigma * eps, alpha * eps - sigma * z
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, settings.steps, group["peak"], settings.warm_up)
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            states = encoder(ids.to(device)).last_hidden_state
            guess = denoise(z_t.to(device), t.to(device), states).sample
        loss = (weights.to(device) * (guess.float() - v.to(device)).square()).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*unet.parameters(), *encoder.parameters()], 1.0)
        optimiser.step()
        average.update(unet, step)
        text_average.update(encoder, step)
        running = loss.item() if step == first else 0.98 * running + 0.02 * loss.item()
        last = step + 1 == settings.steps
        if step % 50 == 0 or last:
            rate = (step + 1 - first) * settings.batch / (time.monotonic() - started)
            log.info("unet step %d loss %.4f, %.1f samples/s", step, running, rate)
        if (step + 1) % settings.save_every == 0 or last:
            save_checkpoint(
                out / "unet.pt",
                {
                    "network": unet.state_dict(),
                    "text_network": encoder.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "average": average.weights,
                    "text_average": text_average.weights,
                    "step": step + 1,
                    "settings": asdict(settings),
                    "text_settings": asdict(text_settings),
                },
            )
        if (step + 1) % settings.preview_every == 0 or last:
            mean_unet = build_unet(settings, vae.config.latent_channels, text_settings.width).to(device).eval()
            mean_unet.load_state_dict(average.weights)
            mean_encoder = build_text_encoder(text_settings, tokenizer).to(device).eval()
            mean_encoder.load_state_dict(text_average.weights)
            sheet = preview(vae, mean_encoder, tokenizer, mean_unet, settings.previews)
            (out / "previews").mkdir(exist_ok=True)
            Image.fromarray(sheet).save(out / "previews" / f"step-{step + 1:06d}.png")
