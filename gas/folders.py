"""Where the toolkit keeps files of its own, and where the Hugging Face cache is, in which most models are."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of `config.toml`, `profiles/*.toml` and the keys: GAS_HOME, or the platform's folder for settings."""
    if home := environ.get("GAS_HOME"):
        return Path(home).expanduser()
    from platformdirs import user_config_path

    return user_config_path("gas", appauthor=False)


def models_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of model files that do not come from the hub: in GAS_HOME, or in the platform's folder for caches."""
    if home := environ.get("GAS_HOME"):
        return Path(home).expanduser() / "models"
    from platformdirs import user_cache_path

    return user_cache_path("gas", appauthor=False) / "models"


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of what the toolkit has made itself and can make again: GAS_CACHE_FOLDER, or in GAS_HOME, or the
    platform's for caches."""
    if named := environ.get("GAS_CACHE_FOLDER"):
        return Path(named).expanduser()
    if home := environ.get("GAS_HOME"):
        return Path(home).expanduser() / "cache"
    from platformdirs import user_cache_path

    return user_cache_path("gas", appauthor=False)


def stages_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of stages that are reused (`gas.cache`), within the cache's folder."""
    return cache_folder(environ) / "stages"


def hub_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of the Hugging Face cache, as huggingface_hub finds it, which is not imported for it.

    Where it has been imported already its own word holds, for that is where it will look.
    """
    if environ is os.environ and (constants := sys.modules.get("huggingface_hub.constants")) is not None:
        return Path(constants.HF_HUB_CACHE)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := environ.get(name):
            return Path(os.path.expandvars(named)).expanduser()
    home = environ.get("HF_HOME") or os.path.join(environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(os.path.expandvars(home)).expanduser() / "hub"
