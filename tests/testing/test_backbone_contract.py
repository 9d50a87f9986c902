"""For each guard of the backbones' contract there is a backbone that it catches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gas.diffusion.attention.sites import AttentionSite
from gas.diffusion.backbone import Backbone, Conditioning
from gas.diffusion.schedule import FlowSchedule, stable_diffusion_schedule
from gas.errors import ResultRefused
from gas.testing import BackboneContract, GaussianDenoiser
from gas.testing.contracts import sample_image

MEANS = {name: torch.full((1, 3, 8, 16), mean) for name, mean in (("a", 1.0), ("", 0.0), ("b", -1.0))}
IMAGE = sample_image(16, 8)


class Contract(BackboneContract):
    prompts = ("a", "", "b")


class Sound(GaussianDenoiser):
    """A world that keeps the contract, with one attention site that looks at its own cells."""

    @cached_property
    def network(self) -> Any:  # type: ignore[override]
        return nn.Identity().eval()

    def attention_sites(self, kind: Any = None) -> tuple[AttentionSite, ...]:
        site = AttentionSite("one", "self", 0, self.network)
        return (site,) if kind in (None, "self") else ()

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        self.network(z_t.flatten(2).transpose(1, 2))
        return super().predict(z_t, t, conditioning)

    def decode(self, z: Tensor) -> Any:
        if not bool(torch.isfinite(z).all()):
            raise ResultRefused("not finite")
        return super().decode(z)


def check(backbone: Backbone, name: str) -> None:
    """Runs one test of the contract on a backbone."""
    contract, test = Contract(), getattr(Contract, name)
    z = torch.randn(1, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    told = backbone.guided(backbone.condition(contract.prompts, (8, 16)), 1)
    given = {"backbone": backbone, "image": IMAGE, "z": z, "told": told, "steps": 7}
    wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]
    test(contract, **{one: given[one] for one in wanted})


def every_test() -> list[str]:
    return sorted(name for name in dir(Contract) if name.startswith("test_"))


@pytest.mark.parametrize("name", every_test())
def test_a_sound_backbone_passes(name: str) -> None:
    check(Sound(MEANS), name)


# --- backbones with a fault -------------------------------------------------------------------------------------------


class Unnamed(Sound):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.name = ""


class Warm(Sound):
    @cached_property
    def network(self) -> Any:  # type: ignore[override]
        return nn.PReLU().eval()


class Halved(Sound):
    def decode(self, z: Tensor) -> Any:
        return super().decode(z)[::2]


class Random(Sound):
    def encode(self, image: Any) -> Tensor:
        return super().encode(image) + torch.from_numpy(np.random.default_rng().normal(0, 0.1, (1, 3, 8, 16)))


class Careless(Sound):
    def decode(self, z: Tensor) -> Any:
        return GaussianDenoiser.decode(self, z)


class Noisy(FlowSchedule):
    """Its clean time has noise."""

    def sigma(self, t: float) -> float:
        return 0.1 + 0.9 * super().sigma(t)


class Level(FlowSchedule):
    """Has as much noise from its middle on."""

    def sigma(self, t: float) -> float:
        return min(0.5, super().sigma(t))


class Whole(FlowSchedule):
    """Knows tenths only."""

    def sigma(self, t: float) -> float:
        return round(super().sigma(t), 1)


class Upwards(FlowSchedule):
    def spaced(self, steps: int) -> tuple[float, ...]:
        return super().spaced(steps)[::-1]


class Mixed(Sound):
    """Rows of what it is told are tied to their places."""

    def condition(self, prompts: Any, size: Any) -> Conditioning:
        told = super().condition(prompts, size)
        return told.with_embeddings(told.embeddings + torch.arange(float(len(told))).view(-1, 1, 1, 1))


class Swapped(Conditioning):
    def __getitem__(self, rows: Any) -> Conditioning:
        return Conditioning(self.embeddings.flip(0), self.extra)[rows]


class Turned(Sound):
    def condition(self, prompts: Any, size: Any) -> Conditioning:
        return Swapped(super().condition(prompts, size).embeddings)


class Deaf(Sound):
    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        return super().predict(z_t, t, conditioning.with_embeddings(0 * conditioning.embeddings))


class Coupled(Sound):
    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        found = super().predict(z_t, t, conditioning)
        return found + 0.1 * found.mean(0, keepdim=True)


class OneTime(Sound):
    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        return super().predict(z_t, t[:1].expand(len(t)), conditioning)


class Cut(Sound):
    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        return super().predict(z_t.detach(), t, conditioning) + 0 * z_t


class Wide(Sound):
    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        return super().predict(z_t, t, conditioning).double()


class Otherwise(Sound):
    """Says velocity, and means Salimans and Ho's."""

    def to_velocity(self, output: Tensor, z_t: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = self.schedule.coefficients(t, z_t.dtype)
        return (output - sigma * z_t) / alpha


class Coarse(Sound):
    def attention_sites(self, kind: Any = None) -> tuple[AttentionSite, ...]:
        return tuple(replace(site, level=1) for site in super().attention_sites(kind))


class Unpassed(Sound):
    def attention_sites(self, kind: Any = None) -> tuple[AttentionSite, ...]:
        idle = AttentionSite("idle", "self", 0, nn.Identity())
        return (*super().attention_sites(kind), *((idle,) if kind in (None, "self") else ()))


class Sorted(Sound):
    """Does not tell kinds apart."""

    def attention_sites(self, kind: Any = None) -> tuple[AttentionSite, ...]:
        return super().attention_sites()


class Mute(Sound):
    def guided(self, conditioning: Conditioning, scale: float) -> Conditioning:
        return conditioning


FAULTS: dict[str, tuple[Callable[[], Backbone], str]] = {
    "no name": (lambda: Unnamed(MEANS), "test_working_size_is_sensible"),
    "a size below its cells": (lambda: Sound(MEANS, resolution=0), "test_working_size_is_sensible"),
    "weights that may be trained": (lambda: Warm(MEANS), "test_it_is_frozen"),
    "half a picture": (lambda: Halved(MEANS), "test_a_picture_goes_to_a_latent_and_back"),
    "another latent each time": (lambda: Random(MEANS), "test_a_picture_goes_to_a_latent_and_back"),
    "a picture of NaN": (lambda: Careless(MEANS), "test_a_broken_latent_gives_no_picture"),
    "a noisy clean time": (
        lambda: Sound(MEANS, schedule=Noisy()),
        "test_noise_grows_from_the_clean_time_to_the_noisiest",
    ),
    "level noise": (lambda: Sound(MEANS, schedule=Level()), "test_noise_grows_from_the_clean_time_to_the_noisiest"),
    "whole times": (lambda: Sound(MEANS, schedule=Whole()), "test_times_are_real_numbers"),
    "times that climb": (
        lambda: Sound(MEANS, schedule=Upwards()),
        "test_a_samplers_times_descend_from_the_noisiest",
    ),
    "rows mixed up": (lambda: Turned(MEANS), "test_rows_can_be_chosen_and_joined"),
    "rows tied to places": (lambda: Mixed(MEANS), "test_a_prompt_is_told_alike_in_every_batch"),
    "guidance that is not told": (lambda: Mute(MEANS, guidance="told"), "test_guidance_is_what_it_says"),
    "guidance in silence": (lambda: Mute(MEANS, guidance="none"), "test_guidance_is_what_it_says"),
    "another format": (lambda: Wide(MEANS), "test_predictions_have_the_latents_form"),
    "no ear for prompts": (lambda: Deaf(MEANS), "test_prompts_and_times_matter"),
    "rows that see each other": (lambda: Coupled(MEANS), "test_rows_do_not_depend_on_their_batch"),
    "one time for all rows": (lambda: OneTime(MEANS), "test_times_may_differ_from_row_to_row"),
    "no gradient": (lambda: Cut(MEANS), "test_gradients_go_through_a_prediction"),
    "another velocity": (lambda: Otherwise(MEANS), "test_noise_and_velocity_are_inverse_to_each_other"),
    "a grid of another size": (lambda: Coarse(MEANS), "test_attention_sites_are_found_and_left_as_they_were"),
    "a site that is not passed": (lambda: Unpassed(MEANS), "test_attention_sites_are_found_and_left_as_they_were"),
    "kinds not told apart": (lambda: Sorted(MEANS), "test_attention_sites_are_found_and_left_as_they_were"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_caught(fault: str) -> None:
    make, name = FAULTS[fault]
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(make(), name)


def test_a_picture_must_come_back_as_well_as_is_said() -> None:
    class Worse(Sound):
        def decode(self, z: Tensor) -> Any:
            return super().decode(0.5 * z)

    class Strict(Contract):
        least_db = 30.0

    Strict().test_a_picture_goes_to_a_latent_and_back(Sound(MEANS), IMAGE)
    with pytest.raises(AssertionError):
        Strict().test_a_picture_goes_to_a_latent_and_back(Worse(MEANS), IMAGE)


def test_the_contract_holds_on_every_schedule() -> None:
    for schedule in (stable_diffusion_schedule(), FlowSchedule(), FlowSchedule(shift=3.0)):
        for name in every_test():
            check(Sound(MEANS, schedule=schedule), name)
