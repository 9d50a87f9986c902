"""The `gas edit` line that does what was done on the page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from gas.remedies import Option, Setting
from gas_shell.words import flag_words, setting_words
from gas_ui.choices import typed

PLAN, MASKS = "plan.json", "masks"
"""What the line names where plan or regions were changed by hand: they come with the download."""


def edit_line(
    picture: str, instruction: str, flags: Mapping[str, Any], seed: int, *, by_hand: bool, masks: bool
) -> str:
    """The command line, ready for a shell in the folder of the photograph.

    * flags: what was chosen on the page, by the names of `gas.settings.settings.Values`, beside `work` and `gps`;
    * by_hand: plan or regions were changed: the line names the file `plan.json` instead of the request, and the folder
      `masks` where there are `masks`.
    """
    words = ["gas edit", _file(picture)]
    words += [f"--plan {PLAN}", *([f"--masks {MASKS}"] if masks else [])] if by_hand else [shlex.quote(instruction)]
    for name, value in flags.items():
        if name in {"seed", "options"} or (value in (None, False, "auto") and name in {"work", "gps"}):
            continue
        if name == "tries" and flags.get("verify") is False:
            continue
        if name == "gps":
            words.append("--gps")
        elif isinstance(value, tuple | list) and not value:
            words.append(f"{setting_words(name)} none")
        else:
            words.append(flag_words(Setting(name, tuple(value) if isinstance(value, list) else value)))
    for backend, values in (flags.get("options") or {}).items():
        words.append(flag_words(Option({name: typed(value) for name, value in values.items()}, backend)))
    return " ".join([*words, f"--seed {seed}"])


def replay_line(output: str, picture: str) -> str:
    """The command line that makes an edit again from its record, in a folder that holds it and its photograph."""
    return " ".join(["gas replay", _file(output), "--input", _file(picture)])


def _file(name: str) -> str:
    return shlex.quote(f"./{name}" if name.startswith("-") else name)
