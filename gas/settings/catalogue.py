"""The models and profiles that are known, and which profile is used when nobody has chosen one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gas.backends.profiles import Profile, user_profiles
from gas.backends.registry import Registry
from gas.backends.roles import PROFILES
from gas.errors import GasError, ModelUnavailable
from gas.models.cache import look
from gas.models.manifest import CACHE_PREFIX, ModelFiles, resolve_model
from gas.validation import unknown

PHOTOGRAPHS, WITHOUT_WEIGHTS = "sd15", "diorama"


@dataclass(frozen=True)
class KnownModel:
    """A model with the names of the profiles that use it."""

    files: ModelFiles
    profiles: tuple[str, ...] = ()


def known_models(registry: Registry, broken: Callable[[str, GasError], None] | None = None) -> list[KnownModel]:
    """Every model that a profile names, each once, in the order of the profiles' names.

    A profile that cannot be read is told to `broken` with its error; without it the error is raised.
    """
    known: dict[tuple[str, str | None], KnownModel] = {}
    for name in profile_names(registry):
        try:
            profile = registry.profile(name)
        except GasError as error:
            if broken is None:
                raise
            broken(name, error)
            continue
        for files in profile.models:
            key = (files.id, files.revision)
            users = known[key].profiles if key in known else ()
            known[key] = KnownModel(known[key].files if key in known else files, (*users, name))
    return list(known.values())


def profile_names(registry: Registry) -> list[str]:
    """The names of all profiles, plugins' and the user's own, sorted."""
    return sorted({entry.spec.name for entry in registry.entries(PROFILES.plural)} | set(user_profiles()))


def chosen_models(registry: Registry, names: Sequence[str]) -> list[KnownModel]:
    """The models behind `names`, each once: of a profile all, else those with that id, or any other id of the hub.

    UsageError (exit 2) with the nearest name for what is none of these.
    """
    profiles, known = profile_names(registry), known_models(registry, lambda name, error: None)
    chosen: dict[tuple[str, str | None], KnownModel] = {}
    for name in names:
        if name in profiles or name.endswith(".toml"):
            profile = registry.profile(name)
            found = [KnownModel(files, (profile.name,)) for files in profile.models]
        else:
            found = [one for one in known if name in {one.files.id, one.files.model, one.files.id.split("/")[-1]}]
            found = found or [_any_model(name, [*profiles, *(one.files.id for one in known)])]
        chosen |= {(one.files.id, one.files.revision): one for one in found}
    return list(chosen.values())


def _any_model(name: str, known: Iterable[str]) -> KnownModel:
    """A model of the hub, or a local one, that no profile names."""
    if name.startswith(CACHE_PREFIX):
        raise unknown("model", name, known, "or a hub id: owner/name, owner/name@revision")
    source = resolve_model(name)
    if source.local:
        return KnownModel(ModelFiles(id=name))
    if "/" not in source.location:
        raise unknown("profile or model", name, known, "or a hub id: owner/name, owner/name@revision")
    return KnownModel(ModelFiles(id=source.location, revision=source.revision))


def default_profile(find_profile: Callable[[str], Profile]) -> tuple[str, str]:
    """The name of the profile for who has chosen none, and why: Stable Diffusion 1.5 if its files are here, else the
    diorama."""
    models = find_profile(PHOTOGRAPHS).models
    try:
        if models and all(look(files).state == "there" for files in models):
            return PHOTOGRAPHS, f"default, since the models of {PHOTOGRAPHS} are here"
    except ModelUnavailable as error:
        return WITHOUT_WEIGHTS, f"default; {error.message}"
    return WITHOUT_WEIGHTS, f"default; for photographs: gas models pull {PHOTOGRAPHS}"
