"""ZONE's action classifier: its sentences, its training on the diorama's text encoder, and files of weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from places import DATA

from gas.diffusion.clip_text import ClipText
from gas.diffusion.load import load_backbone
from gas.errors import ModelUnavailable
from gas.runtime import Runtime
from gas_editors.instruction import actions
from gas_editors.instruction.action_sentences import ACTIONS, COCO, sentences

HELD_OUT = [tuple(line.split("\t")) for line in (DATA / "action_sentences.txt").read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def words() -> ClipText:
    model = load_backbone("package:gas_diorama/weights/sd", Runtime(device="cpu", dtype="fp32"))
    return model.need_words("a test")


@pytest.fixture(scope="module")
def classifier(words: ClipText) -> actions.ActionClassifier:
    return actions.trained(words)


def test_sentences_are_balanced_short_and_all_different() -> None:
    made = sentences(450)
    assert len({text for text, _ in made}) == 450
    assert [sum(action == a for _, action in made) for a in ACTIONS] == [150] * 3
    assert max(len(text.split()) for text, _ in made) <= 30
    many = " | ".join(text for text, _ in sentences(1500))
    assert len(COCO) == 80 and all(noun in many for noun in COCO)
    assert sentences(30, seed=1) == sentences(30, seed=1) != sentences(30, seed=2)


def test_held_out_sentences_were_written_apart() -> None:
    assert [sum(action == a for action, _ in HELD_OUT) for a in ACTIONS] == [50] * 3
    assert not {text for _, text in HELD_OUT} & {text for text, _ in sentences(450)}


def test_accuracy_on_sentences_written_apart(classifier: actions.ActionClassifier) -> None:
    """The diorama's text encoder has read of houses and skies only; most of these words are new to it, and its layers
    tell less of them than the words alone do."""
    assert classifier.states == "words"
    said = classifier.actions([text for _, text in HELD_OUT])
    right = sum(a == b for a, (b, _) in zip(said, HELD_OUT, strict=True)) / len(HELD_OUT)
    print(f"accuracy {right:.1%}")
    assert right >= 0.85


def test_accuracy_on_sentences_of_its_own_kind(classifier: actions.ActionClassifier) -> None:
    trained_on = set(sentences(450))
    fresh = [pair for pair in sentences(300, seed=7) if pair not in trained_on][:90]
    said = classifier.actions([text for text, _ in fresh])
    assert sum(a == b for a, (_, b) in zip(said, fresh, strict=True)) / len(fresh) >= 0.9


def test_the_states_are_those_that_tell_unseen_wordings_better(
    words: ClipText, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = actions.features

    def words_are_noise(words: ClipText, texts: list[str], states: str = "last") -> torch.Tensor:
        found = real(words, texts, "last")
        return found if states == "last" else torch.randn(found.shape, generator=torch.Generator().manual_seed(0))

    monkeypatch.setattr(actions, "TRAINED_ON", 120)
    monkeypatch.setattr(actions, "features", words_are_noise)
    assert actions.trained(words).states == "last"


def test_the_network_is_the_papers(classifier: actions.ActionClassifier, words: ClipText) -> None:
    shapes = [tuple(p.shape) for p in classifier.network.parameters()]
    assert shapes == [(128, words.encoder.config.hidden_size), (128,), (3, 128), (3,)]


@pytest.mark.seeded
def test_training_is_repeatable_and_leaves_random_numbers_alone(
    words: ClipText, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "TRAINED_ON", 60)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one, two = actions.trained(words), actions.trained(words)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), two.network.parameters(), strict=True))


@pytest.fixture
def training(classifier: actions.ActionClassifier, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ClipText]:
    """The models that were trained over, in the test's own cache; training takes no time."""
    made: list[ClipText] = []
    monkeypatch.setenv("GAS_HOME", str(tmp_path))
    monkeypatch.setattr(actions, "trained", lambda words: made.append(words) or classifier)
    return made


def cached(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "zone-actions").iterdir())


def test_it_is_trained_once_and_kept_for_the_next_program(
    words: ClipText, classifier: actions.ActionClassifier, training: list[ClipText], tmp_path: Path
) -> None:
    runtime = Runtime()
    one = actions.classifier(runtime, "a", words, None, "class")
    assert actions.classifier(runtime, "a", words, None, "class") is one and len(training) == 1
    again = actions.classifier(Runtime(), "a", words, None, "class")
    assert len(training) == 1 and again is not one and again.states == one.states == "words"
    assert all(torch.equal(a, b) for a, b in zip(again.network.parameters(), one.network.parameters(), strict=True))
    assert [path.suffix for path in cached(tmp_path)] == [".safetensors"], "nothing else is left there"


def test_other_weights_words_or_sentences_are_trained_anew(
    words: ClipText, training: list[ClipText], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import copy

    actions.kept(words)
    encoder = copy.deepcopy(words.encoder)
    with torch.no_grad():
        next(encoder.parameters())[0, 0] += 1e-3
    actions.kept(replace(words, encoder=encoder))
    tokenizer = copy.deepcopy(words.tokenizer)
    tokenizer.add_tokens(["another"])
    actions.kept(replace(words, tokenizer=tokenizer))
    monkeypatch.setattr(actions, "TRAINED_ON", 60)
    actions.kept(words)
    assert len(training) == 4 == len(cached(tmp_path))


@pytest.mark.parametrize("damage", [b"", b"not safetensors", None])
def test_a_damaged_file_is_said_and_trained_again(
    damage: bytes | None, words: ClipText, training: list[ClipText], tmp_path: Path
) -> None:
    actions.kept(words)
    (path,) = cached(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.warns(UserWarning, match="trained again"):
        actions.kept(words)
    assert len(training) == 2 and path.read_bytes() == whole
    actions.kept(words)
    assert len(training) == 2


def test_where_nothing_can_be_written_it_is_said(words: ClipText, training: list[ClipText], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert actions.kept(words) is not None


def published(path: Path, dim: int) -> Path:
    generator = torch.Generator().manual_seed(0)
    shapes = {"fc1.weight": (128, dim), "fc1.bias": (128,), "fc2.weight": (3, 128), "fc2.bias": (3,)}
    torch.save({name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}, path)
    return path


def test_a_file_in_the_published_form_with_its_own_decode_rule(words: ClipText, tmp_path: Path) -> None:
    path = published(tmp_path / "classifier.pth", 192)
    by_class, by_token = (actions.loaded(words, path, decode) for decode in ("class", "token"))
    texts = [text for _, text in HELD_OUT[::10]]
    weights = torch.load(path)
    for text, action in zip(texts, by_token.actions(texts), strict=True):
        hidden = (words.states([text])[0] @ weights["fc1.weight"].T + weights["fc1.bias"]).relu()
        latest = (hidden @ weights["fc2.weight"].T + weights["fc2.bias"]).argmax(0)
        assert action == ACTIONS[int(latest.argmax())]
    assert by_class.actions(texts) != by_token.actions(texts)


def test_a_file_for_another_text_encoder_is_refused(words: ClipText, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="text encoder of 192 numbers"):
        actions.loaded(words, published(tmp_path / "c.pth", 768), "class")
    (tmp_path / "d.pth").write_bytes(b"no")
    with pytest.raises(ModelUnavailable, match=r"d\.pth is not an action classifier"):
        actions.loaded(words, tmp_path / "d.pth", "class")
    torch.save({"w": torch.ones(1)}, tmp_path / "e.pth")
    with pytest.raises(ModelUnavailable, match=r"no fc1\.bias"):
        actions.loaded(words, tmp_path / "e.pth", "class")
