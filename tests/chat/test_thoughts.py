"""Thoughts are told from answers in every mark that models and servers use."""

from __future__ import annotations

import pytest
from effort import at_most

from gas.chat import Reply
from gas.chat.lenient_json import Unreadable
from gas.chat.reading import one_object, without_thoughts
from gas.chat.thoughts import split

ANSWER = '{"answer": 1}'
DRAFT = '{"answer": 2}'
MARKED = {
    "think": f"<think>{DRAFT}</think>{ANSWER}",
    "thinking": f"<thinking>{DRAFT}</thinking>\n{ANSWER}",
    "thought": f"<thought>{DRAFT}</thought>{ANSWER}",
    "reasoning": f"<reasoning>{DRAFT}</reasoning>{ANSWER}",
    "capitals": f"<THINK>{DRAFT}</Think>{ANSWER}",
    "with a prefix": f"<seed:think>{DRAFT}</seed:think>{ANSWER}",
    "Mistral": f"[THINK]{DRAFT}[/THINK]{ANSWER}",
    "Kimi": f"◁think▷{DRAFT}◁/think▷{ANSWER}",
    "Cohere": f"<|START_THINKING|>{DRAFT}<|END_THINKING|><|START_RESPONSE|>{ANSWER}<|END_RESPONSE|>",
    "Gemma": f"<|channel>thought\n{DRAFT}<channel|>{ANSWER}",
    "gpt-oss": (
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{ANSWER}<|return|>"
    ),
    "gpt-oss with a constraint": (
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant"
        f"<|channel|>final <|constrain|>json<|message|>{ANSWER}"
    ),
    "gpt-oss without its tokens": f"analysisThe draft: {DRAFT} Good.assistantfinal{ANSWER}",
    "only the end": f"Let me draft: {DRAFT}\nNo.\n</think>\n\n{ANSWER}",
    "only Kimi's end": f"Let me draft: {DRAFT}◁/think▷{ANSWER}",
    "anywhere": f"Sure.\n<think>{DRAFT}</think>\n```json\n{ANSWER}\n```",
    "after the answer too": f"<think>{DRAFT}</think>{ANSWER}<think>that was it: {DRAFT}</think>",
    "nested": f"<think>I <think>{DRAFT}</think> and {DRAFT}</think>{ANSWER}",
    "opened in the text of a thought": f"<think>I write <think> first. {DRAFT}</think>{ANSWER}",
    "an answer in an element": f"<think>{DRAFT}</think><answer>{ANSWER}</answer>",
    "other ends than beginnings": f"<thinking>{DRAFT}</think>{ANSWER}",
}


@pytest.mark.parametrize("text", MARKED.values(), ids=MARKED)
def test_the_draft_is_a_thought_and_the_answer_is_not(text):
    found = split(text)
    assert ANSWER in found.answer and DRAFT not in found.answer and DRAFT in found.thoughts and found.ended
    assert one_object(text, "answer") == {"answer": 1}
    assert ANSWER in Reply(text).answer


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{DRAFT}",
        f"[THINK]{DRAFT}",
        f"◁think▷{DRAFT}",
        f"<|channel|>analysis<|message|>{DRAFT}",
        f"<think>a</think>well<think>{DRAFT}",
    ],
)
def test_a_text_that_ends_in_a_thought_has_no_answer(text):
    assert not split(text).ended
    with pytest.raises(Unreadable, match="cut off in its thoughts"):
        one_object(text, "answer")


@pytest.mark.parametrize(
    "text",
    [
        '{"reasoning": "<think>a dog</think>", "answer": 1}',
        '{"reasoning": "write </think> on the sign", "answer": 1}',
        "I have no thoughts: " + ANSWER,
        "[1, 2] > 0 and < 3 " + ANSWER,
    ],
)
def test_what_is_no_mark_of_thinking_stays(text):
    assert split(text).answer == text and split(text).thoughts == ""
    assert one_object(text, "answer")["answer"] == 1


def test_thoughts_that_are_one_object_are_the_answer_where_there_is_no_other():
    for reply in (Reply("", thoughts=ANSWER), Reply(f"<think>{ANSWER}</think>"), Reply(f"{ANSWER}</think>")):
        assert reply.answer == ANSWER and reply.parts.in_thoughts and not reply.only_thought
    for reply in (
        Reply("", thoughts=f"A draft: {ANSWER}"),
        Reply("", thoughts=f"{DRAFT} no, {ANSWER}"),
        Reply("", thoughts=ANSWER, cut=True),
        Reply("", thoughts="I look at the dog."),
        Reply("", thinking_tokens=512),
    ):
        assert reply.answer == "" and reply.only_thought
    assert Reply(ANSWER, thoughts=DRAFT).answer == ANSWER
    assert not Reply("", thoughts="hm", refusal="no").only_thought
    assert not Reply("").only_thought


def test_thoughts_of_the_service_and_of_the_text_come_together():
    reply = Reply(f"<think>second</think>{ANSWER}", thoughts="first")
    assert reply.parts.thoughts == "first\nsecond" and reply.answer == ANSWER


def test_many_marks_are_refused():
    assert one_object("<think>a</think>" * 500 + ANSWER, "answer") == {"answer": 1}
    with pytest.raises(Unreadable, match="more than 1000 marks"):
        one_object("<think>a</think>" * 501 + ANSWER, "answer")


@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 280_000,
        "</think>" * 240_000,
        "<|channel|>a<|message|>" * 86_000,
        "<|channel|>" * 180_000,
        "analysis" + "assistantfina" * 150_000,
        "◁think▷" * 280_000,
        "<" * 1_999_990 + "think>",
    ],
    ids=range(7),
)
def test_bombs_are_bounded(text):
    with at_most(seconds=20):  # in proportion to the length, a tenth of a second
        try:
            without_thoughts(text)
        except Unreadable as error:
            assert "marks of thinking" in str(error) or "cut off" in str(error)
