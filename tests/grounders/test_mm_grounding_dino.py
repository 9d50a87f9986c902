"""MM Grounding DINO (and LLMDet, whose weights it reads): as GroundingDINO, by another class of transformers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_detectors import build_tiny_grounding_dino, build_tiny_mm_grounding_dino

from gas.backends.registry import Registry
from gas.errors import ModelUnavailable, ObjectNotFound
from gas.interfaces import GroundJob
from gas.runtime import Runtime
from gas.testing import GrounderContract
from gas.testing.contracts import sample_image
from gas.types import Region
from gas_grounders.dino_transformers import TransformersDino
from gas_grounders.grounding_dino import GroundingDino, GroundingDinoOptions, MMGroundingDino, MMGroundingDinoOptions

IMAGE = sample_image(96, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_mm_grounding_dino(tmp_path_factory.mktemp("mm") / "model")


RUNTIME = Runtime(device="cpu")
"""For models that stay as they are, so that each is read once."""


def detector(model: Path | str, runtime: Runtime | None = None, **options: Any) -> MMGroundingDino:
    return MMGroundingDino(MMGroundingDinoOptions(model=str(model), **options), runtime or Runtime(device="cpu"))


def asked(*regions: Region) -> GroundJob:
    return GroundJob(IMAGE, [replace(region, subtask=index) for index, region in enumerate(regions)])


class TestMMGroundingDino(GrounderContract):
    @pytest.fixture
    def grounder(self, folder: Path) -> MMGroundingDino:
        return detector(folder, RUNTIME, always_best=True)


def test_it_is_in_the_listing() -> None:
    assert Registry(plugins="none").load("grounders", "mm-grounding-dino") is MMGroundingDino


def test_scores_and_boxes_are_the_librarys(folder: Path) -> None:
    from transformers import AutoTokenizer, GroundingDinoImageProcessorPil, MMGroundingDinoForObjectDetection

    caption = "red box . grass ."
    tokens = AutoTokenizer.from_pretrained(folder)(caption, return_tensors="pt")
    pixels = GroundingDinoImageProcessorPil.from_pretrained(folder)(images=IMAGE, return_tensors="pt")
    with torch.no_grad():
        theirs = MMGroundingDinoForObjectDetection.from_pretrained(folder).eval()(**pixels, **tokens)
    network = TransformersDino.load(str(folder), Runtime(device="cpu"), "mm-grounding-dino")
    scores, boxes = network.detect(IMAGE, caption)
    count = tokens.input_ids.shape[1]
    np.testing.assert_allclose(scores, theirs.logits[0, :, :count].sigmoid().numpy(), atol=1e-4)
    middle, sides = np.split(theirs.pred_boxes[0].numpy(), 2, axis=1)
    corners = np.concatenate([middle - sides / 2, middle + sides / 2], axis=1) * [96, 64, 96, 64]
    np.testing.assert_allclose(boxes, corners, atol=1e-2)


def test_quantities_are_heeded(folder: Path) -> None:
    easy = {"score_threshold": 0.0, "text_threshold": 0.0, "nms": 0.95}
    every = detector(folder, **easy).ground(asked(Region("red boxes", count="all")))
    two = detector(folder, **easy).ground(asked(Region("red boxes", count=2)))
    assert len(every) > 2 and [one.box for one in two] == [one.box for one in every[:2]]


def test_what_scores_too_little_is_not_found(folder: Path) -> None:
    with pytest.raises(ObjectNotFound, match="'box' was not found") as missed:
        detector(folder, score_threshold=1.0).ground(asked(Region("box")))
    assert "draw it" in missed.value.remedy


def test_the_two_kinds_are_not_taken_for_each_other(folder: Path, tmp_path: Path) -> None:
    other = build_tiny_grounding_dino(tmp_path / "dino")
    with pytest.raises(ModelUnavailable, match="of the kind 'grounding-dino', not mm-grounding-dino"):
        detector(other).ground(asked(Region("box")))
    first = GroundingDino(GroundingDinoOptions(model=str(folder)), Runtime(device="cpu"))
    with pytest.raises(ModelUnavailable, match="of the kind 'mm-grounding-dino', not grounding-dino"):
        first.ground(asked(Region("box")))


@pytest.mark.parametrize("name", ["sam3", "mm-grounding-dino"])
def test_the_model_that_nobody_named_is_a_pinned_revision(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has to be downloaded is named with its commit, and comes only when it is asked for."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    found = Registry.discover().create("grounders", name, {}, Runtime(device="cpu"))
    with pytest.raises(ModelUnavailable, match="has not been downloaded") as missing:
        found.ground(asked(Region("box")))
    assert missing.value.exit_code == 6
    assert re.search(r"gas models pull [\w-]+/\w+@[0-9a-f]{40}\b", missing.value.remedy)
