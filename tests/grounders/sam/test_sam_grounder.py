"""The segmenter `sam` with tiny random networks: both loaders, their agreement, the choice of masks, whole pictures."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from gas import Region, Runtime
from gas.backends.registry import Registry
from gas.errors import InputRefused, Interrupted, ModelUnavailable, ObjectNotFound, ResultRefused
from gas.interfaces import GroundJob, Step, Watch
from gas.models.manifest import resolve_model
from gas.testing.contracts import GrounderContract
from gas_diorama.shipped import shipped
from gas_diorama.world.drawing import mask, render
from gas_grounders.sam import transformers as sam_transformers
from gas_grounders.sam.grounder import EmbeddingCache, Sam, Sam2, choose
from gas_grounders.sam.network import Embedding, Sam2Options, SamOptions
from gas_grounders.sam.original import OriginalSam
from gas_grounders.sam.segments import grid, suppress, without_small
from gas_grounders.sam.transformers import TransformersSam

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


SIDE = 64
ALL = {"iou_threshold": 0.0, "stability_threshold": 0.0, "points_per_side": 4}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def _tiny() -> SamModel:
    config = SamConfig(
        vision_config={
            "hidden_size": 16,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": SIDE,
            "patch_size": 8,
            "window_size": 3,
            "global_attn_indexes": [1],
            "num_pos_feats": 8,
            "initializer_range": 0.02,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 8},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 24,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
            "layer_norm_eps": 1e-5,
        },
    )
    torch.manual_seed(3)
    network = SamModel(config)
    _randomise(network)
    with torch.no_grad():
        network.mask_decoder.iou_prediction_head.proj_out.weight.mul_(0.2)
        network.mask_decoder.iou_prediction_head.proj_out.bias.fill_(0.5)
    return network


def _randomise(network: torch.nn.Module) -> None:
    """Weights that let prompts and pictures change the masks, which transformers' small ones hardly do."""
    with torch.no_grad():
        for name, value in network.named_parameters():
            tokens = "embed" in name or "token" in name or value.ndim < 2
            noise = torch.randn_like(value)
            value.copy_(noise if tokens else noise * 2 / value[0].numel() ** 0.5)
            if "norm" in name and name.endswith("weight"):
                value.abs_()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Sam as transformers saves it."""
    path = tmp_path_factory.mktemp("sam")
    _tiny().save_pretrained(path)
    SamImageProcessorPil(
        size={"longest_edge": SIDE},
        pad_size={"height": SIDE, "width": SIDE},
        mask_size={"longest_edge": 32},
        mask_pad_size={"height": 32, "width": 32},
    ).save_pretrained(path)
    return path


_RENAMED = (
    ("vision_encoder.patch_embed.projection.", "image_encoder.patch_embed.proj."),
    ("vision_encoder.layers.", "image_encoder.blocks."),
    ("vision_encoder.neck.conv1.", "image_encoder.neck.0."),
    ("vision_encoder.neck.layer_norm1.", "image_encoder.neck.1."),
    ("vision_encoder.neck.conv2.", "image_encoder.neck.2."),
    ("vision_encoder.neck.layer_norm2.", "image_encoder.neck.3."),
    ("vision_encoder.", "image_encoder."),
    ("prompt_encoder.mask_embed.conv1.", "prompt_encoder.mask_downscaling.0."),
    ("prompt_encoder.mask_embed.layer_norm1.", "prompt_encoder.mask_downscaling.1."),
    ("prompt_encoder.mask_embed.conv2.", "prompt_encoder.mask_downscaling.3."),
    ("prompt_encoder.mask_embed.layer_norm2.", "prompt_encoder.mask_downscaling.4."),
    ("prompt_encoder.mask_embed.conv3.", "prompt_encoder.mask_downscaling.6."),
    ("prompt_encoder.point_embed.", "prompt_encoder.point_embeddings."),
    ("mask_decoder.upscale_conv1.", "mask_decoder.output_upscaling.0."),
    ("mask_decoder.upscale_layer_norm.", "mask_decoder.output_upscaling.1."),
    ("mask_decoder.upscale_conv2.", "mask_decoder.output_upscaling.3."),
    ("layer_norm_final_attn.", "norm_final_attn."),
    (".layer_norm", ".norm"),
)


def original_names(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights of transformers' SamModel under the names of segment_anything.modeling.Sam."""
    renamed: dict[str, torch.Tensor] = {}
    for name, value in state.items():
        if name == "shared_image_embedding.positional_embedding":
            renamed["prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"] = value
            continue
        if name == "prompt_encoder.shared_embedding.positional_embedding":
            continue
        for old, new in _RENAMED:
            name = name.replace(old, new)
        if "mlps." in name or "iou_prediction_head." in name:
            start, _, rest = name.rpartition(".")
            stem, _, last = start.partition(".layers.")
            if last:
                start = f"{stem}.layers.{int(last) + 1}"
            name = start.replace(".proj_in", ".layers.0").replace(".proj_out", ".layers.2") + "." + rest
        renamed[name] = value.float()
    return renamed


