"""The cache's folder: entries come back as they were or not at all, whoever writes, is killed, or has meddled."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import signal
import stat
import subprocess
import sys
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import ROOT

from gas.cache.entry import MAX_BYTES, Entry, packed, unpacked
from gas.cache.limit import parse_limit
from gas.cache.store import KINDS, SUFFIX, Store, by_kind
from gas.errors import OutOfResources

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and signals of POSIX")


def key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


KEY = key("an edit")
IMAGE = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
ENTRY = Entry({"log": {"loss": 0.1, "notes": ["näive"]}}, {"0.image": IMAGE, "0.mask": np.eye(4, dtype=np.float32)})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "stages", 10**6)


def same(a: Entry | None, b: Entry) -> bool:
    return (
        a is not None
        and a.values == b.values
        and a.arrays.keys() == b.arrays.keys()
        and all(a.arrays[n].dtype == b.arrays[n].dtype and (a.arrays[n] == b.arrays[n]).all() for n in b.arrays)
    )


def kept(store: Store, kind: str = "edits", name: str = KEY) -> Path:
    return store.folder / kind / f"{name}{SUFFIX}"


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "bool", "int64"])
def test_an_entry_comes_back_as_it_was(store: Store, dtype: str) -> None:
    entry = Entry({"a": [1, 0.1, None, "x"]}, {"m": np.arange(12).reshape(3, 4).astype(dtype)[:, ::2]})
    store.put("edits", KEY, entry)
    assert same(store.get("edits", KEY), entry)
    assert store.get("edits", key("another")) is None and store.get("plans", KEY) is None


def test_the_last_one_written_holds(store: Store) -> None:
    store.put("edits", KEY, ENTRY)
    store.put("edits", KEY, Entry({"log": {}}))
    assert same(store.get("edits", KEY), Entry({"log": {}}))


@pytest.mark.parametrize("what", [{"x": np.array([object()])}, {"x": np.array(["text"])}])
def test_what_is_not_plain_is_not_kept_and_stops_nothing(store: Store, what: Any) -> None:
    store.put("edits", KEY, Entry({}, what))
    store.put("plans", KEY, Entry({"nan": float("nan")}))
    store.put("plans", KEY, Entry({"object": object()}))
    assert store.entries() == []
    store.put("edits", KEY, ENTRY)
    assert same(store.get("edits", KEY), ENTRY)


@pytest.mark.parametrize(("kind", "name"), [("../edits", KEY), ("edits", "../" + KEY[3:]), ("edits", KEY[:-1])])
def test_kinds_and_keys_are_no_paths(store: Store, kind: str, name: str) -> None:
    with pytest.raises(ValueError, match="no kind and key"):
        store.get(kind, name)


# --- broken, foreign --------------------------------------------------------------------------------------------------


def test_cut_off_anywhere_it_is_a_miss_and_gone(store: Store) -> None:
    whole = packed(ENTRY, "edits", KEY)
    store.put("edits", KEY, ENTRY)
    for length in [0, 1, 11, 76, 77, 78, *range(100, len(whole), len(whole) // 20), len(whole) - 1]:
        kept(store).write_bytes(whole[:length])
        assert store.get("edits", KEY) is None and not kept(store).exists(), length


def test_with_any_byte_changed_it_is_a_miss(store: Store) -> None:
    whole = packed(ENTRY, "edits", KEY)
    store.put("edits", KEY, ENTRY)
    for place in [0, 5, 12, 40, 76, 77, *range(80, len(whole), len(whole) // 40)]:
        broken = bytearray(whole)
        broken[place] ^= 4
        kept(store).write_bytes(bytes(broken))
        assert store.get("edits", KEY) is None, place


def test_an_entry_under_another_name_is_a_miss(store: Store) -> None:
    store.put("edits", KEY, ENTRY)
    store.put("regions", KEY, Entry())
    other = key("another")
    kept(store, name=other).write_bytes(kept(store).read_bytes())
    kept(store, "regions").write_bytes(kept(store).read_bytes())
    assert store.get("edits", other) is None and store.get("regions", KEY) is None
    assert same(store.get("edits", KEY), ENTRY)


def signed(body: bytes) -> bytes:
    return b"gas-cache 1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def archive(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as made:
        for name, data in members.items():
            made.writestr(name.replace("_", "."), data)
    return stream.getvalue()


class Harm:
    def __reduce__(self) -> Any:
        return (Path("harmed").touch, ())


VALUES = b'{"kind": "edits", "key": "%s", "values": {}}' % KEY.encode()


def _pickled() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([Harm()]), allow_pickle=True)
    return stream.getvalue()


def _claims(shape: str) -> bytes:
    head = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no archive",
        pickle.dumps({"kind": "edits"}),
        archive(),
        archive(values_json=b"[]"),
        archive(values_json=b"[" * 100_000),
        archive(values_json=b'{"kind": "edits", "key": "other", "values": {}}'),
        archive(values_json=VALUES, image_npy=b"no array"),
        archive(values_json=VALUES, image_npy=_pickled()),
        archive(values_json=VALUES, image_npy=_claims("(9000000, 9000000, 3)")),
        archive(values_json=VALUES, image_npy=_claims("(10, 10, 3)")),
    ],
)
def test_what_somebody_else_has_made_is_a_miss(
    store: Store, body: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the right checksum, as by a program of another's; nothing in it runs."""
    monkeypatch.chdir(tmp_path)
    store.put("edits", KEY, ENTRY)
    kept(store).write_bytes(signed(body))
    assert store.get("edits", KEY) is None and not (tmp_path / "harmed").exists()


