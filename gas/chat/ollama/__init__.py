"""Asks a model of an Ollama, on this machine unless another is named."""

from __future__ import annotations

from gas.chat.ollama.connection import OllamaConnection
from gas.chat.ollama.options import HERE, OllamaConnectionOptions

__all__ = ["HERE", "OllamaConnection", "OllamaConnectionOptions"]
