"""Segment Anything 3 by words: masks, boxes and scores as transformers makes them, several things at once, what is
refused. The networks have random weights: what a word finds, they cannot show."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_detectors import build_tiny_sam3

from gas.backends.registry import Registry
from gas.errors import InputRefused, ModelUnavailable, ObjectNotFound
from gas.interfaces import GroundJob
from gas.masks import box_mask, mask_box
from gas.runtime import Runtime
from gas.testing import GrounderContract
from gas.testing.contracts import sample_image
from gas.types import Region
from gas_grounders.sam3 import Sam3, Sam3Network, Sam3Options

pytest.importorskip("torchvision")

IMAGE = sample_image(96, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sam3(tmp_path_factory.mktemp("sam3") / "model")


def detector(model: Path | str, **options: Any) -> Sam3:
    return Sam3(Sam3Options(model=str(model), **options), Runtime(device="cpu", dtype="fp32"))


def asked(*regions: Region) -> GroundJob:
    return GroundJob(IMAGE, [replace(region, subtask=index) for index, region in enumerate(regions)])


class TestSam3(GrounderContract):
    @pytest.fixture
    def grounder(self, folder: Path) -> Sam3:
        return detector(folder, always_best=True)


def test_it_is_in_the_listing() -> None:
    assert Registry(plugins="none").load("grounders", "sam3") is Sam3


def test_scores_boxes_and_masks_are_the_libraries(folder: Path) -> None:
    """Against transformers' own processing of picture and words, and its post-processing."""
    from transformers import AutoTokenizer, Sam3ImageProcessor, Sam3Model, Sam3Processor

    processor = Sam3Processor(Sam3ImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    theirs = Sam3Model.from_pretrained(folder).eval()
    network = Sam3Network.load(str(folder), Runtime(device="cpu"))
    seen = network.encode(IMAGE)
    for phrase in ("red box", "grass"):
        inputs = processor(images=IMAGE, text=phrase, return_tensors="pt")
        with torch.no_grad():
            output = theirs(**inputs)
        expected = processor.post_process_instance_segmentation(
            output, threshold=0.0, mask_threshold=0.5, target_sizes=[(64, 96)]
        )[0]
        scores, boxes, logits = network.detect(seen, phrase, IMAGE)
        np.testing.assert_allclose(scores, expected["scores"].numpy(), atol=1e-5)
        np.testing.assert_allclose(boxes, expected["boxes"].numpy(), atol=1e-3)
        for index in range(len(scores)):
            assert np.array_equal(network.mask(logits[index], IMAGE, 0.5), expected["masks"][index].numpy())


def test_one_phrase_gives_all_its_things_with_their_masks_in_one_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    detect = Sam3Network.detect
    monkeypatch.setattr(
        Sam3Network,
        "detect",
        lambda self, seen, phrase, image: (calls.append(phrase), detect(self, seen, phrase, image))[1],
    )
    every = detector(folder, score_threshold=0.0, nms=0.9).ground(asked(Region("cars", count="all")))
    assert calls == ["car"] and len(every) > 2
    assert len({region.box for region in every}) == len(every)
    for region in every:
        assert region.subtask == 0 and region.mask is not None and set(np.unique(region.mask)) <= {0, 1}
        assert region.mask.shape == (64, 96) and region.mask.any()
    two = detector(folder, score_threshold=0.0, nms=0.9).ground(asked(Region("cars", count=2)))
    assert [one.box for one in two] == [one.box for one in every[:2]]
    scores = [one.score for one in every]
    assert scores == sorted(scores, reverse=True)


def test_a_mask_without_a_pixel_is_the_box_and_that_is_said(folder: Path) -> None:
    with pytest.warns(UserWarning, match="its mask is the whole box"):
        (found,) = detector(folder, always_best=True, mask_threshold=1 - 1e-9).ground(asked(Region("box")))
    assert found.mask is not None and found.box is not None
    assert np.array_equal(found.mask, box_mask(found.box, (96, 64))) and mask_box(found.mask)


def test_what_scores_too_little_is_not_found(folder: Path) -> None:
    with pytest.raises(ObjectNotFound, match="'box' was not found: the best score is") as missed:
        detector(folder, score_threshold=1.0).ground(asked(Region("box")))
    assert 'options={"sam3": {"score_threshold": ' in missed.value.remedy


def test_a_phrase_that_would_be_cut_is_refused(folder: Path) -> None:
    with pytest.raises(InputRefused, match="the text encoder reads 30"):
        detector(folder).ground(asked(Region("x" * 40)))


def test_a_whole_checkpoint_is_read_for_its_detector(folder: Path, tmp_path: Path) -> None:
    """As it is published: settings of a model for videos, with the detector's within, weights under its name, and the
    settings for pictures among those of the processor."""
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    own = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({"model_type": "sam3_video", "detector_config": own}))
    weights = {f"detector_model.{key}": one for key, one in load_file(copy / "model.safetensors").items()}
    weights["tracker_neck.fpn_layers.0.proj1.weight"] = torch.ones(2)
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    pictures = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").unlink()
    (copy / "processor_config.json").write_text(json.dumps({"image_processor": pictures}))
    plain, whole = (detector(model, always_best=True).ground(asked(Region("box")))[0] for model in (folder, copy))
    assert plain.box == whole.box and plain.score == whole.score


def test_folders_that_are_something_else(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    (copy / "config.json").write_text('{"model_type": "sam2"}')
    with pytest.raises(ModelUnavailable, match="of the kind 'sam2', not sam3 or sam3_video"):
        detector(copy).ground(asked(Region("box")))
    import sys

    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModelUnavailable, match="torchvision") as refused:
        detector(folder).ground(asked(Region("box")))
    assert "gas-edit[vision]" in refused.value.remedy
