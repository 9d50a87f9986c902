"""YOLO-World networks from ultralytics' checkpoint files, without running anything that is in them.

Such a file is a pickle of the whole network. ultralytics' own safe mode rebuilds it with an allow-list of classes, but
calls them with whatever arguments the file says, and some of those look for files or download them. So here every class
is replaced by one that only keeps what it is given; architecture (plain values) and tensors are taken from that, and
the network is built anew from layers that YOLO-World consists of.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gas.errors import ModelUnavailable
from gas.folders import models_folder
from gas.models.manifest import resolve_model
from gas.models.pretrained import loading
from gas_grounders.checkpoints import unpickled

KIND = "ultralytics.nn.tasks.WorldModel"
LAYERS = frozenset({"Conv", "C2f", "SPPF", "C2fAttn", "ImagePoolingAttn", "Concat", "nn.Upsample", "WorldDetect"})
# What ultralytics' files consist of, beside tensors: layers, settings, numbers of numpy, paths, a copy of CLIP.
_EXPECTED: tuple[str, ...] = ("ultralytics.", "torch.nn.modules.", "numpy.", "pathlib.", "builtins.getattr")
_EXPECTED += ("clip.", "torchvision.transforms.")


class Inert:
    """Stands for an object of a class that is not to be made: keeps its state, does nothing."""

    def __new__(cls, *arguments: Any, **named: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def load_yolo_world(model: str, device: torch.device) -> Any:
    """The frozen network (ultralytics' WorldModel) in the file `model`, in fp32 on `device`.

    ModelUnavailable (exit 6): not there, not a YOLO-World checkpoint, or one that could hide a program.
    """
    source = resolve_model(model)
    path = Path(source.location)
    if not source.local or not path.is_file():
        raise ModelUnavailable(f"weights {model!r} are not a file", "give the path of a YOLO-World .pt file")
    architecture, tensors = read_checkpoint(path, model)
    with loading(model), restricted_ultralytics() as tasks:
        network = tasks.WorldModel(architecture, ch=architecture.get("ch", 3), nc=architecture["nc"], verbose=False)
        network.load_state_dict(tensors)
    return network.float().to(device).eval().requires_grad_(False)


def read_checkpoint(path: Path, name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The architecture and the tensors by name in an ultralytics checkpoint of YOLO-World; nothing of it is run.

    ModelUnavailable when it is something else, or refers to what ultralytics' checkpoints do not consist of.
    """
    remedy = "use a file that ultralytics publishes, such as yolov8s-worldv2.pt"
    try:
        wanted = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, OSError, EOFError, RuntimeError, KeyError) as error:
        first = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelUnavailable(f"{name} is not a checkpoint of ultralytics: {first}", remedy) from None
    foreign = sorted(each for each in wanted if not each.startswith(_EXPECTED))
    if foreign:
        raise ModelUnavailable(f"{name} refers to {foreign[0]}, which could be a program, and was not read", remedy)
    stand_ins: list[Any] = [(type("Inert", (Inert,), {"kind": each}), each) for each in wanted]
    with torch.serialization.safe_globals(stand_ins):
        content = unpickled(path, name)
    inner = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    kind = getattr(inner, "kind", None)
    state = inner.state if isinstance(inner, Inert) and isinstance(inner.state, dict) else {}
    if kind != KIND:
        raise ModelUnavailable(f"{name} holds {kind or 'no network'}, not a YOLO-World network", remedy)
    tensors: dict[str, Tensor] = {}
    _collect(state, "", tensors)
    tensors = {key: value for key, value in tensors.items() if not key.startswith("clip_model.")}
    return _architecture(state.get("yaml"), name, remedy), tensors


@contextlib.contextmanager
def restricted_ultralytics() -> Iterator[Any]:
    """ultralytics' module `nn.tasks`, imported offline, and within it building networks without `eval`.

    No packages are installed, nothing is sent, settings are kept in the toolkit's own folder instead of the user's.
    """
    settings = {
        "YOLO_OFFLINE": "1",
        "YOLO_AUTOINSTALL": "false",
        "YOLO_VERBOSE": "false",
        "YOLO_CONFIG_DIR": str(models_folder().parent / "ultralytics"),
        "ULTRALYTICS_SAFE_LOAD": "1",
        # Otherwise its import would set it for this process and all its children.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or str(torch.get_num_threads()),
    }
    with _environment(settings):
        from ultralytics.nn import tasks
    # Where the program that uses the toolkit has imported it before, the environment came too late.
    before, tasks.SAFE_LOAD = tasks.SAFE_LOAD, True
    try:
        yield tasks
    finally:
        tasks.SAFE_LOAD = before


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _collect(state: Mapping[str, Any], prefix: str, into: dict[str, Tensor]) -> None:
    """The tensors of a network's pickled state, under the names that `load_state_dict` wants."""
    buffers = dict(state.get("_buffers") or {})
    for name in state.get("_non_persistent_buffers_set") or ():
        buffers.pop(name, None)
    for name, value in {**(state.get("_parameters") or {}), **buffers}.items():
        if isinstance(value, Tensor):
            into[f"{prefix}{name}"] = value.float() if value.is_floating_point() else value
    for name, part in (state.get("_modules") or {}).items():
        inner = part.state if isinstance(part, Inert) else part
        if isinstance(inner, dict):
            _collect(inner, f"{prefix}{name}.", into)


def _architecture(values: Any, name: str, remedy: str) -> dict[str, Any]:
    """The architecture as plain values, checked: only layers of YOLO-World, whose arguments cannot name files."""
    if not isinstance(values, dict) or not _plain(values) or not {"nc", "backbone", "head"} <= set(values):
        raise ModelUnavailable(f"{name} does not say its architecture in plain values", remedy)
    rows = [*values["backbone"], *values["head"]]
    kinds = {row[2] if isinstance(row, list) and len(row) == 4 and isinstance(row[2], str) else "?" for row in rows}
    if kinds - LAYERS or "WorldDetect" not in kinds:
        shown = ", ".join(sorted(kinds - LAYERS)) or "no WorldDetect"
        raise ModelUnavailable(f"{name} is not built as YOLO-World is: {shown}", remedy)
    return {key: value for key, value in values.items() if key != "yaml_file"}


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _plain(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return all(_plain(inner) for inner in value)
    return value is None or isinstance(value, str | int | float | bool)
