"""The default planner: a local Ollama with a model that sees, else rules; it says which one it took, and why."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import Field

from gas.chat.ollama.refusal import EXAMPLE
from gas.errors import GasError, ModelUnavailable, PlanUnreadable, ServiceUnavailable, UsageError
from gas.interfaces import Options, Planner
from gas.preview import Preview
from gas.remedies import Remedy, Setting
from gas.types import EditPlan, EditRequest, Suggestions
from gas_planners.chat.ollama import OllamaOptions, OllamaPlanner
from gas_planners.rules.planner import RulesPlanner

if TYPE_CHECKING:
    from gas.runtime import Runtime
    from gas.types import Image

LOOK_SECONDS = 2.0


class AutoOptions(Options):
    """What the planner `auto` can be told; the planners that it chooses from take their own options when named."""

    look_seconds: float = Field(
        LOOK_SECONDS, gt=0, le=30, description="seconds for finding out whether an Ollama is there"
    )
    examples: str = Field("", description="as the option of `ollama`; rules need none")


@dataclass(frozen=True)
class Choice:
    """The planner that was chosen, its model if it has one, and why, as a sentence for the user."""

    planner: Literal["ollama", "rules"]
    model: str | None
    why: str


class AutoPlanner(Planner[AutoOptions]):
    """Chooses among the planners that keep the picture on this machine. `openai` is never one of them."""

    options_type = AutoOptions
    suggests = True

    def __init__(self, options: AutoOptions, runtime: Runtime) -> None:
        super().__init__(options, runtime)
        self._choice: Choice | None = None

    def choice(self) -> Choice:
        """The choice, made once: looking takes `look_seconds` at most, and sends no picture."""
        self._choice = self._choice or self._choose()
        return self._choice

    def chosen(self) -> Planner:
        """The planner that was chosen, ready to use."""
        choice = self.choice()
        return self._ollama(choice.model or "") if choice.planner == "ollama" else self._rules()

    def plan(self, request: EditRequest) -> EditPlan:
        """The plan of the chosen planner; when Ollama's reply fails or cannot be read, that of rules, which then says
        so.

        PlanUnreadable (4) when rules cannot read the request either; `reply` keeps what the model said.
        """
        choice = self.choice()
        if choice.planner == "rules":
            return _noted(self._rules().plan(request), f"auto chose rules: {choice.why}")
        try:
            return _noted(self._ollama(choice.model or "").plan(request), f"auto chose ollama: {choice.why}")
        except (PlanUnreadable, ServiceUnavailable) as error:
            failed = error
        why = f"auto fell back from ollama to rules: {failed.message}"
        try:
            plan = _noted(self._rules().plan(request), why)
        except PlanUnreadable as error:
            raise PlanUnreadable(f"{error.message} ({why})", error.hint, reply=getattr(failed, "reply", None)) from None
        return plan.model_copy(update={"warnings": (*plan.warnings, why)})

    def preview(self, request: EditRequest) -> Preview:
        """What the chosen planner would send for `request`. Choosing asks a local Ollama for its models, no more."""
        choice = self.choice()
        return replace(self.chosen().preview(request), note=f"auto chose {choice.planner}: {choice.why}")

    def suggest(self, image: Image, caption: str | None = None, avoid: Sequence[str] = ()) -> Suggestions:
        """As the chosen planner. UsageError (2) saying why it is one that sees no pictures, if it is."""
        choice = self.choice()
        if choice.planner == "rules":
            raise UsageError(
                f"suggestions need a planner that sees: {choice.why}",
                Remedy(
                    "name_planner",
                    "start Ollama, or name one: {ollama} or {openai}",
                    ollama=Setting("planner", "ollama"),
                    openai=Setting("planner", "openai"),
                ),
            )
        return self.chosen().suggest(image, caption, avoid)

    def _choose(self) -> Choice:
        try:
            # No host of the options: what a settings file says must not decide where a picture goes.
            ollama = self._ollama("")
            if ollama.remote:
                return Choice(
                    "rules",
                    None,
                    f"OLLAMA_HOST names another machine ({ollama.address}): name the planner ollama to send there",
                )
            if ollama.address is None or not _listens(ollama.address, self.options.look_seconds):
                return Choice("rules", None, f"no Ollama answers at {ollama.address} (`ollama serve` starts it)")
            model = ollama.connection.seeing(self.options.look_seconds)
        except ModelUnavailable as error:
            return Choice("rules", None, f"{error.message} ({error.remedy})")
        except GasError as error:
            return Choice("rules", None, error.message)
        if model is None:
            return Choice(
                "rules", None, f"the Ollama at {ollama.address} has no model that sees (ollama pull {EXAMPLE})"
            )
        return Choice("ollama", model, f"{model} of the Ollama on this machine sees pictures")

    def _ollama(self, model: str) -> OllamaPlanner:
        return OllamaPlanner(OllamaOptions(model=model, examples=self.options.examples), self.runtime)

    def _rules(self) -> RulesPlanner:
        return RulesPlanner(RulesPlanner.options_type(), self.runtime)


def _listens(url: str, seconds: float) -> bool:
    """Whether anything does: asked first, because the client's package takes a while to import."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), seconds).close()
    except OSError:
        return False
    return True


def _noted(plan: EditPlan, note: str) -> EditPlan:
    return plan.model_copy(update={"provenance": plan.provenance.model_copy(update={"note": note})})
