"""GroundingDINO: captions and spans, thresholds, the n best, both loaders, and what is refused."""

from __future__ import annotations

import contextlib
import json
import pickle
import re
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_detectors import build_bert_tokenizer, build_tiny_grounding_dino

from gas.backends.registry import Registry
from gas.errors import InputRefused, Interrupted, ModelUnavailable, ObjectNotFound, ResultRefused, UsageError
from gas.interfaces import GroundJob, Watch
from gas.process import own_process
from gas.runtime import Runtime
from gas.testing import GrounderContract
from gas.testing.contracts import sample_image
from gas.types import Box, Region
from gas_grounders import dino_transformers
from gas_grounders.boxes import iou, suppress
from gas_grounders.captions import caption, captions, clean
from gas_grounders.detector import pad_thin
from gas_grounders.dino_transformers import TransformersDino
from gas_grounders.grounding_dino import GroundingDino, GroundingDinoOptions

IMAGE = sample_image(96, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_grounding_dino(tmp_path_factory.mktemp("dino") / "model")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_bert_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that may be damaged."""
    return Path(shutil.copytree(folder, tmp_path / "model"))


RUNTIME = Runtime(device="cpu")
"""For models that stay as they are, so that each is read once."""


def detector(model: Path | str, runtime: Runtime | None = None, **options: Any) -> GroundingDino:
    return GroundingDino(GroundingDinoOptions(model=str(model), **options), runtime or Runtime(device="cpu"))


class Scripted:
    """A network whose boxes and scores of words are known, behind the loader."""

    limit = 256

    def __init__(self, tokenizer: Any, things: Sequence[tuple[Box, Mapping[str, float]]]) -> None:
        self.tokenizer, self.things = tokenizer, things
        self.calls: list[str] = []
        self.sizes: list[int | None] = []

    def detect(self, image: np.ndarray, text: str, size: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        self.calls.append(text)
        self.sizes.append(size)
        offsets = self.tokenizer(text, return_offsets_mapping=True).offset_mapping
        scores = [[words.get(text[a:b], 0.01) for a, b in offsets] for _, words in self.things]
        return np.array(scores), np.array([box for box, _ in self.things], np.float64)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tokenizer: Any) -> Any:
    """Builds a detector around a scripted network: `scripted(things, **options)`."""

    def build(things: Sequence[tuple[Box, Mapping[str, float]]], **options: Any) -> tuple[GroundingDino, Scripted]:
        network = Scripted(tokenizer, things)
        monkeypatch.setattr(TransformersDino, "load", lambda model, runtime: network)
        return detector("owner/name", **options), network

    return build


def boxes(answer: Sequence[Region]) -> list[Box | None]:
    return [region.box for region in answer]


def ask(*phrases: str) -> list[Region]:
    return [Region(phrase, subtask=index) for index, phrase in enumerate(phrases)]


LEFT, RIGHT, BIG = (5.0, 20.0, 25.0, 40.0), (70.0, 20.0, 90.0, 40.0), (30.0, 10.0, 65.0, 60.0)
CATS = [(LEFT, {"cat": 0.6, "the": 0.6}), (RIGHT, {"cat": 0.9, "the": 0.9}), (BIG, {"cat": 0.7, "the": 0.7})]


# --- the contract -----------------------------------------------------------------------------------------------------


class TestTransformersLoader(GrounderContract):
    @pytest.fixture
    def grounder(self, folder: Path) -> GroundingDino:
        return detector(folder, RUNTIME, always_best=True)


class TestWithThresholds(GrounderContract):
    @pytest.fixture
    def grounder(self, scripted: Any) -> GroundingDino:
        things = [
            (LEFT, {"the": 0.4, "red": 0.7, "box": 0.8}),
            (RIGHT, {"the": 0.4, "green": 0.7, "grass": 0.8}),
        ]
        return scripted(things)[0]


def test_it_is_in_the_listing() -> None:
    assert Registry(plugins="none").load("grounders", "grounding-dino") is GroundingDino


# --- captions and spans -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrases", "index", "words", "noun"),
    [
        (["a red car", "grass"], 0, ["a", "red", "car"], ["car"]),
        (["a red car", "grass"], 1, ["grass"], ["grass"]),
        (["A man's T-shirt"], 0, ["a", "man", "'", "s", "t", "-", "shirt"], ["t", "-", "shirt"]),
        (["a man’s t-shirt", "a man"], 1, ["a", "man"], ["man"]),
        (["a red box", "a box"], 1, ["a", "box"], ["box"]),
        (["a box", "a red box"], 1, ["a", "red", "box"], ["box"]),
        (["box", "box"], 1, ["box"], ["box"]),
        (["a brown dog with a hat"], 0, ["a", "brown", "dog", "with", "a", "hat"], ["dog"]),
        (["Mr. Dog?", "a cat."], 0, ["m", "r", "dog"], ["dog"]),
        (["Mr. Dog?", "a cat."], 1, ["a", "cat"], ["cat"]),
        (["the red and blue, white box"], 0, ["the", "red", "a", "n", "d", "blue", ",", "white", "box"], None),
        (["two dogs"], 0, ["t", "w", "o", "dog", "s"], ["dog", "s"]),
    ],
)
def test_tokens_of_a_phrase_in_the_real_caption(
    tokenizer: Any, phrases: list[str], index: int, words: list[str], noun: list[str] | None
) -> None:
    found = caption([clean(phrase) for phrase in phrases], tokenizer)
    ids = tokenizer(found.text).input_ids
    pieces = [token.removeprefix("##") for token in tokenizer.convert_ids_to_tokens(ids)]
    tokens = found.tokens[index]
    assert "".join(pieces[i] for i in tokens.all) == "".join(words)
    if noun is not None:
        assert "".join(pieces[i] for i in tokens.noun) == "".join(noun)
    assert pieces[tokens.all[-1] + 1] == ".", "every phrase is ended, so that phrases do not see each other"
    assert not tokens.unread


def test_a_word_spelled_behind_another_is_not_that_other(tokenizer: Any) -> None:
    assert caption(["a dogfight"], tokenizer).tokens[0].unread == "dogfight"
    assert not caption(["two dogs"], tokenizer).tokens[0].unread, "one letter is an ending"
    assert not caption(["a zeppelin"], tokenizer).tokens[0].unread, "nothing of it is another word"


def test_the_same_phrase_twice_has_places_of_its_own(tokenizer: Any) -> None:
    first, second = caption(["a box", "a box"], tokenizer).tokens
    assert not set(first.all) & set(second.all)


def test_caption_is_as_the_models_were_trained(tokenizer: Any) -> None:
    assert caption(["a red car", "grass"], tokenizer).text == "a red car . grass ."


def test_captions_are_split_where_the_encoder_would_cut(tokenizer: Any) -> None:
    phrases = [f"a red box {letter}" for letter in "abcdefgh"]
    together = captions(phrases, tokenizer, 256)
    assert len(together) == 1
    parts = captions(phrases, tokenizer, 13)
    assert len(parts) == 4
    assert [phrase for part in parts for phrase in part.phrases] == phrases
    for part in parts:
        assert len(tokenizer(part.text).input_ids) <= 13
        assert all(tokens.all for tokens in part.tokens)


def test_a_phrase_that_alone_is_too_long_is_refused(tokenizer: Any) -> None:
    with pytest.raises(InputRefused, match="has 20 tokens, the detector reads 9"):
        captions(["a box", "red " * 19 + "box"], tokenizer, 12)


def test_many_phrases_are_all_found_in_several_passes(scripted: Any) -> None:
    grounder, network = scripted([(LEFT, {"box": 0.9}), (RIGHT, {"cat": 0.9})], always_best=True)
    network.limit = 12
    answer = grounder.ground(GroundJob(IMAGE, ask("a red box", "the blue box", "a white cat", "a man")))
    assert len(network.calls) > 1
    assert boxes(answer)[:3] == [LEFT, LEFT, RIGHT]


def test_all_phrases_in_one_pass(scripted: Any) -> None:
    grounder, network = scripted(CATS, always_best=True)
    grounder.ground(GroundJob(IMAGE, ask("the cat", "a box", "grass", "the cat", "The cat on the left")))
    assert network.calls == ["the cat . a box . grass ."]


# --- scores and thresholds --------------------------------------------------------------------------------------------


def test_best_box_of_each_phrase(scripted: Any) -> None:
    grounder, _ = scripted([*CATS, (LEFT, {"box": 0.8})])
    answer = grounder.ground(GroundJob(IMAGE, ask("a box", "cat")))
    assert boxes(answer) == [LEFT, RIGHT] or answer[0].score is not None
    assert answer[1].box == RIGHT and answer[1].score == pytest.approx(0.9)


def test_threshold_names_phrase_best_score_and_remedy(scripted: Any) -> None:
    things = [(LEFT, {"cat": 0.34999, "dog": 0.34}), (RIGHT, {"dog": 0.36})]
    grounder, _ = scripted(things)
    assert grounder.ground(GroundJob(IMAGE, ask("dog")))[0].box == RIGHT
    with pytest.raises(ObjectNotFound) as raised:
        grounder.ground(GroundJob(IMAGE, ask("dog", "Cat")))
    assert raised.value.message == "'Cat' was not found: the best score is 0.349, the threshold 0.35"
    assert 'options={"grounding-dino": {"score_threshold": 0.34}}' in raised.value.remedy
    assert 'regions=[gas.Region("Cat", box=(x0, y0, x1, y1))]' in raised.value.remedy
    lower, _ = scripted(things, score_threshold=0.34)
    assert lower.ground(GroundJob(IMAGE, ask("cat")))[0].box == LEFT


def test_hopeless_scores_suggest_no_threshold(scripted: Any) -> None:
    grounder, _ = scripted([(LEFT, {"cat": 0.004})])
    with pytest.raises(ObjectNotFound) as raised:
        grounder.ground(GroundJob(IMAGE, ask("cat")))
    assert "score_threshold" not in raised.value.remedy


def test_text_threshold_is_for_the_main_noun(scripted: Any) -> None:
    things = [(LEFT, {"red": 0.99, "car": 0.1}), (RIGHT, {"red": 0.4, "car": 0.4})]
    grounder, _ = scripted(things)
    assert grounder.ground(GroundJob(IMAGE, ask("red car")))[0].box == RIGHT
    loose, _ = scripted(things, text_threshold=0.05)
    assert loose.ground(GroundJob(IMAGE, ask("red car")))[0].box == LEFT
    with pytest.raises(ObjectNotFound, match=r"main noun scores 0.1\d*, the text threshold is 0.25") as raised:
        scripted(things[:1])[0].ground(GroundJob(IMAGE, ask("red car")))
    assert 'options={"grounding-dino": {"text_threshold": 0.1' in raised.value.remedy


def test_token_score_mean_or_maximum(scripted: Any) -> None:
    things = [(LEFT, {"red": 0.3, "car": 0.9}), (RIGHT, {"red": 0.8, "car": 0.7})]
    mean, _ = scripted(things)
    best, _ = scripted(things, token_score="max")
    assert mean.ground(GroundJob(IMAGE, ask("red car")))[0].box == RIGHT
    assert mean.ground(GroundJob(IMAGE, ask("red car")))[0].score == pytest.approx(0.75)
    assert best.ground(GroundJob(IMAGE, ask("red car")))[0].box == LEFT
    assert best.ground(GroundJob(IMAGE, ask("red car")))[0].score == pytest.approx(0.9)


def test_always_best_has_no_threshold(scripted: Any) -> None:
    things = [(LEFT, {"cat": 0.02}), (RIGHT, {"cat": 0.03})]
    with pytest.raises(ObjectNotFound):
        scripted(things)[0].ground(GroundJob(IMAGE, ask("cat")))
    grounder, _ = scripted(things, always_best=True)
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("cat")))) == [RIGHT]
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("cat", "cat")))) == [RIGHT, LEFT]
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("cat on the left")))) == [RIGHT], (
        "nothing counts as found, so no choice"
    )


def test_always_best_ranks_by_the_score_alone(scripted: Any) -> None:
    """The paper knows no threshold of the noun: what misses it does not come last."""
    things = [(LEFT, {"red": 0.99, "car": 0.1}), (RIGHT, {"red": 0.4, "car": 0.4})]
    grounder, _ = scripted(things, always_best=True)
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("red car")))) == [LEFT]
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("red car", "red car")))) == [LEFT, RIGHT]


def test_words_that_the_vocabulary_does_not_have(scripted: Any, tmp_path: Path, monkeypatch: Any) -> None:
    grounder, network = scripted([(LEFT, {"a": 0.9, "purple": 0.9, "zeppelin": 0.9, "box": 0.9})])
    network.tokenizer = build_bert_tokenizer(tmp_path, letters=False)
    with pytest.raises(ObjectNotFound, match="does not know 'zeppelin'"):
        grounder.ground(GroundJob(IMAGE, ask("a purple zeppelin")))
    assert grounder.ground(GroundJob(IMAGE, ask("a zeppelinish box")))[0].box == LEFT, "the main noun is what counts"
    with pytest.raises(ObjectNotFound, match="🙂"):
        grounder.ground(GroundJob(IMAGE, ask("🙂")))
    with pytest.raises(ObjectNotFound):
        grounder.ground(GroundJob(IMAGE, ask("..?")))


# --- the n best -------------------------------------------------------------------------------------------------------


def test_a_phrase_of_n_subtasks_gets_the_n_best_distinct_boxes(scripted: Any) -> None:
    near = (71.0, 20.0, 90.0, 40.0)
    grounder, _ = scripted([*CATS, (near, {"cat": 0.89, "the": 0.89})])
    answer = grounder.ground(GroundJob(IMAGE, ask("the cat", "a cat"[2:], "The cat")))
    assert boxes(answer) == [RIGHT, BIG, LEFT]
    assert [region.phrase for region in answer] == ["the cat", "cat", "The cat"]


def test_nms_decides_what_is_distinct(scripted: Any) -> None:
    near = (70.0, 20.0, 90.0, 36.0)
    things = [(RIGHT, {"cat": 0.9}), (near, {"cat": 0.8}), (LEFT, {"cat": 0.7})]
    assert boxes(scripted(things)[0].ground(GroundJob(IMAGE, ask("cat", "cat")))) == [RIGHT, LEFT]
    assert boxes(scripted(things, nms=0.85)[0].ground(GroundJob(IMAGE, ask("cat", "cat")))) == [RIGHT, near]


def test_fewer_than_asked_is_not_found(scripted: Any) -> None:
    grounder, _ = scripted([(RIGHT, {"cat": 0.9}), (LEFT, {"cat": 0.2})])
    with pytest.raises(
        ObjectNotFound, match=r"only 1 of 2 'cat' was found: the best score of another is 0.2"
    ) as raised:
        grounder.ground(GroundJob(IMAGE, ask("cat", "cat")))
    assert '"score_threshold": 0.2}' in raised.value.remedy


def test_always_best_repeats_rather_than_refuses(scripted: Any) -> None:
    grounder, _ = scripted([(RIGHT, {"cat": 0.9}), (RIGHT, {"cat": 0.2})], always_best=True)
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("cat", "cat")))) == [RIGHT, RIGHT]


@pytest.mark.parametrize(
    ("phrase", "box"),
    [
        ("the cat on the left", LEFT),
        ("the rightmost cat", RIGHT),
        ("the bigger cat", BIG),
        ("the cat in the middle", BIG),
        ("the second cat from the left", BIG),
        ("the third cat from the left", RIGHT),
    ],
)
def test_position_chooses_among_those_that_are_found(scripted: Any, phrase: str, box: Box) -> None:
    outside = ((0.0, 0.0, 4.0, 4.0), {"cat": 0.2, "the": 0.2})
    grounder, network = scripted([*CATS, outside])
    assert boxes(grounder.ground(GroundJob(IMAGE, ask(phrase)))) == [box]
    assert network.calls == ["the cat ."]


def test_position_and_plain_phrase_mean_different_things(scripted: Any) -> None:
    grounder, _ = scripted(CATS)
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("the cat", "the cat on the right")))) == [BIG, RIGHT]
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("the cat on the right", "the leftmost cat")))) == [RIGHT, LEFT]
    one, _ = scripted(CATS[:1])
    assert boxes(one.ground(GroundJob(IMAGE, ask("the cat", "the cat on the right")))) == [LEFT, LEFT]


def test_rank_beyond_what_is_there_is_not_found(scripted: Any) -> None:
    grounder, _ = scripted(CATS[:1])
    with pytest.raises(ObjectNotFound, match="only 1 of 2 'the second cat from the left' was found"):
        grounder.ground(GroundJob(IMAGE, ask("the second cat from the left")))


def test_equal_scores_keep_the_networks_order(scripted: Any) -> None:
    grounder, _ = scripted([(LEFT, {"cat": 0.5}), (RIGHT, {"cat": 0.5})])
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("cat")))) == [LEFT]


def test_iou_and_suppression() -> None:
    square = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [0, 0, 10, 10]], np.float64)
    assert iou(square[0], square).tolist() == pytest.approx([1, 1 / 3, 0, 1])
    assert suppress(square, [3, 0, 1, 2], 0.7) == [3, 1, 2]
    assert suppress(square, [3, 0, 1, 2], 0.2) == [3, 2]


# --- what passes through ----------------------------------------------------------------------------------------------


def test_only_open_regions_are_looked_for(scripted: Any) -> None:
    grounder, network = scripted(CATS)
    boxed = Region("the cat", box=(1.0, 2.0, 3.0, 4.0), score=0.5, subtask=0)
    masked = Region("the cat", mask=np.ones((64, 96), np.float32), subtask=1)
    given = Region("dog", subtask=2, given=True)
    assert grounder.ground(GroundJob(IMAGE, [boxed, masked, given])) == [boxed, masked, given]
    assert grounder.ground(GroundJob(IMAGE, [])) == []
    assert network.calls == []
    assert grounder.ground(GroundJob(IMAGE, [boxed, Region("the cat", subtask=3)]))[1].box == RIGHT


# --- boxes that a network may give ------------------------------------------------------------------------------------


def test_any_finite_box_comes_out_inside_the_picture_or_not_at_all(scripted: Any) -> None:
    rng = np.random.default_rng(0)
    many = rng.normal(40, 80, (10_000, 4)).round(rng.integers(0, 4))
    many[::7, 2:] = many[::7, :2]
    many[::11] = [-1e30, -5, 1e30, 1e-9]
    grounder, _ = scripted([(tuple(box), {"cat": 0.9}) for box in many.tolist()])
    answer = grounder.ground(GroundJob(IMAGE, ask(*["cat"] * 20)))
    for region in answer:
        assert region.box is not None
        x0, y0, x1, y1 = region.box
        assert 0 <= x0 < x1 <= 96 and 0 <= y0 < y1 <= 64


def test_boxes_outside_are_no_boxes(scripted: Any) -> None:
    grounder, _ = scripted([((200.0, 5.0, 300.0, 9.0), {"cat": 0.9}), (LEFT, {"cat": 0.5})])
    assert boxes(grounder.ground(GroundJob(IMAGE, ask("cat")))) == [LEFT]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_named(scripted: Any, bad: float) -> None:
    with pytest.raises(ResultRefused, match="not finite"):
        scripted([((bad, 5.0, 30.0, 9.0), {"cat": 0.9})])[0].ground(GroundJob(IMAGE, ask("cat")))
    with pytest.raises(ResultRefused, match="not finite"):
        scripted([(LEFT, {"cat": bad})])[0].ground(GroundJob(IMAGE, ask("cat")))


@pytest.mark.parametrize("shape", [(1, 1), (1, 4096), (4096, 1), (3, 2), (17, 1000)])
def test_pictures_of_any_shape(folder: Path, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 128, np.uint8)
    grounder = detector(folder, RUNTIME, always_best=True)
    scores, found = grounder._network().detect(pad_thin(image), "the box .")
    assert np.isfinite(scores).all() and np.isfinite(found).all()
    with contextlib.suppress(ObjectNotFound):  # random boxes may all lie in what was added to a thin picture
        for region in grounder.ground(GroundJob(image, ask("the box"))):
            assert region.box is not None
            x0, y0, x1, y1 = region.box
            assert 0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0]


def test_thin_pictures_are_lengthened_with_their_edge() -> None:
    image = np.arange(64 * 3, dtype=np.uint8).reshape(1, 64, 3)
    padded = pad_thin(image)
    assert padded.shape == (4, 64, 3) and (padded == image).all()
    assert pad_thin(IMAGE) is IMAGE


# --- the transformers loader ------------------------------------------------------------------------------------------


def test_boxes_are_in_pixels_and_scores_are_the_libraries(folder: Path) -> None:
    """Against transformers' own post-processing."""
    from transformers import AutoTokenizer, GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil
    from transformers import GroundingDinoProcessor as Processor

    processor = Processor(GroundingDinoImageProcessorPil.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
    network = GroundingDinoForObjectDetection.from_pretrained(folder).eval()
    inputs = processor(images=IMAGE, text="the red box . grass .", return_tensors="pt")
    with torch.no_grad():
        expected = processor.post_process_grounded_object_detection(
            network(**inputs), threshold=0.0, target_sizes=[(64, 96)]
        )[0]
    scores, found = TransformersDino.load(str(folder), Runtime(device="cpu")).detect(IMAGE, "the red box . grass .")
    np.testing.assert_allclose(found, expected["boxes"].numpy(), atol=1e-3)
    np.testing.assert_allclose(scores.max(axis=1), expected["scores"].numpy(), atol=1e-5)


def test_the_folders_own_size_is_kept_and_can_be_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    prepare = dino_transformers.prepare

    def spy(*arguments: Any) -> Any:
        pixels = prepare(*arguments)
        seen.append(tuple(pixels.pixel_values.shape[2:]))
        return pixels

    monkeypatch.setattr(dino_transformers, "prepare", spy)
    for size in (None, 96, 48):
        detector(folder, always_best=True, size=size).ground(GroundJob(IMAGE, ask("the box")))
    assert seen == [(64, 96), (96, 144), (48, 72)]
    detector(folder, always_best=True, size=48).ground(GroundJob(np.zeros((20, 200, 3), np.uint8), ask("the box")))
    assert seen[-1] == (8, 80), "the longest side keeps the processor's proportion: 107/64 of the shortest"


def test_a_model_is_loaded_once_and_frozen(folder: Path) -> None:
    runtime = Runtime(device="cpu")
    first = GroundingDino(GroundingDinoOptions(model=str(folder), always_best=True), runtime)
    second = GroundingDino(GroundingDinoOptions(model=str(folder), always_best=True, nms=0.5), runtime)
    assert first._network() is second._network()
    network = first._network().network  # type: ignore[attr-defined]
    assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())


def test_half_precision_weights_are_used_in_full(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    save_file(half, copy / "model.safetensors", metadata={"format": "pt"})
    loaded = TransformersDino.load(str(copy), Runtime(device="cpu", dtype="bf16"))
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.float32}


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


def test_offline_and_not_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    grounder = GroundingDino(GroundingDinoOptions(model="owner/name@abc123"), Runtime(device="cpu", offline=True))
    with pytest.raises(ModelUnavailable, match="has not been downloaded") as raised:
        grounder.ground(GroundJob(IMAGE, ask("the box")))
    assert "gas models pull owner/name@abc123" in raised.value.remedy
    assert raised.value.exit_code == 6


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "model.safetensors").rename(folder / "pytorch_model.bin"), "hide programs"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x08" + bytes(20)), "cannot be loaded"),
        (lambda folder: (folder / "config.json").unlink(), "no readable config.json"),
        (lambda folder: (folder / "config.json").write_text("[]"), "no readable config.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "owlv2"}'), "of the kind 'owlv2'"),
    ],
)
def test_damaged_folders_are_refused_by_name(copy: Path, damage: Any, message: str) -> None:
    damage(copy)
    with pytest.raises(ModelUnavailable, match=re.escape(message)):
        detector(copy).ground(GroundJob(IMAGE, ask("the box")))


