"""Plugins that are broken in every way that came to mind, really installed on the path, beside one that is healthy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import warm_program
from PIL import Image

import gas.backends.probe
import gas.backends.registry
from gas import BackendSpec, Registry, Runtime, hookimpl
from gas.backends.entry_points import find_plugins, missing_packages
from gas.backends.options import Layer
from gas.errors import ModelUnavailable, PluginBroken, UsageError
from gas.interfaces import Editor, Options, Planner
from gas.testing.contracts import sample_image

HEALTHY = """
    from gas import BackendSpec, Edited, Editor, Options, hookimpl

    class Tint(Editor):
        class options_type(Options):
            amount: float = 0.5
        def edit(self, job):
            return Edited(job.image)

    @hookimpl
    def gas_register_editors():
        return [BackendSpec("tint", f"{__name__}:Tint", "tints")]
"""


def install(
    site: Path,
    source: str,
    *,
    distribution: str = "sick",
    plugin: str = "sick_plugin",
    version: str = "1.2",
    entry_points: str | None = None,
    metadata: str = "",
) -> None:
    """Puts a distribution with one module on `site`, as pip would."""
    (site / f"{plugin}.py").write_text(textwrap.dedent(source))
    info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n{metadata}")
    (info / "entry_points.txt").write_text(entry_points or f"[gas]\n{plugin} = {plugin}\n")


def register(target: str = "{module}:Thing", name: str = "thing", role: str = "editors", extra: str = "None") -> str:
    module = target.replace("{module}", "sick_plugin")
    return (
        "from gas import BackendSpec, hookimpl\n@hookimpl\n"
        f"def gas_register_{role}():\n    return [BackendSpec({name!r}, {module!r}, 'does things', extra={extra})]\n"
    )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, for third-party plugins. Each of them is a program that a registry starts."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("GAS_PLUGINS", raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture
def healthy_site(site: Path) -> Path:
    """As `site`, with a healthy plugin in it."""
    install(site, HEALTHY, distribution="healthy", plugin=f"healthy_{site.parent.name.replace('-', '_')}")
    return site


def names(registry: Registry, role: str = "editors") -> list[str]:
    return [spec.name for spec in registry.specs(role)]


def reasons(registry: Registry, distribution: str = "sick") -> list[str]:
    return [fault.reason for fault in registry.broken if fault.distribution == distribution]


# Faults seen when a plugin is looked at

BROKEN = {
    "import error": ("import package_that_is_not_there", "ModuleNotFoundError: No module named 'package_that_is"),
    "syntax error": ("def (:", r"SyntaxError: .* \(sick_plugin.py, line 1\)"),
    "any exception": ("1 / 0", "ZeroDivisionError"),
    "sys.exit": ("import sys; sys.exit(0)", r"exits Python when imported \(sys.exit\(0\)\)"),
    "os._exit": ("import os; os._exit(3)", "ended Python with exit code 3"),
    "crash": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended Python with signal 11"),
    "asks the user": ("input('your name? ')", "EOFError"),
    "module missing": (None, "ModuleNotFoundError: No module named 'sick_plugin'"),
    "wrong hook": (
        "import gas\n@gas.hookimpl\ndef gas_register_editor():\n    return []",
        "unknown hook 'gas_register_editor'; did you mean 'gas_register_editors'",
    ),
    "wrong hook, unmarked": ("def gas_make_editors(): pass", "unknown hook 'gas_make_editors'"),
    "hook not marked": ("def gas_register_editors():\n    return []", "not marked with @gas.hookimpl"),
    "no hook": ("x = 1", "registers nothing"),
    "hook fails": ("import gas\n@gas.hookimpl\ndef gas_register_editors():\n    1 / 0", r"failed: ZeroDivisionError"),
    "hook returns other things": (
        "import gas\n@gas.hookimpl\ndef gas_register_editors():\n    return ['thing']",
        "'thing' is not a BackendSpec",
    ),
    "hook returns nothing": ("import gas\n@gas.hookimpl\ndef gas_register_editors(): pass", "returned None"),
    "hook with arguments": (
        "import gas\n@gas.hookimpl\ndef gas_register_editors(registry):\n    return []",
        "registry",
    ),
    "bad name": (register(name="Two Words"), "'Two Words' must be lower-case"),
    "bad target": (register(target="Thing"), "'Thing' of 'thing' must be 'module:Class'"),
    "no such class": (register(), "'sick_plugin:Thing' names a class that is not there"),
    "no such module": (register(target="not_there:Thing"), "names a module that is not there"),
    "no such class elsewhere": (register(target="colorsys:Thing"), "'colorsys:Thing' names a class that is not there"),
    "no such file": (register(target="gas_editors:no.toml", role="profiles"), "names a file that is not there"),
    "profile that is a class": (register(role="profiles"), "must be of the form 'package:file.toml'"),
    "editor that is a file": (register(target="gas_editors:sd15.toml"), "must be of the form 'module:Class'"),
}


ENDLESS = {
    "endless": (
        "import time\nprint('x')\nwhile True:\n    time.sleep(0.01)",
        r"did not end in 1 s \(stuck at sick_plugin.py, line 4\)",
    ),
    "endless in C": ("import re; re.match('(a+)+$', 'a' * 60 + 'b')", "did not end in 1 s"),
}


@pytest.mark.parametrize(("cases", "seconds"), [(BROKEN, 3), (ENDLESS, 1)], ids=["broken", "endless"])
def test_broken_plugins_are_named_and_stop_nothing_else(
    cases: dict[str, tuple[str | None, str]],
    seconds: float,
    healthy_site: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(gas.backends.probe, "IMPORT_SECONDS", seconds)
    for number, (source, _) in enumerate(cases.values()):
        plugin = f"sick_plugin{number}"
        install(
            healthy_site, (source or "").replace("sick_plugin", plugin), distribution=f"sick-{number}", plugin=plugin
        )
        if source is None:
            (healthy_site / f"{plugin}.py").unlink()
    registry = Registry()
    assert "tint" in names(registry), registry.broken
    assert "thing" not in names(registry)
    faults = {fault.distribution: fault for fault in registry.broken}
    assert len(registry.broken) == len(faults) == len(cases), registry.broken
    others = {}
    for number, (case, (_, expected)) in enumerate(cases.items()):
        fault = faults[f"sick-{number}"]
        assert (fault.version, fault.plugin) == ("1.2", f"sick_plugin{number}")
        if not re.search(expected, fault.reason.replace(fault.plugin, "sick_plugin")):
            others[case] = fault.reason
    assert others == {}
    assert not [name for name in sys.modules if "sick_plugin" in name], "a listing must not import foreign code"
    assert capfd.readouterr().out == ""


def test_good_hooks_of_a_plugin_with_a_bad_one_still_count(site: Path) -> None:
    install(site, HEALTHY.replace('"tint"', '"shade"') + "\n    @hookimpl\n    def gas_register_editr(): pass\n")
    registry = Registry()
    assert "shade" in names(registry)
    assert len(reasons(registry)) == 1


NOISES = ("print('hello')", "import os; os.write(1, b'hello')", "import os; os.system('echo hello')")


def test_prints_at_import_go_nowhere(site: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number, noise in enumerate(NOISES):
        loud = f"loud{number}"
        install(site, f"    {noise}\n" + HEALTHY.replace('"tint"', f'"{loud}"'), distribution=loud, plugin=loud)
    registry = Registry()
    assert {"loud0", "loud1", "loud2"} <= set(names(registry))
    assert not registry.broken
    assert capfd.readouterr().out == ""


def test_process_started_at_import_holds_nothing_up(site: Path) -> None:
    start = "    import subprocess\n    subprocess.Popen(['sleep', '600'])\n"
    install(site, start + HEALTHY.replace('"tint"', '"shade"'))
    registry = Registry()
    assert "shade" in names(registry)
    assert reasons(registry) == []


def test_what_a_plugin_starts_ends_with_it(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gas.backends.probe, "IMPORT_SECONDS", 1.0)
    note = tmp_path / "pid"
    install(
        site,
        f"""
        import subprocess, time
        child = subprocess.Popen(["sleep", "600"])
        open({str(note)!r}, "w").write(str(child.pid))
        time.sleep(600)
        """,
    )
    started = time.monotonic()
    registry = Registry().look_everywhere()
    assert time.monotonic() - started < 15
    assert "did not end" in reasons(registry)[0]
    state = Path(f"/proc/{note.read_text()}/stat")
    if sys.platform == "linux":
        for _ in range(100):
            if not state.exists() or state.read_text().split()[2] == "Z":
                break
            time.sleep(0.05)
        else:
            pytest.fail("the plugin's child still runs")


def test_import_limit_is_three_seconds() -> None:
    assert gas.backends.probe.IMPORT_SECONDS == 3


@pytest.mark.parametrize("entry_points", ["[gas]\nnonsense\n", "[gas]\nsick = not a module\n", "[gas]\n= x\n"])
def test_malformed_entry_points_are_reported(entry_points: str, healthy_site: Path) -> None:
    install(healthy_site, "", entry_points=entry_points)
    registry = Registry()
    assert "tint" in names(registry), registry.broken
    assert "malformed entry point" in reasons(registry)[0]


def test_damaged_metadata_does_not_matter(site: Path) -> None:
    install(site, HEALTHY.replace('"tint"', '"shade"'))
    (site / "sick-1.2.dist-info" / "METADATA").unlink()
    entries = {entry.spec.name: entry for entry in Registry().entries("editors")}
    assert (entries["shade"].plugin.distribution, entries["shade"].plugin.version) == ("sick", "1.2")


def test_first_of_two_installed_versions_counts(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = tmp_path / "later"
    later.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(later)])
    install(site, HEALTHY.replace('"tint"', '"shade"'), version="2.0")
    install(later, HEALTHY.replace('"tint"', '"shade"'), version="1.0")
    found = [p.version for p in find_plugins()[0] if p.distribution == "sick"]
    assert found == ["2.0"]


# Names


def test_builtin_name_cannot_be_taken(site: Path) -> None:
    install(site, register(target="gas_editors:sd15.toml", name="sd15", role="profiles"))
    registry = Registry()
    assert "sd15" in names(registry, "profiles")
    assert registry.find("profiles", "sd15").plugin.builtin
    assert "the name is taken by plugin 'gas_editors' of gas-edit" in reasons(registry)[0]


def test_name_of_two_third_parties_belongs_to_neither(healthy_site: Path) -> None:
    install(healthy_site, HEALTHY)
    registry = Registry()
    assert "tint" not in names(registry)
    assert "also claimed by" in reasons(registry, "sick")[0]
    assert "also claimed by 'sick_plugin' of sick" in reasons(registry, "healthy")[0]
    with pytest.raises(PluginBroken, match="also claimed by") as caught:
        registry.find("editors", "tint")
    assert "GAS_PLUGINS" in caught.value.remedy


def test_unknown_name_suggests_the_nearest(healthy_site: Path) -> None:
    with pytest.raises(UsageError, match="unknown editor 'tnt'; did you mean 'tint'"):
        Registry().load("editors", "tnt")
    with pytest.raises(UsageError, match="unknown role 'editor'; did you mean 'editors'"):
        Registry().specs("editor")


def test_third_parties_are_left_alone_until_needed(healthy_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(gas.backends.registry, "probe", lambda plugins: asked.append(plugins) or [])
    registry = Registry.discover()
    registry.find("profiles", "diorama")
    registry.profile("diorama")
    assert asked == []
    with pytest.raises(UsageError):
        registry.find("editors", "nobody-has-this")
    assert [p.distribution for p in asked[0]] == ["healthy"]


@pytest.mark.parametrize(("chosen", "expected"), [
    ("none", set()), ("0", set()), ("healthy", {"tint"}), ("Sick_Plugin", {"shade"}),
    ("sick,healthy", {"tint", "shade"}),
    ("", {"tint", "shade"}), (None, {"tint", "shade"}),
])  # fmt: skip
def test_environment_chooses_plugins(
    chosen: str | None, expected: set[str], healthy_site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(healthy_site, HEALTHY.replace('"tint"', '"shade"'))
    if chosen is not None:
        monkeypatch.setenv("GAS_PLUGINS", chosen)
    registry = Registry()
    assert {"tint", "shade"} & set(names(registry)) == expected
    assert "diorama" in names(registry, "profiles"), "the toolkit's own are always in"


def test_chosen_plugin_that_is_not_installed_is_reported(site: Path) -> None:
    registry = Registry(plugins="no-such-thing").look_everywhere()
    assert reasons(registry, "no-such-thing") == ["named in GAS_PLUGINS but not installed"]


# Loading


def test_third_party_editor_is_loaded_and_built(healthy_site: Path) -> None:
    editor = Registry().create("editors", "tint", {"amount": "0.25"}, Runtime())
    assert isinstance(editor, Editor)
    assert editor.options.amount == 0.25


def load(site: Path, target_source: str, *, extra: str = "None", metadata: str = "") -> type:
    """Loads the editor `thing`, which is class Thing in a module of its own with this source."""
    name = f"target_{site.parent.name.replace('-', '_')}"
    (site / f"{name}.py").write_text(textwrap.dedent(target_source))
    install(site, register(target=f"{name}:Thing", extra=extra), metadata=metadata)
    return Registry().load("editors", "thing")


def test_missing_package_names_the_extra(site: Path) -> None:
    with pytest.raises(ModelUnavailable, match="thing needs the Python package 'not_there_at_all'") as caught:
        load(site, "import not_there_at_all.part\nclass Thing: pass", extra="'gpu'")
    assert caught.value.remedy == 'pip install "sick[gpu]"'


def test_missing_package_without_an_extra_names_the_package(site: Path) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        load(site, "import not_there_at_all\nclass Thing: pass")
    assert "'not_there_at_all'" in caught.value.remedy


UNKEPT = (
    ("class Thing: pass", "is not a gas.Editor"),
    ("from gas import Editor as Thing", "does not implement edit"),
    ("from gas import Editor\nclass Thing(Editor): pass", "does not implement edit"),
    ("from gas import Planner\nclass Thing(Planner):\n    def plan(self, request): pass", "is not a gas.Editor"),
    ("from os import not_there\nclass Thing: pass", "cannot be imported: cannot import name 'not_there'"),
    ("import sys; sys.exit('bye')\nclass Thing: pass", "failed: SystemExit: bye"),
    ("1 / 0\nclass Thing: pass", "failed: ZeroDivisionError"),
    ("if 0:\n    class Thing: pass", "cannot be loaded: module .* has no attribute 'Thing'"),
    (
        "from gas import Editor\nclass Thing(Editor):\n    options_type = dict\n    def edit(self, job): pass",
        "options_type is not a subclass of gas.Options",
    ),
    (
        "from gas import Editor, Options\nclass O(Options):\n    preset: str = ''\n"
        "class Thing(Editor):\n    options_type = O\n    def edit(self, job): pass",
        "has an option named 'preset', which is reserved",
    ),
)  # fmt: skip


def test_class_that_does_not_keep_its_promise(site: Path) -> None:
    specs = [f"BackendSpec('thing{i}', 'unkept{i}:Thing', 'does things')" for i in range(len(UNKEPT))]
    hook = f"def gas_register_editors():\n    return [{', '.join(specs)}]\n"
    install(site, f"from gas import BackendSpec, hookimpl\n@hookimpl\n{hook}")
    for number, (source, _) in enumerate(UNKEPT):
        (site / f"unkept{number}.py").write_text(source)
    registry = Registry()
    for number, (_, reason) in enumerate(UNKEPT):
        with pytest.raises(PluginBroken, match=reason) as caught:
            registry.load("editors", f"thing{number}")
        assert "sick 1.2" in caught.value.message
        assert caught.value.exit_code == 9


def test_prints_of_a_loaded_module_go_to_standard_error(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(site, "print('hello')\nfrom gas import Editor\nclass Thing(Editor):\n    def edit(self, job): pass")
    assert capsys.readouterr() == ("", "hello\n")


def test_failing_constructor_names_the_plugin(site: Path) -> None:
    source = (
        "from gas import Editor\nclass Thing(Editor):\n    def __init__(self, *a): 1 / 0\n    def edit(self, job): pass"
    )
    load(site, source)
    with pytest.raises(PluginBroken, match=r"sick 1.2.*'thing': failed: ZeroDivisionError"):
        Registry().create("editors", "thing", {}, Runtime())


def test_bug_of_a_builtin_is_not_disguised(site: Path) -> None:
    registry = Registry.discover()
    with pytest.raises(ZeroDivisionError), registry.calling("profiles", "diorama"):
        _ = 1 / 0
    with pytest.raises(ModelUnavailable) as caught, registry.calling("profiles", "diorama"):
        import not_there_at_all  # noqa: F401
    assert caught.value.remedy == 'pip install "gas-edit[diffusion]"'
    with pytest.raises(UsageError, match="as it is"), registry.calling("profiles", "diorama"):
        raise UsageError("as it is")


def test_options_of_a_namesake_in_another_role_are_left_to_it() -> None:
    registry, values = Registry.discover(), {"table": {"otherwise": "dds"}, "look_seconds": 2}
    assert registry.settle("planners", "auto", values).options.model_dump()["look_seconds"] == 2
    assert registry.settle("editors", "auto", values).options.model_dump()["table"] == values["table"]
    for role in ("planners", "editors"):
        with pytest.raises(UsageError, match="auto has no option 'nonsense'"):
            registry.settle(role, "auto", {"nonsense": 1})


def test_missing_packages_of_an_extra(site: Path) -> None:
    metadata = (
        "Requires-Dist: numpy\nRequires-Dist: not-there (>=1); extra == 'gpu'\n"
        'Requires-Dist: numpy>=1; extra == "gpu"\nRequires-Dist: other-thing; extra == "cpu"\n'
        "Requires-Dist: for-old-pythons; python_version < '3' and extra == 'gpu'\n"
    )
    install(site, register(target="gas.interfaces:Editor", extra="'gpu'"), metadata=metadata)
    assert missing_packages("sick", "gpu") == ["not-there"]
    (entry,) = [e for e in Registry().entries("editors") if e.spec.name == "thing"]
    assert (entry.missing, entry.install) == (["not-there"], 'pip install "sick[gpu]"')


def test_programs_own_backend_needs_no_packaging(site: Path) -> None:
    class Mine(Planner):
        def plan(self, request): ...  # type: ignore[no-untyped-def]

    own = SimpleNamespace(__name__="own", Mine=Mine)

    @hookimpl
    def gas_register_planners() -> list[BackendSpec]:
        return [BackendSpec("mine", "own_module:Mine", "my own")]

    own.gas_register_planners = gas_register_planners
    sys.modules["own_module"] = own  # type: ignore[assignment]
    own.__spec__ = SimpleNamespace(name="own_module", submodule_search_locations=None)
    try:
        assert Registry().add(own).load("planners", "mine") is Mine
    finally:
        del sys.modules["own_module"]


def test_options_reach_the_backend_in_layers(healthy_site: Path) -> None:
    registry = Registry()
    settled = registry.settle("editors", "tint", {}, [Layer("gas.toml", {"amount": 0.1})])
    assert settled.options.amount == 0.1
    assert settled.origins == {"amount": "gas.toml"}
    assert registry.settle("editors", "tint", {"amount": 0.9}, [Layer("x", {"amount": 0.1})]).options.amount == 0.9
    with pytest.raises(UsageError, match=r"tint has no option 'amuont' .*did you mean 'amount'"):
        registry.create("editors", "tint", {"amuont": 1}, Runtime())


def test_every_first_party_backend_can_be_loaded() -> None:
    registry = Registry(plugins="none").look_everywhere()
    assert [str(fault) for fault in registry.broken] == []
    for role in ("planners", "grounders", "editors"):
        for entry in registry.entries(role):
            if not entry.missing:
                assert issubclass(registry.load(role, entry.spec.name).options_type, Options)
    for spec in registry.specs("profiles"):
        profile = registry.profile(spec.name)
        for role, name in [("planners", profile.planner), ("editors", profile.editor)]:
            assert registry.find(role, name).plugin.builtin


# Everything at once, through the command line


def gas_command(*arguments: str, site: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "gas_cli", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=240,
        cwd=site.parent,
    )


def test_command_line_survives_them_all(healthy_site: Path) -> None:
    cases = ("import error", "syntax error", "sys.exit", "os._exit", "endless", "wrong hook", "no such class")
    for i, case in enumerate(cases):
        install(healthy_site, (BROKEN | ENDLESS)[case][0] or "", distribution=f"sick-{i}", plugin=f"sick_{i}")
    install(
        healthy_site, "    print('hello')\n" + HEALTHY.replace('"tint"', '"shade"'), distribution="loud", plugin="loud"
    )
    install(healthy_site, HEALTHY.replace('"tint"', '"dds"'), distribution="greedy", plugin="greedy")
    listed = gas_command("backends", "--json", site=healthy_site)
    assert listed.returncode == 0, listed.stderr
    data = json.loads(listed.stdout)["data"]
    assert {"tint", "shade", "dds"} <= {backend["name"] for backend in data["backends"]}
    broken = {fault["distribution"]: fault["reason"] for fault in data["broken"]}
    assert set(broken) == {f"sick-{i}" for i in range(len(cases))} | {"greedy"}
    assert "did not end in 3 s" in broken[f"sick-{cases.index('endless')}"]
    assert "name is taken" in broken["greedy"]


def test_builtin_edit_does_not_even_look_at_third_parties(site: Path, tiny_sd: Path) -> None:
    marker = site.parent / "imported"
    install(site, f"open({str(marker)!r}, 'w').close()\nwhile True:\n    pass")
    Image.fromarray(sample_image(128, 128)).save(site.parent / "in.png")
    helped = gas_command("edit", "--help", site=site)
    edited = warm_program.gas(
        "edit", "in.png", "change the red box into a blue ball", "--profile", "sd15", "--editor", "dds", "--model",
        tiny_sd, "--box", "red box=30,30,90,90", "-o", "out.png", "-o", "steps=2",
        cwd=site.parent, env={"PYTHONPATH": str(site)},
    )  # fmt: skip
    assert helped.returncode == 0, helped.stderr
    assert edited.returncode == 0, edited.stderr
    assert (site.parent / "out.png").exists()
    assert not marker.exists()
