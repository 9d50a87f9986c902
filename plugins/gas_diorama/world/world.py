"""The diorama's world in one import: scenes, exact edits, exact pictures and masks, and the words for them. No torch.

What a judge of edits needs is here. For a scene and a list of edits done together: `render(scene)` is the source
picture, `render(apply(scene, edits))` the exact result, `regions(scene, edits)` where each edit acts. For
nearest-rendering tests replace one thing by others with `dataclasses.replace(thing, kind=…, colour=…, x=…, y=…,
size=…)` and render again: nothing else changes, and pixels that the thing does not cover stay bit-identical.
`sample_scene` takes the strata (count, small, twins) and the split; `sample_edits` draws edits of given forms. `split`
tells train from validation and test.
"""

from gas_diorama.world.drawing import grow, mask, masks, regions, render, silhouette
from gas_diorama.world.language import (
    article,
    caption,
    edit_phrases,
    instruction,
    joined,
    name,
    phrase,
    request,
    short_phrase,
    training_text,
)
from gas_diorama.world.scene import (
    CELL,
    COLOURS,
    EDIT_FORMS,
    GROUNDS,
    KINDS,
    SIZE,
    SKIES,
    SMALL_AREA,
    Edit,
    Scene,
    Thing,
    apply,
    check,
    is_held_out,
    sample_edit,
    sample_edits,
    sample_scene,
    split,
)
from gas_diorama.world.view import HOME, View

__all__ = [
    "CELL",
    "COLOURS",
    "EDIT_FORMS",
    "GROUNDS",
    "HOME",
    "KINDS",
    "SIZE",
    "SKIES",
    "SMALL_AREA",
    "Edit",
    "Scene",
    "Thing",
    "View",
    "apply",
    "article",
    "caption",
    "check",
    "edit_phrases",
    "grow",
    "instruction",
    "is_held_out",
    "joined",
    "mask",
    "masks",
    "name",
    "phrase",
    "regions",
    "render",
    "request",
    "sample_edit",
    "sample_edits",
    "sample_scene",
    "short_phrase",
    "silhouette",
    "split",
    "training_text",
]