@pytest.fixture(scope="module")
def checkpoint(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same weights as a checkpoint of the original authors."""
    path = tmp_path_factory.mktemp("original") / "sam.pth"
    torch.save(original_names(SamModel.from_pretrained(folder).state_dict()), path)
    return path


@pytest.fixture
def picture() -> np.ndarray:
    """A picture with a red box on grass, wider than high."""
    picture = np.full((48, 80, 3), (90, 160, 60), np.uint8)
    picture[:20] = (120, 180, 240)
    picture[15:35, 20:50] = (200, 30, 30)
    return picture


def _sam(model: Path | str, runtime: Runtime | None = None, **options: Any) -> Sam:
    if str(model).endswith(".pth"):
        options = {"decoder_heads": 2, **options}
    return Sam(SamOptions(model=str(model), **options), runtime or Runtime(device="cpu", dtype="fp32"))


BOX = (20.0, 15.0, 50.0, 35.0)


class _Contract(GrounderContract):
    @pytest.fixture
    def regions(self) -> list[Region]:
        return [
            Region("the red box", (3.0, 4.0, 30.0, 20.0), subtask=0),
            Region("grass", (0.0, 5.0, 20.0, 30.0), subtask=1),
        ]


class TestTransformers(_Contract):
    @pytest.fixture
    def grounder(self, folder: Path) -> Sam:
        return _sam(folder, **ALL)


class TestOriginal(_Contract):
    @pytest.fixture
    def grounder(self, checkpoint: Path) -> Sam:
        return _sam(checkpoint, **ALL)


# --- masks for boxes --------------------------------------------------------------------------------------------------


def test_a_box_gets_a_mask_at_native_size_and_stays(folder: Path, picture: np.ndarray) -> None:
    (found,) = _sam(folder).ground(GroundJob(picture, [Region("box", BOX, score=0.4, subtask=2)]))
    assert (found.box, found.score, found.subtask) == (BOX, 0.4, 2)
    assert found.mask is not None and found.mask.dtype == np.float32 and found.mask.shape == (48, 80)
    assert set(np.unique(found.mask)) == {0, 1}


def test_a_region_without_a_score_gets_the_expected_iou(folder: Path, picture: np.ndarray) -> None:
    (found,) = _sam(folder).ground(GroundJob(picture, [Region("box", BOX)]))
    assert found.score is not None and 0 < found.score <= 1


def test_both_loaders_agree(folder: Path, checkpoint: Path, picture: np.ndarray) -> None:
    runtime = Runtime(device="cpu", dtype="fp32")
    one, other = TransformersSam.load(str(folder), runtime), OriginalSam.load(str(checkpoint), 2, runtime)
    a, b = one.encode(picture), other.encode(picture)
    torch.testing.assert_close(a.features[0], b.features[0], atol=1e-4, rtol=0)
    boxes = np.array([BOX, (0, 20, 80, 48)])
    points = np.array([(30.0, 20.0), (5.0, 40.0)])
    for several in (False, True):
        for asked in ((boxes, None), (None, points), (boxes, points)):
            logits, quality = one.predict(a, *asked, several)
            theirs, their_quality = other.predict(b, *asked, several)
            assert logits.shape == theirs.shape == (2, 3 if several else 1, 48, 80)
            torch.testing.assert_close(logits, theirs, atol=1e-4, rtol=0)
            torch.testing.assert_close(quality, their_quality, atol=1e-4, rtol=0)
    assert logits.abs().max() > 0.1


def test_choices_differ_on_a_network(folder: Path, picture: np.ndarray) -> None:
    areas = {
        how: _sam(folder, choose=how).ground(GroundJob(picture, [Region("box", BOX)]))[0].mask.sum()
        for how in ("single", "iou", "fit", "smallest", "largest")
    }
    assert areas["smallest"] < areas["largest"]
    assert areas["single"] not in (areas["smallest"], areas["largest"])


def test_choose() -> None:
    masks = np.zeros((4, 10, 10), bool)
    masks[0, 1:9, 1:9] = True
    masks[1, 2:6, 2:6] = True
    masks[2, 4:5, 4:5] = True
    scores, box = np.array([0.5, 0.4, 0.6, 0.9]), np.array([2, 2, 7, 7])
    assert [choose(masks, scores, box, how) for how in ("iou", "fit", "smallest", "largest")] == [2, 1, 2, 0]
    assert choose(np.zeros((3, 4, 4), bool), np.array([0.1, 0.3, 0.2]), box, "fit") == 1


def test_a_rough_mask_is_refined_and_gives_the_box_when_there_is_none(folder: Path, picture: np.ndarray) -> None:
    drawn = np.zeros((48, 80), np.float32)
    drawn[15:35, 20:50] = 0.7
    asked = [Region("heat", mask=drawn), Region("heat", BOX, mask=drawn), Region("box", BOX)]
    alone, both, boxed = _sam(folder).ground(GroundJob(picture, asked))
    assert alone.box == both.box == BOX
    np.testing.assert_array_equal(alone.mask, boxed.mask)
    np.testing.assert_array_equal(both.mask, boxed.mask)


def test_given_regions_stay_and_need_no_model(picture: np.ndarray) -> None:
    given = Region("drawn", BOX, given=True)
    assert _sam("owner/none").ground(GroundJob(picture, [given])) == [given]


def test_a_region_without_a_place_asks_for_a_detector(folder: Path, picture: np.ndarray) -> None:
    with pytest.raises(ObjectNotFound, match="'a boat'") as raised:
        _sam(folder).ground(GroundJob(picture, [Region("a boat")]))
    assert 'grounders=("grounding-dino", "sam")' in raised.value.remedy
    with pytest.raises(ObjectNotFound):
        _sam(folder).ground(GroundJob(picture, [Region("a boat", mask=np.zeros((48, 80), np.float32))]))


@pytest.mark.parametrize("box", [(50.0, 10.0, 20.0, 30.0), (200.0, 0.0, 220.0, 9.0), (float("nan"), 0.0, 9.0, 9.0)])
def test_boxes_that_cannot_be_are_refused(folder: Path, picture: np.ndarray, box: Any) -> None:
    with pytest.raises(InputRefused, match="'odd'"):
        _sam(folder).ground(GroundJob(picture, [Region("odd", box)]))


def test_many_boxes_are_asked_in_parts(folder: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    from gas_grounders.sam import grounder as sam

    boxes = [Region(str(i), (float(i), 5.0, 30.0 + i, 40.0)) for i in range(5)]
    whole = _sam(folder).ground(GroundJob(picture, boxes))
    calls = []
    predict = TransformersSam.predict

    def counted(self: Any, embedding: Embedding, *rest: Any) -> Any:
        calls.append(len(rest[0]))
        return predict(self, embedding, *rest)

    monkeypatch.setattr(TransformersSam, "predict", counted)
    monkeypatch.setattr(sam, "LOGITS_AT_ONCE", 2 * 48 * 80)
    parts = _sam(folder).ground(GroundJob(picture, boxes))
    assert calls == [2, 2, 1]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a.mask, b.mask)


class Scripted:
    """A network that answers with given logits."""

    def __init__(self, logits: np.ndarray, quality: float = 0.9) -> None:
        self.logits, self.quality = logits, quality

    def encode(self, image: np.ndarray) -> Embedding:
        return Embedding(None, image.shape[:2])

    def predict(self, embedding: Embedding, boxes: Any, points: Any, several: bool) -> Any:
        n = len(boxes)
        return torch.tensor(self.logits).expand(n, 1, *embedding.size), torch.full((n, 1), self.quality)


def _scripted(logits: np.ndarray, monkeypatch: pytest.MonkeyPatch, quality: float = 0.9) -> Sam:
    monkeypatch.setattr(Sam, "_network", lambda self: Scripted(logits, quality))
    return _sam("owner/scripted")


def test_an_empty_mask_becomes_the_box_with_a_warning(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = np.full((48, 80), -1.0, np.float32)
    for logits in (outside.copy(), np.where(np.arange(80) > 60, 1.0, outside).astype(np.float32)):
        with pytest.warns(UserWarning, match="found nothing in the box of 'cat'"):
            (found,) = _scripted(logits, monkeypatch).ground(GroundJob(picture, [Region("cat", BOX)]))
        assert found.mask is not None and found.mask.sum() == 30 * 20
        assert found.mask[15:35, 20:50].all() and found.score == 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_masks_that_are_not_finite_are_named(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, bad: float) -> None:
    with pytest.raises(ResultRefused, match="owner/scripted"):
        _scripted(np.full((48, 80), bad, np.float32), monkeypatch).ground(GroundJob(picture, [Region("cat", BOX)]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 7)])
def test_thin_pictures(folder: Path, checkpoint: Path, shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 128, np.uint8)
    for model in (folder, checkpoint):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            (found,) = _sam(model).ground(
                GroundJob(picture, [Region("thing", (0.0, 0.0, float(shape[1]), float(shape[0])))])
            )
        assert found.mask is not None and found.mask.shape == shape and found.mask.any()
        assert all(one.mask.shape == shape for one in _sam(model, **ALL).ground(GroundJob(picture)))


def test_bf16_reaches_the_encoder_only(folder: Path, checkpoint: Path, picture: np.ndarray) -> None:
    for load in (lambda r: TransformersSam.load(str(folder), r), lambda r: OriginalSam.load(str(checkpoint), 2, r)):
        exact, rough = (load(Runtime(device="cpu", dtype=dtype)) for dtype in ("fp32", "bf16"))
        a, b = exact.encode(picture).features[0], rough.encode(picture).features[0]
        assert b.dtype == torch.float32 and not torch.equal(a, b)
        torch.testing.assert_close(a, b, atol=0.2, rtol=0.1)


# --- one embedding per picture ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("loader", ["transformers", "original"])
def test_a_picture_is_encoded_once(
    folder: Path, checkpoint: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, loader: str
) -> None:
    kind, model = (TransformersSam, folder) if loader == "transformers" else (OriginalSam, checkpoint)
    runtime, calls, encode = Runtime(device="cpu", dtype="fp32"), [], kind.encode

    def counted(self: Any, image: np.ndarray) -> Embedding:
        calls.append(image.shape)
        return encode(self, image)

    monkeypatch.setattr(kind, "encode", counted)
    first = _sam(model, runtime)
    first.ground(GroundJob(picture, [Region("a", BOX), Region("b", BOX)]))
    # The encoder itself is counted too: the authors' generator must not run it behind our back.
    encoder = getattr(first._network().network, "vision_encoder", None) or first._network().network.image_encoder
    handle = encoder.register_forward_hook(lambda *_: calls.append("encoder"))
    first.ground(GroundJob(picture.copy(), [Region("a", BOX)]))
    _sam(model, runtime, choose="iou").ground(GroundJob(picture, [Region("a", BOX)]))
    _sam(model, runtime, **ALL).ground(GroundJob(picture))
    assert calls == [(48, 80, 3)]
    other = picture.copy()
    other[0, 0] += 1
    first.ground(GroundJob(other, [Region("a", BOX)]))
    handle.remove()
    assert calls == [(48, 80, 3), (48, 80, 3), "encoder"]


def test_the_cache_is_bounded() -> None:
    cache, made = EmbeddingCache(limit=2), []

    def make(name: str) -> Embedding:
        made.append(name)
        return Embedding(name, (1, 1))

    for name in ("a", "b", "a", "c", "a", "b"):
        assert cache.get((name,), lambda name=name: make(name)).features == name
    assert made == ["a", "b", "c", "b"]


# --- whole pictures, with the diorama's trained network: a random one answers every point alike -----------------------

TRAINED = "package:gas_diorama/weights/sam"
DEMO = {"points_per_side": 8, "iou_threshold": 0.5, "stability_threshold": 0.5}


@pytest.fixture(scope="module")
def demo() -> np.ndarray:
    """The diorama's demo picture: a car and a balloon on grass."""
    scene = next(one.scene for one in shipped() if one.name == "demo")
    return render(scene)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The diorama's network as a checkpoint of the original authors."""
    path = tmp_path_factory.mktemp("trained") / "sam.pth"
    torch.save(original_names(SamModel.from_pretrained(resolve_model(TRAINED).location).state_dict()), path)
    return path


def _trained(model: Path | str, **options: Any) -> Sam:
    return _sam(model, **({"decoder_heads": 4} if model != TRAINED else {}), **options)


@pytest.mark.parametrize(
    "options",
    [
        DEMO,
        DEMO | {"points_per_side": 5, "nms": 0.3},
        DEMO | {"iou_threshold": 0.9},
        DEMO | {"stability_threshold": 0.9, "stability_offset": 0.3, "mask_threshold": 0.2},
        DEMO | {"smallest_area": 300, "stability_threshold": 0.0, "iou_threshold": 0.0, "points_per_side": 4},
    ],
)
def test_segments_are_those_of_the_authors_generator(trained: Path, demo: np.ndarray, options: dict[str, Any]) -> None:
    ours, theirs = (
        _trained(TRAINED, **options).ground(GroundJob(demo)),
        _trained(trained, **options).ground(GroundJob(demo)),
    )
    assert len(ours) == len(theirs) >= 2
    for a, b in zip(ours, theirs, strict=True):
        assert a.mask is not None and (a.mask != b.mask).mean() < 0.002
        assert a.score == pytest.approx(b.score, abs=1e-4)


def test_trained_weights_answer_alike_in_both_loaders(trained: Path, demo: np.ndarray) -> None:
    runtime = Runtime(device="cpu", dtype="fp32")
    one, other = TransformersSam.load(TRAINED, runtime), OriginalSam.load(str(trained), 4, runtime)
    boxes = np.array([(12.0, 60.0, 72.0, 114.0), (0.0, 68.0, 128.0, 128.0)])
    logits, quality = one.predict(one.encode(demo), boxes, None, True)
    theirs, their_quality = other.predict(other.encode(demo), boxes, None, True)
    torch.testing.assert_close(logits, theirs, atol=1e-4, rtol=0)
    torch.testing.assert_close(quality, their_quality, atol=1e-4, rtol=0)
    assert logits.max() > 2


@pytest.mark.parametrize("options", [{"prompt": "point"}, {"prompt": "both"}, {"mask_threshold": 1.0}])
def test_options_change_the_mask(demo: np.ndarray, options: dict[str, Any]) -> None:
    region = [Region("car", (10.0, 60.0, 70.0, 114.0))]
    plain, changed = (_trained(TRAINED, **chosen).ground(GroundJob(demo, region))[0] for chosen in ({}, options))
    assert plain.mask is not None and plain.mask.any() and not np.array_equal(plain.mask, changed.mask)


def test_segments_come_largest_first_with_tight_boxes(demo: np.ndarray) -> None:
    found = _trained(TRAINED, **DEMO).ground(GroundJob(demo))
    areas = [float(region.mask.sum()) for region in found]
    assert areas == sorted(areas, reverse=True) and areas[-1] >= 1
    x0, y0, x1, y1 = (int(v) for v in found[-1].box)
    mask = found[-1].mask
    assert mask[y0:y1, x0:x1].sum() == areas[-1] and mask[y0].any() and mask[:, x1 - 1].any()
    assert [region.phrase for region in found[:2]] == ["segment 1", "segment 2"]
    assert all(region.subtask is None and region.mask.dtype == np.float32 for region in found)


@pytest.mark.parametrize("loader", ["transformers", "original"])
@pytest.mark.parametrize(
    "options",
    [
        {"points_per_side": 1},
        {"iou_threshold": 0.95},
        {"stability_threshold": 0.95},
        {"stability_offset": 0.1},
        {"nms": 0.05},
        {"smallest_area": 3000},
        {"mask_threshold": 1.0},
    ],
)
def test_each_option_of_whole_pictures_changes_them(
    trained: Path, demo: np.ndarray, loader: str, options: dict[str, Any]
) -> None:
    model = TRAINED if loader == "transformers" else trained
    base = DEMO | {"points_per_side": 4}
    plain, changed = (_trained(model, **chosen).ground(GroundJob(demo)) for chosen in (base, base | options))
    assert [r.mask.tobytes() for r in plain] != [r.mask.tobytes() for r in changed]


def test_nothing_steady_gives_no_segments(demo: np.ndarray) -> None:
    assert _trained(TRAINED, stability_threshold=1.0, points_per_side=2).ground(GroundJob(demo)) == []


def test_the_grid_is_the_authors() -> None:
    from segment_anything.utils.amg import build_point_grid

    for side in (1, 2, 5, 32):
        np.testing.assert_allclose(grid(side), build_point_grid(side), atol=1e-12)


def test_suppress_is_torchvisions() -> None:
    from torchvision.ops import nms

    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (80, 2))
    boxes, scores = np.hstack([corners, corners + rng.uniform(5, 40, (80, 2))]), rng.uniform(size=80)
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5).tolist()
    assert suppress(list(boxes), list(scores), 0.5) == expected and 5 < len(expected) < 80
    assert suppress([], [], 0.5) == []


