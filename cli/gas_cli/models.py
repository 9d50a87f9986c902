"""`gas models`: which models the profiles name, what of them is here, getting the rest, and reading it all again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gas.backends.registry import Registry
from gas.backends.roles import EDITORS, GROUNDERS
from gas.errors import GasError, ModelUnavailable, UsageError
from gas.models import cache as models
from gas.remedies import Command, Remedy, Setting, shell_words
from gas.settings import catalogue
from gas_cli.output import people, print_json, print_table, warn

if TYPE_CHECKING:
    from rich.console import Console

    from gas.models.cache import Checked, Found
    from gas.models.downloads import Download, Report
    from gas.models.manifest import ModelFiles
    from gas.run.session import Session
    from gas.settings.catalogue import KnownModel
    from gas.settings.settings import Settings

MARKS = {"ok": "ok", "unchecked": "unchecked", "damaged": "DAMAGED", "missing": "MISSING"}


def ls(registry: Registry, *, as_json: bool = False) -> None:
    """Prints every model that a profile names: size, licence, gate, revision, and what of it is here."""
    broken: dict[str, GasError] = {}
    known = [(one, models.look(one.files)) for one in catalogue.known_models(registry, broken.__setitem__)]
    warn(people(), [f"profile {name}: {error.message}" for name, error in broken.items()])
    if as_json:
        print_json("models ls", [_data(one, found) for one, found in known])
        return
    rows = [
        (
            one.files.id,
            one.files.use,
            ", ".join(one.profiles),
            size(one.files.size_mb),
            terms(one.files),
            (one.files.revision or ("by checksum" if one.files.sha256 else ""))[:12],
            _state(found),
        )
        for one, found in known
    ]
    print_table("models", ("model", "for", "profiles", "size", "licence", "revision", "here"), rows)
    short = [
        name for name in catalogue.profile_names(registry) if any(_needs(name, one, found) for one, found in known)
    ]
    for name in short:
        people().print(f"get what {name} needs: {shell_words(Command('models pull', name))}", markup=False)


def pull(
    registry: Registry,
    settings: Settings,
    names: Sequence[str],
    *,
    variant: str | None = None,
    allow_pickle: bool = False,
    repair: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Downloads what is missing of the named profiles and models, after saying what and how much that is.

    A `dry_run` takes the sizes that profiles say, and asks the network about other models only.
    """
    if not names:
        raise UsageError(
            "say what to get: a profile, or a model", f"profiles: {', '.join(catalogue.profile_names(registry))}"
        )
    chosen = catalogue.chosen_models(registry, names)
    if repair:
        for one in chosen:
            for name in models.remove_damaged(one.files):
                people().print(f"removed {name} of {one.files.id}, which was damaged", markup=False)
    # What is here already needs no network, and must not need one.
    open_ones = [one for one in chosen if variant is not None or models.look(one.files).state != "there"]
    coming = announce(settings, open_ones, variant=variant, allow_pickle=allow_pickle, by_profile=dry_run)
    if not coming:
        people().print("everything is here already")
    elif not dry_run:
        fetch(coming)
    if as_json:
        data = {
            "bytes": sum(one.bytes for one in coming),
            "models": [{"model": c.files.model, "bytes": c.bytes, "files": c.names} for c in coming],
        }
        print_json("models pull", data)


def announce(
    settings: Settings,
    missing: Sequence[KnownModel],
    *,
    variant: str | None = None,
    allow_pickle: bool = False,
    by_profile: bool = False,
) -> list[Download]:
    """What is to come of the `missing` models, after saying it: name, size, folder, terms.

    `by_profile` takes a profile's word for the size of a model of which nothing is here, and asks no network for it.
    UsageError (exit 2) where the network is needed and may not be used; errors as `downloads.prepare`.
    """
    from gas.models import downloads

    coming: list[Download] = []
    for one in missing:
        told = None
        if by_profile and variant is None and models.look(one.files).state == "missing":
            told = downloads.announced(one.files)
        if told is None:
            if models.source_of(one.files) != "local":
                downloads.refuse_offline(settings.offline, settings.origin("offline"))
            told = downloads.prepare(one.files, variant=variant, allow_pickle=allow_pickle)
        if told is not None:
            coming.append(told)
    for each in coming:
        extra = f", {terms(each.files)}" if terms(each.files) else ""
        people().print(
            f"{each.files.model}: {size(each.bytes / 1e6)} to {each.folder}{extra}", markup=False, soft_wrap=True
        )
    return coming


def fetch(coming: Sequence[Download]) -> None:
    """Downloads what was announced. Errors as `downloads.check_space` and `downloads.get`."""
    from gas.models import downloads

    console = people()
    downloads.check_space(coming)
    for one in coming:
        with _progress(console, one) as report:
            path = downloads.get(one, report)
        console.print(f"got {one.files.id} in {path}", markup=False, soft_wrap=True)


