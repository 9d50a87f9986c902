"""What the tests of editors that sample share: regions, latents, edits of the diorama, and the guards that each of
them must pass.

    class TestGuards(SamplingGuards):
        make = staticmethod(editor)
        job = staticmethod(job)
        options = ("steps", "strength")
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor

from gas import Registry
from gas.diffusion.masks import latent_mask
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.inversion import INVERSIONS
from gas.diffusion.sample.phases import Phases
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import InputRefused, OutOfResources, ResultRefused, UsageError
from gas.interfaces import EditJob, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.types import EditPlan, Region, Subtask
from gas_diorama.world.cases import cases
from gas_diorama.world.world import render

T = TypeVar("T")
DIORAMA = "package:gas_diorama/weights/sd"


def regions(
    plan: EditPlan, boxes: Sequence[tuple[float, float, float, float]], size: tuple[int, int] = (96, 64)
) -> tuple[Region, ...]:
    """A region for each subtask: its box `(x0, y0, x1, y1)`, filled, in a picture of `size` (width, height)."""
    return tuple(
        Region(subtask.region_phrase, box=box, mask=box_mask(box, size), subtask=number)
        for number, (subtask, box) in enumerate(zip(plan.subtasks, boxes, strict=True))
    )


PLAN = EditPlan(
    subtasks=(Subtask(source="a red box", target="a blue ball"), Subtask(source="grass", target="snow")),
    source_prompt="a red box on grass",
    target_prompt="a blue ball on snow",
)
REGIONS = regions(PLAN, ((0.0, 0.0, 56.0, 40.0), (32.0, 8.0, 56.0, 32.0)))
"""The second inside the first."""


def latents(edit: Any, work: EditJob) -> tuple[Tensor, Any]:
    """The latent that is decoded for the result, with what the editor returned. Another one may be decoded after it:
    the picture's own, to tell what the model makes of it unedited."""
    seen: list[Tensor] = []
    with pytest.MonkeyPatch.context() as patch:
        decode = StableDiffusion.decode
        patch.setattr(StableDiffusion, "decode", lambda self, z: seen.append(z) or decode(self, z))
        edited = edit.edit(work)
    return seen[-1 if edited.unedited is None else -2], edited


def picture(edit: Any, work: EditJob) -> np.ndarray:
    """The edited picture."""
    made: np.ndarray = edit.edit(work).image
    return made


def usual(made: Callable[[Any, EditJob], T], edit: Any, work: EditJob) -> T:
    """`made(edit, work)`, which is kept as long as the editor's runtime: many tests compare with what an editor with
    its usual options makes."""
    kept = edit.runtime.shared("made by editors with the usual options", dict)
    key = made, type(edit), repr(edit.options), work.seed, work.grounded, repr(work.plan), work.image.tobytes()
    if key not in kept:
        kept[key] = made(edit, work)
    return kept[key]  # type: ignore[no-any-return]


def option_changes(name: str, one: Any, other: Any, job: Callable[..., EditJob]) -> bool:
    """Whether two editors that differ in the option `name` make other latents of `job(edit)`; `one` has the usual."""
    assert getattr(one.options, name) != getattr(other.options, name)
    return not torch.equal(usual(latents, one, job(one))[0], latents(other, job(other))[0])


def run(edit: Any, work: EditJob) -> tuple[Tensor, Tensor, Any]:
    """The edited latent, the picture's own, and the log."""
    model = edit.model
    z = model.encode(work.image)
    phases = Phases(work.watch, model.decode, z, edit.planned(work))
    with torch.no_grad():
        targets = edit.targets(work, (z.shape[2], z.shape[3]))
        edited, log = edit.run(work, phases, Predictor(model, (z.shape[2], z.shape[3])), z, targets)
    return edited, z, log


def traces(unet: Any) -> list[Any]:
    """What an editor may leave on a network: hooks, attention processors, methods of its own."""
    return [
        (
            name,
            dict(module._forward_hooks),
            dict(module._forward_pre_hooks),
            getattr(module, "processor", None),
            "get_attention_scores" in vars(module),
        )
        for name, module in unet.named_modules()
    ]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """dB between two pictures of 0 to 255."""
    return float(10 * np.log10(255**2 / max(1e-9, np.square(a.astype(float) - b).mean())))


def latent_psnr(a: Tensor, b: Tensor) -> float:
    """dB between two latents, of the range of `b`."""
    return float(10 * torch.log10((b.max() - b.min()).square() / (a - b).square().mean()))


def scene(edit: Any, identical: bool = True) -> EditJob:
    """A scene of the diorama, to be left as it is, or its first thing to become another."""
    case = cases(4, "validation")[0]
    plan = case.plan.model_copy(update={"target_prompt": case.plan.source_prompt}) if identical else case.plan
    return EditJob(render(case.scene), plan, case.regions(), 0, edit.options)