def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MAX_BYTES == 2**28
    large = Entry({}, {"zeros": np.zeros((1000, 1000), np.uint8)})
    data = packed(large, "edits", KEY)
    monkeypatch.setattr("gas.cache.entry.MAX_BYTES", 10**5)
    assert len(data) < 10**5
    with pytest.raises(ValueError, match="more than an entry may"):
        unpacked(data, "edits", KEY)
    store.put("edits", KEY, large)
    assert store.entries() == [], "nor is it written, which would take as much memory"


@posix
def test_a_pipe_or_a_link_in_an_entrys_place_is_a_miss(store: Store, tmp_path: Path) -> None:
    store.put("edits", KEY, ENTRY)
    elsewhere = tmp_path / "elsewhere"
    kept(store).rename(elsewhere)
    kept(store).symlink_to(elsewhere)
    assert store.get("edits", KEY) is None
    kept(store).unlink()
    os.mkfifo(kept(store))
    assert store.get("edits", KEY) is None, "and nobody waits for it"


# --- who may look -----------------------------------------------------------------------------------------------------


@posix
def test_the_folder_belongs_to_its_user_alone(store: Store) -> None:
    before = os.umask(0)
    try:
        store.put("edits", KEY, ENTRY)
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    store.folder.chmod(0o755)
    assert store.get("edits", KEY) is None, "it may not be trusted, nor looked into, as it is"
    store.put("plans", KEY, Entry())
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700 and same(store.get("edits", KEY), ENTRY)


@posix
def test_a_folder_that_others_could_write_to_is_emptied(store: Store) -> None:
    store.put("edits", KEY, ENTRY)
    store.folder.chmod(0o777)
    store.put("plans", KEY, Entry())
    assert store.get("edits", KEY) is None and same(store.get("plans", KEY), Entry())


