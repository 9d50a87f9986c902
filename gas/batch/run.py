"""A batch from its manifest to its report: what is refused before anything runs, and the loop that keeps the ledger."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from gas import files
from gas.batch import places
from gas.batch.engines.interface import Engine, Outcome, State, Task, WorkerSpec
from gas.batch.engines.wire import error_from
from gas.batch.items import Common, Item, Keyed, Todo, is_there, items_of, keyed, refuse_outputs, todo
from gas.batch.ledger import FOLDER, Entry, Ledger
from gas.batch.manifest import Manifest
from gas.batch.recipes import OpenSession, Recipes, Require, require_models
from gas.batch.report import THUMBNAILS, write_report
from gas.batch.shards import WHOLE, Shard
from gas.errors import GasError, Interrupted, OutOfResources, PluginBroken, UsageError
from gas.remedies import Words, python_words
from gas.reserve import remove_abandoned
from gas.types import WorkMode

EDITING = "gas.batch.editing:Editing"
MakeEngine = Callable[[WorkerSpec, int], Engine]
"""Makes the engine of a batch; is told the work and how many tasks are to be done."""
_WAIT = 0.2


@dataclass(frozen=True)
class Rules:
    """How a batch behaves. `together`: how many pictures of one size may share an editor's batch (their bytes then
    depend on what shares it); `max_failures`: after how many failed items it ends (None: never); `target`: what workers
    do, for simulations; `registry`: the function `module:name` that returns the registry, in a program's own workers.
    """

    shard: Shard = WHOLE
    together: int = 1
    skip_failed: bool = False
    max_failures: int | None = None
    check_inputs: bool = False
    overwrite: bool = False
    allow_model: bool = False
    target: str = EDITING
    registry: str = ""


@dataclass
class Batch:
    """A batch that is ready to run: everything that can be refused beforehand has been. Made by `opened`."""

    common: Common
    rules: Rules
    manifest: Manifest
    items: Sequence[Item]
    todo: Todo
    ledger: Ledger
    recipes: Recipes
    words: Words = python_words
    failed: int = 0
    done: int = 0
    already: int = 0
    stopped_early: bool = False
    _under_way: dict[str, tuple[Keyed, int]] = field(default_factory=dict)
    replaceable: Set[str] = frozenset()
    _tried_again: set[str] = field(default_factory=set)
    _engine: Engine | None = None

    @property
    def total(self) -> int:
        return len(self.items)

    def workers(self) -> list[tuple[State, list[str]]]:
        """The workers as they are now, each with the pictures that it has."""
        states = self._engine.workers() if self._engine is not None else ()
        return [
            (state, [self._under_way[id][0].item.name for id in state.tasks if id in self._under_way])
            for state in states
        ]

    def run(
        self,
        make_engine: MakeEngine,
        *,
        should_stop: Callable[[], bool] = lambda: False,
        on_tick: Callable[[], None] = lambda: None,
    ) -> Iterator[Entry]:
        """What came of each item, as it comes; each is in the ledger by then. `on_tick` is called all along.

        Interrupted (exit 130) when told to stop: what is done is kept. The errors of an engine, which are faults of the
        job; OutOfResources (exit 7) when the disk is full.
        """
        if not self.todo.items:
            return
        work = WorkerSpec(self.rules.target, self._setup())
        left = iter(self.todo.items)
        again: list[tuple[Keyed, int]] = []
        exhausted = False
        engine = self._engine = make_engine(work, len(self.todo.items))
        with engine:
            while self._under_way or again or not exhausted:
                on_tick()
                if should_stop():
                    raise Interrupted("stopped; what is done is in the ledger, and the same command does the rest")
                entries: list[Entry] = []
                while not self.stopped_early and engine.room() > 0 and (again or not exhausted):
                    if again:
                        self._submit(engine, *again.pop(0), alone=True)
                    elif (item := next(left, None)) is None:
                        exhausted = True
                    elif (entry := self._begin(engine, item)) is not None:
                        entries.append(entry)
                if self.stopped_early:
                    exhausted = True
                    again.clear()
                for outcome in engine.results(0 if entries else _WAIT):
                    entries += self._heard(outcome, again)
                self.ledger.append(entries)
                for entry in entries:
                    self.done += entry.status == "done"
                    self.failed += entry.status == "failed"
                    yield entry
                if self.rules.max_failures is not None and self.failed >= self.rules.max_failures:
                    self.stopped_early = self.stopped_early or bool(self._under_way or again or not exhausted)

    def report(self) -> Path:
        """Writes `index.html` into the output folder, of all that its ledger says of these items' outputs."""
        shown = {item.out for item in self.items} if self.rules.shard.whole else None
        return write_report(self.common.out, title=self.manifest.name, only=shown, store=self.common.store)

    def _setup(self) -> dict[str, Any]:
        """What workers are made with."""
        return {
            "recipes": {str(recipe.number): recipe.data for recipe in self.recipes.all},
            "out": str(self.common.out.absolute()),
            "store": self.common.store,
            "work": self.common.work,
            "gps": self.common.gps,
            "root": "" if self.manifest.own or self.common.anywhere else self.manifest.root,
            "together": self.rules.together,
            "registry": self.rules.registry,
        }

    def _begin(self, engine: Engine, item: Item) -> Entry | None:
        """Hands an item to the engine; the entry of one that failed before it could be."""
        one = keyed(item, self.common, self.ledger, check_inputs=self.rules.check_inputs)
        known = self.ledger.known.get(one.key)
        if known is not None and known.status == "done" and is_there(item, self.common):  # its file was only touched
            self.already += 1
            return None
        attempt = (known.attempt if known else 0) + 1
        if one.problem is not None:
            return self._entry(one, attempt, one.problem)
        self._submit(engine, one, attempt)
        return None

    def _submit(self, engine: Engine, one: Keyed, attempt: int, *, alone: bool = False) -> None:
        item = one.item
        row = item.row.model_dump(mode="json", exclude_none=True)
        if one.plan is not None:
            row["plan"] = one.plan.model_dump(mode="json")
        data = {
            "recipe": str(item.recipe.number),
            "row": row,
            "place": item.place,
            "masks": list(item.masks),
            "out": item.out,
            "seed": one.seed,
            "sha256": "" if one.seen is None or places.is_url(item.place) else one.seen.sha256,
            # Only what this batch itself has left there, or the user lets go, is replaced.
            "overwrite": self.rules.overwrite or item.out in self.replaceable or one.key in self._tried_again,
        }
        self._under_way[one.key] = (one, attempt)
        engine.submit(Task(one.key, data, alone))

    def _heard(self, outcome: Outcome, again: list[tuple[Keyed, int]]) -> list[Entry]:
        one, attempt = self._under_way.pop(outcome.id)
        value = outcome.value
        if value.get("stopped"):
            return []
        error: GasError | None = None
        if outcome.died:
            error = PluginBroken(
                f"{outcome.died}; it did so each time this picture was edited",
                "see ledger/worker-*.log in the output folder; a smaller picture needs less memory",
            )
            error.exit_code = OutOfResources.exit_code if "SIGKILL" in outcome.died else PluginBroken.exit_code
        elif "error" in value:
            error = error_from(value["error"])
        fatal = bool(outcome.died) or isinstance(error, OutOfResources)
        if fatal and one.key not in self._tried_again:  # others may be to blame: once more, on a worker for itself
            self._tried_again.add(one.key)
            again.append((one, attempt))
            return []
        thumbnail = self._keep_thumbnail(one.key, value.get("thumbnail", ""))
        entry = replace(
            self._entry(one, attempt, error),
            plan=tuple(value.get("plan", ())),
            found=tuple(value.get("found", ())),
            warnings=tuple(value.get("warnings", ())),
            pixels=tuple(value["pixels"]) if "pixels" in value else None,
            seconds=round(float(value.get("seconds", 0.0)), 3),
            worker=outcome.worker,
            thumbnail=thumbnail,
            verdicts=tuple(value.get("verdicts", ())),
            inside=tuple(value.get("inside", ())),
            outside=value.get("outside"),
            output_sha256=value.get("output_sha256", ""),
        )
        return [entry]

    def _entry(self, one: Keyed, attempt: int, error: GasError | None) -> Entry:
        row, seen = one.item.row, one.seen
        return Entry(
            key=one.key,
            item=one.item.name,
            out=one.item.out,
            status="done" if error is None else "failed",
            attempt=attempt,
            exit_code=0 if error is None else error.exit_code,
            error="" if error is None else error.message,
            remedy="" if error is None else error.hint.worded(self.words),
            remedy_code="" if error is None else error.hint.code,
            asked=row.instruction or (one.plan.instruction if one.plan else ""),
            seed=one.seed,
            ended=datetime.now(UTC).isoformat(timespec="milliseconds"),
            size=seen.size if seen else 0,
            time=seen.time if seen else 0,
            sha256=seen.sha256 if seen else "",
        )

    def _keep_thumbnail(self, key: str, data: str) -> str:
        """Keeps a thumbnail for the report; its name. One that cannot be written is done without."""
        if not data:
            return ""
        path = self.common.out / THUMBNAILS / key[:2] / f"{key}.jpg"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(data))
        except OSError:
            return ""
        return f"{key[:2]}/{path.name}"


