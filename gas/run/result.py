"""What an edit gives back to its caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gas.types import EditPlan, Region

if TYPE_CHECKING:
    from gas.picture.frame import Frame
    from gas.types import Image, Mask


@dataclass(frozen=True)
class EditResult:
    """The finished picture at native resolution with everything that led to it.

    `raw` is the editor's own output at working resolution, before anything was pasted back; `frame` says how that
    working picture was cut from the native one, and `mask` (native) where it was pasted.
    """

    image: Image
    plan: EditPlan
    regions: tuple[Region, ...]
    raw: Image
    mask: Mask
    frame: Frame
    stopped: bool
    log: Mapping[str, Any]
