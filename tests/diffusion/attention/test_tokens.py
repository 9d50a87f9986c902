"""Positions of a phrase in a prompt's ids, with a tokenizer of whole words and one of single letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import CLIPTokenizer

from gas.diffusion.attention.phrase_tokens import phrase_spans, phrase_tokens
from gas.models.manifest import resolve_model


@pytest.fixture(scope="module")
def words() -> Any:
    """The diorama's: a token for each word of its world, letters for others."""
    return CLIPTokenizer.from_pretrained(resolve_model("package:gas_diorama/weights/sd/tokenizer").location)


@pytest.fixture(scope="module")
def letters(tiny_sd: Path) -> Any:
    return CLIPTokenizer.from_pretrained(tiny_sd / "tokenizer")


def read(tokenizer: Any, prompt: str, places: list[tuple[int, ...]]) -> list[str]:
    ids = tokenizer(prompt).input_ids
    return [tokenizer.decode([ids[i] for i in place]).strip() for place in places]


def test_words_in_their_places(words: Any) -> None:
    prompt = "a red car, grass and a clear sky"
    assert phrase_tokens(words, prompt, "grass") == [(5,)]
    assert phrase_tokens(words, prompt, "a red car") == [(1, 2, 3)]
    assert phrase_tokens(words, prompt, "a clear sky") == [(7, 8, 9)]
    assert phrase_tokens(words, prompt, "a blue car") == []


def test_each_time_that_it_stands_there(words: Any) -> None:
    assert phrase_tokens(words, "a red car, a blue car and a red car", "a red car") == [(1, 2, 3), (9, 10, 11)]
    assert phrase_tokens(words, "car car car", "car car") == [(1, 2)], "without overlaps"


def test_case_spaces_and_punctuation_do_not_matter(words: Any) -> None:
    assert phrase_tokens(words, "A  RED\tcar; grass.", " a red   Car. ") == [(1, 2, 3)]
    assert read(words, "the “red car” here", phrase_tokens(words, "the “red car” here", 'red "car"')) == ["red car"]
    assert phrase_tokens(words, "a red-car", "red car") == [(2, 3, 4)], "the hyphen between is part of it"


def test_whole_words_only(words: Any) -> None:
    assert phrase_tokens(words, "a carpet of grass", "car") == []
    assert len(phrase_tokens(words, "a car's wheel", "car")) == 1


def test_words_of_many_tokens(letters: Any) -> None:
    prompt = "an igloo, snow"
    assert phrase_tokens(letters, prompt, "igloo") == [(3, 4, 5, 6, 7)]
    assert read(letters, prompt, phrase_tokens(letters, prompt, "snow")) == ["snow"]


def test_letters_beyond_ascii(letters: Any) -> None:
    prompt = "émigré über 🙂 sky"
    assert read(letters, prompt, phrase_tokens(letters, prompt, "über")) == ["über"]
    assert read(letters, prompt, phrase_tokens(letters, prompt, "🙂")) == ["🙂"]
    assert read(letters, prompt, phrase_tokens(letters, prompt, "SKY")) == ["sky"]


def test_one_word_of_a_phrase(words: Any) -> None:
    prompt = "a blue car, a red car"
    assert phrase_tokens(words, prompt, "a red car", word="car") == [(7,)]
    assert phrase_tokens(words, prompt, "a red car", word="Red") == [(6,)]
    assert phrase_tokens(words, "a car on a car", "a car on a car", word="car") == [(5,)], "where it stands last"
    assert phrase_tokens(words, prompt, "a red car", word="sky") == []


def test_what_is_cut_off_is_left_out(words: Any) -> None:
    prompt = "a red car, a blue ball"  # 7 words and a comma between two marks
    assert phrase_tokens(words, prompt, "a blue ball", 9) == [(5, 6, 7)]
    assert phrase_tokens(words, prompt, "a blue ball", 8) == []
    assert phrase_tokens(words, prompt, "a red car", 5) == [(1, 2, 3)]
    assert phrase_tokens(words, prompt, "a red car", 4) == []
    assert phrase_tokens(words, prompt, "a blue ball", 77) == [(5, 6, 7)]


@pytest.mark.parametrize("phrase", ["", "   "])
def test_nothing_stands_nowhere(words: Any, phrase: str) -> None:
    assert phrase_tokens(words, "a red car", phrase) == []
    assert phrase_spans("a  red", phrase) == []
