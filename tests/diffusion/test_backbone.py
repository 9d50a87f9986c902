"""The seam between methods and models: its contract, rows of what a model is told, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from fake_backbones import FAMILIES, FakeFlow, FakeXL, model_folder

from gas.diffusion import load
from gas.diffusion.backbone import Backbone, Conditioning
from gas.diffusion.load import backbone_from_folder, load_backbone
from gas.diffusion.schedule import FlowSchedule
from gas.errors import ModelUnavailable, UsageError
from gas.runtime import Runtime
from gas.testing import BackboneContract, GaussianDenoiser
from gas.testing.tiny import build_tiny_gligen, build_tiny_instruct_pix2pix, build_tiny_stable_diffusion

# --- the contract -----------------------------------------------------------------------------------------------------


class TestStableDiffusion(BackboneContract):
    @pytest.fixture(scope="class", params=["epsilon", "v_prediction"])
    @classmethod
    def backbone(cls, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
        folder = tmp_path_factory.mktemp(request.param)
        return backbone_from_folder(build_tiny_stable_diffusion(folder / "sd", prediction_type=request.param))

    def test_nine_sites_are_compared_and_each_counts_once(self, backbone: Backbone) -> None:
        compared = [site for site in backbone.attention_sites() if site.contrast]
        assert len(compared) == 9 and {site.contrast for site in compared} == {1.0}
        assert all(site.kind == "self" and site.name.startswith("up_blocks") for site in compared)


class TestTrainedStableDiffusion(BackboneContract):
    least_db: ClassVar = 12.0  # a picture that is not of its world
    prompts: ClassVar = ("a red car on grass", "", "a blue house on snow")

    @pytest.fixture(scope="class")
    @classmethod
    def backbone(cls) -> Backbone:
        return load_backbone("package:gas_diorama/weights/sd", Runtime(device="cpu", dtype="fp32"))


class TestInstructionModel(BackboneContract):
    """Its rows are told a picture too."""

    @pytest.fixture(scope="class")
    @classmethod
    def backbone(cls, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
        folder = tmp_path_factory.mktemp("instruction")
        return backbone_from_folder(build_tiny_instruct_pix2pix(folder / "ip2p"), kind="instruction")

    @pytest.fixture
    def told(self, backbone: Backbone, z: torch.Tensor, image: Any) -> Conditioning:
        rows = backbone.condition(self.prompts, (z.shape[2], z.shape[3]))
        return rows.with_extra(beside=backbone.picture_condition(image).repeat(3, 1, 1, 1))


class TestGLIGEN(BackboneContract):
    """Rows that are told no boxes pass the gated layers by."""

    @pytest.fixture(scope="class")
    @classmethod
    def backbone(cls, tmp_path_factory: pytest.TempPathFactory) -> Backbone:
        folder = tmp_path_factory.mktemp("boxes")
        return backbone_from_folder(build_tiny_gligen(folder / "gligen", inpainting=False), kind="boxes")


class TestFakeXL(BackboneContract):
    prompts: ClassVar = ("red box", "", "blue ball")

    @pytest.fixture
    def backbone(self, tmp_path: Path) -> Backbone:
        return FakeXL.from_folder(tmp_path, None, None, name="a fake XL")


class TestFakeFlow(TestFakeXL):
    @pytest.fixture
    def backbone(self, tmp_path: Path) -> Backbone:
        return FakeFlow.from_folder(tmp_path, None, None, name="a fake flow")


class TestGaussianDenoiser(BackboneContract):
    prompts: ClassVar = ("a", "", "b")

    @pytest.fixture(params=["epsilon", "v_prediction", "velocity", "flow", "told", "none"])
    def backbone(self, request: pytest.FixtureRequest) -> Backbone:
        means = {name: torch.full((1, 3, 64, 96), mean) for name, mean in (("a", 1.0), ("", 0.0), ("b", -1.0))}
        world = GaussianDenoiser(means, 0.5)
        kinds: dict[str, dict[str, Any]] = {
            "flow": {"schedule": FlowSchedule(), "parameterisation": "velocity"},
            "told": {"guidance": "told"},
            "none": {"guidance": "none"},
        }
        return replace(world, **kinds.get(request.param, {"parameterisation": request.param}))

    def test_a_broken_latent_gives_no_picture(self, backbone: Backbone, z: torch.Tensor) -> None:
        """It has no decoder that could break."""


# --- what a model is told ---------------------------------------------------------------------------------------------


def rows(count: int) -> Conditioning:
    numbers = torch.arange(float(count))
    return Conditioning(numbers.view(-1, 1, 1).repeat(1, 2, 3), {"pooled": numbers[:, None]})


def test_rows_are_a_sequence() -> None:
    told = rows(5)
    assert [float(row.extra["pooled"]) for row in told] == [0, 1, 2, 3, 4]
    assert [len(part) for part in told.split(2)] == [2, 2, 1]
    assert told[torch.tensor([4, 4])].extra["pooled"].tolist() == [[4], [4]]
    with pytest.raises(ValueError, match="cannot be joined"):
        Conditioning.cat([told, told.without("pooled")])
    with pytest.raises(ValueError, match="5 rows, but 'beside' has 2"):
        told.with_extra(beside=torch.zeros(2, 1))


def test_other_embeddings_keep_the_rest_of_the_row() -> None:
    one = rows(3)[1:2]
    several = one.with_embeddings(torch.zeros(4, 2, 3))
    assert len(several) == 4 and several.extra["pooled"].tolist() == [[1]] * 4 and not several.embeddings.any()
    assert one.embeddings.any(), "the row itself is as it was"


# --- families ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FakeXL, FakeFlow])
def test_a_new_family_is_a_class_and_a_row(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = model_folder(tmp_path / "model", kind)
    with pytest.raises(ModelUnavailable, match=f"is a {kind.__name__}Pipeline, which no family here reads") as caught:
        backbone_from_folder(folder)
    assert caught.value.exit_code == 6 and "Stable Diffusion 1.x and 2.x" in caught.value.remedy
    monkeypatch.setattr(load, "FAMILIES", (*load.FAMILIES, *FAMILIES))
    runtime = Runtime(device="cpu")
    found = load_backbone(str(folder), runtime)
    assert type(found).__name__ == kind.__name__ and found.name == str(folder)
    assert load_backbone(str(folder), runtime) is found


def test_each_kind_of_a_model_is_loaded_apart(tiny_sd: Path, tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", dtype="fp32")
    folder = str(build_tiny_instruct_pix2pix(tmp_path / "ip2p"))
    load_backbone(folder, runtime, kind="instruction")
    with pytest.raises(ModelUnavailable, match="an instruction model such as"):
        load_backbone(folder, runtime)


def test_the_layout_decides_where_the_index_names_no_pipeline_of_a_family(tiny_sd: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_sd, tmp_path / "sd"))
    (folder / "model_index.json").write_text('{"_class_name": "CustomPipeline"}')
    assert backbone_from_folder(folder).resolution == 128


@pytest.mark.parametrize("index", ["", "{", "[]"])
def test_an_index_that_cannot_be_read_is_named(index: str, tiny_sd: Path, tmp_path: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(tiny_sd, tmp_path / "sd"))
    (folder / "model_index.json").write_text(index)
    with pytest.raises(ModelUnavailable, match=r"model_index\.json"):
        backbone_from_folder(folder)


# --- what a model does not have ---------------------------------------------------------------------------------------


def test_what_is_missing_is_refused_by_name() -> None:
    world = GaussianDenoiser({"": torch.zeros(1, 3, 8, 8)}, guidance="told")
    for ask in (
        lambda: world.need_null_row("the method"),
        lambda: world.need_sites("cross", "the method"),
        lambda: world.need_words("the method"),
    ):
        with pytest.raises(ModelUnavailable, match=r"the method .*a Gaussian world") as caught:
            ask()
        assert caught.value.exit_code == 6 and caught.value.remedy
    unguided = replace(world, guidance="none")
    with pytest.raises(UsageError, match=r"guidance_scale of 7\.5 would have no effect") as usage:
        unguided.guided(unguided.condition([""], (8, 8)), 7.5)
    assert usage.value.exit_code == 2 and "guidance_scale" in usage.value.remedy
    assert unguided.guided(unguided.condition([""], (8, 8)), 1).extra == {}
