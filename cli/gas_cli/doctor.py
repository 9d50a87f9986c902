"""`gas doctor`: what this machine has, and what each profile still needs. It downloads and changes nothing."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gas.backends.registry import Registered, Registry
from gas.backends.roles import CHOSEN, PROFILES
from gas.errors import GasError
from gas.memory import gigabytes, memory
from gas.remedies import Command, shell_words
from gas_cli import wording
from gas_cli.output import output_console, people, print_json

if TYPE_CHECKING:
    from gas.backends.profiles import Profile
    from gas.runtime import Runtime
    from gas.settings.settings import Settings

State = Literal["ok", "note", "missing", "broken"]
PACKAGES = ("gas-edit", "numpy", "pillow", "pydantic", "torch", "diffusers", "transformers", "openai", "ollama")
OLLAMA_SECONDS = 0.5


@dataclass(frozen=True)
class Checked:
    """One line of the report: what was looked at, how it is, and what to do about it."""

    topic: str
    state: State
    value: str
    remedy: str = ""


def findings(registry: Registry, settings: Settings, runtime: Runtime) -> list[Checked]:
    """Everything that was looked at, in the order to read it."""
    return [
        *_settings(settings),
        *_packages(),
        *_device(runtime),
        *_resources(),
        *_hub(),
        ollama(),
        *_plugins(registry),
        *_profiles(registry),
    ]


def verdict(registry: Registry, found: Iterable[Checked]) -> Checked:
    """Whether photographs can be edited here: with which profiles, or else what to do next for the one of the highest
    rank that is for photographs."""
    topic, states = "You can edit photographs", list(found)
    profiles = []
    for entry in registry.entries(PROFILES.plural):
        with contextlib.suppress(GasError):
            profiles.append(registry.profile(entry.spec.name))
    meant = sorted((one for one in profiles if one.photographs), key=lambda one: -one.rank)
    ready = [one.name for one in meant if any(f.topic == f"profile {one.name}" and f.state == "ok" for f in states)]
    if ready:
        return Checked(topic, "ok", f"yes, with {' or '.join(f'--profile {name}' for name in ready)}")
    for one in meant:
        for finding in states:
            if finding.topic == f"profile {one.name}" and finding.remedy:
                return Checked(topic, "missing", "no", f"Next: {finding.remedy}")
    return Checked(topic, "missing", "no", "Next: see the profiles below")


def print_doctor(registry: Registry, settings: Settings, runtime: Runtime, *, as_json: bool = False) -> None:
    """Prints the findings to standard output."""
    found = findings(registry, settings, runtime)
    found.insert(0, verdict(registry, found))
    if as_json:
        print_json("doctor", [asdict(finding) for finding in found])
        return
    colours = {"ok": "green", "note": "cyan", "missing": "yellow", "broken": "red"}
    console = output_console(soft_wrap=True)
    console.print(f"{found[0].topic}: {found[0].value}. {found[0].remedy}".rstrip(), markup=False)
    for finding in found[1:]:
        console.print(f"[{colours[finding.state]}]{finding.state:>7}[/]  {finding.topic:<22} ", end="")
        console.print(finding.value + (f"; {finding.remedy}" if finding.remedy else ""), markup=False)
    bad = sum(finding.state in {"missing", "broken"} for finding in found[1:])
    people().print(f"{bad} of {len(found) - 1} need attention" if bad else "nothing needs attention")


def _settings(settings: Settings) -> Iterable[Checked]:
    from gas.settings.settings import environment_typos

    for name, value, origin in settings.describe():
        if origin != "default":
            shown = ", ".join(value) or "none" if isinstance(value, tuple) else str(value)
            yield Checked(f"setting {name}", "note", f"{shown} (from {origin})")
    for sentence in environment_typos():
        yield Checked("environment", "broken", sentence)


def _packages() -> Iterable[Checked]:
    from importlib.metadata import PackageNotFoundError, version

    yield Checked("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in PACKAGES:
        try:
            yield Checked(name, "ok", version(name))
        except PackageNotFoundError:
            yield Checked(name, "note", "not installed")


def _device(runtime: Runtime) -> Iterable[Checked]:
    try:
        device, dtype = runtime.torch_device(), runtime.torch_dtype()
    except ImportError as error:
        yield Checked("device", "missing", f"torch cannot be imported: {error}", 'pip install "gas-edit[diffusion]"')
        return
    except GasError as error:
        yield Checked("device", "broken", error.message, wording.remedy(error))
        return
    import torch

    name = f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)
    yield Checked("device", "ok", f"{name}, chosen by {runtime.device!r}")
    yield Checked("dtype", "ok", f"{str(dtype).removeprefix('torch.')}, chosen by {runtime.dtype!r}")
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        yield Checked("device memory", "ok", f"{gigabytes(free)} free of {gigabytes(total)}")


def _resources() -> Iterable[Checked]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Checked("processor cores", "ok", str(cores))
    if (found := memory()) is not None:
        free, total = found
        yield Checked("memory", "ok" if free > 2e9 else "missing", f"{gigabytes(free)} free of {gigabytes(total)}")
    free = shutil.disk_usage(Path.cwd()).free
    yield Checked("disk, this folder", "ok" if free > 1e9 else "missing", f"{gigabytes(free)} free")


def _hub() -> Iterable[Checked]:
    try:
        from huggingface_hub import constants
    except ImportError:
        yield Checked("model cache", "note", "huggingface_hub is not installed", 'pip install "gas-edit[diffusion]"')
        return
    folder = Path(constants.HF_HUB_CACHE)
    try:
        there = folder if folder.exists() else next(p for p in folder.parents if p.exists())
        yield Checked("model cache", "ok", f"{folder}, {gigabytes(shutil.disk_usage(there).free)} free on its disk")
    except OSError as error:
        reason = f"{str(folder)[:200]} cannot be read: {error.strerror or error}"
        yield Checked("model cache", "broken", reason, "correct its permissions, or name another folder with HF_HOME")
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if value := os.environ.get(name):
            yield Checked(name, "note", value)
    token = "set" if os.environ.get("HF_TOKEN") or Path(constants.HF_TOKEN_PATH).exists() else "not set"
    yield Checked("hub login", "note", token)


def ollama() -> Checked:
    """Whether an Ollama answers, asked only on this machine; an address elsewhere is shown, not called."""
    import json
    from http.client import HTTPException
    from urllib.parse import urlsplit
    from urllib.request import ProxyHandler, build_opener

    address = os.environ.get("OLLAMA_HOST") or "127.0.0.1:11434"
    address = address if "://" in address else f"http://{address}"
    try:
        host = urlsplit(address).hostname or ""
        port = urlsplit(address).port or 11434
    except ValueError:
        return Checked("ollama", "broken", f"OLLAMA_HOST={address!r} is malformed", "write host:port")
    if host not in {"localhost", "127.0.0.1", "::1", "0.0.0.0"}:
        return Checked("ollama", "note", f"on another machine, {host}:{port}; not asked")
    try:
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/api/tags", timeout=OLLAMA_SECONDS) as reply:
            models = [str(model["name"]) for model in json.loads(reply.read(1_000_000))["models"]]
    except (OSError, HTTPException) as error:
        return Checked("ollama", "note", f"nothing answers on port {port} ({getattr(error, 'reason', error)})")
    except (ValueError, KeyError, TypeError):
        return Checked("ollama", "note", f"what answers on port {port} is not Ollama")
    return Checked("ollama", "ok", f"on port {port} with {', '.join(models) or 'no models'}")


def _plugins(registry: Registry) -> Iterable[Checked]:
    registry.look_everywhere()
    for fault in registry.broken:
        yield Checked("plugin", "broken", str(fault), "repair or uninstall it, or set GAS_PLUGINS=none")
    for role in CHOSEN:
        for entry in registry.entries(role.plural):
            if entry.missing:
                topic = f"{role.name} {entry.spec.name}"
                yield Checked(topic, "note", f"needs {', '.join(entry.missing)}", entry.install or "")


def _profiles(registry: Registry) -> Iterable[Checked]:
    """For each profile what it still needs: backends that are not there, packages, and models."""
    from gas.models import cache as models
    from gas.settings import catalogue
    from gas_cli.models import size, terms

    registered = {entry.spec.name: entry for entry in registry.entries(PROFILES.plural)}
    for name in catalogue.profile_names(registry):
        topic = f"profile {name}"
        try:
            profile = registry.profile(name)
            used = [registry.find(role.plural, one) for role in CHOSEN for one in role.names(profile)]
            absent = [files for files in profile.models if models.look(files).state != "there"]
        except GasError as error:
            yield Checked(topic, "broken", error.message, wording.remedy(error))
            continue
        complete = True
        for package in dict.fromkeys(_missing_packages([*used, *filter(None, [registered.get(name)])])):
            complete = False
            yield Checked(topic, "missing", *package)
        to_get = [files for files in absent if models.source_of(files) != "local"]
        for files in absent:
            if files not in to_get:
                complete = False
                yield Checked(topic, "missing", f"model {files.id!r} is not there", "reinstall it, or correct its path")
        if to_get:
            complete = False
            listed = ", ".join(
                f"{files.id} ({', '.join(filter(None, [size(files.size_mb), terms(files)]))})" for files in to_get
            )
            needs = _memory(profile)
            yield Checked(topic, "missing", f"models: {listed}{needs}", shell_words(Command("models pull", name)))
        if complete:
            yield Checked(topic, "ok", f"complete{_memory(profile)}")


def _memory(profile: Profile) -> str:
    """How much of a card's memory the profile says that it needs, by `--memory`."""
    listed = ", ".join(f"{gb:g} GB ({rung})" for rung, gb in profile.memory_gb.items())
    return f"; memory of the GPU, about: {listed}" if listed else ""


def _missing_packages(entries: Iterable[Registered]) -> Iterable[tuple[str, str]]:
    for entry in entries:
        if entry.missing:
            yield f"{entry.spec.name} needs {', '.join(entry.missing)}", entry.install or ""
