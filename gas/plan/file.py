"""Plan files: written, read back after hand edits, and checked as untrusted input."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gas import files
from gas.characters import HIDDEN
from gas.errors import InputRefused
from gas.plan.phrases import content_words, main_noun
from gas.types import PLAN_VERSION, EditPlan, Provenance, Subtask
from gas.validation import PLAN_REMEDY, explain, load_json, nearest, shown

MAX_PLAN_BYTES = 2_000_000
MAX_PLAN_DEPTH = 16
SCHEMA_TITLE = "gas edit plan"


def plan_schema() -> dict[str, Any]:
    """The JSON schema of a plan file; published as docs/plan.schema.json. A file must say its version."""
    schema = EditPlan.model_json_schema()
    schema["title"] = SCHEMA_TITLE
    schema["required"] = ["version", *schema.get("required", [])]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def plan_to_json(plan: EditPlan) -> str:
    """The text of a plan file: JSON, two spaces of indentation, a newline at the end."""
    return json.dumps(plan.model_dump(mode="json"), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_plan(plan: EditPlan, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """The path written: all of the plan or nothing, and never over an existing file unless `overwrite`."""
    files.write_text(Path(path), plan_to_json(plan), overwrite=overwrite)
    return Path(path)


def read_plan(path: str | os.PathLike[str]) -> EditPlan:
    """The plan in the file `path`. Raises InputRefused (3) that names the file, the place in it and the value."""
    with files.open_regular(Path(path)) as stream:
        return parse_plan(stream.read(MAX_PLAN_BYTES + 1), origin=os.fspath(path))


def parse_plan(data: bytes | str, origin: str = "plan") -> EditPlan:
    """The plan in `data` (UTF-8 JSON), which may come from anybody. Raises InputRefused (3); `origin` names it there.

    Refused: more than 2 MB, nesting deeper than 16, repeated keys, NaN and infinities, keys that a plan does not have,
    another version, hidden control characters, and whatever the schema forbids.
    """
    plain = load_json(data, origin, max_bytes=MAX_PLAN_BYTES, max_depth=MAX_PLAN_DEPTH)
    if not isinstance(plain, dict):
        raise InputRefused(f"{origin}: a plan is a JSON object, not {type(plain).__name__}", PLAN_REMEDY)
    version = plain.get("version")
    if type(version) is not int or version != PLAN_VERSION:
        found = f"not {shown(version)}" if "version" in plain else "but the file has none"
        raise InputRefused(f"{origin}: version: this gas reads plans of version {PLAN_VERSION}, {found}", PLAN_REMEDY)
    _refuse_hidden(plain, origin, "")
    try:
        return EditPlan.model_validate(plain)
    except ValidationError as error:
        raise InputRefused(f"{origin}: {_complaint(error)}", PLAN_REMEDY) from None


def flag_foreign_phrases(plan: EditPlan, request_text: str) -> EditPlan:
    """The plan with a warning for each phrase that `request_text` (request and caption) did not mention.

    A source or an anchor may be described more closely than in the request ("the brown dog" for "the dog"), so it is
    foreign only when its main noun is; a target is foreign with any word that the request did not have. Articles,
    plurals and case do not count. The plan comes back as it is when nothing is foreign.
    """
    known = set(content_words(request_text))
    found: list[str] = []
    for number, subtask in enumerate(plan.subtasks, 1):
        for role, phrase in (("source", subtask.source), ("anchor", subtask.anchor or "")):
            head = main_noun(phrase)
            if head is not None and head not in known:
                found.append(f"subtask {number}: the request did not mention the {role} {phrase!r}")
        named = known | set(content_words(subtask.source)) | (set() if subtask.where == "region" else _OF_THE_WHOLE)
        extra = [word for word in content_words(subtask.target) if word not in named]
        if extra:
            words = ", ".join(dict.fromkeys(extra))
            found.append(f"subtask {number}: the request did not mention all of the target {subtask.target!r}: {words}")
    fresh = [warning for warning in found if warning not in plan.warnings]
    return plan.model_copy(update={"warnings": (*plan.warnings, *fresh)}) if fresh else plan


_OF_THE_WHOLE = {"picture", "scene", "photo", "image"}
"""Words for the whole picture, which a request may leave out: "a warmer picture" for "warmer"."""


def _refuse_hidden(value: Any, origin: str, where: str) -> None:
    """Raises InputRefused for hidden characters, except in what was sent to and came from a model: that is kept raw."""
    if isinstance(value, str):
        hidden = HIDDEN.search(value)
        if hidden is not None:
            raise InputRefused(
                f"{origin}: {where}: hidden character U+{ord(hidden[0]):04X} in {shown(value)}", PLAN_REMEDY
            )
    elif isinstance(value, dict):
        for key, inner in value.items():
            if where != "provenance" or key not in ("request", "reply"):
                _refuse_hidden(inner, origin, f"{where}.{shown(key)[1:-1]}".lstrip("."))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_hidden(inner, origin, f"{where}.{index}")


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] != "extra_forbidden":
        return HIDDEN.sub("?", explain(error))
    key = str(first["loc"][-1])
    guess = nearest(key, _keys())
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    where = "".join(f"{part}." for part in first["loc"][:-1])
    return f"{where}{shown(key)[1:-1]}: a plan has no such key{f'; did you mean {guess!r}?' if guess else ''}{more}"


def _keys() -> set[str]:
    return {key for model in (EditPlan, Subtask, Provenance) for key in model.model_fields}
