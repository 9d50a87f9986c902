"""Yes or no, and how probable it was."""

from __future__ import annotations

import math

import pytest

from gas.chat import Reply, Token, answers, probabilities_of_yes, probability_of_yes, said_yes


def token(text: str, **likeliest: float) -> Token:
    """A token whose neighbours have these probabilities; its own is the highest."""
    ranked = {word.replace("_", " "): p for word, p in likeliest.items()}
    best = max(ranked.values(), default=1.0)
    return Token(text, math.log(best), tuple((word, math.log(p)) for word, p in ranked.items()))


@pytest.mark.parametrize(
    ("text", "yes"),
    [
        ("Yes", True),
        ("yes.", True),
        ("**No**", False),
        ('{"answer": "no"}', False),
        ("<think>yes yes</think>No", False),
        ("no yes", False),
        ("Perhaps", None),
        ("Yesterday", None),
        ("", None),
        ("In this picture, which was taken at the sea in the early morning, one can see that there is no dog", None),
    ],
)
def test_the_word(text, yes):
    assert said_yes(Reply(text)) is yes


def test_spellings_are_summed():
    reply = Reply("Yes", tokens=(token("Yes", Yes=0.5, _yes=0.1, No=0.2, no=0.1, The=0.1),))
    assert probability_of_yes(reply) == pytest.approx(0.6 / 0.9)
    assert probability_of_yes(Reply("No", tokens=(token("No", No=0.9, Yes=0.1),))) == pytest.approx(0.1)


def test_the_first_of_the_two_words_counts_wherever_it_stands():
    tokens = (token('{"'), token("answer"), token('": "'), token("no", no=0.8, yes=0.2), token('"}'))
    assert probability_of_yes(Reply('{"answer": "no"}', tokens=tokens)) == pytest.approx(0.2)


def test_thoughts_do_not_count():
    tokens = (token("<think>"), token("yes", yes=0.9, no=0.1), token("</think>"), token("No", No=0.7, Yes=0.3))
    reply = Reply("<think>yes</think>No", tokens=tokens)
    assert probability_of_yes(reply) == pytest.approx(0.3) and said_yes(reply) is False


def test_a_word_that_is_not_among_the_likeliest_counts_by_itself():
    assert probability_of_yes(Reply("yes", tokens=(Token("yes", math.log(0.4)),))) == 1.0


@pytest.mark.parametrize(
    "reply",
    [
        Reply("Yes"),
        Reply("Perhaps", tokens=(token("Perhaps", Perhaps=0.9, Yes=0.1),)),
        Reply("a " * 20 + "no", tokens=(*[token("a ", a=1.0)] * 20, token("no", no=1.0))),
        Reply("", tokens=(token("Yes", Yes=1.0),), refusal="no"),
        Reply("<think>Yes", tokens=(token("<think>"), token("Yes", Yes=1.0))),
    ],
)
def test_there_is_none(reply):
    assert probability_of_yes(reply) is None


@pytest.mark.parametrize(
    ("text", "count", "expected"),
    [
        ("1. yes\n2. no", 2, [True, False]),
        ("Here:\n1) No\n\n2) Yes.", 2, [False, True]),
        ("yes\nno", 2, [True, False]),
        ("Question 1: yes", 1, [True]),
        ("1. yes", 2, None),
        ("2. yes\n1. no", 2, None),
        ("1. yes\n2. no\n3. no", 2, None),
        ("1. yes, it does", 1, None),
        ("<think>1. no</think>1. yes", 1, [True]),
        ("", 1, None),
    ],
)
def test_answers_to_several_questions(text, count, expected):
    assert answers(Reply(text), count) == expected


def test_refusal_answers_nothing():
    assert answers(Reply("1. yes", refusal="no"), 1) is None


def test_probabilities_of_several():
    tokens = (token("1. "), token("no", no=0.8, yes=0.2), token("\n2. "), token("yes", yes=0.7, no=0.3))
    reply = Reply("1. no\n2. yes", tokens=tokens)
    assert probabilities_of_yes(reply, 2) == pytest.approx([0.2, 0.7])
    assert probabilities_of_yes(reply, 3) is None
    assert probabilities_of_yes(Reply("1. no\n2. yes"), 2) is None
