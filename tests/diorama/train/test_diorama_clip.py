"""The diorama's CLIP: negatives that differ in one attribute, a contrast that rewards the right answer, training that
learns and resumes, and an export that transformers loads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AutoTokenizer, CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from gas_diorama.train import train, train_clip, training
from gas_diorama.train.export import WEIGHTS
from gas_diorama.train.train_clip import ClipSettings, build_clip, contrast, export_clip, false_neighbours, measure_clip
from gas_diorama.train.training import load_checkpoint, save_checkpoint
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.language import caption, phrase
from gas_diorama.world.networks import to_tensor
from gas_diorama.world.scene import Scene, Thing, sample_scene

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


TINY = ClipSettings(
    patch=32, width=16, layers=1, heads=2, text_width=16, text_layers=1, text_heads=2, projection=8,
    steps=4, batch=4, wrong=2, warm_up=2, save_every=2, measured=0, peak=3e-3,
)  # fmt: skip
SCENE = Scene("clear", "grass", 66, (Thing("car", "red", 34, 110, 44), Thing("tree", "green", 96, 104, 44)), 3)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def words() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a tiny CLIP was trained without a stop."""
    out = tmp_path_factory.mktemp("run")
    train_clip.train_clip(out, TINY)
    return out


def test_neighbours_differ_in_one_attribute() -> None:
    found = false_neighbours(SCENE, np.random.default_rng(0), 8)
    assert len({caption(one) for one in [SCENE, *found]}) == 9

    def attributes(scene: Scene) -> list[str]:
        return [scene.sky, scene.ground, *(word for thing in scene.objects for word in thing.name)]

    for one in found:
        assert sum(a != b for a, b in zip(attributes(SCENE), attributes(one), strict=True)) == 1
        assert (one.horizon, one.seed) == (SCENE.horizon, SCENE.seed)
    empty = replace(SCENE, objects=())
    assert len(false_neighbours(empty, np.random.default_rng(0), 5)) == 5
    with pytest.raises(ValueError, match="has 5 neighbours, not 6"):
        false_neighbours(empty, np.random.default_rng(0), 6)


def test_the_first_phrase_is_true_and_the_others_are_near_and_false() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scene = sample_scene(rng)
        true = {phrase(part) for part in (*scene.objects, scene.ground, scene.sky)}
        first, *others = train_clip.true_and_false_phrases(scene, rng, 8)
        assert first in true and not true & set(others) and len(set(others)) == 8
        if len(first.split()) == 3 and not first.endswith("sky"):
            assert all(len(set(first.split()) & set(one.split())) == 2 for one in others), "no near ones"


def test_contrast_is_small_for_the_right_answers_and_large_for_each_wrong_one() -> None:
    axes = torch.eye(8)
    pictures, own, phrases = axes[:2], axes[2:4, None].repeat(1, 2, 1), torch.stack([axes[:2], axes[4:6]], 1)
    scale = torch.tensor(20.0)
    right = contrast(pictures, pictures, own, phrases, scale)
    assert right < 1e-3
    for wrong in (
        contrast(pictures, pictures.flip(0), own, phrases, scale),
        contrast(pictures, pictures, pictures[:, None].repeat(1, 2, 1), phrases, scale),
        contrast(pictures, pictures, own, phrases.flip(1), scale),
    ):
        assert wrong > right + 1


def test_the_network_fits_into_three_megabytes(words: CLIPTokenizer) -> None:
    assert 2 * sum(p.numel() for p in build_clip(ClipSettings(), words).parameters()) < 2.9e6


def test_measure_counts_right_answers(words: CLIPTokenizer) -> None:
    class Fixed:
        device = torch.device("cpu")

        def __init__(self, sign: int) -> None:
            self.sign = sign

        def __call__(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
            rows, columns = torch.arange(len(pixel_values)), torch.arange(len(input_ids))
            return SimpleNamespace(logits_per_image=-self.sign * (rows[:, None] - columns).abs().float())

    right = {"caption": 1.0, "phrase": 1.0, "picture": 1.0}
    assert measure_clip(Fixed(1), words, 3, "validation") == right  # type: ignore[arg-type]
    assert measure_clip(Fixed(-1), words, 3, "validation") == dict.fromkeys(right, 0.0)  # type: ignore[arg-type]


def test_the_loss_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []

    def fit(path: Path, network: object, settings: object, loss_at: Callable[[int], Tensor], at_save: object) -> object:
        def noted(step: int) -> Tensor:
            loss = loss_at(step)
            losses.append(loss.item())
            return loss

        return training.fit(path, network, settings, noted, at_save)  # type: ignore[arg-type]

    monkeypatch.setattr(train_clip, "fit", fit)
    train_clip.train_clip(tmp_path, replace(TINY, steps=40, save_every=99, peak=1e-2))
    assert len(losses) == 40 and np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4])


