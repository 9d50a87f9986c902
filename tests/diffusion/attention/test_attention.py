"""Attention: maps that are the network's own, a network that is left as it was, and what a control may change."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0, IPAdapterAttnProcessor2_0
from torch import Tensor

from gas.diffusion.attention.control import control_attention
from gas.diffusion.attention.maps import AttentionMaps, collect_attention
from gas.diffusion.attention.sites import AttentionSite, finest_side, sites_near, unet_sites

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


TOKENS = 7


@pytest.fixture(scope="module")
def unet(whole_tiny_sd: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(whole_tiny_sd / "unet").eval().requires_grad_(False)


def inputs(rows: int = 2, size: tuple[int, int] = (16, 24), seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, 4, *size, generator=generator), torch.randn(rows, TOKENS, 32, generator=generator)


def run(unet: UNet2DConditionModel, z: Tensor, prompt: Tensor) -> Tensor:
    return unet(z, 300, prompt, return_dict=False)[0]


def processors(unet: UNet2DConditionModel) -> dict[str, object]:
    return dict(unet.attn_processors)


class Recorder:
    """A control that keeps everything that it is shown."""

    def __init__(self, change: Callable[[AttentionSite, Tensor], Tensor | None] = lambda *_: None) -> None:
        self.seen: list[tuple[AttentionSite, Tensor]] = []
        self.change = change

    def __call__(self, layer: AttentionSite, probabilities: Tensor) -> Tensor | None:
        self.seen.append((layer, probabilities.clone()))
        return self.change(layer, probabilities)


# --- which layers -----------------------------------------------------------------------------------------------------


def test_sixteen_layers_of_each_kind_with_their_levels(unet: UNet2DConditionModel) -> None:
    cross = unet_sites(unet, "cross")
    assert [layer.level for layer in cross] == [0, 0, 1, 1, 2, 2, 3, 2, 2, 2, 1, 1, 1, 0, 0, 0]
    assert all(layer.name.endswith("attn2") for layer in cross)
    self_ = unet_sites(unet, "self")
    assert [layer.level for layer in self_] == [layer.level for layer in cross]
    assert set(unet_sites(unet)) == {*cross, *self_}


@pytest.mark.parametrize("size", [(16, 24), (7, 10), (9, 33)])
def test_levels_are_the_grids_that_the_network_has(unet: UNet2DConditionModel, size: tuple[int, int]) -> None:
    recorder = Recorder()
    layers = unet_sites(unet)
    with control_attention(layers, recorder):
        run(unet, *inputs(1, size))
    assert [layer for layer, _ in recorder.seen] == list(layers), "each once, in the order of computing"
    for layer, probabilities in recorder.seen:
        assert probabilities.shape[2] == math.prod(layer.grid(size))


def test_a_unet_with_fewer_attention_blocks_keeps_its_levels() -> None:
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8, 8),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        cross_attention_dim=32,
        norm_num_groups=4,
    )
    assert [layer.level for layer in unet_sites(unet, "cross")] == [1, 2, 1, 1]


def levels(layers: tuple[AttentionSite, ...]) -> set[int]:
    return {layer.level for layer in layers}


def test_layers_near_a_size(unet: UNet2DConditionModel) -> None:
    cross = unet_sites(unet, "cross")
    assert levels(sites_near(cross, (64, 64), 16)) == {2}
    assert len(sites_near(cross, (64, 64), 16)) == 5, "ZONE's five 16x16 maps of Stable Diffusion 1.x"
    assert levels(sites_near(cross, (64, 36), 12)) == {2}
    assert levels(sites_near(cross, (16, 16), 4)) == {2}
    assert levels(sites_near(cross, (16, 16), 4, least=8)) == {1}, "nearest to 1/32 with at least 8x8 cells"
    assert levels(sites_near(cross, (16, 4), 1, least=4)) == {0}, "the shorter side counts"
    assert levels(sites_near(cross, (16, 16), 1000)) == {0}
    assert levels(sites_near(cross, (64, 64), math.sqrt(32 * 16))) == {1}, "of two as near the finer"
    assert finest_side(cross, (7, 64)) == 7
    with pytest.raises(ValueError, match="no attention site has 8 x 8 cells over a latent of 7 x 64"):
        sites_near(cross, (7, 64), 16, least=8)


# --- the block --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cross", "self", None])
@pytest.mark.parametrize("size", [(16, 24), (9, 33)])
def test_the_output_is_the_same_as_without(unet: UNet2DConditionModel, kind: Any, size: tuple[int, int]) -> None:
    z, prompt = inputs(3, size)
    before = run(unet, z, prompt)
    recorder = Recorder()
    with control_attention(unet_sites(unet, kind), recorder):
        during = run(unet, z, prompt)
    assert recorder.seen
    torch.testing.assert_close(during, before, atol=1e-5, rtol=0)
    assert torch.equal(run(unet, z, prompt), before), "bit for bit again afterwards"


def test_looking_beside_leaves_every_bit_of_the_output(unet: UNet2DConditionModel) -> None:
    z, prompt = inputs(3, (9, 33))
    before, sites = run(unet, z, prompt), unet_sites(unet)
    plainly, first, second = Recorder(), Recorder(), Recorder()
    with control_attention(sites, plainly):
        run(unet, z, prompt)
    with control_attention(sites, first, beside=True), control_attention(sites[3:], second, beside=True):
        assert torch.equal(run(unet, z, prompt), before)
    assert [site for site, _ in first.seen] == list(sites) and [site for site, _ in second.seen] == list(sites[3:])
    for (_, one), (_, other) in zip(first.seen, plainly.seen, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    assert torch.equal(run(unet, z, prompt), before), "bit for bit again afterwards"


def test_probabilities_are_those_of_the_layer(unet: UNet2DConditionModel) -> None:
    layer = unet_sites(unet, "cross")[-1]
    module: Any = unet.get_submodule(layer.name)
    queries: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args, kwargs: queries.append(args[0]), with_kwargs=True)
    recorder = Recorder()
    z, prompt = inputs()
    with control_attention([layer], recorder):
        run(unet, z, prompt)
    handle.remove()
    (_, seen), heads = recorder.seen[0], module.heads
    assert seen.shape == (2, heads, 16 * 24, TOKENS)
    q, k = module.to_q(queries[0]), module.to_k(prompt)
    q, k = (one.unflatten(-1, (heads, -1)).transpose(1, 2) for one in (q, k))
    torch.testing.assert_close(seen, (q @ k.transpose(-1, -2) * module.scale).softmax(-1))


def test_only_the_chosen_layers_leave_the_fused_kernel(unet: UNet2DConditionModel) -> None:
    layer = unet_sites(unet, "cross")[3]
    with control_attention([layer], Recorder()):
        plain = {name for name, one in processors(unet).items() if isinstance(one, AttnProcessor)}
    assert plain == {f"{layer.name}.processor"}


def test_the_network_is_as_before_also_after_an_exception(unet: UNet2DConditionModel) -> None:
    before = processors(unet)
    with pytest.raises(RuntimeError, match="stop"), collect_attention(unet_sites(unet), (16, 24)):
        assert all(isinstance(one, AttnProcessor) for one in processors(unet).values())
        raise RuntimeError("stop")
    after = processors(unet)
    assert all(after[name] is before[name] for name in before)
    assert all(isinstance(one, AttnProcessor2_0) for one in after.values())
    assert not any("get_attention_scores" in vars(module) for module in unet.modules())


def test_a_layer_of_another_kind_is_refused_and_nothing_is_left_behind(whole_tiny_sd: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(whole_tiny_sd / "unet")
    layers = unet_sites(unet, "cross")
    other = IPAdapterAttnProcessor2_0(hidden_size=8, cross_attention_dim=32)
    unet.get_submodule(layers[-1].name).set_processor(other)
    before = processors(unet)
    message = f"{layers[-1].name} is computed by IPAdapterAttnProcessor2_0"
    with pytest.raises(ValueError, match=message), control_attention(layers, Recorder()):
        pass
    assert all(one is before[name] for name, one in processors(unet).items())
    assert not any("get_attention_scores" in vars(module) for module in unet.modules())


def test_no_layers_is_refused(unet: UNet2DConditionModel) -> None:
    with pytest.raises(ValueError, match="no attention site"), control_attention([], Recorder()):
        pass


# --- a control that changes -------------------------------------------------------------------------------------------


def injected(layer: AttentionSite, probabilities: Tensor) -> Tensor:
    """The second row attends as the first one does: Prompt-to-Prompt's and Plug-and-Play's injection."""
    return probabilities[:1].expand_as(probabilities)


def test_what_a_control_returns_is_used(unet: UNet2DConditionModel) -> None:
    z, prompt = inputs(1)
    rows, prompts = z.expand(2, -1, -1, -1), torch.cat([prompt, prompt.flip(1)])
    plain = run(unet, rows, prompts)
    last = unet_sites(unet, "cross")[-1:]
    with control_attention(last, Recorder(injected)):
        changed = run(unet, rows, prompts)
    torch.testing.assert_close(changed[0], plain[0], atol=1e-5, rtol=0)
    assert float((changed[1] - plain[1]).abs().max()) > 1e-4
    # The value of a cell is then the first row's weights over the second row's tokens.
    layer: Any = unet.get_submodule(last[0].name)
    seen: list[Tensor] = []
    handle = layer.to_out[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    recorder = Recorder(injected)
    with control_attention(last, recorder):
        run(unet, rows, prompts)
    handle.remove()
    weights = recorder.seen[0][1][0]
    values = layer.to_v(prompts[1]).unflatten(-1, (layer.heads, -1)).transpose(0, 1)
    torch.testing.assert_close(seen[0][1], (weights @ values).transpose(0, 1).flatten(1))


def test_self_attention_can_be_changed_too(unet: UNet2DConditionModel) -> None:
    z, prompt = inputs(2)
    plain = run(unet, z, prompt)
    with control_attention(unet_sites(unet, "self")[-1:], Recorder(injected)):
        changed = run(unet, z, prompt)
    assert torch.allclose(changed[0], plain[0], atol=1e-5)
    assert not torch.allclose(changed[1], plain[1], atol=1e-5)


def test_blocks_nest_and_the_inner_one_sees_what_the_outer_one_left(unet: UNet2DConditionModel) -> None:
    layers = unet_sites(unet, "cross")
    uniform = Recorder(lambda _, p: torch.full_like(p, 1 / TOKENS))
    before = processors(unet)
    with control_attention(layers, uniform):
        with collect_attention(layers, (16, 24)) as maps:
            run(unet, *inputs())
        count = len(uniform.seen)
        run(unet, *inputs())
        assert len(uniform.seen) == 2 * count == 2 * len(layers), "the outer control is there after the inner block"
    torch.testing.assert_close(maps.mean(), torch.full((2, TOKENS, 16, 24), 1 / TOKENS))
    assert all(one is before[name] for name, one in processors(unet).items())
    assert not any("get_attention_scores" in vars(module) for module in unet.modules())


def test_another_shape_is_refused(unet: UNet2DConditionModel) -> None:
    with (
        pytest.raises(ValueError, match=r"attention of \(2, 2, 384, 7\) was changed into \(2, 2, 384, 6\)"),
        control_attention(unet_sites(unet, "cross")[:1], Recorder(lambda _, p: p[..., 1:])),
    ):
        run(unet, *inputs())


def test_gradients_flow_through_a_control_and_maps_keep_none(unet: UNet2DConditionModel) -> None:
    z, prompt = inputs()
    z.requires_grad_()
    kept: list[Tensor] = []
    layers = unet_sites(unet, "cross")
    with (
        collect_attention(layers, (16, 24)) as maps,
        control_attention(layers[-1:], lambda _, p: kept.append(p)),
    ):
        run(unet, z, prompt)
    kept[0][..., 1].sum().backward()
    assert z.grad is not None and float(z.grad.abs().sum()) > 0
    assert not maps.mean().requires_grad


# --- maps -------------------------------------------------------------------------------------------------------------


def test_maps_are_the_mean_over_passes_heads_and_layers(unet: UNet2DConditionModel) -> None:
    layers = sites_near(unet_sites(unet, "cross"), (16, 24), 16)
    recorder = Recorder()
    with (
        collect_attention(layers, (16, 24)) as maps,
        collect_attention(layers, (16, 24), rows=[1], tokens=[5, 2]) as some,
        control_attention(layers, recorder),
    ):
        for seed in (1, 2, 3):
            run(unet, *inputs(seed=seed))
    assert len(recorder.seen) == 3 * len(layers)
    # What a layer shows: heads are averaged, cells become rows and columns.
    expected = torch.stack([p.mean(1).transpose(1, 2).reshape(2, TOKENS, 16, 24) for _, p in recorder.seen]).mean(0)
    torch.testing.assert_close(maps.mean(), expected)
    torch.testing.assert_close(some.mean(), expected[[1]][:, [5, 2]])
    torch.testing.assert_close(maps.mean().sum(1), torch.ones(2, 16, 24))


def test_cells_are_in_the_pictures_order() -> None:
    maps = AttentionMaps((4, 6))
    cells = torch.arange(24.0).reshape(1, 1, 24, 1)
    maps(AttentionSite("one", "cross", 0), cells)
    assert torch.equal(maps.mean()[0, 0], torch.arange(24.0).reshape(4, 6))


def test_coarser_maps_are_enlarged_and_every_layer_weighs_the_same() -> None:
    maps = AttentionMaps((4, 6))
    fine, coarse = AttentionSite("fine", "cross", 0), AttentionSite("coarse", "cross", 1)
    maps(fine, torch.full((1, 2, 24, 1), 0.3))
    for _ in range(2):
        maps(coarse, torch.full((1, 2, 6, 1), 0.9))
    torch.testing.assert_close(maps.mean(), torch.full((1, 1, 4, 6), 0.7))


def test_of_self_attention_the_tokens_are_the_cells(unet: UNet2DConditionModel) -> None:
    layers = sites_near(unet_sites(unet, "self"), (9, 33), 8)
    recorder = Recorder()
    with collect_attention(layers, (9, 33)) as maps, control_attention(layers, recorder):
        run(unet, *inputs(1, (9, 33)))
    mean = torch.stack([p for _, p in recorder.seen]).mean((0, 2))
    grid = layers[0].grid((9, 33))
    assert maps.mean().shape == (1, math.prod(grid), *grid)
    torch.testing.assert_close(maps.mean()[0, 3].flatten(), mean[0, :, 3])


def test_nothing_but_the_mean_is_kept(unet: UNet2DConditionModel) -> None:
    layers = unet_sites(unet, "cross")
    held = []
    with collect_attention(layers, (16, 24), tokens=[1]) as maps:
        for seed in range(3):
            run(unet, *inputs(seed=seed))
            held.append(sum(one.untyped_storage().nbytes() for one in maps._sums.values()))
    cells = sum(math.prod(AttentionSite("", "cross", level).grid((16, 24))) for level in range(4))
    assert held == [2 * 1 * cells * 4] * 3, "two rows, one token, four grids of fp32, however many passes"


def test_half_precision_is_averaged_in_fp32() -> None:
    maps = AttentionMaps((2, 2))
    for _ in range(1000):
        maps(AttentionSite("one", "cross", 0), torch.full((1, 1, 4, 1), 0.1, dtype=torch.bfloat16))
    assert maps.mean().dtype == torch.float32
    torch.testing.assert_close(maps.mean(), torch.full((1, 1, 2, 2), 0.1), atol=1e-3, rtol=0)


def test_another_latent_than_said_is_refused(unet: UNet2DConditionModel) -> None:
    with (
        pytest.raises(ValueError, match="has 384 cells: that is not a latent of 16 x 16"),
        collect_attention(unet_sites(unet, "cross"), (16, 16)),
    ):
        run(unet, *inputs())


def test_maps_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="no forward pass"):
        AttentionMaps((4, 4)).mean()
