"""Trains the diorama's UNet2DConditionModel (v-prediction) on cached latents, and the text encoder along with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from gas_diorama.train.graphs import Loss
from gas_diorama.train.scene_cache import SceneCache, padded
from gas_diorama.train.train_text import TextSettings, build_text_encoder, load_tokenizer, train_text
from gas_diorama.train.train_vae import averaged_vae
from gas_diorama.train.training import fit, load_checkpoint, noise_like
from gas_diorama.world.language import caption
from gas_diorama.world.networks import cpu_generator, scheduler, to_pictures, token_ids
from gas_diorama.world.scene import GRID, sample_scene


@dataclass(frozen=True)
class UNetSettings:
    """Size and schedule of the denoiser's training."""

    channels: tuple[int, ...] = (96, 128, 144)
    heads: int = 2
    steps: int = 5000
    batch: int = 32
    peak: float = 1e-3
    warm_up: int = 150
    decay: float = 0.01
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


class Denoiser(nn.Module):
    """What is trained: the UNet and the text encoder in front of it. `body` is the UNet, or the UNet compiled."""

    def __init__(self, unet: UNet2DConditionModel, encoder: CLIPTextModel, compiled: bool = False) -> None:
        super().__init__()
        self.unet, self.encoder = unet, encoder
        self._body = [torch.compile(unet, dynamic=False) if compiled else unet]  # in a list: no part of the weights

    def forward(self, z: torch.Tensor, t: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """v for latents (n, c, 16, 16) at times (n,) and token ids (n, 77)."""
        return self._body[0](z, t, self.encoder(ids).last_hidden_state).sample


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
    vae, text_settings = averaged_vae(out), TextSettings(**state["text_settings"])
    tokenizer = load_tokenizer(out, text_settings)
    denoiser = build_denoiser(UNetSettings(**state["settings"]), text_settings, vae, tokenizer)
    denoiser.load_state_dict(state["average" if average else "network"])
    return vae, denoiser.encoder.eval(), tokenizer, denoiser.unet.eval(), state


def build_denoiser(
    settings: UNetSettings,
    text_settings: TextSettings,
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    compiled: bool = False,
) -> Denoiser:
    """Both networks untrained."""
    unet = build_unet(settings, vae.config.latent_channels, text_settings.width)
    return Denoiser(unet, build_text_encoder(text_settings, tokenizer), compiled)


def train_unet(
    out: Path,
    settings: UNetSettings,
    text_settings: TextSettings,
    device: str = "cpu",
    compiled: bool = False,
    until: float | None = None,
    cache: SceneCache | None = None,
    at_save: Callable[[], None] = lambda: None,
) -> None:
    """Trains UNet and text encoder together into `out`/unet.pt, going on from there when it is there.

    Args:
        out: folder with the autoencoder's checkpoint and the text encoder's, if that is there.
        settings: size and schedule.
        text_settings: of the text encoder.
        device: that trains.
        compiled: costs some minutes at the start and then trains about a fifth faster on a CPU.
        until: when to end, as `fit` takes it.
        cache: of training scenes, made with that autoencoder (default: a new one, which grows along the way).
        at_save: called after each checkpoint.
    """
    path = out / "unet.pt"
    vae = averaged_vae(out).to(device)
    tokenizer = load_tokenizer(out, text_settings)
    torch.manual_seed(settings.seed)
    learner = build_denoiser(settings, text_settings, vae, tokenizer, compiled).to(device).train()
    if not path.exists():
        learner.encoder.load_state_dict(train_text(out, text_settings, device)[0].state_dict())
    if torch.device(device).type == "cpu":
        learner.unet.set_attn_processor(AttnProcessor())  # plain attention trains faster than the fused one there
    alphas = scheduler().alphas_cumprod.to(device)
    scenes = cache or SceneCache(vae, tokenizer, settings.scenes, settings.seed)

    def batch_at(step: int) -> tuple[torch.Tensor, ...]:
        generator, n = cpu_generator(settings.seed, step), settings.batch
        scenes.grow(settings.first_scenes + settings.scenes_a_step * step)
        batch = scenes.batch(n, generator, settings.empty, settings.short)
        shares = (torch.rand(n, generator=generator) + torch.arange(n)) / n
        t = (shares * len(alphas)).long().to(device)
        return batch.latents, noise_like(batch.latents, generator), t, padded(batch.ids, tokenizer), batch.weights

    def loss_of(
        z: torch.Tensor, eps: torch.Tensor, t: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        alpha, sigma = alphas[t].sqrt()[:, None, None, None], (1 - alphas[t]).sqrt()[:, None, None, None]
        weights = weights * velocity_weights(alphas[t], settings.snr_limit)[:, None, None, None]
        with torch.autocast(torch.device(device).type, dtype=torch.bfloat16):
            guess = learner(alpha * z + sigma * eps, t, ids)
        return (weights * (guess.float() - (alpha * eps - sigma * z)).square()).mean()

    def saved(step: int, average: Mapping[str, torch.Tensor], last: bool) -> None:
        if step % settings.preview_every == 0 or last:
            mean = build_denoiser(settings, text_settings, vae, tokenizer).to(device).eval()
            mean.load_state_dict(average)
            sheet = preview(vae, mean.encoder, tokenizer, mean.unet, settings.previews)
            (out / "previews").mkdir(exist_ok=True)
            Image.fromarray(sheet).save(out / "previews" / f"step-{step:06d}.png")
        at_save()

    def rate(name: str) -> float:
        return 1.0 if name.startswith("unet.") else settings.text_peak / settings.peak

    kept = {"text_settings": asdict(text_settings)}
    fit(path, learner, settings, Loss(batch_at, loss_of), saved, rate, until=until, kept=kept)
