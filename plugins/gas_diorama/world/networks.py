"""What training, judging and benchmarks share about the diorama's networks: numbers in, pictures out."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from transformers import CLIPTokenizer

from gas_diorama.world.tokenizer import MAX_LENGTH


def token_ids(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """int64 (n, 77), padded and cut as Stable Diffusion's pipelines do."""
    return tokenizer(texts, padding="max_length", max_length=MAX_LENGTH, truncation=True, return_tensors="pt").input_ids


def scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule, told that the network predicts v."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def levels(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 pictures as networks take them: float32 in [-1, 1], of the same shape."""
    return pictures.float().div(127.5).sub(1)


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 (n, h, w, 3) to float32 (n, 3, h, w) in [-1, 1]."""
    return levels(torch.from_numpy(pictures).permute(0, 3, 1, 2))


def to_pictures(tensor: torch.Tensor) -> np.ndarray:
    """(n, 3, h, w) in [-1, 1] to uint8 (n, h, w, 3)."""
    return tensor.float().add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


@torch.no_grad()
def round_trip(vae: AutoencoderKL, pictures: np.ndarray, batch: int = 16) -> np.ndarray:
    """The pictures after encoding (posterior mean) and decoding: uint8, same shape."""
    done = []
    for start in range(0, len(pictures), batch):
        x = to_tensor(pictures[start : start + batch]).to(vae.device)
        done.append(to_pictures(vae.decode(vae.encode(x).latent_dist.mean).sample))
    return np.concatenate(done)


def cpu_generator(seed: int, step: int) -> torch.Generator:
    """A generator for one step: the noise of step n is the same whether or not the run was stopped before it."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
