import json
import random
import re

import numpy as np
import pytest
from pictures import scene
from PIL import Image as Pictures

from gas.errors import InputRefused
from gas.picture import photo, photo_write
from gas.picture.containers import output_format
from gas.picture.frame import to_working, work_frame
from gas.picture.metadata.carried import MAX_EMBEDDED
from gas.regions.check import check_region
from gas.run import record, recording
from gas.run.result import EditResult
from gas.types import EditPlan, Provenance, Region, Subtask

SIZE = (96, 64)
PLAN = EditPlan(
    subtasks=(Subtask(source="the corner", target="a lamp"), Subtask(source="ground", target="snow")),
    reasoning="because " * 20,
    provenance=Provenance(planner="test", reply='{"long": "reply"}'),
)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.png"
    Pictures.fromarray(scene()).save(path)
    return photo.read(path)


def finished(source, log=None):
    soft = np.zeros((64, 96), np.float32)
    soft[2:14, 3:30] = np.linspace(0.1, 1, 27)
    regions = tuple(
        check_region(r, SIZE)
        for r in (Region("corner", (0.5, 0.25, 32, 16), soft, np.float32(0.75), 0), Region("ground", (40, 40, 90, 60)))
    )
    frame = work_frame(SIZE, regions, "auto", 64, 8)
    (first, _) = to_working(regions, frame)
    mask = frame.paste_mask(frame.native_mask(first.mask, regions[0].mask))
    raw = 255 - frame.cut(source.pixels)
    image = frame.paste(source.pixels, raw, mask)
    return EditResult(image, PLAN, regions, raw, mask, frame, False, log or {"loss": [0.5, 0.25]})


def made(source, **more):
    given = {"editor": record.Used(name="dds", options={"steps": 3}), "seed": 7, "device": "cpu", "dtype": "fp32"}
    return recording.make(source, finished(source, more.pop("log", None)), **{**given, **more})


def written(source, made_record, path):
    text = recording.embeddable(made_record, MAX_EMBEDDED[output_format(path)])
    result = finished(source)
    return photo_write.write(source, path, result.image, result.mask, record=text)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_the_record_comes_back_from_the_picture(tmp_path, source, suffix):
    one = made(source, request=record.Request(instruction="make the corner a lamp"), profile="sd15")
    out = written(source, one, tmp_path / f"out.{suffix}")
    assert out.embedded
    assert record.read_record(out.path) == one
    back = record.read_record(out.path).to_regions()
    for region, again in zip(finished(source).regions, back, strict=True):
        assert again.given and (again.phrase, again.box, again.subtask) == (region.phrase, region.box, region.subtask)
        assert np.array_equal(again.mask, region.mask), "bit for bit, soft edges too"


def test_the_sidecar_says_more_and_must_belong_to_the_picture(tmp_path, source):
    one = made(source)
    out = written(source, one, tmp_path / "out.png")
    _, path = recording.write_sidecar(one, out, finished(source))
    assert path.name == "out.png.gas.json"
    found = record.read_record(out.path)
    assert found.file is not None and found.file.exact and found.file.outside_max == 0
    assert record.read_record(path) == found
    other = photo_write.write(source, tmp_path / "other.png", source.pixels)
    path.rename(record.sidecar(other.path))
    with pytest.raises(InputRefused, match="holds no record"):
        record.read_record(other.path)
    assert record.read_record(out.path).file is None


def test_what_was_measured(source):
    one = made(source)
    assert one.measured.outside_max == 0
    assert one.measured.inside[0] > 5
    assert one.measured.inside[1] is None, "no region says that it is for this subtask"
    assert one.input.size == SIZE and one.input.sha256 == source.sha256
    assert one.frame.native == SIZE
    assert one.libraries["numpy"] == np.__version__


def test_the_same_run_gives_the_same_text_and_hash(source):
    assert made(source).to_json() == made(source).to_json()
    assert made(source).to_json() != made(source, seed=8).to_json()


