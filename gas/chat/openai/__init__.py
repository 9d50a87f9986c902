"""Asks a model at OpenAI, or at any service that speaks its chat completions."""

from __future__ import annotations

from gas.chat.openai.connection import OpenAIConnection
from gas.chat.openai.options import OFFICIAL, OpenAIConnectionOptions

__all__ = ["OFFICIAL", "OpenAIConnection", "OpenAIConnectionOptions"]
