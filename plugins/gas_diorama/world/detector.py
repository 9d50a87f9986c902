"""The diorama's detector: a small GroundingDinoForObjectDetection, its vocabulary, and its answers to phrases."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoImageProcessorPil,
    SwinBackbone,
    SwinConfig,
)

from gas_diorama import folders
from gas_diorama.world.asking import STRANGERS
from gas_diorama.world.scene import COLOURS, GROUNDS, KINDS, SIZE, SKIES

MAX_TOKENS = 128
_PLACES = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
"""Where BERT's own vocabulary has these; transformers' GroundingDINO knows 101, 102, 1012 and 1029 by number."""


@dataclass(frozen=True)
class DetectorSettings:
    """Size and schedule of the detector and its training."""

    patch: int = 8
    swin: tuple[int, ...] = (64, 128)
    swin_depths: tuple[int, ...] = (4, 2)
    swin_heads: tuple[int, ...] = (8, 16)
    window: int = 8
    width: int = 96
    heads: int = 6
    feed_forward: int = 192
    encoder_layers: int = 1
    decoder_layers: int = 1
    points: int = 2
    queries: int = 24
    text_width: int = 96
    text_layers: int = 2
    backbone_steps: int = 900
    backbone_peak: float = 2e-3
    steps: int = 3400
    batch: int = 16
    peak: float = 2e-3
    warm_up: int = 100
    average: float = 0.998
    scenes: int = 24000
    first_scenes: int = 2000
    scenes_a_step: int = 4
    seed: int = 0
    save_every: int = 200
    measured: int = 96


def vocabulary() -> dict[str, int]:
    """Word or word piece to number: BERT's special tokens in BERT's places, the diorama's words, the words of plain
    English about pictures, and letters to spell any other word with."""
    english = folders.ENGLISH.read_text().lower()
    words = [*COLOURS, *KINDS, *GROUNDS, *SKIES, "sky", "ground", "a", "an", "the", "on", "with", "under", "and", "of"]
    words += [*STRANGERS, *sorted(set(re.findall(r"[a-z]+", english)))]
    letters = string.ascii_lowercase + string.digits
    pieces = [*words, *letters, *(f"##{letter}" for letter in letters), *string.punctuation]
    rest = iter([piece for piece in dict.fromkeys(pieces) if piece not in _PLACES])
    places = {number: token for token, number in _PLACES.items()}
    tokens = [places.get(number) or (next(rest, None) if number > 103 else None) for number in range(1030)]
    tokens += list(rest)
    return {token or f"[unused{number}]": number for number, token in enumerate(tokens)}


def build_tokenizer() -> BertTokenizer:
    """A BertTokenizer with `vocabulary()`."""
    return BertTokenizer(vocab=vocabulary(), do_lower_case=True, model_max_length=MAX_TOKENS)


def build_image_processor() -> GroundingDinoImageProcessorPil:
    """Pictures to 128 pixels and [-1, 1]."""
    return GroundingDinoImageProcessorPil(
        size={"shortest_edge": SIZE, "longest_edge": SIZE}, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )


def _swin_config(settings: DetectorSettings) -> SwinConfig:
    return SwinConfig(
        image_size=SIZE,
        patch_size=settings.patch,
        embed_dim=settings.swin[0],
        depths=list(settings.swin_depths),
        num_heads=list(settings.swin_heads),
        window_size=settings.window,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
        out_indices=list(range(1, len(settings.swin) + 1)),
    )


def build_swin(settings: DetectorSettings) -> SwinBackbone:
    """The untrained backbone of `build_detector`."""
    swin = SwinBackbone(_swin_config(settings))
    look_near(swin)
    return swin


@torch.no_grad()
def look_near(swin: nn.Module, strength: float = 2.0) -> None:
    """Makes each attention head of an untrained Swin look at one neighbouring cell, so that the network starts as a
    convolution (d'Ascoli et al. 2021, ConViT): after that it learns shapes several times as fast.

    The first eight heads look one cell away in the eight directions, others two.
    """
    around = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)]
    for module in swin.modules():
        table = getattr(module, "relative_position_bias_table", None)
        if table is None:
            continue
        side = (math.isqrt(table.shape[0]) + 1) // 2
        along = torch.arange(1 - side, side, dtype=torch.float32)
        offsets = torch.stack(torch.meshgrid(along, along, indexing="ij"), -1).flatten(0, 1)
        for head in range(table.shape[1]):
            wanted = torch.tensor(around[head % 8]) * (1 + head // 8)
            table[:, head] = -strength * ((offsets - wanted) ** 2).sum(-1).clamp(max=8)


def build_detector(settings: DetectorSettings, words: int) -> GroundingDinoForObjectDetection:
    """The untrained network, for a vocabulary of `words` entries.

    Two of transformers' starting values are made for millions of pictures and are changed: the gates of the fusion
    layers (0.0001) to 0.2, and the scale and offset of what is compared, so that every score starts near 0.05.
    """
    text = BertConfig(
        vocab_size=words,
        hidden_size=settings.text_width,
        num_hidden_layers=settings.text_layers,
        num_attention_heads=4,
        intermediate_size=2 * settings.text_width,
        max_position_embeddings=MAX_TOKENS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    detector = GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config=_swin_config(settings),
            text_config=text,
            num_queries=settings.queries,
            d_model=settings.width,
            encoder_layers=settings.encoder_layers,
            encoder_ffn_dim=settings.feed_forward,
            encoder_attention_heads=settings.heads,
            encoder_n_points=settings.points,
            decoder_layers=settings.decoder_layers,
            decoder_ffn_dim=settings.feed_forward,
            decoder_attention_heads=settings.heads,
            decoder_n_points=settings.points,
            decoder_bbox_embed_share=settings.decoder_layers > 1,
            num_feature_levels=len(settings.swin),
            max_text_len=MAX_TOKENS,
            dropout=0.0,
            fusion_droppath=0.0,
        )
    )
    model = detector.model
    look_near(model.backbone)
    with torch.no_grad():
        for layer in model.encoder.layers:
            layer.fusion_layer.vision_param.fill_(0.2)
            layer.fusion_layer.text_param.fill_(0.2)
        model.encoder.layers[-1].text_enhancer_layer.layer_norm_after.bias.fill_(0.3)
        for norm in (model.enc_output_norm, model.decoder.layer_norm):
            norm.weight.fill_(0.15)
            norm.bias.fill_(-3 / (0.3 * settings.width))
    return detector


def to_pixels(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 (n, 128, 128, 3) to what the image processor makes of them: float32 (n, 3, 128, 128) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div(127.5).sub(1)


def caption_of(phrases: Sequence[str]) -> str:
    """The phrases as GroundingDINO wants them: small letters, each ended by " ."."""
    return " ".join(f"{phrase.lower()} ." for phrase in phrases)


def phrase_tokens(tokenizer: BertTokenizer, phrases: Sequence[str]) -> list[tuple[int, int]]:
    """Where each phrase's tokens stand in the caption: (first, one past the last), [CLS] being token 0."""
    spans, start = [], 1
    for phrase in phrases:
        length = len(tokenizer.tokenize(phrase.lower()))
        spans.append((start, start + length))
        start += length + 1
    return spans


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) from middle, width, height to x0, y0, x1, y1."""
    middle, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([middle - half, middle + half], -1)


def overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union and its generalised form (Rezatofighi et al. 2019) of boxes given by corners; (..., 4)
    each, broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).clamp(min=0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - both
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    hull = (high - low).prod(-1)
    iou = both / union.clamp(min=1e-9)
    return iou, iou - (hull - union) / hull.clamp(min=1e-9)


@torch.no_grad()
def detect(
    detector: nn.Module,
    tokenizer: BertTokenizer,
    pictures: NDArray[np.uint8],
    phrases: Sequence[Sequence[str]],
    batch: int = 32,
) -> list[list[tuple[float, tuple[float, float, float, float]]]]:
    """For each picture and each of its phrases the best (score, box in pixels): a score is the mean of the sigmoids of
    the phrase's tokens."""
    found = []
    for start in range(0, len(pictures), batch):
        asked = phrases[start : start + batch]
        text = tokenizer([caption_of(some) for some in asked], padding=True, return_tensors="pt")
        device = next(detector.parameters()).device
        out = detector(pixel_values=to_pixels(pictures[start : start + batch]).to(device), **text.to(device))
        scores, boxes = out.logits.float().sigmoid().cpu(), (corners(out.pred_boxes.float()) * SIZE).cpu()
        for picture, some in enumerate(asked):
            answers = []
            for first, end in phrase_tokens(tokenizer, some):
                values = scores[picture, :, first:end].mean(-1)
                best = int(values.argmax())
                answers.append((float(values[best]), tuple(boxes[picture, best].tolist())))
            found.append(answers)
    return found
