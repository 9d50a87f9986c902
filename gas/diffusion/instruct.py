"""Models that edit by instruction: an InstructPix2Pix (Brooks et al. 2022, arXiv 2211.09800), its guidance with two
scales, and the sampler that makes a picture with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gas.checkpoint import of_this_run
from gas.diffusion.denoiser import to_epsilon
from gas.diffusion.schedule import Schedule
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import ResultRefused
from gas.remedies import USE_FP32

if TYPE_CHECKING:
    from pathlib import Path

    from gas.runtime import Runtime
    from gas.types import Image

NULL_ROW, IMAGE_ROW, TEXT_ROW = 0, 1, 2
"""Rows of a batch for one picture: told nothing, told the picture, told the picture and the instruction."""


@dataclass(frozen=True)
class InstructionNoise:
    """The three predictions that guidance needs, each `(n, C, h, w)`: told nothing, the picture, the picture and the
    instruction."""

    null: Tensor
    image: Tensor
    text: Tensor

    def guided(self, text_scale: float, image_scale: float) -> Tensor:
        """`eps(0, 0) + s_I (eps(c_I, 0) - eps(0, 0)) + s_T (eps(c_I, c_T) - eps(c_I, 0))` (InstructPix2Pix, eq. 3)."""
        return self.null + image_scale * (self.image - self.null) + text_scale * (self.text - self.image)


@dataclass(frozen=True)
class InstructionModel:
    """A frozen InstructPix2Pix: a Stable Diffusion whose UNet takes the source picture's latent beside the noisy one.

    `parts` encodes, decodes, embeds and holds the schedule.
    """

    parts: StableDiffusion

    @classmethod
    def load(
        cls, model: str, runtime: Runtime, *, variant: str | None = None, allow_pickle: bool = False
    ) -> InstructionModel:
        """The model that `resolve_model` understands; see `StableDiffusion.load`. ModelUnavailable (exit
        6), naming the channels, when its UNet does not take two latents."""
        return cls(StableDiffusion.load(model, runtime, variant=variant, allow_pickle=allow_pickle, pictures=1))

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        name: str | None = None,
    ) -> InstructionModel:
        """The model in a local folder of diffusers' layout, frozen. `name` is what errors call it."""
        return cls(StableDiffusion.from_folder(folder, device, dtype, name=name, pictures=1))

    @property
    def network(self) -> nn.Module:
        """The UNet, whose attention can be looked at."""
        return self.parts.unet

    def condition(self, image: Image) -> Tensor:
        """What the UNet is told of a picture `(H, W, 3)` uint8: its latent `(1, C, h, w)`, not scaled (as these models
        are trained)."""
        return self.parts.encode_unscaled(image)

    def embed(self, instruction: str) -> Tensor:
        """Embeddings `(2, tokens, dim)` of the null prompt and of the instruction. Warns of words that do not fit."""
        return self.parts.embed(["", instruction])

    @torch.no_grad()
    def predict(self, z_t: Tensor, t: int, condition: Tensor, embeddings: Tensor) -> InstructionNoise:
        """The three predictions for a noisy latent `z_t` `(1, C, h, w)` at time t, in one network call.

        `condition` is from `condition`, `embeddings` from `embed`; the rows are NULL_ROW, IMAGE_ROW, TEXT_ROW. A model
        that was trained to predict velocity is turned to noise.
        """
        parts = self.parts
        pictures = torch.cat([torch.zeros_like(condition), condition, condition]).to(z_t)
        rows = torch.cat([z_t.expand(3, -1, -1, -1), pictures], dim=1).to(parts.dtype)
        prompts = embeddings[[0, 0, 1]].to(parts.dtype)
        times = torch.full((3,), t, device=z_t.device)
        output = parts.unet(rows, times, prompts, return_dict=False)[0].to(z_t.dtype)
        eps = to_epsilon(output, parts.prediction, z_t, *parts.schedule.coefficients(times[:1], z_t.dtype))
        return InstructionNoise(*eps.split(1))


class Sampler:
    """From noise to a picture's latent with diffusers' DPM-Solver++ of second order (Lu et al. 2022, arXiv 2211.01095).

    `z` is the latent `(1, C, h, w)` after `done` of `steps` steps; `estimate` is what the last step took for the clean
    one.
    """

    def __init__(self, schedule: Schedule, steps: int, z: Tensor) -> None:
        from diffusers import DPMSolverMultistepScheduler

        kept = schedule.alphas_cumprod.double().cpu()
        betas = 1 - kept / torch.cat([kept.new_ones(1), kept[:-1]])
        # Predictions are turned to noise before they come here, so the scheduler knows only that kind.
        kind: Any = DPMSolverMultistepScheduler  # its methods are not typed
        self._scheduler = kind(num_train_timesteps=len(kept), trained_betas=betas.tolist(), prediction_type="epsilon")
        self._scheduler.set_timesteps(steps)
        self.steps = steps
        self.times: tuple[int, ...] = tuple(int(t) for t in self._scheduler.timesteps)
        self.z = z
        self.done = 0
        self.estimate: Tensor | None = None

    @property
    def t(self) -> int:
        """The time of the next step."""
        return self.times[self.done]

    def step(self, eps: Tensor) -> None:
        """Makes the step that the predicted noise `(1, C, h, w)` asks for. ResultRefused (exit 11) when the prediction,
        or what it leads to, is not finite."""
        where = f"step {self.done + 1} of {self.steps}, t = {self.t}"
        if not bool(torch.isfinite(eps).all()):
            raise ResultRefused(f"the network's prediction is not a finite number ({where})", USE_FP32)
        self.z = self._scheduler.step(eps, self._scheduler.timesteps[self.done], self.z, return_dict=False)[0]
        if not bool(torch.isfinite(self.z).all()):
            raise ResultRefused(f"the latent is not a finite number any more ({where})", "use a smaller guidance_scale")
        self.estimate = self._scheduler.model_outputs[-1]
        self.done += 1

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to go on bit for bit: tensors on the CPU and plain numbers."""
        state: dict[str, Any] = {"step": self.done, "z": self.z.cpu().clone()}
        return state if self.estimate is None else {**state, "estimate": self.estimate.cpu().clone()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`. InputRefused when it is not one of a run with this size and number of steps."""
        with of_this_run():
            if state["z"].shape != self.z.shape or not 0 <= state["step"] <= self.steps:
                raise ValueError("its size or number of steps differs")
            self.done, z = int(state["step"]), state["z"].to(self.z)
            self.estimate = state["estimate"].to(self.z) if self.done else None
        self.z = z
        self._scheduler.set_begin_index(self.done)
        self._scheduler.lower_order_nums = min(self.done, self._scheduler.config.solver_order)
        self._scheduler.model_outputs[-1] = self.estimate


def text_positions(model: StableDiffusion, prompt: str) -> Sequence[int]:
    """The positions of a prompt's tokens from its start mark to its end mark, both included, as far as the text encoder
    sees them."""
    count = len(model.tokenizer(prompt, verbose=False).input_ids)
    return range(min(count, model.max_tokens))


def token_names(model: StableDiffusion, prompt: str) -> list[str]:
    """The tokens at `text_positions`, as text; "start" and "end" for the marks."""
    ids = model.tokenizer(prompt, verbose=False).input_ids[: model.max_tokens]
    words = [model.tokenizer.decode([number]).strip() for number in ids]
    return ["start", *words[1:-1], "end"]
