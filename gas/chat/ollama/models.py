"""What an Ollama says of its models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_CLOUD_BYTES = 10_000_000


@dataclass(frozen=True)
class Pulled:
    """A model that the Ollama has. `cloud`: it only stands for one that runs at Ollama's own service."""

    name: str
    cloud: bool


@dataclass(frozen=True)
class Abilities:
    """What an Ollama reports that a model can do: chat, take pictures, think."""

    chats: bool
    sees: bool
    thinks: bool


def pulled(listed: Any) -> Pulled:
    """A model of the client's list."""
    stands_for_another = listed.size is not None and listed.size < _CLOUD_BYTES
    return Pulled(listed.model, is_cloud(listed.model) or stands_for_another)


def abilities_in(shown: Any) -> Abilities:
    """What the answer to `/api/show` says that the model can do."""
    if shown.capabilities is not None:
        able = set(shown.capabilities)
        return Abilities(bool(able & {"completion", "vision"}), "vision" in able, "thinking" in able)
    # Before Ollama 0.6.4: a part of the model that sees, or a projector of pictures beside it.
    families = (shown.details.families if shown.details else None) or []
    sees = "clip" in families or any(".vision." in key for key in shown.modelinfo or {})
    return Abilities(chats=True, sees=sees, thinks=False)


def is_cloud(model: str) -> bool:
    """Whether a model runs at Ollama's own service, by its name."""
    return model.rpartition(":")[2].endswith("cloud") or model.endswith("-cloud")
