"""The flags that commands share, and what they come to: settings, a session, a plan, given regions."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gas.backends.roles import CHOSEN, EDITORS
from gas.errors import UsageError
from gas_cli.arguments import OPTION, OUTPUT
from gas_cli.output import offline, people, warn

if TYPE_CHECKING:
    from gas.run.record import Request
    from gas.run.session import Session
    from gas.settings.settings import Settings
    from gas.types import EditPlan, Image, Region, WorkMode

_CHOICE = "Choosing backends"
_REGION = "Regions by hand"
_RUN = "Running"
WORKERS = "Workers"

Picture = Annotated[Path, typer.Argument(metavar="IN", help="the photograph")]
Instructions = Annotated[list[str] | None, typer.Argument(metavar="[INSTRUCTION]...", help="what to change")]
Profile = Annotated[str | None, typer.Option(help="a named set of backends and models", rich_help_panel=_CHOICE)]
Planner = Annotated[str | None, typer.Option(help="who splits the request into subtasks", rich_help_panel=_CHOICE)]
Grounder = Annotated[
    list[str] | None,
    typer.Option("--grounder", help="who finds the things; several chain, 'none' for none", rich_help_panel=_CHOICE),
]
Editor = Annotated[str | None, typer.Option(help="who changes the picture", rich_help_panel=_CHOICE)]
Verifier = Annotated[str | None, typer.Option(help="who says whether each change is there", rich_help_panel=_CHOICE)]
RetryEditors = Annotated[
    list[str] | None,
    typer.Option(
        "--retry-editor", help="who tries what is not done, in order; 'none' for nobody", rich_help_panel=_CHOICE
    ),
]
Verify = Annotated[
    bool | None,
    typer.Option("--verify/--no-verify", help="say of each change whether it is there", rich_help_panel=_RUN),
]
Tries = Annotated[
    int | None,
    typer.Option(min=1, max=10, help="try what is not done so many times in all; verifies", rich_help_panel=_RUN),
]
BudgetText = Annotated[
    str | None,
    typer.Option("--budget", help="after how much nothing is tried again: 60s, 500rows", rich_help_panel=_RUN),
]
Cache = Annotated[
    bool | None,
    typer.Option(
        "--cache/--no-cache", help="reuse stages whose input is the same, and keep them on disk", rich_help_panel=_RUN
    ),
]
Model = Annotated[str | None, typer.Option(help="folder, file, hub id or id@revision", rich_help_panel=_CHOICE)]
Loras = Annotated[
    list[str] | None,
    typer.Option(
        "--lora", metavar="FILE[=WEIGHT]", help="merge a LoRA into the model; repeat", rich_help_panel=_CHOICE
    ),
]
AllowModel = Annotated[
    bool,
    typer.Option("--allow-model", help="use a model that only the record names", rich_help_panel=_RUN),
]
Yes = Annotated[
    bool, typer.Option("--yes", help="download models that are missing, as announced", rich_help_panel=_RUN)
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N", rich_help_panel=_RUN)]
DType = Annotated[str | None, typer.Option("--dtype", help="auto, bf16, fp16 or fp32", rich_help_panel=_RUN)]
Memory = Annotated[
    str | None,
    typer.Option(help="networks on the device: all, offload (one at a time), lowest, or auto", rich_help_panel=_RUN),
]
Seed = Annotated[int | None, typer.Option(help="drawn, printed and recorded when absent", rich_help_panel=_RUN)]
BatchSeed = Annotated[
    int | None, typer.Option(help="of every item; when absent made of its picture and request", rich_help_panel=_RUN)
]
Work = Annotated[
    str, typer.Option(help="auto, full, crop around the regions, or frames: one for each place", rich_help_panel=_RUN)
]
Detail = Annotated[
    str | None,
    typer.Option(
        help="off, or tiles: places larger than the model's picture get detail of their own size", rich_help_panel=_RUN
    ),
]
Grow = Annotated[
    float | None,
    typer.Option(help="room that found things get to change their shape: share of their size", rich_help_panel=_CHOICE),
]
Grounded = Annotated[
    bool | None,
    typer.Option(
        "--grounded/--no-grounded",
        help="confine each subtask's edit to its own region, whatever the editor",
        rich_help_panel=_CHOICE,
    ),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option("--box", help="'phrase=x0,y0,x1,y1' in pixels, or with % signs", rich_help_panel=_REGION),
]
Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        help="'phrase=x,y' on the thing, which a segmenter (--grounder sam) outlines",
        rich_help_panel=_REGION,
    ),
]
Masks = Annotated[
    list[str] | None, typer.Option("--mask", help="'phrase=FILE', white = edit here", rich_help_panel=_REGION)
]
MaskFolder = Annotated[
    Path | None, typer.Option("--masks", help="folder of masks named after the phrases", rich_help_panel=_REGION)
]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="a plan file instead of an instruction")]
Caption = Annotated[str | None, typer.Option(help="what the picture shows, in one sentence")]
Source = Annotated[str | None, typer.Option(help="whole prompt of the picture as it is (with --target)")]
Target = Annotated[str | None, typer.Option(help="whole prompt of the picture after the edit (with --source)")]
Json = Annotated[bool, typer.Option("--json", help="one JSON envelope on standard output")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="replace an existing output")]
Out = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--output",
        "--option",
        help="the output file, or name=value, an option of a backend; --output takes a file alone, --option an option",
        metavar="…",
    ),
]

OutFolder = Annotated[
    list[str] | None,
    typer.Option(
        "-o", "--output", "--option", help="the output folder; or name=value, an option of a backend", metavar="…"
    ),
]

Option = tuple[str | None, str, str]
"""Of `-o`: the backend's name (None: the command's own), the option's name, and its value as text."""
Words = tuple[str | None, str | None, str | None]
"""--caption, --source, --target."""
Drawn = tuple[Sequence[str] | None, Sequence[str] | None, Sequence[str] | None, Path | None]
"""--box, --point, --mask, --masks."""

