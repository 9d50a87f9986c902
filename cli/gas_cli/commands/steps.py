"""The commands for one step of an edit by itself: plan, regions, masks, layers, and proposals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gas_cli import flags as f


def plan(
    picture: f.Picture,
    instructions: f.Instructions = None,
    o: f.Out = None,
    planner: f.Planner = None,
    profile: f.Profile = None,
    caption: f.Caption = None,
    source: f.Source = None,
    target: f.Target = None,
    seed: f.Seed = None,
    cache: f.Cache = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only print what would leave this machine")] = False,
    save_reply: Annotated[Path | None, typer.Option(help="write the model's raw reply to this file")] = None,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
    from gas_cli import stages

    out, options = f.split_o(o)
    flags = {"profile": profile, "planner": planner, "seed": seed, "cache": cache}
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


def ground(
    picture: f.Picture,
    instructions: f.Instructions = None,
    o: f.Out = None,
    plan: f.PlanFile = None,
    planner: f.Planner = None,
    grounder: f.Grounder = None,
    editor: f.Editor = None,
    model: f.Model = None,
    grow: f.Grow = None,
    profile: f.Profile = None,
    box: f.Boxes = None,
    point: f.Points = None,
    mask: f.Masks = None,
    masks: f.MaskFolder = None,
    caption: f.Caption = None,
    work: f.Work = "auto",
    cache: f.Cache = None,
    device: f.Device = None,
    dtype: f.DType = None,
    memory: f.Memory = None,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
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
            "model": model,
            "grow": grow,
            "device": device,
            "dtype": dtype,
            "memory": memory,
            "cache": cache,
        },
        plan=plan,
        words=(caption, None, None),
        drawn=(box, point, mask, masks),
        work=work,
        overwrite=overwrite,
        as_json=as_json,
    )


def place(
    picture: f.Picture,
    layer: Annotated[Path, typer.Argument(metavar="LAYER", help="what gas edit --save-layer wrote")],
    o: f.Out = None,
    move: Annotated[str, typer.Option(metavar="RIGHT,DOWN", help="move it by so many pixels")] = "0,0",
    scale: Annotated[float, typer.Option(min=0.01, max=100, help="make it so many times as large")] = 1.0,
    gps: Annotated[bool, typer.Option("--gps", help="keep the position in the metadata")] = False,
    overwrite: f.Overwrite = False,
    as_json: f.Json = False,
) -> None:
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


def suggest(
    pictures: Annotated[list[Path], typer.Argument(metavar="IN...", help="photographs")],
    o: f.Out = None,
    planner: f.Planner = None,
    profile: f.Profile = None,
    as_json: f.Json = False,
) -> None:
    from gas_cli import stages

    _, options = f.split_o(o)
    stages.suggest(pictures, options=options, flags={"profile": profile, "planner": planner}, as_json=as_json)
