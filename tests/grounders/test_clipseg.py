"""CLIPSeg through transformers: a mask per phrase, its parts where one of several is meant, what is refused."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_detectors import build_tiny_clipseg

from gas.backends.registry import Registry
from gas.errors import InputRefused, ModelUnavailable, ObjectNotFound
from gas.interfaces import GroundJob
from gas.process import own_process
from gas.runtime import Runtime
from gas.testing import GrounderContract
from gas.testing.contracts import sample_image
from gas.types import Region
from gas_grounders.clipseg import ClipSeg, ClipSegNetwork, ClipSegOptions

IMAGE = sample_image(96, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_clipseg(tmp_path_factory.mktemp("clipseg") / "model")


RUNTIME = Runtime(device="cpu")
"""For models that stay as they are, so that each is read once."""


def grounder_of(model: Path | str, runtime: Runtime | None = None, **options: Any) -> ClipSeg:
    return ClipSeg(ClipSegOptions(model=str(model), **options), runtime or Runtime(device="cpu"))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A grounder whose network gives these shares: `scripted({phrase: array}, **options)`."""

    def build(shares: Mapping[str, np.ndarray], **options: Any) -> ClipSeg:
        class Scripted:
            def shares(self, image: np.ndarray, phrases: list[str]) -> list[np.ndarray]:
                return [shares[phrase] for phrase in phrases]

        monkeypatch.setattr(ClipSegNetwork, "load", lambda model, runtime: Scripted())
        return grounder_of("owner/name", **options)

    return build


def ask(*phrases: str) -> list[Region]:
    return [Region(phrase, subtask=index) for index, phrase in enumerate(phrases)]


def share(*places: tuple[int, int, int, int, float]) -> np.ndarray:
    """`(64, 96)` with these values in the boxes x0, y0, x1, y1, and 0.1 elsewhere."""
    out = np.full((64, 96), 0.1, np.float32)
    for x0, y0, x1, y1, value in places:
        out[y0:y1, x0:x1] = value
    return out


LEFT, RIGHT = (5, 10, 20, 30, 0.6), (60, 12, 90, 50, 0.8)


class TestClipSeg(GrounderContract):
    @pytest.fixture
    def grounder(self, folder: Path) -> ClipSeg:
        return grounder_of(folder, RUNTIME, always_best=True)


def test_it_is_in_the_listing() -> None:
    assert Registry(plugins="none").load("grounders", "clipseg") is ClipSeg


def test_mask_is_all_above_the_threshold(scripted: Any) -> None:
    shares = share(LEFT, RIGHT)
    (region,) = scripted({"the sky": shares}).ground(GroundJob(IMAGE, ask("the sky")))
    assert region.box == (5.0, 10.0, 90.0, 50.0)
    assert region.score == pytest.approx(0.8)
    assert region.mask.dtype == np.float32
    np.testing.assert_array_equal(region.mask, shares >= 0.5)
    (stricter,) = scripted({"the sky": shares}, score_threshold=0.7).ground(GroundJob(IMAGE, ask("the sky")))
    assert stricter.box == (60.0, 12.0, 90.0, 50.0)


def test_absent_is_not_found(scripted: Any) -> None:
    with pytest.raises(ObjectNotFound) as raised:
        scripted({"a dog": share((5, 10, 20, 30, 0.4))}).ground(GroundJob(IMAGE, ask("a dog")))
    assert raised.value.message == "'a dog' was not found: the best score is 0.400, the threshold 0.5"
    assert 'options={"clipseg": {"score_threshold": 0.4}}' in raised.value.remedy
    found = scripted({"a dog": share((5, 10, 20, 30, 0.4))}, always_best=True).ground(GroundJob(IMAGE, ask("a dog")))
    assert found[0].box == (5.0, 10.0, 20.0, 30.0)


