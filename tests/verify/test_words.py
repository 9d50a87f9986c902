"""Findings in words."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from gas.plan.words import what
from gas.remedies import Setting
from gas.types import Evidence, Failure, Finding, Subtask
from gas.verify.parts import can_be_seen, changes_looks
from gas.verify.words import attempt_sentence, evidence_sentence, remedy, sentence
from gas_shell.words import flag_words

CAR = Subtask(source="a red car", target="a blue car")


def test_a_line_says_what_and_how_it_is_known() -> None:
    seen = Evidence(by="detector", asked="'a blue car'", value=0.874, threshold=0.3)
    done = Finding(subtask=0, verdict="done", score=0.87, evidence=(seen,))
    assert sentence(done, CAR) == "a blue car in the place of a red car: yes (detector 0.87)"
    missed = Finding(subtask=0, verdict="not done", evidence=(seen,), failure="unchanged")
    assert sentence(missed, CAR).endswith("no, unchanged (detector 0.87)")
    assert evidence_sentence(seen) == "detector: 'a blue car' 0.87, at least 0.30"
    unknown = Finding(subtask=0, verdict="cannot tell", evidence=(Evidence(by="clip", note="no region"),))
    assert sentence(unknown, CAR).endswith("cannot tell (clip)")
    assert evidence_sentence(unknown.evidence[0]) == "clip: no region"


def test_what_is_asked_for_by_action() -> None:
    assert what(Subtask(action="remove", source="a dog")) == "a dog gone"
    assert what(Subtask(action="add", target="a hat", anchor="the head")) == "a hat at the head"
    assert what(Subtask(target="warmer", where="picture")) == "warmer"


@pytest.mark.parametrize("failure", [*get_args(Failure), None])
def test_every_failure_has_a_line_and_a_remedy(failure: Failure | None) -> None:
    finding = Finding(subtask=0, verdict="not done", failure=failure)
    assert sentence(finding, CAR).startswith("a blue car in the place of a red car: no")
    advice = remedy(failure, CAR, "dds")
    assert advice.code and str(advice)


def test_remedies_differ() -> None:
    assert remedy("outside", CAR, "dds").parts["grounded"] == Setting("grounded", True)
    assert "box" in str(remedy("displaced", CAR, "dds"))
    assert remedy("unchanged", CAR, "dds").parts["stronger"].backend == "dds"


@pytest.mark.parametrize("failure", ["unchanged", "noise"])
def test_no_option_is_named_that_the_editor_does_not_have(failure: Failure) -> None:
    assert "-o" not in remedy(failure, CAR, "auto", ("table",)).worded(flag_words)


def test_only_what_is_not_done_has_a_failure() -> None:
    with pytest.raises(ValidationError, match="has no failure"):
        Finding(subtask=0, verdict="done", failure="unchanged")


@pytest.mark.parametrize(
    ("subtask", "looks"),
    [
        (CAR, True),
        (Subtask(source="a red car", target="a blue boat"), False),
        (Subtask(source="a cup", target="a wooden cup", attribute="material"), True),
        (Subtask(source="a red car", target="a blue car", attribute="kind"), False),
        (Subtask(action="remove", source="a car"), False),
    ],
)
def test_looks_or_kind(subtask: Subtask, looks: bool) -> None:
    assert changes_looks(subtask) is looks


def test_a_tone_cannot_be_seen_in_a_phrase() -> None:
    assert can_be_seen(CAR)
    assert not can_be_seen(Subtask(source="the sky", target="a darker sky", attribute="tone"))
    assert not can_be_seen(Subtask(source="a balloon", target="black and white", where="outside"))


def test_an_attempt_says_by_whom_what_came_and_who_wanted_it() -> None:
    done = Finding(subtask=0, verdict="done", evidence=(Evidence(by="detector", value=0.9),))
    untold = Finding(subtask=0, verdict="cannot tell")
    assert attempt_sentence("sdedit", done, "accepted", CAR, asked=False) == (
        "tried again with sdedit: a blue car in the place of a red car: yes (detector 0.90); kept"
    )
    assert (
        attempt_sentence("sdedit", done, "no", asked=False) == "tried again with sdedit: yes (detector 0.90); not kept"
    )
    assert attempt_sentence("sdedit", untold, "accepted", asked=True) == "made again by hand with sdedit; kept"
