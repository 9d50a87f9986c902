"""Where models of transformers come from: the hub's files and refusals, offline, safetensors first."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from huggingface_hub import errors as hub

from gas.errors import ModelUnavailable
from gas.models.pretrained import load_network, model_folder
from gas.process import own_process
from gas.runtime import Runtime


def _http(kind: Any, status: int) -> Exception:
    response = httpx.Response(status, request=httpx.Request("GET", "https://example.com"))
    return kind("no", response=response)


REFUSALS = {
    "gated": (_http(hub.GatedRepoError, 403), "gated", "gas models pull some/model@abc"),
    "no such model": (_http(hub.RepositoryNotFoundError, 404), "no model 'some/model'", "check the name"),
    "no such revision": (_http(hub.RevisionNotFoundError, 404), "no revision 'abc'", "@"),
    "not reachable": (
        hub.LocalEntryNotFoundError("no"),
        "not in the cache and the hub cannot be reached",
        "gas models pull some/model@abc",
    ),
    "server error": (_http(hub.HfHubHTTPError, 500), "cannot be downloaded", "try again"),
    "disk": (OSError("No space left on device"), "No space left", "try again"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_hubs_refusals_are_explained(refusal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    error, message, remedy = REFUSALS[refusal]

    def download(*arguments: Any, **named: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelUnavailable) as raised:
        model_folder("some/model@abc", Runtime(device="cpu"), config="owlv2")
    assert message in raised.value.message and remedy in raised.value.remedy
    assert raised.value.exit_code == 6


class Hub:
    """Stands for the hub: makes the files of a repository that are asked for."""

    def __init__(self, folder: Path, files: dict[str, str]) -> None:
        self.folder, self.files = folder, files
        self.calls: list[dict[str, Any]] = []

    def __call__(self, name: str, **named: Any) -> str:
        from fnmatch import fnmatch

        self.calls.append({"name": name, **named})
        for file, text in self.files.items():
            if any(fnmatch(file, pattern) for pattern in named["allow_patterns"]):
                (self.folder / file).write_text(text)
        return str(self.folder)


FILES = {"config.json": '{"model_type": "clip"}', "vocab.json": "{}", "pytorch_model.bin": "", "README.md": ""}


def test_only_what_is_needed_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Hub(tmp_path, {**FILES, "model.safetensors": "", "model.onnx": "", "modeling_own.py": ""})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    model_folder("some/model@abc", Runtime(device="cpu"), config="clip", allow_pickle=True)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "model.safetensors", "vocab.json"]
    assert len(fake.calls) == 1
    assert fake.calls[0]["name"] == "some/model" and fake.calls[0]["revision"] == "abc"
    assert fake.calls[0]["local_files_only"] is False


def test_offline_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Hub(tmp_path, {**FILES, "model.safetensors": ""})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    model_folder("some/model", Runtime(device="cpu", offline=True), config="clip")
    assert fake.calls[0]["local_files_only"] is True


def test_bin_weights_only_where_there_are_no_others_and_they_are_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Hub(tmp_path, FILES)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    with pytest.raises(ModelUnavailable, match=r"no weights \(model.safetensors\)"):
        model_folder("some/model", Runtime(device="cpu"), config="clip")
    model_folder("some/model", Runtime(device="cpu"), config=("owlv2", "clip"), allow_pickle=True)
    assert (tmp_path / "pytorch_model.bin").exists()
    with pytest.raises(ModelUnavailable, match="hide programs"):
        model_folder("some/model", Runtime(device="cpu"), config="clip")


def test_settings_and_tokenizer_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Hub(tmp_path, {**FILES, "model.safetensors": ""})
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake)
    model_folder("some/model", Runtime(device="cpu"), config="clip", weights=False)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "vocab.json"]
    (tmp_path / "vocab.json").unlink()
    model_folder("some/model", Runtime(device="cpu"), config="clip", weights=False, tokenizer=False)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json"]


class Loader:
    """Stands for a class of transformers that warns while it loads, and notes the state of the process then."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def from_pretrained(self, *arguments: Any, **named: Any) -> tuple[Any, dict[str, Any]]:
        import torch

        self.seen.append(of_the_process())
        warnings.warn("a library's own warning", FutureWarning, stacklevel=1)
        return torch.nn.Linear(1, 1), {"missing_keys": set()}


def of_the_process() -> tuple[Any, ...]:
    from transformers.utils import logging

    return logging.get_verbosity(), logging.is_progress_bar_enabled(), tuple(warnings.filters), warnings.showwarning


def test_while_a_network_is_loaded_the_process_is_as_it_was_and_warnings_are_heard(tmp_path: Path) -> None:
    import torch

    loader = Loader()
    with pytest.warns(FutureWarning, match="own warning"):
        before = of_the_process()
        load_network(loader, tmp_path, "some/model", torch.device("cpu"))
        assert loader.seen == [before] and of_the_process() == before


def test_a_program_draws_no_bars_of_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers.utils import logging

    monkeypatch.setattr(logging, "_tqdm_active", True)
    loader = Loader()
    with own_process(), pytest.warns(FutureWarning):
        load_network(loader, tmp_path, "some/model", torch.device("cpu"))
    assert [bars for _, bars, *_ in loader.seen] == [False]
    assert logging.is_progress_bar_enabled()


@pytest.mark.seeded
def test_two_threads_load_twenty_times_and_leave_the_process_as_it_was(tmp_path: Path) -> None:
    import torch
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1}
    CLIPTextModelWithProjection(CLIPTextConfig(vocab_size=50, **sizes)).save_pretrained(tmp_path)
    before, loaded, errors = of_the_process(), [], []

    def work() -> None:
        try:
            for _ in range(20):
                loaded.append(load_network(CLIPTextModelWithProjection, tmp_path, "tiny", torch.device("cpu")))
        except Exception as error:  # noqa: BLE001 - to be raised in the thread of the test
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == [] and len(loaded) == 40
    first = loaded[0].state_dict()
    assert all(torch.equal(first[key], value) for one in loaded for key, value in one.state_dict().items())
    assert of_the_process() == before
