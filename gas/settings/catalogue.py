"""The models and profiles that are known, and which profile is used when nobody has chosen one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gas.backends.profiles import Example, Profile, user_profiles
from gas.backends.registry import Registry
from gas.backends.roles import EDITORS, PROFILES
from gas.errors import GasError, InputRefused, ModelUnavailable, UsageError
from gas.models.cache import look, snapshot
from gas.models.kind import pipeline_of
from gas.models.manifest import CACHE_PREFIX, ModelFiles, resolve_model
from gas.remedies import Command, Remedy, Setting, shell_words
from gas.validation import unknown

if TYPE_CHECKING:
    from gas.settings.settings import Settings
    from gas.types import Image


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


def examples(registry: Registry) -> list[tuple[Profile, Example]]:
    """The pictures to try of the toolkit's own profiles and the user's, each with its profile; those that are there."""
    found = []
    for profile in _own(registry):
        for example in profile.examples:
            with contextlib.suppress(GasError):
                found += [(profile, example)] if example.path.is_file() else []
    return found


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


def default_profile(registry: Registry, image: Image | None = None, model: str | None = None) -> tuple[str, str]:
    """The name of the profile where nobody has chosen one, and why.

    Where a `model` is chosen it is the profile that names it, else one whose options are for its kind of model; the
    values that suit one kind are wrong for another.

    Of the profiles that have a rank it is the complete one of the highest; where none is complete, that of the lowest
    rank. With `image`, `(H, W, 3)` uint8 RGB, a complete profile that is made for such pictures comes first, and one
    that is made for others only comes last. The toolkit's own profiles and the user's are asked, and no third party's:
    to install a package must not change what a command means.
    """
    if model is not None and (fitting := _for_model(registry, model)) is not None:
        return fitting
    ranked = _ranked(registry)
    complete, problem = [], ""
    for profile in ranked:
        try:
            if all(look(files).state == "there" for files in profile.models):
                complete.append(profile)
        except ModelUnavailable as error:
            problem = problem or error.message
    if image is not None:
        answers = {profile.name: _accepts(profile, image) for profile in complete}
        complete.sort(key=lambda profile: {True: 0, None: 1, False: 2}[answers[profile.name]])
        if complete and answers[complete[0].name]:
            return complete[0].name, "default for pictures of this kind"
    if not ranked:
        raise UsageError("no profile may be the default", Remedy("name_profile", "name {one}", one=Setting("profile")))
    chosen = complete[0] if complete else ranked[-1]
    if chosen.photographs and chosen.models:
        return chosen.name, f"default, since the models of {chosen.name} are here"
    if problem:
        return chosen.name, f"default; {problem}"
    better = next((one for one in ranked if one.photographs and one.rank > chosen.rank), None)
    if better is None:
        return chosen.name, "default"
    size = sum(files.size_mb or 0 for files in better.models) / 1000
    pull = shell_words(Command("models pull", better.name)) + (f" ({size:.1f} GB)" if size else "")
    return chosen.name, f"default; {'what needs a model' if chosen.photographs else 'for photographs'}: {pull}"


def refuse_picture(
    registry: Registry, settings: Settings, image: Image, helpers: Callable[[], Sequence[str]] = tuple
) -> None:
    """InputRefused (exit 3) for a picture `(H, W, 3)` uint8 RGB that the models of the chosen profile surely cannot
    edit. No model is loaded; nothing is said where neither the editor nor one of its `helpers` (asked only if it has
    none itself) has a model of the profile's."""
    profile = settings.profile
    if profile.refuses is None:
        return
    editors: Sequence[str] = (settings.editor,)
    if "model" not in profile.options.get(settings.editor, {}):
        editors = helpers()
    if not any(_has_its_model(settings, editor) for editor in editors):
        return
    module, _, name = profile.refuses.partition(":")
    if getattr(import_module(module), name)(image):
        raise InputRefused(
            f"this is a photograph, and the profile {profile.name} edits only drawings of its own small world",
            _for_photographs(registry),
        )