@contextlib.contextmanager
def opened(
    manifest: Manifest,
    common: Common,
    rules: Rules,
    open_session: OpenSession,
    *,
    require: Require = require_models,
    words: Words = python_words,
) -> Iterator[Batch]:
    """Gives the batch that does what is missing of `manifest` in the output folder `common.out`, which is this run's
    alone meanwhile.

    Refused before anything is edited: rows that may not be (InputRefused, exit 3, and as `Recipes.of`), outputs that
    are somebody else's (UsageError, exit 2), backends and models that cannot be used (2, 6, 9, as `Recipe.check`).
    """
    if common.work not in get_args(WorkMode):
        raise UsageError(f"work {common.work!r} is unknown", f"use {', '.join(get_args(WorkMode))}")
    recipes = Recipes(open_session, own=manifest.own, allow_model=rules.allow_model or manifest.own)
    items = items_of(manifest, recipes, common)
    mine = [item for index, item in enumerate(items) if rules.shard.has(index)]
    for recipe in {item.recipe.number: item.recipe for item in mine}.values():
        own = [item for item in mine if item.recipe is recipe]
        looks = not all(item.row.boxes or item.row.masks for item in own)
        recipe.check(plans=any(item.row.plan is None for item in own), looks=looks, require=require)
    files.make_folder(common.out)
    with ExitStack() as held:
        ledger = held.enter_context(Ledger(common.out / FOLDER, rules.shard.part))
        left = todo(mine, common, ledger, skip_failed=rules.skip_failed, check_inputs=rules.check_inputs)
        refuse_outputs(left.items, common, ledger, overwrite=rules.overwrite)
        replaceable = frozenset(ledger.names)
        ledger.claim(item.out for item in left.items)
        folders = {common.out, *((common.out / item.out).parent for item in left.items)}
        held.callback(_tidy, folders)  # after workers that died
        _tidy(folders)  # after a batch that was killed
        yield Batch(common, rules, manifest, mine, left, ledger, recipes, words, replaceable=replaceable)


def _tidy(folders: Set[Path]) -> None:
    """Removes temporary files of processes that are gone."""
    for folder in folders:
        remove_abandoned(folder)
