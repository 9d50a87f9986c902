"""How much the networks of an edit were given, counted by a hook, whoever calls them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class Counted:
    """How many rows the denoising networks were given, and of editors that use them how many pictures CLIP's vision
    network and a layer generator were (None: they were not used)."""

    rows: float = 0
    clip: float | None = None
    generator: float | None = None

    def shared(self, edits: int) -> Counted:
        """What one of so many edits has of it."""
        clip, generator = (None if one is None else one / edits for one in (self.clip, self.generator))
        return Counted(self.rows / edits, clip, generator)


@contextmanager
def counting_rows() -> Iterator[Counted]:
    """Counts the rows of all calls of denoising networks, of CLIP's vision network and of Text2LIVE's LayerGenerator
    inside the block, by a hook, whoever makes them."""
    from torch import Tensor
    from torch.nn.modules.module import register_module_forward_hook

    counted = Counted()

    def count(module: Any, arguments: tuple[Any, ...], named: Mapping[str, Any], _: Any) -> None:
        kind = _COUNTED.get(type(module).__name__)
        if kind is not None:
            given = next(one for one in (*arguments, *named.values()) if isinstance(one, Tensor))
            setattr(counted, kind, (getattr(counted, kind) or 0) + len(given))

    handle = register_module_forward_hook(count, with_kwargs=True)
    try:
        yield counted
    finally:
        handle.remove()


_DENOISERS = ("UNet2DConditionModel", "SD3Transformer2DModel", "FluxTransformer2DModel")
_COUNTED = {**dict.fromkeys(_DENOISERS, "rows"), "CLIPVisionModel": "clip", "LayerGenerator": "generator"}
"""By the names of their classes, for none is imported for editors that do without."""
