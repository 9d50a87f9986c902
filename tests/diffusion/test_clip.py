"""CLIP: preprocessing and embeddings like transformers', gradients to pictures, relevance, scores, refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from random_state import generator
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from gas.diffusion.clip import Clip, masked_part, square_around, to_pixels
from gas.errors import InputRefused, ModelUnavailable
from gas.runtime import Runtime
from gas.testing.contracts import sample_image
from gas.testing.tiny import build_tiny_clip, build_tiny_stable_diffusion


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_clip(tmp_path_factory.mktemp("tiny") / "clip")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return Clip.from_folder(folder)


# --- as transformers does it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(96, 64), (64, 100), (40, 40), (32, 32), (20, 24)])
def test_preprocessing_is_clips_own(clip: Clip, folder: Path, size: tuple[int, int]) -> None:
    image = sample_image(*size)
    own = CLIPImageProcessorPil.from_pretrained(folder)(Image.fromarray(image), return_tensors="pt")["pixel_values"]
    ours = (clip.square(to_pixels(image)) - clip.mean) / clip.std
    assert ours.shape == own.shape
    assert (ours - own).abs().max() < 1.5 / 255 / float(clip.std.min()), "more than a level's rounding"


def test_the_models_own_settings_count(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "other")
    settings = json.loads((other / "preprocessor_config.json").read_text())
    settings.update(image_mean=[0.1, 0.2, 0.3], image_std=[1, 2, 3], resample=2)
    (other / "preprocessor_config.json").write_text(json.dumps(settings))
    clip = Clip.from_folder(other)
    assert clip.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3]) and clip.std.flatten().tolist() == [1, 2, 3]
    image = sample_image(96, 64)
    own = CLIPImageProcessorPil.from_pretrained(other)(Image.fromarray(image), return_tensors="pt")["pixel_values"]
    assert ((clip.square(to_pixels(image)) - clip.mean) / clip.std - own).abs().max() < 1.5 / 255
    bicubic = Clip.from_folder(folder)
    assert not torch.equal(clip.square(to_pixels(image)), bicubic.square(to_pixels(image)))


def test_embeddings_are_those_of_transformers(clip: Clip, folder: Path) -> None:
    network, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    texts = ["a red car", "a much longer text about grass"]
    pixels = clip.square(torch.cat([to_pixels(sample_image(96, 64)), torch.rand(1, 3, 64, 96, generator=generator(1))]))
    with torch.no_grad():
        found = network(
            **tokenizer(texts, padding=True, return_tensors="pt"), pixel_values=(pixels - clip.mean) / clip.std
        )
    scores = clip.images(pixels) @ clip.texts(texts).T * clip.network.logit_scale.exp()
    assert torch.allclose(scores, found.logits_per_image, atol=1e-4)
    assert found.logits_per_image.std() > 0.1, "the tiny network tells nothing apart, so this test would show nothing"


def test_a_text_alone_is_as_beside_a_longer_one(clip: Clip) -> None:
    assert torch.allclose(clip.texts(["a"])[0], clip.texts(["a", "something longer"])[0], atol=1e-6)


def test_words_that_do_not_fit_are_warned_of(clip: Clip) -> None:
    with pytest.warns(UserWarning, match="CLIP sees the first 77"):
        clip.texts(["a red car " * 20])


# --- pictures of any shape, and gradients -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "made"), [((64, 96), (32, 48)), ((96, 64), (48, 32)), ((64, 64), (32, 32)), ((10, 99), (32, 56))]
)
def test_whole_pictures_keep_their_shape_in_patches(clip: Clip, size: tuple[int, int], made: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *size, generator=generator(2))
    whole = clip.whole(pixels)
    assert tuple(whole.shape) == (2, 3, *made) and whole.min() >= 0 and whole.max() <= 1
    assert torch.isfinite(clip.images(whole)).all()
    tokens = 1 + made[0] // clip.patch * (made[1] // clip.patch)
    assert clip.self_similarity(whole).shape == (2, tokens, tokens)


def test_gradients_reach_the_picture_and_no_parameter(clip: Clip) -> None:
    pixels = torch.rand(1, 3, 48, 64, generator=generator(0))
    text = clip.texts(["a red car"])[0]
    scores = []
    for _ in range(20):
        pixels.requires_grad_(True)
        score = clip.images(clip.square(pixels))[0] @ text
        (step,) = torch.autograd.grad(score, pixels)
        pixels = (pixels + 0.02 * step.sign()).clamp(0, 1).detach()
        scores.append(score.item())
    assert scores[-1] > scores[0] + 0.1
    assert not any(p.requires_grad or p.grad is not None for p in clip.network.parameters())


def test_self_similarity_is_of_what_goes_into_the_last_layer(clip: Clip) -> None:
    seen: list[torch.Tensor] = []
    last = clip.network.vision_model.encoder.layers[-1]
    hook = last.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs.get("hidden_states", args[0] if args else None)), with_kwargs=True
    )
    pixels = torch.rand(1, 3, 32, 32, generator=generator(4))
    found = clip.self_similarity(pixels)
    hook.remove()
    tokens = F.normalize(seen[0], dim=-1)
    assert torch.allclose(found, tokens @ tokens.transpose(1, 2), atol=1e-6)
    assert torch.allclose(found.diagonal(dim1=1, dim2=2), torch.ones(1, 17), atol=1e-5)


# --- relevance --------------------------------------------------------------------------------------------------------


def test_relevance_is_where_the_score_comes_from(clip: Clip) -> None:
    """Chefer's rule by hand for one layer: the class token's attention, times its gradient, where positive."""
    pixels, text = torch.rand(1, 3, 32, 32, generator=generator(5)), clip.texts(["a red car"])[0]
    found = clip.relevance(pixels, text)
    outputs = clip.network.get_image_features(
        pixel_values=((pixels - clip.mean) / clip.std).requires_grad_(True), output_attentions=True
    )
    attention = outputs.attentions[-1]
    score = F.normalize(outputs.pooler_output, dim=-1)[0] @ text
    (gradient,) = torch.autograd.grad(score, attention)
    row = (attention * gradient).clamp(min=0).mean(1)[0, 0, 1:].detach().view(1, 1, 4, 4)
    large = F.interpolate(row, (32, 32), mode="bilinear", align_corners=False)
    expected = (large - large.min()) / (large.max() - large.min())
    assert found.shape == (1, 1, 32, 32) and torch.allclose(found, expected, atol=1e-4)
    assert found.min() == 0 and found.max() == 1


def test_relevance_depends_on_text_and_layers_and_works_without_gradients(clip: Clip) -> None:
    pixels, texts = torch.rand(2, 3, 32, 48, generator=generator(6)), clip.texts(["a red car", "grass"])
    with torch.no_grad():
        first = clip.relevance(pixels, texts[0])
    assert first.shape == (2, 1, 32, 48) and not first.requires_grad
    assert not torch.allclose(first, clip.relevance(pixels, texts[1]), atol=1e-3)
    assert not torch.allclose(first, clip.relevance(pixels, texts[0], layers=3), atol=1e-3)


# --- scores -----------------------------------------------------------------------------------------------------------


def test_scores(clip: Clip) -> None:
    image, other = sample_image(96, 64), 255 - sample_image(64, 96)
    assert clip.clip_i(image, image) == pytest.approx(1, abs=1e-5)
    assert clip.clip_i(image, other) == pytest.approx(clip.clip_i(other, image))
    assert clip.clip_i(image, other) < 0.999
    assert clip.clip_t(image, "a red box") == pytest.approx(float(clip.embed(image) @ clip.texts(["a red box"])[0]))
    assert clip.clip_t(image, "a red box") != pytest.approx(clip.clip_t(other, "a red box"), abs=1e-4)


def test_masked_score_sees_the_part_only(clip: Clip) -> None:
    image = sample_image(96, 64)
    mask = np.zeros((64, 96), np.float32)
    mask[20:40, 30:60] = 1
    elsewhere = image.copy()
    elsewhere[50:, :20] = 0
    inside = image.copy()
    inside[25:35, 35:55] = 0
    for crop in (True, False):
        score = clip.masked_clip_t(image, mask, "a red box", crop=crop)
        assert clip.masked_clip_t(elsewhere, mask, "a red box", crop=crop) == score
        assert clip.masked_clip_t(inside, mask, "a red box", crop=crop) != pytest.approx(score, abs=1e-4)
        with pytest.raises(InputRefused, match="empty"):
            clip.masked_clip_t(image, mask * 0, "a red box", crop=crop)
    assert masked_part(image, mask).shape == (30, 30, 3)
    grey = masked_part(image, mask, crop=False)
    assert np.array_equal(grey[20:40, 30:60], image[20:40, 30:60]) and (grey[mask == 0] == 128).all()


@pytest.mark.parametrize(
    ("box", "square"),
    [((30, 20, 60, 40), (30, 15, 60, 45)), ((0, 0, 20, 6), (0, 0, 20, 20)), ((80, 60, 96, 64), (80, 48, 96, 64)),
     ((0, 5, 96, 9), (0, 0, 96, 64)), ((5, 7, 6, 8), (5, 7, 6, 8))],
)  # fmt: skip
def test_squares_around_a_mask_stay_in_the_picture(
    box: tuple[int, int, int, int], square: tuple[int, int, int, int]
) -> None:
    mask = np.zeros((64, 96), np.float32)
    mask[box[1] : box[3], box[0] : box[2]] = 0.1
    assert square_around(mask) == square


# --- loading ----------------------------------------------------------------------------------------------------------


def test_a_model_is_shared(folder: Path) -> None:
    runtime = Runtime(device="cpu", dtype="bf16")
    clip = Clip.load(str(folder), runtime)
    assert Clip.load(str(folder), runtime) is clip
    assert next(clip.network.parameters()).dtype == torch.float32, "CLIP works in fp32 whatever the rest does"


def test_what_is_missing_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="is not there") as caught:
        Clip.load("./nowhere", Runtime(device="cpu"))
    assert caught.value.exit_code == 6
    with pytest.raises(ModelUnavailable, match="has not been downloaded"):
        Clip.load("openai/clip-vit-base-patch32", Runtime(device="cpu", offline=True))
    with pytest.raises(ModelUnavailable, match=r"no config\.json"):
        Clip.from_folder(tmp_path)
    with pytest.raises(ModelUnavailable, match="kind 'clip_text_model', not 'clip'"):
        Clip.from_folder(build_tiny_stable_diffusion(tmp_path / "sd") / "text_encoder")
    wanted = {
        "model.safetensors": "no weights in it",
        "tokenizer.json": "no tokenizer.json",
        "preprocessor_config.json": "no prep",
    }
    for number, (file, said) in enumerate(wanted.items()):
        broken = shutil.copytree(folder, tmp_path / str(number))
        (broken / file).unlink()
        with pytest.raises(ModelUnavailable, match=f"my clip.*{said}"):
            Clip.from_folder(broken, name="my clip")
        (broken / file).write_bytes(b"{")
        with pytest.raises(ModelUnavailable, match="my clip cannot be loaded"):
            Clip.from_folder(broken, name="my clip")


def test_half_a_model_is_refused(clip: Clip, folder: Path, tmp_path: Path) -> None:
    half = shutil.copytree(folder, tmp_path / "half")
    kept = {name: one for name, one in clip.network.state_dict().items() if not name.startswith("text_model")}
    CLIPModel.from_pretrained(folder).save_pretrained(half, state_dict=kept)
    with pytest.raises(ModelUnavailable, match="of its weights are missing"):
        Clip.from_folder(half)


def test_pickles_are_read_only_when_allowed(clip: Clip, folder: Path, tmp_path: Path) -> None:
    old = shutil.copytree(folder, tmp_path / "old")
    (old / "model.safetensors").unlink()
    torch.save(clip.network.state_dict(), old / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match=r"\.bin only"):
        Clip.from_folder(old)
    same = Clip.from_folder(old, allow_pickle=True)
    assert torch.allclose(same.texts(["a"]), clip.texts(["a"]), atol=1e-6)
