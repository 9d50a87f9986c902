"""Phrases as tokens of CLIP's kind of text encoder, which reads only so many of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gas.errors import InputRefused


def encode(tokenizer: Any, phrases: Sequence[str], limit: int, *, whole: bool = False) -> Any:
    """`input_ids` and `attention_mask` `(n, tokens)` of the phrases, filled up to the longest, if `whole` to `limit`.

    InputRefused (exit 3) when a phrase has more than `limit` tokens, its two marks included: the encoder would not see
    its end.
    """
    for phrase in phrases:
        length = len(tokenizer(phrase, verbose=False).input_ids)
        if length > limit:
            shown = phrase if len(phrase) <= 60 else phrase[:60] + "..."
            raise InputRefused(
                f"{shown!r} has {length - 2} tokens, the text encoder reads {limit - 2}", "use a shorter phrase"
            )
    padding: dict[str, Any] = {"padding": "max_length", "max_length": limit} if whole else {"padding": True}
    return tokenizer(list(phrases), return_attention_mask=True, return_tensors="pt", verbose=False, **padding)
