"""The `gas` command: thin commands that choose, call and show. What they do is in `gas`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gas_cli import flags as f
from gas_cli.bench import SuiteGroup

app = typer.Typer(
    name="gas",
    help="Change several things in one photograph, each where it belongs, and nothing else.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Picture = Annotated[Path, typer.Argument(metavar="IN", help="the photograph")]
Instructions = Annotated[list[str] | None, typer.Argument(metavar="[INSTRUCTION]...", help="what to change")]


def _show_version(asked: bool) -> None:
    if asked:
        from gas.version import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _gas(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="say nothing but warnings, errors and data")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="stay off the network, whatever the command")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Change several things in one photograph, each where it belongs, and nothing else. The flags below may stand after
    the command too."""
    from gas_cli.output import choose, libraries_offline

    choose(quiet=quiet, offline=offline)
    if offline:
        context.with_resource(libraries_offline())


@app.command()
def edit(
    picture: Picture,
    instructions: Instructions = None,
    o: f.Out = None,
    plan: f.PlanFile = None,
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
    box: f.Boxes = None,
    point: f.Points = None,
    mask: f.Masks = None,
    masks: f.MaskFolder = None,
    caption: f.Caption = None,
    source: f.Source = None,
    target: f.Target = None,
    seed: f.Seed = None,
    device: f.Device = None,
    dtype: f.DType = None,
    memory: f.Memory = None,
    work: f.Work = "auto",
    verify: f.Verify = None,
    tries: f.Tries = None,
    budget: f.BudgetText = None,
    preview_every: Annotated[
        int | None, typer.Option(min=1, help="write a picture every so many steps, into the folder OUT-steps")
    ] = None,
    save_maps: Annotated[Path | None, typer.Option(help="folder for pictures of what the editor sees inside")] = None,
    save_raw: Annotated[Path | None, typer.Option(help="also write the editor's output before pasting back")] = None,
    save_layer: Annotated[
        Path | None, typer.Option(help="also write what was pasted alone: a PNG that is transparent elsewhere")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with an interrupted run: its output or state file")] = None,
    allow_model: f.AllowModel = False,
    yes: f.Yes = False,
    gps: Annotated[bool, typer.Option("--gps", help="keep the position in the metadata")] = False,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    """Edit a photograph: gas edit photo.jpg "make the dog a tiger and the grass snow"."""
    from gas_cli import edit as command

    out, options = f.split_o(o)
    command.edit(
        picture,
        instructions or [],
        out=out,
        options=options,
        flags={
            "profile": profile,
            "planner": planner,
            "grounder": grounder,
            "grow": grow,
            "grounded": grounded,
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
        },
        plan=plan,
        words=(caption, source, target),
        drawn=(box, point, mask, masks),
        work=work,
        preview_every=preview_every,
        save_maps=save_maps,
        save_raw=save_raw,
        save_layer=save_layer,
        resume=resume,
        allow_model=allow_model,
        yes=yes,
        gps=gps,
        overwrite=overwrite,
        as_json=as_json,
    )


@app.command()
def plan(
    picture: Picture,
    instructions: Instructions = None,
    o: f.Out = None,
    planner: f.Planner = None,
    profile: f.Profile = None,
    caption: f.Caption = None,
    source: f.Source = None,
    target: f.Target = None,
    seed: f.Seed = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print what would leave this machine")] = False,
    save_reply: Annotated[Path | None, typer.Option(help="write the model's raw reply to this file")] = None,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    """Split a request into subtasks and write the plan, to be read, changed and given to gas edit --plan."""
    from gas_cli import stages

    out, options = f.split_o(o)
    flags = {"profile": profile, "planner": planner, "seed": seed}
    stages.plan(
        picture,
        instructions or [],
        out=out,
        options=options,
        flags=flags,
        words=(caption, source, target),
        dry_run=dry_run,
        save_reply=save_reply,
        overwrite=overwrite,
        as_json=as_json,
    )


@app.command()
def ground(
    picture: Picture,
    instructions: Instructions = None,
    o: f.Out = None,
    plan: f.PlanFile = None,
    planner: f.Planner = None,
    grounder: f.Grounder = None,
    editor: f.Editor = None,
    grow: f.Grow = None,
    profile: f.Profile = None,
    box: f.Boxes = None,
    point: f.Points = None,
    mask: f.Masks = None,
    masks: f.MaskFolder = None,
    caption: f.Caption = None,
    work: f.Work = "auto",
    device: f.Device = None,
    dtype: f.DType = None,
    memory: f.Memory = None,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    """Find the regions of a plan: masks as PNG files, boxes and scores, and an overlay to look at."""
    from gas_cli import stages

    out, options = f.split_o(o)
    stages.ground(
        picture,
        instructions or [],
        out=out,
        options=options,
        flags={
            "profile": profile,
            "planner": planner,
            "grounder": grounder,
            "editor": editor,
            "grow": grow,
            "device": device,
            "dtype": dtype,
            "memory": memory,
        },
        plan=plan,
        words=(caption, None, None),
        drawn=(box, point, mask, masks),
        work=work,
        overwrite=overwrite,
        as_json=as_json,
    )


@app.command()
def place(
    picture: Picture,
    layer: Annotated[Path, typer.Argument(metavar="LAYER", help="what gas edit --save-layer wrote")],
    o: f.Out = None,
    move: Annotated[str, typer.Option(metavar="RIGHT,DOWN", help="move it by so many pixels")] = "0,0",
    scale: Annotated[float, typer.Option(min=0.01, max=100, help="make it so many times as large")] = 1.0,
    gps: Annotated[bool, typer.Option("--gps", help="keep the position in the metadata")] = False,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    """Put a saved layer upon a picture of the same size, moved or scaled."""
    from gas_cli import place as command

    out, options = f.split_o(o)
    command.place(
        picture,
        layer,
        out=out,
        options=options,
        move=move,
        scale=scale,
        gps=gps,
        overwrite=overwrite,
        as_json=as_json,
    )


@app.command()
def mask(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="masks of one picture, put together")],
    o: f.Out = None,
    of: Annotated[
        str | None, typer.Option(help="what of FILE is meant: transparent, opaque, a level, or a colour as '#ff0000'")
    ] = None,
    minus: Annotated[list[Path] | None, typer.Option(help="a mask to be cut out of them")] = None,
    invert: Annotated[bool, typer.Option("--invert", help="turn it inside out")] = False,
    grow: Annotated[float, typer.Option(min=0, max=10_000, help="by so many pixels")] = 0,
    shrink: Annotated[float, typer.Option(min=0, max=10_000, help="by so many pixels")] = 0,
    feather: Annotated[float, typer.Option(min=0, max=10_000, help="a soft edge of so many pixels, inward")] = 0,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    """Make a mask of others: union, minus, inverted, grown, shrunk, feathered, in this order."""
    from gas_cli import mask as command

    out, options = f.split_o(o)
    command.mask(
        files,
        out=out,
        options=options,
        of=of,
        minus=minus or [],
        grow=grow,
        shrink=shrink,
        invert=invert,
        feather=feather,
        overwrite=overwrite,
        as_json=as_json,
    )


@app.command()
def suggest(
    pictures: Annotated[list[Path], typer.Argument(metavar="IN...", help="photographs")],
    o: f.Out = None,
    planner: f.Planner = None,
    profile: f.Profile = None,
    as_json: f.Json = False,
) -> None:
    """Let a planner that can see propose edits for a picture."""
    from gas_cli import stages

    _, options = f.split_o(o)
    stages.suggest(pictures, options=options, flags={"profile": profile, "planner": planner}, as_json=as_json)


@app.command()
def compare(
    picture: Picture,
    instructions: Instructions = None,
    editors: Annotated[
        str, typer.Option(help="names of editors, with commas; NAME+grounded for a grounded run")
    ] = "dds,cds,ground-a-score",
    o: f.Out = None,
    plan: f.PlanFile = None,
    planner: f.Planner = None,
    grounder: f.Grounder = None,
    grow: f.Grow = None,
    grounded: f.Grounded = None,
    profile: f.Profile = None,
    model: f.Model = None,
    lora: f.Loras = None,
    box: f.Boxes = None,
    point: f.Points = None,
    mask: f.Masks = None,
    masks: f.MaskFolder = None,
    caption: f.Caption = None,
    seed: f.Seed = None,
    device: f.Device = None,
    dtype: f.DType = None,
    memory: f.Memory = None,
    work: f.Work = "auto",
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    """Edit with several editors: same plan, same regions, same seed, side by side in one picture."""
    from gas_cli import compare as command

    out, options = f.split_o(o)
    flags = {
        "profile": profile,
        "planner": planner,
        "grounder": grounder,
        "grow": grow,
        "grounded": grounded,
        "model": model,
        "lora": lora,
        "device": device,
        "dtype": dtype,
        "memory": memory,
        "seed": seed,
    }
    command.compare(
        picture,
        instructions or [],
        editors=[name.strip() for name in editors.split(",") if name.strip()],
        out=out,
        options=options,
        flags=flags,
        plan=plan,
        words=(caption, None, None),
        drawn=(box, point, mask, masks),
        work=work,
        overwrite=overwrite,
        as_json=as_json,
    )


@app.command()
def batch(
    source: Annotated[
        str | None, typer.Argument(metavar="[MANIFEST|FOLDER]", help=".jsonl, .csv, .parquet, or a folder of pictures")
    ] = None,
    instructions: Instructions = None,
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
    """Edit many pictures: gas batch photos/ "make the sky a sunset" -o out/. Run again, it does what is missing."""
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


@app.command()
def replay(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="a picture that gas wrote, or its record")],
    picture: Annotated[Path | None, typer.Option("--input", help="the original; default: its name beside OUT")] = None,
    o: f.Out = None,
    editor: Annotated[
        str | None, typer.Option(help="the recorded editor, named by you: allows one that sends pictures away")
    ] = None,
    model: f.Model = None,
    lora: f.Loras = None,
    allow_model: f.AllowModel = False,
    yes: f.Yes = False,
    device: f.Device = None,
    allow_drift: Annotated[
        bool, typer.Option("--allow-drift", help="accept other bytes where something drifted")
    ] = False,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    """Make an output again from its record: the same bytes on the same machine, or what drifted."""
    from gas_cli import edit as command

    out, options = f.split_o(o)
    if options:
        from gas.errors import UsageError

        raise UsageError("gas replay takes no options of backends", "change them with gas edit")
    flags = {"editor": editor, "model": model, "lora": lora, "device": device}
    command.replay(
        output,
        picture,
        out=out,
        flags=flags,
        allow_model=allow_model,
        yes=yes,
        allow_drift=allow_drift,
        overwrite=overwrite,
        as_json=as_json,
    )


@app.command()
def info(
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="a picture that gas wrote, its record, or any other picture")
    ],
    as_json: f.Json = False,
) -> None:
    """Show how a picture was made: the record of an edit, or what another's picture says of itself."""
    from gas_cli import stages

    stages.info(output, as_json=as_json)


@app.command()
def backends(
    what: Annotated[str | None, typer.Argument(help="a role, such as editors or profiles; or show")] = None,
    name: Annotated[str | None, typer.Argument(help="after show: a backend's name")] = None,
    profile: f.Profile = None,
    as_json: f.Json = False,
) -> None:
    """List what is installed, broken, and known but not installed; gas backends show NAME lists its options."""
    from gas.backends.registry import Registry
    from gas.backends.roles import PLURALS
    from gas.errors import UsageError
    from gas_cli import listing

    registry = Registry.discover()
    if what == "show":
        if name is None:
            raise UsageError("gas backends show needs a backend's name", "see: gas backends")
        listing.print_show(registry, name, f.open_session({"profile": profile}).settings, as_json=as_json)
    elif what is None or (what in PLURALS and name is None):
        listing.print_backends(registry, what, as_json=as_json)
    else:
        raise UsageError(f"{what!r} is no role that gas backends lists", f"use {', '.join(PLURALS)}, or: show NAME")


@app.command()
def doctor(
    profile: f.Profile = None,
    device: f.Device = None,
    as_json: f.Json = False,
) -> None:
    """Check device, memory, plugins, services and weights, and say what is missing."""
    from gas_cli.doctor import print_doctor

    session = f.open_session({"profile": profile, "device": device})
    print_doctor(session.registry, session.settings, session.runtime, as_json=as_json)


@app.command()
def ui(
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="default: 7860, or the next that is free")] = None,
    host: Annotated[str, typer.Option(help="another address to listen on; then a token or password is asked for")] = (
        "127.0.0.1"
    ),
    auth: Annotated[bool, typer.Option("--auth", help="ask for a password of your own instead of a token")] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="only print the address")] = False,
) -> None:
    """Open a page on this machine: drop a photograph, see plan and regions, edit, compare."""
    from gas_cli import ui as command

    command.ui(port=port, host=host, auth=auth, browser=not no_browser)


