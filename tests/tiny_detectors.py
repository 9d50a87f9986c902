"""Folders with tiny detectors of the real classes and random weights, as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gas.testing.tiny import build_byte_tokenizer

WORDS = """
a an the red green blue purple box grass sky cat dog car man t shirt submarine moon on in of left right brown hat with
wearing white
"""


def build_bert_tokenizer(folder: Path, *, letters: bool = True) -> Any:
    """A BERT tokenizer with the marks where the published one has them; with `letters` it can spell any word."""
    from transformers import BertTokenizer

    places = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, ".": 1012, "?": 1029}
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    extra = [*"'-,", *WORDS.split()]
    if letters:
        extra += [*alphabet, *(f"##{letter}" for letter in alphabet)]
    free = (number for number in range(104, 1012))
    places |= {word: next(free) for word in dict.fromkeys(extra) if word not in places}
    taken = {number: word for word, number in places.items()}
    vocabulary = {taken.get(number, f"[unused{number}]"): number for number in range(1030)}
    tokenizer = BertTokenizer(vocab=vocabulary, do_lower_case=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def tiny_dino_config(**changed: Any) -> Any:
    from transformers import BertConfig, GroundingDinoConfig, SwinConfig

    values: dict[str, Any] = {
        "backbone_config": SwinConfig(
            image_size=64,
            patch_size=4,
            embed_dim=16,
            depths=[1, 1, 1, 1],
            num_heads=[1, 2, 4, 4],
            window_size=4,
            out_indices=[2, 3, 4],
        ),
        "text_config": BertConfig(
            vocab_size=1030,
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=256,
        ),
        "d_model": 64,
        "encoder_layers": 1,
        "decoder_layers": 2,  # with one, transformers cannot tie the heads of its layers
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_n_points": 2,
        "decoder_n_points": 2,
        "num_queries": 12,
    }
    return GroundingDinoConfig(**{**values, **changed})


def build_tiny_grounding_dino(folder: Path, *, seed: int = 0, letters: bool = True, **changed: Any) -> Path:
    """GroundingDINO with 12 queries, for pictures of 64 to 107 pixels."""
    from transformers import GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = GroundingDinoForObjectDetection(tiny_dino_config(**changed)).eval()
        for parameter in network.parameters():
            if parameter.dim() > 1:
                # The library's own small numbers would give every query the same box.
                torch.nn.init.normal_(parameter, std=0.2)
    network.save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 107}).save_pretrained(folder)
    build_bert_tokenizer(folder, letters=letters)
    return folder


def build_tiny_mm_grounding_dino(folder: Path, *, seed: int = 0) -> Path:
    """MM Grounding DINO with 12 queries, for pictures of 64 to 107 pixels."""
    from transformers import GroundingDinoImageProcessorPil, MMGroundingDinoConfig, MMGroundingDinoForObjectDetection

    own = tiny_dino_config().to_dict()
    kept = {name: value for name, value in own.items() if name in MMGroundingDinoConfig().to_dict()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = MMGroundingDinoConfig(**{**kept, "model_type": "mm-grounding-dino", "architectures": None})
        _spread(MMGroundingDinoForObjectDetection(config), 0.2).save_pretrained(folder)
    GroundingDinoImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 107}).save_pretrained(folder)
    build_bert_tokenizer(folder)
    return folder


def build_tiny_sam3(folder: Path, *, seed: int = 0) -> Path:
    """Sam 3 with 12 queries and 32 tokens of text, for pictures of 112 pixels."""
    from transformers import Sam3Config, Sam3ImageProcessor, Sam3Model

    side, width = 112, 16
    layer = {"hidden_size": width, "num_attention_heads": 2, "intermediate_size": 32}
    config = Sam3Config(
        vision_config={
            "backbone_config": {
                **layer,
                "model_type": "sam3_vit_model",
                "num_hidden_layers": 2,
                "image_size": side,
                "pretrain_image_size": 56,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": width,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        text_config={**_clip_text(max_position_embeddings=32), "projection_dim": 16},
        geometry_encoder_config={**layer, "num_layers": 1},
        detr_encoder_config={**layer, "num_layers": 1},
        detr_decoder_config={**layer, "num_layers": 2, "num_queries": 12},
        mask_decoder_config={"hidden_size": width, "num_attention_heads": 2},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _spread(Sam3Model(config), 0.2).save_pretrained(folder)
    Sam3ImageProcessor(size={"height": side, "width": side}, mask_size={"height": 32, "width": 32}).save_pretrained(
        folder
    )
    build_byte_tokenizer(folder)
    return folder


def _clip_text(**changed: Any) -> dict[str, Any]:
    """Settings of a text encoder for the byte tokenizer."""
    values = {
        "vocab_size": 514,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "bos_token_id": 512,
        "eos_token_id": 513,
        "pad_token_id": 513,
    }
    return {**values, **changed}


def _vision(**changed: Any) -> dict[str, Any]:
    values = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return {**values, **changed}


def _spread(network: Any, std: float) -> Any:
    for parameter in network.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=std)
    return network.eval()


def build_tiny_owlv2(folder: Path, *, seed: int = 0) -> Path:
    """OWLv2 with 36 boxes, for pictures of 96 pixels."""
    from transformers import Owlv2Config, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Owlv2Config(
            text_config=_clip_text(), vision_config=_vision(image_size=96, patch_size=16), projection_dim=32
        )
        _spread(Owlv2ForObjectDetection(config), 0.2).save_pretrained(folder)
    Owlv2ImageProcessorPil(size={"height": 96, "width": 96}).save_pretrained(folder)
    build_byte_tokenizer(folder)
    return folder


def build_tiny_clipseg(folder: Path, *, seed: int = 0) -> Path:
    """CLIPSeg for pictures of 64 pixels."""
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, ViTImageProcessorPil

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CLIPSegConfig(
            text_config=_clip_text(),
            vision_config=_vision(num_hidden_layers=2, image_size=64, patch_size=16),
            projection_dim=32,
            extract_layers=[0, 1],
            reduce_dim=16,
            decoder_num_attention_heads=2,
            decoder_intermediate_size=16,
        )
        _spread(CLIPSegForImageSegmentation(config), 0.3).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)
    build_byte_tokenizer(folder)
    return folder


def build_tiny_clip_text(folder: Path, *, seed: int = 0, safe: bool = True) -> Path:
    """CLIP's text encoder with the 512 features that YOLO-World wants, in a whole CLIP as it is published."""
    from transformers import CLIPConfig, CLIPModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CLIPConfig(
            text_config=_clip_text(), vision_config=_vision(image_size=32, patch_size=16), projection_dim=512
        )
        network = _spread(CLIPModel(config), 0.2)
    network.save_pretrained(folder)
    if not safe:
        (folder / "model.safetensors").unlink()
        torch.save(network.state_dict(), folder / "pytorch_model.bin")
    build_byte_tokenizer(folder)
    return folder


def build_tiny_sam(folder: Path) -> Path:
    """`folder` with an untrained Sam for pictures of 64 pixels, in transformers' layout."""
    from transformers import SamConfig, SamImageProcessorPil, SamModel

    size = {"image_size": 64, "patch_size": 8}
    vision = {"hidden_size": 16, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = SamConfig(
        vision_config={**vision, **size, "window_size": 3, "global_attn_indexes": [0], "num_pos_feats": 8},
        prompt_encoder_config={"hidden_size": 16, **size},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 24, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SamModel(config)
    network.save_pretrained(folder)
    SamImageProcessorPil(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder
