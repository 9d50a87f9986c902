import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from effort import at_most
from hypothesis import given
from hypothesis import strategies as st

from gas import files
from gas.errors import InputRefused, OutOfResources, UsageError


def test_a_new_file_is_written_whole_and_nothing_else_is_left(tmp_path):
    files.write_bytes(tmp_path / "a.bin", b"abc")
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"abc"


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        files.write_bytes(tmp_path / "a.bin", b"")
    finally:
        os.umask(old)
    assert (tmp_path / "a.bin").stat().st_mode & 0o777 == 0o640


def test_an_existing_file_stays_without_overwrite(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(files.OutputExists, match="is there already") as error:
        files.write_bytes(path, b"new")
    assert error.value.exit_code == 2
    assert path.read_bytes() == b"old"
    files.write_bytes(path, b"new", overwrite=True)
    assert path.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(files.OutputExists), files.atomic(path) as stream:
        stream.write(b"new")
        path.write_bytes(b"of another program")
    assert path.read_bytes() == b"of another program"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_without_hard_links_files_are_still_written_and_kept(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", no_links)
    files.write_bytes(tmp_path / "a.bin", b"new")
    assert (tmp_path / "a.bin").read_bytes() == b"new"
    with pytest.raises(files.OutputExists), files.atomic(tmp_path / "b.bin"):
        (tmp_path / "b.bin").write_bytes(b"of another program")
    assert (tmp_path / "b.bin").read_bytes() == b"of another program"


def test_a_link_keeps_pointing_to_the_file_that_is_replaced(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    files.write_bytes(tmp_path / "link", b"new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_an_error_in_the_block_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), files.atomic(path, overwrite=True) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_full_disk_is_exit_7_and_leaves_the_old_file_alone(tmp_path, monkeypatch, where):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, where, full)
    with pytest.raises(OutOfResources, match="No space left") as error:
        files.write_bytes(path, b"new", overwrite=True)
    assert error.value.exit_code == 7
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_a_file_size_limit_of_the_system_is_exit_7(tmp_path):
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from gas import files\n"
        "from gas.errors import GasError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n"
        "    files.write_bytes(Path(sys.argv[1]), b'x' * 100_000)\n"
        "except GasError as error:\n"
        "    sys.exit(error.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.bin"], timeout=60)
    assert done.returncode == 7
    assert list(tmp_path.iterdir()) == []


def test_killed_at_any_moment_the_file_is_the_old_one_or_the_new_one(tmp_path):
    path = tmp_path / "a.bin"
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from gas import files\n"
        "print('ready', flush=True)\n"
        "n = 0\n"
        "while True:\n"
        "    n = (n + 1) % 250\n"
        "    with files.atomic(Path(sys.argv[1]), overwrite=True) as stream:\n"
        "        for _ in range(20):\n"
        "            stream.write(bytes([n]) * 10_000)\n"
        "            stream.flush()\n"
    )
    seen = set()
    for attempt in range(8):
        child = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"ready\n"
        time.sleep(0.02 + 0.013 * attempt)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        if path.exists():
            data = path.read_bytes()
            assert len(data) == 200_000
            assert len(set(data)) == 1
            seen.add(data[0])
    assert seen, "no child came as far as writing a file"


def test_a_missing_or_forbidden_folder_is_named(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="nowhere: there is no such folder"):
        files.write_bytes(tmp_path / "nowhere" / "a.bin", b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="file: is no folder"):
        files.write_bytes(tmp_path / "file" / "a.bin", b"")
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may be run by root, who may write everywhere
    with pytest.raises(UsageError, match="may not be written to"):
        files.check_target(tmp_path / "a.bin")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_only_a_file_is_ever_replaced(tmp_path, make):
    make(tmp_path / "there")
    with pytest.raises(files.OutputExists):
        files.write_bytes(tmp_path / "there", b"")
    with pytest.raises(UsageError, match="not a file that could be replaced"):
        files.write_bytes(tmp_path / "there", b"", overwrite=True)
    assert not (tmp_path / "there").is_file()


def test_an_output_that_is_an_input_is_known_by_any_name(tmp_path):
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"photo")
    (tmp_path / "link.png").symlink_to(photo)
    os.link(photo, tmp_path / "hard.png")
    (tmp_path / "folder").symlink_to(tmp_path)
    files.refuse_same([tmp_path / "out.png", tmp_path / "Photo.png"], [photo, tmp_path / "missing.png"])
    for name in (photo, tmp_path / "link.png", tmp_path / "hard.png", tmp_path / "folder" / "photo.png"):
        with pytest.raises(UsageError, match="is the input"):
            files.refuse_same([tmp_path / "out.png", name], [photo])
    with pytest.raises(UsageError, match="two outputs have this name"):
        files.refuse_same([tmp_path / "out.png", tmp_path / "folder" / "out.png"], [photo])


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nothing")
    cases = {
        tmp_path / "pipe": "is a pipe",
        tmp_path: "is a folder",
        tmp_path / "dangling": "link to a file that is not there",
        tmp_path / "absent": "no such file",
        Path("/dev/zero"): "is a device",
        tmp_path / "nul\0byte": "cannot be opened",
        tmp_path / ("x" * 5000): "cannot be opened",
    }
    for path, complaint in cases.items():
        with at_most(seconds=2), pytest.raises(InputRefused, match=complaint) as error:
            files.open_regular(path)
        assert "\n" not in error.value.message


