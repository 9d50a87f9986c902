"""A row of `gas bench diorama` made ready to run, and all that its results depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.backends.roles import EDITORS
from gas.interfaces import EditJob
from gas_diorama.bench.kept import Picture
from gas_diorama.bench.rows import REFERENCE, Row
from gas_diorama.world.cases import Case

if TYPE_CHECKING:
    from gas.backends.profiles import Profile
    from gas.backends.registry import Registry
    from gas.interfaces import Editor, Options
    from gas.run.session import Session
    from gas.runtime import Runtime

VERSION = 2
"""Of what results mean; those of another one are not mixed with these."""


class Entrant:
    """A row as a session of the profile, with the row's editor and options. The editor is made when first asked for."""

    def __init__(self, row: Row, profile: Profile, registry: Registry, runtime: Runtime) -> None:
        self.title, self.name, self.runtime, self.part = row.title, row.editor, runtime, row.part
        self.own, self.found, self.grounded = row.own, row.found, row.grounded
        self.session = _session(row, profile, registry, runtime)
        self.options: Options = self.session.settled(EDITORS.plural, row.editor).options
        model = self.options.named_models().get("model")
        if model is None:  # an editor without a model is compared with the round trip of the profile's
            reference = registry.settle(EDITORS.plural, REFERENCE, {}, [profile.layer(REFERENCE)]).options
            model = reference.named_models()["model"]
        self.model = model
        self.autoencodes = _autoencodes(self.model)
        self.recipe = _recipe(self)

    @property
    def editor(self) -> Editor:
        editor: Editor = self.session.use(EDITORS, self.name)
        return editor

    def cases(self, chosen: Sequence[Case]) -> list[Case]:
        """Those of `chosen` that this row is run on."""
        strata = dict.fromkeys(case.stratum for case in chosen)
        return [case for one in strata for case in [c for c in chosen if c.stratum == one][:: self.part]]

    def job(self, case: Case, source: Picture, seed: int) -> EditJob:
        """The edit to be made, at the picture's own size. ObjectNotFound where regions are to be found and one is
        not."""
        regions, segmenter = case.regions(), None
        if self.own:
            regions, segmenter = (), self.session.segmenter()
        elif self.found:
            regions = self.session.ground(source, case.plan, required=True)
        return EditJob(
            image=source,
            plan=case.plan,
            regions=regions,
            seed=seed,
            options=self.editor.options,
            segmenter=segmenter,
        )


def _session(row: Row, profile: Profile, registry: Registry, runtime: Runtime) -> Session:
    from gas.run.session import Session
    from gas.settings.settings import Settings

    flags = {"profile": profile.name, "editor": row.editor, "options": {row.editor: row.options}}
    return Session(Settings.of(flags, find_profile=lambda _: profile), registry, runtime=runtime)


def _recipe(entrant: Entrant) -> dict[str, Any]:
    """All that a row's results depend on, apart from cases and seeds."""
    runtime = entrant.runtime
    recipe = {
        "version": VERSION,
        "editor": entrant.name,
        "options": entrant.options.model_dump(mode="json"),
        "weights": _weights(entrant.model),
        "device": runtime.torch_device().type,
        "dtype": str(runtime.torch_dtype()).removeprefix("torch."),
    }
    if entrant.grounded:
        recipe["grounded"] = True
    if helpers := entrant.session.helpers():
        chain = {name: entrant.session.settled(EDITORS.plural, name).options for name in helpers}
        recipe["helpers"] = {name: _with_weights(options) for name, options in chain.items()}
    if second := entrant.options.named_models().get("second_model"):
        recipe["second_weights"] = _weights(second)
    if entrant.own or entrant.found:
        session = entrant.session
        names: Sequence[str] = session.settings.grounders
        if entrant.own:
            names = [name for name in names if session.backend("grounders", name).segments][-1:]
            recipe["regions"] = "own"
        else:
            recipe["grow"] = session.settings.grow
        chain = {name: session.settled("grounders", name).options for name in names}
        recipe["grounders"] = {name: _with_weights(options) for name, options in chain.items()}
    return recipe


def _with_weights(options: Options) -> dict[str, Any]:
    """A grounder's options as plain values, with what tells its model's weights from another's."""
    model = options.named_models().get("model")
    plain = options.model_dump(mode="json")
    return plain if model is None else {**plain, "weights": _weights(model)}


def _weights(model: str) -> str:
    """What tells one model's weights from another's: a hash of local ones, the hub's name and revision of others."""
    from gas.models.manifest import resolve_model

    source = resolve_model(model)
    return hash_of_weights(Path(source.location)) if source.local else f"{source.location}@{source.revision}"


def _autoencodes(model: str) -> bool:
    """Whether an editor's own output comes through the model's autoencoder; CLIP, which Text2LIVE asks, has none."""
    from gas.diffusion.adapters import find_base
    from gas.models.manifest import resolve_model

    source = resolve_model(model)
    return not source.local or (find_base(Path(source.location))[0] / "vae").is_dir()


def hash_of_weights(folder: Path) -> str:
    """SHA-256 over all weight files of a model folder, in the order of their names; those of its base first where it
    holds an adapter."""
    from gas.diffusion.adapters import find_base

    base, adapters = find_base(folder)
    digest = hashlib.sha256()
    for path in [*sorted(base.rglob("*.safetensors")), *adapters]:
        digest.update((path.name if path in adapters else path.relative_to(base).as_posix()).encode())
        with open(path, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
