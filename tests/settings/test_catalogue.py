"""Which profile is the default, from what profiles say of themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures
from places import ROOT

from gas import Profile, Registry, Session
from gas.backends.roles import EDITORS
from gas.errors import GasError, UsageError
from gas.models.manifest import ModelFiles
from gas.settings.catalogue import default_profile

DRAWING = np.zeros((8, 8, 3), np.uint8)
PHOTOGRAPH = np.full((9, 9, 3), 77, np.uint8)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own profiles, beside the toolkit's; and a function that knows drawings."""
    monkeypatch.setenv("GAS_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GAS_PROFILE", raising=False)
    monkeypatch.setitem(sys.modules, "knows_drawings", SimpleNamespace(drawing=lambda image: not image.any()))
    (tmp_path / "profiles").mkdir()
    return tmp_path / "profiles"


def write(home: Path, name: str, **values: object) -> None:
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in values.items()
    ]
    (home / f"{name}.toml").write_text("\n".join(["editor = 'dds'", *lines]))


def default(image: np.ndarray | None = None) -> tuple[str, str]:
    return default_profile(Registry(plugins="none"), image)


def test_without_models_it_is_the_one_that_needs_none_and_says_what_would_need_one(home: Path) -> None:
    assert default() == ("retouch", "default; what needs a model: gas models pull sd15 (5.3 GB)")
    assert default(PHOTOGRAPH)[0] == "retouch"


def test_the_embedded_worlds_own_pictures_are_for_the_embedded_one(home: Path) -> None:
    scene = np.asarray(Pictures.open(ROOT / "plugins/gas_diorama/scenes/demo.png").convert("RGB"))
    assert default(scene) == ("diorama", "default for pictures of this kind")


def test_highest_rank_of_those_that_are_complete(home: Path) -> None:
    write(home, "mine", rank=15)
    write(home, "better", rank=30)
    write(home, "best", rank=99, models=[])
    assert default()[0] == "best"
    (home / "best.toml").write_text("editor = 'dds'\nrank = 99\nphotographs = true\n[[models]]\nid = 'owner/nowhere'")
    assert default() == ("better", "default; for photographs: gas models pull best")
    (home / "better.toml").write_text("editor = 'dds'\n[[models]]\nid = './nowhere'\n")
    assert default()[0] == "mine"


def test_models_that_are_here_are_the_reason(home: Path) -> None:
    (home.parent / "weights").mkdir()
    (home.parent / "weights" / "model.safetensors").write_bytes(b"x")
    write(home, "mine", rank=40, photographs=True)
    with (home / "mine.toml").open("a") as file:
        file.write(f"\n[[models]]\nid = '{home.parent / 'weights'}'\n")
    assert default() == ("mine", "default, since the models of mine are here")


def test_without_a_rank_it_never_is(home: Path) -> None:
    write(home, "mine")
    write(home, "zero", rank=0)
    assert default()[0] == "retouch"


def test_where_none_is_complete_the_lowest_rank_is_taken(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = (ModelFiles(id="owner/nowhere"),)
    read = Registry.profile
    monkeypatch.setattr(Registry, "profile", lambda self, name: read(self, name).model_copy(update={"models": missing}))
    assert default()[0] == "diorama"


def test_one_that_cannot_be_read_is_passed_over(home: Path) -> None:
    (home / "broken.toml").write_text("edtor = 'dds'\nrank = 99")
    assert default()[0] == "retouch"


@pytest.mark.parametrize(("more", "why"), [
    ({"remote": True}, "sends pictures away is never a default"),
    ({"models": (ModelFiles(id="owner/research", commercial=False),)}, "owner/research may not be used commercially"),
])  # fmt: skip
def test_what_sends_pictures_away_or_is_not_commercial_has_no_rank(more: dict[str, object], why: str) -> None:
    assert Profile.model_validate({"name": "p", "editor": "dds", **more}).rank == 0
    with pytest.raises(ValueError, match=why):
        Profile.model_validate({"name": "p", "editor": "dds", "rank": 1, **more})


def test_no_third_party_is_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gas.backends.registry

    monkeypatch.setattr(gas.backends.registry, "probe", lambda plugins: pytest.fail("a plugin was looked at"))
    assert default_profile(Registry())[0] == "retouch"


def test_picture_decides_among_those_that_are_made_for_one_kind(home: Path) -> None:
    write(home, "drawings", rank=5, accepts="knows_drawings:drawing")
    write(home, "anything", rank=40)
    assert default()[0] == "anything", "without a picture the rank alone decides"
    assert default(DRAWING) == ("drawings", "default for pictures of this kind")
    assert default(PHOTOGRAPH)[0] == "anything"
    write(home, "drawings", rank=50, accepts="knows_drawings:drawing")
    assert default()[0] == "drawings"
    assert default(PHOTOGRAPH)[0] == "anything", "one that is made for others only comes last"


def test_what_accepts_names_must_be_a_function_in_a_module() -> None:
    with pytest.raises(ValueError, match="accepts"):
        Profile(name="p", editor="dds", accepts="a photograph")


# What the shipped profiles say of themselves

SHIPPED = (
    "diorama",
    "edit-model",
    "flux",
    "flux2-klein",
    "inpaint",
    "instruct",
    "kontext",
    "published",
    "qwen-edit",
    "retouch",
    "sd15",
    "sd3",
    "sdxl",
)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profile_says_truly_whether_it_sends_pictures_away(name: str, home: Path) -> None:
    session = Session.of(registry=Registry(plugins="none"), profile=name)
    assert session.settings.profile.remote is session.backend("planners", session.settings.planner).remote


def test_names_of_profiles_stand_in_no_code_of_the_core() -> None:
    from gas.settings import catalogue, settings

    for module in (catalogue, settings):
        text = Path(module.__file__).read_text("utf-8")
        assert not [name for name in SHIPPED if f'"{name}"' in text]


def test_who_asks_for_nothing_gets_an_error_that_names_the_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "own", lambda self, role: [])
    with pytest.raises(UsageError, match="no profile may be the default"):
        default()


