"""Editors that work with a text-to-image diffusion model."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import TYPE_CHECKING, TypeVar

from gas.diffusion.backbone import Backbone
from gas.diffusion.load import load_backbone
from gas.errors import ResultRefused, UsageError
from gas.interfaces import Editor
from gas.remedies import Option, Remedy, Setting
from gas_editors.model_options import ModelOptions, NamedModel, check_world

if TYPE_CHECKING:
    from gas.runtime import Runtime
    from gas.types import Image


ModelOptionsT = TypeVar("ModelOptionsT", bound=ModelOptions)


class TextToImageEditor(Editor[ModelOptionsT]):
    """Base of editors whose options are ModelOptions: the model, and the pictures that suit it."""

    draws = True

    @property
    def model(self) -> Backbone:
        """The shared model; loaded when first asked for. UsageError (exit 2) when none is named."""
        return text_to_image_model(self.options, self.runtime)

    def resolution(self) -> int:
        return self.model.resolution

    def multiple(self) -> int:
        return self.model.multiple

    def check(self, image: Image) -> None:
        check_world(self, lambda: self.model, image)

    def coded(self, image: Image) -> Image:
        return self.model.decode(self.model.encode(image))


def text_to_image_model(options: NamedModel, runtime: Runtime) -> Backbone:
    """The shared model that the options name, loaded when first asked for. UsageError (exit 2) when none is named."""
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
    return load_backbone(options.model, runtime, **options.reading())


def refuse_same_prompts(model: Backbone, pairs: Iterable[tuple[str | None, str]]) -> None:
    """ResultRefused (exit 11) when the model sees the same words in the source and the target of every one of `pairs`:
    nothing is left to edit by. A pair without a source says nothing; without any pair nothing is refused."""
    told = [(source, target) for source, target in pairs if source is not None]
    if not told or any(_seen(model, source) != _seen(model, target) for source, target in told):
        return
    source, target = told[0]
    before, after = (model.dropped_words(prompt).split() for prompt in (source, target))
    if before != after:
        common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
        unseen = " ".join(after[common:] or before[common:])
        raise ResultRefused(
            f"nothing to edit: the prompts differ only in words that the model does not see: {unseen[:60]!r}",
            "shorten the prompts, or name what is to change first",
        )
    raise ResultRefused(
        f"nothing to edit: the prompts before and after are the same, {source[:60]!r}",
        "say differently what should be there",
    )


def _seen(model: Backbone, prompt: str) -> list[str]:
    """The words of a prompt that the model sees, all of each."""
    return prompt.removesuffix(model.dropped_words(prompt)).split()
