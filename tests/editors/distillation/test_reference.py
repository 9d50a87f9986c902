"""The preset `official-code` against the reference code of SDS, DDS, CDS and Ground-A-Score, retold in tests/oracle.

The same latent, prompts and random draws go through an editor and through the oracle, on a tiny network with 64x64
latents, in fp32. After five iterations no number of the latent may differ by more than 1e-4 (it is some 2e-6). So that
the comparison means something, it must fail as soon as one setting is not the reference code's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import networks, reference
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from gas.backends.options import Layer, settle
from gas.diffusion.distill.loop import distill
from gas.interfaces import EditJob
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.tiny import build_tiny_stable_diffusion
from gas.types import EditPlan, Region, Subtask
from gas_editors.distillation.base import ScoreDistillationEditor
from gas_editors.distillation.cds import CDSEditor
from gas_editors.distillation.dds import DDSEditor
from gas_editors.distillation.ground_a_score import GroundAScoreEditor
from gas_editors.distillation.sds import SDSEditor

STEPS = 5
SHAPE = (1, 4, 64, 64)
AGREEMENT = 1e-4
"""The largest difference of any number of the latent that counts as agreement."""
DISAGREEMENT = 10 * AGREEMENT
ALL_PATCHES = 64 * 64
SEED = 5

BEFORE, AFTER = "a dog on the grass by a house", "a tiger on the snow by an igloo"
PHRASES = (("a dog", "a tiger"), ("the grass", "snow"), ("a house", "an igloo"), ("the sky", "a sunset"))
# Shares of the picture. The first is small (7 %: penalised) and weakens the second, which it overlaps; the second's
# upper left corner falls half way between two cells.
BOXES = ((0.1, 0.1, 0.4, 0.32), (12.5 / 64, 13.5 / 64, 0.9, 0.8))
SMALL_BOX = (0.3, 0.42, 0.33, 0.45)  # less than a cell of the 16x16 features


@dataclass(frozen=True)
class World:
    """A folder in Stable Diffusion's layout, a picture and what it encodes to, and a latent that is to be edited.

    A random network's latent of a picture is close to nothing, so the edits start from another.
    """

    folder: Path
    image: np.ndarray
    encoded: Tensor
    z_source: Tensor
    embed: Callable[[str], Tensor]
    alphas_cumprod: Tensor
    runtime: Runtime

    @property
    def unet(self) -> UNet2DConditionModel:
        """A copy that nobody shares."""
        return UNet2DConditionModel.from_pretrained(self.folder / "unet").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = build_tiny_stable_diffusion(
        tmp_path_factory.mktemp("sd"), cross_attention_dim=networks.WIDTH, sample_size=64
    )
    networks.tiny_unet().save_pretrained(folder / "unet")
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder")
    with torch.no_grad():  # so that prompts are as far apart as a trained encoder's
        for layer in text_encoder.modules():
            if isinstance(layer, torch.nn.Embedding):
                layer.weight.mul_(50 if len(layer.weight) > 77 else 10)
    text_encoder.save_pretrained(folder / "text_encoder")
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    image = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)

    @torch.no_grad()
    def embed(prompt: str) -> Tensor:
        ids = tokenizer([prompt], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        return text_encoder(ids).last_hidden_state

    with torch.no_grad():
        pixels = torch.from_numpy(image).float().permute(2, 0, 1)[None] / 127.5 - 1
        encoded = vae.encode(pixels).latent_dist.mean * 0.18215
    z_source = torch.randn(SHAPE, generator=torch.Generator().manual_seed(3))
    alphas_cumprod = networks.stable_diffusion_schedule().alphas_cumprod
    return World(folder, image, encoded, z_source, embed, alphas_cumprod, Runtime(device="cpu", dtype="fp32"))


def draws(count: int) -> list[tuple[int, Tensor]]:
    """`count` pairs of t and eps. Every range of beta comes early, and so do its edges."""
    generator = torch.Generator().manual_seed(11)
    times = [120, 900, 450, 650, 230, 948, 50, 399, 400, 777, 199, 200, 599, 600, 799, 800]
    return [(times[i % len(times)], torch.randn(SHAPE, generator=generator)) for i in range(count)]


def picked(patches: int) -> Callable[[int], Tensor]:
    """Patch numbers as the loop draws them: from the job's generator, and only where not all are used."""
    generator = torch.Generator().manual_seed(SEED)
    return lambda count: (
        reference.every(count) if count <= patches else torch.randperm(count, generator=generator)[:patches]
    )


