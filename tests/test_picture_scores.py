"""Scores of finished pictures: L1 and L2 by hand, a CLIP's cosines, and which part of the picture is cut out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gas.types import EditPlan, Subtask
from gas_diorama.export import WEIGHTS
from gas_diorama.picture_scores import Clip, picture_scores, square_crop

pytest.importorskip("torch")

PLAN = EditPlan(
    subtasks=(
        Subtask(source="a red car", target="a blue house"),
        Subtask(action="remove", source="a tree", anchor="sand"),
    ),
    target_prompt="a blue house on sand under a night sky",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights, as `gas_diorama.train_clip.export_clip` keeps one."""
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def tiny_clip(folder: Path) -> Path:
    import torch
    from transformers import CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from gas_diorama.train_clip import ClipSettings, build_clip

    sizes = {"patch": 32, "width": 16, "layers": 1, "heads": 2, "text_width": 16, "text_layers": 1, "text_heads": 2}
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        build_clip(ClipSettings(**sizes, projection=8), tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 128}, crop_size={"height": 128, "width": 128}).save_pretrained(folder)
    return folder


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (128, 128, 3), dtype=np.uint8)


def box(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    region = np.zeros((128, 128), bool)
    region[y0:y1, x0:x1] = True
    return region


def test_l1_and_l2_by_hand() -> None:
    exact = np.zeros((128, 128, 3), np.uint8)
    half = exact.copy()
    half[:64] = 51  # a fifth of 255
    found = picture_scores(half, exact, PLAN, [], None)
    assert found.l1 == pytest.approx(0.1) and found.l2 == pytest.approx(0.02)
    assert found.clip_i is found.clip_t is found.clip_region is None
    same = picture_scores(exact, exact, PLAN, [], None)
    assert (same.l1, same.l2) == (0, 0)
    with pytest.raises(ValueError, match="cannot be compared"):
        picture_scores(exact[:64], exact, PLAN, [], None)


def test_a_clips_scores_are_the_cosines_that_transformers_gives(folder: Path) -> None:
    import torch
    from transformers import CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    one, exact, regions = picture(0), picture(1), [box(10, 20, 30, 40), box(64, 0, 128, 128)]
    clip = Clip.from_folder(folder)
    found = picture_scores(one, exact, PLAN, regions, clip)
    crops = [square_crop(one, region) for region in regions]
    texts = [PLAN.target_prompt, "a blue house", "sand"]
    processor = CLIPProcessor(CLIPImageProcessorPil.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder))
    inputs = processor(images=[one, exact, *crops], text=texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = CLIPModel.from_pretrained(folder)(**inputs)
    cosines = out.image_embeds @ out.text_embeds.T
    assert found.clip_i == pytest.approx(float(out.image_embeds[0] @ out.image_embeds[1]), abs=1e-5)
    assert found.clip_t == pytest.approx(float(cosines[0, 0]), abs=1e-5)
    assert found.clip_region == pytest.approx(float(cosines[2, 1] + cosines[3, 2]) / 2, abs=1e-5)
    assert picture_scores(exact, exact, PLAN, regions, clip).clip_i == pytest.approx(1, abs=1e-6)


def test_a_clip_that_is_not_there_gives_none(folder: Path) -> None:
    assert Clip.find("package:gas_diorama/weights/no-such-clip") is None
    assert isinstance(Clip.find(str(folder)), Clip)


@pytest.mark.parametrize(
    ("region", "corner", "side"),
    [
        (box(60, 60, 70, 70), (33, 33), 64),  # small things keep their surroundings
        (box(0, 0, 10, 10), (0, 0), 64),
        (box(110, 100, 128, 128), (64, 64), 64),
        (box(20, 10, 100, 60), (20, 0), 80),
        (box(0, 0, 60, 128), (0, 0), 128),
        (box(0, 0, 0, 0), (0, 0), 128),
    ],
)
def test_the_crop_is_a_square_inside_the_picture(region: np.ndarray, corner: tuple[int, int], side: int) -> None:
    one = picture(2)
    y, x = corner
    assert np.array_equal(square_crop(one, region), one[y : y + side, x : x + side])
