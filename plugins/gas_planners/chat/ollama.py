"""Plans by a model of an Ollama that sees, on this machine unless another is named, with the picture."""

from __future__ import annotations

from gas.chat.ollama import OllamaConnection, OllamaConnectionOptions
from gas_planners.chat.planner import ModelOptions, ModelPlanner


class OllamaOptions(OllamaConnectionOptions, ModelOptions):
    """What the planner `ollama` can be told."""


class OllamaPlanner(ModelPlanner[OllamaOptions]):
    """Plans by a local model that sees. Another host than this machine, and a cloud model, count as remote."""

    options_type = OllamaOptions
    connection_type = OllamaConnection
    name = "ollama"
    connection: OllamaConnection
