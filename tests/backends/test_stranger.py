"""A stranger's editor, from the guide's first listing to a picture, in an environment of its own."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from places import DATA, DOCS, ROOT
from pydantic import Field

import gas as gas_package
from gas import (
    BackendSpec,
    Editor,
    EditRequest,
    Grounder,
    Planner,
    Profile,
    Registry,
    Runtime,
    Verifier,
    VerifyJob,
)
from gas.backends import hookspecs
from gas.backends.roles import ROLES
from gas.errors import PlanUnreadable, ServiceUnavailable
from gas.models.manifest import resolve_model
from gas.preview import Message, Preview
from gas.suites import SuiteJob, SuiteReport
from gas.testing import EditorContract, GrounderContract, PlannerContract, VerifierContract, fakes
from gas.testing.contracts import sample_image, sample_job
from gas.types import Provenance
from gas.verify.changes import region_of

STRANGER = DATA / "stranger"
GUIDE = DOCS / "write-a-backend.md"


def module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gas_tint", STRANGER / "gas_tint.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class TestStrangersEditor(EditorContract):
    @pytest.fixture
    def editor(self) -> Editor:
        kind = module().TintEditor
        return kind(kind.options_type(), Runtime())


def listings(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_guide_begins_with_the_stranger() -> None:
    first = re.search(r"^```(\w+)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert first is not None and first[1] == "python"
    assert listings("python")[0] == (STRANGER / "gas_tint.py").read_text(encoding="utf-8")
    assert listings("toml")[0] == (STRANGER / "pyproject.toml").read_text(encoding="utf-8")


def test_stranger_needs_two_tables_and_one_file() -> None:
    assert len(re.findall(r"^\[", (STRANGER / "pyproject.toml").read_text(), re.MULTILINE)) == 2
    assert {path.name for path in STRANGER.iterdir() if path.name != "__pycache__"} == {"gas_tint.py", "pyproject.toml"}


def from_guide(name: str) -> Any:
    """What the guide's listings call `name`, run with the imports that its text takes for granted."""
    namespace = {
        "gas": gas_package,
        "dataclasses": dataclasses,
        "time": time,
        "Field": Field,
        "PlanUnreadable": PlanUnreadable,
        "SuiteReport": SuiteReport,
        "sample_image": sample_image,
        "sample_job": sample_job,
        "Provenance": Provenance,
        "np": np,
        "Preview": Preview,
        "Message": Message,
        "ServiceUnavailable": ServiceUnavailable,
        "resolve_model": resolve_model,
    }
    exec(compile(listing_of(name), str(GUIDE), "exec"), namespace)
    return namespace[name]


def listing_of(name: str) -> str:
    """The guide's listing that defines `name`."""
    (found,) = (text for text in listings("python") if re.search(rf"^(class|def) {name}\b", text, re.MULTILINE))
    return found


class TestGuidesGrounder(GrounderContract):
    @pytest.fixture
    def grounder(self) -> Grounder:
        kind = from_guide("WholePicture")
        return kind(kind.options_type(), Runtime())


class TestGuidesPlanner(PlannerContract):
    @pytest.fixture
    def planner(self) -> Planner:
        kind = from_guide("Verbatim")
        return kind(kind.options_type(), Runtime())

    @pytest.fixture
    def edit_request(self) -> EditRequest:
        return EditRequest(sample_image(32, 32), "the red box -> a blue ball")


class TestGuidesVerifier(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        kind = from_guide("Brighter")
        return kind(kind.options_type(), Runtime())

    def test_looks_for_light(self, verifier: Verifier, job: VerifyJob) -> None:
        lighter = np.where(region_of(job, 0)[..., None], np.uint8(240), job.before)
        assert [one.verdict for one in verifier.verify(replace(job, after=lighter))] == ["done"]


def test_guides_preview_is_shown() -> None:
    kind = from_guide("Asking")
    preview = kind(kind.options_type(), Runtime()).preview(EditRequest(sample_image(8, 8), "dog -> tiger"))
    said = "\n".join(preview.lines("planner", "asking"))
    assert preview.remote and "https://example.org/v1" in said and "dog -> tiger" in said


def test_guides_backend_is_made_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gas_tint", module())
    registry = Registry(plugins="none").add(sys.modules["gas_tint"])
    picture = sample_image(16, 16)
    assert (from_guide("tinted")(registry, picture) != picture).any()


def test_guides_model_is_loaded_once(tiny_sd: Path) -> None:
    load, runtime = from_guide("load_network"), Runtime(device="cpu")
    backend = SimpleNamespace(options=SimpleNamespace(model=str(tiny_sd / "text_encoder")), runtime=runtime)
    assert load(backend) is load(backend)


def test_guide_says_what_is_public() -> None:
    text = GUIDE.read_text(encoding="utf-8").partition("## What is public")[2]
    names = re.findall(r"`(gas\.[a-z_.]+)`", text)
    for name in names:
        if name != "gas.__all__":
            parent, _, last = name.rpartition(".")
            assert importlib.util.find_spec(name if parent == "gas" else parent), name
            assert parent == "gas" or hasattr(importlib.import_module(parent), last), name
    assert len(names) > 5


def test_guides_suite_measures() -> None:
    kind = from_guide("Timing")
    registry = Registry(plugins="none").add(fakes)
    said: list[tuple[str, int, int]] = []
    suite = kind(kind.options_type(editor="fake", pictures=2), Runtime())
    report = suite.run(SuiteJob(registry, progress=lambda *told: said.append(told)))
    assert report.as_json()["seconds"] > 0 and "s a picture" in report.tables() and report.notes == ()
    assert said == [("a picture", 0, 2), ("a picture", 1, 2)]


def test_guides_profile_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "hurry.toml").write_text(listings("toml")[1], encoding="utf-8")
    profile = Profile.from_toml(tmp_path / "hurry.toml")
    assert profile.options["tint"] == {"amount": 0.9}
    assert profile.models[0].licence == "MIT"


