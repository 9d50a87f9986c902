import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as Pictures

from gas.memory import Memory
from gas.picture import photo, photo_write
from gas.picture.jpeg import coefficients as coefficients_module
from gas.picture.jpeg import exact, jpegtran
from gas.picture.jpeg.markers import BrokenJpeg, Segment, read_layout
from gas.testing.jpeg.kinds import encoded, kinds, mutants
from gas.testing.jpeg.survey import edited, survey

KINDS = {f"{kind.encoder}: {kind.name}": kind for kind in kinds()}
HAS_JPEGTRAN = jpegtran.is_installed()
HAS_PYJPEGIO = coefficients_module.is_installed()
needs_pyjpegio = pytest.mark.skipif(not HAS_PYJPEGIO, reason="needs pyjpegio")
needs_jpegtran = pytest.mark.skipif(not HAS_JPEGTRAN, reason="needs jpegtran")


def write(tmp_path, data, **how):
    """What became of a JPEG file when it was edited, and the bytes that were written."""
    (tmp_path / "in.jpg").write_bytes(data)
    read = photo.read(tmp_path / "in.jpg")
    image, mask = edited(read.pixels)
    written = photo_write.write(read, tmp_path / "out.jpg", image, mask, overwrite=True, **how)
    return written, written.path.read_bytes()


@needs_pyjpegio
@pytest.mark.parametrize("name", list(KINDS))
def test_of_every_kind_of_file_no_coefficient_outside_the_edited_blocks_changes(tmp_path, name):
    kind = KINDS[name]
    found = survey(kind, tmp_path)
    if kind.expected != "exact":
        assert found.method == kind.expected and found.why
        return
    assert found.method == "coefficients", found.why
    assert found.coefficients == 0 and found.pixels == 0
    assert 0 < found.edited <= found.mcus
    whole = read_layout(kind.data)
    made = read_layout((tmp_path / "out.jpg").read_bytes())
    assert (made.components, made.restart, made.size) == (whole.components, whole.restart, whole.size)


@pytest.mark.skipif(not (shutil.which("cjpeg") and HAS_JPEGTRAN), reason="needs libjpeg's programs")
def test_there_are_many_kinds():
    assert sum(kind.expected == "exact" for kind in KINDS.values()) >= 50


@needs_pyjpegio
def test_broken_files_are_edited_exactly_or_anew_or_refused(tmp_path):
    found = [survey(kind, tmp_path) for kind in mutants(40, seed=3)]
    assert all(one.right for one in found)
    assert {"coefficients", "refused"} <= {one.method for one in found}


@needs_pyjpegio
def test_the_edit_is_in_the_file(tmp_path):
    data = encoded(quality=95, subsampling=0)
    written, _ = write(tmp_path, data)
    image, mask = edited(photo.read(tmp_path / "in.jpg").pixels)
    got = photo.read(written.path).pixels
    assert np.abs(got.astype(int) - image)[mask == 1].mean() < 3


@needs_jpegtran
@pytest.mark.parametrize("name", ["Pillow: 4:2:0, quality 75", "Pillow: grey", "Pillow: EXIF orientation 6"])
def test_with_jpegtran_alone_rectangles_around_the_edits_are_new(tmp_path, monkeypatch, name):
    monkeypatch.setattr(exact, "coefficients_installed", lambda: False)
    found = survey(KINDS[name], tmp_path)
    assert found.method == "jpegtran" and found.right and found.edited < found.mcus / 4


@needs_jpegtran
@needs_pyjpegio
def test_jpegtran_is_asked_where_pyjpegio_fails(tmp_path, monkeypatch):
    def failing(data):
        raise exact.NotExact("no")

    monkeypatch.setattr(exact, "coefficients", failing)
    written, _ = write(tmp_path, encoded())
    assert written.jpeg.method == "jpegtran"


def test_with_pillow_alone_the_file_is_encoded_anew_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "coefficients_installed", lambda: False)
    monkeypatch.setattr(jpegtran, "is_installed", lambda: False)
    original = encoded(quality=83)
    written, data = write(tmp_path, original)
    assert written.jpeg.method == "re-encoded" and "gas-edit[jpeg]" in written.jpeg.why
    made, whole = read_layout(data), read_layout(original)
    assert made.tables == whole.tables and made.components == whole.components
    assert written.outside.max > 0


