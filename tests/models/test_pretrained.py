"""Where models of transformers come from: the hub's cache, never the hub itself; safetensors first."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from gas.errors import ModelUnavailable
from gas.models.pretrained import load_network, model_folder
from gas.process import own_process


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of some/model@abc in the hub's cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--some--model" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "clip"}')
    return folder


def test_a_model_that_is_not_here_is_not_fetched(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*arguments: Any, **named: Any) -> str:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(ModelUnavailable, match="'other/model@abc' has not been downloaded") as raised:
        model_folder("other/model@abc", config="owlv2")
    assert "gas models pull other/model@abc" in raised.value.remedy and raised.value.exit_code == 6


def test_bin_weights_only_where_there_are_no_others_and_they_are_allowed(cached: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no weights \(model.safetensors\)"):
        model_folder("some/model@abc", config="clip")
    (cached / "pytorch_model.bin").touch()
    assert model_folder("some/model@abc", config=("owlv2", "clip"), allow_pickle=True) == cached
    with pytest.raises(ModelUnavailable, match="hide programs"):
        model_folder("some/model@abc", config="clip")
    (cached / "model.safetensors").touch()
    assert model_folder("some/model@abc", config="clip") == cached


def test_settings_and_tokenizer_are_enough_where_no_weights_are_wanted(cached: Path) -> None:
    assert model_folder("some/model@abc", config="clip", weights=False) == cached
    with pytest.raises(ModelUnavailable, match="of the kind 'clip', not bert"):
        model_folder("some/model@abc", config="bert", weights=False)


class Loader:
    """Stands for a class of transformers that warns while it loads, and notes the state of the process then."""

    __name__ = "Loader"

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
