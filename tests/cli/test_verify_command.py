"""`gas edit --verify`: what is printed, the record, `--json` and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_cli import FAKE, Said, edit, gas, here  # noqa: F401 (the last two are fixtures)

from gas.errors import ModelUnavailable
from gas.interfaces import Edited, EditJob
from gas.remedies import Option, Remedy
from gas.testing import fakes
from gas.types import Evidence, Finding

VERIFY = ("--verify", "--verifier", "colour-eye", "-o", "colour-eye.tolerance=100")


def says(monkeypatch: pytest.MonkeyPatch, verdict: Any, failure: Any = None) -> None:
    seen = Evidence(by="colour-eye", asked="a tiger", value=0.25, threshold=0.5, note="it was looked at")

    def verify(self: Any, job: Any) -> list[Finding]:
        return [Finding(subtask=i, verdict=verdict, evidence=(seen,), failure=failure) for i in job.subtasks]

    monkeypatch.setattr(fakes.FakeVerifier, "verify", verify)


def test_done_is_exit_0_and_says_how_it_is_known(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    told = gas(*edit("-o", "out.png", *VERIFY))
    assert told.code == 0, told.err
    assert "tiger in the place of dog: yes (fake" in told.err
    info = gas("info", "out.png").out
    assert "verifier: colour-eye" in info and "pixels of the colour (255, 0, 0)" in info and "at least 0.90" in info


def test_not_done_is_exit_12_with_the_picture_and_a_remedy(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    says(monkeypatch, "not done", "wrong kind")
    told = gas(*edit("-o", "out.png", *VERIFY))
    assert told.code == 12 and (here / "out.png").is_file() and (here / "out.png.gas.json").is_file()
    assert "tiger in the place of dog: no, something else is there (colour-eye 0.25)" in told.err
    assert "1 of 1 changes not done" in told.err and "--tries 3" in told.err


def test_cannot_tell_is_exit_0_with_a_warning(
    gas: Callable[..., Said],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    says(monkeypatch, "cannot tell")
    told = gas(*edit("-o", "out.png", "--json", *VERIFY))
    assert told.code == 0
    envelope = json.loads(told.out)
    assert any("cannot be told: tiger in the place of dog (it was looked at)" in one for one in envelope["warnings"])
    assert envelope["data"]["verified"]["findings"][0]["verdict"] == "cannot tell"


def test_without_verify_nothing_is_said(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    told = gas(*edit("-o", "out.png", "--json"))
    assert told.code == 0 and "verified" not in json.loads(told.out)["data"]
    record = json.loads((here / "out.png.gas.json").read_text())
    assert record["verified"] is None and record["verifier"] is None


def test_tries_verify_by_themselves_and_replay_gives_the_same_bytes(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, calls = fakes.FakeEditor.edit, []

    def at_second_try(self: Any, job: EditJob) -> Edited:
        calls.append(job.grounded)
        made = whole(self, job)
        return made if type(self).__name__ == "Other" else Edited(255 - job.image)

    other = type("Other", (fakes.FakeEditor,), {"__module__": "gas.testing.fakes"})
    monkeypatch.setattr(fakes, "Other", other, raising=False)
    monkeypatch.setattr(fakes.FakeEditor, "edit", at_second_try)
    import fake_backends

    from gas.backends.hookspecs import hookimpl
    from gas.backends.spec import BackendSpec

    @hookimpl
    def gas_register_editors() -> tuple[BackendSpec, ...]:
        return (
            BackendSpec("painter", "gas.testing.fakes:FakeEditor", "inverts"),
            BackendSpec("other", "gas.testing.fakes:Other", "paints"),
        )

    monkeypatch.setattr(fake_backends, "gas_register_editors", gas_register_editors)
    told = gas(*edit("-o", "out.png", "--tries", "2", "--retry-editor", "other", *VERIFY[1:]))
    assert told.code == 0, told.err
    assert "trying again with other: tiger in the place of dog" in told.err
    assert "tried again with other" in told.err and "kept" in told.err
    again = gas("replay", "out.png", "-o", "again.png")
    assert again.code == 0, again.err
    assert (here / "again.png").read_bytes() == (here / "out.png").read_bytes()


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--budget", "fast"), "budget"),
        (("--tries", "0"), "tries"),
        (("--verifier", "nobody"), "unknown verifier 'nobody'"),
        (("--tries", "2", "--retry-editor", "nobody"), "unknown editor 'nobody'"),
    ],
)
def test_what_cannot_be_used_is_refused_before_the_first_step(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    flags: tuple[str, ...],
    why: str,
) -> None:
    told = gas(*edit("-o", "out.png", *VERIFY[:1], *flags))
    assert told.code == 2 and why in told.err, told.err
    assert "wrote" not in told.err and not (here / "out.png").exists()


def test_tries_without_verifying_are_refused(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    told = gas(*edit("-o", "out.png", "--tries", "2", "--no-verify"))
    assert told.code == 2 and "--tries 2" in told.err and "--no-verify" in told.err and not (here / "out.png").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--verifier", "colour-eye"), "--verifier changes nothing, for nothing is verified: add --verify"),
        (("--budget", "60s"), "--budget changes nothing, for nothing is verified"),
        (("--no-verify", "--retry-editor", "retouch"), "--retry-editor changes nothing, for nothing is verified"),
        ((*VERIFY, "--budget", "60s"), "--budget changes nothing, for nothing is tried again: add --tries 2"),
        ((*VERIFY, "--tries", "2", "--budget", "60s"), ""),
    ],
)
def test_flags_that_change_nothing_are_told(
    gas: Callable[..., Said],  # noqa: F811
    flags: tuple[str, ...],
    said: str,
) -> None:
    told = gas(*edit(*flags))
    assert told.code == 0 and (said in told.err if said else "changes nothing" not in told.err), told.err


def test_what_the_verifier_lacks_is_told_before_the_edit_with_its_remedy(
    gas: Callable[..., Said],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lacking = ModelUnavailable("it has no model", Remedy("", "name one: {model}", model=Option({"model": None}, "eye")))
    monkeypatch.setattr(fakes.FakeVerifier, "lacks", lambda self, plan: [lacking])
    told = gas(*edit(*VERIFY))
    lines = told.err.splitlines()
    assert told.code == 0 and lines.index("warning: it has no model") < lines.index("name one: -o eye.model")
    assert lines.index("name one: -o eye.model") < next(i for i, line in enumerate(lines) if "1 subtask" in line)
    assert "it has no model" not in gas(*edit()).err, "nothing is verified"
    monkeypatch.setattr(fakes.FakeVerifier, "lacks", lambda self, plan: ["a sentence"])
    assert gas(*edit(*VERIFY)).code == 9


def test_verifiers_are_listed(gas: Callable[..., Said]) -> None:  # noqa: F811
    listed = gas("backends", "verifiers")
    assert listed.code == 0
    assert all(name in listed.out for name in ("combined", "detector", "clip", "vlm", "pixels", "colour-eye"))
