"""A batch in one call, for Python programs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from gas.batch import manifest as manifests
from gas.batch.engines.choice import Choice, machine, make_engine
from gas.batch.items import Common
from gas.batch.ledger import FOLDER, Entry
from gas.batch.rows import Row
from gas.batch.run import Rules, opened
from gas.batch.shards import shard_of


def batch(
    items: str | os.PathLike[str] | Iterable[Mapping[str, Any] | Row],
    instruction: str = "",
    *,
    out: str | os.PathLike[str],
    engine: str = "local",
    address: str = "",
    workers: int | None = None,
    threads: int | None = None,
    ahead: int = 2,
    together: int = 1,
    shard: str | None = None,
    store: str = "",
    work: str = "auto",
    gps: bool = False,
    overwrite: bool = False,
    skip_failed: bool = False,
    max_failures: int | None = None,
    check_inputs: bool = False,
    allow_outside: bool = False,
    allow_model: bool = False,
    registry: str = "",
    **flags: Any,
) -> Iterator[Entry]:
    """What comes of each item, as it comes: `gas.batch([{"image": "a.jpg", "instruction": "…"}], out="edited")`.

    * items: rows as mappings or `gas.batch.rows.Row`, whose paths are relative to the current folder; or the path of a
      manifest; or of a folder of pictures, with an `instruction` for all.
    * out: the folder of outputs, ledger and report (`index.html`). Called again with the same, what is done is left.
    * engine: "local", or "ray" (with the `address` of a cluster). `workers` with `threads` each; `ahead`: items that a
      worker reads and plans while it edits another.
    * together: how many pictures of one size may share an editor's batch; their bytes then depend on what shares it.
    * shard: "3/16" for a part; `store`: an address (`s3://…`) for the pictures.
    * registry: "module:function" of a program that has backends of its own; workers call it.
    * `flags` as for `gas.Session.of`; with `verify=True` (and `tries=3`) entries have `verdicts`. The rest as on the
      command line.

    An item that fails is an entry with `status` "failed"; one that is verified and not done, too, with `exit_code` 12
    and its picture written. Errors before anything is edited, and faults of the whole,
    are raised: children of `gas.GasError`.
    """
    from gas.run.session import Session

    found = None if not registry else getattr(import_module(registry.partition(":")[0]), registry.partition(":")[2])()
    choice = Choice(engine, workers, threads, ahead, address)
    choice.check()
    folder = Path(out)
    if isinstance(items, str | os.PathLike):
        listed = manifests.read(os.fspath(items), instruction=instruction, but=folder)
    else:
        listed = manifests.of_items(items)

    def open_session(row: Mapping[str, Any] | None) -> Session:
        return Session.of(registry=found, row=row, **flags)

    rules = Rules(
        shard=shard_of(shard),
        together=together,
        skip_failed=skip_failed,
        max_failures=max_failures,
        check_inputs=check_inputs,
        overwrite=overwrite,
        allow_model=allow_model,
        registry=registry,
    )
    common = Common(folder, work=work, gps=gps, store=store, anywhere=allow_outside)
    with opened(listed, common, rules, open_session) as made:
        here = machine(made.recipes.base, choice)
        make = partial(make_engine, choice=choice, here=here, together=together, logs=folder / FOLDER)
        try:
            yield from made.run(make)
        finally:
            made.report()