def refuse_model_of_no_kind(registry: Registry, settings: Settings) -> None:
    """ModelUnavailable (exit 6) for a model that was to choose a profile and is of no kind that one is for, so that the
    default one stands there, whose editor has no use for a model. UsageError (exit 2) for what is no name of one."""
    if not settings.profile_is_default or settings.editor != settings.profile.editor:
        return
    layers = settings.option_layers(EDITORS.plural, settings.editor)
    model = next((layer.values["model"] for layer in reversed(layers) if "model" in layer.values), None)
    if model is None or "model" in registry.load(EDITORS.plural, settings.editor).options_type.model_fields:
        return
    if _for_model(registry, model) is not None:  # its profile hands changes to editors that have models of their own
        return
    source = resolve_model(model)
    if not source.local and snapshot(ModelFiles(id=source.location, revision=source.revision)) is None:
        pull = Remedy("pull_model", "{pull}, or name a local folder", pull=Command("models pull", model))
        raise ModelUnavailable(f"model {model!r} has not been downloaded", pull)
    kind = pipeline_of(model)
    raise ModelUnavailable(
        f"model {model!r} is "
        + (f"for diffusers' {kind}, which no profile is for" if kind else "of no kind that gas knows"),
        Remedy(
            "name_kind",
            "name a folder in diffusers' layout, or a single file, of a kind that {ls} lists, or choose {profile}, "
            "{editor}",
            ls=Command("models ls"),
            profile=Setting("profile"),
            editor=Setting("editor"),
        ),
    )


def _has_its_model(settings: Settings, editor: str) -> bool:
    """Whether an editor is to use the model that the profile names for it."""
    own = settings.profile.options.get(editor, {}).get("model")
    layers = settings.option_layers(EDITORS.plural, editor)
    return own is not None and own == next((x.values["model"] for x in reversed(layers) if "model" in x.values), None)


def _for_photographs(registry: Registry) -> Remedy:
    """What to use for photographs: a profile that needs no model, and the highest that has one, with how to get it."""
    ranked = [one for one in _ranked(registry) if one.photographs]
    words, fields = [], dict[str, Any]()
    if bare := next((one for one in ranked if not one.models), None):
        words.append("{bare} needs no model")
        fields["bare"] = Setting("profile", bare.name)
    if better := next((one for one in ranked if one.models), None):
        words.append("the models of {better} come with: {pull}")
        fields |= {"better": Setting("profile", better.name), "pull": Command("models pull", better.name)}
    return Remedy("use_photographs", "for photographs: " + "; ".join(words or ["name another profile"]), **fields)


def _for_model(registry: Registry, model: str) -> tuple[str, str] | None:
    """The profile where a model alone was chosen, and why; None where no profile is for it."""
    profiles = [profile for profile in _own(registry) if not profile.remote]
    for profile in profiles:
        if any(model in {files.id, files.model} for files in profile.models):
            return profile.name, "default for the model that is named"
    pipeline = pipeline_of(model)
    for profile in profiles:
        if pipeline in profile.pipelines:
            return profile.name, f"default for a model of the kind {pipeline}"
    return None


def _ranked(registry: Registry) -> list[Profile]:
    """The profiles that may be the default, the highest rank first."""
    return [profile for profile in _own(registry) if profile.rank]


def _own(registry: Registry) -> list[Profile]:
    """The toolkit's own profiles and the user's, the highest rank first; one that cannot be read is left out."""
    found = []
    for name in sorted({entry.spec.name for entry in registry.own(PROFILES.plural)} | set(user_profiles())):
        with contextlib.suppress(GasError):
            found.append(registry.profile(name))
    return sorted(found, key=lambda profile: -profile.rank)


def _accepts(profile: Profile, image: Image) -> bool | None:
    """Whether the profile is made for pictures such as `image`; None where it says nothing about pictures."""
    if profile.accepts is None:
        return None
    module, _, name = profile.accepts.partition(":")
    return bool(getattr(import_module(module), name)(image))
