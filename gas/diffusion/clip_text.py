"""A CLIP text encoder with its tokenizer: what a prompt becomes, and which of its words the model sees."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gas import notes


@dataclass(frozen=True)
class ClipText:
    """A frozen text encoder of transformers' CLIP and its tokenizer."""

    tokenizer: Any  # transformers.CLIPTokenizer
    encoder: Any  # transformers.CLIPTextModel
    device: torch.device

    @property
    def max_tokens(self) -> int:
        """How many tokens it sees, its two marks included (77 for CLIP)."""
        return min(self.tokenizer.model_max_length, self.encoder.config.max_position_embeddings)

    def tokens(self, prompts: Sequence[str], warn: bool = True) -> Any:
        """What the encoder is given for `prompts`: `input_ids` and `attention_mask`, each `(n, tokens)`. Warns of words
        that do not fit into its tokens, unless told not to."""
        if warn:
            warn_of_dropped(prompts, self.dropped_words, self.max_tokens)
        return self.tokenizer(
            list(prompts), padding="max_length", max_length=self.max_tokens, truncation=True, return_tensors="pt"
        ).to(self.device)

    @torch.no_grad()
    def states(self, prompts: Sequence[str]) -> Tensor:
        """`(n, tokens, dim)`: the encoder's last hidden states. Warns of words that do not fit into its tokens."""
        tokens = self.tokens(prompts)
        masked = getattr(self.encoder.config, "use_attention_mask", False)
        return self.encoder(tokens.input_ids, tokens.attention_mask if masked else None).last_hidden_state

    @torch.no_grad()
    def pooled(self, phrases: Sequence[str], warn: bool = True) -> Tensor:
        """`(n, dim)`: the encoder's pooled output. Warns as `tokens`."""
        tokens = self.tokens(phrases, warn)
        return self.encoder(tokens.input_ids, tokens.attention_mask).pooler_output

    @torch.no_grad()
    def layer_before_last(self, prompts: Sequence[str], warn: bool = True) -> tuple[Tensor, Tensor]:
        """`(n, tokens, dim)`: the hidden states before the last layer, without the last normalisation (SDXL, Podell et
        al. 2023, sec. 2.1); and `(n, dim)`: the pooled output, projected where the encoder has a projection. Warns as
        `tokens`."""
        found = self.encoder(self.tokens(prompts, warn).input_ids, output_hidden_states=True)
        pooled = getattr(found, "text_embeds", None)
        return found.hidden_states[-2], found.pooler_output if pooled is None else pooled

    @torch.no_grad()
    def word_embeddings(self, prompts: Sequence[str]) -> Tensor:
        """`(n, tokens, dim)`: the words before any layer of the encoder has mixed them, with their places."""
        tokens = self.tokens(prompts)
        return self.encoder(tokens.input_ids, output_hidden_states=True).hidden_states[0]

    def dropped_words(self, prompt: str) -> str:
        """The end of `prompt` that the encoder does not see, from the first word that is not whole; "" if all fits."""
        return cut_words(self.tokenizer, prompt, self.max_tokens)

    def positions(self, prompt: str) -> range:
        """The positions of a prompt's tokens from its start mark to its end mark, both included, as far as the encoder
        sees them."""
        return range(min(len(self.tokenizer(prompt, verbose=False).input_ids), self.max_tokens))

    def token_names(self, prompt: str) -> list[str]:
        """The tokens at `positions`, as text; "start" and "end" for the marks."""
        ids = self.tokenizer(prompt, verbose=False).input_ids[: self.max_tokens]
        words = [self.tokenizer.decode([number]).strip() for number in ids]
        return ["start", *words[1:-1], "end"]


def cut_words(tokenizer: Any, prompt: str, max_tokens: int) -> str:
    """The end of `prompt` that an encoder of `max_tokens` tokens, an end mark among them, does not see, from the first
    word that is not whole; "" if all fits."""
    tokens = tokenizer(prompt, return_offsets_mapping=True, verbose=False)
    if len(tokens.input_ids) <= max_tokens:
        return ""
    first = tokens.offset_mapping[max_tokens - 1][0]
    while first and not prompt[first - 1].isspace():
        first -= 1
    return prompt[first:]


def warn_of_dropped(prompts: Sequence[str], dropped_words: Callable[[str], str], max_tokens: int) -> None:
    """Warns of each prompt whose end an encoder of `max_tokens` tokens does not see, as `dropped_words` says."""
    for prompt in prompts:
        if words := dropped_words(prompt):
            notes.warn(
                f"the prompt {_shortened(prompt)!r} has more than {max_tokens} tokens; "
                f"the model does not see: {words!r}",
                stacklevel=4,
            )


def _shortened(prompt: str) -> str:
    return prompt if len(prompt) <= 60 else prompt[:60] + "..."
