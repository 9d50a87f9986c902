"""Where the toolkit keeps files of its own. Model weights are not among them: they live in the Hugging Face cache."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of `config.toml`, `profiles/*.toml` and the keys: GAS_HOME, or the platform's folder for settings."""
    if home := environ.get("GAS_HOME"):
        return Path(home).expanduser()
    from platformdirs import user_config_path

    return user_config_path("gas", appauthor=False)
