from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

import gas.backends.registry
from gas import BackendSpec, Options, Registry, Runtime
from gas.backends.spec import BrokenPlugin, Contents, Plugin
from gas.errors import PluginBroken, UsageError
from gas.settings import catalogue
from gas.settings.settings import Settings
from gas.testing import FakeEditor
from gas_cli import doctor
from gas_cli.listing import print_backends, print_show, show_data
from gas_shell.words import setting_words

STRANGER = Plugin("tint", "gas_tint", "gas-tint", "0.1")
SPEC = BackendSpec("tint", "tests_tint:Tint", "tints [bold]things[/bold]", "gpu", "AGPL-3.0", "OpenRAIL-M")


class TintOptions(Options):
    amount: float = Field(0.5, ge=0, lt=1, description="share of the colour")
    mode: Literal["mix", "screen"] = "mix"
    size: tuple[int, int] | None = None
    sharp: bool = False
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"strong": {"amount": 0.9}}


class Tint(FakeEditor):
    options_type = TintOptions


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Registry:
    """The toolkit's own backends, a stranger's editor, and a broken plugin."""
    import sys
    from types import SimpleNamespace

    monkeypatch.setenv("GAS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("GAS_PLUGINS", "GAS_EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "tests_tint", SimpleNamespace(Tint=Tint))
    broken = BrokenPlugin("sick", "1", "sick", "SyntaxError: [red]no[/red]", "editors", "sick-editor")
    found = [Contents(STRANGER, (("editors", SPEC),)), Contents(Plugin("sick", "sick", "sick", "1"), broken=(broken,))]
    monkeypatch.setattr(gas.backends.registry, "probe", lambda plugins: found)
    monkeypatch.setattr(
        gas.backends.registry, "missing_packages", lambda dist, extra: ["cuda-thing"] if extra == "gpu" else []
    )
    return Registry.discover()


def settings(registry: Registry, **flags: Any) -> Settings:
    return Settings.load(
        flags,
        find_profile=registry.profile,
        default_profile=lambda model: catalogue.default_profile(registry, model=model),
        written=setting_words,
    )


def test_table_shows_state_origin_and_licence(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    print_backends(registry)
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if " tint " in line]
    assert 'needs: pip install "gas-tint[gpu]"' in line
    assert "tints [bold]things[/bold] (gas-tint 0.1)" in line, "a plugin's text is no markup"
    assert "AGPL-3.0, weights: OpenRAIL-M" in line
    for name in ("rules", "ground-a-score", "diorama", "sd15"):
        assert f" {name} " in out
    assert "broken: plugin 'sick' of sick 1: editors 'sick-editor': SyntaxError: [red]no[/red]" in err
    assert "sick" not in out


