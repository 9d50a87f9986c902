"""YOLO-World: its network from a checkpoint that is not trusted, CLIP's features, thresholds, no network, no traces."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_detectors import build_tiny_clip_text

from gas.backends.registry import Registry
from gas.errors import InputRefused, ModelUnavailable, ObjectNotFound, UsageError
from gas.interfaces import GroundJob
from gas.runtime import Runtime
from gas.testing import GrounderContract
from gas.testing.contracts import sample_image
from gas.types import Region

pytest.importorskip("ultralytics", reason="needs the extra yolo")

from gas_grounders import yolo_checkpoint
from gas_grounders.yolo_checkpoint import load_yolo_world, read_checkpoint, restricted_ultralytics
from gas_grounders.yolo_world import YoloWorld, YoloWorldNetwork, YoloWorldOptions

IMAGE = sample_image(96, 64)
ARCHITECTURE: dict[str, Any] = {
    "nc": 4,
    "scale": "n",
    "scales": {"n": [0.1, 0.05, 128]},
    "backbone": [
        [-1, 1, "Conv", [64, 3, 2]],
        [-1, 1, "Conv", [128, 3, 2]],
        [-1, 3, "C2f", [128, True]],
        [-1, 1, "Conv", [256, 3, 2]],
        [-1, 3, "C2f", [256, True]],
        [-1, 1, "Conv", [512, 3, 2]],
        [-1, 1, "SPPF", [512, 5]],
    ],
    "head": [
        [-1, 1, "nn.Upsample", [None, 2, "nearest"]],
        [[-1, 4], 1, "Concat", [1]],
        [-1, 3, "C2fAttn", [256, 128, 4]],
        [-1, 1, "Conv", [256, 3, 2]],
        [[-1, 6], 1, "Concat", [1]],
        [-1, 3, "C2fAttn", [512, 256, 8]],
        [[9, 12], 1, "WorldDetect", ["nc", 512, True]],
    ],
}


@pytest.fixture(scope="module", autouse=True)
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAS_HOME", str(tmp_path_factory.mktemp("gas-home")))
        yield


@pytest.fixture(scope="module")
def network() -> Any:
    """A YOLO-World of ultralytics' own class, a few channels wide, whose scores spread over [0, 1]."""
    with restricted_ultralytics() as tasks, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = tasks.WorldModel(ARCHITECTURE, ch=3, nc=4, verbose=False)
        for name, parameter in network.named_parameters():
            if name.endswith("logit_scale"):
                parameter.data.fill_(1.0)
            elif re.search(r"cv4\.\d\.bias", name):
                parameter.data.fill_(-1.0)
            elif parameter.dim() > 1 and "dfl" not in name:
                # Distances from nearly equal shares: boxes of many sizes that overlap.
                torch.nn.init.normal_(parameter, std=0.01 if re.search(r"cv2\.\d\.2", name) else 0.3)
    return network.eval()


