"""Where networks are while they work. No device of its own memory is needed: one is played by the CPU, and by a class
of networks that counts what it has there."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gas import placement
from gas.diffusion.load import load_backbone
from gas.errors import OutOfResources
from gas.memory import Memory
from gas.placement import LADDER, ROOM, Placement, Rung, weights_of
from gas.runtime import Runtime
from gas.testing.contracts import sample_image
from gas.testing.tiny import (
    build_tiny_flux,
    build_tiny_stable_diffusion,
    build_tiny_stable_diffusion_3,
    build_tiny_stable_diffusion_xl,
)

pytestmark = pytest.mark.seeded  # networks of torch draw their first weights from the random state of the process

CPU = torch.device("cpu")
FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sd": build_tiny_stable_diffusion,
    "xl": build_tiny_stable_diffusion_xl,
    "sd3": build_tiny_stable_diffusion_3,
    "flux": build_tiny_flux,
}
SIZES = {"text_encoder": 4_000_000_000, "unet": 5_000_000_000}


@pytest.fixture
def as_if_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU counts as a device with memory of its own."""
    monkeypatch.setattr(placement, "can_offload", lambda device: True)


def noted(caught: list[warnings.WarningMessage]) -> str:
    return "\n".join(str(one.message) for one in caught)


# --- what is chosen ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("as_if_apart")
@pytest.mark.parametrize(
    ("free", "rung"),
    [
        (9_000_000_000 + ROOM, "all"),
        (9_000_000_000 + ROOM - 1, "offload"),
        (5_000_000_000 + ROOM, "offload"),
        (5_000_000_000 + ROOM - 1, "lowest"),
        (0, "lowest"),
    ],
)
def test_auto_takes_the_first_rung_that_fits_and_says_so(
    free: int, rung: Rung, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "free_memory", lambda device: free)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert Placement("auto").choose(SIZES, CPU, "the model") == rung
    said = noted(caught)
    assert said == "" if rung == "all" else f"memory: {rung} was chosen" in said and "9.0 GB" in said


@pytest.mark.usefixtures("as_if_apart")
@pytest.mark.parametrize("asked", LADDER)
def test_a_setting_is_followed_whatever_is_free(asked: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "free_memory", lambda device: 0)
    assert Placement(asked).choose(SIZES, CPU, "the model") == asked


@pytest.mark.parametrize(("asked", "taken"), [("offload", "all"), ("lowest", "lowest")])
def test_on_a_cpu_there_is_nothing_to_move_and_that_is_said(asked: Rung, taken: Rung) -> None:
    with pytest.warns(UserWarning, match=f"on the CPU {asked} .*nothing to move"):
        assert Placement(asked).choose(SIZES, CPU, "the model") == taken


