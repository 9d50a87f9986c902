"""Large pictures in tiles: every cell covered, no border of a tile in sight, no network given more than a tile."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from fake_backbones import FakeFlow, FakeXL
from torch import Tensor

from gas.diffusion import tiles
from gas.diffusion.backbone import Conditioning
from gas.diffusion.sample import tiled
from gas.diffusion.sample.tiled import TiledSampling, TiledSettings, tiled_steps
from gas.diffusion.tiles import Tiling, decode, encode, part

SETTINGS = TiledSettings(steps=10, strength=0.4, repeats=2, guidance_scale=1.0)


@pytest.mark.parametrize("size", [(8, 8), (8, 30), (21, 9), (40, 33), (5, 64)])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.0, -1.0), (-0.7, 0.3)])
@pytest.mark.parametrize("overlap", [0.1, 0.5, 0.8])
def test_tiles_cover_the_grid_and_overlap(size: tuple[int, int], shift: tuple[float, float], overlap: float) -> None:
    tiling = Tiling(size, 8, overlap, shift)
    shown = torch.zeros(1, 1, *size)
    for tile in tiling.tiles:
        assert part(shown, tile).shape[2:] == tiling.tile_size, "all tiles have one size and lie in the grid"
        part(shown, tile).add_(1)
    assert (shown > 0).all() and (tiling.weights(tiling.tiles) > 0).all()
    for row in tiling.rows:
        if shift == (0.0, 0.0):
            starts = [tile[0] for tile in row]
            assert all(b - a <= max(8 * (1 - overlap), 1) + 1 for a, b in pairwise(starts))


def test_a_tile_fades_out_along_every_border_of_the_picture_too() -> None:
    tiling = Tiling((24, 8), 8)
    first, second, *_ = tiling.tiles
    weight = torch.zeros(1, 1, 24, 8)
    part(weight, first).add_(tiling.window)
    shares = weight / tiling.weights((first, second)).clamp(min=1e-9)
    column = shares[0, 0, second[1] : first[3], 0]  # at the picture's own border, where both are faintest
    assert (column.diff().abs() < 0.5).all() and column[0] > 0.9 and column[-1] < 0.1


def test_a_mask_needs_only_the_tiles_that_show_it() -> None:
    tiling, mask = Tiling((40, 40), 8), torch.zeros(1, 1, 40, 40)
    mask[..., 3, 3] = 1
    assert 0 < len(tiling.showing(mask)) <= 4 < len(tiling.tiles)


class Counted(FakeXL):
    """Notes how large what it is given is."""

    def __init__(self) -> None:
        self.name = "counted"
        self.sizes: list[tuple[int, int]] = []

    def encode(self, image: Any) -> Tensor:
        self.sizes.append((image.shape[0] // 8, image.shape[1] // 8))
        return super().encode(image)

    def decode(self, z: Tensor) -> Any:
        self.sizes.append((z.shape[2], z.shape[3]))
        return super().decode(z)

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        assert len(z_t) == 2, "a tile at a time, with the null prompt's row"
        self.sizes.append((z_t.shape[2], z_t.shape[3]))
        return super().predict(z_t, t, conditioning)


def sampling(model: Any, z: Tensor, mask: Tensor, tiling: Tiling, seed: int = 1) -> TiledSampling:
    return TiledSampling(model, z, mask, "blue", tiling, SETTINGS, seed, lambda z: decode(model, z, tiling))


def run(work: TiledSampling) -> Tensor:
    with torch.no_grad():
        for i in range(work.steps):
            work.step(i)
    return work.current["z"]


def test_coding_in_tiles_is_coding() -> None:
    model = Counted()
    image = np.random.default_rng(0).integers(0, 256, (160, 96, 3), dtype=np.uint8)
    tiling = Tiling((20, 12), 8)
    z = encode(model, image, tiling)
    assert torch.allclose(z, FakeXL.encode(model, image), atol=1e-5)
    assert np.abs(decode(model, z, tiling).astype(int) - FakeXL.decode(model, z)).max() <= 1
    assert set(model.sizes) == {(8, 8)}


def test_no_network_sees_more_than_a_tile_however_large_the_picture() -> None:
    for size in ((16, 16), (64, 80)):
        model = Counted()
        tiling = Tiling(size, 8)
        work = sampling(model, torch.zeros(1, 3, *size), torch.ones(1, 1, *size), tiling)
        run(work)
        work.preview()()
        assert set(model.sizes) == {(8, 8)}
        assert work.predictor.rows == 2 * work.steps


@pytest.mark.parametrize("kind", [FakeXL, FakeFlow])
def test_outside_the_mask_the_latent_stays_and_inside_it_follows_the_prompt(kind: Any) -> None:
    model = kind()
    model.name = "fake"
    size = (24, 32)
    z = 0.3 * torch.randn((1, 3, *size), generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, *size)
    mask[..., 8:20, 6:26] = 1
    made = run(sampling(model, z, mask, Tiling(size, 8)))
    outside = (mask == 0).expand_as(z)
    assert torch.equal(made[outside], z[outside])
    before, after = (one[0, 2, 8:20, 6:26].mean() for one in (z, made))
    assert after > before + 0.1, "bluer"


def test_a_seed_is_a_result_and_steps_are_known_ahead() -> None:
    model, size = FakeXL(), (20, 28)
    model.name = "fake"
    z, mask, tiling = torch.zeros(1, 3, *size), torch.ones(1, 1, *size), Tiling(size, 8)
    first, again, other = (run(sampling(model, z, mask, tiling, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    for seed in (1, 2):
        assert tiled_steps(model.schedule, mask, tiling, SETTINGS, seed) == sampling(model, z, mask, tiling, seed).steps


class Tilted(FakeXL):
    """Wants every tile to go from dark to light, as a model that knows whole pictures alone: where tiles meet without
    being mixed there is a step."""

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        ramp = torch.linspace(-1, 1, z_t.shape[3]).expand_as(z_t)
        alpha, sigma = self.schedule.coefficients(t, z_t.dtype)
        return (z_t - alpha * ramp) / sigma


def tilted(overlap: float) -> np.ndarray:
    """How far each column's mean is from the next one's, after such a model has drawn."""
    model, size = Tilted(), (16, 64)
    model.name = "tilted"
    tiling = Tiling(size, 16, overlap)
    made = run(sampling(model, torch.zeros(1, 3, *size), torch.ones(1, 1, *size), tiling))
    return made[0].mean(dim=(0, 1)).diff().abs().numpy()


def test_no_seam_shows_where_tiles_end(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = tilted(0.5)
    assert steps.max() < 0.3, "less than a sixth of the step of tiles side by side, which is 2"

    def flat(size: Sequence[int]) -> Tensor:
        return torch.ones(1, 1, *size)

    monkeypatch.setattr(tiles, "tile_window", flat)
    monkeypatch.setattr(tiled, "tilings", lambda tiling, count, seed: [tiling] * count)
    assert tilted(0.1).max() > 2 * steps.max(), "tiles that are neither mixed nor moved show"