# --- a model alone


def of_model(model: object) -> tuple[str, str]:
    return default_profile(Registry(plugins="none"), model=str(model))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "theirs" / "unet").mkdir(parents=True)
    return tmp_path / "theirs"


@pytest.mark.parametrize(
    ("pipeline", "profile"),
    [
        ("StableDiffusionPipeline", "sd15"),
        ("StableDiffusionInstructPix2PixPipeline", "instruct"),
        ("StableDiffusionXLPipeline", "sdxl"),
        ("StableDiffusion3Pipeline", "sd3"),
        ("FluxPipeline", "flux"),
        ("FluxKontextPipeline", "kontext"),
        ("QwenImageEditPlusPipeline", "qwen-edit"),
        ("Flux2KleinPipeline", "flux2-klein"),
        ("Flux2Pipeline", "edit-model"),
        ("LongCatImageEditPipeline", "edit-model"),
        ("ChromaPipeline", "inpaint"),
        ("StableDiffusionInpaintPipeline", "inpaint"),
    ],
)
def test_a_folder_gets_the_profile_of_its_kind(home: Path, folder: Path, pipeline: str, profile: str) -> None:
    (folder / "model_index.json").write_text(json.dumps({"_class_name": pipeline}))
    assert of_model(folder) == (profile, f"default for a model of the kind {pipeline}")


@pytest.mark.parametrize(
    ("unet", "profile"),
    [
        ({"in_channels": 4}, "sd15"),
        ({"in_channels": 8}, "instruct"),
        ({"in_channels": 9}, None),
        ({"in_channels": "4"}, None),
        ({"in_channels": 4, "attention_type": "gated"}, None),
        ([], None),
    ],
)
def test_without_an_index_the_kind_is_told_by_the_unet(
    home: Path, folder: Path, unet: object, profile: str | None
) -> None:
    (folder / "unet" / "config.json").write_text(json.dumps(unet))
    assert of_model(folder)[0] == (profile or default()[0])


def test_a_model_that_a_profile_names_gets_that_profile(home: Path) -> None:
    why = "default for the model that is named"
    assert of_model("timbrooks/instruct-pix2pix") == ("instruct", why)
    assert of_model("package:gas_diorama/weights/sd") == ("diorama", why)
    write(home, "mine", rank=90, models=[])
    assert of_model("package:gas_diorama/weights/sd") == ("diorama", why)


def test_a_kind_that_no_profile_is_for_changes_nothing(home: Path, folder: Path) -> None:
    (folder / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    assert of_model(folder) == default() == of_model("no/such") == of_model("../nowhere")
    write(home, "mine", pipelines=["KandinskyPipeline"])
    assert of_model(folder) == ("mine", "default for a model of the kind KandinskyPipeline")


def test_a_model_of_no_kind_is_what_an_edit_is_refused_for(home: Path, folder: Path) -> None:
    def refused(model: str, **flags: Any) -> GasError:
        with pytest.raises(GasError) as caught:
            Session.of(model=model, **flags).check(EDITORS)
        return caught.value

    (folder / "model_index.json").write_text('{"_class_name": "KandinskyPipeline"}')
    strange = refused(str(folder))
    assert strange.exit_code == 6 and "for diffusers' KandinskyPipeline, which no profile is for" in strange.message
    assert refused(str(folder.parent / "nowhere")).message.endswith("is not there")
    (folder / "model_index.json").unlink()
    assert "of no kind that gas knows" in refused(str(folder)).message
    assert "has not been downloaded" in refused("no/such").message
    assert "neither a file that exists nor a hub id" in refused("a b").message
    assert "retouch has no model of its own" in refused(str(folder), profile="retouch").message
    Session.of(model=str(folder), editor="dds").check(EDITORS)
