"""What one row of a batch takes from another: attention, features, keys and values; exactly that, exactly there, and
nothing when the block has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor2_0, IPAdapterAttnProcessor2_0
from torch import Tensor, nn

from gas.diffusion.attention.alignment import TokenMap
from gas.diffusion.attention.control import Replace, Reweight, control_attention
from gas.diffusion.attention.inject import Parts, inject_attention, inject_features, share_attention
from gas.diffusion.attention.sites import AttentionSite, sites_within, unet_sites

TOKENS, SIZE = 7, (8, 12)
RESNET = "up_blocks.1.resnets.1"
Block = Callable[[UNet2DConditionModel], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def unet(tiny_sd: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny_sd / "unet").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, *SIZE, generator=generator), torch.randn(3, TOKENS, 32, generator=generator)


def run(unet: UNet2DConditionModel, batch: tuple[Tensor, Tensor]) -> Tensor:
    return unet(batch[0], 300, batch[1], return_dict=False)[0]


def self_layers(unet: nn.Module) -> tuple[AttentionSite, ...]:
    return unet_sites(unet, "self")


@contextmanager
def outputs(unet: nn.Module, name: str) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    handle = unet.get_submodule(name).register_forward_hook(lambda *args: seen.append(args[2]))
    yield seen
    handle.remove()


@contextmanager
def probabilities(unet: nn.Module, layers: Any) -> Iterator[list[Tensor]]:
    seen: list[Tensor] = []
    with control_attention(layers, lambda _, p: seen.append(p)):
        yield seen


IDENTITY = TokenMap(torch.eye(TOKENS), torch.zeros(TOKENS))
BLOCKS: dict[str, Block] = {
    "features": lambda unet: inject_features([unet.get_submodule(RESNET)], {2: 0}),
    "attention": lambda unet: inject_attention(self_layers(unet), {2: 0}),
    "share": lambda unet: share_attention(self_layers(unet), {2: 0}),
    "share in parts": lambda unet: share_attention(self_layers(unet), {2: 0}, {2: halves()}),
    "replace": lambda unet: control_attention(unet_sites(unet, "cross"), Replace({2: 0}, {2: IDENTITY})),
    "reweight": lambda unet: control_attention(unet_sites(unet, "cross"), Reweight({2: torch.arange(1.0, 8.0)})),
}


def halves() -> Parts:
    """The thing is in the left half of the source and in the upper half of the target."""
    source, target = torch.zeros(SIZE), torch.zeros(SIZE)
    source[:, : SIZE[1] // 2] = 1
    target[: SIZE[0] // 2] = 1
    return Parts(source, target)


# --- every control ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS)
def test_the_target_changes_and_the_other_rows_do_not(unet: Any, batch: Any, block: str) -> None:
    plain = run(unet, batch)
    with BLOCKS[block](unet):
        changed = run(unet, batch)
    torch.testing.assert_close(changed[:2], plain[:2], atol=1e-5, rtol=0)
    assert float((changed[2] - plain[2]).abs().max()) > 1e-3


@pytest.mark.parametrize("block", BLOCKS)
def test_the_network_is_as_before_also_after_an_exception(unet: Any, batch: Any, block: str) -> None:
    plain, before = run(unet, batch), dict(unet.attn_processors)
    with pytest.raises(RuntimeError, match="stop"), BLOCKS[block](unet):
        run(unet, batch)
        raise RuntimeError("stop")
    assert torch.equal(run(unet, batch), plain)
    assert all(one is before[name] for name, one in unet.attn_processors.items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())
    assert not any("get_attention_scores" in vars(module) for module in unet.modules())


@pytest.mark.parametrize("block", BLOCKS)
def test_gradients_flow(unet: Any, batch: Any, block: str) -> None:
    z = batch[0].clone().requires_grad_()
    with BLOCKS[block](unet):
        run(unet, (z, batch[1]))[2].sum().backward()
    assert z.grad is not None and float(z.grad[2].abs().sum()) > 0
    assert (float(z.grad[0].abs().sum()) > 0) == (block != "reweight"), "what is taken comes from the source row"
    assert float(z.grad[1].abs().sum()) == 0


@pytest.mark.parametrize("block", ["features", "attention", "share", "share in parts"])
def test_the_fused_kernel_stays(unet: Any, block: str) -> None:
    with BLOCKS[block](unet):
        assert all(isinstance(one, AttnProcessor2_0) for one in unet.attn_processors.values())


@pytest.mark.parametrize("block", BLOCKS)
def test_a_row_that_is_not_there_is_refused(unet: Any, batch: Any, block: str) -> None:
    with pytest.raises(ValueError, match="there is no row 2 in a batch of 2"), BLOCKS[block](unet):
        run(unet, (batch[0][:2], batch[1][:2]))


@pytest.mark.seeded
@pytest.mark.parametrize("block", ["attention", "share"])
def test_attention_that_is_computed_in_another_way_is_refused(tiny_sd: Path, block: str) -> None:
    unet = UNet2DConditionModel.from_pretrained(tiny_sd / "unet")
    other = IPAdapterAttnProcessor2_0(hidden_size=8, cross_attention_dim=32)
    unet.get_submodule(self_layers(unet)[-1].name).set_processor(other)
    with pytest.raises(ValueError, match="IPAdapterAttnProcessor2_0, which is not known"), BLOCKS[block](unet):
        pass
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in unet.modules())


def test_nothing_chosen_is_refused(unet: Any) -> None:
    for empty in (inject_features([], {1: 0}), inject_attention([], {1: 0})):
        with pytest.raises(ValueError, match="no module was chosen"), empty:
            pass
    with pytest.raises(ValueError, match="no attention site"), share_attention([], {1: 0}):
        pass


def test_layers_within_a_number_of_cells(unet: Any) -> None:
    layers = self_layers(unet)
    assert {layer.level for layer in sites_within(layers, SIZE, 24)} == {1, 2, 3}
    assert sites_within(layers, SIZE, 96) == layers
    assert sites_within(layers, SIZE, 1) == ()


# --- inject -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [RESNET, f"{RESNET}.conv2", "mid_block.attentions.0.transformer_blocks.0.attn1"])
def test_features_are_the_source_rows(unet: Any, batch: Any, name: str) -> None:
    with outputs(unet, name) as plain:
        run(unet, batch)
    with inject_features([unet.get_submodule(name)], {2: 0, 1: 0}), outputs(unet, name) as changed:
        run(unet, batch)
    assert torch.equal(changed[0], plain[0][[0, 0, 0]])


def test_each_target_has_its_own_source(unet: Any, batch: Any) -> None:
    with outputs(unet, RESNET) as plain:
        run(unet, batch)
    with inject_features([unet.get_submodule(RESNET)], {2: 1, 1: 0}), outputs(unet, RESNET) as changed:
        run(unet, batch)
    assert torch.equal(changed[0], plain[0][[0, 0, 1]]), "what row 1 itself had, not what it was given"


def test_features_that_are_no_single_tensor_are_refused(unet: Any, batch: Any) -> None:
    message = "a CrossAttnDownBlock2D puts out no single tensor"
    with pytest.raises(ValueError, match=message), inject_features([unet.down_blocks[0]], {1: 0}):
        run(unet, batch)


def test_injected_attention_is_the_source_rows_with_its_own_values(unet: Any, batch: Any) -> None:
    layers = self_layers(unet)[-1:]
    module: Any = unet.get_submodule(layers[0].name)
    with outputs(unet, f"{layers[0].name}.to_v") as values, probabilities(unet, layers) as plain:
        run(unet, batch)
    with (
        inject_attention(layers, {2: 0}),
        probabilities(unet, layers) as changed,
        outputs(unet, f"{layers[0].name}.to_v") as same,
    ):
        run(unet, batch)
    torch.testing.assert_close(changed[0], plain[0][[0, 1, 0]])
    assert torch.equal(values[0], same[0])
    # The same by way of a control, without the fused kernel.
    with control_attention(layers, lambda _, p: p[[0, 1, 0]]):
        by_control = run(unet, batch)
    with inject_attention(layers, {2: 0}):
        torch.testing.assert_close(run(unet, batch), by_control, atol=1e-5, rtol=0)
    assert module.heads > 1


# --- share ------------------------------------------------------------------------------------------------------------


def test_shared_keys_and_values_are_the_source_rows(unet: Any, batch: Any) -> None:
    layers = self_layers(unet)[-1:]
    name = layers[0].name
    module: Any = unet.get_submodule(name)
    parts = [outputs(unet, f"{name}.to_{part}") for part in "qkv"]
    with parts[0] as q, parts[1] as k, parts[2] as v:
        run(unet, batch)
    with share_attention(layers, {2: 0}), outputs(unet, f"{name}.to_out.0") as out:
        run(unet, batch)
    q, k, v = (one[0].unflatten(-1, (module.heads, -1)).transpose(1, 2) for one in (q, k, v))
    expected = nn.functional.scaled_dot_product_attention(q, k[[0, 1, 0]], v[[0, 1, 0]])
    torch.testing.assert_close(out[0], module.to_out[0](expected.transpose(1, 2).flatten(2)))


def test_the_same_picture_and_prompt_share_without_a_trace(unet: Any, batch: Any) -> None:
    same = batch[0][[0, 0]], batch[1][[0, 0]]
    with share_attention(self_layers(unet), {1: 0}):
        changed = run(unet, same)
    torch.testing.assert_close(changed, run(unet, same), atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", [0, 1])
def test_the_thing_looks_at_the_thing_and_the_rest_at_the_rest(unet: Any, batch: Any, level: int) -> None:
    layers = [layer for layer in self_layers(unet) if layer.level == level][:1]
    h, w = layers[0].grid(SIZE)
    with share_attention(layers, {2: 0}, {2: halves()}), probabilities(unet, layers) as seen:
        run(unet, batch)
    looks = seen[0].unflatten(2, (h, w)).unflatten(4, (h, w))  # rows, heads, query y x, key y x
    upper, lower = looks[2, :, : h // 2], looks[2, :, h // 2 :]
    assert float(upper[..., w // 2 :].abs().max()) == 0 and float(upper[..., : w // 2].min()) > 0
    assert float(lower[..., : w // 2].abs().max()) == 0 and float(lower[..., w // 2 :].min()) > 0
    assert float(looks[:2].min()) > 0, "other rows look everywhere"
    torch.testing.assert_close(looks.sum((-1, -2)), torch.ones_like(looks[..., 0, 0]))


def test_parts_work_alike_with_the_fused_kernel(unet: Any, batch: Any) -> None:
    layers = self_layers(unet)
    with share_attention(layers, {2: 0}, {2: halves()}):
        fused = run(unet, batch)
        with control_attention(layers, lambda *_: None):
            plain = run(unet, batch)
    torch.testing.assert_close(plain, fused, atol=1e-5, rtol=0)


def test_a_thing_that_is_not_in_the_source_is_looked_for_everywhere(unet: Any, batch: Any) -> None:
    parts = Parts(torch.zeros(SIZE), halves().target)
    layers = self_layers(unet)[-1:]
    with share_attention(layers, {2: 0}, {2: parts}), probabilities(unet, layers) as seen:
        run(unet, batch)
    assert float(seen[0].min()) > 0


def test_what_cannot_be_shared_is_refused(unet: Any, batch: Any) -> None:
    cross = unet_sites(unet, "cross")
    with pytest.raises(ValueError, match="looks at the prompt"), share_attention(cross, {1: 0}):
        pass
    layers = self_layers(unet)
    with pytest.raises(ValueError, match="row 2 has parts"), share_attention(layers, {1: 0}, {2: halves()}):
        pass
    large = Parts(torch.ones(32, 32), torch.ones(32, 32))
    with pytest.raises(ValueError, match="of another latent"), share_attention(layers, {1: 0}, {1: large}):
        run(unet, batch)


# --- replace, refine, reweight ----------------------------------------------------------------------------------------


def random_attention(rows: int = 3) -> Tensor:
    return torch.rand(rows, 2, 96, TOKENS, generator=torch.Generator().manual_seed(1)).softmax(-1)


LAYER = AttentionSite("one", "cross", 0)


def test_words_look_where_the_source_row_looks() -> None:
    carried = torch.eye(TOKENS)
    carried[3, 3:5], carried[4] = 0.5, 0
    own = torch.zeros(TOKENS)
    own[6] = 1
    carried[6] = 0
    p = random_attention()
    changed = Replace({1: 0}, {1: TokenMap(carried, own)})(LAYER, p)
    assert torch.equal(changed[[0, 2]], p[[0, 2]])
    assert torch.equal(changed[1][..., :3], p[0][..., :3])
    torch.testing.assert_close(changed[1][..., 3], p[0][..., 3] / 2)
    torch.testing.assert_close(changed[1][..., 4], p[0][..., 3] / 2)
    assert torch.equal(changed[1][..., 6], p[1][..., 6]), "a word of its own keeps its own attention"


def test_factors_multiply_without_scaling_back() -> None:
    p = random_attention()
    factors = torch.ones(TOKENS)
    factors[2] = 3
    changed = Reweight({2: factors})(LAYER, p)
    assert torch.equal(changed[:2], p[:2])
    torch.testing.assert_close(changed[2][..., 2], 3 * p[2][..., 2])
    assert torch.equal(changed[2][..., 3:], p[2][..., 3:])


def test_half_precision_stays() -> None:
    p = random_attention().bfloat16()
    assert Replace({1: 0}, {1: IDENTITY})(LAYER, p).dtype == torch.bfloat16
    assert Reweight({1: torch.ones(TOKENS)})(LAYER, p).dtype == torch.bfloat16


def test_maps_for_other_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"rows \[1, 2\] take from others"):
        Replace({1: 0, 2: 0}, {1: IDENTITY})
