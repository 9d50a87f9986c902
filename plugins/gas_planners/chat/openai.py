"""Plans by a model at OpenAI, or at any service that speaks its chat completions, with the picture."""

from __future__ import annotations

from gas.chat.openai import OpenAIConnection, OpenAIConnectionOptions
from gas_planners.chat.planner import ModelOptions, ModelPlanner


class OpenAIOptions(OpenAIConnectionOptions, ModelOptions):
    """What the planner `openai` can be told."""


class OpenAIPlanner(ModelPlanner[OpenAIOptions]):
    """Plans by a model behind an OpenAI-compatible service. It sends the picture away: for when it was named."""

    options_type = OpenAIOptions
    connection_type = OpenAIConnection
    name = "openai"
