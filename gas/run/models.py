"""The models that a session needs and that are not on this machine, or that only a stranger's file names."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from gas.errors import ModelUnavailable, UsageError
from gas.models.cache import look, snapshot, source_of
from gas.models.manifest import ModelFiles, models_of, resolve_model
from gas.remedies import Remedy, Setting
from gas.settings.catalogue import KnownModel, chosen_models
from gas.validation import shown

if TYPE_CHECKING:
    from gas.backends.options import Settled
    from gas.backends.roles import Role
    from gas.run.session import Session


def missing_models(session: Session, role: Role, names: Sequence[str]) -> list[KnownModel]:
    """The models of the backends `names` that can be downloaded and are not here whole, each once.

    Of a backend that has its own `variant` of the weights some of the profile's files are not wanted: then a model
    counts as here when anything of it is.
    """
    found: dict[str, KnownModel] = {}
    for name in names:
        options = session.settled(role.plural, name).options.model_dump(mode="json")
        some = bool(options.get("variant") or options.get("allow_pickle"))
        # A catalogue reads every profile, strangers' too: asked only for what a folder of this machine does not answer.
        remote = [
            model
            for model in dict.fromkeys(model for _, model in models_of(options))
            if source_of(ModelFiles(id=model)) != "local"
        ]
        for known in chosen_models(session.registry, remote) if remote else ():
            state = look(known.files).state
            if state == "missing" or (state == "partly" and not some):
                found[known.files.model] = known
    return list(found.values())


def refuse_strange_model(settled: Settled, origin: str, known: Container[str] | None = None) -> None:
    """ModelUnavailable (exit 6) for a model among a backend's `settled` options that only `origin`, a file of anybody,
    names ("the record"), and that is not on this machine, nor, where that counts, among the `known` ids of the hub."""
    for option, model in models_of(settled.options.model_dump(mode="json")):
        if settled.origins.get(option) == origin and not _is_here(model, known or ()):
            where = "not on this machine" if known is None else "neither on this machine nor in a profile"
            raise ModelUnavailable(
                f"{origin} names the model {shown(model)}, which is {where}",
                Remedy(
                    "allow_model",
                    f"name your own with {{model}}; to trust {origin}'s: {{allow}}",
                    model=Setting("lora") if option == "lora" else Setting("model"),
                    allow=Setting("allow_model", True),
                ),
            )


def _is_here(model: str, known: Container[str]) -> bool:
    try:
        source = resolve_model(model)
    except UsageError:  # a name that nothing can have
        return False
    if source.local or source.location in known:
        return True
    return snapshot(ModelFiles(id=source.location, revision=source.revision)) is not None
