"""Models of profiles: what is here, downloads from a hub and a server on this machine, and checksums."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fake_hub import COMMIT, FakeHub
from pydantic import ValidationError

from gas import folders
from gas.backends.registry import Registry
from gas.errors import GasError, ModelUnavailable, OutOfResources, ServiceUnavailable, UsageError
from gas.models import cache as models
from gas.models import downloads
from gas.models.manifest import ModelFiles, resolve_model
from gas.settings import catalogue
from gas_cli.app import app
from gas_cli.run import run

SD = {
    "README.md": b"words",
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
    "scheduler/scheduler_config.json": b"{}",
    "unet/config.json": b'{"in_channels": 4}',
    "unet/diffusion_pytorch_model.safetensors": b"unet" * 500,
    "unet/diffusion_pytorch_model.fp16.safetensors": b"half" * 250,
    "unet/diffusion_pytorch_model.non_ema.safetensors": b"other" * 500,
    "unet/diffusion_pytorch_model.bin": b"pickle" * 500,
    "tokenizer/vocab.json": b'{"a": 1}',
    "v1-5-pruned.safetensors": b"all of it again" * 500,
    "v1-5-pruned.ckpt": b"pickle" * 500,
}
TINY = ModelFiles(
    id="some/sd",
    revision=COMMIT,
    files=("model_index.json", "*/*.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors"),
    licence="MIT",
    size_mb=0.002,
)
CHECKPOINT = bytes(range(256)) * 20_000


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, an empty home, an empty folder."""
    from huggingface_hub import constants, file_download

    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    for name in ("HF_TOKEN", "GAS_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def hub(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with FakeHub() as hub:
        hub.use(monkeypatch)
        hub.repositories["some/sd"] = dict(SD)
        hub.files["net.pth"] = CHECKPOINT
        yield hub


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def checkpoint(hub: FakeHub, **changes: Any) -> ModelFiles:
    digest = hashlib.sha256(CHECKPOINT).hexdigest()
    files = ModelFiles(id="cache:net.pth", url="https://x/net.pth", sha256=digest, size_mb=len(CHECKPOINT) / 1e6)
    return files.model_copy(update={"url": f"{hub.url}/files/net.pth", **changes})


def fetch(files: ModelFiles, **how: Any) -> tuple[Path, int]:
    """Prepares and gets; the path, and how many bytes were reported."""
    told: list[int] = []
    download = downloads.prepare(files, **how)
    assert download is not None
    return downloads.get(download, told.append), sum(told)


def under(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


# What a profile may say of a model


@pytest.mark.parametrize(("said", "message"), [
    ({"id": "cache:net.pth"}, "belong together"),
    ({"id": "a/b", "url": "https://x/y"}, "belong together"),
    ({"id": "cache:../net.pth", "url": "https://x/y"}, "no plain file name"),
    ({"id": "cache:/etc/net.pth", "url": "https://x/y"}, "no plain file name"),
    ({"id": "cache:net.pth", "url": "http://x/y"}, "string_pattern_mismatch|should match pattern"),
    ({"id": "cache:net.pth", "url": "https://me:secret@x/y"}, "should match pattern"),
    ({"id": "cache:net.pth", "url": "https://x/y", "revision": "a"}, "neither revision nor files"),
    ({"id": "cache:net.pth", "url": "https://x/y", "sha256": "01ec64"}, "should match pattern"),
    ({"id": "a/b", "sha256": "0" * 64}, "a hub's revision fixes its files"),
])  # fmt: skip
def test_models_that_a_profile_cannot_have(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelFiles(**said)


def test_cached_files_are_resolved(here: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"'cache:net.pth' has not been downloaded") as caught:
        resolve_model("cache:net.pth")
    assert (
        "gas models pull cache:net.pth" in caught.value.remedy and str(here / "home" / "models") in caught.value.remedy
    )
    (here / "home" / "models").mkdir(parents=True)
    (here / "home" / "models" / "net.pth").write_bytes(b"x")
    assert resolve_model("cache:net.pth") == (str(here / "home" / "models" / "net.pth"), None, True)
    for wrong in ("cache:", "cache:../net.pth", "cache:a/b"):
        with pytest.raises(UsageError, match="malformed"):
            resolve_model(wrong)


@pytest.mark.parametrize("name", ["lora.safetensors", "loras/lora.safetensors", "models/flux/flux.gguf", "sd.ckpt"])
def test_a_file_of_weights_that_is_not_there_is_no_model_of_the_hub(name):
    with pytest.raises(ModelUnavailable, match="is not there") as caught:
        resolve_model(name)
    assert caught.value.remedy == "check the path"


@pytest.mark.parametrize("environ", [
    {}, {"HF_HOME": "/a"}, {"HF_HUB_CACHE": "/b", "HF_HOME": "/a"}, {"HUGGINGFACE_HUB_CACHE": "~/c"},
    {"XDG_CACHE_HOME": "/d"}, {"HF_HOME": "$HOME/e"},
])  # fmt: skip
def test_the_hubs_cache_is_where_huggingface_hub_looks(environ: dict[str, str]) -> None:
    code = (
        "import os; from gas.folders import hub_folder; mine = hub_folder(dict(os.environ));"
        "from huggingface_hub.constants import HF_HUB_CACHE; assert str(mine) == HF_HUB_CACHE, (mine, HF_HUB_CACHE);"
        "assert hub_folder() == mine"
    )
    names = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")
    clean = {name: value for name, value in os.environ.items() if name not in names}
    subprocess.run([sys.executable, "-c", code], env={**clean, **environ}, check=True, timeout=120)


def test_folder_of_models(here: Path) -> None:
    assert folders.models_folder({"GAS_HOME": "/x"}) == Path("/x/models")
    assert folders.models_folder({}).parts[-2:] == ("gas", "models")


# Which files


def test_only_what_is_needed_is_chosen() -> None:
    names = list(SD)
    plain = [
        "model_index.json", "scheduler/scheduler_config.json", "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors", "tokenizer/vocab.json",
    ]  # fmt: skip
    assert downloads.needed(names) == plain
    half = [name.replace("model.safetensors", "model.fp16.safetensors") for name in plain]
    assert sorted(downloads.needed(names, (), "fp16")) == sorted(half)
    assert downloads.needed(names, (), "fp8") == []
    chosen = downloads.needed(names, TINY.files, "fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in chosen
    assert "unet/diffusion_pytorch_model.safetensors" not in chosen
    transformers = ["config.json", "model.safetensors", "pytorch_model.bin", "vocab.txt", "merges.txt", "a.h5", "x.md"]
    assert downloads.needed(transformers) == ["config.json", "model.safetensors", "vocab.txt", "merges.txt"]
    sharded = ["model_index.json", "unet/d-00001-of-00002.safetensors", "unet/d.fp16-00001-of-00002.safetensors"]
    assert downloads.needed(sharded) == sharded[:2]
    assert downloads.needed(sharded, (), "fp16") == [sharded[0], sharded[2]]


@pytest.mark.parametrize("name", ["sd15", "published"])
def test_what_is_pulled_is_all_that_the_loader_asks_for(name: str) -> None:
    """Every part of Stable Diffusion, in the variant where there is one."""
    from gas.diffusion.loading import variants

    networks = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
    files = next(m for m in Registry.discover().profile(name).models if "diffusion" in m.id)
    more = ("tokenizer/merges.txt", "vae/config.json", "text_encoder/config.json", "safety_checker/config.json")
    weights = tuple(f"{place}/{stem}.safetensors" for place, stem in networks.items())
    half = [name.replace(".safe", ".fp16.safe") for name in weights if not name.startswith("vae")]
    repository = [*SD, *more, *weights, *half]
    for variant in (None, "fp16"):
        got = set(downloads.needed(repository, files.files, variant))
        assert {name for name in (*SD, *more) if name.endswith(".json") or name.startswith("tokenizer")} <= got
        parts = {one.rpartition("/")[0]: one for one in got if one.endswith(".safetensors")}
        assert parts.keys() == networks.keys() and len(parts) == sum(one.endswith(".safetensors") for one in got)
        assert ["fp16" in parts[place] for place in ("unet", "text_encoder", "vae")] == [bool(variant)] * 2 + [False]
    assert variants(Path("nowhere"), ("a", "b")) == set()


def test_pickles_come_only_when_asked_for_and_where_there_is_nothing_else() -> None:
    old = ["config.json", "pytorch_model.bin", "training_args.bin", "vocab.json"]
    assert "pytorch_model.bin" not in downloads.needed(old)
    assert set(downloads.needed(old, allow_pickle=True)) == {"config.json", "pytorch_model.bin", "vocab.json"}
    assert "pytorch_model.bin" not in downloads.needed([*old, "model.safetensors"], allow_pickle=True)
    parts = ["model_index.json", "unet/diffusion_pytorch_model.bin", "unet/config.json"]
    assert downloads.needed(parts) == [] and set(downloads.needed(parts, allow_pickle=True)) == set(parts)


# From the hub


def test_pulled_from_the_hub(hub: FakeHub, here: Path) -> None:
    assert models.look(TINY).state == "missing"
    download = downloads.prepare(TINY)
    assert download is not None and download.bytes == sum(len(SD[name]) for name in download.names) > 2000
    path, told = fetch(TINY)
    assert path == models.snapshot(TINY) == here / "hub" / "models--some--sd" / "snapshots" / COMMIT
    assert under(path) == set(download.names)
    assert told == download.bytes
    assert not {name for name in hub.bodies() if name.endswith((".bin", ".ckpt", ".md", "pruned.safetensors"))}
    found = models.look(TINY)
    assert (found.state, found.path, found.missing, found.bytes) == ("there", path, (), download.bytes)


def test_what_is_here_is_not_asked_for_again(hub: FakeHub) -> None:
    fetch(TINY)
    hub.asked.clear()
    assert downloads.prepare(TINY) is None
    assert hub.asked == []


def test_half_precision_instead(hub: FakeHub) -> None:
    path, _ = fetch(TINY, variant="fp16")
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in under(path)
    assert "unet/diffusion_pytorch_model.safetensors" not in under(path)
    assert models.look(TINY).missing == ("unet/diffusion_pytorch_model.safetensors",)


def test_a_variant_that_is_not_there(hub: FakeHub) -> None:
    with pytest.raises(ModelUnavailable, match="has no files"):
        downloads.prepare(ModelFiles(id="some/sd", revision=COMMIT), variant="fp8")
    with pytest.raises(ModelUnavailable, match="fp8") as caught:
        downloads.prepare(TINY, variant="fp8")
    assert "leave variant out" in caught.value.remedy


def test_an_interrupted_pull_goes_on_where_it_was(hub: FakeHub, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import file_download

    hub.status["diffusion_pytorch_model.safetensors"] = 500
    monkeypatch.setattr(file_download, "_DEFAULT_RETRY_ON_STATUS_CODES", ())
    with pytest.raises(ServiceUnavailable):
        fetch(TINY)
    assert models.look(TINY).state in {"partly", "missing"}
    place = here / "hub" / "models--some--sd"
    assert not (place / "snapshots" / COMMIT / "unet" / "diffusion_pytorch_model.safetensors").exists()
    hub.status.clear()
    hub.asked.clear()
    fetch(TINY)
    assert models.look(TINY).state == "there"
    assert not [p for p in under(place) if p.endswith(".incomplete")]


def test_a_connection_that_ends_early_is_taken_up(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 100)
    hub.cut["diffusion_pytorch_model.safetensors"] = 700
    path, _ = fetch(TINY)
    file = "unet/diffusion_pytorch_model.safetensors"
    assert (path / file).read_bytes() == SD[file]
    assert any(headers.get("Range") == "bytes=700-" for _, _, headers in hub.asked), "not from its beginning"
    assert not caplog.records, "the library has nothing to say to the user"


def test_main_when_nothing_is_pinned(hub: FakeHub) -> None:
    files = TINY.model_copy(update={"revision": None})
    path, _ = fetch(files)
    assert path.name == COMMIT and models.look(files).state == "there"


def test_settings_without_weights_are_no_model(hub: FakeHub) -> None:
    hub.repositories["other/net"] = {"config.json": b"{}", "model.safetensors": b"x" * 100}
    files = ModelFiles(id="other/net", revision=COMMIT)
    path, _ = fetch(files)
    assert models.look(files).state == "there"
    (path / "model.safetensors").unlink()
    assert models.look(files)[0::2] == ("partly", ("weights",))
    fetch(files)
    assert models.look(files).state == "there"


class Refusal(NamedTuple):
    arrange: Callable[[FakeHub], Any]
    files: ModelFiles
    error: type[GasError]
    words: str


REFUSALS = {
    "gated": Refusal(
        lambda hub: hub.gated.add("some/sd"), TINY, ModelUnavailable, r"gated.*\n.*huggingface.co/some/sd.*HF_TOKEN"
    ),
    "no model": Refusal(
        lambda hub: None, TINY.model_copy(update={"id": "no/sd"}), ModelUnavailable, "no model 'no/sd'"
    ),
    "revision": Refusal(
        lambda hub: None, TINY.model_copy(update={"revision": "0" * 40}), ModelUnavailable, "no revision '0000"
    ),
    "unnamed revision": Refusal(
        lambda hub: None, TINY.model_copy(update={"revision": "gone"}), ModelUnavailable, "no revision 'gone'"
    ),
    "forbidden": Refusal(
        lambda hub: hub.status.update({"config.json": 403}), TINY, ModelUnavailable, r"this login \(403\)"
    ),
    "files": Refusal(lambda hub: None, TINY.model_copy(update={"files": ("x.y",)}), ModelUnavailable, "no files x.y"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_the_hubs_refusals(hub: FakeHub, name: str) -> None:
    refusal = REFUSALS[name]
    refusal.arrange(hub)
    with pytest.raises(refusal.error, match=f"(?s){refusal.words}"):
        downloads.prepare(refusal.files)


def test_no_network_is_exit_8(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    with pytest.raises(ServiceUnavailable, match="'some/sd' cannot be downloaded") as caught:
        downloads.prepare(TINY)
    assert caught.value.exit_code == 8


def test_the_hub_told_to_be_offline(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        downloads.prepare(TINY)


def test_without_the_hubs_package_its_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelUnavailable, match="huggingface_hub") as caught:
        downloads.prepare(TINY)
    assert caught.value.remedy == 'pip install "gas-edit[diffusion]"'


# From elsewhere


def test_a_file_from_elsewhere(hub: FakeHub, here: Path) -> None:
    files = checkpoint(hub)
    assert models.look(files).state == "missing"
    path, told = fetch(files)
    assert path == here / "home" / "models" / "net.pth" and path.read_bytes() == CHECKPOINT
    assert told == len(CHECKPOINT) and under(path.parent) == {"net.pth"}
    assert downloads.prepare(files) is None
    assert models.look(files).bytes == len(CHECKPOINT)


def test_the_wrong_checksum_is_refused_and_removed(hub: FakeHub, here: Path) -> None:
    hub.files["net.pth"] = CHECKPOINT[:-1] + b"!"
    with pytest.raises(ModelUnavailable, match=r"net.pth from 127.0.0.1 has the checksum \w{12}…, not"):
        fetch(checkpoint(hub))
    assert under(here / "home") == set()


def test_an_interrupted_file_has_no_final_name_and_goes_on(hub: FakeHub, here: Path) -> None:
    hub.cut["net.pth"] = 1_000_000
    with pytest.raises(ServiceUnavailable, match="ended after 1000000 of 5120000 bytes") as caught:
        fetch(checkpoint(hub))
    assert "resumes" in caught.value.remedy
    assert under(here / "home") == {"models/net.pth.part"}
    download = downloads.prepare(checkpoint(hub))
    assert download is not None and download.bytes == len(CHECKPOINT) - 1_000_000
    hub.asked.clear()
    path, told = fetch(checkpoint(hub))
    assert path.read_bytes() == CHECKPOINT and told == download.bytes
    assert hub.asked[0][2]["Range"] == "bytes=1000000-"
    assert under(here / "home") == {"models/net.pth"}


def test_a_server_without_ranges_begins_anew(hub: FakeHub) -> None:
    hub.cut["net.pth"] = 1_000_000
    with pytest.raises(ServiceUnavailable):
        fetch(checkpoint(hub))
    hub.ranges = False
    path, told = fetch(checkpoint(hub))
    assert path.read_bytes() == CHECKPOINT and told == len(CHECKPOINT) - 1_000_000


def test_a_part_that_is_whole_already_is_only_checked(hub: FakeHub, here: Path) -> None:
    part = here / "home" / "models" / "net.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CHECKPOINT)
    assert fetch(checkpoint(hub))[0].read_bytes() == CHECKPOINT
    (here / "home" / "models" / "net.pth").unlink()
    part.write_bytes(CHECKPOINT + b"!")
    with pytest.raises(ModelUnavailable, match="checksum"):
        fetch(checkpoint(hub))
    assert not part.exists()


@pytest.mark.parametrize(("status", "error"), [
    (401, ModelUnavailable), (403, ModelUnavailable), (404, ModelUnavailable), (500, ServiceUnavailable),
    (429, ServiceUnavailable),
])  # fmt: skip
def test_what_a_server_answers(hub: FakeHub, here: Path, status: int, error: type[GasError]) -> None:
    hub.status["net.pth"] = status
    with pytest.raises(error, match=str(status)):
        fetch(checkpoint(hub))
    assert not (here / "home" / "models" / "net.pth").exists()


def test_a_server_that_is_not_there(hub: FakeHub) -> None:
    with pytest.raises(ServiceUnavailable, match="cannot be reached"):
        fetch(checkpoint(hub, url="http://127.0.0.1:9/net.pth"))


def test_more_than_was_said_is_refused(hub: FakeHub, here: Path) -> None:
    hub.files["net.pth"] = CHECKPOINT * 2
    with pytest.raises(ServiceUnavailable, match="larger than"):
        fetch(checkpoint(hub))
    assert not (here / "home" / "models" / "net.pth").exists()


def test_redirects_stay_safe(hub: FakeHub) -> None:
    hub.files["other.pth"] = CHECKPOINT
    hub.moved["net.pth"] = f"{hub.url}/files/other.pth"
    assert fetch(checkpoint(hub))[0].read_bytes() == CHECKPOINT
    hub.moved["net.pth"] = "http://example.org/net.pth?token=x"
    models.cached_file(checkpoint(hub)).unlink()
    with pytest.raises(ServiceUnavailable, match=r"http://example.org/net.pth is not https"):
        fetch(checkpoint(hub))


def test_a_file_without_a_published_checksum(hub: FakeHub) -> None:
    files = checkpoint(hub, sha256=None)
    fetch(files)
    assert list(models.verify(files)) == [("net.pth", "unchecked", "no published checksum")]
    models.cached_file(files).write_bytes(CHECKPOINT[:-100_000])
    (checked,) = models.verify(files)
    assert checked.condition == "damaged" and "MB" in checked.why


# The disk


def test_no_room_is_exit_7_before_anything_comes(hub: FakeHub, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [downloads.prepare(TINY), downloads.prepare(checkpoint(hub))]
    coming = [one for one in wanted if one is not None]
    downloads.check_space(coming)
    usage = shutil.disk_usage(here)
    total = sum(one.bytes for one in coming)
    free = total + downloads.SPARE_BYTES - 1
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage._replace(free=free))
    with pytest.raises(OutOfResources, match="GB are to be downloaded") as caught:
        downloads.check_space(coming)
    assert caught.value.exit_code == 7 and "HF_HOME" in caught.value.remedy
    downloads.check_space(coming[:1])


def test_a_disk_that_fills_up(hub: FakeHub, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(downloads.os, "fsync", full)
    with pytest.raises(OutOfResources, match="disk is full"):
        fetch(checkpoint(hub))
    assert not (here / "home" / "models" / "net.pth").exists()


def test_a_folder_that_may_not_be_written_to(hub: FakeHub, here: Path) -> None:
    (here / "home").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written"):
        fetch(checkpoint(hub))


# Checksums


def test_the_hubs_files_are_read_again(hub: FakeHub) -> None:
    path, _ = fetch(TINY)
    assert {one.condition for one in models.verify(TINY)} == {"ok"}
    assert len(list(models.verify(TINY))) == len(under(path))
    for name in ("unet/config.json", "unet/diffusion_pytorch_model.safetensors"):
        whole = (path / name).read_bytes()
        (path / name).resolve().write_bytes(whole[:-1] + b"?")
        bad = {one.name: one for one in models.verify(TINY) if one.condition != "ok"}
        assert set(bad) == {name} and bad[name].condition == "damaged" and "checksum" in bad[name].why
        (path / name).resolve().write_bytes(whole)


def test_missing_and_dangling_files_are_named(hub: FakeHub) -> None:
    path, _ = fetch(TINY)
    (path / "unet" / "config.json").resolve().unlink()
    (path / "model_index.json").unlink()
    bad = {one.name: one.why for one in models.verify(TINY) if one.condition == "missing"}
    assert bad == {"unet/config.json": "its link leads nowhere", "model_index.json": "not in the cache"}
    assert models.look(TINY).missing == ("model_index.json", "unet/config.json")
    assert models.look(TINY).state == "partly"
    fetch(TINY)
    assert models.look(TINY).state == "there" and {one.condition for one in models.verify(TINY)} == {"ok"}


def test_a_cache_without_links_knows_no_checksums(hub: FakeHub) -> None:
    path, _ = fetch(TINY)
    file = path / "unet" / "config.json"
    data = file.read_bytes()
    file.unlink()
    file.write_bytes(data)
    assert {one.name for one in models.verify(TINY) if one.condition == "unchecked"} == {"unet/config.json"}


def test_files_that_repositories_share_are_read_by_their_own_checksum(hub: FakeHub, here: Path) -> None:
    """Newer caches keep large files in one store; a repository's blob is then a link to it, under another name."""
    path, _ = fetch(TINY)
    name = "unet/diffusion_pytorch_model.safetensors"
    blob = (path / name).resolve()
    shared = here / "hub" / "blobs" / "ab" / ("ab" * 32)
    shared.parent.mkdir(parents=True)
    blob.rename(shared)
    blob.symlink_to(os.path.relpath(shared, blob.parent))
    assert {one.condition for one in models.verify(TINY)} == {"ok"}
    shared.write_bytes(b"damaged")
    assert models.remove_damaged(TINY) == [name]
    assert not shared.exists() and not blob.is_symlink() and not (path / name).is_symlink()
    fetch(TINY)
    assert {one.condition for one in models.verify(TINY)} == {"ok"}


def test_damaged_files_are_removed_and_come_again(hub: FakeHub) -> None:
    path, _ = fetch(TINY)
    fetch(checkpoint(hub))
    name = "unet/diffusion_pytorch_model.safetensors"
    (path / name).resolve().write_bytes(b"damaged")
    models.cached_file(checkpoint(hub)).write_bytes(b"damaged")
    assert models.remove_damaged(TINY) == [name]
    assert models.remove_damaged(checkpoint(hub)) == ["net.pth"]
    assert models.look(TINY).missing == (name,)
    hub.asked.clear()
    fetch(TINY)
    assert hub.bodies() == ["diffusion_pytorch_model.safetensors"], "what is whole does not come again"
    assert {one.condition for one in models.verify(TINY)} == {"ok"}


def test_local_models_are_there_or_not(here: Path) -> None:
    files = ModelFiles(id="package:gas_diorama/weights/sd")
    found = models.look(files)
    assert found.state == "there" and found.bytes > 1e6
    assert {one.condition for one in models.verify(files)} == {"unchecked"}
    assert models.remove_damaged(files) == []
    gone = ModelFiles(id="./nowhere")
    assert models.look(gone).state == "missing"
    assert [one.condition for one in models.verify(gone)] == ["missing"]
    assert downloads.prepare(files) is None
    with pytest.raises(ModelUnavailable, match=r"'./nowhere' is missing"):
        downloads.prepare(gone)


# Without a profile


def test_the_default_profile_depends_on_what_is_here(hub: FakeHub, no_network: None) -> None:
    registry = Registry.discover()
    name, why = catalogue.default_profile(registry)
    assert name == "retouch" and "gas models pull sd15" in why
    folder = pull_all(registry, "sd15")
    name, why = catalogue.default_profile(registry)
    assert name == "sd15" and "are here" in why
    (folder / "model.safetensors").unlink()
    assert catalogue.default_profile(registry)[0] == "retouch"


def test_a_cache_that_cannot_be_read_stops_nothing(
    gas: Callable[..., Said], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/" + "x" * 5000)
    name, why = catalogue.default_profile(Registry.discover())
    assert name == "retouch" and "cannot be read" in why
    assert gas("models", "ls").code == 6
    found = {one["topic"]: one for one in data(gas("doctor", "--json"))}
    assert found["profile sd15"]["state"] == "broken" and "HF_HOME" in found["profile sd15"]["remedy"]
    assert found["profile diorama"]["state"] == "ok"


# A whole profile, from the hub to its loaders


@pytest.mark.parametrize("name", ["sd15", "published"])
def test_what_was_pulled_is_enough_to_load_without_network(
    gas: Callable[..., Said], hub: FakeHub, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each repository has what the real one has, as far as names go; the loaders look for files, not at weights."""
    from gas.diffusion.stable_diffusion_layout import check_layout
    from gas.models.hub import require_snapshot
    from gas.models.pretrained import model_folder

    profile = Registry.discover().profile(name)
    kinds = {"grounding-dino": "grounding-dino", "sam": "sam", "bert": "bert"}
    junk = ("README.md", ".gitattributes", "pytorch_model.bin", "tf_model.h5", "onnx/model.onnx")
    for files in profile.models:
        if files.url:
            continue
        kind = next((kind for part, kind in kinds.items() if part in files.id), "")
        wanted = {file for file in files.files if "*" not in file}
        hub.repositories[files.id] = {file: f'{{"model_type": "{kind}"}}'.encode() for file in [*wanted, *junk]}
        if not kind:
            hub.repositories[files.id] |= {**SD, "safety_checker/config.json": b"{}"}
        elif kind == "bert":
            hub.repositories[files.id]["model.safetensors"] = b"not needed"
        hub.commits.add(str(files.revision))
    registry_profile = Registry.profile

    def served(self: Registry, wanted: str) -> Any:
        found = registry_profile(self, wanted)
        here = [checkpoint(hub, id=m.id) if m.url else m for m in found.models]
        return found.model_copy(update={"models": tuple(here)})

    monkeypatch.setattr(Registry, "profile", served)
    assert gas("models", "pull", name).code == 0
    assert not {n for n in hub.bodies() if n.endswith((".bin", ".h5", ".onnx", ".md", ".ckpt"))}
    assert "got" not in gas("models", "pull", name).err
    hub.asked.clear()
    for files in profile.models:
        source = resolve_model(files.model)
        if files.url:
            assert Path(source.location).read_bytes() == CHECKPOINT
        elif "diffusion" in files.id:
            check_layout(require_snapshot(source), "", files.id)
        else:
            kind = next(kind for part, kind in kinds.items() if part in files.id)
            model_folder(files.model, config=kind, weights=kind != "bert")
    assert hub.asked == [], "a pinned model that is here is loaded without asking the hub"
    if name == "sd15":
        assert catalogue.default_profile(Registry.discover())[0] == "sd15"


# The commands


@pytest.fixture
def gas(here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["gas", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(app)
        return Said(int(ended.value.code or 0), *capfd.readouterr())

    return call


@pytest.fixture
def mine(here: Path) -> Path:
    """A profile of the user's own with the small Stable Diffusion of the fake hub."""
    folder = here / "home" / "profiles"
    folder.mkdir(parents=True)
    names = ", ".join(f'"{name}"' for name in TINY.files)
    path = folder / "mine.toml"
    path.write_text(
        f'editor = "dds"\n[[models]]\nid = "{TINY.id}"\nrevision = "{COMMIT}"\nfiles = [{names}]\n'
        'licence = "MIT"\nsize_mb = 1500\ngated = true\n'
    )
    return path


def data(said: Said) -> Any:
    assert said.code == 0, said.err
    return json.loads(said.out)["data"]


def test_every_model_is_listed_offline(gas: Callable[..., Said], mine: Path, no_network: None) -> None:
    (mine.parent / "broken.toml").write_text("editor = ")
    said = gas("models", "ls")
    assert said.code == 0
    (line,) = [line for line in said.out.splitlines() if "some/sd" in line]
    for word in ("mine", "1.5 GB", "MIT, gated", COMMIT[:12], "missing"):
        assert word in line
    (segmenter,) = [line for line in said.out.splitlines() if "facebook/sam-vit-base" in line]
    assert "grounder sam" in segmenter
    (shared,) = [line for line in said.out.splitlines() if "stable-diffusion-v1-5" in line]
    assert "published, sd15" in shared
    assert "gas models pull sd15" in said.err and "profile broken" in said.err
    assert "gas models pull diorama" not in said.err
    listed = {one["id"]: one for one in data(gas("models", "ls", "--json"))}
    registry = Registry.discover()
    shipped = [spec.name for spec in registry.specs("profiles")]
    named = {m.id for name in shipped for m in registry.profile(name).models}
    assert {"diorama", "sd15", "published", "instruct", "kontext"} <= set(shipped)
    assert {*named, "some/sd"} == set(listed)
    assert listed["some/sd"]["state"] == "missing" and listed["some/sd"]["missing"] == list(TINY.files)
    assert listed["package:gas_diorama/weights/sd"]["source"] == "local"
    assert listed["cache:groundingdino_swint_ogc.pth"]["sha256"].startswith("3b3ca256")


def test_pull_by_command(gas: Callable[..., Said], hub: FakeHub, mine: Path) -> None:
    told = gas("models", "pull", "mine", "--dry-run")
    assert told.code == 0 and "1.5 GB to" in told.err and "MIT" in told.err and "got" not in told.err
    assert hub.asked == [], "the profile says the size"
    assert gas("models", "pull", "mine", "--dry-run", "--offline").err == told.err
    assert gas("models", "pull", "mine", "--dry-run", "--offline", "--variant", "fp16").code == 2
    said = gas("models", "pull", "mine", "--json")
    (one,) = data(said)["models"]
    assert one["model"] == f"some/sd@{COMMIT}" and one["bytes"] == data(said)["bytes"] > 2000
    assert "got some/sd in" in said.err and "\x1b" not in said.err and "%" not in said.err
    assert "everything is here" in gas("models", "pull", "mine").err
    assert "there" in next(line for line in gas("models", "ls").out.splitlines() if "some/sd" in line)


def test_models_are_removed_by_command(gas: Callable[..., Said], hub: FakeHub, mine: Path) -> None:
    assert gas("models", "rm", "some/sd").code == 6, "nothing is here"
    assert gas("models", "pull", "mine").code == 0
    hub.repositories["other/net"] = {"config.json": b"{}", "model.safetensors": b"x" * 100}
    assert gas("models", "pull", "other/net").code == 0
    (one,) = data(gas("models", "rm", "mine", "--json"))
    assert one["model"] == f"some/sd@{COMMIT}" and one["bytes"] > 2000
    assert models.look(TINY).state == "missing"
    assert models.look(ModelFiles(id="other/net")).state == "there", "another model stays"
    assert gas("models", "rm", "other/net").code == 0 and models.look(ModelFiles(id="other/net")).state == "missing"
    assert "nothing of it is here" in gas("models", "rm", "mine").err
    assert gas("models", "rm", "package:gas_diorama/weights/sd").code == 2
    assert gas("models", "rm").code == 2


def test_a_mirror_is_named_by_hf_endpoint(hub: FakeHub, mine: Path, here: Path) -> None:
    """huggingface_hub reads it when it is imported, so the command has a process of its own."""
    import os
    import subprocess

    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(here / "hub"), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "gas_cli", "models", "pull", "mine"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "unet/diffusion_pytorch_model.safetensors".rpartition("/")[2] in hub.bodies()
    assert models.look(TINY).state == "there"


def photograph(folder: Path) -> str:
    import numpy as np
    from PIL import Image as Pictures

    Pictures.fromarray(np.random.default_rng(1).integers(0, 200, (64, 64, 3), dtype=np.uint8)).save(folder / "dog.png")
    return str(folder / "dog.png")


def an_edit(here: Path, *more: str) -> list[str]:
    chosen = ["--planner", "rules", "--grounder", "none", "--box", "dog=10,10,40,40", "-o", str(here / "o.png")]
    return ["edit", photograph(here), "change the dog into a cat", *chosen, *more]


def test_an_edit_downloads_nothing_by_itself(gas: Callable[..., Said], hub: FakeHub, mine: Path, here: Path) -> None:
    mine.write_text(mine.read_text() + f'[options.dds]\nmodel = "{TINY.model}"\n')
    said = gas(*an_edit(here, "--profile", "mine"))
    assert said.code == 6 and hub.asked == []
    assert f"{TINY.model}, 1.5 GB, MIT, gated" in said.err
    assert "gas models pull mine" in said.err and "--yes" in said.err
    said = gas(*an_edit(here, "--profile", "mine", "--model", "other/net@main"))
    assert said.code == 6 and "gas models pull other/net@main" in said.err and "of unknown size" in said.err
    assert hub.asked == []


def test_an_edit_downloads_what_was_agreed_to(gas: Callable[..., Said], hub: FakeHub, mine: Path, here: Path) -> None:
    mine.write_text(mine.read_text() + f'[options.dds]\nmodel = "{TINY.model}"\n')
    said = gas(*an_edit(here, "--profile", "mine", "--yes"))
    assert models.look(TINY).state == "there"
    assert said.err.index(f"{TINY.model}: ") < said.err.index("got some/sd in")
    assert said.code == 6 and "not a Stable Diffusion model" in said.err, "the fake hub's has no weights"


def test_what_is_agreed_to_is_still_not_downloaded_offline(
    gas: Callable[..., Said], hub: FakeHub, mine: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine.write_text(mine.read_text() + f'[options.dds]\nmodel = "{TINY.model}"\n')
    monkeypatch.setenv("GAS_OFFLINE", "1")
    assert gas(*an_edit(here, "--profile", "mine", "--yes")).code == 2 and hub.asked == []


def test_models_are_pulled_by_id_too(gas: Callable[..., Said], hub: FakeHub, mine: Path) -> None:
    hub.repositories["other/net"] = {"config.json": b"{}", "model.safetensors": b"x" * 100, "pytorch_model.bin": b"y"}
    assert gas("models", "pull", "some/sd", f"other/net@{COMMIT}").code == 0
    found = models.look(ModelFiles(id="other/net", revision=COMMIT))
    assert found.state == "there" and found.path is not None
    assert under(found.path) == {"config.json", "model.safetensors"}


@pytest.mark.parametrize(("arguments", "code", "words"), [
    ([], 2, ["sd15"]),
    (["sd16"], 2, ["sd16", "did you mean 'sd15'"]),
    (["cache:other.pth"], 2, ["cache:other.pth"]),
    (["mine", "--offline"], 2, ["offline is set (--offline)"]),
    (["mine", "--variant", "fp8"], 6, ["fp8"]),
    (["no/such"], 6, ["no model 'no/such'"]),
])  # fmt: skip
def test_wrong_pulls(
    gas: Callable[..., Said], hub: FakeHub, mine: Path, arguments: list[str], code: int, words: list[str]
) -> None:
    said = gas("models", "pull", *arguments)
    assert said.code == code, said.err
    for word in words:
        assert word in said.err
    assert not hub.bodies()


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "GAS_OFFLINE"])
def test_offline_no_socket_is_opened(
    gas: Callable[..., Said], mine: Path, monkeypatch: pytest.MonkeyPatch, no_network: None, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    said = gas("models", "pull", "mine")
    assert said.code == 2 and f"offline is set ({variable})" in said.err
    assert gas("models", "pull", "diorama").code == 0, "what is here needs no network"
    assert gas("models", "verify").code == 0


@pytest.mark.parametrize("token", ["", "of somebody else"], ids=["no token", "a token that has not accepted"])
def test_gated_by_command(
    gas: Callable[..., Said], hub: FakeHub, mine: Path, here: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    """Where to accept the licence and how to give the token; what was there stays, and the same command ends it."""
    hub.repositories["other/net"] = {"config.json": b"{}", "model.safetensors": b"x" * 100}
    mine.write_text(mine.read_text() + '[[models]]\nid = "other/net"\n')
    assert gas("models", "pull", "other/net").code == 0
    before = {name: (here / "hub" / name).read_bytes() for name in under(here / "hub")}
    hub.gated.add("some/sd")
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    said = gas("models", "pull", "mine", "--json")
    assert said.code == 6 and json.loads(said.out)["error"]["exit_code"] == 6
    assert "model 'some/sd' is gated" in said.err
    assert "accept it on https://huggingface.co/some/sd" in said.err and "HF_TOKEN" in said.err
    assert "Traceback" not in said.err
    assert {name: (here / "hub" / name).read_bytes() for name in before} == before
    assert models.look(ModelFiles(id="other/net")).state == "there" and models.look(TINY).state == "missing"
    hub.accepted.add("mine")
    monkeypatch.setenv("HF_TOKEN", "mine")
    assert gas("models", "pull", "mine").code == 0 and models.look(TINY).state == "there"


def test_an_edit_with_a_gated_model_loses_nothing(
    gas: Callable[..., Said], hub: FakeHub, mine: Path, here: Path
) -> None:
    mine.write_text(mine.read_text() + f'[options.dds]\nmodel = "{TINY.model}"\n')
    hub.gated.add("some/sd")
    (here / "o.png").write_bytes(b"an earlier result")
    call = an_edit(here, "--profile", "mine", "--yes", "--overwrite")
    photograph_before = (here / "dog.png").read_bytes()
    said = gas(*call)
    assert said.code == 6 and "accept it on https://huggingface.co/some/sd" in said.err and "HF_TOKEN" in said.err
    assert (here / "o.png").read_bytes() == b"an earlier result"
    assert (here / "dog.png").read_bytes() == photograph_before


def test_a_full_disk_by_command(
    gas: Callable[..., Said], hub: FakeHub, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(mine)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    assert gas("models", "pull", "mine").code == 7
    assert not hub.bodies()


def test_verify_by_command(gas: Callable[..., Said], hub: FakeHub, mine: Path) -> None:
    said = gas("models", "verify", "mine")
    assert said.code == 6 and "gas models pull" in said.err
    assert gas("models", "pull", "mine").code == 0
    assert {file["condition"] for file in data(gas("models", "verify", "mine", "--json"))[0]["files"]} == {"ok"}
    folder = models.snapshot(TINY)
    assert folder is not None
    (folder / "unet" / "config.json").resolve().write_bytes(b"{}?")
    said = gas("models", "verify")
    assert said.code == 6 and "DAMAGED" in said.out and f"--repair some/sd@{COMMIT}" in said.err
    assert "removed unet/config.json" in gas("models", "pull", "--repair", f"some/sd@{COMMIT}").err
    assert gas("models", "verify", "mine").code == 0


def test_a_bar_in_a_terminal_only(hub: FakeHub) -> None:
    from io import StringIO

    from rich.console import Console

    from gas_cli.models import _progress

    download = downloads.prepare(TINY)
    assert download is not None
    for terminal in (True, False):
        stream = StringIO()
        with _progress(Console(file=stream, force_terminal=terminal), download) as report:
            report(1000)
        assert ("some/sd" in stream.getvalue()) == terminal


def test_listing_models_imports_nothing_heavy(here: Path) -> None:
    code = (
        "import sys\nsys.argv = ['gas', 'models', 'ls']\nfrom gas_cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as e:\n    assert not e.code\n"
        "print([m for m in ('torch', 'huggingface_hub', 'numpy', 'diffusers') if m in sys.modules], file=sys.stderr)"
    )
    environ = {**os.environ, "GAS_PLUGINS": "none"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert result.stderr.strip().splitlines()[-1] == "[]"


# Which profile, shown and recorded


def test_the_default_profile_is_shown_and_recorded(
    gas: Callable[..., Said], here: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    import fake_backends
    import numpy as np
    from PIL import Image as Pictures

    from gas_cli import doctor

    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: fake_backends.registry()))
    monkeypatch.setattr(doctor, "ollama", lambda: doctor.Checked("ollama", "note", "is asked on this machine only"))
    Pictures.fromarray(np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)).save("dog.png")
    fakes = ("--planner", "arrows", "--editor", "painter", "--grounder", "none", "--box", "dog=30,20,80,60")
    said = gas("edit", "dog.png", "dog -> tiger", *fakes, "-o", "a.png")
    why = "default; what needs a model: gas models pull sd15 (5.3 GB)"
    assert said.code == 0 and f"painter (retouch, {why})" in said.err
    assert f"profile: retouch ({why})" in gas("info", "a.png").out
    setting = next(one for one in data(gas("doctor", "--json")) if one["topic"] == "setting profile")
    assert setting["value"] == f"retouch (from {why})"
    said = gas("edit", "dog.png", "dog -> tiger", *fakes, "--profile", "diorama", "-o", "b.png")
    assert said.code == 0 and "painter (diorama)" in said.err
    assert "profile: diorama (--profile)" in gas("info", "b.png").out
    assert data(gas("replay", "a.png", "--input", "dog.png", "-o", "c.png", "--json"))["same_bytes"] is True
    pull_all(Registry.discover(), "sd15")
    said = gas("edit", "dog.png", "dog -> tiger", *fakes, "-o", "d.png")
    assert said.code == 0 and "painter (sd15, default, since the models of sd15 are here)" in said.err


def pull_all(registry: Registry, profile: str) -> Path:
    """Puts an empty file for every one that the profile needs into the cache; the last one's folder."""
    for files in registry.profile(profile).models:
        folder = folders.hub_folder() / f"models--{files.id.replace('/', '--')}" / "snapshots" / str(files.revision)
        for name in files.files:
            path = folder / name.replace("*", "x")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return folder


def test_a_python_program_gets_the_same_default(here: Path) -> None:
    from gas import Session

    assert Session.of().settings.profile.name == "retouch"
    pull_all(Registry.discover(), "sd15")
    assert Session.of().settings.profile.name == "sd15"
    assert Session.of(profile="diorama").settings.profile.name == "diorama"