@pytest.fixture(scope="module")
def weights(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network as ultralytics saves it: the whole object in half precision, with settings around it."""
    import copy

    file = tmp_path_factory.mktemp("yolo") / "tiny-worldv2.pt"
    content = {
        "epoch": -1,
        "model": copy.deepcopy(network).half(),
        "ema": None,
        "train_args": {"imgsz": 640},
        "metrics": {"fitness": np.float64(0.5)},
        "path": Path("runs/train"),
    }
    torch.save(content, file)
    return file


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_clip_text(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture
def grounder(weights: Path, clip: Path) -> YoloWorld:
    return detector(weights, clip, always_best=True)


def detector(weights: Path | str, clip: Path | str, **options: Any) -> YoloWorld:
    values = {"model": str(weights), "clip_model": str(clip), "size": 96, **options}
    return YoloWorld(YoloWorldOptions(**values), Runtime(device="cpu"))


def ask(*phrases: str) -> list[Region]:
    return [Region(phrase, subtask=index) for index, phrase in enumerate(phrases)]


class TestYoloWorld(GrounderContract):
    @pytest.fixture
    def grounder(self, weights: Path, clip: Path) -> YoloWorld:
        return detector(weights, clip, always_best=True)


def test_the_listing_shows_the_licence() -> None:
    entry = Registry(plugins="none").find("grounders", "yolo-world")
    assert entry.spec.licence == "AGPL-3.0"
    assert entry.spec.extra == "yolo"


# --- what it finds ----------------------------------------------------------------------------------------------------


def test_scores_and_boxes_are_ultralytics_own(weights: Path, clip: Path, tmp_path: Path) -> None:
    """Against ultralytics' predictor, which is given the same text features, on a picture that needs no scaling."""
    phrases = ["the red box", "green grass"]
    ours = YoloWorldNetwork.load(str(weights), str(clip), Runtime(device="cpu"))
    network = load_yolo_world(str(weights), torch.device("cpu"))
    with restricted_ultralytics():
        from ultralytics.models.yolo.detect.predict import DetectionPredictor
    settings = {"conf": 0.0, "iou": 1.0, "imgsz": 96, "max_det": 300, "rect": True, "save": False, "verbose": False}
    predictor = DetectionPredictor(overrides=settings)
    network.model[-1].nc, network.txt_feats = 2, ours.features(phrases)
    network.names = dict(enumerate(phrases))
    predictor.save_dir = tmp_path
    predictor.setup_model(network, verbose=False)
    image = sample_image(96, 64)[:, :, ::-1]  # ultralytics reads BGR
    (theirs,) = predictor(np.ascontiguousarray(image))
    scores, boxes = ours.detect(IMAGE, phrases, 96)
    for box, score, kind in zip(theirs.boxes.xyxy, theirs.boxes.conf, theirs.boxes.cls, strict=True):
        near = np.abs(np.clip(boxes, 0, [96, 64, 96, 64]) - box.numpy()).max(axis=1) < 0.5
        assert near.any()
        assert np.abs(scores[near][:, int(kind)] - float(score)).min() < 2e-3
    assert len(theirs.boxes) > 10


def test_boxes_are_in_the_pictures_pixels(weights: Path, clip: Path) -> None:
    network = YoloWorldNetwork.load(str(weights), str(clip), Runtime(device="cpu"))
    _, small = network.detect(IMAGE, ["box"], 96)
    _, large = network.detect(IMAGE.repeat(3, axis=0).repeat(3, axis=1), ["box"], 96)
    assert np.abs(large / 3 - small).mean() < 2


def test_threshold(weights: Path, clip: Path) -> None:
    scores, _ = detector(weights, clip)._network().detect(IMAGE, ["red box"], 96)
    best = float(scores.max())
    assert 0.01 < best < 0.99
    detector(weights, clip, score_threshold=best - 0.005).ground(GroundJob(IMAGE, ask("red box")))
    with pytest.raises(ObjectNotFound, match="'red box' was not found") as raised:
        detector(weights, clip, score_threshold=best + 0.005).ground(GroundJob(IMAGE, ask("red box")))
    assert 'options={"yolo-world": {"score_threshold": ' in raised.value.remedy


def test_nms_and_the_n_best(weights: Path, clip: Path) -> None:
    answer = detector(weights, clip, score_threshold=0.0, nms=1.0).ground(GroundJob(IMAGE, ask(*["box"] * 5)))
    scores = [region.score for region in answer]
    assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
    with pytest.raises(ObjectNotFound, match="all other boxes overlap"):
        detector(weights, clip, score_threshold=0.0, nms=0.1).ground(GroundJob(IMAGE, ask(*["box"] * 5)))


def test_size_of_what_the_network_sees(weights: Path, clip: Path) -> None:
    one = detector(weights, clip, always_best=True).ground(GroundJob(IMAGE, ask("box")))
    other = detector(weights, clip, always_best=True, size=192).ground(GroundJob(IMAGE, ask("box")))
    assert one[0].score != other[0].score


def test_always_best(weights: Path, clip: Path) -> None:
    with pytest.raises(ObjectNotFound):
        detector(weights, clip, score_threshold=1.0).ground(GroundJob(IMAGE, ask("box")))
    assert detector(weights, clip, score_threshold=1.0, always_best=True).ground(GroundJob(IMAGE, ask("box")))[0].box


def test_different_numbers_of_phrases_one_after_the_other(grounder: YoloWorld) -> None:
    alone = grounder.ground(GroundJob(IMAGE, ask("the red box")))
    classes = grounder._network().network.model[-1].nc
    grounder.ground(GroundJob(IMAGE, ask("a", "b", "c", "d", "e", "the red box")))
    assert grounder.ground(GroundJob(IMAGE, ask("the red box"))) == alone
    assert grounder._network().network.model[-1].nc == classes == 4, "the shared network is left as it was"


@pytest.mark.parametrize("shape", [(1, 1), (1, 4096), (4096, 1), (3, 2)])
def test_pictures_of_any_shape(grounder: YoloWorld, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 128, np.uint8)
    with contextlib.suppress(ObjectNotFound):  # random boxes may all lie in what was added to a thin picture
        for region in grounder.ground(GroundJob(image, ask("box"))):
            assert region.box is not None
            x0, y0, x1, y1 = region.box
            assert 0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0]


