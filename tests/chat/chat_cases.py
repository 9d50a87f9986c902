"""What the tests of connections share: a question with a picture, a schema, and a reader of the answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from gas.chat import Message, Unreadable, encode
from gas.chat.lenient_json import objects_in

ANSWER = '{"colour": "red"}'
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"colour": {"type": "string"}},
    "required": ["colour"],
    "additionalProperties": False,
}
PICTURE = encode(np.zeros((8, 8, 3), np.uint8), 64)
QUESTION = [Message("system", "Answer with JSON."), Message("user", "Which colour?", with_picture=True)]
BRACKETS = b"[" * 200_000


def read(text: str) -> dict[str, Any]:
    """The one object in an answer. Unreadable when there is none, or none with a colour."""
    found = objects_in(text)
    if len(found) != 1 or "colour" not in found[0]:
        raise Unreadable("there is no colour in it")
    return found[0]


def converse(connection: Any, pictures: Any = (PICTURE,)) -> Any:
    """What `read` makes of the answer, and the reply."""
    return connection.converse(QUESTION, read, pictures, SCHEMA)
