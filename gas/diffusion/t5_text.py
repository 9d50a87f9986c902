"""A T5 encoder with its tokenizer: what a prompt becomes for the transformers that read it, and what they see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.clip_text import cut_words, warn_of_dropped


@dataclass(frozen=True)
class T5Text:
    """A frozen T5EncoderModel of transformers and its tokenizer; it sees `max_tokens` tokens, the end mark included.

    Prompts are filled up to that length with a mark, which the encoder sees too: Stable Diffusion 3 and FLUX were
    trained so.
    """

    tokenizer: Any  # transformers.T5TokenizerFast
    encoder: Any  # transformers.T5EncoderModel
    device: torch.device
    max_tokens: int

    @torch.no_grad()
    def states(self, prompts: Sequence[str]) -> Tensor:
        """`(n, max_tokens, dim)`: the encoder's last hidden states. Warns of words that do not fit."""
        warn_of_dropped(prompts, self.dropped_words, self.max_tokens)
        tokens = self.tokenizer(
            list(prompts), padding="max_length", max_length=self.max_tokens, truncation=True, return_tensors="pt"
        ).to(self.device)
        return self.encoder(tokens.input_ids).last_hidden_state

    def dropped_words(self, prompt: str) -> str:
        """The end of `prompt` that the encoder does not see, from the first word that is not whole; "" if all fits."""
        return cut_words(self.tokenizer, prompt, self.max_tokens)
