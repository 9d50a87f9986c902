"""The verifier `vlm`: a vision-language model is asked, yes or no, on the crop of each change (VQAScore, arXiv
2404.01291), before and after the edit.

Before and after, because an answer alone proves nothing: a model that says yes to everything says it of the photograph
too. All subtasks are asked about in one call where the model can answer several questions, else each by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gas.chat import (
    Message,
    Reply,
    Unreadable,
    answers,
    encode,
    probabilities_of_yes,
    probability_of_yes,
    said_yes,
)
from gas.interfaces import Verifier
from gas.preview import Preview
from gas.types import Evidence, Finding
from gas.verify.parts import can_be_seen, changes_looks, crop, region_box
from gas_verifiers.connection import VlmOptions, connection
from gas_verifiers.findings import cannot_tell, without_model

if TYPE_CHECKING:
    from gas.chat import Connection, Picture
    from gas.interfaces import VerifyJob
    from gas.runtime import Runtime
    from gas.types import Failure, Subtask

LIKELIEST = 5
_CONTROL = "Is picture 1 entirely black?"
_TOGETHER = (
    "You check edited photographs. Look at the numbered pictures and answer each question with yes or no, on a line "
    "of its own that begins with the question's number, and nothing else:\n"
)


@dataclass(frozen=True)
class Pair:
    """P(yes), in [0, 1], to one question about the crop before the edit and after it."""

    before: float
    after: float


class VlmVerifier(Verifier[VlmOptions]):
    """Asks one model."""

    options_type = VlmOptions
    name = "vlm"

    def __init__(self, options: VlmOptions, runtime: Runtime) -> None:
        super().__init__(options, runtime)
        self.connection: Connection = connection(options, runtime)

    @property
    def remote(self) -> bool:
        return self.connection.remote

    def preview(self, job: VerifyJob) -> Preview:
        asked = [index for index in job.subtasks if job.masks(index) and can_be_seen(job.plan.subtasks[index])]
        if not asked:
            return Preview(address=self.connection.address, remote=self.remote, model=self.connection.shown_model())
        messages, pictures = self._together(job, asked)
        return Preview(
            address=self.connection.address,
            remote=self.remote,
            model=self.connection.shown_model(),
            key=self.connection.key_origin(),
            picture=", ".join(picture.summary for picture in pictures),
            messages=tuple(messages),
            calls=1 + 2 * len(asked),
        )

    def verify(self, job: VerifyJob) -> list[Finding]:
        known = {index: without_model(job, index, self.name) for index in job.subtasks}
        asked = [index for index, finding in known.items() if finding is None]
        pairs = self._pairs(job, asked) if asked else {}
        out = []
        for index in job.subtasks:
            finding = known[index]
            out.append(finding or self._judged(index, job.plan.subtasks[index], pairs[index]))
        return out

    def _pairs(self, job: VerifyJob, asked: list[int]) -> dict[int, Pair | str]:
        """For each subtask the two probabilities, or why there are none."""
        if self.options.together:
            messages, pictures = self._together(job, asked)
            reply = self.connection.ask(messages, pictures, likeliest=LIKELIEST)
            count = 2 * len(asked) + 1
            said = _answers(reply, count)
            if said is not None:
                probable = probabilities_of_yes(reply, count) or [float(yes) for yes in said]
                if said[-1]:
                    return dict.fromkeys(asked, "the model says yes to everything")
                return {index: Pair(*probable[2 * i : 2 * i + 2]) for i, index in enumerate(asked)}
        return {index: self._alone(job, index) for index in asked}

    def _alone(self, job: VerifyJob, index: int) -> Pair | str:
        """The same by two calls with one picture each."""
        question = _question(job.plan.subtasks[index], "this picture")
        found = []
        for picture in self._crops(job, index):
            job.watch.check_stop()
            message = Message("user", f"{question} Answer yes or no.", with_picture=True)
            reply = self.connection.ask([message], [picture], likeliest=LIKELIEST)
            probable = _said(reply)
            if isinstance(probable, str):
                return probable
            found.append(probable)
        return Pair(*found)

    def _together(self, job: VerifyJob, asked: list[int]) -> tuple[list[Message], list[Picture]]:
        pictures = [picture for index in asked for picture in self._crops(job, index)]
        questions = [
            _question(job.plan.subtasks[index], f"picture {2 * i + which}")
            for i, index in enumerate(asked)
            for which in (1, 2)
        ]
        lines = [f"{number}. {text}" for number, text in enumerate((*questions, _CONTROL), 1)]
        return [Message("user", _TOGETHER + "\n".join(lines), with_picture=True)], pictures

    def _crops(self, job: VerifyJob, index: int) -> tuple[Picture, Picture]:
        box = region_box(job, index)
        assert box is not None  # only subtasks with a region are asked about
        side, room = self.options.picture_size, self.options.room
        return encode(crop(job.before, box, room), side), encode(crop(job.after, box, room), side)

    def _judged(self, index: int, subtask: Subtask, pair: Pair | str) -> Finding:
        if isinstance(pair, str):
            return cannot_tell(index, self.name, pair)
        limit, removes = self.options.target, subtask.action == "remove"
        phrase = subtask.source if removes else subtask.target
        after = Evidence(by=self.name, asked=f"{phrase!r} after", value=pair.after, threshold=limit, at_most=removes)
        evidence = (after, Evidence(by=self.name, asked=f"{phrase!r} before", value=pair.before))
        failure: Failure | None = None
        was, is_now = pair.before >= limit, pair.after >= limit
        if removes and not was:
            return cannot_tell(index, self.name, f"the model did not see {phrase!r} in the photograph either")
        if not removes and was and is_now:
            return cannot_tell(index, self.name, f"the model sees {phrase!r} in the photograph too")
        done = is_now is not removes
        if not done:
            failure = "unchanged" if removes or subtask.action == "add" else _other(subtask)
        score = 1 - pair.after if removes else pair.after
        verdict = "done" if done else "not done"
        return Finding(subtask=index, verdict=verdict, score=score, evidence=evidence, failure=failure)


def _other(subtask: Subtask) -> Failure:
    return "wrong colour" if changes_looks(subtask) else "wrong kind"


def _question(subtask: Subtask, where: str) -> str:
    phrase = subtask.source if subtask.action == "remove" else subtask.target
    if subtask.count == "all" and subtask.action == "change":
        return f"Does {where} show {phrase}, and no {subtask.source} any more?"
    if isinstance(subtask.count, int) and subtask.action == "change":
        return f"Does {where} show {subtask.count} of this: {phrase}?"
    return f"Does {where} show {phrase}?"


def _answers(reply: Reply, count: int) -> list[bool] | None:
    try:
        return answers(reply, count)
    except Unreadable:
        return None


def _said(reply: Reply) -> float | str:
    """P(yes), 1 or 0 where the service tells no probabilities, or why there is no answer."""
    if reply.refusal is not None:
        return f"the model refused: {reply.refusal[:200]}"
    try:
        probable, said = probability_of_yes(reply), said_yes(reply)
    except Unreadable as error:
        return f"the model's answer cannot be read: {error}"
    if said is None:
        return f"the model answered neither yes nor no: {reply.answer.strip()[:200]!r}"
    return float(said) if probable is None else probable