@posix
def test_anothers_folder_or_a_link_is_not_used(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("edits", KEY, ENTRY)
    linked = Store(tmp_path / "linked", 10**6)
    linked.folder.symlink_to(store.folder)
    store.folder.chmod(0o777)
    with pytest.warns(UserWarning, match="does not belong to you alone"):
        linked.put("plans", KEY, Entry())
    assert linked.get("edits", KEY) is None and not kept(store, "plans").exists()
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o777 and kept(store).exists(), "nor is it changed"
    store.folder.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert store.get("edits", KEY) is None
    with pytest.warns(UserWarning, match="does not belong to you alone"):
        store.put("plans", KEY, Entry())
    assert not kept(store, "plans").exists()


# --- how much ---------------------------------------------------------------------------------------------------------


def used_at(store: Store, name: str, seconds_ago: float) -> None:
    then = time.time() - seconds_ago
    os.utime(kept(store, name=name), (then, then))


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    noise = Entry({}, {"image": IMAGE})
    size = len(packed(noise, "edits", KEY))
    store = Store(tmp_path / "stages", 3 * size + size // 2)
    names = [key(str(n)) for n in range(4)]
    for age, name in zip((300, 200, 100), names[:3], strict=True):
        store.put("edits", name, noise)
        used_at(store, name, age)
    assert store.get("edits", names[0]) is not None  # the oldest is used again
    store.put("edits", names[3], noise)
    assert [store.get("edits", name) is not None for name in names] == [True, False, True, True]
    assert sum(one.bytes for one in store.entries()) <= store.limit


def test_what_is_larger_than_all_that_may_be_kept_drives_nothing_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "stages", 4000)
    store.put("plans", KEY, Entry({"small": 1}))
    store.put("edits", KEY, ENTRY)
    assert store.get("edits", KEY) is None and store.get("plans", KEY) is not None


@pytest.mark.parametrize(("text", "size"), [("500MB", 5 * 10**8), ("2GB", 2 * 10**9), ("1.5 GB", 15 * 10**8)])
def test_a_limit_is_read(text: str, size: int) -> None:
    assert parse_limit(text) == size


@pytest.mark.parametrize("text", ["2", "GB", "-1GB", "2 TB", "2GB2", "1e3MB"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_limit(text)


def test_a_full_disk_is_one_warning_and_what_is_there_is_still_used(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("edits", KEY, ENTRY)

    def full(*arguments: Any, **named: Any) -> None:
        raise OutOfResources("no space left", "free some")

    monkeypatch.setattr("gas.files.write_bytes", full)
    with pytest.warns(UserWarning, match="nothing more is kept in the cache: no space left"):
        store.put("plans", KEY, Entry())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put("plans", KEY, Entry())
    assert same(store.get("edits", KEY), ENTRY)


# --- what there is ----------------------------------------------------------------------------------------------------


def test_kinds_are_counted_and_cleared(store: Store) -> None:
    assert store.entries() == [] and store.clear() == []
    for kind, names in (("edits", "ab"), ("plans", "c")):
        for name in names:
            store.put(kind, key(name), ENTRY)
    used_at(store, key("a"), 5000)
    (plans, edits) = by_kind(store.entries())
    assert plans[:2] == ("plans", 1) and edits[:2] == ("edits", 2)
    assert edits[2] == 2 * len(packed(ENTRY, "edits", key("a"))) and 5000 <= edits[4] < 5100 and edits[3] < 100
    (store.folder / "edits" / "mine.txt").write_text("not an entry")
    assert len(store.clear("edits")) == 2 and [one.kind for one in store.entries()] == ["plans"]
    assert len(store.clear()) == 1 and store.entries() == []
    assert (store.folder / "edits" / "mine.txt").exists(), "what is no entry is not ours to remove"
    assert set(KINDS) == {"plans", "regions", "edits", "sizes", "seen"}


# --- several processes, and kills -------------------------------------------------------------------------------------

WRITER = """
import os, signal, sys
from pathlib import Path
import numpy as np
from gas.cache.entry import Entry
from gas.cache.store import Store
import hashlib
store = Store(Path(sys.argv[1]), int(sys.argv[2]))
how, seed = sys.argv[3], int(sys.argv[4])
if how == "rename":
    os.replace = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
if how == "write":
    real = os.fsync
    os.fsync = lambda d: (os.ftruncate(d, 500), real(d), os.kill(os.getpid(), signal.SIGKILL))
rng = np.random.default_rng(seed)
print("ready", flush=True)
for turn in range(int(sys.argv[5])):
    n = int(rng.integers(12))
    name = hashlib.sha256(str(n).encode()).hexdigest()
    found = store.get("edits", name)
    if found is not None and (found.arrays["image"] != n).any():
        sys.exit("another entry's picture")
    store.put("edits", name, Entry({"n": n}, {"image": np.full((200, 300, 3), n, np.uint8),
        "noise": rng.integers(0, 256, 20_000, dtype=np.uint8)}))
"""


def start(store: Store, how: str, seed: int, turns: int) -> subprocess.Popen[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", WRITER, str(store.folder), str(store.limit), how, str(seed), str(turns)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ)


def all_right(store: Store) -> int:
    """How many entries there are, each of which is what its name says."""
    found = 0
    for n in range(12):
        entry = store.get("edits", key(str(n)))
        if entry is not None:
            assert (entry.arrays["image"] == n).all() and entry.values == {"n": n}
            found += 1
    return found


def temporary(store: Store) -> list[str]:
    return [path.name for path in store.folder.rglob("*") if path.is_file() and not path.name.endswith(SUFFIX)]


@posix
@pytest.mark.parametrize("how", ["write", "rename"])
def test_a_kill_within_writing_leaves_no_entry_and_its_remains_are_removed(store: Store, how: str) -> None:
    process = start(store, how, 1, 1)
    assert process.wait(60) == -signal.SIGKILL
    assert store.entries() == [] and all_right(store) == 0 and len(temporary(store)) == 1
    store.put("edits", KEY, ENTRY)
    assert temporary(store) == [] and same(store.get("edits", KEY), ENTRY)


@posix
def test_two_processes_and_kills_at_any_moment(tmp_path: Path) -> None:
    """Two write, read and evict in one folder; one after the other is killed. Nothing that is read is wrong."""
    store = Store(tmp_path / "stages", 150_000)  # room for about seven of twelve
    steady = start(store, "none", 7, 400)
    assert steady.stdout is not None and steady.stdout.readline() == "ready\n"
    delays = np.random.default_rng(3).uniform(0, 0.05, 6)
    for seed, delay in enumerate(delays):
        process = start(store, "none", seed, 10**6)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        time.sleep(delay)
        all_right(store)
        process.kill()
        process.communicate()
    said = steady.communicate(timeout=120)[1]
    assert steady.returncode == 0, said
    assert 0 < all_right(store) <= 7
    fresh = Store(store.folder, store.limit)
    fresh.put("edits", key("0"), Entry({"n": 0}, {"image": np.zeros((200, 300, 3), np.uint8)}))
    assert temporary(store) == [] and sum(one.bytes for one in store.entries()) <= store.limit
