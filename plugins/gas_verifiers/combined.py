"""The verifier `combined`, the default: for each sort of change whoever knows best, and the next where that one cannot
tell."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from gas import notes
from gas.errors import GasError, ModelUnavailable, ServiceUnavailable, UsageError
from gas.interfaces import Options, Verifier, VerifyJob
from gas.types import EditPlan, Evidence, Finding
from gas.verify.parts import changes_looks
from gas_verifiers.findings import cannot_tell

NAME = "combined"


class CombinedOptions(Options):
    """Who is asked about what, in order. A detector knows things; of colours and materials a model that sees knows
    more, and CLIP where there is none."""

    things: tuple[str, ...] = Field(("detector", "clip"), description="about kinds, additions and removals, in order")
    looks: tuple[str, ...] = Field(("clip", "detector"), description="about colours and materials, in order")

    @field_validator("things", "looks")
    @classmethod
    def _asks_others(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if NAME in value:
            raise ValueError(f"{NAME} cannot ask itself")
        return value


class Combined(Verifier[CombinedOptions]):
    """Looks at the pixels first: nothing, noise and black need no model. Then asks, one after the other, those of the
    list until one can tell; a model or service that is missing is passed over, with a warning."""

    options_type = CombinedOptions

    @property
    def helpers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("pixels", *self.options.things, *self.options.looks)))

    def lacks(self, plan: EditPlan) -> list[GasError]:
        """What those lack who would be asked first about some subtask, up to one who lacks nothing."""
        found: dict[str, GasError] = {}
        for looks in sorted({changes_looks(subtask) for subtask in plan.subtasks}):
            for name in self._order(looks):
                lacking = next(iter(self._helper(name).lacks(plan)), None)
                if lacking is None:
                    break
                found[name] = ModelUnavailable(_not_asked(name, lacking.message), lacking.hint)
        return list(found.values())

    def verify(self, job: VerifyJob) -> list[Finding]:
        found = {finding.subtask: finding for finding in self._asked("pixels", job, job.subtasks)}
        for looks in (False, True):
            for name in self._order(looks):
                left = [
                    index
                    for index, finding in found.items()
                    if finding.verdict == "cannot tell" and changes_looks(job.plan.subtasks[index]) is looks
                ]
                for finding in self._asked(name, job, left) if left else ():
                    found[finding.subtask] = _joined(finding, found[finding.subtask])
        return [found[index] for index in job.subtasks]

    def _order(self, looks: bool) -> tuple[str, ...]:
        return self.options.looks if looks else self.options.things

    def _helper(self, name: str) -> Verifier:
        if self.find_verifier is None:
            raise UsageError("combined works in a session, which knows the other verifiers", "use Session.verify")
        return self.find_verifier(name)

    def _asked(self, name: str, job: VerifyJob, subtasks: Sequence[int]) -> list[Finding]:
        asked = VerifyJob(job.before, job.after, job.plan, job.regions, tuple(subtasks), job.look, job.watch)
        try:
            return self._helper(name).verify(asked)
        except (ModelUnavailable, ServiceUnavailable) as error:
            why = error.message
        except ModuleNotFoundError as error:
            why = f"the Python package {error.name!r} is missing"
        notes.warn(_not_asked(name, why), stacklevel=2)
        return [cannot_tell(index, name, " ".join(why.split())[:500]) for index in subtasks]


def _not_asked(name: str, why: str) -> str:
    return f"the verifier {name!r} is not asked: {why}"


def _joined(finding: Finding, before: Finding) -> Finding:
    """The later finding, with the evidence of both, its own first."""
    evidence: tuple[Evidence, ...] = (*finding.evidence, *before.evidence)
    return finding.model_copy(update={"evidence": evidence[:100]})
