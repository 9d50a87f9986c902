"""Which tokens of one prompt stand for which of another, with a tokenizer of whole words and one of single letters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from random_state import generator
from transformers import CLIPTokenizer

from gas.diffusion.attention.alignment import TokenMap, refined_words, replaced_words, word_factors
from gas.errors import InputRefused
from gas.models.manifest import resolve_model

N = 24


@pytest.fixture(scope="module")
def words() -> Any:
    """The diorama's: a token for each word of its world, letters for others."""
    return CLIPTokenizer.from_pretrained(resolve_model("package:gas_diorama/weights/sd/tokenizer").location)


@pytest.fixture(scope="module")
def letters(tiny_sd: Path) -> Any:
    return CLIPTokenizer.from_pretrained(tiny_sd / "tokenizer")


def pairs(tokens: TokenMap) -> dict[tuple[int, int], float]:
    return {(int(i), int(j)): float(tokens.carried[i, j]) for i, j in tokens.carried.nonzero()}


def own(tokens: TokenMap) -> list[int]:
    return tokens.own.nonzero().flatten().tolist()


# --- replace ----------------------------------------------------------------------------------------------------------


def test_words_in_the_same_place_stand_for_each_other(words: Any) -> None:
    tokens = replaced_words(words, "a red car, grass", "a blue ball, snow", N)
    assert torch.equal(tokens.carried, torch.eye(N))
    assert not own(tokens)
    assert tokens.same


def test_a_word_of_other_length_gets_equal_parts_of_all(letters: Any) -> None:
    # start 0; "a" 1; "cat" 2..4 / "horse" 2..6; end 5 / 7
    tokens = replaced_words(letters, "a cat", "a horse", 10)
    found = pairs(tokens)
    assert found[0, 0] == found[1, 1] == 1
    assert all(found[i, j] == pytest.approx(0.2) for i in (2, 3, 4) for j in (2, 3, 4, 5, 6))
    assert found[5, 7] == 1, "end mark to end mark"
    assert not own(tokens) and not tokens.same


@pytest.mark.parametrize(("source", "target"), [("a cat", "a horse"), ("a horse", "a cat"), ("a cat", "a dog")])
@pytest.mark.parametrize("length", [10, 8, 7, 5])
def test_no_attention_is_lost(letters: Any, source: str, target: str, length: int) -> None:
    tokens = replaced_words(letters, source, target, length)
    attention = torch.rand(5, length, generator=generator(1)).softmax(-1)
    if length > 7:
        torch.testing.assert_close((attention @ tokens.carried).sum(-1), torch.ones(5))
    assert tokens.carried.shape == (length, length) and bool((tokens.carried.sum(1) <= 1 + 1e-6).all())


def test_a_word_that_is_cut_off_stands_for_nothing(letters: Any) -> None:
    tokens = replaced_words(letters, "a b", "a horse", 6)  # of "horse" three letters are seen
    found = pairs(tokens)
    assert found[2, 2] == pytest.approx(1 / 3) and (2, 5) not in found
    assert found[3, 5] == 1


@pytest.mark.parametrize(("source", "target"), [("a red car", "a car"), ("", "a car"), ("a car", "a big red car")])
def test_other_numbers_of_words_are_refused_by_name(words: Any, source: str, target: str) -> None:
    with pytest.raises(InputRefused) as caught:
        replaced_words(words, source, target, N)
    assert repr(source) in caught.value.message and repr(target) in caught.value.message
    assert f"has {len(source.split())} words" in caught.value.message
    assert 'mode="refine"' in caught.value.remedy
    assert caught.value.exit_code == 3


# --- refine -----------------------------------------------------------------------------------------------------------


def test_words_in_common_are_carried_and_others_are_their_own(words: Any) -> None:
    tokens = refined_words(words, "a car, grass", "a red car, grass", N)
    assert own(tokens) == [2]
    found = pairs(tokens)
    assert {(i, j) for i, j in found if i <= 5} == {(0, 0), (1, 1), (2, 3), (3, 4), (4, 5), (5, 6)}
    assert set(found.values()) == {1.0}


def test_a_word_that_is_left_out(words: Any) -> None:
    tokens = refined_words(words, "a red car, grass", "a car, grass", N)
    found = pairs(tokens)
    assert not own(tokens) and (3, 2) in found and (2, 2) not in found
    assert found[6, 5] == found[N - 1, N - 2] == 1, "the end mark and the filling in order"


def test_punctuation_does_not_part_a_word_from_itself(words: Any) -> None:
    tokens = refined_words(words, "a car", "a car, grass", N)
    assert own(tokens) == [3, 4] and pairs(tokens)[2, 2] == 1


def test_the_longest_alignment_wins(words: Any) -> None:
    tokens = refined_words(words, "a red car and a blue ball", "a blue ball", N)
    assert {(6, 2), (7, 3)} <= set(pairs(tokens)) and not own(tokens)


def test_case_does_not_matter_and_tokens_of_a_word_follow_each_other(letters: Any) -> None:
    tokens = refined_words(letters, "Cat sat", "the cat", N)
    found = pairs(tokens)
    assert [j for i in (1, 2, 3) for j in range(N) if (i, j) in found] == [4, 5, 6]
    assert own(tokens) == [1, 2, 3]


def test_nothing_in_common_carries_the_marks_alone(words: Any) -> None:
    tokens = refined_words(words, "grass", "snow", N)
    assert own(tokens) == [1] and pairs(tokens)[0, 0] == pairs(tokens)[2, 2] == 1


@pytest.mark.parametrize("align", [replaced_words, refined_words])
@pytest.mark.parametrize("prompt", ["a car's wheel; émigré 🙂", "", "a red car, grass and a clear sky " * 4])
def test_a_prompt_stands_for_itself(words: Any, letters: Any, align: Any, prompt: str) -> None:
    for tokenizer in (words, letters):
        assert align(tokenizer, prompt, prompt, N).same


# --- factors ----------------------------------------------------------------------------------------------------------


def test_factors_of_words_and_phrases(words: Any) -> None:
    factors = word_factors(words, "a red car, a blue car", {"car": 2, "a blue car": 3}, 12)
    assert factors.tolist() == [1, 1, 1, 2, 1, 3, 3, 6, 1, 1, 1, 1]


def test_a_word_that_is_not_there_is_refused(words: Any) -> None:
    with pytest.raises(InputRefused, match="'igloo' is to be reweighted") as caught:
        word_factors(words, "a red car", {"igloo": 2}, 12)
    assert "'a red car'" in caught.value.message
    with pytest.raises(InputRefused, match="what the model sees"):
        word_factors(words, "a red car", {"car": 2}, 4)
