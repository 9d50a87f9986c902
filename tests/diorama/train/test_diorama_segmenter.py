"""The diorama's small Sam: training on tiny settings, what it exports, and the shipped weights' figures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from gas import Region, Runtime
from gas.interfaces import GroundJob
from gas_diorama.shipped import shipped
from gas_diorama.train import train_segmenter
from gas_diorama.train.train_segmenter import (
    WEIGHTS,
    SegmenterSettings,
    ask,
    build_segmenter,
    export_segmenter,
    full_size,
    image_processor,
    jittered,
    losses,
    measure,
    parts,
    prompts,
    to_pixels,
)
from gas_diorama.train.training import load_checkpoint, save_checkpoint
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.drawing import render
from gas_diorama.world.scene import SIZE, Scene, Thing
from gas_grounders.sam.grounder import Sam
from gas_grounders.sam.network import SamOptions

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


TINY = SegmenterSettings(
    patch=16,
    width=16,
    layers=2,
    heads=2,
    window=3,
    global_layers=(1,),
    decoder_width=16,
    decoder_heads=2,
    decoder_mlp=16,
    boxes=2,
    points=1,
    steps=4,
    batch=2,
    warm_up=2,
    scenes=8,
    save_every=2,
    measured=2,
    tested=2,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


SCENE = Scene("clear", "grass", 68, (Thing("car", "red", 42, 114, 60), Thing("ball", "blue", 100, 110, 24)), 1)


def test_parts_are_what_can_be_seen() -> None:
    listed = parts(SCENE)
    assert [part.what for part in listed] == [*SCENE.objects, "ground", "sky"]
    assert sum(part.mask.astype(int) for part in listed).max() == 1
    car = listed[0]
    x0, y0, x1, y1 = car.box.astype(int)
    assert car.mask[y0:y1, x0:x1].sum() == car.mask.sum() and car.mask[y0].any() and car.mask[:, x1 - 1].any()
    assert car.square == SCENE.objects[0].box


def test_jitter_stays_in_the_picture_and_near() -> None:
    rng, box = np.random.default_rng(0), np.array([4.0, 60.0, 64.0, 120.0])
    moved = np.stack([jittered(box, rng, 0.1) for _ in range(200)])
    assert moved.min() >= 0 and moved.max() <= SIZE and (moved[:, 2:] - moved[:, :2]).min() >= 2
    assert 2 < np.abs(moved - box).mean() < 8 and np.abs(moved - box).max() <= 12
    np.testing.assert_array_equal(jittered(box, rng, 0.0), box)


def test_prompts_ask_for_every_thing_and_points_lie_inside() -> None:
    settings = replace(TINY, boxes=3, points=6)
    boxes, points, wanted = prompts(SCENE, settings, np.random.default_rng(0))
    assert boxes.shape == (3, 4) and points.shape == (6, 2) and wanted.shape == (9, SIZE, SIZE)
    things = [part.mask for part in parts(SCENE)[:2]]
    assert all(any(np.array_equal(thing, mask) for mask in wanted[:3]) for thing in things)
    for (x, y), mask in zip(points.astype(int), wanted[3:], strict=True):
        assert mask[y, x]


def test_asking_is_what_the_model_itself_answers() -> None:
    torch.manual_seed(0)
    network = build_segmenter(TINY).eval()
    boxes, points = torch.tensor([[[12.0, 54, 72, 114], [88, 86, 112, 110]]]), torch.tensor([[[40.0, 90]]])
    pixels = to_pixels(render(SCENE)[None])
    with torch.no_grad():
        embedding = network.vision_encoder(pixels).last_hidden_state
        logits, quality = ask(network, embedding, boxes, points)
        assert logits.shape == (1, 3, 4, 32, 32) and quality.shape == (1, 3, 4)
        assert full_size(logits[:, :, 0]).shape == (1, 3, SIZE, SIZE)
        for several, part in ((False, slice(0, 1)), (True, slice(1, 4))):
            theirs = network(pixels, input_boxes=boxes, multimask_output=several)
            torch.testing.assert_close(logits[:, :2, part], theirs.pred_masks, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(quality[:, :2, part], theirs.iou_scores, atol=1e-5, rtol=1e-4)
            theirs = network(pixels, input_points=points[:, :, None], multimask_output=several)
            torch.testing.assert_close(logits[:, 2:, part], theirs.pred_masks, atol=1e-5, rtol=1e-4)


def test_pixels_are_those_of_the_processor() -> None:
    picture = render(SCENE)
    theirs = image_processor(TINY)(images=picture, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(to_pixels(picture[None]), theirs, atol=1e-5, rtol=0)


def test_losses_are_least_for_the_right_masks_and_take_the_best_of_three() -> None:
    wanted = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.bool)
    wanted[..., 32:96, 32:96] = True
    right = torch.where(torch.nn.functional.avg_pool2d(wanted.float(), 4) > 0.5, 12.0, -12.0)[:, :, None]
    good = losses(right.expand(1, 1, 4, 32, 32), torch.ones(1, 1, 4), wanted)
    assert good["mask"] < 0.01 and good["quality"] == 0 and good["iou"] == 1
    bad = losses(-right.expand(1, 1, 4, 32, 32), torch.ones(1, 1, 4), wanted)
    assert bad["mask"] > 2 and bad["quality"] == 1 and bad["iou"] == 0
    one_of_three = torch.cat([right, -right, right, -right], dim=2)
    mixed = losses(one_of_three, torch.tensor([[[1.0, 0, 1, 0]]]), wanted)
    assert good["mask"] < mixed["mask"] < 0.2 * bad["mask"] and mixed["quality"] == 0


class Stopped(Exception):
    pass


def test_a_stopped_run_goes_on_as_if_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_segmenter.train_segmenter(tmp_path / "whole", TINY)

    def save_and_stop(path: Path, state: dict) -> None:
        save_checkpoint(path, state)
        raise Stopped

    with monkeypatch.context() as stopping, pytest.raises(Stopped):
        stopping.setattr(train_segmenter, "save_checkpoint", save_and_stop)
        train_segmenter.train_segmenter(tmp_path / "parts", TINY)
    train_segmenter.train_segmenter(tmp_path / "parts", TINY)
    a, b = (load_checkpoint(tmp_path / name / "segmenter.pt") for name in ("whole", "parts"))
    assert a["step"] == b["step"] == 4
    for key in ("network", "average"):
        assert all(torch.equal(a[key][name], b[key][name]) for name in a[key])
    start = build_segmenter(TINY).state_dict()
    still = [name for name in start if torch.equal(start[name].float(), a["network"][name].float())]
    assert not any("mask_tokens" in name for name in still)


def test_training_lowers_the_loss() -> None:
    torch.manual_seed(0)
    network = build_segmenter(TINY)
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    pixels = to_pixels(render(SCENE)[None])
    seen = []
    for step in range(60):
        drawn = prompts(SCENE, TINY, np.random.default_rng(step))
        boxes, points, wanted = (torch.from_numpy(value)[None] for value in drawn)
        loss = losses(*ask(network, network.vision_encoder(pixels).last_hidden_state, boxes, points), wanted)
        optimiser.zero_grad()
        (loss["mask"] + loss["quality"]).backward()
        optimiser.step()
        seen.append(loss["mask"].item())
    assert np.mean(seen[-8:]) < 0.7 * np.mean(seen[:4])


def test_no_checkpoint_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gas_diorama\.train segmenter"):
        export_segmenter(tmp_path, tmp_path / "sam")


def test_the_export_loads_as_transformers_loads_it(tmp_path: Path) -> None:
    trained = train_segmenter.train_segmenter(tmp_path, replace(TINY, steps=2))
    folder = export_segmenter(tmp_path, tmp_path / "sam")
    network = SamModel.from_pretrained(folder, torch_dtype=torch.float32)
    processor = SamImageProcessorPil.from_pretrained(folder)
    for name, value in trained.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value.half().float(), atol=0, rtol=0)
    pixels = processor(images=render(SCENE), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, SIZE, SIZE)


# --- the shipped weights ----------------------------------------------------------------------------------------------


def test_shipped_files_are_small_and_half_precision() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 4e6
    assert {path.name for path in WEIGHTS.iterdir()} == {"config.json", "preprocessor_config.json", "model.safetensors"}
    assert json.loads((WEIGHTS / "config.json").read_text())["dtype"] == "float16"


@pytest.fixture(scope="module")
def shipped_network() -> SamModel:
    return SamModel.from_pretrained(WEIGHTS, torch_dtype=torch.float32).eval()


@pytest.mark.parametrize("name", ["demo", "two-cars", "camp", "lone-tree"])
def test_exact_boxes_of_shipped_scenes_give_their_masks(name: str) -> None:
    scene = next(one.scene for one in shipped() if one.name == name)
    listed = parts(scene)
    sam = Sam(SamOptions(model="package:gas_diorama/weights/sam"), Runtime(device="cpu", dtype="fp32"))
    found = sam.ground(GroundJob(render(scene), [Region(str(part.what), tuple(part.box.tolist())) for part in listed]))
    for part, region in zip(listed, found, strict=True):
        both, either = (part.mask & (region.mask > 0)).sum(), (part.mask | (region.mask > 0)).sum()
        assert both / either > 0.85, part.what


def test_held_out_scenes(shipped_network: SamModel) -> None:
    figures = measure(shipped_network, "test", 24)
    assert figures["all"] > 0.93 and figures["things"] > 0.87 and figures["poor"] < 0.05


def test_whole_pictures_show_most_things() -> None:
    options = {"points_per_side": 12, "iou_threshold": 0.6, "stability_threshold": 0.6, "stability_offset": 0.5}
    sam = Sam(SamOptions(model="package:gas_diorama/weights/sam", **options), Runtime(device="cpu", dtype="fp32"))
    bank, best = SceneBank(6, 7, "test"), []
    for number in range(6):
        scene = bank.scene(number)
        found = [region.mask > 0 for region in sam.ground(GroundJob(render(scene)))]
        for part in parts(scene):
            best.append(max((part.mask & one).sum() / (part.mask | one).sum() for one in found))
    assert np.mean(np.array(best) > 0.75) > 0.8
