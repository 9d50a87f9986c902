"""Scores of finished pictures: L1 and L2 by hand, and a CLIP's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gas.diffusion.clip import Clip
from gas.errors import ModelUnavailable
from gas.runtime import Runtime
from gas.types import EditPlan, Subtask
from gas_diorama.bench.picture_scores import find_clip, picture_scores
from gas_diorama.train.export import WEIGHTS

PLAN = EditPlan(
    subtasks=(
        Subtask(source="a red car", target="a blue house"),
        Subtask(action="remove", source="a tree", anchor="sand"),
    ),
    target_prompt="a blue house on sand under a night sky",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights, as `gas_diorama.train.train_clip.export_clip` keeps one."""
    return tiny_clip(tmp_path_factory.mktemp("clip"))


def tiny_clip(folder: Path) -> Path:
    import torch
    from transformers import CLIPTokenizer
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from gas_diorama.train.train_clip import ClipSettings, build_clip

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


def test_a_clips_scores_are_those_of_its_wrapper(folder: Path) -> None:
    one, exact, regions = picture(0), picture(1), [box(10, 20, 30, 40), box(64, 0, 128, 128)]
    clip = Clip.from_folder(folder)
    found = picture_scores(one, exact, PLAN, regions, clip)
    assert found.clip_i == pytest.approx(clip.clip_i(one, exact)) and found.clip_i < 0.999
    assert found.clip_t == pytest.approx(clip.clip_t(one, PLAN.target_prompt))
    parts = clip.clip_t(one[10:30, 20:40], "a blue house"), clip.clip_t(one[0:128, 0:128], "sand")
    assert found.clip_region == pytest.approx(sum(parts) / 2)
    assert parts[0] != clip.clip_t(one[10:30, 20:40], "a red car")
    assert picture_scores(exact, exact, PLAN, regions, clip).clip_i == pytest.approx(1, abs=1e-6)


def test_a_clip_that_is_not_there_gives_none_and_what_is_not_one_is_refused(folder: Path, tmp_path: Path) -> None:
    runtime = Runtime(device="cpu", dtype="fp32")
    assert find_clip("package:gas_diorama/weights/no-such-clip", runtime) is None
    assert find_clip("./no-such-clip", runtime) is None
    assert isinstance(find_clip(str(folder), runtime), Clip)
    with pytest.raises(ModelUnavailable, match="not a CLIP"):
        find_clip(str(tmp_path), runtime)
