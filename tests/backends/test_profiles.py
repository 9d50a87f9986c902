from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gas import Profile, Registry
from gas.backends.roles import CHOSEN
from gas.errors import ModelUnavailable, PluginBroken, UsageError
from gas.models.manifest import resolve_model

TEXT = """
summary = "mine"
planner = "rules"
grounders = ["find", "cut"]
editor = "dds"
[options.dds]
steps = 12
[[models]]
id = "owner/name"
revision = "abc"
licence = "MIT"
size_mb = 12.5
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "profiles").mkdir(parents=True)
    return tmp_path / "home"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_profile_from_a_file(tmp_path: Path) -> None:
    profile = Profile.from_toml(write(tmp_path / "Mine.toml", TEXT))
    assert (profile.name, profile.editor, profile.grounders) == ("mine", "dds", ("find", "cut"))
    assert profile.layer("dds").values == {"steps": 12}
    assert profile.layer("dds").origin == "profile mine"
    assert profile.layer("cds").values == {}
    assert profile.models[0].model == "owner/name@abc"
    assert Profile.model_validate_json(profile.model_dump_json()) == profile


@pytest.mark.parametrize(("text", "message"), [
    ("editor = \n", r"mine.toml: malformed TOML: .*line 1"),
    ('editor = "dds"\neditor = "cds"\n', r"mine.toml: malformed TOML: .*line 2"),
    ("planner = 'rules'", "mine.toml: editor: field required"),
    ("editor = 'dds'\nedtor = 'x'", "mine.toml: edtor: extra inputs are not permitted"),
    ("editor = 'dds'\n[options]\nsteps = 3", "mine.toml: options.steps"),
    ("editor = 'dds'\n[options.openai]\napi_key = 'sk-123'", "mine.toml: 'api_key' looks like a secret"),
    ("editor = 'dds'\nname = 'Two Words'", "mine.toml: name"),
])  # fmt: skip
def test_wrong_profiles_are_refused_by_file_and_key(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        Profile.from_toml(write(tmp_path / "mine.toml", text))
    assert "sk-123" not in str(caught.value)


def test_missing_profile_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        Registry.discover().profile(str(tmp_path / "no.toml"))
    with pytest.raises(UsageError, match="not UTF-8"):
        (tmp_path / "x.toml").write_bytes(b"summary = '\xff'")
        Profile.from_toml(tmp_path / "x.toml")


# The profiles that come with the toolkit


SHIPPED = ("diorama", "published", "sd15")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profiles(name: str) -> None:
    registry = Registry.discover()
    profile = registry.profile(name)
    assert profile.name == name
    assert profile.editor == ("auto" if name == "diorama" else "ground-a-score")
    (diffusion,) = {profile.options[editor]["model"] for editor in ("sds", "dds", "cds", "ground-a-score")}
    known = {model.model for model in profile.models}
    assert diffusion in known
    for grounder in profile.grounders:
        assert profile.options[grounder]["model"] in known, "every model is listed with its licence and size"
    assert all(model.licence for model in profile.models)
    assert {entry.spec.name for entry in registry.entries("profiles")} >= set(SHIPPED)


LATER = ("sdxl", "sd3", "flux", "kontext", "qwen-edit", "flux2-klein")
"""Profiles for the models of later families; `edit-model` and `inpaint` are for those that the user names."""


@pytest.mark.parametrize("name", ["sd15", "published", *LATER])
def test_what_comes_from_elsewhere_is_pinned(name: str) -> None:
    for model in Registry.discover().profile(name).models:
        assert model.size_mb
        if model.url:
            assert re.fullmatch(r"[0-9a-f]{64}", model.sha256 or "")
        else:
            assert re.fullmatch(r"[0-9a-f]{40}", model.revision or "") and model.files
            assert resolve_model(model.model) == (model.id, model.revision, False)
            assert not any(name.endswith((".bin", ".ckpt", ".pth")) for name in model.files)


def test_the_profile_for_photographs_finds_and_outlines() -> None:
    profile = Registry.discover().profile("sd15")
    assert profile.grounders == ("grounding-dino", "sam")
    assert {model.id for model in profile.models} >= {"IDEA-Research/grounding-dino-tiny", "facebook/sam-vit-base"}


@pytest.mark.parametrize("name", LATER)
def test_profiles_of_later_families_name_one_model_with_its_terms(name: str) -> None:
    profile = Registry.discover().profile(name)
    (model,) = (one for one in profile.models if one.use == "editors")
    named = {
        values["model"] for backend, values in profile.options.items() if backend not in (*profile.grounders, "auto")
    }
    assert named == {model.model} and profile.options[profile.editor]["model"] == model.model
    assert model.licence and model.size_mb and profile.rank == 0 and profile.photographs and profile.pipelines
    black_forest = "Non-Commercial" in model.licence
    assert black_forest == (name in {"flux", "kontext"}) and model.commercial is not black_forest
    assert model.gated == (name in {"flux", "kontext", "sd3"})
    memory = profile.memory_gb
    assert memory["all"] > memory["offload"] > memory["lowest"]
    # In 16 bits a file's bytes are the network's: all of them, and room to work. SDXL's plain files have 32.
    weights = model.size_mb / 1000 / (2 if name == "sdxl" else 1)
    assert memory["all"] == pytest.approx(weights + 3, abs=0.7)


def test_each_kind_of_model_has_one_profile() -> None:
    registry = Registry.discover()
    kinds = [kind for name in names(registry, "profiles") for kind in registry.profile(name).pipelines]
    assert len(kinds) == len(set(kinds))


def test_values_of_flow_edit_are_its_authors() -> None:
    registry = Registry.discover()
    sd3, flux = (registry.profile(name).options["flow-edit"] for name in ("sd3", "flux"))
    assert (sd3["steps"], round(sd3["steps"] * sd3["strength"])) == (50, 33)
    assert (sd3["source_guidance"], sd3["guidance_scale"]) == (3.5, 13.5)
    assert (flux["steps"], round(flux["steps"] * flux["strength"])) == (28, 24)
    assert (flux["source_guidance"], flux["guidance_scale"]) == (1.5, 5.5)


def test_the_published_set_takes_boxes_and_a_planner_that_the_user_must_name() -> None:
    from gas import Session

    profile = Registry.discover().profile("published")
    assert (profile.planner, profile.grounders) == ("openai", ("grounding-dino",))
    assert profile.options["ground-a-score"]["mask"] == "box"
    assert profile.options["grounding-dino"]["always_best"] is True
    with pytest.raises(UsageError, match="chosen by profile published, not by you") as caught:
        Session.of(profile="published").planner()
    assert 'planner="openai"' in caught.value.remedy and 'planner="auto"' in caught.value.remedy
    assert Session.of(profile="published", planner="openai").planner().remote
    assert not Session.of(profile="published", planner="rules").planner().remote


@pytest.mark.parametrize("name", [*SHIPPED, *LATER, "edit-model", "inpaint"])
def test_shipped_profiles_fit_the_options_of_their_backends(name: str) -> None:
    registry = Registry.discover()
    profile = registry.profile(name)
    roles = {backend: role.plural for role in CHOSEN for backend in names(registry, role.plural)}
    assert set(profile.retry_editors) <= set(names(registry, "editors"))
    for backend in {*profile.options, *(name for role in CHOSEN for name in role.names(profile))}:
        settled = registry.settle(roles[backend], backend, {}, [profile.layer(backend)])
        for option in set(profile.options.get(backend, {})) - {"preset"}:
            assert settled.origins[option] == f"profile {name}"


def names(registry: Registry, role: str) -> list[str]:
    return [spec.name for spec in registry.specs(role)]


def test_users_own_profiles(home: Path) -> None:
    registry = Registry.discover()
    with pytest.raises(UsageError, match="unknown profile 'mine'"):
        registry.profile("mine")
    path = write(home / "profiles" / "mine.toml", TEXT)
    assert registry.profile("mine") == registry.profile(str(path))
    with pytest.raises(UsageError, match="unknown profile 'mina'; did you mean 'mine'"):
        registry.profile("mina")
    write(home / "profiles" / "sd15.toml", TEXT)
    with pytest.raises(UsageError, match="has the name of a built-in profile"):
        registry.profile("sd15")


# Models


def test_model_in_a_package() -> None:
    source = resolve_model("package:gas_editors/sd15.toml")
    assert Path(source.location).is_file()
    assert (source.revision, source.local) == (None, True)
    with pytest.raises(ModelUnavailable, match="package 'gas_editors' has no 'weights/none'"):
        resolve_model("package:gas_editors/weights/none")
    with pytest.raises(ModelUnavailable, match="package 'no_such_package' is not installed"):
        resolve_model("package:no_such_package/x")


@pytest.mark.parametrize("model", [
    "package:", "package:gas_editors", "package:gas_editors/", "package:gas_editors/../gas/types.py", "package:a-b/c",
    "package:gas_editors//etc/passwd", "owner/name@", "owner/name/more", "https://somewhere/model", "a b", "", "@x",
    "owner/name@v1 --upload",
])  # fmt: skip
def test_models_that_are_nothing(model: str) -> None:
    with pytest.raises(UsageError, match=re.escape(repr(model)) if not model.startswith("package:") else "malformed"):
        resolve_model(model)


def test_local_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (tmp_path / "odd @ name").mkdir()
    assert resolve_model(str(tmp_path / "odd @ name")).location == str(tmp_path / "odd @ name")
    for missing in (str(tmp_path / "nothing"), "./nothing", "../nothing", "~/no-such-folder-at-all"):
        with pytest.raises(ModelUnavailable, match="is not there"):
            resolve_model(missing)
    assert not resolve_model("owner/name").local
    monkeypatch.chdir(tmp_path)
    assert resolve_model("owner/name") == (str(tmp_path / "owner" / "name"), None, True)
    assert resolve_model("gpt2") == ("gpt2", None, False)


def test_resolving_imports_neither_torch_nor_the_package() -> None:
    code = (
        "import sys; from gas.models.manifest import resolve_model; resolve_model('package:gas_editors/sd15.toml');"
        "print([m for m in ('torch', 'numpy', 'diffusers', 'huggingface_hub', 'gas_editors') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_broken_profile_of_a_package_is_the_plugins_fault() -> None:
    with pytest.raises(PluginBroken, match=r"profile gas_editors:none\.toml"):
        Profile.from_package("gas_editors", "none.toml")