class Stopped(Exception):
    pass


def test_a_stopped_run_goes_on_as_if_never_stopped(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_and_stop(path: Path, state: dict) -> None:
        save_checkpoint(path, state)
        raise Stopped

    with monkeypatch.context() as stopping, pytest.raises(Stopped):
        stopping.setattr(training, "save_checkpoint", save_and_stop)
        train_clip.train_clip(tmp_path, TINY)
    half = load_checkpoint(tmp_path / "clip.pt")
    train_clip.train_clip(tmp_path, TINY)
    whole, resumed = load_checkpoint(trained / "clip.pt"), load_checkpoint(tmp_path / "clip.pt")
    assert half is not None and whole is not None and resumed is not None
    assert half["step"] == 2 and whole["step"] == resumed["step"] == 4
    for key in ("network", "average"):
        assert all(torch.equal(whole[key][name], resumed[key][name]) for name in whole[key])
        assert any(not torch.equal(whole[key][name], half[key][name]) for name in whole[key])


@pytest.mark.parametrize("change", [{"cells": 0.0}, {"wrong": 1}, {"decay": 0.9}, {"seed": 1}])
def test_settings_change_what_is_learnt(change: dict, tmp_path: Path) -> None:
    learnt = []
    for folder, settings in (("same", TINY), ("other", replace(TINY, **change))):
        train_clip.train_clip(tmp_path / folder, replace(settings, steps=2))
        state = load_checkpoint(tmp_path / folder / "clip.pt")
        assert state is not None
        learnt.append(state["network"]["clip.visual_projection.weight"])
    assert not torch.equal(*learnt)


def test_an_export_is_a_clip_folder_in_half_precision(trained: Path, tmp_path: Path) -> None:
    folder = export_clip(trained, tmp_path / "clip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip"], "a partial folder was left"
    clip = CLIPModel.from_pretrained(folder)
    state = load_checkpoint(trained / "clip.pt")
    assert state is not None
    for name, value in clip.state_dict().items():
        assert torch.equal(value.float(), state["average"][f"clip.{name}"].half().float()), name
    picture = SceneBank(1).pictures(np.arange(1))
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(Image.fromarray(picture[0]), return_tensors="pt")
    assert torch.allclose(pixels["pixel_values"], to_tensor(picture), atol=1e-5)
    tokens = AutoTokenizer.from_pretrained(folder)(["a red car", "grass"], padding=True, return_tensors="pt")
    with torch.no_grad():
        scores = clip.float()(**tokens, **pixels).logits_per_image
    assert scores.shape == (1, 2) and torch.isfinite(scores).all()
    with pytest.raises(FileNotFoundError, match=r"gas_diorama\.train clip"):
        export_clip(tmp_path, tmp_path / "other")


def test_the_command_line_trains_and_exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "ClipSettings", partial(replace, TINY, measured=2))
    monkeypatch.setattr(train, "measure_exported", partial(train_clip.measure_exported, count=2))
    train.main(["clip", "--out", str(tmp_path), "--steps", "1", "--seed", "3", "--folder", str(tmp_path / "weights")])
    state = load_checkpoint(tmp_path / "clip.pt")
    assert state is not None and state["step"] == 1 and state["settings"]["seed"] == 3
    assert (tmp_path / "weights" / "model.safetensors").exists()
    logged = (tmp_path / "train.log").read_text()
    assert "clip step 1  caption" in logged and "2 test scenes  caption" in logged


def test_end_tokens_of_two_texts_are_read_where_they_are(words: CLIPTokenizer) -> None:
    torch.manual_seed(0)
    clip = build_clip(TINY, words).eval()
    with torch.no_grad():
        alone = clip.get_text_features(**train_clip.text_inputs(words, ["a red car"])).pooler_output
        beside = clip.get_text_features(**train_clip.text_inputs(words, ["a red car", caption(SCENE)])).pooler_output
    assert torch.allclose(alone[0], beside[0], atol=1e-5)
