"""Errors pass between processes with all that their remedies say."""

from __future__ import annotations

import json

import pytest

from gas import errors
from gas.batch.engines.wire import bug, error_from, error_values, line
from gas.errors import GasError, Interrupted, ObjectNotFound
from gas.remedies import Command, Given, Install, Option, Remedy, Setting
from gas_cli.wording import flag_words


@pytest.mark.parametrize("part", [
    Setting("dtype", "fp32"), Setting("grounders", ("a", "b")), Setting("seed"), Setting("allow", True, python="x"),
    Option({"steps": 60, "model": None}, "dds"), Given("dog", ("box", "mask")), Command("models pull", "sd15"),
    Install("gas-edit[batch]", True), "words", 3,
])  # fmt: skip
def test_a_remedy_comes_back_as_it_was(part: object) -> None:
    sent = ObjectNotFound("nothing there", Remedy("code", "do {it} now", it=part))  # type: ignore[arg-type]
    found = error_from(json.loads(line(error=error_values(sent)))["error"])
    assert type(found) is ObjectNotFound and (found.message, found.exit_code) == ("nothing there", 5)
    assert found.hint == sent.hint and found.hint.worded(flag_words) == sent.hint.worded(flag_words)


def test_an_error_of_a_plugins_own_kind_is_the_one_that_it_is_a_child_of() -> None:
    class Own(errors.ServiceUnavailable):
        pass

    assert type(error_from(error_values(Own("away", "wait")))) is errors.ServiceUnavailable
    assert error_from(error_values(Interrupted("stop", signal=15))).exit_code == 143
    assert type(error_from(error_values(bug(ValueError("x\ny"))))) is GasError