_OPTION = re.compile(r"(?:(?P<backend>[a-z0-9]+(?:-[a-z0-9]+)*)\.)?(?P<name>[a-z_]+)=(?P<value>.*)", re.DOTALL)


def split_o(values: Sequence[str] | None) -> tuple[Path | None, list[Option]]:
    """The output path and the backends' options among the values of `-o`.

    `name=value` and `backend.name=value` are options, anything else is the output, unless the long names said which it
    is (`gas_cli.arguments`): `--output a=b.png` is a file. UsageError when two outputs are given, and for an `--option`
    that is none.
    """
    outputs: list[str] = []
    options: list[Option] = []
    for value in values or ():
        if value.startswith(OUTPUT):
            outputs.append(value.removeprefix(OUTPUT))
            continue
        text = value.removeprefix(OPTION)
        if (match := _OPTION.fullmatch(text)) is not None:
            options.append((match["backend"], match["name"], match["value"]))
        elif text != value:
            raise UsageError(
                f"--option {text!r} is not an option of a backend", "write name=value; a file is --output FILE"
            )
        else:
            outputs.append(value)
    if len(outputs) > 1:
        raise UsageError(
            f"two outputs are given: {outputs[0]!r} and {outputs[1]!r}",
            "options are written name=value or backend.name=value",
        )
    return (Path(outputs[0]) if outputs else None), options


def without(names: Sequence[str], arguments: Sequence[str] | None = None) -> list[str]:
    """The arguments of the process (or these) without the options `names` and their values, to start the command again
    with."""
    left = list(sys.argv[1:] if arguments is None else arguments)
    kept = []
    while left:
        argument = left.pop(0)
        if argument in names:
            del left[:1]
        elif argument.partition("=")[0] not in names:
            kept.append(argument)
    return kept


def work_mode(text: str) -> WorkMode:
    """`--work` as one of auto, full, crop, frames."""
    if text not in {"auto", "full", "crop", "frames"}:
        raise UsageError(f"--work {text!r} is unknown", "use auto, full, crop or frames")
    return text  # type: ignore[return-value]


