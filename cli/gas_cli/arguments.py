"""The command line as typed, made ready for the parser: flags that may stand anywhere, and what `-o` was called."""

from __future__ import annotations

from collections.abc import Sequence

ANYWHERE = ("--debug", "--quiet", "--offline")
"""Flags of `gas` itself that may stand after the command too."""
OUTPUT, OPTION = "\0output:", "\0option:"
"""In front of a value that was given by the long name. No argument of a process can hold a NUL."""
_LONG = {"--output": OUTPUT, "--option": OPTION}


def arranged(arguments: Sequence[str]) -> list[str]:
    """The arguments with the flags of ANYWHERE in front, and with `-o` in the place of `--output` and `--option`, whose
    values are marked with OUTPUT or OPTION. What follows `--` stays as it is."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    typed, rest = list(arguments[:end]), list(arguments[end:])
    front = [flag for flag in ANYWHERE if flag in typed]
    out: list[str] = []
    mark = ""
    for one in (each for each in typed if each not in ANYWHERE):
        name, equals, value = one.partition("=")
        if mark:
            out.append(mark + one)
            mark = ""
        elif name in _LONG and equals:
            out += ["-o", _LONG[name] + value]
        elif one in _LONG:
            out.append("-o")
            mark = _LONG[one]
        else:
            out.append(one)
    return [*front, *out, *rest]
