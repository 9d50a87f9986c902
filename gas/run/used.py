"""What a record says of a backend that was used, and of its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gas.run.record import Model, Used

if TYPE_CHECKING:
    from gas.interfaces import Options
    from gas.run.session import Session


def used(session: Session, role: str, name: str) -> Used:
    """Backend `name` with its settled options and where it came from, for the record."""
    options: Options = session.settled(role, name).options
    plugin = session.registry.find(role, name).plugin
    return Used(
        name=name,
        options=options.model_dump(mode="json"),
        distribution=plugin.distribution[:200],
        version=plugin.version[:200],
    )


def models_used(session: Session, role: str, name: str) -> list[Model]:
    """The models of a backend as the session settles its options: a record's own options say nothing of folders."""
    return models(session.settled(role, name).options.model_dump(mode="json"))


def models(options: Mapping[str, Any]) -> list[Model]:
    """The models that a backend's options `model`, `second_model`, ... name; local ones with the hashes of their
    files."""
    from gas.models.manifest import CACHE_PREFIX, PACKAGE_PREFIX, models_of, resolve_model

    found = []
    for _, name in models_of(options):
        source = resolve_model(name)
        model = Model.of(source.location, source.revision)
        if name.startswith((CACHE_PREFIX, PACKAGE_PREFIX)):
            model = model.model_copy(update={"id": name})
        found.append(model)
    return found
