"""Builds the diorama's CLIPTokenizer: byte-level BPE with CLIP's own layout, trained on captions, requests and plain
English."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from gas_diorama import folders
from gas_diorama.world.language import caption, request, short_phrase
from gas_diorama.world.scene import EDIT_FORMS, sample_edits, sample_scene

MAX_LENGTH = 77
_START, _END = "<|startoftext|>", "<|endoftext|>"
_CLIP_WORDS = Regex(r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+""")


def corpus(count: int, seed: int = 0) -> Iterator[str]:
    """Text to train on: `count` captions, phrases and requests of random scenes, and as many lines of plain English."""
    rng = np.random.default_rng(seed)
    english = [line for line in folders.ENGLISH.read_text().splitlines() if line]
    for _ in range(count):
        scene = sample_scene(rng)
        yield caption(scene, rng)
        yield short_phrase(scene, rng)
        edits = sample_edits(scene, rng, [str(rng.choice(EDIT_FORMS))])
        if edits:
            yield request(edits, rng, scene)
        yield english[int(rng.integers(len(english)))]


def train_tokenizer(size: int = 2000, count: int = 20000, seed: int = 0) -> CLIPTokenizer:
    """A CLIPTokenizer of at most `size` tokens: 256 bytes, the same at the end of a word, merges, start and end of
    text."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(_CLIP_WORDS, "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size - 2, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    bpe.train_from_iterator(corpus(count, seed), trainer)
    merges = [tuple(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]][: size - 2 - 2 * len(alphabet)]
    tokens = [*alphabet, *(letter + "</w>" for letter in alphabet), *("".join(pair) for pair in merges), _START, _END]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        model_max_length=MAX_LENGTH,
        bos_token=_START,
        eos_token=_END,
        unk_token=_END,
        pad_token=_END,
    )
