"""What a model is asked to return, and how its reply becomes an EditPlan: in this file alone.

The schema is smaller than EditPlan, and every field is required, as the strict modes of the services want it. A reply
is data: it is read by `gas.chat.reading`, checked, and only ever becomes prompt strings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gas.chat.lenient_json import Unreadable, shown, value_at
from gas.chat.reading import Reading, clean, complaint, one_object, without_thoughts
from gas.errors import PlanUnreadable
from gas.plan.phrases import content_words
from gas.remedies import Remedy, Setting
from gas.types import MAX_SUBTASKS, Count, EditPlan, Subtask

MAX_REASONING = 20_000
MAX_PHRASE = 500
MAX_SENTENCE = 2_000
CLIP_PIECES = 75
"""What fits into CLIP's 77 tokens, of which two mark begin and end."""


class _Reply(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SubtaskReply(_Reply):
    """One request, as the model splits it."""

    action: Literal["change", "add", "remove"]
    source: str = Field(description="phrase for what is there now; empty for add")
    target: str = Field(description="phrase for what shall be there; empty for remove")
    anchor: str = Field(description="add: the thing it is added to; remove: what is behind it; else empty")
    preserve_shape: bool = Field(description="true: the outline stays as it is; false when unsure")
    attribute: Literal["colour", "tone", "material", "kind", "effect", "none"] = Field(
        description="what of the thing changes; none when unsure, for add and for remove"
    )
    where: Literal["region", "outside", "picture"] = Field(
        description="the source itself, all but the source, or the whole picture"
    )
    amount: Literal["little", "plain", "much"] = Field(description="how strongly, where the request says so")
    count: str = Field(description='how many things of the picture are meant: "one", "all", or a number such as "3"')

    @model_validator(mode="before")
    @classmethod
    def _with_what_is_usual(cls, value: Any) -> Any:
        """Models, and files of examples, may leave these out; the schema asks for them all the same."""
        if not isinstance(value, dict):
            return value
        return {**value, **{name: usual for name, usual in _USUAL.items() if value.get(name) in (None, "")}}

    @model_validator(mode="after")
    def _fits_its_action(self) -> SubtaskReply:
        for name in ("source", "target", "anchor"):
            if len(getattr(self, name)) > MAX_PHRASE:
                raise ValueError(f"the {name} is longer than {MAX_PHRASE} characters")
        spare = {"add": self.source, "remove": self.target, "change": ""}[self.action].strip()
        if spare and spare != self.anchor.strip():
            raise ValueError(
                f"to {self.action} something takes no {'source' if self.action == 'add' else 'target'}, but an anchor"
            )
        return self


class PlanReply(_Reply):
    """The whole reply."""

    reasoning: str = Field(description="step by step: what is there, what touches what, what keeps its shape")
    subtasks: list[SubtaskReply] = Field(description="one for each request, in the order asked")
    source_prompt: str = Field(description="one sentence for the whole picture as it is")
    target_prompt: str = Field(description="one sentence for the whole picture as it shall be")
    preserve_shape: bool = Field(description="true only if nothing in the picture changes its outline")

    @model_validator(mode="after")
    def _says_something(self) -> PlanReply:
        if not self.subtasks:
            raise ValueError("there are no subtasks")
        if len(self.subtasks) > MAX_SUBTASKS:
            raise ValueError(f"there are {len(self.subtasks)} subtasks; at most {MAX_SUBTASKS} are allowed")
        for name in ("source_prompt", "target_prompt"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is empty")
            if len(getattr(self, name)) > MAX_SENTENCE:
                raise ValueError(f"{name} is longer than {MAX_SENTENCE} characters")
        if self.source_prompt.split() == self.target_prompt.split():
            raise ValueError("source_prompt and target_prompt are the same sentence")
        return self


def read_plan(text: str) -> EditPlan:
    """The plan in a model's answer `text`, without provenance; its `warnings` say what was salvaged.

    Unreadable names what is wrong. Nothing in it is executed.
    """
    reading = Reading()
    try:
        content = _plan_content(text, reading)
        reply = PlanReply.model_validate(_completed(content, reading))
        return _to_plan(reply, reading)
    except ValidationError as error:
        raise complaint(error) from None


_TRY_AGAIN = Remedy(
    "another_reply",
    "try again, name another model or planner, or write the plan by hand; {keep} keeps the reply",
    keep=Setting("save_reply", "FILE", python="reply, of this error,"),
)


def refused(reason: str, text: str, remedy: Remedy | None = None) -> PlanUnreadable:
    """The error for a reply that cannot be used."""
    return PlanUnreadable(f"the planner's reply cannot be read: {reason}", remedy or _TRY_AGAIN, reply=text)


def clip_pieces(text: str) -> list[str]:
    """The pieces of `text` that CLIP's tokenizer begins with; each becomes at least one token."""
    return _CLIP.findall(text.lower())


_CLIP = re.compile(r"'(?:s|t|re|ve|m|ll|d)|[^\W\d_]+|\d|[^\s\w]+|_+")
_REFUSAL = re.compile(
    r"\W*(?:i['’]?m |i am |we are )?(?:very |so )?"
    r"(?:sorry|unable to|i can['’]t|i cannot|i can not|i won['’]t|as an ai)\b",
    re.IGNORECASE,
)
_SYNONYMS = {
    "change": "change", "replace": "change", "modify": "change", "edit": "change", "swap": "change",
    "transform": "change", "add": "add", "insert": "add", "remove": "remove", "delete": "remove", "erase": "remove",
}  # fmt: skip
_LISTS = ("source_list", "target_list", "preserve_form")
_USUAL = {"attribute": "none", "where": "region", "amount": "plain", "count": "one"}
"""What is meant where a model leaves one of these out."""
_STRENGTH = {"little": 0.5, "plain": 1.0, "much": 2.0}
_SUBTASK_KEYS = tuple(SubtaskReply.model_fields)
_PLAN_KEYS = tuple(PlanReply.model_fields)


def _plan_content(text: str, reading: Reading) -> dict[str, Any]:
    """The reply's content in the shape of PlanReply, checks aside."""
    try:
        found = one_object(text, "subtasks")
    except Unreadable as error:
        if error.cut or "source_list" not in text[: 4 * MAX_REASONING]:
            raise
        found = one_object(text, "source_list")
    if found is not None and "subtasks" in found:
        return found
    if found is None:
        found = _labelled_lists(without_thoughts(text))
    if found is None:
        if _REFUSAL.match(text[:200].lstrip()):
            raise Unreadable(f"the model refused: {shown(clean(text[:200], reading, 'text'))}")
        raise Unreadable(f"there is no plan in it: {shown(clean(text[:200], reading, 'text'))}")
    return _from_lists(found, reading)


def _labelled_lists(text: str) -> dict[str, Any] | None:
    """The lists `source_list: [...]`, `target_list: [...]`, `preserve_form: [...]` in prose; None if there are none.

    They are the answer's form in the paper's prompt; its explanation may name them too, with the same content.
    """
    found: dict[str, Any] = {}
    for name in _LISTS:
        # Begins with the name as it stands, which is searched for much faster than a word boundary.
        label = rf"{name}(?<!\w{name})\b[\"'*`]{{0,3}}\s{{0,9}}(?::|=|\bis\b)\s{{0,9}}[*`]{{0,3}}\s{{0,9}}(?=\[)"
        for count, match in enumerate(re.finditer(label, text)):
            if count >= 4:
                raise Unreadable(f"it holds {name} more than four times")
            value, _ = value_at(text, match.end())
            if name in found and found[name] != value and _loosely(found[name]) != _loosely(value):
                raise Unreadable(f"it holds two different answers for {name}")
            found[name] = value
    return found or None


def _from_lists(found: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    """The paper's three lists, whose last entries stand for the whole picture, in the shape of PlanReply."""
    missing = [name for name in _LISTS[:2] if name not in found]
    if missing:
        raise Unreadable(f"there is no {missing[0]}")
    sources, targets = found["source_list"], found["target_list"]
    shapes = found.get("preserve_form")
    if shapes is None:
        reading.warn("the reply did not say which shapes are kept; all are free")
        shapes = [0] * len(sources) if isinstance(sources, list) else []
    lists = {"source_list": sources, "target_list": targets, "preserve_form": shapes}
    for name, value in lists.items():
        if not isinstance(value, list):
            raise Unreadable(f"{name} is not a list")
    lengths = {len(value) for value in lists.values()}
    if len(lengths) > 1:
        raise Unreadable("the lists differ in length: " + ", ".join(f"{n} has {len(v)}" for n, v in lists.items()))
    if len(sources) < 2:
        raise Unreadable("the lists need an entry for each request and one for the whole picture")
    reading.warn("the reply was in the form of lists; each entry is taken as a change")
    rows = list(zip(sources, targets, shapes, strict=True))
    return {
        "subtasks": [{"action": None, "source": s, "target": t, "preserve_shape": p} for s, t, p in rows[:-1]],
        "source_prompt": rows[-1][0],
        "target_prompt": rows[-1][1],
        "preserve_shape": rows[-1][2],
    }


def _completed(content: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    """`content` with what may be left out filled in, and keys that nobody asked for dropped with a warning."""
    plan = _known(content, _PLAN_KEYS, "the reply", reading)
    plan["reasoning"] = _text(plan.get("reasoning"))
    plan["preserve_shape"] = _flag(plan.get("preserve_shape"))
    subtasks = plan.get("subtasks")
    if isinstance(subtasks, list):
        plan["subtasks"] = [_completed_subtask(item, n, reading) for n, item in enumerate(subtasks, 1)]
    return plan


def _completed_subtask(item: Any, number: int, reading: Reading) -> Any:
    if not isinstance(item, dict):
        return item
    subtask = _known(item, _SUBTASK_KEYS, f"subtask {number}", reading)
    for name in ("source", "target", "anchor"):
        subtask[name] = _text(subtask.get(name))
    subtask["preserve_shape"] = _flag(subtask.get("preserve_shape"))
    subtask["count"] = str(subtask.get("count") or _USUAL["count"])
    action = subtask.get("action")
    if action is None:  # certain only because one side is empty or both are there
        source, target = (isinstance(v, str) and bool(v.strip()) for v in (subtask["source"], subtask["target"]))
        action = {(True, True): "change", (False, True): "add", (True, False): "remove"}.get((source, target))
    if isinstance(action, str):
        subtask["action"] = _SYNONYMS.get(action.strip().lower(), action)
    return subtask


def _known(content: Mapping[str, Any], known: tuple[str, ...], where: str, reading: Reading) -> dict[str, Any]:
    for key in content:
        if key not in known:
            reading.warn(f"{where} had a key that was not asked for, and it was left out: {shown(key)}")
    return {key: value for key, value in content.items() if key in known}


def _text(value: Any) -> Any:
    return "" if value is None else value


def _flag(value: Any) -> Any:
    return False if value is None else value


def _to_plan(reply: PlanReply, reading: Reading) -> EditPlan:
    subtasks = []
    for number, item in enumerate(reply.subtasks, 1):
        named = f"subtask {number}"
        source, target, anchor = (clean(text, reading, named) for text in (item.source, item.target, item.anchor))
        source = "" if item.action == "add" else source
        target = "" if item.action == "remove" else target
        try:
            subtasks.append(
                Subtask(
                    action=item.action,
                    source=source,
                    target=target,
                    instruction=instruction(item.action, source, target, anchor),
                    anchor=anchor or None if item.action != "change" else None,
                    preserve_shape=item.preserve_shape,
                    attribute=None if item.attribute == "none" else item.attribute,
                    where=item.where,
                    strength=_STRENGTH[item.amount],
                    count=_count(item.count, named, reading),
                )
            )
        except ValidationError as error:
            raise Unreadable(f"{named}: {complaint(error)}") from None
    sentences = {
        name: clean(getattr(reply, name), reading, name.replace("_", " "))
        for name in ("source_prompt", "target_prompt")
    }
    for number, subtask in enumerate(subtasks, 1):
        _warn_of_missing(subtask, number, sentences, reading)
    for name, text in sentences.items():
        pieces = clip_pieces(text)
        if len(pieces) > CLIP_PIECES:
            dropped = " ".join(pieces[CLIP_PIECES:])
            reading.warn(
                f"{name} has at least {len(pieces)} tokens and CLIP reads {CLIP_PIECES}; "
                f"it drops at least: {dropped[:200]}"
            )
    reasoning = reply.reasoning
    if len(reasoning) > MAX_REASONING:
        reading.warn(f"the reasoning was cut to {MAX_REASONING} of {len(reasoning)} characters")
    return EditPlan(
        subtasks=tuple(subtasks),
        source_prompt=sentences["source_prompt"],
        target_prompt=sentences["target_prompt"],
        preserve_shape=reply.preserve_shape,
        reasoning=clean(reasoning[:MAX_REASONING], reading, "reasoning"),
        warnings=tuple(reading.warnings),
    )


_NUMBERS = {"both": 2, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}


def _count(text: str, where: str, reading: Reading) -> Count | None:
    """How many things a reply means: "all", a number, None for one."""
    said = text.strip().strip(".").casefold().removesuffix(".0")
    if said in {"all", "every", "each"}:
        return "all"
    if said in _NUMBERS:
        return _NUMBERS[said]
    if said.isdecimal() and len(said) <= 2:
        return int(said) if int(said) > 1 else None
    if said not in {"", "one", "none", "null", "a", "an"}:
        reading.warn(f"{where}: how many things are meant was not understood: {shown(text)}; one was taken")
    return None


def instruction(action: str, source: str, target: str, anchor: str) -> str:
    """The request that a subtask stands for, in the form that every planner understands."""
    if action == "add":
        return f"add {target} to {anchor}" if anchor else f"add {target}"
    return f"remove {source}" if action == "remove" else f"change {source or 'the picture'} into {target}"


def _warn_of_missing(subtask: Subtask, number: int, sentences: Mapping[str, str], reading: Reading) -> None:
    """Warns where a phrase is not part of the whole sentence that it should be part of (Ground-A-Score, Table 6)."""
    for phrase, name in ((subtask.source, "source_prompt"), (subtask.target, "target_prompt")):
        lacking = set(content_words(phrase)) - set(content_words(sentences[name]))
        if lacking:
            reading.warn(f"subtask {number}: {name} does not mention all of {phrase!r}: {', '.join(sorted(lacking))}")


def _loosely(value: Any) -> Any:
    """Lists compared as people do: punctuation before a closing quote, articles and case do not count."""
    return (
        [" ".join(content_words(v)) if isinstance(v, str) else v for v in value] if isinstance(value, list) else value
    )
