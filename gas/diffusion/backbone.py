"""The one seam between methods and models: a frozen diffusion model, whatever its family, behind `Backbone`.

A family is one file with a subclass, and one row of the table in `gas.diffusion.load`. Methods ask nothing else of a
model, and refuse by name (`need_null_row`, `need_sites`, `need_words`) what a model does not have.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from gas.diffusion.attention.sites import AttentionSite, SiteKind, Size
from gas.diffusion.guidance import Guidance
from gas.diffusion.parameterisation import Parameterisation, to_epsilon, to_velocity
from gas.diffusion.schedule import Schedule
from gas.errors import ModelUnavailable, UsageError
from gas.remedies import Option, Remedy

if TYPE_CHECKING:
    from gas.diffusion.clip_text import ClipText
    from gas.types import Image

ModelKind = Literal["text-to-image", "instruction", "boxes"]
"""What a model is told beside its prompt: nothing; the picture that is to be edited (InstructPix2Pix); or which phrase
belongs into which box (GLIGEN)."""


@dataclass(frozen=True)
class Conditioning:
    """What a network is told, one row for each prompt: `embeddings` `(n, tokens, dim)`, and whatever else its family
    wants, each tensor `(n, ...)` under its own name (pooled embeddings, size ids, attention masks, the guidance ...).

    Rows can be chosen (`conditioning[2:]`, `conditioning[[0, 0, 1]]`) and joined (`Conditioning.cat`).
    """

    embeddings: Tensor
    extra: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, tensor in self.extra.items():
            if len(tensor) != len(self.embeddings):
                raise ValueError(f"{len(self.embeddings)} rows, but {name!r} has {len(tensor)}")

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, rows: slice | Sequence[int] | Tensor) -> Conditioning:
        return self._each(lambda tensor: tensor[rows])

    def __iter__(self) -> Iterator[Conditioning]:
        """The rows, each a conditioning of one row."""
        return (self[row : row + 1] for row in range(len(self)))

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """The rows of all `parts` in their order. ValueError unless all have the same names in `extra`."""
        names = parts[0].extra.keys()
        if any(one.extra.keys() != names for one in parts):
            raise ValueError(f"rows of different kinds cannot be joined: {[sorted(one.extra) for one in parts]}")
        extra = {name: torch.cat([one.extra[name] for one in parts]) for name in names}
        return Conditioning(torch.cat([one.embeddings for one in parts]), extra)

    def split(self, rows: int) -> list[Conditioning]:
        """Parts of at most so many rows."""
        return [self[start : start + rows] for start in range(0, len(self), rows)]

    def with_embeddings(self, embeddings: Tensor) -> Conditioning:
        """The same with other `embeddings` `(n, tokens, dim)`; one row is repeated for all of them."""
        one = self if len(self) == len(embeddings) else self[[0] * len(embeddings)]
        return replace(one, embeddings=embeddings)

    def with_extra(self, **tensors: Tensor) -> Conditioning:
        """The same with these tensors `(n, ...)` too."""
        return replace(self, extra={**self.extra, **tensors})

    def without(self, *names: str) -> Conditioning:
        """The same without the tensors of these names."""
        return replace(self, extra={name: one for name, one in self.extra.items() if name not in names})

    def _each(self, change: Callable[[Tensor], Tensor]) -> Conditioning:
        return Conditioning(change(self.embeddings), {name: change(one) for name, one in self.extra.items()})


class Backbone(ABC):
    """A frozen diffusion model. A family subclasses it, says what is declared here, and implements the abstract
    methods.

    Latents are `(n, C, h, w)`, of about unit variance, in fp32 (or fp64) whatever the format of the network; a family
    whose network wants them packed packs them in `predict`.
    """

    name: str
    """What errors call it: the model id or folder that it was loaded from."""
    device: torch.device
    dtype: torch.dtype
    """The number format of the network."""
    schedule: Schedule
    parameterisation: Parameterisation = "epsilon"
    """What `predict` predicts."""
    guidance: Guidance = "null"

    resolution: int
    """Side in pixels of the square whose area its pictures should have."""
    multiple: int = 8
    """Number that the sides of its pictures must be divisible by."""
    factor: int = 8
    """Pixels on a side of a latent cell."""

    network: Any = None
    """The network that predicts, for what is specific to one architecture; None where there is no such thing."""
    words: ClipText | None = None
    """The text encoder whose tokens the cross-attention looks at, position by position; None where no site does."""

    def networks(self) -> dict[str, Any]:
        """All its networks, by the names of their folders in diffusers' layout, in the order in which they first work:
        what `Runtime.place` puts where the setting `memory` wants it. Each is entered by a call, or by a method that
        diffusers marks with `apply_forward_hook`."""
        return {}

    # --- pictures -----------------------------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, image: Image) -> Tensor:
        """The latent `(1, C, h, w)` of a picture `(H, W, 3)` uint8. InputRefused (exit 3) when its sides do not fit."""

    @abstractmethod
    def decode(self, z: Tensor) -> Image:
        """The picture `(H, W, 3)` uint8 of a latent `(1, C, h, w)`. ResultRefused (exit 11) when it is not finite."""

    def picture_condition(self, image: Image) -> Tensor:
        """What an instruction model is told of a picture `(H, W, 3)` uint8: `(1, C, h, w)`, for `Conditioning.extra`
        "beside". ModelUnavailable (exit 6) for another kind of model."""
        raise ModelUnavailable(
            f"{self.name} is not an instruction model: it takes no picture beside the prompt",
            "name an instruction model",
        )

    def round_trip_db(self, image: Image, z: Tensor | None = None) -> float:
        """PSNR in dB between a picture and what is left of it after encoding and decoding: how well the model knows
        its kind. `z` is the picture's latent where that is known already."""
        again = self.decode(self.encode(image) if z is None else z)
        error = float(np.square(again.astype(np.float64) - image).mean())
        return 10 * math.log10(255**2 / error) if error else math.inf

    # --- prompts ------------------------------------------------------------------------------------------------------

    @abstractmethod
    def condition(self, prompts: Sequence[str], size: Size) -> Conditioning:
        """What the network is told for each of `prompts`, for latents of `size` (h, w). "" is the null prompt."""

    def dropped_words(self, prompt: str) -> str:
        """The end of `prompt` that the model does not see; "" if it sees all."""
        return "" if self.words is None else self.words.dropped_words(prompt)

    # --- predictions --------------------------------------------------------------------------------------------------

    @abstractmethod
    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """What the network predicts, in its own parameterisation, `(n, C, h, w)` in the dtype of `z_t` `(n, C, h, w)`,
        for t `(n,)` and the rows of `condition`. Differentiable in `z_t` and the embeddings, unless gradients are off.

        A row's prediction does not depend on which other rows share its batch.
        """

    def schedule_for(self, size: Size) -> Schedule:
        """The schedule for latents of `size` (h, w): `schedule`, unless the family's depends on the number of cells."""
        return self.schedule

    def to_epsilon(self, output: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """The noise `(n, C, h, w)` that the `output` of `predict` stands for."""
        if self.parameterisation == "epsilon":
            return output
        return to_epsilon(output, self.parameterisation, z_t, *self.schedule.coefficients(t, z_t.dtype))

    def to_velocity(self, output: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        """The velocity `eps - z` `(n, C, h, w)` that the `output` of `predict` stands for."""
        if self.parameterisation == "velocity":
            return output
        return to_velocity(output, self.parameterisation, z_t, *self.schedule.coefficients(t, z_t.dtype))

    def epsilon(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The noise that is predicted in `z_t`; arguments as for `predict`."""
        return self.to_epsilon(self.predict(z_t, t, conditioning), z_t, t)

    def velocity(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The velocity that is predicted at `z_t`; arguments as for `predict`."""
        return self.to_velocity(self.predict(z_t, t, conditioning), z_t, t)

    def guided(self, conditioning: Conditioning, scale: float) -> Conditioning:
        """The rows as they must be told for a guidance of `scale`: with the number, where the network is told it.

        UsageError (exit 2) for a scale other than 1 where the model knows no guidance.
        """
        if self.guidance == "told":
            told = torch.full((len(conditioning),), scale, device=conditioning.embeddings.device)
            return conditioning.with_extra(guidance=told)
        if self.guidance == "none" and scale != 1:
            raise UsageError(
                f"{self.name} has no guidance: a guidance_scale of {scale:g} would have no effect",
                Remedy("no_guidance", "set {guidance}", guidance=Option({"guidance_scale": 1})),
            )
        return conditioning

    # --- attention ----------------------------------------------------------------------------------------------------

    def attention_sites(self, kind: SiteKind | None = None) -> tuple[AttentionSite, ...]:
        """Where the network computes attention, in the order of computing; of one `kind` only, if given."""
        return ()

    # --- what a method needs and a model may not have -----------------------------------------------------------------

    def need_null_row(self, method: str, remedy: str | Remedy = "") -> None:
        """ModelUnavailable (exit 6), saying that `method` cannot work, when the model has no null row."""
        if self.guidance != "null":
            how = "its guidance is a number that it is told" if self.guidance == "told" else "it knows no guidance"
            raise ModelUnavailable(
                f"{method} compares with the null prompt, which {self.name} has no row for: {how}",
                remedy or "take another editor, or a model with classifier-free guidance",
            )

    def need_sites(self, kind: SiteKind, method: str) -> tuple[AttentionSite, ...]:
        """The attention sites of a `kind`. ModelUnavailable (exit 6), naming `method`, when there is none."""
        found = self.attention_sites(kind)
        if not found:
            raise ModelUnavailable(
                f"{method} works on {kind}-attention, which {self.name} has none of", "take another editor or model"
            )
        return found

    def need_words(self, method: str) -> ClipText:
        """The text encoder whose tokens cross-attention looks at. ModelUnavailable (exit 6), naming `method`, when
        there is none."""
        if self.words is None:
            raise ModelUnavailable(
                f"{method} looks at attention to single words, which {self.name} does not show",
                "take another editor or model",
            )
        return self.words
