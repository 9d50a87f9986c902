"""First-party planners; named here, imported when used."""

from __future__ import annotations

from gas import BackendSpec, hookimpl


@hookimpl
def gas_register_planners() -> tuple[BackendSpec, ...]:
    return (
        BackendSpec("auto", "gas_planners.auto:AutoPlanner", "a local Ollama that sees if there is one, else rules"),
        BackendSpec(
            "rules", "gas_planners.rules.planner:RulesPlanner", "reads the usual forms of request; no model, offline"
        ),
        BackendSpec(
            "openai",
            "gas_planners.chat.openai:OpenAIPlanner",
            "asks OpenAI, or a service that speaks its language, with the picture",
            extra="openai",
        ),
        BackendSpec(
            "ollama", "gas_planners.chat.ollama:OllamaPlanner", "asks a local Ollama, with the picture", extra="ollama"
        ),
        BackendSpec(
            "transformers",
            "gas_planners.chat.transformers:TransformersPlanner",
            "asks a vision-language model in this process, with the picture",
            extra="diffusion",
            weights="Apache-2.0",
        ),
    )
