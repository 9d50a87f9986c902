"""Features by hooks: the right modules, the right tensors, and a network that is left as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gas.diffusion.attention.sites import AttentionSite, unet_sites
from gas.diffusion.distill.features import capture_features, feature_grid

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


@pytest.fixture(scope="module")
def unet(whole_tiny_sd: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(whole_tiny_sd / "unet").eval().requires_grad_(False)


def run(unet: UNet2DConditionModel, z: Tensor) -> Tensor:
    return unet(z, 300, torch.ones(len(z), 7, 32), return_dict=False)[0]


def compared(unet: nn.Module) -> list[AttentionSite]:
    return [site for site in unet_sites(unet) if site.contrast]


def hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_nine_modules_of_the_up_blocks_after_the_output_projection(unet: UNet2DConditionModel) -> None:
    z = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(0))
    inputs: dict[str, Tensor] = {}

    def note(name: str) -> object:
        return lambda module, args, kwargs: inputs.update({name: args[0] if args else kwargs["hidden_states"]})

    handles = [one.module.register_forward_pre_hook(note(one.name), with_kwargs=True) for one in compared(unet)]
    with capture_features(compared(unet)) as seen:
        run(unet, z)
    for handle in handles:
        handle.remove()
    wanted = [f"up_blocks.{b}.attentions.{a}.transformer_blocks.0.attn1" for b in (1, 2, 3) for a in (0, 1, 2)]
    assert sorted(seen) == wanted
    name = wanted[-1]
    module = unet.get_submodule(name)
    x, heads = inputs[name], module.heads
    split = [layer(x).unflatten(-1, (heads, -1)).transpose(1, 2) for layer in (module.to_q, module.to_k, module.to_v)]
    weights = (split[0] @ split[1].transpose(-1, -2) * module.scale).softmax(-1)
    by_hand = module.to_out[0]((weights @ split[2]).transpose(1, 2).flatten(2))
    assert by_hand.shape == (2, 96, 8)
    torch.testing.assert_close(seen[name], by_hand)


def test_hooks_are_gone_afterwards_even_after_an_exception(unet: UNet2DConditionModel) -> None:
    with pytest.raises(RuntimeError, match="stop"), capture_features(compared(unet)):
        assert hooks(unet) == 9
        raise RuntimeError("stop")
    assert hooks(unet) == 0


def test_rows_are_picked_in_their_order(unet: UNet2DConditionModel) -> None:
    z = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with capture_features(compared(unet)) as everything:
        run(unet, z)
    with capture_features(compared(unet), rows=[2, 0]) as some:
        run(unet, z)
    for name in everything:
        assert torch.equal(some[name], everything[name][[2, 0]])


def test_gradients_flow_to_the_latent_and_not_to_the_weights(unet: UNet2DConditionModel) -> None:
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with capture_features(compared(unet)) as seen:
        run(unet, z)
    sum(one.square().sum() for one in seen.values()).backward()
    assert z.grad is not None
    assert float(z.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in unet.parameters())


def test_a_site_says_which_of_what_it_puts_out_are_cells() -> None:
    joint = nn.Linear(3, 3)
    site = AttentionSite("joint", "joint", 0, joint, 1.0, cells=lambda output: output[:, 2:])
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0))
    with capture_features([site]) as seen:
        expected = joint(x)[:, 2:]  # two tokens of a prompt, then the picture
    assert torch.equal(seen["joint"], expected)


def test_no_sites_are_refused() -> None:
    with pytest.raises(ValueError, match="no attention site"), capture_features([]):
        pass


@given(st.integers(2, 96), st.integers(2, 96), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_a_feature_map_knows_its_shape(height: int, width: int, halvings: int) -> None:
    grid = (height, width)
    for _ in range(halvings):
        grid = (-(-grid[0] // 2), -(-grid[1] // 2))
    assert feature_grid(grid[0] * grid[1], height, width) == grid


def test_an_odd_latent_gives_the_grids_that_the_network_has(unet: UNet2DConditionModel) -> None:
    with capture_features(compared(unet)) as seen:
        run(unet, torch.zeros(1, 4, 7, 10))
    grids = [feature_grid(one.shape[1], 7, 10) for one in seen.values()]
    assert grids == [(2, 3)] * 3 + [(4, 5)] * 3 + [(7, 10)] * 3


def test_a_number_of_tokens_that_fits_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="17 feature tokens"):
        feature_grid(17, 8, 8)