def test_without_small_is_the_authors() -> None:
    from segment_anything.utils.amg import remove_small_regions

    rng = np.random.default_rng(1)
    for density in (0.0, 0.02, 0.3, 0.6, 0.97, 1.0):
        for area in (1, 4, 30, 5000):
            mask = rng.random((24, 31)) < density
            theirs, _ = remove_small_regions(mask, area, "holes")
            theirs, _ = remove_small_regions(np.asarray(theirs, bool), area, "islands")
            np.testing.assert_array_equal(without_small(mask, area), np.asarray(theirs, bool))


# --- models -----------------------------------------------------------------------------------------------------------


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_a_malicious_checkpoint_leaves_no_marker(tmp_path: Path, picture: np.ndarray, form: str) -> None:
    marker, path = tmp_path / "marker", tmp_path / "sam_vit_b.pth"
    if form == "torch":
        torch.save({"image_encoder.pos_embed": Trap(marker)}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(marker)))
    with pytest.raises(ModelUnavailable) as raised:
        _sam(path).ground(GroundJob(picture, [Region("cat", BOX)]))
    assert raised.value.exit_code == 6 and "more than tensors" in raised.value.message
    assert not marker.exists()
    torch.load(path, weights_only=False) if form == "torch" else pickle.loads(path.read_bytes())
    assert marker.exists(), "the trap must be one"


