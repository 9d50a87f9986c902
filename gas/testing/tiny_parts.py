"""Parts that tiny models of several families have: autoencoders, text encoders, tokenizers; and how they are saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TOKENS = 514
"""Of the byte tokenizer: 256 bytes, 256 that end a word, and two marks."""


def tiny_vae(latent_channels: int, sample_size: int, **settings: Any) -> Any:
    """An AutoencoderKL of factor 8 for latents of `sample_size` cells on a side, with random weights."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        latent_channels=latent_channels,
        sample_size=sample_size * 8,
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        **settings,
    )


def tiny_clip_text(side: int, projection: int | None = None) -> Any:
    """A CLIP text encoder with states of `side` numbers, for the byte tokenizer, with random weights; one with a
    projection of the pooled state to `projection` numbers, where that is given."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=TOKENS,
        hidden_size=side,
        intermediate_size=2 * side,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=512,
        eos_token_id=513,
        pad_token_id=513,
        **({} if projection is None else {"projection_dim": projection}),
    )
    return CLIPTextModel(config) if projection is None else CLIPTextModelWithProjection(config)


def tiny_t5(side: int) -> Any:
    """A T5 encoder with states of `side` numbers, for the tokenizer of letters, with random weights."""
    from transformers import T5Config, T5EncoderModel

    return T5EncoderModel(
        T5Config(
            vocab_size=len(_letters()),
            d_model=side,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            feed_forward_proj="gated-gelu",
        )
    )


def build_byte_tokenizer(folder: Path | str) -> None:
    """Saves a CLIP tokenizer without merges: one token for each byte, 514 tokens in all."""
    from transformers import CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: number for number, word in enumerate(words)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder)


def build_letter_tokenizer(folder: Path | str) -> None:
    """Saves a T5 tokenizer with a token for each printable letter of ASCII."""
    from transformers import T5Tokenizer

    T5Tokenizer(vocab=_letters(), extra_ids=0, model_max_length=512).save_pretrained(folder)


def _letters() -> list[tuple[str, float]]:
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]  # the last one stands for a space
    return [*marks, *((chr(code), -3.0) for code in range(0x21, 0x7F))]


def save_pipeline(
    folder: Path | str,
    pipeline: str,
    parts: Mapping[str, Any],
    tokenizers: Mapping[str, Callable[[Path], None]],
    **settings: Any,
) -> Path:
    """`folder`, now with the `parts` as diffusers saves those of a `pipeline`: a folder for each, and an index with the
    pipeline's own `settings`. A part that is None is in the index alone. `tokenizers` save themselves into a folder."""
    folder = Path(folder)
    index: dict[str, Any] = {"_class_name": pipeline, **settings}
    for name, part in parts.items():
        if part is None:
            index[name] = [None, None]
            continue
        part.save_pretrained(folder / name)
        index[name] = [type(part).__module__.partition(".")[0], type(part).__name__]
    for name, build in tokenizers.items():
        build(folder / name)
        index[name] = ["transformers", "CLIPTokenizer" if build is build_byte_tokenizer else "T5TokenizerFast"]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    return folder
