"""The commands that edit a picture: with one editor, with several, or again as its record says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gas_cli import flags as f


def edit(
    picture: f.Picture,
    instructions: f.Instructions = None,
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
    detail: f.Detail = None,
    cache: f.Cache = None,
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
    resume: Annotated[Path | None, typer.Option(help="resume an interrupted run: its output or state file")] = None,
    allow_model: f.AllowModel = False,
    yes: f.Yes = False,
    gps: Annotated[bool, typer.Option("--gps", help="keep the position in the metadata")] = False,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
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
            "cache": cache,
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


def compare(
    picture: f.Picture,
    instructions: f.Instructions = None,
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
    detail: f.Detail = None,
    cache: f.Cache = None,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    from gas_cli import compare as command

    out, options = f.split_o(o)
    flags = {
        "profile": profile,
        "planner": planner,
        "grounder": grounder,
        "grow": grow,
        "grounded": grounded,
        "detail": detail,
        "model": model,
        "lora": lora,
        "device": device,
        "dtype": dtype,
        "memory": memory,
        "seed": seed,
        "cache": cache,
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
