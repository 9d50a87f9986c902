"""`gas bench`: every suite that is registered is a command, with its own options."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from pydantic import Field

from gas import BackendSpec, Options, Registry, Suite, hookimpl
from gas.errors import ResultRefused
from gas.suites import SuiteJob, SuiteReport
from gas_cli.app import app
from gas_cli.run import run


class CountOptions(Options):
    how_many: int = Field(2, ge=1, description="numbers to add")
    weights: tuple[float, ...] = Field((), description="of each")
    twice: bool = Field(False, description="add them twice")
    device: str = Field("abacus", description="what is counted on")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"long": {"how_many": 100}}


class Sum(SuiteReport):
    def __init__(self, total: float, out: Path | None) -> None:
        self.total, self.out = total, out

    def tables(self) -> str:
        return f"the sum is {self.total:g}"

    def as_json(self) -> dict[str, float]:
        return {"sum": self.total}

    @property
    def notes(self) -> list[str]:
        return [f"written to {self.out}"] if self.out else []


class Count(Suite[CountOptions]):
    options_type = CountOptions
    seen: ClassVar[list[Count]] = []

    def run(self, job: SuiteJob) -> Sum:
        self.seen.append(self)
        options = self.options
        if options.how_many > 1000:
            raise ResultRefused("too many to count", "count fewer")
        job.progress("counting", 0, 0)
        total = sum(options.weights or range(options.how_many)) * (2 if options.twice else 1)
        job.progress("counted", 1, 1)
        return Sum(total, job.out)


@hookimpl
def gas_register_suites() -> list[BackendSpec]:
    return [BackendSpec("count", f"{__name__}:Count", "adds numbers up")]


class Said:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def gas(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    suites = SimpleNamespace(gas_register_suites=gas_register_suites)
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: Registry(plugins="none").add(suites)))
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gas", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(app)
        return Said(int(ended.value.code or 0), *capfd.readouterr())

    return call


def test_suites_are_listed(gas: Callable[..., Said]) -> None:
    listed = gas("bench")
    assert listed.code == 0
    for name in ("diorama", "speed", "count"):
        assert f" {name} " in listed.out
    assert "adds numbers up" in listed.out and "adds numbers up" in gas("bench", "--help").out
    assert "count" in gas("backends", "suites").out


def test_a_strangers_suite_is_a_command(gas: Callable[..., Said]) -> None:
    assert gas("bench", "count").out == "the sum is 1\n"
    assert gas("bench", "count", "--how-many", "5").out == "the sum is 10\n"
    assert gas("bench", "count", "--weights", "1,2.5", "--twice").out == "the sum is 7\n"
    said = gas("bench", "count", "-o", "how_many=4", "-o", "count.twice=yes", "-o", "sum.txt")
    assert said.out == "the sum is 12\n" and "written to sum.txt" in said.err
    assert gas("bench", "count", "-o", "preset=long").out == "the sum is 4950\n"
    said = gas("bench", "count", "--json")
    assert json.loads(said.out) == {"gas": 1, "command": "bench count", "data": {"sum": 1.0}, "warnings": []}


def test_its_options_are_explained(gas: Callable[..., Said]) -> None:
    said = gas("bench", "count", "--help").out
    assert "--how-many" in said and "integer ≥ 1" in said and "numbers to add; default: 2" in said
    assert "--twice" in said and "--no-twice" in said
    shown = gas("backends", "show", "count").out
    assert "how_many" in shown and "preset=long" in shown


def test_an_option_with_the_name_of_a_common_one_is_set_by_o(gas: Callable[..., Said]) -> None:
    gas("bench", "count", "--device", "cpu", "-o", "device=fingers")
    suite = Count.seen[-1]
    assert (suite.options.device, suite.runtime.device) == ("fingers", "cpu")


def test_options_may_stand_in_a_settings_file(gas: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "gas.toml").write_text("[options.count]\nhow_many = 3\n")
    assert gas("bench", "count").out == "the sum is 3\n"
    assert gas("bench", "count", "--how-many", "2").out == "the sum is 1\n"


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (("cuont",), 2, "unknown suite 'cuont'; did you mean 'count'?"),
    (("count", "--how-many", "0"), 2, "option how_many='0' of count (--how-many): input should be greater than"),
    (("count", "--how-mny", "1"), 2, "--how-mny"),
    (("count", "-o", "speed.repeat=1"), 2, "'speed' is not in use"),
    (("count", "-o", "many=1"), 2, "count has no option 'many' (-o)"),
    (("count", "--how-many", "2000"), 11, "too many to count"),
])  # fmt: skip
def test_what_is_wrong_is_named(arguments: tuple[str, ...], code: int, words: str, gas: Callable[..., Said]) -> None:
    said = gas("bench", *arguments)
    assert said.code == code and words in said.err and "Traceback" not in said.err


def test_flags_of_the_suites_that_come_with_it(gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from gas_diorama.bench import bench, speed

    asked: list[dict[str, Any]] = []

    def remember(*arguments: Any, **named: Any) -> Sum:
        asked.append({"editors": arguments[0] if arguments else None, **named})  # of speed: its parts
        return Sum(0, named.get("out"))

    monkeypatch.setattr(bench, "run", remember)
    monkeypatch.setattr(speed, "run", remember)
    flags = ("--editors", "dds, cds", "--edits", "4", "--full", "--resume", "--profile", "sd15", "--device", "cpu")
    assert gas("bench", "diorama", *flags, "--dtype", "fp32", "-o", "here", "--json").code == 0
    told = asked.pop()
    assert told["editors"] == ("dds", "cds") and told["out"] == Path("here") and told["profile"] == "sd15"
    assert told["full"] is True and told["resume"] is True and len(told["chosen"]) > 4
    assert (told["runtime"].device, told["runtime"].dtype) == ("cpu", "fp32")
    assert gas("bench", "diorama").code == 0
    told = asked.pop()
    assert told["out"] == Path("runs/bench") and told["profile"] == "diorama" and told["chosen"] is None
    assert gas("bench", "speed", "--repeat", "5", "-o", "figures.json").code == 0
    told = asked.pop()
    assert told["repeats"] == 5 and told["editors"] == speed.PARTS
    assert gas("bench", "speed", "--parts", "demo, backbones").code == 0
    assert asked.pop()["editors"] == ("demo", "backbones")
    assert json.loads(Path("figures.json").read_text()) == {"sum": 0}
    assert gas("bench", "speed", "-o", "figures.json").code == 2, "figures are not replaced"