@pytest.mark.parametrize("asked", ["auto", "all"])
def test_on_a_cpu_nothing_is_said_where_nobody_asked(asked: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Placement(asked).choose(SIZES, CPU, "the model") == "all"


# --- a device that is full --------------------------------------------------------------------------------------------


class Full:
    """A device of so many networks' room; `most` is how many were there at one time."""

    def __init__(self, room: int) -> None:
        self.room, self.most = room, 0
        self.there: set[int] = set()

    def network(self) -> nn.Module:
        full = self

        class Network(nn.Linear):
            def to(self, where: Any, *more: Any) -> Any:
                if torch.device(where).type == "cpu":
                    full.there.discard(id(self))
                else:
                    full.there.add(id(self))
                    full.most = max(full.most, len(full.there))
                    if len(full.there) > full.room:
                        raise torch.OutOfMemoryError("CUDA out of memory")
                return self

        return Network(3, 3).requires_grad_(False)


def test_offloading_needs_the_room_of_one_network() -> None:
    full, device = Full(1), torch.device("cuda")
    parts = {name: full.network() for name in ("a", "b", "c")}
    Placement("offload").place(parts, device, "the model")
    x = torch.randn(2, 3)
    for name in ("a", "b", "b", "c", "a"):  # in any order, and again
        parts[name](x)
        assert full.there == {id(parts[name])}
    assert full.most == 1


def test_all_needs_the_room_of_all() -> None:
    full = Full(2)
    with pytest.raises(torch.OutOfMemoryError):
        Placement("all").place({name: full.network() for name in "abc"}, torch.device("cuda"), "the model")


def test_models_of_one_runtime_make_room_for_each_other() -> None:
    full, placed = Full(1), Placement("offload")
    one, other = full.network(), full.network()
    placed.place({"one": one}, torch.device("cuda"), "the model")
    placed.place({"other": other}, torch.device("cuda"), "another model")
    one(torch.randn(1, 3)), other(torch.randn(1, 3))
    assert full.there == {id(other)} and full.most == 1


@pytest.mark.parametrize(("moves", "rungs"), [(True, ["offload", "lowest", None]), (False, ["lowest", None, None])])
def test_climbing_down_ends_at_the_lowest_rung(
    moves: bool, rungs: list[Rung | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "can_offload", lambda device: moves)
    runtime = Runtime(device="cpu")
    assert runtime.climb_down() is None  # nothing was placed: no rung would help
    for rung in rungs:
        held = runtime.shared("network", lambda: nn.Linear(2, 2))
        runtime.place({"network": held}, "the model")
        assert runtime.climb_down() == rung
        assert (runtime.shared("network", lambda: nn.Linear(2, 2)) is held) == (rung is None)


# --- real networks ----------------------------------------------------------------------------------------------------


def worked(model: Any) -> list[torch.Tensor]:
    """All that a model does with a picture: encoded, told prompts, predicted with a gradient, decoded."""
    image = sample_image(64, 48)
    z = model.encode(image)
    told = model.condition(["a red box", ""], z.shape[-2:])
    rows = z.expand(2, -1, -1, -1).clone().requires_grad_(True)
    predicted = model.predict(rows, torch.tensor([0.5, 0.5]), told)
    (gradient,) = torch.autograd.grad(predicted.square().sum(), rows)
    return [z, told.embeddings, predicted.detach(), gradient, torch.from_numpy(model.decode(z).copy())]


@pytest.mark.usefixtures("as_if_apart")
@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_gives_the_same_numbers_at_each_rung(family: str, tmp_path: Path) -> None:
    folder = str(FAMILIES[family](tmp_path / "model"))
    made = {}
    for rung in LADDER:
        runtime = Runtime(device="cpu", dtype="fp32", memory=rung)
        model = load_backbone(folder, runtime)
        assert runtime.rung == rung and {"vae", "text_encoder"} <= model.networks().keys()
        elsewhere = [one.is_meta for network in model.networks().values() for one in network.parameters()]
        assert all(elsewhere) if rung == "lowest" else not any(elsewhere)
        assert model.networks()["vae"].use_tiling == (rung == "lowest")
        made[rung] = worked(model)
        assert [one.is_meta for network in model.networks().values() for one in network.parameters()] == elsewhere
    for rung in ("offload", "lowest"):
        for one, other in zip(made["all"], made[rung], strict=True):
            assert torch.equal(one, other)


@pytest.mark.usefixtures("as_if_apart")
def test_weights_are_found_wherever_they_are(tmp_path: Path) -> None:
    folder = str(build_tiny_stable_diffusion(tmp_path / "model"))
    plain, lowest = (
        load_backbone(folder, Runtime(device="cpu", dtype="fp32", memory=rung)).networks()["text_encoder"]
        for rung in ("all", "lowest")
    )
    found = weights_of(lowest)
    assert found.keys() == plain.state_dict().keys()
    assert all(torch.equal(one, found[name]) for name, one in plain.state_dict().items())


@pytest.mark.usefixtures("as_if_apart")
@pytest.mark.parametrize("rung", ["all", "offload"])
def test_a_whole_pipeline_is_placed_by_the_same_call(rung: Rung, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    folder = build_tiny_stable_diffusion(tmp_path / "model")

    def picture(place: bool) -> Any:
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
        pipeline.set_progress_bar_config(disable=True)
        if place:
            runtime = Runtime(device="cpu", memory=rung)
            assert runtime.place(pipeline, "the pipeline") == runtime.rung == rung
            assert hasattr(pipeline.unet, "_hf_hook") == (rung != "all")
        return pipeline(
            "a red box",
            num_inference_steps=2,
            height=64,
            width=64,
            output_type="np",
            generator=torch.Generator().manual_seed(0),
        ).images

    # not to the last digit: where weights lie in memory decides in which order they are summed up
    assert np.allclose(picture(True), picture(False), atol=1e-4)


def test_a_whole_pipeline_at_the_lowest_rung_is_placed_by_its_own_method() -> None:
    class Pipeline:
        """accelerate can put a pipeline's layers on a device other than the CPU alone."""

        def __init__(self) -> None:
            self.components = {"vae": Vae(), "tokenizer": object()}
            self.device: Any = None

        def enable_sequential_cpu_offload(self, device: torch.device) -> None:
            self.device = device

    class Vae(nn.Linear):
        def __init__(self) -> None:
            super().__init__(2, 2)
            self.switched: list[str] = []

        def enable_tiling(self) -> None:
            self.switched.append("tiling")

        def enable_slicing(self) -> None:
            self.switched.append("slicing")

    pipeline = Pipeline()
    assert Placement("lowest").place(pipeline, torch.device("cuda"), "the pipeline") == "lowest"
    assert pipeline.device == torch.device("cuda") and pipeline.components["vae"].switched == ["tiling", "slicing"]


# --- too little memory, before anything is loaded ---------------------------------------------------------------------


def test_a_model_that_cannot_fit_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(build_tiny_stable_diffusion(tmp_path / "model"))
    runtime = Runtime(device="cpu", dtype="fp32")
    taken = sum(placement.size_of(one) for one in load_backbone(folder, runtime).networks().values())
    monkeypatch.setattr("gas.diffusion.memory.swap", lambda: 0)
    monkeypatch.setattr("gas.diffusion.load.backbone_from_folder", lambda *a, **k: pytest.fail("it was read"))
    for free in (0, int(0.9 * taken)):
        monkeypatch.setattr("gas.diffusion.memory.memory", lambda free=free: Memory(free, free))
        runtime.forget()
        with pytest.raises(OutOfResources, match=r"not enough memory to load .*are free") as caught:
            load_backbone(folder, runtime)
        assert caught.value.exit_code == 7 and "bf16" in caught.value.remedy