# --- text -------------------------------------------------------------------------------------------------------------


def test_features_are_clips_normalised(weights: Path, clip: Path) -> None:
    from transformers import CLIPModel, CLIPTokenizer

    network = YoloWorldNetwork.load(str(weights), str(clip), Runtime(device="cpu"))
    phrases = ["a red box", "grass"]
    tokens = CLIPTokenizer.from_pretrained(clip)(phrases, padding=True, return_tensors="pt")
    with torch.no_grad():
        whole = CLIPModel.from_pretrained(clip).eval().get_text_features(**tokens).pooler_output
    expected = whole / whole.norm(dim=-1, keepdim=True)
    features = network.features(phrases)
    assert features.shape == (1, 2, 512)
    torch.testing.assert_close(features[0], expected)


def test_clip_may_be_a_bin_file(weights: Path, clip: Path, tmp_path: Path, grounder: YoloWorld) -> None:
    pickled = build_tiny_clip_text(tmp_path / "bin", safe=False)
    answer = detector(weights, pickled, always_best=True).ground(GroundJob(IMAGE, ask("the red box")))
    assert answer[0].score == pytest.approx(grounder.ground(GroundJob(IMAGE, ask("the red box")))[0].score, abs=1e-5)


def test_a_program_in_clips_bin_file_is_not_run(weights: Path, clip: Path, tmp_path: Path) -> None:
    marker, folder = tmp_path / "marker", Path(shutil.copytree(clip, tmp_path / "clip"))
    (folder / "model.safetensors").unlink()
    torch.save({"x": Evil(marker)}, folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable):
        detector(weights, folder).ground(GroundJob(IMAGE, ask("the red box")))
    assert not marker.exists()


def test_another_clip_gives_other_scores(weights: Path, grounder: YoloWorld, tmp_path: Path) -> None:
    other = build_tiny_clip_text(tmp_path / "other", seed=1)
    answer = detector(weights, other, always_best=True).ground(GroundJob(IMAGE, ask("the red box")))
    assert answer[0].score != grounder.ground(GroundJob(IMAGE, ask("the red box")))[0].score


def test_a_phrase_that_clip_would_cut_is_refused(grounder: YoloWorld) -> None:
    grounder.ground(GroundJob(IMAGE, ask("x" * 75)))
    with pytest.raises(InputRefused, match="has 76 tokens, the text encoder reads 75"):
        grounder.ground(GroundJob(IMAGE, ask("box", "x" * 76)))


# --- checkpoints ------------------------------------------------------------------------------------------------------


class Evil:
    """Makes a marker when it is unpickled without care."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.marker),))


class Calls:
    """Calls `function` when it is unpickled without care."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def test_network_is_rebuilt_as_it_was(network: Any, weights: Path) -> None:
    """Half precision is all that is lost."""
    again = load_yolo_world(str(weights), torch.device("cpu"))
    assert type(again) is type(network)
    assert not again.training and not any(parameter.requires_grad for parameter in again.parameters())
    ours, theirs = again.state_dict(), network.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name].half().to(value.dtype)), name
    features = torch.nn.functional.normalize(torch.randn(1, 4, 512, generator=torch.Generator().manual_seed(0)), dim=-1)
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    again.model[-1].nc = network.model[-1].nc = 4
    with torch.no_grad():
        one, other = again(pixels, txt_feats=features)[0], network(pixels, txt_feats=features)[0]
    torch.testing.assert_close(one[:, 4:], other[:, 4:], atol=0.02, rtol=0)


