"""The patch-contrastive loss against its written-out formula and against finite differences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gas.diffusion.distill.contrastive import patch_nce


def maps(rows: int = 4, columns: int = 6, channels: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, columns, channels, generator=generator, dtype=torch.float64).unbind()


def written_out(source: Tensor, target: Tensor, tau: float = 0.07) -> float:
    """The published loss, one patch at a time, with the diagonal of the negatives filled by -10 as in CDS's code."""
    h = [v / v.norm() for v in source.reshape(-1, source.shape[-1])]
    g = [v / v.norm() for v in target.reshape(-1, target.shape[-1])]
    total = 0.0
    for i in range(len(h)):
        positive = (g[i] @ h[i] / tau).exp()
        negatives = sum((h[i] @ g[j] / tau).exp() for j in range(len(h)) if j != i) + torch.tensor(-10 / tau).exp()
        total -= float((positive / (positive + negatives)).log())
    return total / len(h)


def pooled(features: Tensor) -> Tensor:
    """Means over 2 x 2 cells; a last odd row or column is left out."""
    rows, columns = features.shape[0] // 2, features.shape[1] // 2
    return features[: 2 * rows, : 2 * columns].unflatten(1, (columns, 2)).unflatten(0, (rows, 2)).mean((1, 3))


def test_it_is_the_formula_of_the_reference_code() -> None:
    source, target = maps(5, 6)
    both = written_out(source, target) + written_out(pooled(source), pooled(target))
    assert float(patch_nce(source, target)) == pytest.approx(both, rel=1e-10)


def test_gradient_is_that_of_finite_differences() -> None:
    source, target = maps()
    for query in ("source", "target"):
        assert torch.autograd.gradcheck(
            lambda x, q=query: patch_nce(source, x, query=q), (target.requires_grad_(),), atol=1e-6, rtol=1e-6
        )


def test_no_gradient_reaches_the_source() -> None:
    source, target = (one.requires_grad_() for one in maps())
    patch_nce(source, target).backward()
    assert source.grad is None
    assert target.grad is not None


def test_the_two_orientations_differ() -> None:
    source, target = maps()
    swapped = written_out(target, source)
    assert float(patch_nce(source, target, sizes=(1,), query="target")) == pytest.approx(swapped, rel=1e-10)
    assert written_out(source, target) != pytest.approx(swapped, rel=1e-3)


def test_equal_maps_cost_less_than_unequal_ones() -> None:
    source, target = maps()
    assert patch_nce(source, source) < 0.1 * patch_nce(source, target)


def test_patches_are_drawn_from_the_generator() -> None:
    source, target = maps(8, 8)

    def loss(seed: int, patches: int) -> float:
        return float(patch_nce(source, target, patches=patches, generator=torch.Generator().manual_seed(seed)))

    assert loss(0, 10) == loss(0, 10)
    assert loss(0, 10) != loss(1, 10)
    assert loss(0, 64) == loss(1, 64)  # all are used: nothing to draw


def test_temperature_counts() -> None:
    source, target = maps()
    assert float(patch_nce(source, target, sizes=(1,), temperature=0.5)) == pytest.approx(
        written_out(source, target, 0.5)
    )


@given(st.integers(1, 7), st.integers(1, 7), st.sampled_from([(1,), (1, 2), (2, 3), (4,)]))
@settings(max_examples=60, deadline=None)
def test_every_map_however_thin_has_a_finite_loss(rows: int, columns: int, sizes: tuple[int, ...]) -> None:
    source, target = maps(rows, columns)
    loss = patch_nce(source, target.requires_grad_(), sizes=sizes)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(target.grad).all()


@pytest.mark.parametrize("shapes", [((2, 2, 3), (2, 3, 3)), ((0, 2, 3), (0, 2, 3)), ((4, 3), (4, 3))])
def test_maps_that_do_not_fit_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="feature maps"):
        patch_nce(torch.ones(shapes[0]), torch.ones(shapes[1]))
