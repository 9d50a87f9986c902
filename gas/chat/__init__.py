"""Asking a model in words and pictures: one connection for whoever asks, with bounds, and replies read safely.

connection = connect(OllamaConnection, options, runtime)
reply = connection.ask([Message("user", "Is there a tiger?", with_picture=True)], [encode(image, 768)], likeliest=5)
probability_of_yes(reply)
"""

from __future__ import annotations

from gas.chat.connection import Connection, ConnectionOptions, Unusable, connect
from gas.chat.lenient_json import Unreadable
from gas.chat.picture import Picture, encode
from gas.chat.replies import Reply, Token
from gas.chat.yes_no import answers, probabilities_of_yes, probability_of_yes, said_yes
from gas.preview import Message

__all__ = [
    "Connection",
    "ConnectionOptions",
    "Message",
    "Picture",
    "Reply",
    "Token",
    "Unreadable",
    "Unusable",
    "answers",
    "connect",
    "encode",
    "probabilities_of_yes",
    "probability_of_yes",
    "said_yes",
]