def require(session: Session, *, agreed: bool, looks: bool) -> None:
    """Sees to it that the models of a session's editor are here, and those of its grounders when it `looks` for things.

    Where the user has `agreed` beforehand what is missing is announced and downloaded. Else ModelUnavailable (exit 6)
    says what is missing, how large it is and under which licence, when the editor's are: a grounder may not be asked.
    """
    from gas.run.models import missing_models

    settings = session.settings
    needed = missing_models(session, EDITORS, [settings.editor])
    more = missing_models(session, GROUNDERS, settings.grounders) if looks else []
    missing = list({one.files.model: one for one in (*needed, *more)}.values())
    if not missing or not (agreed or needed):
        return
    if agreed:
        options = session.settled(EDITORS.plural, settings.editor).options.model_dump(mode="json")
        variant, pickle = options.get("variant"), bool(options.get("allow_pickle"))
        own = announce(settings, needed, variant=variant, allow_pickle=pickle)
        fetch([*own, *announce(settings, [one for one in missing if one not in needed])])
        return
    listed = "; ".join(
        ", ".join([one.files.model, size(one.files.size_mb) if one.files.size_mb else "of unknown size", *_terms(one)])
        for one in missing
    )
    absent = {files.model for files in settings.profile.models if models.look(files).state != "there"}
    models_of_all = [one.files.model for one in missing]
    names = [settings.profile.name] if absent == set(models_of_all) else models_of_all
    raise ModelUnavailable(
        f"not downloaded yet: {listed}",
        Remedy(
            "pull_or_agree",
            "get it: {pull}; or agree to the download with {yes}",
            pull=Command("models pull", *names),
            yes=Setting("yes", True),
        ),
    )


def rm(registry: Registry, names: Sequence[str], *, as_json: bool = False) -> None:
    """Removes models from the hub's cache and the toolkit's folder, and says how much is free now. Errors as
    `cache.remove`."""
    if not names:
        raise UsageError(
            "say what to remove: a profile, or a model", Remedy("see_models", "{ls}", ls=Command("models ls"))
        )
    chosen = [one.files for one in catalogue.chosen_models(registry, names)]
    profiles = catalogue.profile_names(registry)
    if any(name in profiles for name in names):  # what a profile names and is not here, or not the toolkit's, stays so
        chosen = [one for one in chosen if models.source_of(one) != "local" and models.look(one).state != "missing"]
    removed = {files.model: models.remove(files) for files in chosen}
    for model, freed in removed.items():
        people().print(f"removed {model}: {size(freed / 1e6)}", markup=False, soft_wrap=True)
    if not removed:
        people().print("nothing of it is here")
    if as_json:
        print_json("models rm", [{"model": model, "bytes": freed} for model, freed in removed.items()])


def verify(registry: Registry, names: Sequence[str], *, as_json: bool = False) -> None:
    """Reads every file that is here again and compares checksums. ModelUnavailable (exit 6) when one is damaged.

    Without `names` all models are read of which something is here; a named one must be here.
    """
    chosen = (
        catalogue.chosen_models(registry, names)
        if names
        else catalogue.known_models(registry, lambda name, error: None)
    )
    checked: list[tuple[KnownModel, list[Checked]]] = []
    for one in chosen:
        if names or models.look(one.files).state != "missing":
            checked.append((one, list(models.verify(one.files))))
    if as_json:
        print_json(
            "models verify",
            [{"model": one.files.model, "files": [file._asdict() for file in files]} for one, files in checked],
        )
    else:
        rows = [(MARKS[file.condition], one.files.id, file.name, file.why) for one, files in checked for file in files]
        print_table("files", ("", "model", "file", ""), rows)
    conditions = {one.files.model: {file.condition for file in files} for one, files in checked}
    damaged = [model for model, found in conditions.items() if "damaged" in found]
    missing = [model for model, found in conditions.items() if "missing" in found]
    if damaged:
        raise ModelUnavailable(
            f"damaged: {', '.join(damaged)}",
            Remedy("repair", "get the damaged files again: {pull}", pull=Command("models pull", "--repair", *damaged)),
        )
    if missing and names:
        raise ModelUnavailable(
            f"not complete: {', '.join(missing)}", Remedy("pull", "{pull}", pull=Command("models pull", *missing))
        )


def size(megabytes: float | None) -> str:
    """A size for people: 4.3 GB, 691 MB, or a question mark."""
    if megabytes is None:
        return "?"
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{max(megabytes, 0.1):.3g} MB"


def terms(files: ModelFiles) -> str:
    """Under which terms a model comes: its licence, and what to know of it."""
    more = ["gated"] * files.gated + ["not for commercial use"] * (not files.commercial)
    return ", ".join([files.licence, *more] if files.licence else more)


def _terms(one: KnownModel) -> list[str]:
    return [terms(one.files)] if terms(one.files) else []


def _needs(profile: str, one: KnownModel, found: Found) -> bool:
    return profile in one.profiles and found.state != "there" and models.source_of(one.files) != "local"


def _state(found: Found) -> str:
    if found.state == "there":
        return f"there, {size(found.bytes / 1e6)}"
    return "missing" if found.state == "missing" else f"without {', '.join(found.missing)}"


def _data(one: KnownModel, found: Found) -> dict[str, Any]:
    return {
        **one.files.model_dump(mode="json"),
        "model": one.files.model,
        "profiles": list(one.profiles),
        "source": models.source_of(one.files),
        "state": found.state,
        "path": str(found.path) if found.path else None,
        "missing": list(found.missing),
        "bytes": found.bytes,
    }


@contextlib.contextmanager
def _progress(console: Console, download: Download) -> Iterator[Report]:
    """What is shown of the bytes that arrive: a bar in a terminal, silence elsewhere."""
    if not console.is_terminal:
        yield lambda count: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(download.files.id, total=download.bytes or None)
        yield lambda count: bar.advance(task, count)