def test_parts_are_told_apart_where_one_of_several_is_meant(scripted: Any) -> None:
    grounder = scripted({"the dog": share(LEFT, RIGHT)})
    left, right = (5.0, 10.0, 20.0, 30.0), (60.0, 12.0, 90.0, 50.0)
    assert grounder.ground(GroundJob(IMAGE, ask("the dog on the left")))[0].box == left
    assert grounder.ground(GroundJob(IMAGE, ask("the bigger dog")))[0].box == right
    first, second = grounder.ground(GroundJob(IMAGE, ask("the dog", "the dog")))
    assert (first.box, second.box) == (right, left)
    assert first.mask is not None and second.mask is not None
    assert first.mask.sum() == 30 * 38 and second.mask.sum() == 15 * 20
    assert (first.score, second.score) == (pytest.approx(0.8), pytest.approx(0.6))
    with pytest.raises(ObjectNotFound, match="only 2 of 3 'the dog' were found"):
        grounder.ground(GroundJob(IMAGE, ask("the dog", "the dog", "the dog")))


def test_parts_with_almost_the_same_box_are_one_thing(scripted: Any) -> None:
    ring = share((10, 10, 50, 50, 0.9), (11, 11, 49, 49, 0.1), (13, 13, 47, 47, 0.7), RIGHT)
    shares = {"the dog": ring}
    boxes = [region.box for region in scripted(shares).ground(GroundJob(IMAGE, ask("the dog", "the dog")))]
    assert boxes == [(10.0, 10.0, 50.0, 50.0), (60.0, 12.0, 90.0, 50.0)]
    three = scripted(shares, nms=0.9).ground(GroundJob(IMAGE, ask("the dog", "the dog", "the dog")))
    assert three[2].box == (13.0, 13.0, 47.0, 47.0)


def test_shares_are_the_networks_at_native_resolution(folder: Path) -> None:
    from transformers import AutoTokenizer, CLIPSegForImageSegmentation, ViTImageProcessorPil

    tokens = AutoTokenizer.from_pretrained(folder)(["the red box"], return_tensors="pt")
    pixels = ViTImageProcessorPil.from_pretrained(folder)(images=IMAGE, return_tensors="pt").pixel_values
    with torch.no_grad():
        network = CLIPSegForImageSegmentation.from_pretrained(folder).eval()
        logits = network(pixel_values=pixels, **tokens).logits.reshape(64, 64)
    own = ClipSegNetwork.load(str(folder), Runtime(device="cpu"))
    first, second = own.shares(IMAGE, ["the red box", "grass"])
    assert first.shape == second.shape == (64, 96)
    assert not np.allclose(first, second)
    square = own.shares(np.asarray(IMAGE[:, :64]), ["the red box"])[0]
    assert square.shape == (64, 64)
    # Along the rows nothing is scaled here, and the columns are interpolated from 64 to 96.
    expected = torch.nn.functional.interpolate(
        logits.sigmoid()[None, None], (64, 96), mode="bilinear", align_corners=False
    )
    np.testing.assert_allclose(first, expected[0, 0].numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4096), (4096, 1), (3, 2)])
def test_pictures_of_any_shape(folder: Path, shape: tuple[int, int]) -> None:
    (region,) = grounder_of(folder, always_best=True).ground(GroundJob(np.full((*shape, 3), 128, np.uint8), ask("box")))
    assert region.mask is not None and region.mask.shape == shape and region.mask.any()


def test_a_phrase_that_would_be_cut_is_refused(folder: Path) -> None:
    with pytest.raises(InputRefused, match="has 80 tokens, the text encoder reads 75"):
        grounder_of(folder).ground(GroundJob(IMAGE, ask("box", "x" * 80)))


def test_folders_that_are_something_else(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "model"))
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="no weights"):
        grounder_of(copy).ground(GroundJob(IMAGE, ask("box")))


def test_nothing_is_fetched_and_in_a_program_nothing_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with own_process():
        grounder_of(folder, always_best=True).ground(GroundJob(IMAGE, ask("the box")))
    assert capfd.readouterr() == ("", "")