def test_table_of_one_role(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    print_backends(registry, "profiles")
    out = capsys.readouterr().out
    assert "diorama" in out and "tint" not in out


def test_json_is_one_envelope(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    print_backends(registry, "editors", as_json=True)
    out, err = capsys.readouterr()
    assert err == ""
    envelope = json.loads(out)
    assert envelope["gas"] == 1
    tint = envelope["data"]["backends"][-1]
    assert (tint["name"], tint["missing"], tint["licence"]) == ("tint", ["cuda-thing"], "AGPL-3.0")
    assert envelope["data"]["broken"][0]["distribution"] == "sick"


def test_show_lists_options_with_value_and_origin(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    (shown,) = show_data(registry, "tint", settings(registry, options={"tint": {"preset": "strong", "mode": "screen"}}))
    options = {option["name"]: option for option in shown["options"]}
    assert (options["amount"]["value"], options["amount"]["default"]) == (0.9, 0.5)
    assert options["amount"]["origin"] == "preset strong"
    assert (options["mode"]["value"], options["mode"]["origin"]) == ("screen", "-o")
    assert options["sharp"]["origin"] == "default"
    assert options["amount"]["type"] == "number ≥ 0 < 1"
    assert options["mode"]["type"] == "one of mix, screen"
    assert options["size"]["type"] == "(integer, integer) or none"
    assert options["sharp"]["type"] == "true or false"
    print_show(registry, "tint", settings(registry))
    out = capsys.readouterr().out
    assert "share of the colour" in out
    assert "-o preset=strong: amount=0.9" in out
    assert 'missing: cuda-thing; pip install "gas-tint[gpu]"' in out


def test_show_as_json(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("tint", "sd15", "rules"):
        print_show(registry, name, settings(registry), as_json=True)
        assert json.loads(capsys.readouterr().out)["data"][0]["name"] == name


def test_show_profile(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    print_show(registry, "sd15", settings(registry))
    assert "stable-diffusion-v1-5/stable-diffusion-v1-5" in capsys.readouterr().out


def test_show_unknown_or_broken(registry: Registry) -> None:
    with pytest.raises(UsageError, match="unknown backend 'tnt'; did you mean 'tint'"):
        show_data(registry, "tnt", settings(registry))
    with pytest.raises(PluginBroken, match="SyntaxError"):
        show_data(registry, "sick-editor", settings(registry))


# gas doctor


def test_doctor_begins_with_a_verdict() -> None:
    registry = Registry(plugins="none")
    lacking = doctor.Checked("profile retouch", "missing", "x needs y", "pip install y")
    said = doctor.verdict(registry, [lacking])
    assert (said.state, said.value, said.remedy) == ("missing", "no", "Next: pip install y")
    said = doctor.verdict(registry, [lacking, doctor.Checked("profile sd15", "ok", "complete")])
    assert said.state == "ok" and "--profile sd15" in said.value
    toy = doctor.verdict(registry, [doctor.Checked("profile diorama", "ok", "complete")])
    assert toy.value == "no", "the diorama edits no photographs"


def findings(registry: Registry, **flags: Any) -> dict[str, doctor.Checked]:
    chosen = settings(registry, **flags)
    return {f.topic: f for f in doctor.findings(registry, chosen, Runtime(device=chosen.device, dtype=chosen.dtype))}


def test_doctor_reads_and_reports(registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GAS_EDTOR", "x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.toml").write_text("editor = 'no-such-editor'")
    found = findings(registry, dtype="fp32", device="cpu")
    assert found["device"].value.startswith("cpu")
    assert found["dtype"].value.startswith("float32")
    assert found["setting device"].value == "cpu (from --device)"
    assert found["environment"].value == "GAS_EDTOR is no setting; did you mean GAS_EDITOR?"
    assert found["HF_HUB_OFFLINE"].value == "1"
    assert "SyntaxError" in found["plugin"].value and found["plugin"].state == "broken"
    assert found["editor tint"].value == "needs cuda-thing"
    assert found["profile mine"].state == "broken" and "no-such-editor" in found["profile mine"].value
    assert found["disk, this folder"].value.endswith("GB free")


def test_doctor_says_which_models_are_missing_and_how_to_get_them(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.toml").write_text(
        "editor = 'dds'\n[[models]]\nid = 'some/model'\nfiles = ['a.json', 'b.*']\nsize_mb = 1500\nlicence = 'MIT'\n"
        "gated = true\n[[models]]\nid = 'other/model'\nfiles = ['c.json']\nsize_mb = 12\n"
    )
    found = findings(registry)["profile mine"]
    assert (found.state, found.remedy) == ("missing", "gas models pull mine")
    assert found.value == "models: some/model (1.5 GB, MIT, gated), other/model (12 MB)"
    for name, files in (("some", ["a.json", "b.safetensors"]), ("other", ["c.json"])):
        place = tmp_path / "hub" / f"models--{name}--model"
        (place / "refs").mkdir(parents=True)
        (place / "refs" / "main").write_text("abc")
        (place / "snapshots" / "abc").mkdir(parents=True)
        for file in files:
            (place / "snapshots" / "abc" / file).write_text("{}")
    assert findings(registry)["profile mine"] == doctor.Checked("profile mine", "ok", "complete")


def test_doctor_says_how_much_memory_a_profile_needs(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    mine = tmp_path / "profiles" / "mine.toml"
    mine.write_text("editor = 'dds'\nmemory_gb = { all = 37, offload = 27.5, lowest = 4 }")
    said = "memory of the GPU, about: 37 GB (all), 27.5 GB (offload), 4 GB (lowest)"
    assert findings(registry)["profile mine"].value == f"complete; {said}"
    mine.write_text(mine.read_text() + "\n[[models]]\nid = 'some/model'")
    found = findings(registry)["profile mine"]
    assert found.state == "missing" and found.value.startswith("models: some/model") and found.value.endswith(said)


def test_doctor_names_the_extra_that_a_profile_needs(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.toml").write_text("editor = 'tint'")
    found = findings(registry)["profile mine"]
    assert found == doctor.Checked("profile mine", "missing", "tint needs cuda-thing", 'pip install "gas-tint[gpu]"')


def test_doctor_names_missing_local_weights(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.toml").write_text("editor = 'dds'\n[[models]]\nid = './nowhere'")
    found = findings(registry)["profile mine"]
    assert (found.state, found.value) == ("missing", "model './nowhere' is not there")
    assert found.remedy == "reinstall it, or correct its path"


def test_doctor_with_a_device_that_is_not_there(registry: Registry) -> None:
    found = findings(registry, device="cuda:99")["device"]
    assert found.state == "broken" and "'cuda:99' is not there" in found.value


def test_doctor_prints_for_people_and_machines(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    doctor.print_doctor(registry, settings(registry), Runtime(), as_json=True)
    out, err = capsys.readouterr()
    assert err == ""
    data = json.loads(out)["data"]
    assert {"topic", "state", "value", "remedy"} == set(data[0])
    doctor.print_doctor(registry, settings(registry), Runtime())
    out, err = capsys.readouterr()
    assert all(finding["topic"] in out for finding in data)
    assert "need attention" in err


@contextmanager
def server(body: bytes, status: int = 200) -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_port
        running.shutdown()


@pytest.mark.parametrize(("body", "status", "state", "value"), [
    (b'{"models": [{"name": "llava:7b"}]}', 200, "ok", "with llava:7b"),
    (b'{"models": []}', 200, "ok", "with no models"),
    (b"<html>", 200, "note", "is not Ollama"),
    (b"[1]", 200, "note", "is not Ollama"),
    (b"", 404, "note", "nothing answers"),
])  # fmt: skip
def test_doctor_asks_ollama(
    body: bytes, status: int, state: str, value: str, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(body, status) as port:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{port}")
        found = doctor.ollama()
    assert found.state == state and value in found.value


@pytest.mark.parametrize(("host", "state", "value"), [
    ("127.0.0.1:9", "note", "nothing answers on port 9"),
    ("http://10.255.255.1:11434", "note", "on another machine, 10.255.255.1:11434; not asked"),
    ("127.0.0.1:nonsense", "broken", "is malformed"),
])  # fmt: skip
def test_doctor_asks_no_other_machine(host: str, state: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", host)
    found = doctor.ollama()
    assert found.state == state and value in found.value