def test_no_path_and_no_secret_gets_in(tmp_path, source, monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", 'canary-"1234')
    monkeypatch.setenv("HF_TOKEN", "hf_canary5678")
    options = {
        "model": "/home/somebody/models/sd15",
        "deep": [{"x": "C:\\Users\\somebody\\sd.safetensors"}, "~/weights", "file:///home/somebody/w"],
        "harmless": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    }
    one = made(
        source,
        editor=record.Used(name="dds", options=options),
        log={"note": 'used canary-"1234 and hf_canary5678'},
        models=[record.Model(id="/home/somebody/m")],
    )
    out = written(source, one, tmp_path / "out.png")
    _, beside = recording.write_sidecar(one, out, finished(source))
    for text in (one.to_json(), photo_write.read_embedded(out.path), beside.read_text()):
        assert "canary" not in text and "somebody" not in text and str(tmp_path) not in text
    assert json.loads(one.to_json())["editor"]["options"] == {
        "model": "sd15",
        "deep": [{"x": "sd.safetensors"}, "weights", "w"],
        "harmless": options["harmless"],
    }


def test_local_models_are_hashed(tmp_path):
    folder = tmp_path / "sd"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "w.safetensors").write_bytes(b"abc")
    (folder / "readme.md").write_bytes(b"not a weight")
    model = record.Model.of(folder)
    assert model.id == "sd"
    assert model.files == {"unet/w.safetensors": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert record.Model.of("org/name", "abc123") == record.Model(id="org/name", revision="abc123")


def test_a_long_record_loses_its_log_first_then_the_planners_words(source):
    long = random.Random(0).randbytes(80_000).hex()
    one = made(source, log={"noise": long})
    text = recording.embeddable(one, MAX_EMBEDDED["JPEG"])
    small = record.parse_record(text)
    assert small.left_out == ("log",) and small.log == {} and small.plan == one.plan
    assert record.parse_record(recording.embeddable(one, MAX_EMBEDDED["PNG"])) == one
    wordy = one.model_copy(update={"plan": one.plan.model_copy(update={"provenance": Provenance(reply=long)})})
    small = record.parse_record(recording.embeddable(wordy, MAX_EMBEDDED["JPEG"]))
    assert small.plan.provenance.reply is None and small.plan.subtasks == one.plan.subtasks
    assert len(small.left_out) == 2
    huge = one.model_copy(update={"asked": record.Request(instruction=long)})
    assert recording.embeddable(huge, MAX_EMBEDDED["JPEG"]) is None
    assert recording.embeddable(one, MAX_EMBEDDED["BMP"]) is None


def test_the_input_is_recognised_by_file_or_by_pixels(tmp_path, source):
    one = made(source)
    assert record.same_input(one, source) == (True, True)
    Pictures.fromarray(scene()).save(tmp_path / "again.tif")
    assert record.same_input(one, photo.read(tmp_path / "again.tif")) == (False, True)
    Pictures.fromarray(255 - scene()).save(tmp_path / "other.png")
    assert record.same_input(one, photo.read(tmp_path / "other.png")) == (False, False)
    Pictures.fromarray(scene().reshape(96, 64, 3)).save(tmp_path / "shape.png")
    assert not record.same_input(one, photo.read(tmp_path / "shape.png")).pixels


def test_records_from_strangers_are_checked(tmp_path, source):
    plain = json.loads(made(source).to_json())
    bad = {
        "version": {**plain, "version": 99},
        "surprise": {**plain, "surprise": 1},
        "a mask of": {**plain, "input": {**plain["input"], "size": [5, 5]}},
        "subtask": {**plain, "regions": [{**plain["regions"][0], "subtask": 9}]},
        "seed": {**plain, "seed": "many"},
    }
    for complaint, content in bad.items():
        with pytest.raises(InputRefused, match=complaint):
            record.parse_record(json.dumps(content))
    for text in ("", "[]", "[" * 10_000, '{"version": 1, "version": 1}', '{"version": NaN}'):
        with pytest.raises(InputRefused):
            record.parse_record(text)
    lying = record.parse_record(
        json.dumps({**plain, "regions": [{**plain["regions"][1], "mask": {"size": [64, 96], "counts": [5]}}]})
    )
    with pytest.raises(InputRefused, match="do not add up"):
        lying.to_regions()
    (tmp_path / "no.json").write_bytes(b"\xff\xfe")
    with pytest.raises(InputRefused, match=r"no\.json"):
        record.read_record(tmp_path / "no.json")


def test_an_embedded_record_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    from gas.picture.metadata import packed

    monkeypatch.setattr(packed, "MAX_RECORD", 1000)
    read = photo_write.read_embedded
    Pictures.fromarray(scene()).save(tmp_path / "in.png")
    source = photo.read(tmp_path / "in.png")
    out = photo_write.write(source, tmp_path / "out.png", source.pixels, record="x" * 2000)
    with pytest.raises(InputRefused, match="its record is broken: too long"):
        read(out.path)


BEYOND = {
    "seed": ({"seed": 2**80}, "seed"),
    "negative seed": ({"seed": -1}, "seed"),
    "folder as a name": ({"input": {"name": ".."}}, "input.name: not a plain file name"),
    "path as a name": ({"input": {"name": "a/../../b"}}, "input.name"),
    "drive as a name": ({"input": {"name": "c:b"}}, "input.name"),
    "command as a name": ({"input": {"name": "a\x1b[2J.png"}}, "input.name"),
    "no name": ({"input": {"name": ""}}, "input.name"),
    "size": ({"input": {"size": [0, 64]}}, "input.size"),
    "huge size": ({"input": {"size": [2**70, 64]}}, "input.size"),
    "profile by path": ({"profile": "../mine.toml"}, "profile"),
    "device": ({"device": "cpu; rm"}, "device"),
    "format of numbers": ({"dtype": "FP32 "}, "dtype"),
    "subtask": ({"regions": [{"subtask": -1}]}, "regions.0.subtask"),
    "box": ({"regions": [{"box": [0, 0, 1e300, 4]}]}, "regions.0.box.2"),
    "name of a backend": ({"editor": {"name": "d" * 300}}, "editor.name"),
    "words": ({"asked": {"instruction": "x" * (2**20 + 1)}}, "asked.instruction"),
    "warnings": ({"plan": {"warnings": ["x" * 30_000]}}, "plan.warnings.0"),
    "tokens": ({"plan": {"provenance": {"reply_tokens": 2**70}}}, "plan.provenance.reply_tokens"),
    "crop": ({"frame": {"crop": [0, 0, 2**62, 4]}}, "frame.crop.2"),
}


@pytest.mark.parametrize("name", BEYOND)
def test_every_field_of_a_strangers_record_is_bounded(source, name):
    changes, where = BEYOND[name]

    def changed(value, changes):
        if isinstance(changes, dict):
            return {**value, **{key: changed(value.get(key), inner) for key, inner in changes.items()}}
        if isinstance(changes, list) and changes and isinstance(changes[0], dict):
            return [changed(value[0], changes[0]), *value[1:]]
        return changes

    text = json.dumps(changed(json.loads(made(source).to_json()), changes))
    with pytest.raises(InputRefused, match=re.escape(where)) as caught:
        record.parse_record(text, "their.json")
    assert caught.value.message.startswith("their.json: ") and len(caught.value.message) < 500


def test_backends_that_were_used_can_be_asked_for_by_role() -> None:
    from gas.backends.roles import EDITORS, GROUNDERS, PLANNERS

    a, b, c = (record.Used(name=name) for name in "abc")
    made = record.Record.model_construct(planner=None, grounders=(a, b), editor=c)
    assert [made.used(role) for role in (PLANNERS, GROUNDERS, EDITORS)] == [(), (a, b), (c,)]
