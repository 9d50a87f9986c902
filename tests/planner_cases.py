"""What the tests of the planners share: a picture, a request, good replies, and the services' real shapes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from places import DATA

from gas.types import EditRequest
from gas_planners.chat.prompt import BUILT_IN, read_examples

CASSETTES = DATA / "cassettes"
EXAMPLE = read_examples(BUILT_IN)[0]
GOOD = EXAMPLE.reply.model_dump_json()
BAD = '{"subtasks": [{"action": "change", "source": "a rabbit", "target": "a rabbit"}]}'
CANARY = "sk-canary-0123456789abcdef"


def photo(height: int = 60, width: int = 90) -> np.ndarray:
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return ramp.astype(np.uint8)


def asked(instruction: str = EXAMPLE.request, **more: Any) -> EditRequest:
    return EditRequest(image=photo(), instruction=instruction, **more)


def cassette(name: str) -> dict[str, Any]:
    return json.loads((CASSETTES / f"{name}.json").read_text())


def shape(value: Any) -> Any:
    """The keys and types of a JSON value; entries of a list that have the same shape count once."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        shapes: list[Any] = []
        for inner in map(shape, value):
            if inner not in shapes:
                shapes.append(inner)
        return shapes
    return type(value).__name__
