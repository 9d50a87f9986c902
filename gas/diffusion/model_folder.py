"""A model's folder in diffusers' layout, whose parts are read one by one: networks, autoencoder, text encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gas.diffusion.adapters import find_base
from gas.diffusion.autoencoder import Autoencoder
from gas.diffusion.clip_text import ClipText
from gas.diffusion.loading import check_variant, load_part, read_settings
from gas.diffusion.t5_text import T5Text
from gas.errors import ModelUnavailable
from gas.models.account import load_tokenizer

if TYPE_CHECKING:
    from gas.diffusion.backbone import ModelKind

BASE = "_base"
"""In model_index.json: the folder of another model, seen from this one, that has the parts which are not here."""
_OF_DIFFUSERS = ("diffusion_pytorch_model", "diffusion_pytorch_model")
_OF_TRANSFORMERS = ("model", "pytorch_model")


@dataclass(frozen=True)
class ModelFolder:
    """The parts of a model of the `family` that errors name, in a local `folder`, or in the one that its index names as
    its base (`BASE`; diffusers leaves names that begin like that alone).

    * device: where the networks work; home: where they are put.
    * name: what errors call the model. `variant`, `allow_pickle`: as in `gas.diffusion.load.load_backbone`.
    * adapters: files to be merged into its UNet (`gas.diffusion.adapters`).
    """

    folder: Path
    name: str
    family: str
    device: torch.device
    home: torch.device
    variant: str | None = None
    allow_pickle: bool = False
    adapters: tuple[Path, ...] = ()

    @classmethod
    def find(
        cls,
        folder: Path | str,
        name: str | None,
        family: str,
        device: torch.device | str,
        home: torch.device | None = None,
        **how: Any,
    ) -> Any:
        """That of the model in `folder`, or of the base of an adapter there; without a `home` it is `device`. Errors as
        `find_base`."""
        base, adapters = find_base(Path(folder))
        works = torch.device(device)
        return cls(base, name or str(folder), family, works, home or works, adapters=adapters, **how)

    @cached_property
    def index(self) -> dict[str, Any]:
        """What `model_index.json` says; {} without one."""
        return self.settings("model_index.json") if (self.folder / "model_index.json").exists() else {}

    def lacks(self, place: str) -> bool:
        """Whether the index says that the model has no part in `place`."""
        return self.index.get(place) == [None, None]

    def where(self, place: str) -> Path:
        """The file or folder `place`, here or in the base."""
        base = self.index.get(BASE)
        here = self.folder / place
        return here if here.exists() or not isinstance(base, str) else self.folder / base / place

    def check_kind(self, kind: ModelKind, remedy: str) -> None:
        """ModelUnavailable unless `kind` is what every model of the family is: told nothing but a prompt."""
        if kind != "text-to-image":
            what = "an instruction model" if kind == "instruction" else "a model that is told boxes"
            raise ModelUnavailable(f"{self.name} is a {self.family}, which is not {what}", remedy)

    def check_layout(self, networks: Sequence[str], others: Sequence[str]) -> None:
        """ModelUnavailable unless there are settings of all `networks`, and the folders and files `others`; and of a
        `variant` that no part has."""
        needed = [f"{place}/config.json" for place in networks] + [*others]
        missing = [file for file in needed if not self.where(file).exists()]
        if missing:
            raise ModelUnavailable(
                f"{self.name} is not a {self.family} in diffusers' layout: {', '.join(missing)} missing",
                f"give a folder with {', '.join([*networks, *(other.partition('/')[0] for other in others)])}",
            )
        self.check_variant(networks)

    def check_variant(self, networks: Sequence[str]) -> None:
        """Refuses a `variant` that the weights of `networks` do not have, as `gas.diffusion.loading.check_variant`."""
        check_variant({self.where(place): _stems(place) for place in networks}, self.name, self.variant)

    def refuse_adapters(self) -> None:
        """ModelUnavailable when there are adapters, which change a UNet: the family has none."""
        if self.adapters:
            raise ModelUnavailable(
                f"{self.name} is an adapter of a UNet, and its base a {self.family}, which has none",
                "use it with the base that it was made for",
            )

    def settings(self, file: str) -> dict[str, Any]:
        """The settings in a JSON file of the folder. Errors as `read_settings`."""
        return read_settings(self.folder / file, self.name)

    def part(self, kind: Any, place: str, dtype: torch.dtype) -> Any:
        """The network of class `kind` in the folder `place`, frozen. Errors as `load_part`."""
        loaded = load_part(
            kind,
            self.where(place),
            _stems(place),
            self.name,
            part=place,
            dtype=dtype,
            variant=self.variant,
            allow_pickle=self.allow_pickle,
        )
        return loaded.to(self.home).eval().requires_grad_(False)

    def autoencoder(self, dtype: torch.dtype, patch: int = 1) -> Autoencoder:
        """The autoencoder in `vae`; `patch` as there."""
        from diffusers import AutoencoderKL

        return Autoencoder(self.part(AutoencoderKL, "vae", dtype), self.device, patch)

    def clip_text(self, kind: Any, number: str, dtype: torch.dtype) -> ClipText:
        """The encoder of class `kind` in `text_encoder` + `number` ("", "_2"), and its tokenizer beside it."""
        from transformers import CLIPTokenizer

        encoder = self.part(kind, f"text_encoder{number}", dtype)
        tokenizer = load_tokenizer(CLIPTokenizer, self.where(f"tokenizer{number}"), self.name, encoder)
        return ClipText(tokenizer, encoder, self.device)

    def t5_text(self, number: str, dtype: torch.dtype, max_tokens: int) -> T5Text:
        """The T5 encoder in `text_encoder` + `number`, and its tokenizer beside it; it sees `max_tokens` tokens."""
        from transformers import T5EncoderModel, T5TokenizerFast

        encoder = self.part(T5EncoderModel, f"text_encoder{number}", dtype)
        tokenizer = load_tokenizer(T5TokenizerFast, self.folder / f"tokenizer{number}", self.name, encoder)
        return T5Text(tokenizer, encoder, self.device, max_tokens)


def _stems(place: str) -> tuple[str, str]:
    return _OF_TRANSFORMERS if place.startswith("text_encoder") else _OF_DIFFUSERS
