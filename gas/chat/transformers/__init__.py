"""Asks a vision-language model in this process, through transformers: no server, and nothing leaves the machine."""

from __future__ import annotations

from gas.chat.transformers.connection import TransformersConnection, TransformersConnectionOptions

__all__ = ["TransformersConnection", "TransformersConnectionOptions"]
