from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache

import pytest
import typer
from places import ROOT

from gas import GasError, Registry
from gas.backends.roles import CHOSEN
from gas.errors import Interrupted, PlanUnreadable
from gas.remedies import Command, Given, Install, Kind, Option, Remedy, Setting, install, python_words, remedy_of
from gas_cli.lazy import LazyGroup

FLAG = re.compile(r"(?<![\w-])(?:--[a-z]|-o(?![\w-]))")
# Programs with command lines of their own.
PROGRAMS = (
    "gas/testing/jpeg/__main__.py",
    "gas/batch/simulate.py",
    "plugins/gas_diorama/train/",
    "plugins/gas_diorama/bench/colours.py",
    "plugins/gas_diorama/bench/judge.py",
    "plugins/gas_diorama/shipped.py",
    "plugins/gas_editors/retouch/trial/",
)


@pytest.mark.parametrize(
    "kind, words",
    [
        (Setting("dtype", "fp32"), 'dtype="fp32"'),
        (Setting("seed", 3), "seed=3"),
        (Setting("grounded", True), "grounded=True"),
        (Setting("grounders", ("sam",)), 'grounders=("sam",)'),
        (Setting("grounders", ("grounding-dino", "sam")), 'grounders=("grounding-dino", "sam")'),
        (Option({"steps": 60}, "dds"), 'options={"dds": {"steps": 60}}'),
        (Option({"model": "a/b", "x": True}, "gligen"), 'options={"gligen": {"model": "a/b", "x": True}}'),
        (Option({"steps": None}, "dds"), 'options={"dds": {"steps": ...}}'),
        (Given("dog", ("box",)), 'regions=[gas.Region("dog", box=(x0, y0, x1, y1))]'),
        (Given('the "dog"', ("mask",)), "regions=[gas.Region('the \"dog\"', mask=...)]"),
        (Given("it's", ("box",)), 'regions=[gas.Region("it\'s", box=(x0, y0, x1, y1))]'),
        (Given(), "regions=[gas.Region(..., box=(x0, y0, x1, y1))] or mask=..."),
    ],
)  # fmt: skip
def test_python_words_are_arguments(kind: Kind, words: str) -> None:
    assert python_words(kind) == words
    ast.parse(f"gas.edit(picture, {words.removesuffix(' or mask=...')})")


@pytest.mark.parametrize(
    "kind, words",
    [
        (Setting("resume"), "resume"),
        (Setting("input", python="photo"), "photo"),
        (Option({"steps": 60}), "the option steps=60"),
        (Option({"model": "x", "allow_pickle": True}), 'the options model="x" and allow_pickle=True'),
        (Option({"context": None}), "the option context"),
        (Command("models pull", "sd15"), "gas models pull sd15"),
        (Command("models pull", "two words"), "gas models pull 'two words'"),
        (Install("gas-edit[diffusion]"), 'pip install "gas-edit[diffusion]"'),
        (Install("timm", upgrade=True), "pip install -U timm"),
    ],
)
def test_python_words_where_there_is_no_argument(kind: Kind, words: str) -> None:
    assert python_words(kind) == words


def test_an_error_words_its_remedy_for_python_and_keeps_it_as_data() -> None:
    remedy = Remedy("use_fp32", "try {dtype}, or {n} steps", dtype=Setting("dtype", "fp32"), n=3)
    error = GasError("not finite", remedy)
    assert (error.remedy, error.hint) == ('try dtype="fp32", or 3 steps', remedy)
    assert str(error) == 'not finite\ntry dtype="fp32", or 3 steps'
    assert PlanUnreadable("unread", remedy).remedy == Interrupted("stopped", remedy).remedy == error.remedy


def test_a_plain_sentence_is_a_remedy_whatever_it_holds() -> None:
    error = GasError("broken", "write {braces} and {0}")
    assert (error.remedy, error.hint.code, error.hint.arguments()) == ("write {braces} and {0}", "", {})
    assert str(GasError("broken")) == "broken" and not GasError("broken").hint.template


def test_text_in_a_gap_is_not_a_template() -> None:
    assert str(Remedy("known", "known: {names}", names="{names} {more}")) == "known: {names} {more}"


@pytest.mark.parametrize("template", ["try {dtype} or {other}", "try something"])
def test_gaps_and_parts_must_agree(template: str) -> None:
    with pytest.raises(ValueError, match="remedy code"):
        Remedy("code", template, dtype=Setting("dtype"))


def test_arguments_are_values_of_json() -> None:
    remedy = Remedy(
        "all",
        "{a} {b} {c} {d} {e} {f}",
        a=Setting("dtype", "fp32"),
        b=Option({"steps": 60}, "dds"),
        c=Given("dog", ("box",)),
        d=Command("models pull", "sd15"),
        e=Install("timm"),
        f="text",
    )
    assert json.loads(json.dumps(remedy.arguments())) == {
        "a": {"kind": "setting", "name": "dtype", "value": "fp32", "python": ""},
        "b": {"kind": "option", "values": {"steps": 60}, "backend": "dds"},
        "c": {"kind": "given", "phrase": "dog", "how": ["box"]},
        "d": {"kind": "command", "name": "models pull", "arguments": ["sd15"]},
        "e": {"kind": "install", "requirement": "timm", "upgrade": False},
        "f": "text",
    }


def test_options_get_the_backend_that_the_error_comes_from() -> None:
    remedy = Remedy("more", "{own} {other}", own=Option({"steps": 60}), other=Option({"model": "x"}, "clipseg"))
    registry = Registry.discover()
    with pytest.raises(GasError) as caught, registry.calling("editors", "dds"):
        raise GasError("too few", remedy)
    assert caught.value.remedy == 'options={"dds": {"steps": 60}} options={"clipseg": {"model": "x"}}'


