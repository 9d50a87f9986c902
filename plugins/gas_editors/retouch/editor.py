"""The editor `retouch`: each subtask by arithmetic on the pixels of its own region, at native size, without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, field_validator

from gas.errors import InputRefused, ModelUnavailable, ObjectNotFound
from gas.interfaces import Edited, EditJob, Editor, Options, Step
from gas.masks import mask_box, union
from gas.picture.colour_names import of_hex
from gas.picture.mapping import mixed
from gas.picture.recolour import recolour
from gas.picture.selection.core import NOT_THERE
from gas.picture.selection.select import all_of, colours_there, select
from gas.picture.tone import toned
from gas.remedies import Command, Given, Remedy, Setting
from gas_editors.retouch.asked import Affected, Asked, Recolour, Removed, Toned, Unknown, asked
from gas_editors.retouch.effects import affected
from gas_editors.retouch.removal import doubts, removed

if TYPE_CHECKING:
    from gas.types import EditPlan, Image, Mask, Subtask


class RetouchOptions(Options):
    """The options of `retouch`."""

    strength: float = Field(1.0, gt=0, le=4, description="times the strength of every subtask")
    select: bool = Field(True, description="recolour only what has the source's colour; false: all in the region")
    towards: float = Field(0.6, ge=0, le=1, description="how far to the named colour's lightness; 1: the very colour")
    colours: Mapping[str, str] = Field({}, description="names of one's own, or other meanings of known ones: #rrggbb")
    patch_size: int = Field(3, ge=1, le=15, description="removal: radius of the patches that are compared, in pixels")
    reach: int = Field(400, ge=20, description="removal: how far around a hole is copied from, in pixels")

    @field_validator("colours")
    @classmethod
    def _of_that_form(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        for name, colour in value.items():
            of_hex(name, colour)
        return value


class RetouchEditor(Editor[RetouchOptions]):
    """Colours, tones, removal, blur: what needs no model. Anything else is refused before it begins."""

    options_type = RetouchOptions
    needs_regions = True
    confines = True
    reshapes = False

    def resolution(self) -> None:
        """None: it works on the photograph's own pixels."""
        return

    def multiple(self) -> int:
        return 1

    def check_plan(self, plan: EditPlan) -> None:
        """ModelUnavailable (exit 6) for a subtask that needs a model; InputRefused (exit 3) for an unknown colour."""
        for subtask in plan.subtasks:
            found = asked(subtask)
            if isinstance(found, Unknown):
                near = f"near it: {', '.join(found.nearest)}" if found.nearest else "name another colour"
                raise InputRefused(f"retouch does not know the colour {found.word!r}", near)
            if found is None:
                raise ModelUnavailable(
                    f"retouch changes colours and tones, removes, blurs and sharpens; {_named(subtask)} needs a model",
                    _what_could(),
                )

    def edit(self, job: EditJob) -> Edited:
        """The picture with every subtask done in turn. Errors as `check_plan`, and ObjectNotFound (exit 5) when the
        source's colour is not in its region."""
        self.check_plan(job.plan)
        run = _Run(job, self.options)
        for index in range(len(job.plan.subtasks)):
            if job.watch.should_stop():
                return Edited(image=run.image, mask=run.mask, stopped=True, log=run.log)
            run.do(index)
            if job.watch.on_step is not None:
                job.watch.on_step(Step(index + 1, len(job.plan.subtasks), {}, partial(_same, run.image)))
        return Edited(image=run.image, mask=run.mask, log=run.log)


