"""What a wheel and its extras hold, by what pyproject.toml says."""

from __future__ import annotations

import ast
import tomllib

from places import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_training_is_in_the_sdist_alone_and_nothing_in_the_wheel_needs_it() -> None:
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"] == ["plugins/gas_diorama/train"]
    for package in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        for path in (ROOT / package).rglob("*.py"):
            if "train" in path.relative_to(ROOT).parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
                assert not any(name.startswith("gas_diorama.train") for name in names), path


def test_all_needs_nothing_that_is_built_from_source() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert "groundingdino" not in extras["all"][0] and "yolo" not in extras["all"][0]


def test_all_weights_together_stay_light() -> None:
    weights = ROOT / "plugins" / "gas_diorama" / "weights"
    assert sum(path.stat().st_size for path in weights.rglob("*") if path.is_file()) < 40e6
