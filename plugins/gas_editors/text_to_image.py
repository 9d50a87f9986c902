"""Editors that work with a text-to-image model of the Stable Diffusion kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import UsageError
from gas.interfaces import Editor
from gas.remedies import Option, Remedy, Setting
from gas_editors.model_options import check_world

if TYPE_CHECKING:
    from gas.types import Image


class TextToImageEditor(Editor):
    """Base of editors whose options are ModelOptions: the model, and the pictures that suit it."""

    options: Any

    @property
    def model(self) -> StableDiffusion:
        """The shared model; loaded when first asked for. UsageError (exit 2) when none is named."""
        options = self.options
        if not options.model:
            raise UsageError(
                "no model is named",
                Remedy(
                    "name_model",
                    "use {profile}, or {model} (a folder, or OWNER/NAME of the hub)",
                    profile=Setting("profile", "sd15"),
                    model=Option({"model": "NAME"}),
                ),
            )
        return StableDiffusion.load(
            options.model, self.runtime, variant=options.variant, allow_pickle=options.allow_pickle
        )

    def resolution(self) -> int:
        return self.model.resolution

    def multiple(self) -> int:
        return self.model.factor

    def check(self, image: Image) -> None:
        check_world(self, lambda: self.model, image)

    def coded(self, image: Image) -> Image:
        return self.model.decode(self.model.encode(image))
