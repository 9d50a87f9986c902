"""What every backbone must keep, as a test class to subclass. Override the fixture that gives yours; run pytest.

    class TestMyModel(BackboneContract):
        @pytest.fixture
        def backbone(self):
            return MyModel.from_folder("tests/tiny", name="tiny")

Real weights may be tested too: `least_db` then says how well a picture must come back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from gas.diffusion.backbone import Backbone, Conditioning
from gas.diffusion.distill.features import capture_features
from gas.diffusion.parameterisation import to_epsilon, to_velocity
from gas.errors import GasError
from gas.testing.contracts import sample_image

if TYPE_CHECKING:
    from gas.types import Image


class BackboneContract:
    """The protocol of `gas.diffusion.backbone.Backbone`, tested."""

    least_db: ClassVar[float | None] = None
    """Least PSNR in dB of a picture after encoding and decoding; None: weights are random."""
    prompts: ClassVar[Sequence[str]] = ("a red box on grass", "", "a blue ball on snow")
    """Three prompts; the second is the null prompt."""
    close: ClassVar[float] = 1e-4
    """How far a row's prediction may be from the same row's in another batch, as a share of the largest number in it.
    (Libraries of matrix products round otherwise for other batches.)"""

    @pytest.fixture
    def backbone(self) -> Backbone:
        raise NotImplementedError

    @pytest.fixture
    def image(self, backbone: Backbone) -> Image:
        """A picture, wider than high, with sides that the model can work on."""
        multiple = backbone.multiple
        return sample_image(-(-96 // multiple) * multiple, -(-64 // multiple) * multiple)

    @pytest.fixture
    def z(self, backbone: Backbone, image: Image) -> Tensor:
        """A latent of the picture's size and about unit variance."""
        like = backbone.encode(image)
        return torch.randn(like.shape, generator=torch.Generator().manual_seed(0)).to(like)

    @pytest.fixture
    def told(self, backbone: Backbone, z: Tensor) -> Conditioning:
        """What it is told for the prompts, a row for each."""
        told: Conditioning = backbone.guided(backbone.condition(self.prompts, (z.shape[2], z.shape[3])), 1)
        return told

    def middle(self, backbone: Backbone) -> float:
        """A time with about as much noise as picture."""
        return backbone.schedule.at_snr(1.0)

    # --- what it says of itself ---------------------------------------------------------------------------------------

    def test_working_size_is_sensible(self, backbone: Backbone) -> None:
        assert backbone.name, "errors call it by its name"
        assert 0 < backbone.factor <= backbone.multiple <= backbone.resolution
        assert backbone.multiple % backbone.factor == 0, "pictures divide into latent cells"

    def test_it_is_frozen(self, backbone: Backbone) -> None:
        if isinstance(backbone.network, torch.nn.Module):
            assert not backbone.network.training
            assert not any(weight.requires_grad for weight in backbone.network.parameters())

    # --- pictures -----------------------------------------------------------------------------------------------------

    def test_a_picture_goes_to_a_latent_and_back(self, backbone: Backbone, image: Image) -> None:
        z, again = backbone.encode(image), backbone.encode(image)
        height, width = image.shape[:2]
        assert z.ndim == 4 and z.shape[0] == 1 and z.dtype in (torch.float32, torch.float64)
        assert (z.shape[2] * backbone.factor, z.shape[3] * backbone.factor) == (height, width)
        assert bool(torch.isfinite(z).all()) and torch.equal(z, again), "the same picture has the same latent"
        assert not z.requires_grad
        back = backbone.decode(z)
        assert back.dtype == np.uint8 and back.shape == image.shape
        assert np.array_equal(back, backbone.decode(z)), "the same latent is the same picture"
        if self.least_db is not None:
            assert backbone.round_trip_db(image) >= self.least_db

    def test_a_picture_that_does_not_fit_is_refused_by_name(self, backbone: Backbone) -> None:
        if backbone.factor > 1:
            with pytest.raises(GasError) as caught:
                backbone.encode(sample_image(8 * backbone.multiple + 1, 8 * backbone.multiple))
            assert caught.value.exit_code > 1 and caught.value.message

    def test_a_broken_latent_gives_no_picture(self, backbone: Backbone, z: Tensor) -> None:
        with pytest.raises(GasError) as caught:
            backbone.decode(torch.full_like(z, math.nan))
        assert caught.value.exit_code == 11, "numbers that are not finite are ResultRefused"

    # --- the schedule -------------------------------------------------------------------------------------------------

    def test_noise_grows_from_the_clean_time_to_the_noisiest(self, backbone: Backbone) -> None:
        schedule = backbone.schedule
        ends = schedule.clean, schedule.noisiest
        assert schedule.alpha(ends[0]) == 1 and schedule.sigma(ends[0]) == 0 and schedule.snr(ends[0]) == math.inf
        times = [ends[0] + share / 50 * (ends[1] - ends[0]) for share in range(51)]
        ratios = [schedule.snr(t) for t in times]
        assert all(a > b for a, b in pairwise(ratios)), "the signal-to-noise ratio falls, also between whole times"

    def test_times_are_real_numbers(self, backbone: Backbone) -> None:
        schedule = backbone.schedule
        between = schedule.clean + 0.3456 * (schedule.noisiest - schedule.clean)
        alpha, sigma = schedule.coefficients(torch.tensor([between], dtype=torch.float64), torch.float64)
        assert alpha.shape == sigma.shape == (1, 1, 1, 1)
        assert float(alpha) == pytest.approx(schedule.alpha(between), rel=1e-6)
        assert float(sigma) == pytest.approx(schedule.sigma(between), rel=1e-6)
        ratio = schedule.snr(between)
        assert ratio == pytest.approx((schedule.alpha(between) / schedule.sigma(between)) ** 2, rel=1e-6)
        assert schedule.at_snr(ratio) == pytest.approx(between, rel=1e-6)
        with pytest.raises(ValueError, match="beyond"):
            schedule.alpha(schedule.noisiest + 1)

    @pytest.mark.parametrize("steps", [1, 7, 20])
    def test_a_samplers_times_descend_from_the_noisiest(self, backbone: Backbone, steps: int) -> None:
        schedule = backbone.schedule
        times = schedule.spaced(steps)
        assert len(times) == steps and times[0] == schedule.noisiest and times[-1] > schedule.clean
        assert all(a > b for a, b in pairwise(times))

    # --- what it is told ----------------------------------------------------------------------------------------------

    def test_rows_can_be_chosen_and_joined(self, backbone: Backbone, told: Conditioning) -> None:
        assert len(told) == len(self.prompts) == 3
        turned = told[[2, 0, 1]]
        joined = Conditioning.cat([turned[1:], turned[:1]])
        assert len(turned[1:]) == 2 and joined.extra.keys() == told.extra.keys()
        for name, one in {"embeddings": told.embeddings, **told.extra}.items():
            other = joined.embeddings if name == "embeddings" else joined.extra[name]
            assert torch.equal(other, one[[0, 1, 2]]), f"{name}: rows were mixed up"
        assert not told.embeddings.requires_grad

    def test_a_prompt_is_told_alike_in_every_batch(self, backbone: Backbone, z: Tensor, told: Conditioning) -> None:
        size = (z.shape[2], z.shape[3])
        alone = backbone.guided(backbone.condition(self.prompts[2:], size), 1)
        torch.testing.assert_close(alone.embeddings, told.embeddings[2:], rtol=self.close, atol=self.close)
        assert not torch.equal(told.embeddings[0], told.embeddings[2]), "other prompts are told otherwise"

    def test_guidance_is_what_it_says(self, backbone: Backbone, z: Tensor) -> None:
        rows = backbone.condition(self.prompts, (z.shape[2], z.shape[3]))
        if backbone.guidance == "null":
            backbone.need_null_row("a test")
            assert backbone.guided(rows, 7.5).extra.keys() == rows.extra.keys()
            return
        with pytest.raises(GasError, match="a test") as caught:
            backbone.need_null_row("a test")
        assert caught.value.exit_code == 6 and backbone.name in caught.value.message
        if backbone.guidance == "told":
            told = backbone.guided(rows, 7.5)
            assert "guidance" in told.extra and told.extra["guidance"].tolist() == [7.5] * 3
        else:
            with pytest.raises(GasError, match="has no guidance"):
                backbone.guided(rows, 7.5)

    # --- predictions --------------------------------------------------------------------------------------------------

    def predicted(self, backbone: Backbone, z_t: Tensor, t: float, told: Conditioning) -> Tensor:
        """The predictions `(n, C, h, w)` of `z_t` `(1, C, h, w)` for all rows."""
        times = torch.full((len(told),), t, dtype=z_t.dtype, device=z_t.device)
        with torch.no_grad():
            return backbone.predict(z_t.expand(len(told), -1, -1, -1), times, told)

    def test_predictions_have_the_latents_form(self, backbone: Backbone, z: Tensor, told: Conditioning) -> None:
        for t in (backbone.schedule.noisiest, self.middle(backbone), backbone.schedule.share(0.0517)):
            found = self.predicted(backbone, z, t, told)
            assert found.shape == (3, *z.shape[1:]) and found.dtype == z.dtype and bool(torch.isfinite(found).all())

    def test_prompts_and_times_matter(self, backbone: Backbone, z: Tensor, told: Conditioning) -> None:
        t = self.middle(backbone)
        found = self.predicted(backbone, z, t, told)
        assert not torch.equal(found[0], found[2]), "another prompt changes nothing"
        assert not torch.equal(found, self.predicted(backbone, z, backbone.schedule.noisiest, told)), "nor another time"

    def test_rows_do_not_depend_on_their_batch(self, backbone: Backbone, z: Tensor, told: Conditioning) -> None:
        t = self.middle(backbone)
        found = self.predicted(backbone, z, t, told)
        scale = float(found.abs().max())
        turned = self.predicted(backbone, z, t, told[[2, 1, 0]])[[2, 1, 0]]
        alone = torch.cat([self.predicted(backbone, z, t, row) for row in told])
        for other in (turned, alone):
            assert float((found - other).abs().max()) <= self.close * scale, "a row's prediction depends on its batch"

    def test_times_may_differ_from_row_to_row(self, backbone: Backbone, z: Tensor, told: Conditioning) -> None:
        times = [backbone.schedule.noisiest, self.middle(backbone), backbone.schedule.share(0.2)]
        with torch.no_grad():
            found = backbone.predict(z.expand(3, -1, -1, -1), torch.tensor(times).to(z), told)
        alone = torch.cat([self.predicted(backbone, z, t, row) for t, row in zip(times, told, strict=True)])
        assert float((found - alone).abs().max()) <= self.close * float(alone.abs().max())

    def test_gradients_go_through_a_prediction(self, backbone: Backbone, z: Tensor, told: Conditioning) -> None:
        leaf = z.clone().requires_grad_()
        t = torch.full((1,), self.middle(backbone), dtype=z.dtype, device=z.device)
        weights = torch.randn(z.shape, generator=torch.Generator().manual_seed(1)).to(z)
        (gradient,) = torch.autograd.grad((backbone.predict(leaf, t, told[:1]) * weights).sum(), leaf)
        assert bool(torch.isfinite(gradient).all()) and bool(gradient.any())
        # Along its own gradient the sum must grow by the gradient's length; single precision is enough to see that.
        along = gradient / gradient.norm()
        ends = [
            float((self.predicted(backbone, z + step * along, float(t), told[:1]) * weights).double().sum())
            for step in (0.05, -0.05)
        ]
        assert (ends[0] - ends[1]) / 0.1 == pytest.approx(float(gradient.norm()), rel=0.1)

    def test_noise_and_velocity_are_inverse_to_each_other(
        self, backbone: Backbone, z: Tensor, told: Conditioning
    ) -> None:
        for t in (self.middle(backbone), backbone.schedule.share(0.2), backbone.schedule.share(0.8)):
            output = self.predicted(backbone, z, t, told)
            z_t, times = z.expand(3, -1, -1, -1), torch.full((3,), t, dtype=z.dtype, device=z.device)
            eps, v = backbone.to_epsilon(output, z_t, times), backbone.to_velocity(output, z_t, times)
            alpha, sigma = backbone.schedule.coefficients(times, z.dtype)
            close: Any = {"rtol": 1e-3, "atol": 1e-3 * float(v.abs().max())}
            torch.testing.assert_close(to_velocity(eps, "epsilon", z_t, alpha, sigma), v, **close)
            torch.testing.assert_close(to_epsilon(v, "velocity", z_t, alpha, sigma), eps, **close)
            torch.testing.assert_close(alpha * (eps - v) + sigma * eps, z_t, **close)

    # --- attention ----------------------------------------------------------------------------------------------------

    def test_attention_sites_are_found_and_left_as_they_were(
        self, backbone: Backbone, z: Tensor, told: Conditioning
    ) -> None:
        sites = backbone.attention_sites()
        size, t = (z.shape[2], z.shape[3]), self.middle(backbone)
        for kind in ("cross", "self", "joint"):
            assert backbone.attention_sites(kind) == tuple(site for site in sites if site.kind == kind)
        if not sites:
            return
        assert len({site.name for site in sites}) == len(sites), "a site is known by its name"
        before = self.predicted(backbone, z, t, told)
        with capture_features(sites) as seen:
            watched = self.predicted(backbone, z, t, told)
        assert torch.equal(watched, before), "looking changed the prediction"
        assert set(seen) == {site.name for site in sites}, "a site was not passed"
        for site in sites:
            assert seen[site.name].shape[:2] == (3, math.prod(site.grid(size))), f"{site.name}: its grid is another"
            assert not site.module._forward_hooks, f"{site.name} was not left as it was"
        assert torch.equal(self.predicted(backbone, z, t, told), before)