def job(world: World, editor: ScoreDistillationEditor, boxes: tuple[Any, ...], keeps: tuple[bool, ...]) -> EditJob:
    """The edit; `keeps` says for each subtask, and last for the whole, whether the shape is kept."""
    pairs = zip(PHRASES, keeps[:-1], strict=False)
    subtasks = tuple(Subtask(source=x, target=y, preserve_shape=kept) for (x, y), kept in pairs)
    plan = EditPlan(subtasks=subtasks, source_prompt=BEFORE, target_prompt=AFTER, preserve_shape=keeps[-1])
    regions = []
    for index, box in enumerate(boxes):
        pixels = tuple(512 * edge for edge in box)
        regions.append(Region(PHRASES[index][0], box=pixels, mask=box_mask(pixels, (512, 512)), subtask=index))
    return EditJob(world.image, plan, tuple(regions), seed=SEED, options=editor.options)


def official(world: World, kind: type[ScoreDistillationEditor], **values: Any) -> Any:
    """The editor with its preset `official-code`, and `values` set on top."""
    layer = Layer("test", {"preset": "official-code", "model": str(world.folder), **values})
    return kind(settle("editor", kind.options_type, [layer]).options, world.runtime)


def ours(
    world: World,
    kind: type[ScoreDistillationEditor],
    drawn: list[tuple[int, Tensor]],
    boxes: tuple[Any, ...] = BOXES[:1],
    keeps: tuple[bool, ...] = (False, False),
    steps: int = STEPS,
    **values: Any,
) -> Tensor:
    """The latent that the editor arrives at."""
    editor = official(world, kind, steps=steps, **values)
    problem = editor.problem(job(world, editor, boxes, keeps), world.z_source, drawn)
    (result,) = distill(editor.model, [problem], editor.method(SHAPE[2:]))
    return result.z


def whole_prompts(world: World) -> tuple[Tensor, Tensor, Tensor]:
    return world.embed(""), world.embed(BEFORE), world.embed(AFTER)


def oracle_ground_a_score(
    world: World,
    drawn: Iterator[tuple[int, Tensor]],
    boxes: tuple[Any, ...],
    keeps: tuple[bool, ...],
    patches: int,
    steps: int = STEPS,
) -> Tensor:
    """What the reference code arrives at. Its source prompt for the whole picture is the phrases, joined."""
    phrases = PHRASES[: len(boxes)]
    sources = [x for x, _ in phrases] + [" and ".join(x for x, _ in phrases)]
    targets = [y for _, y in phrases] + [AFTER]
    return reference.ground_a_score(
        world.unet,
        world.alphas_cumprod,
        world.z_source,
        world.embed(""),
        [world.embed(prompt) for prompt in sources],
        [world.embed(prompt) for prompt in targets],
        boxes,
        keeps,
        drawn,
        steps,
        picked(patches),
    )


