"""How many workers, threads and GPUs a batch takes by itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from batch_backends import FLAGS, registry

import gas
from gas.batch.engines import choice as choices
from gas.batch.engines.choice import Choice, gpus, machine
from gas.errors import UsageError


def session(**flags: Any) -> gas.Session:
    chosen = {name: value for name, value in {**FLAGS, **flags}.items() if name != "registry"}
    return gas.Session.of(registry=registry(), **chosen)


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


@pytest.mark.parametrize(("flags", "said", "environment", "workers", "threads", "found"), [
    ({}, {}, {}, 8, 1, ()),
    ({}, {}, {"OMP_NUM_THREADS": "2"}, 4, 2, ()),
    ({}, {"threads": 3}, {"OMP_NUM_THREADS": "2"}, 2, 3, ()),
    ({}, {"workers": 5}, {}, 5, 1, ()),
    ({}, {}, {"CUDA_VISIBLE_DEVICES": "0,1"}, 8, 1, ()),
    ({"editor": "dds"}, {}, {"CUDA_VISIBLE_DEVICES": ""}, 2, 4, ()),
    ({"editor": "dds"}, {}, {"CUDA_VISIBLE_DEVICES": "2,GPU-7"}, 2, 4, ("2", "GPU-7")),
    ({"editor": "dds"}, {"workers": 4}, {"CUDA_VISIBLE_DEVICES": "0,1"}, 4, 4, ("0", "1")),
    ({"editor": "dds", "device": "cpu"}, {}, {"CUDA_VISIBLE_DEVICES": "0,1"}, 2, 4, ()),
    ({"editor": "dds", "device": "cuda:1"}, {}, {"CUDA_VISIBLE_DEVICES": "0,1"}, 1, 4, ()),
])  # fmt: skip
def test_workers_follow_the_machine_and_the_editor(
    flags: Any, said: Any, environment: Any, workers: int, threads: int, found: tuple[str, ...]
) -> None:
    here = machine(session(**flags), Choice(**said), {"CUDA_VISIBLE_DEVICES": "", **environment})
    assert (here.workers, here.threads, here.gpus) == (workers, threads, found)
    assert str(workers) in str(here)


def test_gpus_are_those_of_the_drivers_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A (UUID: y)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert gpus({}) == ("0", "1") and gpus({"CUDA_VISIBLE_DEVICES": "-1"}) == ()
    monkeypatch.setattr(choices.shutil, "which", lambda name: None)
    assert gpus({}) == ()


@pytest.mark.parametrize("said", [{"engine": "raye"}, {"address": "auto"}])
def test_what_is_no_engine_is_refused(said: Any) -> None:
    with pytest.raises(UsageError):
        Choice(**said).check()
