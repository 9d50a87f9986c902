"""The models that a session needs and that are not on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gas.models.cache import look, source_of
from gas.models.manifest import ModelFiles, models_of
from gas.settings.catalogue import KnownModel, chosen_models

if TYPE_CHECKING:
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
            model for model in dict.fromkeys(models_of(options).values()) if source_of(ModelFiles(id=model)) != "local"
        ]
        for known in chosen_models(session.registry, remote) if remote else ():
            state = look(known.files).state
            if state == "missing" or (state == "partly" and not some):
                found[known.files.model] = known
    return list(found.values())