@dataclass
class _Run:
    """One job while it is done: the picture so far, and what there is to say about it."""

    job: EditJob
    options: RetouchOptions
    image: Image = field(init=False)
    mask: Mask = field(init=False)
    log: dict[str, Any] = field(default_factory=lambda: {"notes": [], "done": []})

    def __post_init__(self) -> None:
        self.image = self.job.image
        self.mask = np.zeros(self.job.image.shape[:2], np.float32)

    def do(self, index: int) -> None:
        """Makes one subtask."""
        subtask = self.job.plan.subtasks[index]
        own = [region for region in self.job.regions if region.subtask == index and region.mask is not None]
        if not own:
            phrase = subtask.region_phrase
            raise InputRefused(
                f"subtask {index + 1} ({phrase!r}) has no region",
                Remedy("give_region", "give {region}", region=Given(phrase)),
            )
        mask = union(region.mask for region in own if region.mask is not None)
        inside = (mask > 0).astype(np.float32)  # a soft edge is the pasting's affair, and counts once
        what = asked(subtask)
        amount = min(subtask.strength * self.options.strength, 4.0)
        self.image, told = self._made(index, subtask, what, inside, amount)
        np.maximum(self.mask, mask, out=self.mask)
        self.log["done"].append({"subtask": index + 1, **told})

    def _made(
        self, index: int, subtask: Subtask, what: Asked, inside: Mask, amount: float
    ) -> tuple[Image, dict[str, Any]]:
        image = self.image
        if isinstance(what, Recolour):
            return self._recoloured(index, subtask, what, inside, amount)
        if isinstance(what, Toned):
            return mixed(image, toned(image, what.tone, amount, inside), inside), {"tone": what.tone, "amount": amount}
        if isinstance(what, Affected):
            changed = affected(image, inside, what.effect, amount)
            return mixed(image, changed, inside), {"effect": what.effect, "amount": amount}
        assert isinstance(what, Removed)
        doubt = doubts(image, inside)
        if doubt is not None:
            self._note(index, subtask, f"{doubt}")
        seed = self.job.seed + index
        options = self.options
        return removed(image, inside, patch_size=options.patch_size, reach=options.reach, seed=seed), {"removed": True}

    def _recoloured(
        self, index: int, subtask: Subtask, what: Recolour, inside: Mask, amount: float
    ) -> tuple[Image, dict[str, Any]]:
        image, source = self.image, what.source if self.options.select else None
        target = what.target
        if target.name in self.options.colours:
            target = replace(of_hex(target.name, self.options.colours[target.name]), share=target.share)
        if source is None:
            chosen = all_of(image, inside)
            if what.source is None and _is_box(inside) and not bool((inside > 0).all()):
                hint = 'name its colour ("the red cup") or give a mask to change only the thing'
                self._note(index, subtask, f"all in its box became {what.target.name}: {hint}")
        else:
            chosen = select(image, inside, source, everywhere=bool((inside > 0).all()))
            if chosen.share < NOT_THERE or not chosen.alpha.any():
                there = ", ".join(f"{name} ({100 * share:.0f} %)" for name, share in colours_there(image, inside)[:4])
                raise ObjectNotFound(
                    f"there is no {source.name} where {subtask.source!r} is; its colours: {there}",
                    "name one of them, or the thing without a colour to change all of it",
                )
        if self.job.watch.save_map is not None:
            self.job.watch.save_map(f"selection-{index + 1}", chosen.alpha)
        alpha = chosen.alpha * np.float32(min(amount, 1.0))
        told = {
            "colour": what.target.name,
            "from": None if source is None else source.name,
            "share": round(chosen.share, 4),
            "lightness": round(chosen.surface.lightness, 4),
            "hue": round(chosen.surface.hue, 2),
            "saturation": round(chosen.surface.saturation, 4),
        }
        return recolour(image, alpha, chosen.surface, target, self.options.towards), told

    def _note(self, index: int, subtask: Subtask, text: str) -> None:
        self.log["notes"].append(f"subtask {index + 1} ({_named(subtask)}): {text}")


def _same(image: Image) -> Image:
    return image


def _named(subtask: Subtask) -> str:
    return repr(subtask.target or subtask.source)


def _is_box(mask: Mask) -> bool:
    x0, y0, x1, y1 = (int(side) for side in mask_box(mask))
    return bool((mask[y0:y1, x0:x1] > 0).all())


def _what_could() -> Remedy:
    """The command that gets a model for photographs, and how much it is."""
    from gas.backends.profiles import Profile

    profile = Profile.from_package("gas_editors", "sd15.toml")
    size = sum(model.size_mb or 0 for model in profile.models) / 1000
    return Remedy(
        "get_model",
        "{pull} ({size} GB, a GPU is advised), then {profile}",
        pull=Command("models pull", profile.name),
        size=f"{size:.1f}",
        profile=Setting("profile", profile.name),
    )
