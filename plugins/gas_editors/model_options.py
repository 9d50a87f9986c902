"""What every editor with a diffusion model is told about it, and whether a picture is of its world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from gas.errors import InputRefused
from gas.interfaces import Options
from gas.picture.frame import work_frame
from gas.remedies import Command, Remedy, Setting

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from gas.diffusion.backbone import Backbone
    from gas.interfaces import EditJob, Editor
    from gas.types import Image


def one_or_several(value: object) -> object:
    """What a field that takes a tuple is given: a tuple of one for a word or a number by itself."""
    return (value,) if isinstance(value, str | int | float) else value


class NamedModel(Options):
    """Which model, how its files are read, and what is made of them."""

    model: str | None = Field(None, description="hub id, id@revision, folder or file; a profile usually says it")
    variant: str | None = Field(None, description="middle part of the weights' file names, e.g. fp16")
    lora: Annotated[tuple[str, ...], BeforeValidator(one_or_several)] = Field(
        (), description="LoRAs that are merged into the model: FILE or FILE=WEIGHT, several with commas"
    )
    parts_model: str | None = Field(
        None, description="hub id or folder that the rest comes from, where `model` is one file with the network alone"
    )
    quantise: Literal["int8"] | None = Field(
        None, description="weights of the denoiser and of T5 in 8 bits, made while the model is loaded (torchao)"
    )
    allow_pickle: bool = Field(False, description="read weights that exist as .bin or .ckpt only (tensors only)")

    def reading(self) -> dict[str, Any]:
        """How the model is read, for `gas.diffusion.load.load_backbone`."""
        return {
            "variant": self.variant,
            "allow_pickle": self.allow_pickle,
            "parts": self.parts_model,
            "loras": self.lora,
            "quantise": self.quantise,
        }


class ModelOptions(NamedModel):
    """The same, which pictures it takes, and what of them it keeps."""

    accept_db: float | None = Field(
        None, description="refuse pictures whose VAE round trip is below so many dB; for models of a small world"
    )
    keep_structure: bool = Field(
        False,
        description="where a subtask changes only a colour or a material: the edit gives the colour, the source all "
        "else inside its region (ours)",
    )


def check_world(editor: Editor, model: Callable[[], Backbone], image: Image) -> None:
    """InputRefused (exit 3) for a whole picture, of any size, of another world than the model's; the `model` is loaded
    only where there is a limit."""
    if editor.options.accept_db is not None:
        size = (image.shape[1], image.shape[0])
        frame = work_frame(size, (), mode="full", resolution=editor.resolution(), multiple=editor.multiple())
        _refuse_below(editor.options.accept_db, model().round_trip_db(frame.cut(image)))


def refuse_foreign(model: Backbone, job: EditJob, least: float | None, z: Tensor | None = None) -> None:
    """InputRefused (exit 3) for a job whose picture encoding and decoding leaves less than `least` dB of; `z` is its
    latent where that is known already. What a turn before has edited is taken as it is."""
    if least is not None and not job.intermediate:
        _refuse_below(least, model.round_trip_db(job.image, z))


def _refuse_below(least: float, found: float) -> None:
    if found < least:
        raise InputRefused(
            f"this picture is not of the kind that this model knows: its round trip through the autoencoder has "
            f"{found:.1f} dB, {least:g} are needed",
            Remedy(
                "use_sd15",
                "for photographs use {profile}, whose models come with: {pull}",
                profile=Setting("profile", "sd15"),
                pull=Command("models pull", "sd15"),
            ),
        )
