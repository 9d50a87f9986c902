from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from typing import Any

import pytest

from gas.errors import GasError
from gas.remedies import Command, Given, Install, Kind, Option, Remedy, Setting
from gas_cli.flags import split_o
from gas_cli.output import print_error
from gas_cli.wording import remedy
from gas_shell.words import flag_words, setting_words


@pytest.mark.parametrize(
    "kind, words",
    [
        (Setting("dtype", "fp32"), "--dtype fp32"),
        (Setting("seed", 3), "--seed 3"),
        (Setting("resume"), "--resume"),
        (Setting("save_layer", python="gas.run.layer.edit_layer(result)"), "--save-layer"),
        (Setting("grounded", True), "--grounded"),
        (Setting("grounded", False), "--no-grounded"),
        (Setting("grounders", ("grounding-dino", "sam")), "--grounder grounding-dino --grounder sam"),
        (Option({"steps": 60}), "-o steps=60"),
        (Option({"model": "a/b", "allow_pickle": True}, "gligen"), "-o gligen.model=a/b -o gligen.allow_pickle=true"),
        (Option({"context": None}, "ollama"), "-o ollama.context"),
        (Given("dog", ("box",)), "--box 'dog=x0,y0,x1,y1'"),
        (Given("red dog"), "--box 'red dog=x0,y0,x1,y1', --mask 'red dog=FILE' or --masks DIR"),
        (Given(how=("box", "mask")), "--box or --mask"),
        (Command("models pull", "sd15"), "gas models pull sd15"),
        (Install("gas-edit[diffusion]"), 'pip install "gas-edit[diffusion]"'),
    ],
)
def test_flags_are_what_people_type(kind: Kind, words: str) -> None:
    assert flag_words(kind) == words


NASTY = ["it's", 'a "b"', "$(touch x)", "a; rm b", "a\\b", "*", "`id`", "-x", "two words", "a\nb", "#x", "~", "é > ü"]


@pytest.mark.parametrize("nasty", NASTY)
def test_what_is_pasted_into_a_shell_stays_one_word(nasty: str) -> None:
    assert shlex.split(flag_words(Given(nasty, ("box",)))) == ["--box", f"{nasty}=x0,y0,x1,y1"]
    assert shlex.split(flag_words(Setting("caption", nasty))) == ["--caption", nasty]
    assert shlex.split(flag_words(Command("models pull", nasty))) == ["gas", "models", "pull", nasty]
    assert shlex.split(flag_words(Setting("grounders", (nasty, "sam")))) == ["--grounder", nasty, "--grounder", "sam"]
    for upgrade in ([], ["-U"]):
        words = shlex.split(flag_words(Install(f"x[{nasty}]", upgrade=bool(upgrade))))
        assert words == ["pip", "install", *upgrade, f"x[{nasty}]"]
    if shell := shutil.which("sh"):  # which sees what a program that only splits does not, such as $( )
        for kind in (Given(nasty, ("box",)), Setting("caption", nasty), Install(f"x[{nasty}]"), Option({"m": nasty})):
            words = flag_words(kind)
            printed = subprocess.run(
                [shell, "-c", f"printf '%s\\0' {words}"], capture_output=True, text=True, check=True
            )
            assert printed.stdout.split("\0")[:-1] == shlex.split(words)
    dash, value = shlex.split(flag_words(Option({"model": nasty}, "dds")))
    assert dash == "-o" and split_o([value]) == (None, [("dds", "model", nasty)])


def test_the_flag_of_a_setting() -> None:
    assert (setting_words("dtype"), setting_words("options")) == ("--dtype", "-o")


def test_an_error_is_printed_with_flags_and_its_remedy_is_data(capsys: pytest.CaptureFixture[str]) -> None:
    advice = Remedy("use_fp32", "try {dtype}, or another model", dtype=Setting("dtype", "fp32"))
    error = GasError("not finite", advice)
    print_error(error, as_json=True)
    out, err = capsys.readouterr()
    assert err.splitlines() == ["error: not finite", "try --dtype fp32, or another model"]
    problem: dict[str, Any] = json.loads(out)["error"]
    assert problem["remedy"] == remedy(error) == "try --dtype fp32, or another model"
    assert problem["remedy_code"] == "use_fp32"
    assert problem["remedy_arguments"]["dtype"]["value"] == "fp32"


def test_an_error_without_a_remedy_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(GasError("broken", ""), as_json=False)
    assert capsys.readouterr().err.splitlines() == ["error: broken"]