def open_session(
    flags: Mapping[str, Any],
    options: Sequence[Option] = (),
    *,
    role: str = EDITORS.plural,
    recorded: Mapping[str, Any] | None = None,
    row: Mapping[str, Any] | None = None,
    image: Image | None = None,
) -> Session:
    """The session of a command: its flags over environment, profile and settings files.

    Options without a backend's name belong to the backend of `role`: the editor of `gas edit`, the planner of
    `gas plan`, the only grounder of `gas ground`. With `recorded` flags (of a run that is to be made again) these stand
    in for environment and files; `row` is what one row of a manifest says, above all of them. Where nobody has chosen a
    profile the picture `image` has a say. UsageError for an option whose backend is not in use.
    """
    from gas.backends import running
    from gas.backends.registry import Registry
    from gas.folders import cache_folder
    from gas.run.session import Session
    from gas.settings.settings import environment_typos
    from gas_shell.words import setting_words

    registry = Registry.discover()
    registry.runs = cache_folder() / "runs"
    warn(people(), running.unfinished(registry.runs))
    given = {name: value for name, value in flags.items() if value is not None}
    if offline():
        given["offline"] = True
    for several in (each for each in CHOSEN if each.several):
        if (names := given.pop(several.name, None)) is not None:
            given[several.setting] = () if list(names) == ["none"] else tuple(names)
    for listed in ("retry_editors", "lora"):
        if (values := given.pop(listed, None)) is not None:
            given[listed] = () if list(values) == ["none"] else tuple(values)
    if given.get("tries") is not None and not given.setdefault("verify", True):
        raise UsageError(
            f"--tries {given['tries']} tries again what is not done, and --no-verify does not look whether it is",
            "leave one of them out",
        )

    def opened(more: Mapping[str, Any]) -> Session:
        return Session.load(more, registry=registry, image=image, recorded=recorded, written=setting_words, row=row)

    if recorded is None:
        warn(people(), environment_typos())
    if options:
        session = opened(given)
        given["options"] = _tables(options, session.settings, role, partial(_asked_besides, session))
    return opened(given)


def _asked_besides(session: Session) -> tuple[str, ...]:
    """The backends that the chosen ones hand work to: editors, and where it verifies verifiers and who tries again."""
    settings = session.settings
    return (*session.helpers(), *(session.verifiers() if settings.verify else ()), *settings.retry_editors)


def request(instructions: Sequence[str], words: Words) -> Request:
    """What the user asks for, in words."""
    from gas.run.record import Request

    caption, source, target = words
    return Request(instruction=joined(instructions), caption=caption, source=source, target=target)


def request_or_plan(plan: Path | None, instructions: Sequence[str], words: Words) -> Request | EditPlan:
    """The plan in the file, or what the user asks for. UsageError when both are given."""
    if plan is None:
        return request(instructions, words)
    if any(text.strip() for text in instructions) or words[1] is not None or words[2] is not None:
        raise UsageError("a plan file and a request are given", "give one of them; a plan can be edited by hand")
    from gas.plan.file import read_plan

    return read_plan(plan)


def joined(instructions: Sequence[str]) -> str:
    """Several instructions as one request."""
    return "; ".join(text.strip() for text in instructions if text.strip())


def given_regions(size: tuple[int, int], drawn: Drawn, warn: Callable[[str], None]) -> list[Region]:
    """The regions that the user drew, for a picture of `size` (width, height)."""
    from gas.regions.folder import load_regions
    from gas_cli.drawn import parse_box, parse_mask, parse_point

    boxes, points, masks, folder = drawn
    out = [parse_box(text, size, warn=warn) for text in boxes or ()]
    out += [parse_point(text, size) for text in points or ()]
    out += [parse_mask(text, size, warn=warn) for text in masks or ()]
    return out + (load_regions(folder, size, warn=warn) if folder is not None else [])


GROUNDED = "+grounded"


def entrant(name: str) -> tuple[str, bool | None]:
    """The editor that `gas compare --editors` names, and whether it is to be grounded (None: as the settings say)."""
    return (name.removesuffix(GROUNDED), True) if name.endswith(GROUNDED) else (name, None)


def options_for(editor: str, editors: Sequence[str], options: Sequence[Option]) -> list[Option]:
    """Of the options of a command with several `editors`, those that are not another one's."""
    return [option for option in options if option[0] in {None, editor} or option[0] not in editors]


def _tables(
    options: Sequence[Option], settings: Settings, role: str, helpers: Callable[[], Sequence[str]]
) -> dict[str, dict[str, str]]:
    """The options by backend; `helpers` are the editors that the chosen one hands subtasks to, asked where a name is
    none of the chosen."""
    chosen = {each.plural: each.names(settings) for each in CHOSEN}
    in_use = [name for names in chosen.values() for name in names]
    tables: dict[str, dict[str, str]] = {}
    for backend, name, value in options:
        if backend is None:
            if len(chosen[role]) != 1:
                raise UsageError(
                    f"-o {name}=… could belong to any of {', '.join(chosen[role]) or 'no backend'}",
                    f"write -o BACKEND.{name}=…",
                )
            backend = chosen[role][0]
        elif backend not in in_use and backend not in helpers():
            raise UsageError(f"-o {backend}.{name}: {backend!r} is not in use", f"in use: {', '.join(in_use)}")
        tables.setdefault(backend, {})[name] = value
    return tables
