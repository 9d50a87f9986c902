"""Where a phrase is among the tokens of a prompt."""

from __future__ import annotations

import re
from typing import Any

from gas.plan.phrases import straight_quotes

_WORD = re.compile(r"[^\W_]+")


def phrase_tokens(
    tokenizer: Any, prompt: str, phrase: str, max_tokens: int | None = None, *, word: str | None = None
) -> list[tuple[int, ...]]:
    """The positions of `phrase` in the ids that `tokenizer` (a fast one, such as CLIPTokenizer) gives `prompt`: a tuple
    for each time that it stands there, in order; none when it does not.

    Position 0 is the start mark. All tokens of all its words count, and the punctuation between them; or only those of
    `word` inside the phrase, where it stands last. Case, white space and punctuation do not matter; words are compared
    whole: "car" is in "a car's wheel" and not in "a carpet". Of a prompt that is cut to `max_tokens` (marks included)
    the places that are not wholly seen are left out.
    """
    ids = tokenizer(prompt, return_offsets_mapping=True, verbose=False)
    seen = len(ids.input_ids) if max_tokens is None else min(len(ids.input_ids), max_tokens)
    found = []
    for start, end in phrase_spans(prompt, phrase):
        if word is not None:
            inside = phrase_spans(prompt[start:end], word)
            if not inside:
                continue
            start, end = start + inside[-1][0], start + inside[-1][1]
        # A mark's span is empty, so it overlaps nothing.
        tokens = tuple(i for i, (a, b) in enumerate(ids.offset_mapping) if max(a, start) < min(b, end))
        if tokens and tokens[-1] < seen - 1:
            found.append(tokens)
    return found


def phrase_spans(text: str, phrase: str) -> list[tuple[int, int]]:
    """The (start, end) of each time that the words of `phrase` stand in `text`, without overlaps; as `phrase_tokens`
    compares. A phrase without letters and digits is looked for as it is."""
    words = _WORD.findall(straight_quotes(phrase))
    pattern = r"[\W_]+".join(map(re.escape, words)) if words else re.escape(phrase.strip())
    if not pattern:
        return []
    bound = (r"(?<![^\W_])", r"(?![^\W_])") if words else ("", "")
    return [match.span() for match in re.finditer(pattern.join(bound), text, re.IGNORECASE)]