def test_missing_weights_are_not_made_up(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    # The published files do not have the last norm of Swin, which is not used.
    unused = {name: value for name, value in weights.items() if "swin.layernorm" not in name}
    assert len(unused) < len(weights)
    save_file(unused, copy / "model.safetensors", metadata={"format": "pt"})
    detector(copy, always_best=True).ground(GroundJob(IMAGE, ask("the box")))
    save_file(
        {name: value for name, value in unused.items() if "text_projection" not in name},
        copy / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ModelUnavailable, match=r"2 of its weights are missing, such as model.text_projection"):
        detector(copy).ground(GroundJob(IMAGE, ask("the box")))


def test_code_in_a_model_folder_is_never_run(copy: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (copy / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n")
    settings = json.loads((copy / "config.json").read_text())
    settings["auto_map"] = {"AutoConfig": "evil.Evil", "AutoModel": "evil.Evil"}
    (copy / "config.json").write_text(json.dumps(settings))
    tokens = json.loads((copy / "tokenizer_config.json").read_text())
    tokens["auto_map"] = {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    (copy / "tokenizer_config.json").write_text(json.dumps(tokens))
    detector(copy, always_best=True).ground(GroundJob(IMAGE, ask("the box")))
    assert not marker.exists()


# --- the original loader ----------------------------------------------------------------------------------------------

SMALL = {"enc_layers": 1, "dec_layers": 2, "dim_feedforward": 32, "num_queries": 12, "nheads": 4}
RENAMED = [
    (r"^backbone\.0\.patch_embed\.proj", "model.backbone.conv_encoder.model.embeddings.patch_embeddings.projection"),
    (r"^backbone\.0\.patch_embed\.norm", "model.backbone.conv_encoder.model.embeddings.norm"),
    (r"^backbone\.0\.norm1", "model.backbone.conv_encoder.model.hidden_states_norms.stage2"),
    (r"^backbone\.0\.norm2", "model.backbone.conv_encoder.model.hidden_states_norms.stage3"),
    (r"^backbone\.0\.norm3", "model.backbone.conv_encoder.model.hidden_states_norms.stage4"),
    (r"^backbone\.0\.layers", "model.backbone.conv_encoder.model.encoder.layers"),
    (r"(blocks\.\d+\.)norm1", r"\1layernorm_before"),
    (r"(blocks\.\d+\.)norm2", r"\1layernorm_after"),
    (r"attn\.relative", "attention.self.relative"),
    (r"(blocks\.\d+\.)attn\.qkv", r"\1attention.self.qkv"),
    (r"(blocks\.\d+\.)attn\.proj", r"\1attention.output.dense"),
    (r"mlp\.fc1", "intermediate.dense"),
    (r"mlp\.fc2", "output.dense"),
    (r"^transformer\.encoder\.layers\.(\d+)\.", r"model.encoder.layers.\1.deformable_layer."),
    (r"deformable_layer\.norm1", "deformable_layer.self_attn_layer_norm"),
    (r"deformable_layer\.norm2", "deformable_layer.final_layer_norm"),
    (r"^transformer\.encoder\.text_layers\.(\d+)\.", r"model.encoder.layers.\1.text_enhancer_layer."),
    (r"text_enhancer_layer\.norm1", "text_enhancer_layer.layer_norm_before"),
    (r"text_enhancer_layer\.norm2", "text_enhancer_layer.layer_norm_after"),
    (r"^transformer\.encoder\.fusion_layers\.(\d+)\.", r"model.encoder.layers.\1.fusion_layer."),
    (r"gamma_v", "vision_param"),
    (r"gamma_l", "text_param"),
    (r"layer_norm_v\.", "layer_norm_vision."),
    (r"layer_norm_l\.", "layer_norm_text."),
    (r"attn\.(values_|out_)?v_proj", r"attn.\1vision_proj"),
    (r"attn\.(values_|out_)?l_proj", r"attn.\1text_proj"),
    (r"^transformer\.decoder\.layers", "model.decoder.layers"),
    (r"decoder\.layers\.(\d+)\.cross_attn", r"decoder.layers.\1.encoder_attn"),
    (r"decoder\.layers\.(\d+)\.ca_text", r"decoder.layers.\1.encoder_attn_text"),
    (r"decoder\.layers\.(\d+)\.catext_norm", r"decoder.layers.\1.encoder_attn_text_layer_norm"),
    (r"decoder\.layers\.(\d+)\.norm1", r"decoder.layers.\1.encoder_attn_layer_norm"),
    (r"decoder\.layers\.(\d+)\.norm2", r"decoder.layers.\1.self_attn_layer_norm"),
    (r"decoder\.layers\.(\d+)\.norm3", r"decoder.layers.\1.final_layer_norm"),
    (r"(model\..*)\.linear([12])", r"\1.fc\2"),
    (r"^transformer\.decoder\.norm", "model.decoder.layer_norm"),
    (r"^transformer\.decoder\.ref_point_head", "model.decoder.reference_points_head"),
    (r"^transformer\.decoder\.bbox_embed", "model.decoder.bbox_embed"),
    (r"^transformer\.enc_out_bbox_embed", "model.encoder_output_bbox_embed"),
    (r"^transformer\.enc_output", "model.enc_output"),
    (r"^transformer\.level_embed", "model.level_embed"),
    (r"^transformer\.tgt_embed", "model.query_position_embeddings"),
    (r"^bert\.", "model.text_backbone."),
    (r"^feat_map", "model.text_projection"),
    (r"^input_proj", "model.input_proj_vision"),
]


def renamed(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of the original code under transformers' names."""
    out: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        for pattern, new in RENAMED:
            name = re.sub(pattern, new, name)
        if "relative_position_index" in name or ".pooler." in name:
            continue
        if match := re.search(r"qkv\.|in_proj_", name):
            for part, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                out[name.replace(match.group(), f"{part}.")] = third.clone()
        else:
            out[name] = value.clone()
    return out


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small model of the original code: (checkpoint, config file, BERT folder), its Swin being made smaller."""
    pytest.importorskip("groundingdino", reason="needs the extra groundingdino")
    from groundingdino.models.GroundingDINO.backbone import backbone
    from groundingdino.models.GroundingDINO.backbone.swin_transformer import SwinTransformer
    from transformers import BertConfig

    from gas_grounders.dino_original import ARCHITECTURES, _build

    def small_swin(name: str, pretrain_img_size: int, **options: Any) -> Any:
        sizes: dict[str, Any] = {"depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 4], "window_size": 4}
        width = {"swin_T_224_1k": 16, "swin_B_384_22k": 24}[name]
        return SwinTransformer(pretrain_img_size=64, embed_dim=width, **sizes, **options)

    place = tmp_path_factory.mktemp("original")
    (place / "bert").mkdir()
    tokenizer = build_bert_tokenizer(place / "bert")
    config = BertConfig(
        vocab_size=1030, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    config.save_pretrained(place / "bert")
    lines = [f"{name} = {value!r}" for name, value in {**ARCHITECTURES["swin-t"], **SMALL}.items()]
    (place / "config.py").write_text("batch_size = 1\n" + "\n".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbone, "build_swin_transformer", small_swin)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = _build({**ARCHITECTURES["swin-t"], **SMALL}, config, tokenizer).eval()
            for parameter in network.parameters():
                if parameter.dim() > 1:
                    torch.nn.init.normal_(parameter, std=0.08)
        published = {f"module.{name}": value for name, value in network.state_dict().items()}
        published["module.label_enc.weight"] = torch.zeros(2, 2)  # in the published file too, for training alone
        published["module.bert.embeddings.position_ids"] = torch.arange(512)[None]
        torch.save({"model": published}, place / "tiny.pth")
        yield place / "tiny.pth", place / "config.py", place / "bert"


def from_original(original: tuple[Path, Path, Path], runtime: Runtime | None = None, **options: Any) -> GroundingDino:
    checkpoint, config, bert = original
    defaults: dict[str, Any] = {"architecture": str(config), "text_encoder": str(bert), "always_best": True}
    return detector(checkpoint, runtime, **{**defaults, "size": 64, **options})


class TestOriginalLoader(GrounderContract):
    @pytest.fixture
    def grounder(self, original: tuple[Path, Path, Path]) -> GroundingDino:
        return from_original(original, RUNTIME)


def test_both_loaders_agree(original: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """The same weights, in the original code and converted for transformers, give the same scores and boxes."""
    from tiny_detectors import tiny_dino_config
    from transformers import BertConfig

    checkpoint, _, bert = original
    tensors = torch.load(checkpoint, weights_only=True)["model"]
    own = {name.removeprefix("module."): value for name, value in tensors.items()}
    ours = renamed({name: value for name, value in own.items() if not name.startswith("label_enc")})
    folder = build_tiny_grounding_dino(tmp_path / "converted")
    tiny_dino_config(
        d_model=256,
        text_config=BertConfig.from_pretrained(bert),
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_n_points=4,
        decoder_n_points=4,
    ).save_pretrained(folder)
    save_file(ours, folder / "model.safetensors", metadata={"format": "pt"})

    first = from_original(original)._network()
    second = TransformersDino.load(str(folder), Runtime(device="cpu"))
    text = "a man's t-shirt . the red box . grass . the red box ."
    for size in (64, 96):
        scores, found = first.detect(IMAGE, text, size)
        scores2, found2 = second.detect(IMAGE, text, size)
        assert np.ptp(scores, axis=0).max() > 0.05 and np.ptp(found[:, 0]) > 1, "the model tells things apart"
        np.testing.assert_allclose(scores, scores2, atol=1e-4)
        np.testing.assert_allclose(found / 96, found2 / 96, atol=1e-4)
    regions = ask("a man's t-shirt", "the red box", "the red box")
    ours_found = from_original(original).ground(GroundJob(IMAGE, regions))
    theirs = detector(folder, always_best=True).ground(GroundJob(IMAGE, regions))
    for one, other in zip(ours_found, theirs, strict=True):
        assert one.box == pytest.approx(other.box, abs=0.01) and one.score == pytest.approx(other.score, abs=1e-4)


def test_text_sees_only_its_own_phrase(original: tuple[Path, Path, Path]) -> None:
    """What the adapter's mask is for: with it BERT's features of a phrase do not change with the phrases beside it."""
    network = from_original(original)._network().network  # type: ignore[attr-defined]
    code = pytest.importorskip("groundingdino.models.GroundingDINO.bertwarper")

    def features(text: str) -> torch.Tensor:
        tokens = network.tokenizer([text], return_tensors="pt")
        mask, positions, _ = code.generate_masks_with_special_tokens_and_transfer_map(
            tokens, network.specical_tokens, network.tokenizer
        )
        with torch.no_grad():
            return network.bert(tokens.input_ids, mask, positions, tokens.token_type_ids)["last_hidden_state"][0, 1:4]

    alone, beside = features("the red box ."), features("the red box . a green man .")
    torch.testing.assert_close(alone, beside)
    assert not torch.allclose(alone, features("the green box ."))


def test_architecture_is_told_by_the_weights(original: tuple[Path, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="not a GroundingDINO checkpoint with a Swin-T or Swin-B backbone"):
        from_original(original, architecture="auto").ground(GroundJob(IMAGE, ask("the box")))
    from gas_grounders.dino_original import _architecture

    for channels, backbone in ((96, "swin_T_224_1k"), (128, "swin_B_384_22k")):
        weights = {"backbone.0.patch_embed.proj.weight": torch.zeros(channels, 3, 4, 4)}
        assert _architecture("auto", weights, "x.pth")["backbone"] == backbone


def test_known_architectures_are_the_authors_own() -> None:
    """Against the config files that the package carries."""
    config = pytest.importorskip("groundingdino.config", reason="needs the extra groundingdino")
    from gas_grounders.dino_original import ARCHITECTURES, read_config

    place = Path(str(config.__file__)).parent
    for name, file in (("swin-t", "GroundingDINO_SwinT_OGC.py"), ("swin-b", "GroundingDINO_SwinB_cfg.py")):
        theirs = read_config(place / file)
        assert {key: theirs[key] for key in ARCHITECTURES[name]} == ARCHITECTURES[name]


@pytest.mark.parametrize("architecture", ["swin-b", "swin-t"])
def test_wrong_architecture_is_named(original: tuple[Path, Path, Path], architecture: str) -> None:
    with pytest.raises(ModelUnavailable) as raised:
        from_original(original, architecture=architecture).ground(GroundJob(IMAGE, ask("the box")))
    assert "tiny.pth" in raised.value.message
    with pytest.raises(UsageError, match="architecture 'swin-x' is unknown"):
        from_original(original, architecture="swin-x").ground(GroundJob(IMAGE, ask("the box")))


def test_text_encoder_says_where_the_vocabulary_is(original: tuple[Path, Path, Path], tmp_path: Path) -> None:
    bert = original[2]
    other = Path(shutil.copytree(bert, tmp_path / "bert"))
    build_bert_tokenizer(other, letters=False)
    known = from_original(original, score_threshold=0.0, text_threshold=0.0, always_best=False)
    assert known.ground(GroundJob(IMAGE, ask("a zeppelin")))[0].box is not None
    with pytest.raises(ObjectNotFound, match="does not know 'zeppelin'"):
        from_original(original, text_encoder=str(other), always_best=False).ground(GroundJob(IMAGE, ask("a zeppelin")))
    with pytest.raises(ModelUnavailable, match="not there"):
        from_original(original, text_encoder=str(tmp_path / "none")).ground(GroundJob(IMAGE, ask("the box")))


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
def test_a_program_in_a_checkpoint_is_not_run(original: tuple[Path, Path, Path], tmp_path: Path, form: str) -> None:
    marker, file = tmp_path / "marker", tmp_path / "evil.pth"
    content = {"model": {"x": torch.zeros(1)}, "hook": Evil(marker)}
    if form == "bare":
        file.write_bytes(pickle.dumps(content["hook"]))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ModelUnavailable) as raised:
        from_original((file, original[1], original[2])).ground(GroundJob(IMAGE, ask("the box")))
    assert "evil.pth" in raised.value.message and raised.value.exit_code == 6
    assert not marker.exists()
    # The file does what it says when it is read without care, so that the test can fail.
    torch.load(file, weights_only=False) if form != "bare" else pickle.loads(file.read_bytes())
    assert marker.exists()


def test_a_program_in_a_config_file_is_not_run(original: tuple[Path, Path, Path], tmp_path: Path) -> None:
    marker, config = tmp_path / "marker", tmp_path / "config.py"
    for line in (
        f"x = open({str(marker)!r}, 'w')",
        f"import os; os.mkdir({str(marker)!r})",
        "def f(): pass",
        "x = (",
        "x\0",
    ):
        config.write_text(f"num_queries = 12\n{line}\n")
        with pytest.raises(UsageError, match=re.escape(str(config))):
            from_original((original[0], config, original[2])).ground(GroundJob(IMAGE, ask("the box")))
        assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [({"model": [1, 2]}, "holds no weights by name"), (torch.zeros(2), "holds no weights by name"), (None, "cannot")],
)
def test_other_files_are_refused(original: tuple[Path, Path, Path], tmp_path: Path, content: Any, message: str) -> None:
    file = tmp_path / "other.pth"
    file.write_bytes(b"PK\x03\x04 not a zip") if content is None else torch.save(content, file)
    with pytest.raises(ModelUnavailable, match=message):
        from_original((file, original[1], original[2])).ground(GroundJob(IMAGE, ask("the box")))
    with pytest.raises(ModelUnavailable, match="not there"):
        from_original((tmp_path / "none.pth", original[1], original[2])).ground(GroundJob(IMAGE, ask("the box")))


def test_original_loader_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.pth"
    file.touch()
    monkeypatch.setitem(sys.modules, "groundingdino", None)
    monkeypatch.delitem(sys.modules, "groundingdino.models", raising=False)
    with pytest.raises(ModelUnavailable, match="need the package groundingdino-py") as raised:
        detector(file).ground(GroundJob(IMAGE, ask("the box")))
    assert 'pip install "gas-edit[groundingdino]"' in raised.value.remedy


def test_original_loader_asks_nobody_and_says_nothing(
    original: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    from_original(original).ground(GroundJob(IMAGE, ask("the box")))
    assert capfd.readouterr() == ("", "")


def test_it_can_be_stopped_between_two_captions(scripted: Any) -> None:
    """More phrases than one caption holds are asked in several."""
    grounder, network = scripted(CATS, always_best=True)
    phrases = ask(*[f"the cat {'of a neighbour ' * 10}{number}" for number in range(20)])
    grounder.ground(GroundJob(IMAGE, phrases))
    calls = len(network.calls)
    assert calls > 1
    with pytest.raises(Interrupted):
        watch = Watch(should_stop=lambda: len(network.calls) == calls + 1)
        grounder.ground(GroundJob(IMAGE, phrases, watch=watch))
    assert len(network.calls) == calls + 1
