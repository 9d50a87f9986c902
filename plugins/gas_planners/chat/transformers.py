"""Plans by a vision-language model in this process, through transformers: no server, and nothing leaves the machine."""

from __future__ import annotations

from gas.chat.transformers import TransformersConnection, TransformersConnectionOptions
from gas_planners.chat.planner import ModelOptions, ModelPlanner


class TransformersOptions(TransformersConnectionOptions, ModelOptions):
    """What the planner `transformers` can be told."""


class TransformersPlanner(ModelPlanner[TransformersOptions]):
    """Plans by a model that is loaded once for all who share the runtime, verifiers too."""

    options_type = TransformersOptions
    connection_type = TransformersConnection
    name = "transformers"
