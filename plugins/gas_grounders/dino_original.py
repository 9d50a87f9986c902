"""GroundingDINO's original checkpoints (`.pth`) through the authors' own code, the package groundingdino-py.

A checkpoint is read with `weights_only=True`, and the authors' configuration, which is a Python file, is read as values
and never run. BERT's weights are in the checkpoint; only its settings and its vocabulary come from `text_encoder`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gas.errors import ModelUnavailable, UsageError
from gas.models.account import load_tokenizer
from gas.models.pretrained import loading, model_folder
from gas.remedies import Install, Option, Remedy
from gas_grounders.checkpoints import read_tensors
from gas_grounders.dino_transformers import decode, prepare

if TYPE_CHECKING:
    from gas.runtime import Runtime
    from gas.types import Image

MAX_TEXT = 256
_SHARED: Mapping[str, Any] = {
    "modelname": "groundingdino",
    "position_embedding": "sine",
    "pe_temperatureH": 20,
    "pe_temperatureW": 20,
    "return_interm_indices": [1, 2, 3],
    "backbone_freeze_keywords": None,
    "enc_layers": 6,
    "dec_layers": 6,
    "pre_norm": False,
    "dim_feedforward": 2048,
    "hidden_dim": 256,
    "dropout": 0.0,
    "nheads": 8,
    "num_queries": 900,
    "query_dim": 4,
    "num_patterns": 0,
    "num_feature_levels": 4,
    "enc_n_points": 4,
    "dec_n_points": 4,
    "two_stage_type": "standard",
    "two_stage_bbox_embed_share": False,
    "two_stage_class_embed_share": False,
    "transformer_activation": "relu",
    "dec_pred_bbox_embed_share": True,
    "dn_box_noise_scale": 1.0,
    "dn_label_noise_ratio": 0.5,
    "dn_labelbook_size": 2000,
    "embed_init_tgt": True,
    "use_text_enhancer": True,
    "use_fusion_layer": True,
    "use_text_cross_attention": True,
    "text_dropout": 0.0,
    "fusion_dropout": 0.0,
    "fusion_droppath": 0.1,
    "sub_sentence_present": True,
}
ARCHITECTURES: Mapping[str, Mapping[str, Any]] = {
    "swin-t": {**_SHARED, "backbone": "swin_T_224_1k"},  # groundingdino_swint_ogc.pth
    "swin-b": {**_SHARED, "backbone": "swin_B_384_22k"},  # groundingdino_swinb_cogcoor.pth
}
_CHANNELS = {96: "swin-t", 128: "swin-b"}
# The published files have what training alone needs, and a buffer that transformers no longer keeps.
_UNUSED = ("label_enc.", "bert.embeddings.position_ids")


class BertBody(nn.Module):
    """What groundingdino-py's `BertModelWarper` is there for, with transformers 5: BERT under a mask of phrases.

    The wrapper of the package calls methods that transformers 5 has no more. Here the encoder gets the additive mask
    `(n, 1, tokens, tokens)` itself. Sub-modules have the wrapper's names, so checkpoints fit.
    """

    def __init__(self, bert_model: Any) -> None:
        super().__init__()
        self.config = bert_model.config
        self.embeddings = bert_model.embeddings
        self.encoder = bert_model.encoder
        self.pooler = bert_model.pooler

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, token_type_ids: Tensor
    ) -> dict[str, Tensor]:
        """The last hidden states `(n, tokens, dim)`; `attention_mask` `(n, tokens, tokens)` is true where a token sees
        another."""
        hidden = self.embeddings(input_ids=input_ids, position_ids=position_ids, token_type_ids=token_type_ids)
        unseen = torch.zeros_like(attention_mask, dtype=hidden.dtype)
        unseen = unseen.masked_fill(~attention_mask.bool(), torch.finfo(hidden.dtype).min)
        return {"last_hidden_state": self.encoder(hidden, attention_mask=unseen[:, None]).last_hidden_state}


@dataclass(frozen=True)
class OriginalDino:
    """A frozen network of the original code with its tokenizer."""

    network: Any  # groundingdino's GroundingDINO
    tokenizer: Any
    processor: Any
    device: torch.device

    @classmethod
    def load(cls, model: str, architecture: str, text_encoder: str, runtime: Runtime) -> OriginalDino:
        """The checkpoint file `model`. `architecture` is auto (told by the weights), swin-t, swin-b or a config file.

        ModelUnavailable (exit 6): not there, more than tensors in it, not of that architecture; groundingdino-py or
        something that it needs is not installed.
        """
        from transformers import AutoTokenizer, BertConfig, GroundingDinoImageProcessorPil

        _check_installed()
        device = runtime.torch_device()
        tensors = _state(read_tensors(model), model)
        values = _architecture(architecture, tensors, model)
        text = model_folder(text_encoder, config="bert", weights=False)
        with loading(text_encoder):
            tokenizer = load_tokenizer(AutoTokenizer, text, text_encoder)
            config = BertConfig.from_pretrained(str(text), local_files_only=True)
        with loading(model):
            network = _build(values, config, tokenizer)
            missing, unknown = network.load_state_dict(tensors, strict=False)
        unknown = [key for key in unknown if not key.startswith(_UNUSED)]
        if missing or unknown:
            which = f"{missing[0]} is missing" if missing else f"{unknown[0]} has no place in it"
            raise ModelUnavailable(
                f"{model} does not fit the architecture {architecture!r}: {which}",
                Remedy(
                    "name_architecture",
                    "name the architecture: {option}, swin-b or its config .py",
                    option=Option({"architecture": "swin-t"}, "grounding-dino"),
                ),
            )
        network = network.to(device).eval().requires_grad_(False)
        return cls(network, tokenizer, GroundingDinoImageProcessorPil(), device)

    @property
    def limit(self) -> int:
        """How many tokens a caption may have, its two marks included."""
        return MAX_TEXT

    def detect(self, image: Image, caption: str, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """As `TransformersDino.detect`; the shortest side is 800 pixels when `size` does not say another."""
        with torch.no_grad():
            pixels = prepare(self.processor, image, size).pixel_values.to(self.device)
            output = self.network(pixels, captions=[caption])
        tokens = len(self.tokenizer(caption).input_ids)
        return decode(output["pred_logits"][0], output["pred_boxes"][0], tokens, image)


def read_config(path: Path) -> dict[str, Any]:
    """The values of an authors' config file, which is Python: assignments of plain values, read and not run.

    UsageError (exit 2) names the line that is more than that.
    """
    from gas import files

    text = files.read_text(path, max_bytes=100_000)
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"{path} is not a config file: {error}", "use swin-t or swin-b, or a file of values") from None
    values: dict[str, Any] = {}
    for line in body:
        target = line.targets[0] if isinstance(line, ast.Assign) and len(line.targets) == 1 else None
        try:
            if not isinstance(line, ast.Assign) or not isinstance(target, ast.Name):
                raise ValueError("not an assignment")
            values[target.id] = ast.literal_eval(line.value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            raise UsageError(
                f"{path}, line {line.lineno}: a config file is not run, and this is more than a plain value",
                "write name = value lines only",
            ) from None
    return values


def _check_installed() -> None:
    try:
        import groundingdino.models  # noqa: F401 (it imports all that it needs)
    except ImportError as error:
        raise ModelUnavailable(
            f"original .pth checkpoints need the package groundingdino-py: {error}",
            Remedy(
                "install_or_other_layout",
                "{install}, or name a model in transformers' layout",
                install=Install("gas-edit[groundingdino]"),
            ),
        ) from error


def _architecture(name: str, tensors: Mapping[str, Tensor], model: str) -> dict[str, Any]:
    if name == "auto":
        first = tensors.get("backbone.0.patch_embed.proj.weight")
        name = _CHANNELS.get(first.shape[0] if first is not None and first.ndim else 0, "")
        if not name:
            raise ModelUnavailable(
                f"{model} is not a GroundingDINO checkpoint with a Swin-T or Swin-B backbone",
                Remedy(
                    "name_config",
                    "name its config .py: {option}",
                    option=Option({"architecture": "FILE"}, "grounding-dino"),
                ),
            )
    if name in ARCHITECTURES:
        return dict(ARCHITECTURES[name])
    path = Path(name).expanduser()
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(
            f"architecture {name!r} is unknown", "use auto, swin-t, swin-b, or the path of the authors' config .py"
        )
    known = ARCHITECTURES["swin-t"]
    return {**known, **{key: value for key, value in read_config(path).items() if key in known or key == "backbone"}}


def _state(content: Any, name: str) -> dict[str, Tensor]:
    """The weights by name in a checkpoint: `{"model": {...}}` as published, or the names alone."""
    inner = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(inner, dict) or not all(isinstance(value, Tensor) for value in inner.values()):
        raise ModelUnavailable(
            f"{name} is not a GroundingDINO checkpoint: it holds no weights by name", "check the path"
        )
    return {str(key).removeprefix("module."): value for key, value in inner.items()}


def _build(values: Mapping[str, Any], bert: Any, tokenizer: Any) -> Any:
    from transformers import BertModel

    with _parts_given(tokenizer, BertModel(bert)):
        from groundingdino.models import build_model

        # Checkpointing of activations is for training; without gradients it only warns.
        unused = {"use_checkpoint": False, "use_transformer_ckpt": False, "max_text_len": MAX_TEXT}
        return build_model(SimpleNamespace(**{**values, **unused, "text_encoder_type": "bert-base-uncased"}))


@contextmanager
def _parts_given(tokenizer: Any, bert: Any) -> Iterator[None]:
    """Within it, groundingdino-py takes this tokenizer and this BERT instead of asking the hub for its own."""
    from groundingdino.models.GroundingDINO import groundingdino as code

    before = code.get_tokenlizer, code.BertModelWarper
    code.get_tokenlizer = SimpleNamespace(
        get_tokenlizer=lambda name: tokenizer, get_pretrained_language_model=lambda name: bert
    )
    code.BertModelWarper = BertBody
    try:
        yield
    finally:
        code.get_tokenlizer, code.BertModelWarper = before
