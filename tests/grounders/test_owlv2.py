"""OWLv2 through transformers: boxes per phrase, the template, thresholds, what is refused."""

from __future__ import annotations

import contextlib
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny_detectors import build_tiny_owlv2

from gas.backends.registry import Registry
from gas.errors import InputRefused, ModelUnavailable, ObjectNotFound
from gas.interfaces import GroundJob
from gas.process import own_process
from gas.runtime import Runtime
from gas.testing import GrounderContract
from gas.testing.contracts import sample_image
from gas.types import Region
from gas_grounders.owlv2 import Owlv2, Owlv2Network, Owlv2Options

IMAGE = sample_image(96, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_owlv2(tmp_path_factory.mktemp("owlv2") / "model")


RUNTIME = Runtime(device="cpu")
"""For models that stay as they are, so that each is read once."""


def detector(model: Path | str, runtime: Runtime | None = None, **options: Any) -> Owlv2:
    return Owlv2(Owlv2Options(model=str(model), **options), runtime or Runtime(device="cpu"))


def ask(*phrases: str) -> list[Region]:
    return [Region(phrase, subtask=index) for index, phrase in enumerate(phrases)]


class TestOwlv2(GrounderContract):
    @pytest.fixture
    def grounder(self, folder: Path) -> Owlv2:
        return detector(folder, RUNTIME, always_best=True)


def test_it_is_in_the_listing() -> None:
    assert Registry(plugins="none").load("grounders", "owlv2") is Owlv2


def test_scores_and_boxes_are_the_libraries(folder: Path) -> None:
    """Against transformers' own processor and post-processing, one phrase at a time."""
    from transformers import AutoTokenizer, Owlv2ForObjectDetection, Owlv2ImageProcessorPil

    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = Owlv2ImageProcessorPil.from_pretrained(folder)
    network = Owlv2ForObjectDetection.from_pretrained(folder).eval()
    texts = ["a photo of the red box", "a photo of grass"]
    scores, boxes = Owlv2Network.load(str(folder), Runtime(device="cpu")).detect(IMAGE, texts)
    for column, text in enumerate(texts):
        tokens = tokenizer([text], padding="max_length", max_length=77, return_tensors="pt")
        with torch.no_grad():
            output = network(**tokens, pixel_values=processor(images=IMAGE, return_tensors="pt").pixel_values)
        expected = processor.post_process_object_detection(output, threshold=0.0, target_sizes=[(64, 96)])[0]
        np.testing.assert_allclose(scores[:, column], expected["scores"].numpy(), atol=1e-4)
        np.testing.assert_allclose(boxes, expected["boxes"].numpy(), atol=1e-2)


def test_template_is_what_is_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    detect = Owlv2Network.detect

    def spy(self: Owlv2Network, image: np.ndarray, texts: Any) -> Any:
        asked.append(list(texts))
        return detect(self, image, texts)

    monkeypatch.setattr(Owlv2Network, "detect", spy)
    one = detector(folder, always_best=True).ground(GroundJob(IMAGE, ask("the cat on the left", "grass")))
    other = detector(folder, always_best=True, template="{}!").ground(GroundJob(IMAGE, ask("the cat", "grass")))
    assert asked == [["a photo of the cat", "a photo of grass"], ["the cat!", "grass!"]]
    assert one[1].score != other[1].score
    for wrong in ("a photo", "{} {}"):
        with pytest.raises(ValidationError, match="where the phrase goes"):
            Owlv2Options(template=wrong)


def test_threshold_nms_and_always_best(folder: Path) -> None:
    scores, _ = Owlv2Network.load(str(folder), Runtime(device="cpu")).detect(IMAGE, ["a photo of grass"])
    best = float(scores.max())
    assert 0.01 < best < 0.99
    assert detector(folder, score_threshold=best - 0.005).ground(GroundJob(IMAGE, ask("grass")))[
        0
    ].score == pytest.approx(best)
    with pytest.raises(ObjectNotFound, match="'grass' was not found") as raised:
        detector(folder, score_threshold=best + 0.005).ground(GroundJob(IMAGE, ask("grass")))
    assert 'options={"owlv2": {"score_threshold": ' in raised.value.remedy
    assert (
        detector(folder, score_threshold=1.0, always_best=True).ground(GroundJob(IMAGE, ask("grass")))[0].score == best
    )
    several = [
        [
            region.box
            for region in detector(folder, score_threshold=0, nms=nms).ground(GroundJob(IMAGE, ask(*["grass"] * 8)))
        ]
        for nms in (0.3, 1.0)
    ]
    assert several[0] != several[1]


def test_large_pictures_are_reduced_first(folder: Path) -> None:
    large = IMAGE.repeat(20, axis=0).repeat(20, axis=1)
    network = Owlv2Network.load(str(folder), Runtime(device="cpu"))
    assert network._reduced(large).shape == (128, 192, 3)
    assert network._reduced(IMAGE) is IMAGE
    _, small_boxes = network.detect(IMAGE, ["grass"])
    _, large_boxes = network.detect(large, ["grass"])
    assert np.abs(large_boxes / 20 - small_boxes).mean() < 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 4096), (4096, 1), (3, 2)])
def test_pictures_of_any_shape(folder: Path, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 128, np.uint8)
    with contextlib.suppress(ObjectNotFound):  # random boxes may all lie beside a thin picture
        for region in detector(folder, always_best=True).ground(GroundJob(image, ask("box"))):
            assert region.box is not None
            x0, y0, x1, y1 = region.box
            assert 0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0]


def test_a_phrase_that_would_be_cut_is_refused(folder: Path) -> None:
    with pytest.raises(InputRefused, match="the text encoder reads 75"):
        detector(folder).ground(GroundJob(IMAGE, ask("box", "x" * 80)))


def test_folders_that_are_something_else(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    (copy / "config.json").write_text('{"model_type": "owlvit"}')
    with pytest.raises(ModelUnavailable, match="of the kind 'owlvit'"):
        detector(copy).ground(GroundJob(IMAGE, ask("box")))
    with pytest.raises(ModelUnavailable, match="not there"):
        detector(tmp_path / "none").ground(GroundJob(IMAGE, ask("box")))


def test_nothing_is_fetched_and_in_a_program_nothing_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with own_process():
        detector(folder, always_best=True).ground(GroundJob(IMAGE, ask("the box")))
    assert capfd.readouterr() == ("", "")
