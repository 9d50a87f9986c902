"""Stable Diffusion 1.x and 2.x from the parts that diffusers saves: a hub repository or a local folder in its
layout."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gas.diffusion.adapters import adapt_all, find_base
from gas.diffusion.denoiser import to_epsilon
from gas.diffusion.loading import explained, has_safetensors
from gas.diffusion.schedule import Schedule
from gas.errors import InputRefused, ModelUnavailable, ResultRefused
from gas.models.hub import snapshot
from gas.models.manifest import resolve_model
from gas.process import check_loading
from gas.remedies import USE_FP32

if TYPE_CHECKING:
    from gas.runtime import Runtime
    from gas.types import Image

_WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
_PICKLES = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "pytorch_model"}


@dataclass(frozen=True)
class StableDiffusion:
    """A frozen latent diffusion model: a `gas.diffusion.denoiser.Denoiser` with its encoder and decoder of pictures.

    The UNet works in `dtype`. The text encoder and the VAE work in fp32 (fp64 beside an fp64 UNet): they run once, and
    what they round off would be seen in the picture.
    """

    unet: Any  # diffusers.UNet2DConditionModel
    vae: Any  # diffusers.AutoencoderKL
    text_encoder: Any  # transformers.CLIPTextModel
    tokenizer: Any  # transformers.CLIPTokenizer
    schedule: Schedule
    prediction: str
    device: torch.device
    dtype: torch.dtype

    @classmethod
    def load(
        cls,
        model: str,
        runtime: Runtime,
        *,
        variant: str | None = None,
        allow_pickle: bool = False,
        pictures: int = 0,
        gated: bool = False,
    ) -> StableDiffusion:
        """The model that `resolve_model` understands, shared in `runtime`; downloaded when it is a hub id.

        Weights are safetensors; `.bin` files are read (tensors only) with `allow_pickle`. `variant` is the middle
        part of the weights' file names ("fp16"). `pictures` is how many latents of pictures the UNet takes beside the
        noisy one: 0 for text to image, 1 for an instruction model (see `gas.diffusion.instruct`); `gated` asks for a
        GLIGEN model (see `gas.diffusion.gligen`). ModelUnavailable (exit 6): missing, access refused, offline and not
        in the cache, or not a Stable Diffusion 1.x or 2.x of that kind.
        """
        device, dtype = runtime.torch_device(), runtime.torch_dtype()
        key = ("stable-diffusion", model, variant, allow_pickle, pictures, gated, str(device), dtype)

        def load() -> StableDiffusion:
            source = resolve_model(model)
            patterns = _hub_files(variant, allow_pickle)
            folder = Path(source.location) if source.local else snapshot(source, patterns, runtime.offline)
            kind: dict[str, Any] = {"pictures": pictures, "gated": gated}
            return cls.from_folder(
                folder, device, dtype, name=model, variant=variant, allow_pickle=allow_pickle, **kind
            )

        return runtime.shared(key, load)

    @classmethod
    def from_folder(
        cls,
        folder: Path | str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        name: str | None = None,
        variant: str | None = None,
        allow_pickle: bool = False,
        pictures: int = 0,
        gated: bool = False,
    ) -> StableDiffusion:
        """The model in a local folder of diffusers' layout, or of an adapter on one (`gas.diffusion.adapters`), frozen.
        `name` is what errors call it; the rest as in `load`."""
        from diffusers import AutoencoderKL, UNet2DConditionModel
        from transformers import CLIPTextModel, CLIPTokenizer

        folder, device = Path(folder), torch.device(device)
        name = name or str(folder)
        folder, adapters = find_base(folder)
        _check_layout(folder, name)
        once = torch.promote_types(dtype, torch.float32)

        def part(kind: Any, place: str, dtype: torch.dtype) -> Any:
            check_loading()
            files = (folder / place, _WEIGHTS[place], _PICKLES[place])
            safe = has_safetensors(*files, name, allow_pickle, place=place)
            options: dict[str, Any] = {"use_safetensors": safe, "local_files_only": True, "variant": variant}
            network = kind.from_pretrained(str(folder / place), torch_dtype=dtype, **options)
            return network.to(device).eval().requires_grad_(False)

        with explained(name):
            scheduler = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
            model = cls(
                unet=adapt_all(part(UNet2DConditionModel, "unet", dtype), adapters),
                vae=part(AutoencoderKL, "vae", once),
                text_encoder=part(CLIPTextModel, "text_encoder", once),
                tokenizer=CLIPTokenizer.from_pretrained(str(folder / "tokenizer"), local_files_only=True),
                schedule=Schedule.from_config(scheduler).to(device),
                prediction=scheduler.get("prediction_type", "epsilon"),
                device=device,
                dtype=dtype,
            )
        model._check(name, pictures, gated)
        return model

    # --- a Denoiser ---------------------------------------------------------------------------------------------------

    @property
    def network(self) -> nn.Module:
        return self.unet

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> Tensor:
        """`(n, tokens, dim)`: the text encoder's last hidden states. Warns of words that do not fit into its tokens."""
        tokens = self.tokens(prompts)
        masked = getattr(self.text_encoder.config, "use_attention_mask", False)
        return self.text_encoder(tokens.input_ids, tokens.attention_mask if masked else None).last_hidden_state

    def predict(self, z_t: Tensor, t: Tensor, embedding: Tensor) -> Tensor:
        """The noise `(n, C, h, w)` in the dtype of `z_t`, for latents `(n, C, h, w)`, t `(n,)`, embeddings `(n,
        tokens, dim)`."""
        output = self.unet(z_t.to(self.dtype), t, embedding.to(self.dtype), return_dict=False)[0].to(z_t.dtype)
        return to_epsilon(output, self.prediction, z_t, *self.schedule.coefficients(t, z_t.dtype))

    # --- prompts ------------------------------------------------------------------------------------------------------

    @property
    def max_tokens(self) -> int:
        """How many tokens the text encoder sees, its two marks included (77 for CLIP)."""
        return min(self.tokenizer.model_max_length, self.text_encoder.config.max_position_embeddings)

    def tokens(self, prompts: Sequence[str]) -> Any:
        """What the text encoder is given for `prompts`: `input_ids` and `attention_mask`, each `(n, tokens)`. Warns of
        words that do not fit into its tokens."""
        for prompt in prompts:
            if words := self.dropped_words(prompt):
                warnings.warn(
                    f"the prompt {_shortened(prompt)!r} has more than {self.max_tokens} tokens; "
                    f"the model does not see: {words!r}",
                    stacklevel=3,
                )
        return self.tokenizer(
            list(prompts), padding="max_length", max_length=self.max_tokens, truncation=True, return_tensors="pt"
        ).to(self.device)

    def dropped_words(self, prompt: str) -> str:
        """The end of `prompt` that the text encoder does not see, from the first word that is not whole; "" if all
        fits."""
        tokens = self.tokenizer(prompt, return_offsets_mapping=True, verbose=False)
        if len(tokens.input_ids) <= self.max_tokens:
            return ""
        first = tokens.offset_mapping[self.max_tokens - 1][0]
        while first and not prompt[first - 1].isspace():
            first -= 1
        return prompt[first:]

    # --- pictures -----------------------------------------------------------------------------------------------------

    @property
    def factor(self) -> int:
        """Pixels on a side of a latent cell (8)."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def resolution(self) -> int:
        """Side in pixels of the square pictures that the UNet was trained on."""
        size = self.unet.config.sample_size
        sides = (size, size) if isinstance(size, int) else tuple(size or (64, 64))
        return round(math.sqrt(sides[0] * sides[1])) * self.factor

    @torch.no_grad()
    def encode(self, image: Image) -> Tensor:
        """The latent `(1, C, h, w)` of a picture `(H, W, 3)` uint8: the posterior's mean, scaled (DDS notebook, cell
        6)."""
        mean = self.encode_unscaled(image)
        shift, scale = self._latent_scale(mean)
        return (mean - shift) * scale

    @torch.no_grad()
    def encode_unscaled(self, image: Image) -> Tensor:
        """The posterior's mean `(1, C, h, w)` for a picture `(H, W, 3)` uint8, as the VAE itself gives it. InputRefused
        when the picture's sides do not divide into latent cells."""
        height, width = image.shape[:2]
        if height % self.factor or width % self.factor:
            raise InputRefused(
                f"a picture of {width}x{height} pixels does not divide into latent cells of {self.factor}",
                f"make both sides multiples of {self.factor}",
            )
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].to(self.device, self.vae.dtype) / 127.5 - 1
        return self.vae.encode(pixels).latent_dist.mean

    @torch.no_grad()
    def decode(self, z: Tensor) -> Image:
        """The picture `(H, W, 3)` uint8 of a latent `(1, C, h, w)`. ResultRefused when the decoder gives no finite
        numbers."""
        shift, scale = self._latent_scale(z)
        pixels = self.vae.decode((z / scale + shift).to(self.vae.dtype), return_dict=False)[0][0]
        if not bool(torch.isfinite(pixels).all()):
            raise ResultRefused("the decoder's picture is not finite numbers", USE_FP32)
        image = ((pixels + 1) * 127.5).clamp(0, 255).round().byte()
        return image.permute(1, 2, 0).cpu().numpy()

    def round_trip_db(self, image: Image, z: Tensor | None = None) -> float:
        """PSNR in dB between a picture and what is left of it after encoding and decoding: how well the model knows
        its kind."""
        again = self.decode(self.encode(image) if z is None else z)
        error = float(np.square(again.astype(np.float64) - image).mean())
        return 10 * math.log10(255**2 / error) if error else math.inf

    def _latent_scale(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """What to subtract from, and then to multiply, the VAE's own latents with."""
        config = self.vae.config
        shift = torch.tensor(getattr(config, "shift_factor", None) or 0.0).to(like)
        scale = torch.tensor(config.scaling_factor).to(like)
        if getattr(config, "latents_mean", None) is not None:
            shift = torch.tensor(config.latents_mean).to(like).view(1, -1, 1, 1)
        if getattr(config, "latents_std", None) is not None:
            scale = scale / torch.tensor(config.latents_std).to(like).view(1, -1, 1, 1)
        return shift, scale

    def _check(self, name: str, pictures: int, gated: bool) -> None:
        unet, vae, text = self.unet.config, self.vae.config, self.text_encoder.config
        remedy = "name a text-to-image Stable Diffusion 1.x or 2.x"
        if pictures:
            remedy = "name an instruction model of the Stable Diffusion 1.x kind, such as timbrooks/instruct-pix2pix"
        if gated:
            remedy = "name a GLIGEN model, such as masterful/gligen-1-4-inpainting-text-box"
        channels = vae.latent_channels
        if gated:
            self._check_gated(name, remedy)
        elif unet.in_channels != channels * (1 + pictures):
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
        if getattr(unet, "addition_embed_type", None):
            raise ModelUnavailable(f"{name}: a UNet of the SDXL kind is not supported by this editor", remedy)
        if unet.cross_attention_dim != text.hidden_size:
            raise ModelUnavailable(
                f"{name}: the UNet wants prompt embeddings of {unet.cross_attention_dim} numbers, "
                f"the text encoder gives {text.hidden_size}",
                "use parts that belong together",
            )
        if self.prediction not in ("epsilon", "v_prediction"):
            raise ModelUnavailable(f"{name}: prediction type {self.prediction!r} is not supported", remedy)

    def _check_gated(self, name: str, remedy: str) -> None:
        """GLIGEN's UNet takes phrases with boxes by gated attention, and a noisy latent, or one with the picture's and
        a mask."""
        unet, channels = self.unet.config, self.vae.config.latent_channels
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


def _hub_files(variant: str | None, allow_pickle: bool) -> list[str]:
    """The files of a hub repository that are needed, so that nothing else is downloaded."""
    middle = f".{variant}" if variant else ""
    wanted = ["model_index.json", "*/*.json", "tokenizer/*"]
    wanted += [f"{place}/{stem}{middle}.safetensors" for place, stem in _WEIGHTS.items()]
    return wanted + ([f"{place}/{stem}{middle}.bin" for place, stem in _PICKLES.items()] if allow_pickle else [])


def _check_layout(folder: Path, name: str) -> None:
    if folder.is_file():
        raise ModelUnavailable(
            f"{name} is a single file",
            "give a folder in diffusers' layout (unet, vae, text_encoder, tokenizer, scheduler)",
        )
    index = folder / "model_index.json"
    pipeline = str(json.loads(index.read_text()).get("_class_name", "")) if index.exists() else ""
    if "XL" in pipeline or (folder / "text_encoder_2").exists():
        raise ModelUnavailable(
            f"{name} is a Stable Diffusion XL model, which this editor does not support",
            "name a Stable Diffusion 1.x or 2.x",
        )
    needed = [f"{place}/config.json" for place in _WEIGHTS] + ["tokenizer", "scheduler/scheduler_config.json"]
    missing = [file for file in needed if not (folder / file).exists()]
    if missing:
        raise ModelUnavailable(
            f"{name} is not a Stable Diffusion model in diffusers' layout: {', '.join(missing)} missing",
            "give a folder with unet, vae, text_encoder, tokenizer and scheduler",
        )


def _shortened(prompt: str, length: int = 60) -> str:
    return prompt if len(prompt) <= length else prompt[:length] + "..."