@pytest.mark.parametrize("spoil", ["other", "missing", "shape", "heads", "list", "bytes"])
def test_other_checkpoints_are_named(checkpoint: Path, tmp_path: Path, picture: np.ndarray, spoil: str) -> None:
    weights: Any = torch.load(checkpoint, weights_only=True)
    options: dict[str, Any] = {}
    if spoil == "other":
        weights = {"model": weights}
    elif spoil == "missing":
        del weights["mask_decoder.iou_token.weight"]
    elif spoil == "shape":
        weights["image_encoder.neck.2.weight"] = torch.zeros(3, 3)
    elif spoil == "heads":
        options["decoder_heads"] = 7
    elif spoil == "list":
        weights = [1, 2]
    path = tmp_path / "broken.pth"
    torch.save(weights, path)
    if spoil == "bytes":
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelUnavailable, match=r"broken\.pth"):
        _sam(path, **options).ground(GroundJob(picture, [Region("cat", BOX)]))


def test_published_architectures_are_found_from_their_shapes() -> None:
    from segment_anything import sam_model_registry

    from gas_grounders.sam.original import build

    with torch.device("meta"):
        theirs = sam_model_registry["vit_b"]()
        ours = build(theirs.state_dict(), 8)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    windows = [block.window_size for block in theirs.image_encoder.blocks]
    assert [block.window_size for block in ours.image_encoder.blocks] == windows
    assert ours.image_encoder.blocks[0].attn.num_heads == theirs.image_encoder.blocks[0].attn.num_heads
    assert ours.image_encoder.img_size == 1024