def igloo_turned_blue(name: str, runtime: Runtime) -> tuple[float, float]:
    """A grounded edit of ten steps by the editor `name` on trained networks, a purple igloo that is to be blue: by how
    much (0 to 255) its pixels are bluer than red, and the dB that are kept outside the regions."""
    registry = Registry.discover()
    below = [registry.profile("diorama").layer(name)]
    edit = registry.create("editors", name, {"steps": 10}, runtime, below=below)
    case = cases(16, "validation")[1]
    picture = render(case.scene)
    made = edit.edit(EditJob(picture, case.plan, case.regions(), 0, edit.options, grounded=True)).image
    outside = np.max([region.mask for region in case.regions()], axis=0) == 0
    red, _, blue = np.moveaxis(made[case.regions()[0].mask > 0].astype(float), -1, 0)
    return float((blue - red).mean()), psnr(made[outside], picture[outside])


class SamplingGuards:
    """What is refused and what is kept. `make(runtime, folder, **values)` makes the editor, `job(edit)` its job, and
    `options` are those that the editor's own tests change; the rest says where an editor differs."""

    make: ClassVar[Callable[..., Any]]
    job: ClassVar[Callable[..., EditJob]]
    options: ClassVar[Collection[str]]
    no_model: ClassVar[str] = "no model is named"
    names_model: ClassVar[str] = 'the option model="NAME"'
    """What the remedy says where no model is named."""
    not_finite: ClassVar[tuple[tuple[str, int, bool], ...]] = (("inversion", 0, False),)
    """Name of the phase, the network call from which on nothing is finite, whether the run is grounded."""
    first_rows: ClassVar[int] = 1
    """How many latents are in the first network call."""
    touches: ClassVar[int | None] = None
    """A network call (from 0) at which the editor has its hands on attention; None: it never has."""
    stops: ClassVar[tuple[int, ...]] = (2, 6)
    """Steps after which runs are interrupted."""
    stops_grounded: ClassVar[tuple[int, ...]] = ()
    """Steps after which grounded runs are."""
    make_long: ClassVar[Callable[..., Any] | None] = None
    """Makes the editor that is interrupted, where `make` makes too few steps."""
    outside: ClassVar[float] = 0.0
    """How far a latent may move outside the regions of a grounded run."""

    @pytest.fixture
    def weights(self, tiny_sd: Path) -> Path:
        """The folder of the model."""
        return tiny_sd

    def grounded(self, edit: Any) -> EditJob:
        """A grounded job with a region for each subtask."""
        return replace(self.job(edit), grounded=True)

    def wordy(self, plan: EditPlan) -> tuple[EditPlan, list[str]]:
        """The plan with more words than the text encoder sees, and the texts that are cut."""
        long = "a blue ball on " + "deep " * 20 + "snow"
        return plan.model_copy(update={"target_prompt": long}), [long]

    def test_the_model_has_to_be_named(self, runtime: Runtime, weights: Path) -> None:
        kind = type(self.make(runtime, weights))
        edit = kind(kind.options_type(), runtime)
        with pytest.raises(UsageError, match=self.no_model) as caught:
            edit.edit(self.job(edit))
        assert caught.value.exit_code == 2 and self.names_model in caught.value.remedy

    def test_a_picture_from_another_world_is_refused(self, runtime: Runtime, weights: Path) -> None:
        edit = self.make(runtime, weights, accept_db=60)
        with pytest.raises(InputRefused, match="not of the kind that this model knows") as caught:
            edit.edit(self.job(edit))
        assert caught.value.exit_code == 3

    def test_no_option_is_without_a_test(self, runtime: Runtime, weights: Path) -> None:
        fields = type(self.make(runtime, weights)).options_type.model_fields
        models = {"model", "variant", "allow_pickle", "accept_db", "keep_structure"}  # test_stable_diffusion, and above
        added = {"lora", "quantise", "parts_model"}  # test_lora, test_quantised, test_single_file_families
        assert fields.keys() == {*self.options} | models | added
        assert all(field.description for field in fields.values())

    def test_numbers_that_are_not_finite_stop_by_name(
        self, runtime: Runtime, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        edit = self.make(runtime, weights)
        last = edit.model.network.conv_out
        forward, before = last.forward, traces(edit.model.network)
        for phase, first, grounded in self.not_finite:
            runtime.forget(INVERSIONS)
            calls: list[None] = []

            def broken(x: Tensor, first: int = first, calls: list[None] = calls) -> Tensor:
                calls.append(None)
                return forward(x) * (float("nan") if len(calls) > first else 1)

            monkeypatch.setattr(last, "forward", broken)
            with pytest.raises(ResultRefused, match=f"the {phase} is not a finite number") as caught:
                edit.edit(self.grounded(edit) if grounded else self.job(edit))
            assert caught.value.exit_code == 11
            assert traces(edit.model.network) == before

    def test_too_little_memory_says_what_to_do(
        self, runtime: Runtime, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runtime.forget(INVERSIONS)
        edit = self.make(runtime, weights)

        def full(*_: Any, **__: Any) -> None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

        monkeypatch.setattr(edit.model.network, "forward", full)
        with pytest.raises(OutOfResources, match=f"{self.first_rows} rows of a latent of 12x8") as caught:
            edit.edit(self.job(edit))
        assert caught.value.exit_code == 7 and "bf16" in caught.value.remedy

    def test_the_network_is_left_as_it_was(self, runtime: Runtime, weights: Path) -> None:
        edit = self.make(runtime, weights)
        unet = edit.model.network
        before = traces(unet)
        edit.edit(self.job(edit))
        assert traces(unet) == before
        assert not any(weight.requires_grad or weight.grad is not None for weight in unet.parameters())

    def test_the_network_is_left_as_it_was_after_an_error(
        self, runtime: Runtime, weights: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        runtime.forget(INVERSIONS)
        edit = self.make(runtime, weights)
        unet = edit.model.network
        before, forward = traces(unet), unet.conv_out.forward
        inside: list[Any] = []

        def broken(x: Tensor) -> Tensor:
            inside.append(traces(unet))
            if len(inside) > (self.touches or 0):
                raise RuntimeError("broken")
            return forward(x)

        monkeypatch.setattr(unet.conv_out, "forward", broken)
        with pytest.raises(RuntimeError, match="broken"):
            edit.edit(self.job(edit))
        assert traces(unet) == before
        assert (inside[-1] != before) == (self.touches is not None)
        assert not any(weight.requires_grad or weight.grad is not None for weight in unet.parameters())

    def test_an_interrupted_edit_goes_on_to_the_same_bytes(self, runtime: Runtime, weights: Path) -> None:
        edit = (self.make_long or self.make)(runtime, weights)

        def made(grounded: bool, **watch: Any) -> tuple[Any, dict[str, np.ndarray]]:
            runtime.forget(INVERSIONS)
            maps: dict[str, np.ndarray] = {}
            work = self.grounded(edit) if grounded else self.job(edit)
            return edit.edit(replace(work, watch=Watch(save_map=maps.__setitem__, **watch))), maps

        for grounded, stops in ((False, self.stops), (True, self.stops_grounded)):
            if not stops:
                continue
            whole, maps = made(grounded)
            for after in stops:
                asked, states = iter(range(99)), []
                stopped, _ = made(
                    grounded,
                    checkpoint=lambda state, states=states: states.append(dict(state)),
                    should_stop=lambda asked=asked, after=after: next(asked) == after,
                )
                assert stopped.stopped and stopped.log["steps"] == after
                assert not np.array_equal(stopped.image, whole.image)
                again, more = made(grounded, resume=states[-1])
                assert np.array_equal(again.image, whole.image), f"after {after} steps"
                assert (again.mask is None) == (whole.mask is None)
                assert whole.mask is None or np.array_equal(again.mask, whole.mask)
                assert more.keys() == maps.keys() and all(np.array_equal(maps[name], more[name]) for name in maps)
                measured = [{**one.log, "evaluations": 0} for one in (again, whole)]
                assert measured[0] == measured[1]

    def test_words_that_are_cut_are_shown(self, runtime: Runtime, weights: Path) -> None:
        edit = self.make(runtime, weights)
        plan, cut = self.wordy(self.job(edit).plan)
        with pytest.warns(UserWarning, match="does not see"):
            log = edit.edit(replace(self.job(edit), plan=plan)).log
        assert list(log["prompts_cut"]) == cut
        assert all(words and text.endswith(words) for text, words in log["prompts_cut"].items())
        assert json.loads(json.dumps(dict(log))) == dict(log)

    def test_a_subtask_without_a_region_is_refused_when_grounded(self, runtime: Runtime, weights: Path) -> None:
        edit = self.make(runtime, weights)
        work = self.grounded(edit)
        phrase = work.plan.subtasks[-1].region_phrase
        message = rf"subtask {len(work.plan.subtasks)} \('{phrase}'\) has no region"
        with pytest.raises(InputRefused, match=message) as caught:
            edit.edit(replace(work, regions=work.regions[:-1]))
        assert f'gas.Region("{phrase}", box=' in caught.value.remedy

    def test_a_grounded_run_moves_nothing_outside_the_regions(self, runtime: Runtime, weights: Path) -> None:
        edit = self.make(runtime, weights)
        work = self.grounded(edit)
        z, _ = latents(edit, work)
        source = edit.model.encode(work.image)
        cells = [latent_mask(one.mask, (z.shape[2], z.shape[3])) for one in work.regions]
        inside = torch.stack(cells).amax(0)[0, 0] > 0
        change = (z - source).abs()
        assert inside.any() and not inside.all()
        assert float(change[..., ~inside].max()) <= self.outside
        assert float((change[..., inside] > 0).float().mean()) > 0.99