models = typer.Typer(help="The models of the profiles: what is here, getting the rest.", no_args_is_help=True)
app.add_typer(models, name="models")
ModelNames = Annotated[list[str] | None, typer.Argument(metavar="[PROFILE|MODEL]...", help="profiles, models, hub ids")]


@models.command("ls")
def models_ls(as_json: f.Json = False) -> None:
    """List the models that profiles name: size, licence, gate, revision, and what is here already."""
    from gas.backends.registry import Registry
    from gas_cli import models as command

    command.ls(Registry.discover(), as_json=as_json)


@models.command("pull")
def models_pull(
    names: ModelNames = None,
    variant: Annotated[str | None, typer.Option(help="weights of this kind instead, e.g. fp16")] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help=".bin weights where there are no others; only tensors are read")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="remove damaged files first")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be downloaded")] = False,
    as_json: f.Json = False,
) -> None:
    """Download what a profile or model needs, at its pinned revision; run it again to go on after an interruption."""
    from gas_cli import models as command

    session = f.open_session({})
    command.pull(
        session.registry,
        session.settings,
        names or [],
        variant=variant,
        allow_pickle=allow_pickle,
        repair=repair,
        dry_run=dry_run,
        as_json=as_json,
    )


@models.command("rm")
def models_rm(names: ModelNames = None, as_json: f.Json = False) -> None:
    """Remove downloaded models from this machine; gas models pull gets them again."""
    from gas.backends.registry import Registry
    from gas_cli import models as command

    command.rm(Registry.discover(), names or [], as_json=as_json)