def test_secrets_can_be_taken_out_of_what_is_text() -> None:
    remedy = Remedy("known", "known: {names}, {dtype}", names="a, secret", dtype=Setting("dtype", "fp32"))
    assert str(remedy.with_text(lambda text: text.replace("secret", "…"))) == 'known: a, …, dtype="fp32"'
    assert str(remedy_of("the secret {x}").with_text(str.upper)) == "THE SECRET {X}"


def test_advice_to_install_has_a_code_of_its_own() -> None:
    assert (install("timm").code, install("timm", upgrade=True).code) == ("install", "upgrade")


def _sources(roots: Sequence[str] = ("gas", "plugins")) -> Iterator[tuple[str, ast.Module]]:
    for root in roots:
        for path in sorted((ROOT / root).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def _texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of the string constants that are no docstrings, of f-strings with `x` for what is put in."""
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):  # from the outside in
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield node.lineno, "".join(p.value if isinstance(p, ast.Constant) else "x" for p in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def _naming_flags(tree: ast.Module) -> list[tuple[int, str]]:
    return [(line, text) for line, text in _texts(tree) if FLAG.search(text)]


def test_no_message_of_the_core_or_a_plugin_names_a_flag() -> None:
    found = {path: _naming_flags(tree) for path, tree in _sources() if not path.startswith(PROGRAMS)}
    assert not any(found.values()), {path: texts for path, texts in found.items() if texts}


@pytest.mark.parametrize(
    "source",
    ['f("try --dtype fp32")', 'f("-o steps=60")', 'f(f"-o {name}=3")', 'f(f"{a} or --{name}")', 'x = ("a", "use -o")'],
)
def test_what_counts_as_naming_a_flag(source: str) -> None:
    assert _naming_flags(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    ['"""of --dtype"""', 'f("pip install -U x")', 'a.replace("/", "--")', 'f("x-o y", "a -> b")', 'f(f"{a}--{b}")'],
)
def test_what_does_not(source: str) -> None:
    assert not _naming_flags(ast.parse(source))


def test_what_is_listed_of_backends_and_their_options_names_no_flag() -> None:
    registry = Registry.discover()
    shown = {}
    for role in ("planners", "grounders", "editors"):
        for entry in registry.entries(role):
            fields = registry.load(role, entry.spec.name).options_type.model_fields
            texts = [entry.spec.summary, *(field.description or "" for field in fields.values())]
            shown[entry.spec.name] = [text for text in texts if FLAG.search(text)]
    assert len(shown) > 15 and not any(shown.values()), shown


@cache
def _typed_command() -> re.Pattern[str]:
    from gas_cli.app import app

    group = typer.main.get_command(app)
    found = {name: group.load(name) for name in group.commands}  # type: ignore[attr-defined]
    inner = {word for one in found.values() for word in getattr(one, "commands", ())} | {"show"}
    return re.compile(rf"\bgas ({'|'.join(found)})( ({'|'.join(inner)}|--[a-z-]+))* [{{\0]|\bpip install (-U )?[{{\0]")


def _typed_commands(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Messages that spell out a command with a gap in it, for a name or a path that nobody quotes."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
            skipped |= {id(part) for part in node.values}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            text = node.value
        else:
            continue
        if _typed_command().search(text):
            yield node.lineno, text


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('f("gas models pull " f"{name}")', True),
        ('f(f"get it: gas models pull --repair {name}")', True),
        ('Remedy("x", "see: gas backends show {name}", name=name)', True),
        ('f(f"gas edit {path}")', True),
        ('f(f"pip install -U {name}")', True),
        ('f("gas doctor")', False),
        ('f(f"{name} needs gas models: {x}")', False),
    ],
)
def test_what_counts_as_a_command_with_a_gap(source: str, found: bool) -> None:
    assert bool(list(_typed_commands(ast.parse(source)))) == found


def test_commands_with_names_in_them_are_quoted_by_one_place() -> None:
    """`gas.remedies.Command` and `Install` quote; what spells a command out itself would not."""
    sources = [*_sources(), *_sources(("cli",))]
    found = {path: list(_typed_commands(tree)) for path, tree in sources if path != "gas/remedies.py"}
    assert not any(found.values()), {path: texts for path, texts in found.items() if texts}


def test_every_setting_that_a_remedy_names_is_a_flag() -> None:
    from gas_cli.app import app
    from gas_shell.words import flag_words

    flags = set(_flags(typer.main.get_command(app)))
    said = [
        node.args[0]
        for _, tree in _sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Setting"
    ]
    named = {name.value for name in said if isinstance(name, ast.Constant)}
    assert {ast.unparse(name) for name in said if not isinstance(name, ast.Constant)} <= {
        "PLANNERS.name",
        "role.name",
        "role.setting",
    }
    named |= {role.setting for role in CHOSEN}
    assert {"dtype", "grounded", "grounders", "save_reply"} <= named
    words = {flag_words(Setting(name, ("x",) if name == "grounders" else None)).split()[0] for name in named}
    assert words <= flags, words - flags


def _flags(command: object) -> Iterator[str]:
    for parameter in command.params:  # type: ignore[attr-defined]
        yield from (*parameter.opts, *parameter.secondary_opts)
    for name, inner in getattr(command, "commands", {}).items():
        yield from _flags(command.load(name) if isinstance(command, LazyGroup) else inner)
