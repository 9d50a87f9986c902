"""The command for many pictures."""

from __future__ import annotations

from typing import Annotated

import typer

from gas_cli import flags as f


def batch(
    source: Annotated[
        str | None, typer.Argument(metavar="[MANIFEST|FOLDER]", help=".jsonl, .csv, .parquet, or a folder of pictures")
    ] = None,
    instructions: f.Instructions = None,
    o: f.OutFolder = None,
    template: Annotated[bool, typer.Option("--template", help="print a manifest to start from")] = False,
    engine: Annotated[str, typer.Option(help="local or ray", rich_help_panel=f.WORKERS)] = "local",
    address: Annotated[
        str, typer.Option(help="of a Ray cluster; auto: the one that this machine is in", rich_help_panel=f.WORKERS)
    ] = "",
    workers: Annotated[
        int | None, typer.Option(min=1, help="default: one a GPU, else cores / threads", rich_help_panel=f.WORKERS)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="of each worker", rich_help_panel=f.WORKERS)] = None,
    plan_ahead: Annotated[
        int,
        typer.Option(min=0, help="items that a worker reads and plans while it edits", rich_help_panel=f.WORKERS),
    ] = 2,
    together: Annotated[
        int,
        typer.Option(
            min=1,
            help="pictures of one size that share an editor's batch; their bytes then depend on each other",
            rich_help_panel=f.WORKERS,
        ),
    ] = 1,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="a part, e.g. 3/16; default: the Slurm array's", rich_help_panel=f.WORKERS),
    ] = None,
    submit: Annotated[
        int | None, typer.Option(min=1, help="send a Slurm array of so many parts, and end", rich_help_panel=f.WORKERS)
    ] = None,
    slurm: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="submitit's options", rich_help_panel=f.WORKERS)
    ] = None,
    cluster: Annotated[
        str, typer.Option(help="where --submit sends to: slurm, or local", rich_help_panel=f.WORKERS)
    ] = "slurm",
    store: Annotated[str, typer.Option(help="address for the pictures, e.g. s3://bucket/folder")] = "",
    skip_failed: Annotated[bool, typer.Option("--skip-failed", help="leave what has failed before")] = False,
    max_failures: Annotated[int | None, typer.Option(min=1, help="end after so many failed items")] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="end after the first")] = False,
    check_inputs: Annotated[
        bool, typer.Option("--check-inputs", help="read every picture again to see whether it changed")
    ] = False,
    allow_outside: Annotated[
        bool, typer.Option("--allow-outside", help="let the manifest name files outside its folder")
    ] = False,
    planner: f.Planner = None,
    grounder: f.Grounder = None,
    grow: f.Grow = None,
    grounded: f.Grounded = None,
    editor: f.Editor = None,
    verifier: f.Verifier = None,
    retry_editor: f.RetryEditors = None,
    profile: f.Profile = None,
    model: f.Model = None,
    lora: f.Loras = None,
    seed: f.BatchSeed = None,
    device: f.Device = None,
    dtype: f.DType = None,
    memory: f.Memory = None,
    work: f.Work = "auto",
    detail: f.Detail = None,
    verify: f.Verify = None,
    tries: f.Tries = None,
    budget: f.BudgetText = None,
    allow_model: Annotated[
        bool, typer.Option("--allow-model", help="use models that only the manifest names", rich_help_panel="Running")
    ] = False,
    yes: f.Yes = False,
    gps: Annotated[bool, typer.Option("--gps", help="keep the position in the metadata")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace files that this batch has not made")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one line of JSON an item on standard output")] = False,
) -> None:
    from gas.batch.engines.choice import Choice
    from gas.batch.run import Rules
    from gas.errors import UsageError
    from gas_cli import batch as command

    if template:
        command.print_template()
        return
    if source is None:
        raise UsageError("no manifest and no folder is named", "see: gas batch --template, gas batch --help")
    out, options = f.split_o(o)
    if submit is not None:
        command.submit(submit, f.without(("--submit", "--slurm", "--cluster")), out, slurm or [], cluster)
        return
    command.batch(
        source,
        instructions or [],
        out=out,
        options=options,
        flags={
            "profile": profile,
            "planner": planner,
            "grounder": grounder,
            "grow": grow,
            "grounded": grounded,
            "detail": detail,
            "editor": editor,
            "verifier": verifier,
            "verify": verify,
            "tries": tries,
            "budget": budget,
            "retry_editors": retry_editor,
            "model": model,
            "lora": lora,
            "device": device,
            "dtype": dtype,
            "memory": memory,
            "seed": seed,
            "cache": False,  # its ledger knows what is done; thousands of pictures would drive out all else
        },
        choice=Choice(engine, workers, threads, plan_ahead, address),
        rules=Rules(
            together=together,
            skip_failed=skip_failed,
            max_failures=1 if fail_fast else max_failures,
            check_inputs=check_inputs,
            overwrite=overwrite,
            allow_model=allow_model,
        ),
        shard=shard,
        work=work,
        gps=gps,
        store=store,
        allow_outside=allow_outside,
        yes=yes,
        as_json=as_json,
    )