@needs_pyjpegio
def test_what_reads_back_with_other_coefficients_is_not_kept(tmp_path, monkeypatch):
    encode = coefficients_module.Coefficients.encoded

    def another(self):
        self.arrays[0][40, 8] += 1  # in the fifth row of blocks, where nothing is edited
        return encode(self)

    monkeypatch.setattr(coefficients_module.Coefficients, "encoded", another)
    monkeypatch.setattr(jpegtran, "is_installed", lambda: False)
    written, _ = write(tmp_path, encoded())
    assert written.jpeg.method == "re-encoded" and "coefficients outside" in written.jpeg.why


@needs_jpegtran
def test_pixels_that_changed_beyond_the_edited_blocks_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "coefficients_installed", lambda: False)
    dropped = jpegtran.dropped

    def elsewhere(original, layout, after, touched):
        made, _ = dropped(original, layout, after, np.roll(touched, 4, axis=0))
        return made, touched

    def roll(after):
        return np.roll(after, 64, axis=0)

    monkeypatch.setattr(jpegtran, "dropped", lambda o, la, a, t: elsewhere(o, la, roll(a), t))
    written, _ = write(tmp_path, encoded(subsampling=0))
    assert written.jpeg.method == "re-encoded" and "beyond the edited blocks" in written.jpeg.why


@needs_pyjpegio
def test_another_structure_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(jpegtran, "is_installed", lambda: False)
    other = encoded(quality=30)
    monkeypatch.setattr(coefficients_module.Coefficients, "encoded", lambda self: other)
    written, _ = write(tmp_path, encoded())
    assert written.jpeg.method == "re-encoded" and "another tables" in written.jpeg.why


@needs_pyjpegio
def test_coefficients_that_do_not_fit_into_memory_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "memory", lambda: Memory(10_000, 10_000))
    monkeypatch.setattr(jpegtran, "is_installed", lambda: False)
    written, _ = write(tmp_path, encoded())
    assert written.jpeg.method == "re-encoded" and "of memory" in written.jpeg.why


@needs_pyjpegio
def test_a_file_that_changed_since_it_was_read_is_encoded_anew(tmp_path):
    (tmp_path / "in.jpg").write_bytes(encoded())
    read = photo.read(tmp_path / "in.jpg")
    (tmp_path / "in.jpg").write_bytes(encoded(quality=20))
    image, mask = edited(read.pixels)
    written = photo_write.write(read, tmp_path / "out.jpg", image, mask)
    assert written.jpeg.method == "re-encoded" and "has changed" in written.jpeg.why


@needs_pyjpegio
def test_segments_that_are_not_known_stay_byte_for_byte(tmp_path):
    original = KINDS["Pillow: segments of many makers"].data
    _, data = write(tmp_path, original)
    before, after = (read_layout(one).applications for one in (original, data))
    others = [segment for segment in before if segment.marker not in {0xE0, 0xE1}]
    assert len(others) == 5 and [segment for segment in after if segment.marker not in {0xE0, 0xE1}] == others


def test_a_layout_is_read_or_refused():
    data = encoded(restart_marker_blocks=2)
    layout = read_layout(data + b"behind")
    assert layout.size == (203, 155) and layout.restart == 2 and layout.trailer == b"behind"
    assert [(c.across, c.down) for c in layout.components] == [(2, 2), (1, 1), (1, 1)]
    with Pictures.open(io.BytesIO(data)) as picture:
        assert layout.tables == {slot: tuple(table) for slot, table in picture.quantization.items()}
    for broken in (b"", b"\xff\xd8", data[2:], data[:-2], data[:100], data[:-40] + b"\xff"):
        with pytest.raises(BrokenJpeg):
            read_layout(broken)
    with pytest.raises(ValueError, match="does not fit"):
        _ = Segment(0xE1, bytes(70_000)).encoded


def test_the_table_is_a_command(tmp_path):
    (tmp_path / "mine.jpg").write_bytes(encoded())
    command = [sys.executable, "-m", "gas.testing.jpeg", str(tmp_path / "mine.jpg"), "--mutants", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 files: 1 exact" in done.stdout or not HAS_PYJPEGIO
    assert "2 mutants" in done.stdout
