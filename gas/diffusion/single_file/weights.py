"""The weights of a single file, read and put into networks with every one accounted for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gas.errors import ModelUnavailable
from gas.models.account import check_weights
from gas.process import check_loading
from gas.remedies import Option, Remedy

SHIPPED = Path(__file__).parent / "settings"
UNUSED = (
    "model_ema.",
    "first_stage_model.loss.",
    "alphas_cumprod",
    "betas",
    "denoiser.",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "lvlb_weights",
    "posterior_",
    "scale_factor",
    "sqrt_",
)
"""What training leaves in a file: averages of the weights, the noise schedule's numbers, and the loss's networks."""


def read_file(file: Path, name: str, *, allow_pickle: bool) -> dict[str, Tensor]:
    """The tensors in `file`, by name. ModelUnavailable (exit 6), which calls the model `name`, for another kind of
    file, and for a `.ckpt`, of which only tensors are read, without `allow_pickle`."""
    check_loading()
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(file))
    if file.suffix != ".ckpt":
        raise ModelUnavailable(
            f"{name} is a single file, but neither .safetensors nor .ckpt",
            "give a model as .safetensors, or a folder in diffusers' layout",
        )
    if not allow_pickle:
        raise ModelUnavailable(
            f"{name} is a single file of the kind .ckpt, which can hide programs",
            Remedy(
                "allow_pickle",
                "use a model with .safetensors files, or set {allow} (only tensors are read)",
                allow=Option({"allow_pickle": True}),
            ),
        )
    found = torch.load(file, map_location="cpu", weights_only=True)
    inner = found.get("state_dict", found) if isinstance(found, dict) else {}
    return {str(key): one for key, one in inner.items() if isinstance(one, Tensor)}


def check_parts(
    weights: Mapping[str, Tensor], prefixes: Mapping[str, str], others: Iterable[str], name: str, remedy: str
) -> None:
    """ModelUnavailable (exit 6) unless there are weights under each of the parts' `prefixes`, and none under other
    names than those, `others` and what training leaves."""
    for part, prefix in prefixes.items():
        if not any(key.startswith(prefix) for key in weights):
            raise ModelUnavailable(
                f"{name} is a single file with no weights of {part} (none whose name begins with {prefix})",
                remedy,
            )
    known = (*prefixes.values(), *UNUSED, *others)
    check_weights({"unexpected_keys": [key for key in weights if not key.startswith(known)]}, name, remedy)


def part_of(weights: Mapping[str, Tensor], prefix: str, but: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """The weights of one part, under their full names, but those that begin with one of `but`, and what training
    leaves."""
    return {key: one for key, one in weights.items() if key.startswith(prefix) and not key.startswith((*UNUSED, *but))}


@contextmanager
def known_names(name: str, part: str) -> Iterator[None]:
    """Within it a weight that code looks for by its name, and does not find, is ModelUnavailable (exit 6)."""
    try:
        yield
    except KeyError as error:
        missing = str(error).strip("'")[:120]
        raise ModelUnavailable(
            f"{name}: weights of {part} are missing, such as {missing}", "download it again, or name another one"
        ) from None


def untaken(own: Mapping[str, Tensor], renamed: Mapping[str, Tensor | None]) -> list[str]:
    """The names of those of a part's `own` weights that lie nowhere among the `renamed` ones: code that renames and
    reshapes, and copies nothing, has left them out without a word."""
    taken = {one.data_ptr() for one in renamed.values() if one is not None}
    return [key for key, one in own.items() if one.data_ptr() not in taken]


def filled(
    make: Callable[[], Any],
    renamed: Mapping[str, Tensor | None],
    left_out: Iterable[str],
    name: str,
    part: str,
    dtype: torch.dtype,
) -> Any:
    """The network that `make` makes, with the weights `renamed`, in `dtype`; `left_out` are names of the file's weights
    that are not among them. ModelUnavailable (exit 6), which calls the model `name` and this part of it `part`, for
    weights that are missing, too many or of another shape."""
    check_loading()
    network, found = check_filled(make, renamed, left_out, name, part)
    wanted = network.state_dict()
    # copied: the file is mapped into memory, and may change or go while the model works
    used = {key: one.to(dtype, copy=True) for key, one in found.items() if key in wanted}
    network.load_state_dict(used, strict=False, assign=True)
    return network


def check_filled(
    make: Callable[[], Any], renamed: Mapping[str, Tensor | None], left_out: Iterable[str], name: str, part: str
) -> tuple[Any, dict[str, Tensor]]:
    """The network that `make` makes, without weights, and those for it. Arguments and errors as `filled`."""
    from accelerate import init_empty_weights

    found = {key: one for key, one in renamed.items() if one is not None}  # diffusers' name for one that is missing
    with init_empty_weights(include_buffers=False):
        network = make()
    wanted = network.state_dict()
    check_weights(
        {
            "missing_keys": wanted.keys() - found.keys(),
            "unexpected_keys": [*(found.keys() - wanted.keys()), *left_out],
            "mismatched_keys": [
                (key, tuple(one.shape), tuple(wanted[key].shape))
                for key, one in found.items()
                if key in wanted and one.shape != wanted[key].shape
            ],
        },
        name,
        part=part,
    )
    return network, found


def read_tokenizer(folder: Path, pad: str = "<|endoftext|>") -> Any:
    """CLIP's tokenizer, from the `merges.txt` in `folder`: its vocabulary is all bytes, all bytes at a word's end, what
    each merge makes, and two marks, in this order (Radford et al. 2021, `simple_tokenizer.py`). `pad` fills up."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    lines = (folder / "merges.txt").read_text("utf-8").splitlines()[1:]
    merges = [(left, right) for left, _, right in (line.partition(" ") for line in lines)]
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    vocabulary = {word: number for number, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77, pad_token=pad)


def read_shipped(folder: Path, part: str) -> dict[str, Any]:
    """The settings of one part that are shipped in `folder`."""
    settings: dict[str, Any] = json.loads((folder / part / "config.json").read_text("utf-8"))
    return settings