@pytest.mark.parametrize("place", ["beside", "instead", "inside"])
def test_a_program_in_a_checkpoint_is_not_run(network: Any, clip: Path, tmp_path: Path, place: str) -> None:
    marker, file = tmp_path / "marker", tmp_path / "evil.pt"
    evil = Evil(marker)
    content: Any = {"model": network, "hook": evil} if place == "beside" else evil
    if place == "inside":
        network.hook = evil
        content = {"model": network}
    torch.save(content, file)
    if place == "inside":
        del network.hook
    with pytest.raises(ModelUnavailable, match=r"refers to posix.mkdir|refers to nt.mkdir") as raised:
        detector(file, clip).ground(GroundJob(IMAGE, ask("box")))
    assert raised.value.exit_code == 6
    assert not marker.exists()
    torch.load(file, weights_only=False)
    assert marker.exists(), "the file is harmless, and the test could not fail"


def test_a_bare_pickle_is_refused(clip: Path, tmp_path: Path) -> None:
    marker, file = tmp_path / "marker", tmp_path / "evil.pt"
    file.write_bytes(pickle.dumps(Evil(marker)))
    with pytest.raises(ModelUnavailable, match="not a checkpoint of ultralytics"):
        detector(file, clip).ground(GroundJob(IMAGE, ask("box")))
    torch.save(Evil(marker), file, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelUnavailable, match="not a checkpoint of ultralytics"):
        detector(file, clip).ground(GroundJob(IMAGE, ask("box")))
    assert not marker.exists()