def test_other_kinds_of_folders_are_named(folder: Path, tmp_path: Path, picture: np.ndarray) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "owlv2"}')
    with pytest.raises(ModelUnavailable, match="owlv2"):
        _sam(tmp_path).ground(GroundJob(picture, [Region("cat", BOX)]))


def test_offline_without_a_cache(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(ModelUnavailable, match="has not been downloaded"):
        _sam("owner/absent", Runtime(device="cpu", offline=True)).ground(GroundJob(picture, [Region("cat", BOX)]))


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Sam 2."""
    from transformers import Sam2ImageProcessor

    path = tmp_path_factory.mktemp("sam2")
    config = Sam2Config(
        vision_config={
            "backbone_config": {
                "model_type": "sam2_hiera_det_model",
                "hidden_size": 8,
                "num_attention_heads": 1,
                "image_size": [SIDE, SIDE],
                "blocks_per_stage": [1, 1, 2, 1],
                "embed_dim_per_stage": [8, 16, 32, 64],
                "num_attention_heads_per_stage": [1, 1, 1, 1],
                "window_size_per_stage": [4, 4, 4, 4],
                "global_attention_blocks": [3],
                "window_positional_embedding_background_size": [4, 4],
            },
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": SIDE, "patch_size": 16},
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 24,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    torch.manual_seed(5)
    network = Sam2Model(config)
    _randomise(network)
    network.save_pretrained(path)
    Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}, mask_size={"height": 16, "width": 16}).save_pretrained(
        path
    )
    return path


def test_sam2(second: Path, picture: np.ndarray) -> None:
    (found,) = _sam(second, choose="largest").ground(GroundJob(picture, [Region("box", BOX)]))
    assert found.mask is not None and found.mask.shape == (48, 80) and found.mask.any()
    assert _sam(second, **ALL).ground(GroundJob(picture))
    network = TransformersSam.load(str(second), Runtime(device="cpu", dtype="fp32"))
    logits, quality = network.predict(network.encode(picture), np.array([BOX]), None, True)
    scale = np.array([SIDE / 80, SIDE / 48] * 2)
    pixels = network.processor(images=picture, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        theirs = network.network(pixel_values=pixels, input_boxes=torch.tensor(BOX * scale).float()[None, None])
    native = torch.nn.functional.interpolate(theirs.pred_masks[0], (48, 80), mode="bilinear")
    torch.testing.assert_close(logits, native, atol=1e-4, rtol=0)
    torch.testing.assert_close(quality, theirs.iou_scores[0], atol=1e-4, rtol=0)


def test_sam2_has_a_name_and_a_model_of_its_own(second: Path, picture: np.ndarray) -> None:
    assert Registry(plugins="none").load("grounders", "sam2") is Sam2
    assert "sam2" in Sam2Options().model and Sam2Options.model_fields.keys() == SamOptions.model_fields.keys()
    named = Sam2(Sam2Options(model=str(second), choose="largest"), Runtime(device="cpu", dtype="fp32"))
    (found,), (same,) = (
        one.ground(GroundJob(picture, [Region("box", BOX)])) for one in (named, _sam(second, choose="largest"))
    )
    assert found.mask is not None and same.mask is not None and np.array_equal(found.mask, same.mask)
    with pytest.raises(ObjectNotFound, match="and sam2 does not look for words"):
        named.ground(GroundJob(picture, [Region("box")]))


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Sam 3 (its part that takes boxes and points)."""
    from transformers import Sam3ImageProcessor, Sam3TrackerConfig, Sam3TrackerModel

    path, side = tmp_path_factory.mktemp("sam3"), 112
    config = Sam3TrackerConfig(
        vision_config={
            "backbone_config": {
                "model_type": "sam3_vit_model",
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "image_size": side,
                "pretrain_image_size": 56,
                "patch_size": 14,
                "window_size": 4,
                "global_attn_indexes": [1],
            },
            "fpn_hidden_size": 16,
            "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        },
        prompt_encoder_config={"hidden_size": 16, "image_size": side, "patch_size": 14},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 24, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    torch.manual_seed(0)
    network = Sam3TrackerModel(config)
    _randomise(network)
    network.save_pretrained(path)
    Sam3ImageProcessor(size={"height": side, "width": side}, mask_size={"height": 32, "width": 32}).save_pretrained(
        path
    )
    return path


def test_sam3(third: Path, picture: np.ndarray) -> None:
    (found,) = _sam(third, choose="largest").ground(GroundJob(picture, [Region("box", BOX)]))
    assert found.mask is not None and found.mask.shape == (48, 80) and found.mask.any()
    assert _sam(third, **ALL).ground(GroundJob(picture))


def test_sam2_without_torchvision_names_the_extra(
    second: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ModelUnavailable, match="torchvision") as raised:
        _sam(second).ground(GroundJob(picture, [Region("box", BOX)]))
    assert 'pip install "gas-edit[vision]"' in raised.value.remedy


def test_a_checkpoint_without_the_package_names_the_extra(
    checkpoint: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(ModelUnavailable, match="segment-anything") as raised:
        _sam(checkpoint).ground(GroundJob(picture, [Region("box", BOX)]))
    assert 'pip install "gas-edit[sam]"' in raised.value.remedy


def test_transformers_sam_needs_neither_torchvision_nor_segment_anything(folder: Path) -> None:
    code = (
        "import sys; sys.modules['torchvision'] = sys.modules['segment_anything'] = None\n"
        "import numpy as np; from gas import GroundJob, Region, Runtime\n"
        "from gas_grounders.sam.grounder import Sam, SamOptions\n"
        f"sam = Sam(SamOptions(model={str(folder)!r}, iou_threshold=0, stability_threshold=0, points_per_side=2),\n"
        "          Runtime(device='cpu', dtype='fp32'))\n"
        "picture = np.zeros((40, 40, 3), np.uint8)\n"
        "assert sam.ground(GroundJob(picture, [Region('x', (5., 5., 20., 20.))]))[0].mask.shape == (40, 40)\n"
        "assert sam.ground(GroundJob(picture))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:gas_grounders", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},  # bars are the host's affair
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "" and done.stderr == ""


def test_kinds_are_known_to_transformers() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASK_GENERATION_MAPPING_NAMES

    assert set(sam_transformers.KINDS) <= set(MODEL_FOR_MASK_GENERATION_MAPPING_NAMES)


# --- progress and stop ------------------------------------------------------------------------------------------------


def test_it_can_be_stopped_between_two_boxes(
    folder: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gas_grounders.sam.grounder.LOGITS_AT_ONCE", 1)
    regions = [Region(str(number), BOX, subtask=number) for number in range(4)]
    steps: list[Step] = []
    watch = Watch(on_step=steps.append, should_stop=lambda: len(steps) == 3)
    with pytest.raises(Interrupted):
        _sam(folder).ground(GroundJob(picture, regions, watch=watch))
    assert [(step.index, step.total) for step in steps] == [(1, 4), (2, 4), (3, 4)]


@pytest.mark.parametrize("layout", ["transformers", "original"])
def test_segmenting_can_be_stopped_between_points(
    layout: str, folder: Path, checkpoint: Path, picture: np.ndarray
) -> None:
    model = folder if layout == "transformers" else checkpoint
    grounder = _sam(model, **{**ALL, "points_per_side": 12})
    steps: list[Step] = []
    grounder.ground(GroundJob(picture, watch=Watch(on_step=steps.append)))
    assert [step.index for step in steps] == [64, 128, 144] and {step.total for step in steps} == {144}
    steps.clear()
    with pytest.raises(Interrupted):
        grounder.ground(GroundJob(picture, watch=Watch(on_step=steps.append, should_stop=lambda: len(steps) == 1)))
    assert len(steps) == 1


# --- points -----------------------------------------------------------------------------------------------------------


def test_what_is_at_a_point_of_the_diorama_is_the_thing() -> None:
    scene = next(one.scene for one in shipped() if one.name == "demo")
    sam, picture = _trained(TRAINED), render(scene)
    for thing in scene.objects:
        whole = mask(scene, thing) > 0.5
        y, x = np.argwhere(whole)[whole.sum() // 2]
        (found,) = sam.ground(GroundJob(picture, [Region("it", point=(float(x), float(y)), subtask=3)]))
        assert found.subtask == 3 and found.mask is not None and found.mask[y, x] == 1
        seen = found.mask > 0.5
        assert (seen & whole).sum() / (seen | whole).sum() > 0.6, thing


def test_a_point_on_nothing_is_exit_5(folder: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    sam = _sam(folder)
    nothing = -torch.ones((1, 1, *picture.shape[:2])), torch.ones((1, 1))
    monkeypatch.setattr(TransformersSam, "predict", lambda *arguments: nothing)
    with pytest.raises(ObjectNotFound, match="'cup'"):
        sam.ground(GroundJob(picture, [Region("cup", point=(3.0, 4.0))]))
