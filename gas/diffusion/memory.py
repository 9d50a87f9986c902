"""Memory that is short: before a model is loaded, and where an allocation fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from gas.errors import OutOfMemory, OutOfResources
from gas.memory import gigabytes, memory, swap
from gas.models.headers import numbers
from gas.remedies import Remedy, Setting

_PARTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
_LARGE = 1_000_000_000  # numbers; a text encoder with more of them is T5, which works in the network's own format


@contextmanager
def memory_named(meant: Callable[[], OutOfMemory]) -> Iterator[None]:
    """Within it, a failed allocation is the error that `meant()` gives, which says what did not fit and what to do."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise meant() from None


_SMALLER = Remedy(
    "smaller_model", "try {dtype}, close other programs, or name a smaller model", dtype=Setting("dtype", "bf16")
)


def no_room(name: str) -> OutOfMemory:
    """The error for a model that memory was short for while it was loaded."""
    return OutOfMemory(f"not enough memory to load {name}", _SMALLER)


def sizes_of_parts(model: Path, dtype: torch.dtype, once: torch.dtype | None = None) -> dict[str, int]:
    """Bytes that the networks of a model in diffusers' layout, or in a single file ("model"), take once they are
    loaded, by the names of their folders, as its files' headers say.

    Networks and large text encoders are loaded in `dtype`, the other parts in `once` (default: fp32 at least). Of
    weights that are no safetensors it is the size of their files.
    """
    once = once or torch.promote_types(dtype, torch.float32)
    if model.is_file():
        count = numbers(model)
        return {"model": count * dtype.itemsize if count else model.stat().st_size}
    sizes = {}
    for part in _PARTS:
        plain = _plain(sorted((model / part).glob("*.safetensors")))
        if plain:
            count = sum(numbers(file) for file in plain)
            works = part in ("unet", "transformer") or (part.startswith("text") and count > _LARGE)
            sizes[part] = count * (dtype if works else once).itemsize
        else:
            sizes[part] = sum(file.stat().st_size for file in (model / part).glob("*.bin"))
    return {part: size for part, size in sizes.items() if size}


def refuse_too_large(sizes: Mapping[str, int], name: str, *, together: bool = True) -> None:
    """OutOfResources (exit 7) for networks of these sizes that surely do not fit into the machine's memory, before they
    are loaded: a system that runs out of it ends the process. `together`: they are all in it at one time."""
    found = memory()
    if found is None or not sizes:
        return
    needed = sum(sizes.values()) if together else max(sizes.values())
    if needed > found.available + swap():
        what = f"its networks take {gigabytes(needed)}, and {gigabytes(found.available)} are free"
        raise OutOfResources(f"not enough memory to load {name}: {what}", _SMALLER)


def _plain(files: list[Path]) -> list[Path]:
    """The files of one variant, where there are several: those with the shortest names."""
    fewest = min((file.name.count(".") for file in files), default=0)
    return [file for file in files if file.name.count(".") == fewest]