@pytest.mark.seeded
def test_classes_that_look_familiar_are_not_called_either(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ultralytics' own safe mode calls this one, which then asks the network for a file."""
    from ultralytics.nn.modules.block import TorchVision
    from ultralytics.nn.tasks import torch_safe_load

    asked: list[Any] = []

    def refuse(*arguments: Any, **named: Any) -> None:
        asked.append(arguments)
        raise OSError("no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "evil.pt"
    torch.save({"model": Calls(TorchVision, "resnet18", "DEFAULT")}, file)
    with pytest.raises(ModelUnavailable, match=r"holds ultralytics\.nn\.modules\.block\.TorchVision, not a YOLO-World"):
        detector(file, clip).ground(GroundJob(IMAGE, ask("box")))
    assert asked == []
    with pytest.raises(Exception):  # noqa: B017 (whatever ultralytics makes of it)
        torch_safe_load(str(file), safe_only=True)
    assert asked, "the reason for not using it is gone"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head": [[-1, 1, "TorchVision", [64, "resnet18"]], *ARCHITECTURE["head"]]}, "built as YOLO-World is: TorchV"),
        ({"head": ARCHITECTURE["head"][:-1]}, "no WorldDetect"),
        ({"head": [*ARCHITECTURE["head"], [1, 2]]}, "not built as YOLO-World"),
        ({"activation": "__import__('os').mkdir('marker')"}, "cannot be loaded"),
        ({"scales": None, "depth_multiple": 0.1, "width_multiple": 0.2}, "cannot be loaded"),
        ({"backbone": {"x": torch.zeros(1)}}, "plain values"),
    ],
)
def test_architectures_that_are_something_else(
    network: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "other.pt"
    before, network.yaml = network.yaml, {**network.yaml, **change}
    try:
        torch.save({"model": network}, file)
    finally:
        network.yaml = before
    with pytest.raises(ModelUnavailable, match=re.escape(message)):
        detector(file, clip).ground(GroundJob(IMAGE, ask("box")))
    assert not (tmp_path / "marker").exists()


@pytest.mark.seeded
def test_other_files_are_refused(network: Any, clip: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.pt"
    for content, message in [
        ({"model": network.state_dict()}, "holds no network"),
        (torch.zeros(3), "holds no network"),
        ({"model": torch.nn.Linear(2, 2)}, "holds torch.nn.modules.linear.Linear"),
    ]:
        torch.save(content, file)
        with pytest.raises(ModelUnavailable, match=re.escape(message)):
            detector(file, clip).ground(GroundJob(IMAGE, ask("box")))
    file.write_bytes(b"")
    with pytest.raises(ModelUnavailable, match="not a checkpoint"):
        detector(file, clip).ground(GroundJob(IMAGE, ask("box")))
    with pytest.raises(ModelUnavailable, match="not there"):
        detector(tmp_path / "none.pt", clip).ground(GroundJob(IMAGE, ask("box")))
    with pytest.raises(UsageError, match="no weights of its own") as raised:
        detector("", clip).ground(GroundJob(IMAGE, ask("box")))
    assert 'options={"yolo-world": {"model": "FILE"}}' in raised.value.remedy


def test_the_allow_list_of_torch_is_left_as_it_was(weights: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(weights, "x")
    assert set(torch.serialization.get_safe_globals()) == before


# --- what ultralytics does on its own ---------------------------------------------------------------------------------


def test_import_asks_nobody_installs_nothing_and_keeps_to_its_folder(weights: Path, clip: Path, tmp_path: Path) -> None:
    """In a new process with a home of its own, whose every connection and every new process is refused."""
    home, place = tmp_path / "home", tmp_path / "gas"
    home.mkdir()
    script = f"""
import os, socket, subprocess, sys
def refuse(*arguments, **named):
    print("REFUSED", arguments, file=sys.stderr)
    raise OSError("refused")
socket.socket.connect = socket.getaddrinfo = refuse
subprocess.run = subprocess.check_output = os.system = refuse
before = dict(os.environ)
import numpy as np
from gas.interfaces import GroundJob
from gas.runtime import Runtime
from gas.types import Region
from gas_grounders.yolo_world import YoloWorld, YoloWorldOptions
options = YoloWorldOptions(model={str(weights)!r}, clip_model={str(clip)!r}, size=96, always_best=True)
grounder = YoloWorld(options, Runtime(device="cpu"))
job = GroundJob(np.zeros((64, 96, 3), np.uint8), [Region("box", subtask=0)])
assert grounder.ground(job)[0].box
from ultralytics import utils
from ultralytics.utils.events import events
assert not utils.ONLINE and not utils.AUTOINSTALL and utils.SAFE_LOAD and not events.enabled
assert str(utils.SETTINGS_FILE).startswith({str(place)!r})
changed = {{name for name in os.environ if name.startswith(("YOLO", "ULTRALYTICS", "OMP")) and name not in before}}
assert not changed, changed
"""
    environment = {**os.environ, "HOME": str(home), "GAS_HOME": str(place), "MPLCONFIGDIR": str(tmp_path / "mpl")}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}  # as the command line does
    for name in ("YOLO_CONFIG_DIR", "YOLO_OFFLINE", "XDG_CONFIG_HOME", "OMP_NUM_THREADS", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "REFUSED" not in done.stderr
    assert done.stdout == "" and done.stderr == ""
    assert list(home.iterdir()) == []


def test_layers_are_those_of_the_published_networks() -> None:
    from ultralytics.utils import ROOT, YAML

    used = set()
    for file in ("yolov8-world.yaml", "yolov8-worldv2.yaml"):
        settings = YAML.load(ROOT / "cfg" / "models" / "v8" / file)
        used |= {row[2] for row in settings["backbone"] + settings["head"]}
    assert used == set(yolo_checkpoint.LAYERS)


def test_networks_are_built_without_eval_even_if_the_host_imported_ultralytics_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ultralytics.nn import tasks

    monkeypatch.setattr(tasks, "SAFE_LOAD", False)
    assert not tasks._SafeLoad.restricted()
    with restricted_ultralytics() as inside:
        assert inside._SafeLoad.restricted()
    assert not tasks._SafeLoad.restricted()