def difference(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def assert_agreement(found: Tensor, expected: Tensor, z_source: Tensor) -> None:
    """They agree, and there was something to agree about."""
    assert difference(found, expected) <= AGREEMENT
    assert difference(expected, z_source) > 0.1


def test_dds(world: World) -> None:
    expected = reference.dds(
        world.unet, world.alphas_cumprod, world.z_source, whole_prompts(world), iter(draws(STEPS)), STEPS
    )
    assert_agreement(ours(world, DDSEditor, draws(STEPS)), expected, world.z_source)


def test_sds(world: World) -> None:
    null, _, target = whole_prompts(world)
    expected = reference.sds(
        world.unet, world.alphas_cumprod, world.z_source, (null, target), iter(draws(STEPS)), STEPS
    )
    assert_agreement(ours(world, SDSEditor, draws(STEPS)), expected, world.z_source)


@pytest.mark.parametrize(("patches", "steps"), [(256, STEPS), (ALL_PATCHES, 2)])
def test_cds(world: World, patches: int, steps: int) -> None:
    expected = reference.cds(
        world.unet,
        world.alphas_cumprod,
        world.z_source,
        whole_prompts(world),
        iter(draws(steps)),
        steps,
        picked(patches),
    )
    found = ours(world, CDSEditor, draws(steps), steps=steps, patches=patches)
    assert_agreement(found, expected, world.z_source)


@pytest.mark.parametrize(
    ("boxes", "keeps", "patches"),
    [
        pytest.param(BOXES, (False, True, False), ALL_PATCHES, id="two that overlap, one keeps its shape"),
        pytest.param((SMALL_BOX,), (True, True), 256, id="a small one and the whole keep their shapes"),
    ],
)
def test_ground_a_score(
    world: World,
    boxes: tuple[Any, ...],
    keeps: tuple[bool, ...],
    patches: int,
) -> None:
    drawn = draws(STEPS * len(keeps))
    expected = oracle_ground_a_score(world, iter(drawn), boxes, keeps, patches)
    found = ours(world, GroundAScoreEditor, drawn, boxes, keeps, patches=patches)
    assert_agreement(found, expected, world.z_source)


# --- the comparison can fail ------------------------------------------------------------------------------------------

FEW = 64


def one_iteration(
    world: World, boxes: tuple[Any, ...], keeps: tuple[bool, ...]
) -> tuple[Callable[..., Tensor], Tensor]:
    """The editor's run by its settings, and the oracle's outcome: one iteration, with one draw for all its turns."""
    drawn = draws(1) * len(keeps)

    def run(**values: Any) -> Tensor:
        return ours(world, GroundAScoreEditor, drawn, boxes, keeps, 1, **{"patches": FEW, **values})

    return run, oracle_ground_a_score(world, iter(drawn), boxes, keeps, FEW, steps=1)


@pytest.fixture(scope="module")
def plain(world: World) -> tuple[Callable[..., Tensor], Tensor]:
    run, expected = one_iteration(world, BOXES, (False, False, False))
    assert difference(run(), expected) <= AGREEMENT
    return run, expected


@pytest.fixture(scope="module")
def contrastive(world: World) -> tuple[Callable[..., Tensor], Tensor]:
    run, expected = one_iteration(world, BOXES[:1], (True, False))
    assert difference(run(), expected) <= AGREEMENT
    return run, expected


@pytest.mark.parametrize(
    "changed",
    [
        {"sequential": False},
        {"penalty_norm": "mask"},
        {"penalty": False},
        {"penalty_strength": 2},
        {"penalty_area": 0.05},
        {"overlap": 0.5},
        {"mask": "none"},
        {"full_source": "sentence"},
        {"full_prompt": False},
        {"subtasks": False},
        {"beta": [0.3]},
        {"guidance_scale": 7},
        {"step_size": 0.04, "official_hw_scaling": False},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_setting_disagrees(plain: tuple[Callable[..., Tensor], Tensor], changed: dict[str, Any]) -> None:
    run, expected = plain
    assert difference(run(**changed), expected) > DISAGREEMENT


@pytest.mark.parametrize(
    "changed",
    [
        {"cut": "none"},
        {"cut": "all"},
        {"w_cut": 2},
        {"temperature": 0.1},
        {"patch_sizes": [1]},
        {"patches": 2 * FEW},
        {"nce_query": "target"},
        {"cut_prompt": "full"},
    ],
    ids=lambda changed: "-".join(map(str, *changed.items())),
)
def test_another_contrast_disagrees(contrastive: tuple[Callable[..., Tensor], Tensor], changed: dict[str, Any]) -> None:
    run, expected = contrastive
    assert difference(run(**changed), expected) > DISAGREEMENT


def test_another_order_disagrees(world: World) -> None:
    """The turns of an iteration see each other's work: with their draws in another order they end elsewhere."""
    drawn = draws(2)
    keeps = (False, False)
    expected = oracle_ground_a_score(world, iter(drawn), BOXES[1:2], keeps, FEW, steps=1)
    assert difference(ours(world, GroundAScoreEditor, drawn[::-1], BOXES[1:2], keeps, 1), expected) > DISAGREEMENT


edges = st.tuples(st.integers(0, 256), st.integers(0, 256)).map(sorted).filter(lambda pair: pair[1] - pair[0] >= 8)


@given(st.lists(st.tuples(edges, edges), min_size=1, max_size=4))
@settings(deadline=None)
def test_masks_boxes_and_penalties(world: World, spans: list[tuple[list[int], list[int]]]) -> None:
    """Any boxes, in steps of a quarter of a cell, and at least two cells wide and high."""
    boxes = [(x0 / 256, y0 / 256, x1 / 256, y1 / 256) for (x0, x1), (y0, y1) in spans]
    cells, masks = reference.box_masks(boxes, torch.Size(SHAPE))
    editor = official(world, GroundAScoreEditor)
    *subtasks, whole = editor.terms(job(world, editor, tuple(boxes), (True,) * len(boxes) + (False,)), SHAPE[2:], 0.05)
    assert len(subtasks) == len(boxes)
    for term, box, cell, mask in zip(subtasks, boxes, cells[:-1], masks[:-1], strict=True):
        assert torch.allclose(term.mask.expand(SHAPE), mask, rtol=0, atol=1e-6)
        assert term.contrast.boxes == (tuple(cell),)
        assert (term.penalty is not None) == ((box[3] - box[1]) * (box[2] - box[0]) < 0.15)
    assert torch.equal(whole.mask.expand(SHAPE), masks[-1].float())
    assert whole.penalty is None and whole.contrast is None


def test_beta_by_signal_to_noise_is_beta_by_time(world: World) -> None:
    editor = official(world, GroundAScoreEditor)
    *_, whole = editor.terms(job(world, editor, BOXES, (False, False, False)), SHAPE[2:], 0.05)
    assert [whole.weight_at(t) for t in range(50, 949)] == [(0.5, 0.4, 0.3, 0.2, 0.1)[t // 200] for t in range(50, 949)]


def test_pictures_are_encoded_like_the_reference_codes(world: World) -> None:
    editor = official(world, DDSEditor)
    assert torch.allclose(editor.model.encode(world.image), world.encoded, atol=1e-6)
    assert world.encoded.abs().max() > 0.1
