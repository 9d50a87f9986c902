"""Reading changes nothing of the process, not even while it lasts, so that threads can read at once."""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pictures
import pytest
from PIL import Image as Pictures
from PIL import ImageFile

from gas.errors import InputRefused
from gas.picture import photo, photo_write
from gas.picture.decode import opened
from gas.process import own_process

SCENE = pictures.scene()


def encoded(container: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    Pictures.fromarray(SCENE).save(stream, container, **options)
    return stream.getvalue()


FILES = {
    "a.png": encoded("PNG"),
    "a.jpg": encoded("JPEG", quality=95),
    "a.tif": encoded("TIFF", compression="tiff_lzw"),
    "a.webp": encoded("WEBP", lossless=True),
    "a.gif": encoded("GIF"),
    "a.bmp": encoded("BMP"),
}
# libtiff complains about such a file, on standard error, when it decodes it.
TORN = FILES["a.tif"][:200] + b"\xff" * 50 + FILES["a.tif"][250:]


def of_the_process() -> tuple[Any, ...]:
    """What belongs to the process and has been changed by programs that read pictures."""
    errors = os.fstat(2)
    return (
        tuple(warnings.filters),
        warnings.showwarning,
        Pictures.MAX_IMAGE_PIXELS,
        ImageFile.LOAD_TRUNCATED_IMAGES,
        (errors.st_dev, errors.st_ino),
        tuple(Pictures.ID),
        tuple(Pictures.SAVE),
        dict(os.environ),
        os.getcwd(),
    )


class Watched(io.BytesIO):
    """A file that notes the state of the process whenever something of it is read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.seen: list[tuple[Any, ...]] = []

    def read(self, *count: Any) -> bytes:
        self.seen.append(of_the_process())
        return super().read(*count)


@pytest.mark.parametrize("name", FILES)
def test_the_process_is_as_it_was_at_every_moment_of_reading(name: str) -> None:
    before = of_the_process()
    stream = Watched(FILES[name])
    with opened(stream, name) as picture:
        picture.load()
        stream.seen.append(of_the_process())
    assert len(stream.seen) > 2
    assert all(seen == before for seen in stream.seen)
    assert of_the_process() == before


def test_a_heif_file_is_read_and_written_without_registering_it(tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    before, thumbnails = of_the_process(), heif.options.THUMBNAILS
    (tmp_path / "a.png").write_bytes(FILES["a.png"])
    read = photo.read(tmp_path / "a.png")
    photo_write.write(read, tmp_path / "a.heic", read.pixels)
    assert photo.read(tmp_path / "a.heic").format == "HEIF"
    assert of_the_process() == before and thumbnails == heif.options.THUMBNAILS


def in_threads(count: int, work: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - to be raised in the thread of the test
            errors.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_two_threads_read_twenty_times_and_leave_the_process_as_it_was(tmp_path: Path) -> None:
    for name, data in {**FILES, "torn.tif": TORN}.items():
        (tmp_path / name).write_bytes(data)
    alone = {name: photo.read(tmp_path / name).pixels for name in FILES}
    before = of_the_process()

    def work() -> None:
        for turn in range(20):
            for name, pixels in alone.items():
                assert np.array_equal(photo.read(tmp_path / name).pixels, pixels), (turn, name)
            with pytest.raises(InputRefused):
                photo.read(tmp_path / "torn.tif")

    in_threads(2, work)
    assert of_the_process() == before


def test_warnings_of_the_decoder_reach_whoever_listens() -> None:
    cut = encoded("TIFF", compression="raw", dpi=(300, 300))
    directory = int.from_bytes(cut[4:8], "little")
    cut = cut[: directory + 6]  # within the list of tags
    with pytest.warns(UserWarning, match="Corrupt EXIF"), pytest.raises(InputRefused), opened(io.BytesIO(cut), "a.tif"):
        pass


def test_what_libtiff_writes_is_hidden_in_the_process_of_a_program_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "torn.tif").write_bytes(TORN)
    with own_process(), pytest.raises(InputRefused):
        photo.read(tmp_path / "torn.tif")
    assert capfd.readouterr().err == ""
    with pytest.raises(InputRefused):
        photo.read(tmp_path / "torn.tif")
    assert capfd.readouterr().err != "", "the test needs a file that libtiff complains of"


def test_hosts_own_limit_on_pixels_is_neither_used_nor_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    Pictures.new("L", (3000, 2000)).save(path)
    monkeypatch.setattr(Pictures, "MAX_IMAGE_PIXELS", 2_000_000)
    assert photo.read(path).size == (3000, 2000)
    monkeypatch.setattr(Pictures, "MAX_IMAGE_PIXELS", None)
    path.write_bytes(pictures.png(30_000, 30_000, b""))
    with pytest.raises(InputRefused, match="30000x30000"):
        photo.read(path)
    assert Pictures.MAX_IMAGE_PIXELS is None