def test_guides_test_is_a_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gas_tint", module())
    namespace: dict[str, object] = {}
    exec(compile(listing_of("TestTint"), str(GUIDE), "exec"), namespace)
    assert issubclass(namespace["TestTint"], EditorContract)  # type: ignore[arg-type]


def test_guide_names_every_hook_and_every_field() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    hooks = [name for name in vars(hookspecs) if name.startswith("gas_register_")]
    fields = [field.name for field in dataclasses.fields(BackendSpec)]
    assert len(hooks) == len(ROLES)
    for name in [*hooks, *fields]:
        assert f"`{name}`" in text, f"the guide does not speak of {name}"


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment that sees this one's packages, with the stranger's wheel installed in it."""
    folder = tmp_path_factory.mktemp("stranger")
    # pip would leave its build folder beside the source
    source = folder / "source"
    source.mkdir()
    for path in (STRANGER / "gas_tint.py", STRANGER / "pyproject.toml"):
        (source / path.name).write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    quiet = {**os.environ, "PIP_NO_INDEX": "1"}
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)],
        check=True,
        env=quiet,
    )
    (wheel,) = folder.glob("gas_tint-*.whl")
    fresh = folder / "fresh"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True)
    executable = fresh / ("Scripts" if os.name == "nt" else "bin") / "python"
    asked = [str(executable), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    others = [entry for entry in sys.path if entry and Path(entry).is_dir() and Path(entry) != ROOT / "tests"]
    (site / "packages-of-the-tests.pth").write_text("\n".join(others) + "\n")
    subprocess.run([*pip, "--python", str(executable), "install", "--no-deps", str(wheel)], check=True, env=quiet)
    return executable


def gas(python: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "GAS_HOME": str(home), "OMP_NUM_THREADS": "1"}
    env.pop("PYTHONPATH", None)
    return subprocess.run(
        [str(python), "-m", "gas_cli", *arguments], cwd=home, env=env, capture_output=True, text=True, timeout=240
    )


def test_stranger_is_listed(python: Path, tmp_path: Path) -> None:
    result = gas(python, "backends", "editors", "--json", home=tmp_path)
    assert result.returncode == 0, result.stderr
    data = json.loads(result.stdout)["data"]
    (tint,) = [backend for backend in data["backends"] if backend["name"] == "tint"]
    assert (tint["distribution"], tint["version"], tint["builtin"]) == ("gas-tint", "0.1", False)
    assert data["broken"] == []
    shown = gas(python, "backends", "show", "tint", home=tmp_path)
    assert "share of the colour in the result" in shown.stdout


def test_stranger_edits_a_photograph(python: Path, tmp_path: Path) -> None:
    before = sample_image(200, 150)
    Image.fromarray(before).save(tmp_path / "in.png")
    result = gas(
        python, "edit", "in.png", "change the red box into a blue ball", "--editor", "tint", "--box",
        "red box=60,30,140,120", "-o", "out.png", "-o", "colour=0,0,255", "-o", "amount=1", home=tmp_path,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    after = np.asarray(Image.open(tmp_path / "out.png").convert("RGB"))
    assert after.shape == before.shape
    outside = np.ones(before.shape[:2], bool)
    outside[30:120, 60:140] = False
    assert (after[outside] == before[outside]).all(), "outside the box every pixel stays as it was"
    middle = after[60:90, 85:115].astype(int)
    assert np.abs(middle - (0, 0, 255)).max() <= 8, "inside the box there is the colour"


def test_strangers_wrong_option_is_refused_by_name(python: Path, tmp_path: Path) -> None:
    Image.fromarray(sample_image(64, 64)).save(tmp_path / "in.png")
    result = gas(
        python, "edit", "in.png", "change the red box into a blue ball", "--editor", "tint", "--box",
        "red box=10,10,50,50", "-o", "out.png", "-o", "amuont=1", home=tmp_path,
    )  # fmt: skip
    assert result.returncode == 2
    assert "did you mean 'amount'" in result.stderr
    assert not (tmp_path / "out.png").exists()
