"""The detectors `grounding-dino`: boxes for phrases (Liu et al. 2023, arXiv 2303.05499), and `mm-grounding-dino`, its
successor (Zhao et al. 2024, arXiv 2401.02361), which LLMDet's weights are of too (Fu et al. 2025, arXiv 2501.18954).

All phrases stand in one caption and are found in one forward pass. GroundingDINO has two loaders and one behaviour: a
folder or hub id goes through transformers, a `.pth` file of the original authors through their own code.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import numpy as np
from pydantic import Field

from gas_grounders.captions import Tokens, captions, clean
from gas_grounders.detector import Candidates, Detector, DetectorOptions, Query, pad_thin

if TYPE_CHECKING:
    from gas.interfaces import Watch
    from gas.types import Image


LLMDET = "iSEE-Laboratory/llmdet_tiny@d05199165a19320a9236396e20fca0a5e065189c"


class Network(Protocol):
    """What a loader gives."""

    @property
    def tokenizer(self) -> Any: ...
    @property
    def limit(self) -> int: ...
    def detect(self, image: Image, caption: str, size: int | None = None) -> tuple[np.ndarray, np.ndarray]: ...


class CaptionOptions(DetectorOptions):
    """The options of both. The thresholds are the defaults of GroundingDINO's authors (`Model.predict_with_caption`):
    0.35 for a box, 0.25 for text."""

    score_threshold: float = Field(0.35, ge=0, le=1, description="lowest score of a box for the whole phrase")
    text_threshold: float = Field(
        0.25,
        ge=0,
        le=1,
        description="lowest score of the box for the phrase's main noun: its colour alone is not enough",
    )
    token_score: Literal["mean", "max"] = Field(
        "mean", description="a phrase's score: mean (Ground-A-Score) or maximum (GroundingDINO) over its tokens"
    )
    size: int | None = Field(
        None, ge=32, le=4096, description="shortest side that the network sees, in pixels; the model's own if not set"
    )


class GroundingDinoOptions(CaptionOptions):
    """Which GroundingDINO, and what an original file does not say."""

    model: str = Field(
        "IDEA-Research/grounding-dino-tiny",
        description="hub id, local folder or package:PACKAGE/FOLDER in transformers' layout, or an original .pth file",
    )
    architecture: str = Field(
        "auto",
        description="of a .pth file: auto, swin-t, swin-b, or the authors' config .py (its values are only read)",
    )
    text_encoder: str = Field(
        "google-bert/bert-base-uncased", description="of a .pth file: where BERT's tokenizer and settings come from"
    )


class MMGroundingDinoOptions(CaptionOptions):
    """Which MM Grounding DINO."""

    model: str = Field(
        LLMDET, description="hub id, local folder or package:PACKAGE/FOLDER: MM Grounding DINO or LLMDet"
    )


CaptionOptionsT = TypeVar("CaptionOptionsT", bound=CaptionOptions)


class CaptionDetector(Detector[CaptionOptionsT]):
    """Finds boxes for the phrases of one caption. A subclass gives the network."""

    options_type = CaptionOptions

    @abstractmethod
    def _network(self) -> Network:
        """The shared network."""

    @property
    def noun_threshold(self) -> float:  # type: ignore[override]
        return self.options.text_threshold

    def look(self, image: Image, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        network = self._network()
        texts = [clean(query.text) for query in queries]
        found: list[Candidates] = []
        padded = pad_thin(image)
        for caption in captions(texts, network.tokenizer, network.limit):
            watch.check_stop()
            scores, boxes = network.detect(padded, caption.text, self.options.size)
            found += [self._candidates(scores, boxes, tokens) for tokens in caption.tokens]
        return found

    def _candidates(self, scores: np.ndarray, boxes: np.ndarray, tokens: Tokens) -> Candidates:
        if not tokens.all:
            return Candidates(np.zeros((0, 4)), np.zeros(0), None, unread=tokens.unread)
        of_phrase, of_noun = scores[:, tokens.all], scores[:, tokens.noun]
        total = of_phrase.mean(axis=1) if self.options.token_score == "mean" else of_phrase.max(axis=1)
        return Candidates(boxes, total, of_noun.mean(axis=1), unread=tokens.unread)


class GroundingDino(CaptionDetector[GroundingDinoOptions]):
    """Finds boxes for phrases."""

    options_type = GroundingDinoOptions
    name = "grounding-dino"

    def _network(self) -> Network:
        options, device = self.options, str(self.runtime.torch_device())

        def load() -> Network:
            if Path(options.model).suffix in {".pth", ".pt"}:
                from gas_grounders.dino_original import OriginalDino

                return OriginalDino.load(options.model, options.architecture, options.text_encoder, self.runtime)
            from gas_grounders.dino_transformers import TransformersDino

            return TransformersDino.load(options.model, self.runtime)

        key = (self.name, options.model, options.architecture, options.text_encoder, device)
        return self.runtime.shared(key, load)


class MMGroundingDino(CaptionDetector[MMGroundingDinoOptions]):
    """Finds boxes for phrases."""

    options_type = MMGroundingDinoOptions
    name = "mm-grounding-dino"

    def _network(self) -> Network:
        from gas_grounders.dino_transformers import TransformersDino

        model = self.options.model
        key = (self.name, model, str(self.runtime.torch_device()))
        return self.runtime.shared(key, lambda: TransformersDino.load(model, self.runtime, self.name))
