"""The values that pass between planner, grounder, editor and composition. Units are said here, once.

* image: `(H, W, 3)` uint8, RGB, sRGB, upright.
* box: `(x0, y0, x1, y1)` float pixels of the image that it belongs to, origin top left, x1 and y1 exclusive.
* mask: `(H, W)` float32 in [0, 1], the same height and width as its image, 1 = edit here.
* latent (only inside `gas.diffusion` and editors): `(1, C, h, w)`, scaled by the VAE's factor.

What crosses a process boundary (a plan file, a record) is a frozen pydantic model that refuses unknown keys; what lives
in memory is a frozen dataclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    import numpy as np

    Image: TypeAlias = np.ndarray
    Mask: TypeAlias = np.ndarray

Box: TypeAlias = tuple[float, float, float, float]
Action = Literal["change", "add", "remove"]
Attribute = Literal["colour", "tone", "material", "kind", "effect"]
Where = Literal["region", "outside", "picture"]
WorkMode: TypeAlias = Literal["auto", "full", "crop", "frames"]
Verdict = Literal["done", "not done", "cannot tell"]
Failure = Literal[
    "unchanged", "wrong kind", "wrong colour", "displaced", "erased", "blurred", "noise", "outside", "refused"
]
Count: TypeAlias = Literal["all"] | Annotated[int, Field(ge=1, le=99)]
Phrase = Annotated[str, Field(max_length=500)]
Sentence = Annotated[str, Field(max_length=2000)]

PLAN_VERSION: Literal[1] = 1
MAX_SUBTASKS = 32
MAX_DIALOGUE = 2**26  # characters sent to a model, or come from it
MAX_TOKENS = 2**53


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Subtask(_Value):
    """One attribute of the request: what is there, what should be there, and how freely.

    `source` is the phrase for what is in the picture (empty for an addition), `target` the phrase for what should be
    there (empty for a removal). `anchor` is the thing that an addition is placed at, or that lies behind a removal.

    `attribute` says what of the thing changes: its colour ("a blue cup"), its tone ("a darker sky"), its material, its
    kind ("a tiger" for "a dog"), or that an effect is laid over it ("a blurred face"); None: nobody has said.
    `where` is `region` for the source itself, `outside` for everything but the source ("black and white but for the
    balloon"), `picture` for the whole picture; then the source may be empty.
    `count` says how many things of the picture the source means: "all" ("the apples", "every car"), a number ("three of
    the apples"), None for one. The subtask then has a region for each.
    """

    action: Action = "change"
    source: Phrase = ""
    target: Phrase = ""
    instruction: Sentence = Field("", description="this subtask alone, as a request")
    anchor: Phrase | None = Field(None, description="add: where; remove: what is behind it")
    preserve_shape: bool = Field(False, description="keep the original outline (turns the contrastive loss on)")
    strength: float = Field(
        1.0, gt=0, le=4, description="how strongly: the weight of this subtask's gradient, the amount of a tone"
    )
    attribute: Attribute | None = Field(None, description="what of the thing changes; null: not said")
    where: Where = Field("region", description="the source itself, all but the source, or the whole picture")
    count: Count | None = Field(None, description="how many things the source means: all of them, a number, or one")

    @model_validator(mode="after")
    def _phrases_fit_action(self) -> Subtask:
        if self.where != "region" and self.action != "change":
            raise ValueError(f"a subtask with where = {self.where!r} can only change something, not {self.action} it")
        needed = {"change": ("source", "target"), "add": ("target",), "remove": ("source",)}[self.action]
        for name in needed:
            if name == "source" and self.where == "picture":
                continue
            if not getattr(self, name).strip():
                raise ValueError(f"a subtask that is to {self.action} something needs a {name} phrase")
        if self.action == "change" and _same_words(self.source, self.target):
            raise ValueError(f"source and target are the same phrase: {self.source!r}")
        return self

    @property
    def prompts(self) -> tuple[str, str]:
        """The (source, target) prompt pair of this subtask's own gradient (docs/methods.md)."""
        anchor = self.anchor or ""
        if self.action == "add":
            return anchor, f"{anchor} with {self.target}" if anchor else self.target
        if self.action == "remove":
            return (f"{self.source} on {anchor}" if anchor else self.source), anchor
        return self.source, self.target

    @property
    def region_phrase(self) -> str:
        """The phrase to look for in the picture: the source, or the anchor of an addition (may be empty).

        Empty for the whole picture; for `outside` it is what stays.
        """
        if self.where == "picture":
            return ""
        return (self.anchor or "") if self.action == "add" else self.source


class Provenance(_Value):
    """Where a plan came from. `request` and `reply` are what was sent to and came from a model, never a secret."""

    planner: str = Field("hand", max_length=200)
    version: str | None = Field(None, max_length=200)
    model: str | None = Field(None, max_length=2000)
    service: str | None = Field(None, max_length=2000, description="host that was asked, if any")
    request: str | None = Field(None, max_length=MAX_DIALOGUE)
    reply: str | None = Field(None, max_length=MAX_DIALOGUE)
    prompt_tokens: int | None = Field(None, ge=0, le=MAX_TOKENS)
    reply_tokens: int | None = Field(None, ge=0, le=MAX_TOKENS)
    note: str | None = Field(
        None, max_length=20_000, description="why this planner was chosen, or what it fell back from"
    )


class EditPlan(_Value):
    """What is to be done: the contract between request and edit, made to be read, changed and kept."""

    version: Literal[1] = PLAN_VERSION
    subtasks: tuple[Subtask, ...] = Field(min_length=1, max_length=MAX_SUBTASKS)
    source_prompt: Sentence = Field("", description="one sentence for the whole picture as it is")
    target_prompt: Sentence = Field("", description="one sentence for the whole picture after the edit")
    preserve_shape: bool = Field(False, description="keep the outline of the whole picture")
    reasoning: str = Field("", max_length=20_000)
    warnings: tuple[Annotated[str, Field(max_length=20_000)], ...] = Field(
        (), max_length=1000, description="what a reader should check"
    )
    provenance: Provenance = Provenance()

    @property
    def instruction(self) -> str:
        """The whole request as one sentence, from the subtasks' own instructions."""
        return ", ".join(s.instruction or f"{s.action} {s.source or s.target}" for s in self.subtasks)


class Suggestion(_Value):
    """A change that suits a picture: its two phrases, and the request that asks for it."""

    source: str
    target: str
    request: str


class Suggestions(_Value):
    """What a planner proposed for one picture. `request` asks for all at once; every planner reads it, and each
    alone."""

    version: Literal[1] = 1
    suggestions: tuple[Suggestion, ...]
    request: str
    reasoning: str = ""
    warnings: tuple[str, ...] = ()
    planner: str
    model: str | None = None
    service: str | None = None
    prompt_tokens: int | None = None
    reply_tokens: int | None = None


class Evidence(_Value):
    """One thing that a verifier looked at: who was asked what, the answer, and what that speaks for.

    * by: the verifier; asked: the question or the quantity, e.g. "a blue car" of a detector, "Does it show snow?" of a
      model;
    * value: the answer as a number in [0, 1] (a score, a probability, a share), None where it was none;
    * threshold: the least value that speaks for *done* (`at_most`: the largest); None: the value decides nothing;
    * note: what a reader should know besides.
    """

    by: Annotated[str, Field(min_length=1, max_length=200)]
    asked: Sentence = ""
    value: float | None = Field(None, ge=0, le=1)
    threshold: float | None = Field(None, ge=0, le=1)
    at_most: bool = False
    note: Sentence = ""


class Finding(_Value):
    """What a verifier says of one subtask (by its index): whether the picture after the edit shows it.

    * score: how surely it is done, in [0, 1]; comparable between attempts at one subtask by one verifier, not between
      verifiers; None where there is none.
    * evidence: how that is known, what decided first.
    * failure: what went wrong with a subtask that is not done, where that can be told:
      - unchanged: what was there is still there;
      - wrong kind, wrong colour: something else came;
      - displaced: the target is in the picture, in another place;
      - erased: neither the source nor the target is there;
      - blurred, noise: what is there is no thing at all;
      - outside: the picture changed where nothing was asked for;
      - refused: the editor gave up.
    """

    subtask: int = Field(ge=0, lt=MAX_SUBTASKS)
    verdict: Verdict
    score: float | None = Field(None, ge=0, le=1)
    evidence: tuple[Evidence, ...] = Field((), max_length=100)
    failure: Failure | None = None

    @model_validator(mode="after")
    def _failure_fits(self) -> Finding:
        if self.failure is not None and self.verdict != "not done":
            raise ValueError(f"a subtask that is {self.verdict!r} has no failure")
        return self


@dataclass(frozen=True)
class EditRequest:
    """What the user asked for. `image` is the upright picture at native resolution; `caption` describes it, if given.

    `source` and `target` are two whole prompts whose differences are to become the subtasks, instead of an instruction.
    """

    image: Image
    instruction: str = ""
    seed: int = 0
    caption: str | None = None
    source: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class Region:
    """A place in an image. A detector fills `box` and `score`, a segmenter turns a box into a `mask`.

    `phrase` is what was asked for; `subtask` the index of the plan's subtask that asked (None: nobody did, e.g. a
    segment).
    `given` says that the user drew it: then it is taken literally, neither grown nor refined. `note` is what a reader
    should know of how it was found.
    `count` says how many things are asked for (`Subtask.count`); the answer has a region for each that is found.
    `point` (x, y) lies on the thing: a segmenter makes a mask of it where there is neither box nor mask.
    """

    phrase: str
    box: Box | None = None
    mask: Mask | None = None
    score: float | None = None
    subtask: int | None = None
    given: bool = False
    note: str = ""
    count: int | Literal["all"] | None = None
    point: tuple[float, float] | None = None


def _same_words(a: str, b: str) -> bool:
    return a.split() == b.split() or a.lower().split() == b.lower().split()
