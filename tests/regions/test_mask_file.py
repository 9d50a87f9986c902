"""Mask files as programs write them: what is meant is recognised, or said not to be plain; never a weak strength."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pictures
import pytest
from PIL import Image as Pictures

from gas.errors import InputRefused
from gas.picture import decode
from gas.regions.mask_file import read_mask

SIZE = (96, 64)
INSIDE = np.zeros((64, 96), bool)
INSIDE[10:40, 20:70] = True
PHOTO = pictures.scene()


def noisy_photo() -> np.ndarray:
    noise = np.random.default_rng(0).integers(-20, 20, PHOTO.shape)
    return np.clip(PHOTO + noise, 0, 255).astype(np.uint8)


def palette(indices: np.ndarray, colours: list[tuple[int, int, int]]) -> Pictures.Image:
    picture = Pictures.fromarray(indices.astype(np.uint8), "P")
    picture.putpalette([channel for colour in colours for channel in colour])
    return picture


def grey(inside: int, outside: int = 0, dtype: Any = np.uint8) -> Pictures.Image:
    return Pictures.fromarray(np.where(INSIDE, inside, outside).astype(dtype))


def with_alpha(colours: np.ndarray, alpha: np.ndarray) -> Pictures.Image:
    return Pictures.fromarray(np.dstack([colours, alpha]).astype(np.uint8))


def flat(*colour: int) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (64, 96, 3))


@pytest.fixture
def mask_of(tmp_path: Path) -> Callable[..., tuple[np.ndarray, list[str]]]:
    def read(picture: Pictures.Image, suffix: str = "png", of: str | None = None, **how: Any) -> Any:
        picture.save(tmp_path / f"m.{suffix}", **how)
        told: list[str] = []
        return read_mask(tmp_path / f"m.{suffix}", SIZE, of=of, warn=told.append), told

    return read


CUT = np.where(INSIDE, 0, 255)
PAINTED = np.where(INSIDE, 255, 0)
PLAIN = {
    "white on black": grey(255),
    "one bit": grey(255).convert("1"),
    "in RGB": grey(255).convert("RGB"),
    "red on black": Pictures.fromarray(np.where(INSIDE[..., None], (255, 0, 0), (0, 0, 0)).astype(np.uint8)),
    "a palette of black and white": palette(INSIDE, [(0, 0, 0), (255, 255, 255)]),
    "white on transparent": with_alpha(flat(255, 255, 255), PAINTED),
    "red on transparent": with_alpha(flat(255, 0, 0), PAINTED),
    "a middle grey on transparent": with_alpha(flat(150, 150, 150), PAINTED),
    "16 bits": grey(65535, dtype=np.uint16),
}
RECOGNISED = {
    "a label": (grey(7), "levels 0 and 7; 7 is taken as white"),
    "0 and 1": (grey(1), "levels 0 and 1; 1 is taken as white"),
    "a label of 16 bits": (grey(7, dtype=np.uint16), "16 bits"),
    "a label of 32 bits": (grey(7, dtype=np.int32), "levels 0 and 7"),
    "255 in 16 bits": (grey(255, dtype=np.uint16), "no number above 255"),
    "a dark colour on black": (palette(INSIDE, [(0, 0, 0), (128, 0, 0)]), "levels 0 and 128"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_plain_is_taken_without_a_word(name: str, mask_of: Callable[..., Any]) -> None:
    mask, told = mask_of(PLAIN[name], "png" if name != "a label of 32 bits" else "tif")
    assert np.array_equal(mask, INSIDE) and not told


@pytest.mark.parametrize("name", RECOGNISED)
def test_what_is_recognised_is_full_strength_and_said(name: str, mask_of: Callable[..., Any]) -> None:
    picture, sentence = RECOGNISED[name]
    mask, told = mask_of(picture, "tif" if picture.mode == "I" else "png")
    assert np.array_equal(mask, INSIDE)
    assert any(sentence in text for text in told), told


@pytest.mark.parametrize("quality", [40, 60, 85])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_the_noise_of_jpeg_is_taken_out(quality: int, mode: str, mask_of: Callable[..., Any]) -> None:
    picture = grey(255).convert(mode)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    levels = np.asarray(Pictures.open(stream).convert("L"))
    assert (levels[~INSIDE] > 0).any() and (levels[INSIDE] < 255).any(), "the test needs noise"
    mask, told = mask_of(picture, "jpg", quality=quality)
    assert np.array_equal(mask > 0.5, INSIDE)
    assert (mask[~INSIDE] == 0).mean() > 0.98 and (mask[INSIDE] == 1).mean() > 0.98
    assert "noise of a lossy format" in told[0]
    again, told = mask_of(Pictures.open(stream).convert(mode), "png")
    assert np.array_equal(again > 0.5, INSIDE) and (again[~INSIDE] == 0).mean() > 0.9, "saved as PNG later"
    assert "noise of a lossy format" in told[0]


def test_soft_edges_and_strengths_are_left_alone(mask_of: Callable[..., Any]) -> None:
    x = np.arange(96)
    soft = np.broadcast_to(np.clip((x - 30) * 8, 0, 255), (64, 96)).astype(np.uint8)
    curve = (255 / (1 + np.exp(-(x - 48) / 4.0))).round().astype(np.uint8)
    smooth = np.broadcast_to(curve, (64, 96))
    half = np.where(INSIDE, 255, 0).astype(np.uint8)
    half[20:30, 30:60] = 128
    for levels in (soft, smooth, half):
        mask, told = mask_of(Pictures.fromarray(levels))
        assert np.array_equal(np.rint(mask * 255), levels) and not told


def test_a_mask_that_never_gets_white_is_told_of(mask_of: Callable[..., Any]) -> None:
    levels = np.broadcast_to(np.linspace(0, 150, 96).astype(np.uint8), (64, 96))
    mask, told = mask_of(Pictures.fromarray(levels))
    assert mask.max() == np.float32(150) / np.float32(255)
    assert "150 of 255" in told[0] and "59%" in told[0]


several = np.zeros((64, 96), np.uint8)
several[5:20, 5:40], several[30:50, 10:60], several[30:50, 70:90] = 1, 2, 15
ERASED = with_alpha(noisy_photo(), CUT)
REFUSED = {
    "labels": (Pictures.fromarray(several), r"levels 0, 1, 2, 15 and no white: they look like labels of 3 things"),
    "labels in colours": (
        palette(several, [(0, 0, 0), (128, 0, 0), (0, 128, 0), *[(9, 9, 9)] * 12, (0, 0, 128)]),
        "holds the colours #000000, ",
    ),
    "a colour on white": (
        palette(INSIDE, [(255, 255, 255), (255, 0, 0)]),
        "holds the colours #ffffff, #ff0000, so it is not clear",
    ),
    "one colour everywhere": (Pictures.fromarray(np.ascontiguousarray(flat(255, 0, 0))), "holds the colours #ff0000"),
    "one grey everywhere": (grey(90, 90), "an even grey of level 90"),
    "a photograph": (Pictures.fromarray(noisy_photo()), "is a picture in many colours"),
    "an erased photograph": (ERASED, "of which 24% is transparent; programs disagree"),
    "an erased grey photograph": (ERASED.convert("LA"), "of which 24% is transparent; programs disagree"),
    "black on transparent": (with_alpha(flat(0, 0, 0), PAINTED), "its opaque part is dark"),
    "near black": (Pictures.fromarray((several % 13).astype(np.uint8) * 3 + several % 2), "holds the levels|lightest"),
    "negative numbers": (grey(-3, dtype=np.int32), "numbers from -3 to 0"),
    "large numbers": (grey(70_000, dtype=np.int32), "numbers from 0 to 70000"),
    "NaN": (Pictures.fromarray(np.full((64, 96), np.nan, np.float32)), "NaN or infinite"),
    "nothing": (grey(0), "is empty"),
    "nothing in 16 bits": (grey(0, dtype=np.uint16), "is empty"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_meant_in_several_ways_is_refused_with_what_was_seen(
    name: str, mask_of: Callable[..., Any]
) -> None:
    picture, complaint = REFUSED[name]
    with pytest.raises(InputRefused, match=complaint) as error:
        mask_of(picture, "tif" if picture.mode in {"I", "F"} else "png")
    assert error.value.remedy and error.value.message.startswith("mask m.")


@pytest.mark.parametrize(
    ("name", "of", "meant"),
    [
        ("labels", "2", several == 2),
        ("labels in colours", "#008000", several == 2),
        ("a colour on white", "#ff0000", INSIDE),
        ("an erased photograph", "transparent", INSIDE),
        ("an erased photograph", "opaque", ~INSIDE),
        ("black on transparent", "opaque", INSIDE),
        ("one grey everywhere", "90", np.ones_like(INSIDE)),
    ],
)
def test_what_is_meant_can_be_said(name: str, of: str, meant: np.ndarray, mask_of: Callable[..., Any]) -> None:
    mask, told = mask_of(REFUSED[name][0], of=of)
    assert np.array_equal(mask, meant) and not told


def test_what_is_meant_must_be_there(mask_of: Callable[..., Any]) -> None:
    for of, complaint in (("3", "nothing in it is 3"), ("transparent", "nothing in it is transparent"), ("x", "'x'")):
        with pytest.raises(InputRefused, match=complaint):
            mask_of(REFUSED["labels"][0], of=of)


def test_the_size_is_checked_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.png"
    path.write_bytes(pictures.png(12_000, 9_000, b"", colour=0))  # there are no pixels in it
    with pytest.raises(InputRefused, match="12000x9000 pixels, the upright picture 96x64"):
        read_mask(path, SIZE)
    grey(255).save(path)
    monkeypatch.setattr(decode, "LARGE", 1000)
    monkeypatch.setattr(decode, "LEAST_BYTES", 10)
    assert np.array_equal(read_mask(path, SIZE), INSIDE), "a mask may be even, as no photograph is"


def test_a_mask_is_turned_as_its_orientation_says(tmp_path: Path) -> None:
    exif = Pictures.Exif()
    exif[0x112] = 6
    grey(255).transpose(Pictures.Transpose.ROTATE_90).save(tmp_path / "m.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "m.png", SIZE), INSIDE)
