"""The verifier `vlm`, against services that answer, and that misbehave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gas import EditPlan, Region, Runtime
from gas.errors import ServiceUnavailable, UsageError
from gas.interfaces import VerifyJob
from gas.testing import VerifierContract
from gas.testing.contracts import sample_image, verify_job
from gas.testing.servers import FakeOpenAI, Reply, fail, say
from gas.types import Subtask
from gas_verifiers.vlm import VlmVerifier

IMAGE = sample_image(96, 64)
JOB = verify_job(IMAGE, (30, 60, 210))
GOOD = "1. no\n2. yes\n3. no"


def vlm(server: FakeOpenAI, **options: Any) -> VlmVerifier:
    told = {"service": "openai", "base_url": server.url, "model": "any", **options}
    return VlmVerifier(VlmVerifier.options_type(**told), Runtime())


def asked(*replies: Reply, job: VerifyJob = JOB, **options: Any) -> tuple[Any, list[Any]]:
    """The finding on the first subtask, and what the service was asked."""
    with FakeOpenAI(replies) as server:
        found = vlm(server, **options).verify(job)
        return found[0], [one.body for one in server.chats]


class TestVlm(VerifierContract):
    @pytest.fixture
    def server(self) -> Iterator[FakeOpenAI]:
        with FakeOpenAI([say(GOOD)]) as server:
            yield server

    @pytest.fixture
    def verifier(self, server: FakeOpenAI) -> VlmVerifier:
        return vlm(server)


def test_all_subtasks_are_asked_about_in_one_call() -> None:
    both = EditPlan(subtasks=(*JOB.plan.subtasks, Subtask(source="grass", target="snow")))
    mask = np.zeros(IMAGE.shape[:2], np.float32)
    mask[50:] = 1
    after = JOB.after.copy()
    after[50:] = 250
    job = replace(JOB, plan=both, after=after, regions=(*JOB.regions, Region("grass", mask=mask, subtask=1)))
    with FakeOpenAI([say("1. no\n2. yes\n3. no\n4. no\n5. no")]) as server:
        first, second = vlm(server).verify(replace(job, subtasks=(0, 1)))
        bodies = [one.body for one in server.chats]
    assert (first.verdict, second.verdict, second.failure) == ("done", "not done", "wrong kind")
    assert len(bodies) == 1
    parts = bodies[0]["messages"][-1]["content"]
    assert sum(part["type"] == "image_url" for part in parts) == 4
    text = next(part["text"] for part in parts if part["type"] == "text")
    assert "Does picture 4 show snow?" in text and "a blue box" in text


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (GOOD, "done"),
        ("1: No\n2: Yes\n3: No", "done"),
        ("no\nyes\nno", "done"),
        ("**1.** no\n**2.** **yes**\n**3.** no", "done"),
        ("1. no\n2. no\n3. no", "not done"),
        ("1. yes\n2. yes\n3. no", "cannot tell"),
        ("1. yes\n2. yes\n3. yes", "cannot tell"),
    ],
)
def test_answers(reply: str, verdict: str) -> None:
    found, bodies = asked(say(reply))
    assert found.verdict == verdict and len(bodies) == 1


def test_a_model_that_always_says_yes_accepts_nothing() -> None:
    for job in (JOB, replace(JOB, plan=EditPlan(subtasks=(Subtask(action="remove", source="a red box"),)))):
        found, _ = asked(say("1. yes\n2. yes\n3. yes"), job=job)
        assert found.verdict == "cannot tell" and "everything" in found.evidence[0].note


@pytest.mark.parametrize(
    "reply",
    [
        say(
            "The first picture shows a red box, and the second one, which I find very nice, a blue one. Both are boxes."
        ),
        say("yes"),
        say("2. yes\n1. no\n3. no"),
        say("1. no\n2. yes\n3. no\n4. yes"),
        say("", refusal="I cannot help with that"),
    ],
)
def test_what_cannot_be_read_is_asked_one_by_one(reply: Reply) -> None:
    found, bodies = asked(reply, say("No"), say("Yes"))
    assert found.verdict == "done" and len(bodies) == 3
    assert all(sum(p["type"] == "image_url" for p in body["messages"][-1]["content"]) == 1 for body in bodies[1:])


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (say("", refusal="I cannot help with that"), "refused"),
        (say("It is hard to say what this picture shows."), "neither yes nor no"),
        (say("<think>yes yes</think>"), "neither yes nor no"),
    ],
)
def test_refusal_and_prose_cannot_tell(reply: Reply, why: str) -> None:
    found, bodies = asked(reply)
    assert found.verdict == "cannot tell" and why in found.evidence[0].note
    assert len(bodies) <= 3


def likely(**probabilities: float) -> Mapping[str, float]:
    return probabilities


@pytest.mark.parametrize(("target", "verdict"), [(0.5, "done"), (0.9, "not done")])
def test_probability_of_yes_is_the_score(target: float, verdict: str) -> None:
    replies = (say("No", likely=likely(No=0.9, Yes=0.1)), say("Yes", likely=likely(Yes=0.6, No=0.2)))
    found, bodies = asked(*replies, together=False, target=target)
    assert found.score == pytest.approx(0.75) and found.verdict == verdict
    assert len(bodies) == 2 and all(body["logprobs"] for body in bodies)


def test_removal_is_done_when_the_thing_was_there_and_is_not() -> None:
    job = replace(JOB, plan=EditPlan(subtasks=(Subtask(action="remove", source="a red box"),)))
    for reply, verdict in (
        ("1. yes\n2. no\n3. no", "done"),
        ("1. yes\n2. yes\n3. no", "not done"),
        ("1. no\n2. no\n3. no", "cannot tell"),
    ):
        found, _ = asked(say(reply), job=job)
        assert found.verdict == verdict


def test_counts_are_asked_for() -> None:
    every = EditPlan(subtasks=(Subtask(source="apples", target="pears", count="all"),))
    _, bodies = asked(say(GOOD), job=replace(JOB, plan=every))
    assert "show pears, and no apples any more?" in str(bodies[0]["messages"])
    three = EditPlan(subtasks=(Subtask(source="apples", target="pears", count=3),))
    _, bodies = asked(say(GOOD), job=replace(JOB, plan=three))
    assert "show 3 of this: pears?" in str(bodies[0]["messages"])


def test_nothing_is_sent_for_what_is_plain_to_see() -> None:
    found, bodies = asked(say(GOOD), job=replace(JOB, after=JOB.before))
    assert (found.verdict, found.failure) == ("not done", "unchanged") and not bodies


def test_a_service_that_fails_is_named() -> None:
    with pytest.raises(ServiceUnavailable):
        asked(fail(401, "no such key"))


def test_preview_shows_what_would_be_sent() -> None:
    with FakeOpenAI() as server:
        preview = vlm(server).preview(JOB)
        assert not server.asked
    assert preview.address == server.url and "a blue box" in preview.messages[0].text and preview.picture


def test_one_connection_for_all_who_ask_alike() -> None:
    runtime = Runtime()
    options = VlmVerifier.options_type(service="openai", base_url="http://127.0.0.1:9/v1", model="m")
    assert VlmVerifier(options, runtime).connection is VlmVerifier(options, runtime).connection


def test_transformers_needs_a_model() -> None:
    with pytest.raises(UsageError, match="no model"):
        VlmVerifier(VlmVerifier.options_type(service="transformers"), Runtime())
