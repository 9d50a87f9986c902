"""Builds a folder of a vision-language model as transformers saves it, tiny and with random weights: for tests of
everything but the words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch

from gas.models.quiet import no_bars


def build_tiny_vision_language(
    folder: Path | str, kind: Literal["gemma3", "qwen3-vl"] = "gemma3", *, says: str | None = None, seed: int = 0
) -> Path:
    """`folder`, now with a model below 1 MB of Gemma 3's class, or of Qwen3-VL's (whose processor wants torchvision):
    one layer, a few hundred tokens, a chat template.

    The weights depend on `seed` alone. With `says` it knows one answer by heart: the whole text is a token, the layer
    adds nothing, and the output layer answers a line's end with that token, and that token with the end of a turn. It
    then takes pictures and has nothing to say about them.
    """
    from transformers.utils import logging

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network, processor = _gemma3(says) if kind == "gemma3" else _qwen3_vl(says)
        if says is not None:
            _know_by_heart(network, processor.tokenizer, says)
    with no_bars(logging):
        network.save_pretrained(folder)
        processor.save_pretrained(folder)
    return Path(folder)


def _gemma3(says: str | None) -> tuple[Any, Any]:
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    turn, end = "<start_of_turn>", "<end_of_turn>"
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer = _tokenizer("<pad>", end, [turn], named, says)
    first, last, soft = (tokenizer.convert_tokens_to_ids(mark) for mark in named.values())
    config = Gemma3Config(
        text_config={**_TEXT, "vocab_size": len(tokenizer), "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 1},
        vision_config={**_VISION, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28, "patch_size": 7},
        mm_tokens_per_image=4,
        boi_token_index=first,
        eoi_token_index=last,
        image_token_index=soft,
        tie_word_embeddings=False,
    )
    processor = Gemma3Processor(
        Gemma3ImageProcessorPil(size={"height": 28, "width": 28}),
        tokenizer,
        chat_template=_template(turn, end, named["boi_token"]),
        image_seq_length=4,
    )
    network = Gemma3ForConditionalGeneration(config)
    with torch.no_grad():
        network.model.multi_modal_projector.mm_input_projection_weight.normal_()  # zero before training: blind
    network.generation_config.eos_token_id = tokenizer.eos_token_id
    return network, processor


def _qwen3_vl(says: str | None) -> tuple[Any, Any]:
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration, Qwen3VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import Qwen3VLVideoProcessor

    turn, end = "<|im_start|>", "<|im_end|>"
    marks = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = _tokenizer("<|endoftext|>", end, [turn, *marks], {}, says)
    first, last, picture, video = (tokenizer.convert_tokens_to_ids(mark) for mark in marks)
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 3, 3], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config={**_TEXT, "vocab_size": len(tokenizer), "rope_parameters": rope},
        vision_config={
            **_VISION,
            "depth": 2,
            "num_heads": 2,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": 32,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0],
        },
        image_token_id=picture,
        video_token_id=video,
        vision_start_token_id=first,
        vision_end_token_id=last,
        tie_word_embeddings=False,
    )
    processor = Qwen3VLProcessor(
        Qwen2VLImageProcessorPil(patch_size=4, temporal_patch_size=2, merge_size=2, min_pixels=64, max_pixels=1024),
        tokenizer,
        Qwen3VLVideoProcessor(),
        chat_template=_template(turn, end, f"{marks[0]}{marks[2]}{marks[1]}"),
    )
    network = Qwen3VLForConditionalGeneration(config)
    network.generation_config.eos_token_id = tokenizer.eos_token_id
    return network, processor


_TEXT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 16_384,
    "tie_word_embeddings": False,
}
_VISION: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64}


_WORDS = """ the and that which with for is are not of one two it its in into a an as by be have this other
 picture shows thing
 things there phrase phrases source target sentence sentences request requests subtask subtasks change add remove
 anchor outline shape preserve true false reasoning whole list entry each key object answer example dog cat grass sky
 red blue sits beside wooden stone path "source": "target": "", {" "} true, false, "preserve_shape": "attribute":
 "action": "anchor": "region": "amount": "count": "where": "plain": "source_prompt": "target_prompt": "subtasks":
 "reasoning": "change", "material": (true: (false: ", ": "" "}, {" "}], "": [{" ", ", (" "); attribute action where
 region amount count plain material prompt requests words says names describes changes becomes become keeps keep stays
 stay only but same from on can so what seen must made less alone below differently different little free long dark
 brighter lightly saturated covered yellow brown grey gold black colour colours kind photograph meadow cart rock
 rabbit cow lake gravel brick bricks eagle sail boat lies kites shadow bison hat fox hill moss balloon toy sand wolf
 horse three The Answer Example Requests Three Picture"""


def _template(turn: str, end: str, picture: str) -> str:
    """A chat template: the role of each turn, its pictures and texts, and a thought that is begun where one is asked
    for."""
    return (
        f"{{% for m in messages %}}{turn}{{{{ m['role'] }}}}\n"
        f"{{% for p in m['content'] %}}{{% if p['type'] == 'image' %}}{picture}{{% else %}}{{{{ p['text'] }}}}"
        f"{{% endif %}}{{% endfor %}}{end}\n{{% endfor %}}"
        f"{{% if add_generation_prompt %}}{turn}assistant\n"
        "{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
    )


def _tokenizer(pad: str, end: str, marks: Sequence[str], named: Mapping[str, str], says: str | None) -> Any:
    """A tokenizer of bytes and the pieces of some common words, after the special tokens; `says` is one token more."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer: Any = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=[pad, end, *marks, *named.values()],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_WORDS], trainer)
    more = {"extra_special_tokens": dict(named)} if named else {}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, eos_token=end, **more)
    if says is not None:
        fast.add_tokens([AddedToken(says, normalized=False)])
    return fast


def _know_by_heart(network: Any, tokenizer: Any, says: str) -> None:
    """Makes the network answer a line's end with the token `says`, and that with the end of its turn."""
    line, answer = tokenizer.convert_tokens_to_ids("Ċ"), tokenizer.convert_tokens_to_ids(says)
    with torch.no_grad():
        for name, weights in network.model.language_model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weights.zero_()
        embedded = network.get_input_embeddings().weight
        head = network.get_output_embeddings().weight
        head.zero_()
        for before, after in ((line, answer), (answer, tokenizer.eos_token_id)):
            head[after] = 10 * embedded[before] / embedded[before].norm()