@models.command("verify")
def models_verify(names: ModelNames = None, as_json: f.Json = False) -> None:
    """Compare the files that are here with their checksums; offline."""
    from gas.backends.registry import Registry
    from gas_cli import models as command

    command.verify(Registry.discover(), names or [], as_json=as_json)


bench = typer.Typer(help="Measured tables; each suite is a command of its own.", cls=SuiteGroup)
app.add_typer(bench, name="bench")


@bench.callback(invoke_without_command=True)
def _bench(ctx: typer.Context) -> None:
    """Run a suite of benchmarks; without a name the suites that there are. Their options: gas bench NAME --help."""
    if ctx.invoked_subcommand is None:
        from gas.backends.registry import Registry
        from gas.backends.roles import SUITES
        from gas_cli.listing import print_backends

        print_backends(Registry.discover(), SUITES.plural)


keys = typer.Typer(help="Keys of services, in a file that only you can read.", no_args_is_help=True)
app.add_typer(keys, name="keys")


@keys.command("set")
def keys_set(name: Annotated[str, typer.Argument(help="the service, e.g. openai")]) -> None:
    """Ask for a key (or read it from standard input) and keep it."""
    from gas_cli import stages

    stages.set_key(name)


@keys.command("ls")
def keys_ls(as_json: f.Json = False) -> None:
    """List the names of the keys that are kept, and where each comes from; never a key itself."""
    from gas_cli import stages

    stages.list_keys(as_json=as_json)


@keys.command("rm")
def keys_rm(name: Annotated[str, typer.Argument(help="the service, e.g. openai")]) -> None:
    """Take a key out of the file."""
    from gas_cli import stages

    stages.remove_key(name)


def main() -> None:
    """The console script: runs a command and turns its outcome into an exit code."""
    from gas_cli.run import run
    from gas_cli.stdout import keep_for_data

    keep_for_data()
    run(app)