def test_text_is_bounded_and_utf8(tmp_path):
    (tmp_path / "t").write_bytes(b"\xef\xbb\xbfh\xc3\xa9")
    assert files.read_text(tmp_path / "t", max_bytes=10) == "hé"
    with pytest.raises(InputRefused, match="longer than 4"):
        files.read_text(tmp_path / "t", max_bytes=4)
    (tmp_path / "t").write_bytes(b"\xff")
    with pytest.raises(InputRefused, match="not UTF-8"):
        files.read_text(tmp_path / "t", max_bytes=10)


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("red car", "red-car"),
        ("The Red Car!", "the-red-car"),
        ("man's hat", "mans-hat"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\windows\\x", "c-windows-x"),
        ("a\x00b\u202ec\u200b", "a-b-c"),
        ("", "region"),
        ("...", "region"),
        ("CON", "con-region"),
        ("lpt1", "lpt1-region"),
        ("красная машина", "красная-машина"),
        ("ﬁne ①", "fine-1"),
    ],
)
def test_slugs(phrase, expected):
    assert files.slug(phrase) == expected


@given(st.text(max_size=300))
def test_a_slug_is_a_safe_name_whatever_the_phrase(phrase):
    name = files.slug(phrase)
    files.check_output_name(Path(f"{name}.png"))
    assert name
    assert not set(name) & set('/\\.:*?"<>| \0')
    assert len(name.encode()) <= files.MAX_SLUG + len("-region")


def test_equal_stems_get_numbers():
    assert files.unique_names(["cat", "dog", "cat", "cat-2"], ".png") == [
        "cat.png",
        "dog.png",
        "cat-2.png",
        "cat-2-2.png",
    ]


def test_a_new_name_beside_never_is_one_that_exists(tmp_path):
    first = files.name_beside(tmp_path / "photo.jpg", ".png")
    assert first.name == "photo-edited.png"
    first.symlink_to("dangling")
    assert files.name_beside(tmp_path / "photo.jpg", ".png").name == "photo-edited-2.png"


@pytest.mark.parametrize(
    "name", ["con.png", "NUL", "a:b.png", "a\tb.png", "end.", "end ", "x" * 300 + ".png", "a\u202eb.png"]
)
def test_names_that_some_system_cannot_keep_are_refused(name):
    with pytest.raises(UsageError, match="output"):
        files.check_output_name(Path(name))
