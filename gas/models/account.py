"""Every weight and word of a model accounted for before it is used.

What a file lacks the libraries fill in at random, what it has too much they leave out, and both they only log. Every
loader here hands what it was told to `check_weights`, and reads its tokenizer by `load_tokenizer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gas.errors import ModelUnavailable
from gas.remedies import Remedy

# Counters and position numbers that networks make anew for themselves: a file may have them or not.
_MADE_ANEW = ("position_ids", "num_batches_tracked", "relative_position_index", "relative_coords_table")
_SENTENCE = "a photograph of a dog on the grass"


def check_weights(
    report: Mapping[str, Any],
    name: str,
    remedy: str | Remedy = "download it again, or name another one",
    part: str = "",
    *,
    unused: tuple[str, ...] = (),
) -> None:
    """Refuses a network that its file does not fill exactly, which errors call `name` and, of a whole model, `part`.

    `report` is what `from_pretrained(..., output_loading_info=True)` of transformers and diffusers returns beside the
    network: names under "missing_keys" and "unexpected_keys", names with two shapes under "mismatched_keys", sentences
    under "error_msgs"; a key may be absent. `unused` is how the names of weights begin that the file may have although
    the network has no place for them: the other half of a CLIP. ModelUnavailable (exit 6) says how many weights are
    concerned and names one, or the prefix under which the file has them all.
    """
    of = f" of {part}" if part else ""
    whose = f"the weights of {part}" if part else "its weights"
    missing = _names(report.get("missing_keys"))
    strange = [key for key in _names(report.get("unexpected_keys")) if not key.startswith(unused)]
    if missing and (prefix := _foreign_prefix(missing, strange)) is not None:
        raise ModelUnavailable(
            f"{name}: the weights{of} have other names than the network's: "
            f"{prefix[0][:120]!r} stands for {prefix[1]!r}",
            remedy,
        )
    if missing:
        raise ModelUnavailable(f"{name}: {len(missing)} of {whose} are missing, such as {missing[0]}", remedy)
    if strange:
        raise ModelUnavailable(
            f"{name}: the network has no place for {_count(strange)}{of}, such as {strange[0][:120]}", remedy
        )
    shapes = list(report.get("mismatched_keys") or ())
    if shapes:
        key, *sizes = shapes[0] if isinstance(shapes[0], tuple | list) else (shapes[0],)
        how = " and ".join("x".join(map(str, size)) or "one number" for size in sizes)
        raise ModelUnavailable(
            f"{name}: {len(shapes)} of {whose} have another shape than the network's: {key}"
            + (f" ({how})" if how else ""),
            remedy,
        )
    told = [str(one) for one in report.get("error_msgs") or ()]
    if told:
        raise ModelUnavailable(
            f"{name}: the weights{of} do not fit: {told[0].strip().partition(chr(10))[0][:300]}", remedy
        )


def load_tokenizer(kind: Any, folder: Path, name: str, network: Any = None) -> Any:
    """The tokenizer of transformers' class `kind` in `folder`, of the model `name`, which must know words, and no more
    than the text encoder `network`, if that is given. Errors as `check_vocabulary`, and those of the library."""
    tokenizer = kind.from_pretrained(str(folder), local_files_only=True)
    known = None if network is None else network.get_input_embeddings().num_embeddings
    check_vocabulary(tokenizer, name, known)
    return tokenizer


def check_vocabulary(tokenizer: Any, name: str, embeddings: int | None = None) -> None:
    """Refuses a tokenizer of transformers that knows no words, or more than the network beside it.

    A library that finds no vocabulary makes a tokenizer with a few marks, to which all prompts are the same.
    `embeddings` is how many tokens the network knows. ModelUnavailable (exit 6), which calls the model `name`.
    """
    words = tokenizer.get_vocab()
    marks = set(tokenizer.all_special_ids)
    spoken = set(tokenizer(_SENTENCE, verbose=False).input_ids) - marks
    if not words.keys() - set(tokenizer.all_special_tokens) or not spoken:
        raise ModelUnavailable(
            f"{name}: its tokenizer knows no words ({len(words)} tokens): its vocabulary is missing or empty",
            "download the model again (tokenizer.json, or vocab.json and merges.txt)",
        )
    highest = max(words.values())
    if embeddings is not None and highest >= embeddings:
        raise ModelUnavailable(
            f"{name}: its tokenizer has tokens up to number {highest}, its text encoder {embeddings} tokens",
            "use a tokenizer and a text encoder that belong together",
        )


def _names(keys: Iterable[str] | None) -> list[str]:
    return sorted(key for key in keys or () if key.rpartition(".")[2] not in _MADE_ANEW)


def _foreign_prefix(missing: list[str], strange: list[str]) -> tuple[str, str] | None:
    """A name in the file and the network's name for it, where one is the other behind a prefix; None where none is."""
    wanted = set(missing)
    for found in strange:
        parts = found.split(".")
        for cut in range(1, len(parts)):
            if (tail := ".".join(parts[cut:])) in wanted:
                return found, tail
    return None


def _count(keys: list[Any]) -> str:
    return f"{len(keys)} weight{'s' * (len(keys) != 1)}"
