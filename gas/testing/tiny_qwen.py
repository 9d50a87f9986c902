"""Tiny language models of Qwen's classes, with random weights, as text encoders of picture models; and their words."""

from __future__ import annotations

from typing import Any

TURN, END = "<|im_start|>", "<|im_end|>"
VISION = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
_MOST_TOKENS = 4096
_PICTURE = "".join((VISION[0], VISION[2], VISION[1]))
_TEMPLATE = (
    "{% for m in messages %}" + TURN + "{{ m['role'] }}\n"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}" + _PICTURE + "{% else %}{{ p['text'] }}{% endif %}{% endfor %}{% endif %}"
    "" + END + "\n{% endfor %}{% if add_generation_prompt %}" + TURN + "assistant\n{% endif %}"
)


def build_chat_tokenizer() -> Any:
    """A Qwen2 tokenizer with a token for each byte, and those of turns and pictures; with a chat template."""
    from tokenizers import AddedToken, pre_tokenizers
    from transformers import Qwen2Tokenizer

    pad = "<|endoftext|>"
    words = [*sorted(pre_tokenizers.ByteLevel.alphabet()), pad]
    tokenizer = Qwen2Tokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=_MOST_TOKENS
    )
    tokenizer.add_tokens([AddedToken(mark, special=True, normalized=False) for mark in (TURN, END, *VISION)])
    tokenizer.chat_template = _TEMPLATE
    return tokenizer


def build_byte_level_tokenizer(*marks: str) -> Any:
    """A tokenizer of transformers' general class, with a token for each byte and each of the `marks`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    pad = "<pad>"
    words = [pad, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE({word: number for number, word in enumerate(words)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, eos_token=pad, bos_token=pad, model_max_length=_MOST_TOKENS
    )
    tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
    return tokenizer


def tiny_qwen3(side: int, layers: int) -> Any:
    """A Qwen 3 language model with states of `side` numbers, for the chat tokenizer."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    return Qwen3ForCausalLM(Qwen3Config(**_text(side), num_hidden_layers=layers, tie_word_embeddings=True))


def _configured(side: int, tokenizer: Any, **vision: Any) -> dict[str, Any]:
    """What the configurations of both versions say alike, for states of `side` numbers; `vision` is what each says of
    its own reading of pictures."""
    first, last, picture, video = (tokenizer.convert_tokens_to_ids(mark) for mark in VISION)
    return {
        "text_config": {
            **_text(side),
            "num_hidden_layers": 2,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3]},
        },
        "vision_config": {
            "depth": 2,
            "hidden_size": 16,
            "num_heads": 2,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": side,
            **vision,
        },
        "image_token_id": picture,
        "video_token_id": video,
        "vision_start_token_id": first,
        "vision_end_token_id": last,
        "tie_word_embeddings": False,
    }


def tiny_qwen2_vl(side: int) -> tuple[Any, Any]:
    """A Qwen 2.5-VL with states of `side` numbers, and its processor, which shrinks every picture to at most 32 x 32
    pixels."""
    from transformers import (
        Qwen2_5_VLConfig,
        Qwen2_5_VLForConditionalGeneration,
        Qwen2VLProcessor,
    )
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen2_vl.video_processing_qwen2_vl import Qwen2VLVideoProcessor

    tokenizer = build_chat_tokenizer()
    config = Qwen2_5_VLConfig(
        **_configured(side, tokenizer, intermediate_size=32, patch_size=4, window_size=16, fullatt_block_indexes=[1])
    )
    pictures = Qwen2VLImageProcessorPil(
        patch_size=4, temporal_patch_size=2, merge_size=2, min_pixels=64, max_pixels=32 * 32
    )
    processor = Qwen2VLProcessor(pictures, tokenizer, Qwen2VLVideoProcessor(), chat_template=_TEMPLATE)
    return Qwen2_5_VLForConditionalGeneration(config), processor


def tiny_qwen3_vl(side: int) -> tuple[Any, Any]:
    """A Qwen 3-VL with states of `side` numbers, and its processor, which gives pictures of up to 16 megapixels a token
    for every 32 x 32 pixels, as published: Qwen-Image 2.1 counts on it."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    tokenizer = build_chat_tokenizer()
    config = Qwen3VLConfig(
        **_configured(
            side,
            tokenizer,
            intermediate_size=32,
            patch_size=16,
            num_position_embeddings=64,
            deepstack_visual_indexes=[0],
        )
    )
    pictures = Qwen2VLImageProcessorPil(
        patch_size=16, temporal_patch_size=2, merge_size=2, min_pixels=64, max_pixels=4096 * 4096
    )
    processor = Qwen3VLProcessor(pictures, tokenizer, Qwen3VLVideoProcessor(), chat_template=_TEMPLATE)
    return Qwen3VLForConditionalGeneration(config), processor


def _text(side: int) -> dict[str, Any]:
    return {
        "vocab_size": 512,
        "hidden_size": side,
        "intermediate_size": 2 * side,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": _MOST_TOKENS,
        "bos_token_id": 256,
        "eos_token_id": 256,
    }
