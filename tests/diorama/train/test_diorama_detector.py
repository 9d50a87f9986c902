"""The diorama's detector: exact targets, a loss that rewards the right answer, training that learns and resumes, an
export that transformers loads, and what the shipped one finds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, BertTokenizer, GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil

from gas.errors import ObjectNotFound
from gas.interfaces import GroundJob
from gas.run.session import Session
from gas.types import Region
from gas_diorama import folders
from gas_diorama.shipped import shipped
from gas_diorama.train import evaluate_grounding, train, train_backbone, train_detector
from gas_diorama.train.training import load_checkpoint, save_checkpoint
from gas_diorama.world.asking import ABSENT, Asked, ask, ask_absent, cell_owners, plain, things, visible_boxes
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.detector import (
    DetectorSettings,
    build_detector,
    build_image_processor,
    build_swin,
    build_tokenizer,
    caption_of,
    corners,
    detect,
    overlap,
    phrase_tokens,
    to_pixels,
)
from gas_diorama.world.drawing import masks, render
from gas_diorama.world.language import name
from gas_diorama.world.scene import SIZE, Scene, Thing

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


TINY = DetectorSettings(
    patch=16,
    swin=(16, 32),
    swin_depths=(1, 1),
    swin_heads=(2, 4),
    window=4,
    width=32,
    heads=4,
    feed_forward=32,
    queries=6,
    text_width=16,
    text_layers=1,
    backbone_steps=2,
    steps=4,
    batch=2,
    warm_up=1,
    scenes=16,
    first_scenes=8,
    scenes_a_step=2,
    save_every=2,
    measured=0,
)
RED, BLUE = Thing("car", "red", 34, 104, 48), Thing("car", "blue", 92, 116, 52)
TWINS = Scene("sunset", "sand", 62, (RED, BLUE), 2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def words() -> BertTokenizer:
    return build_tokenizer()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny detector was trained without a stop."""
    out = tmp_path_factory.mktemp("detector")
    train_detector.train_detector(out, TINY)
    return out


def test_special_tokens_stand_where_transformers_looks_for_them(words: BertTokenizer) -> None:
    ids = words("a red car . grass ?")["input_ids"]
    assert (ids[0], ids[-1], ids[4], ids[-2]) == (101, 102, 1012, 1029)
    assert words.pad_token_id == 0
    assert len(words) >= 1030
    assert sorted(words.get_vocab().values()) == list(range(len(words)))


def test_every_word_has_its_number_and_unknown_words_are_spelled(words: BertTokenizer) -> None:
    assert words.tokenize("the purple snowman") == ["the", "purple", "snowman"]
    spelled = words.tokenize("a zeppelin's 4 éclairs")
    assert words.unk_token not in spelled
    assert "".join(one.removeprefix("##") for one in spelled) == "azeppelin's4eclairs"


def test_boxes_are_tight_around_what_is_visible() -> None:
    tent = Thing("tent", "yellow", 64, 110, 40)  # 40 wide and 32 high
    boxes = visible_boxes(Scene("clear", "grass", 70, (tent,), 1))
    assert boxes[0] == pytest.approx((44, 78, 84, 110), abs=1)
    assert boxes[1].tolist() == [0, 70, 128, 128]
    assert boxes[2].tolist() == [0, 0, 128, 70]


def test_a_hidden_part_is_not_boxed() -> None:
    back, front = Thing("tent", "red", 50, 90, 40), Thing("house", "blue", 74, 110, 40)
    alone = visible_boxes(Scene("clear", "grass", 70, (back,), 1))[0]
    behind = visible_boxes(Scene("clear", "grass", 70, (back, front), 1))[0]
    assert behind[2] < alone[2]
    assert behind[:2].tolist() == alone[:2].tolist()


def test_each_cell_belongs_to_what_covers_most_of_it() -> None:
    owners = cell_owners(TWINS, 16)
    assert owners[0, 0] == 3
    assert owners[15, 0] == 2
    assert owners[10, 4] == 0
    visible = masks(TWINS)
    shares = [visible[what][80:88, 32:40].sum() for what in things(TWINS)]
    assert owners[10, 4] == int(np.argmax(shares))


def _true_of(text: str, scene: Scene) -> set[int]:
    """Read without the module's own code: the words of a phrase against the scene."""
    said = [word for word in text.split(" on ")[0].split() if word not in ("a", "an", "the")]
    found = {
        i for i, thing in enumerate(scene.objects) if set(said) <= {thing.kind, thing.colour} and thing.kind in said
    }
    if said in (["ground"], [scene.ground]):
        found.add(len(scene.objects))
    if said in (["sky"], name(scene.sky).split()):
        found.add(len(scene.objects) + 1)
    return found


def test_phrases_mean_what_they_say() -> None:
    bank, rng, seen = SceneBank(60, seed=4), np.random.default_rng(0), set()
    for number in range(60):
        scene = bank.scene(number)
        for one in ask(scene, rng):
            assert set(one.answers) == _true_of(one.text, scene), (one, scene)
            seen.add(len(one.answers))
    assert {0, 1, 2} <= seen


@pytest.mark.parametrize("form", ABSENT)
def test_absent_phrases_are_absent(form: str) -> None:
    rng, texts = np.random.default_rng(1), set()
    for _ in range(40):
        one = ask_absent(TWINS, rng, form)
        assert one.answers == ()
        assert not _true_of(one.text, TWINS)
        texts.add(one.text)
    assert len(texts) > 2
    with pytest.raises(ValueError, match="unknown form"):
        ask_absent(TWINS, rng, form + "s")


def test_targets_mark_the_words_of_a_phrase_for_the_things_it_means(words: BertTokenizer) -> None:
    asked = [Asked("the car", (0, 1)), Asked("a green tree", ()), Asked("a blue car", (1,)), Asked("sand", (2,))]
    boxes = visible_boxes(TWINS)
    text, answer = train_detector.targets(words, [boxes], [asked])
    spelled = words.convert_ids_to_tokens(text["input_ids"][0])
    said = [[spelled[i] for i in torch.nonzero(row).flatten()] for row in answer["tokens"][0]]
    assert said == [["the", "car"], ["the", "car", "a", "blue", "car"], ["sand"], [], []]
    assert answer["there"].tolist() == [[True, True, True, True, False]]
    assert (corners(answer["boxes"][0, :4]) * SIZE).numpy() == pytest.approx(boxes, abs=1e-3)


def test_spans_stand_where_the_caption_has_the_phrase(words: BertTokenizer) -> None:
    phrases = ["A zeppelin", "the red car", "grass"]
    ids = words(caption_of(phrases))["input_ids"]
    spans = phrase_tokens(words, phrases)
    assert [words.decode(ids[first:end]) for first, end in spans] == ["a zeppelin", "the red car", "grass"]
    assert [ids[end] for _, end in spans] == [1012] * 3


def test_nearness_is_one_at_the_nearest_cell_of_each_level_and_falls_away() -> None:
    middles, strides = train_detector.cell_middles(320, 8)
    assert strides[:256].unique().tolist() == [1 / 16]
    assert strides[256:].unique().tolist() == [1 / 8]
    boxes = torch.tensor([[[0.28, 0.72, 0.2, 0.2], [0.5, 0.5, 0.5, 0.5]]])
    near = train_detector.nearness(boxes, torch.tensor([[True, False]]), middles, strides)
    for level in (slice(0, 256), slice(256, 320)):
        best = int(near[0, 0, level].argmax())
        assert near[0, 0, level].max() == 1
        assert (middles[level][best] - torch.tensor([0.28, 0.72])).abs().max() <= strides[level][0] / 2
    assert near[0, 0].min() < 1e-6
    assert near[0, 1].max() == 0


def test_overlap_of_boxes() -> None:
    a, b = torch.tensor([0.0, 0, 2, 2]), torch.tensor([1.0, 0, 3, 2])
    apart = torch.tensor([4.0, 0, 6, 2])
    assert overlap(a, b)[0] == pytest.approx(1 / 3)
    assert overlap(a, a)[1] == pytest.approx(1)
    assert overlap(a, apart)[0] == 0
    assert overlap(a, apart)[1] == pytest.approx(-1 / 3)  # the hull is 6 by 2, a third of it empty


def _perfect(answer: dict, length: int, shift: float = 0.0, wrong_words: bool = False) -> SimpleNamespace:
    """What a network would return that knows the answer: one query a thing, every cell its thing's box."""
    middles, strides = train_detector.cell_middles(320, 8)
    near = train_detector.nearness(answer["boxes"], answer["there"], middles, strides)
    tokens = answer["tokens"].float()
    if wrong_words:
        tokens = tokens.roll(1, 1)
    owner = near.max(1).indices
    wanted = train_detector._wanted(near, tokens).clamp(1e-4, 1 - 1e-4)
    boxes = torch.gather(answer["boxes"], 1, owner[..., None].expand(-1, -1, 4)).clamp(1e-4, 1 - 1e-4)
    return SimpleNamespace(
        enc_outputs_class=torch.logit(wanted),
        enc_outputs_coord_logits=torch.logit((boxes + shift).clamp(1e-4, 1 - 1e-4)),
        logits=torch.logit(tokens.clamp(1e-4, 1 - 1e-4)),
        pred_boxes=answer["boxes"] + shift,
    )


def test_the_loss_rewards_the_right_answer_in_each_part(words: BertTokenizer) -> None:
    text, answer = train_detector.targets(words, [visible_boxes(TWINS)], [plain(TWINS)])
    known = text["attention_mask"].bool()
    length = known.shape[1]
    right = train_detector.detection_loss(_perfect(answer, length), answer, known, 8)
    assert all(value < 0.02 for value in right.values()), right
    shifted = train_detector.detection_loss(_perfect(answer, length, shift=0.05), answer, known, 8)
    assert shifted["encoder_box"] > right["encoder_box"] + 0.1
    assert shifted["decoder_box"] > right["decoder_box"] + 0.1
    swapped = train_detector.detection_loss(_perfect(answer, length, wrong_words=True), answer, known, 8)
    assert swapped["encoder_score"] > right["encoder_score"] + 0.1
    assert swapped["decoder_score"] > right["decoder_score"] + 0.1


def test_padding_teaches_nothing(words: BertTokenizer) -> None:
    boxes = visible_boxes(TWINS)
    text, answer = train_detector.targets(words, [boxes, boxes], [plain(TWINS)[:1], plain(TWINS)])
    known = text["attention_mask"].bool()
    out = _perfect(answer, known.shape[1])
    before = train_detector.detection_loss(out, answer, known, 8)
    for logits in (out.enc_outputs_class, out.logits):
        logits[0, :, ~known[0]] = float("-inf")
    assert train_detector.detection_loss(out, answer, known, 8) == before


def test_an_untrained_head_looks_at_its_neighbour_and_starts_with_low_scores(words: BertTokenizer) -> None:
    swin = build_swin(TINY)
    table = next(one for key, one in swin.state_dict().items() if "relative_position_bias_table" in key)
    side = 2 * TINY.window - 1
    for head, (row, column) in enumerate([(-1, -1), (-1, 0)]):
        best = int(table[:, head].argmax())
        assert (best // side - side // 2, best % side - side // 2) == (row, column)
    torch.manual_seed(0)
    settings = DetectorSettings()
    text = words(["a red car . grass ."], return_tensors="pt")
    with torch.no_grad():
        out = build_detector(settings, len(words)).eval()(pixel_values=to_pixels(render(TWINS)[None]), **text)
    scores = out.logits[..., : text["input_ids"].shape[1]].sigmoid()
    assert scores.median() < 0.15


def test_training_lowers_the_loss(tmp_path: Path, words: BertTokenizer) -> None:
    """On few pictures, with the parts that training uses."""
    torch.manual_seed(0)
    detector = build_detector(TINY, len(words)).train()
    bank = train_backbone.DetectorBank(TINY)
    pictures, boxes, _, asked = bank.draw(np.random.default_rng(0), 4, 8)
    text, answer = train_detector.targets(words, boxes, asked)
    optimiser = torch.optim.AdamW(detector.parameters(), lr=5e-3)
    losses = []
    for _ in range(25):
        out = detector(pixel_values=to_pixels(pictures), **text)
        loss = sum(train_detector.detection_loss(out, answer, text["attention_mask"].bool(), 4).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


class Stopped(Exception):
    pass


@pytest.mark.parametrize("module", [train_detector, train_backbone])
def test_a_stopped_run_goes_on_as_if_never_stopped(
    module: object, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_and_stop(path: Path, state: dict) -> None:
        save_checkpoint(path, state)
        raise Stopped

    with monkeypatch.context() as stopping, pytest.raises(Stopped):
        stopping.setattr(module, "save_checkpoint", save_and_stop)
        train_detector.train_detector(tmp_path, TINY)
    train_detector.train_detector(tmp_path, TINY)
    whole, resumed = load_checkpoint(trained / "detector.pt"), load_checkpoint(tmp_path / "detector.pt")
    assert whole is not None and resumed is not None
    for key in ("network", "average", "helper"):
        assert all(torch.equal(value, resumed[key][name]) for name, value in whole[key].items()), key


def test_the_backbone_goes_into_the_detector(trained: Path, tmp_path: Path) -> None:
    """Without a backbone's steps the detector starts elsewhere."""
    train_detector.train_detector(tmp_path, replace(TINY, backbone_steps=0, steps=2))
    assert load_checkpoint(tmp_path / "detector-backbone.pt") is None
    key = "model.backbone.conv_encoder.model.swin.embeddings.patch_embeddings.projection.weight"
    whole, bare = load_checkpoint(trained / "detector.pt"), load_checkpoint(tmp_path / "detector.pt")
    backbone = load_checkpoint(trained / "detector-backbone.pt")
    assert whole is not None and bare is not None and backbone is not None
    taught = backbone["network"]["swin.embeddings.patch_embeddings.projection.weight"]
    assert (whole["average"][key] - taught).abs().max() < (bare["average"][key] - taught).abs().max()


def test_an_export_is_a_folder_that_transformers_loads(trained: Path, tmp_path: Path, words: BertTokenizer) -> None:
    folder = train_detector.export_detector(trained, tmp_path / "weights")
    detector = GroundingDinoForObjectDetection.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    processor = GroundingDinoImageProcessorPil.from_pretrained(folder, local_files_only=True)
    picture, phrases = render(TWINS), ["a red car", "sand"]
    pixels = processor(images=picture, input_data_format="channels_last", return_tensors="pt")
    assert torch.allclose(pixels["pixel_values"], to_pixels(picture[None]), atol=1e-5)
    assert tokenizer(caption_of(phrases))["input_ids"] == words(caption_of(phrases))["input_ids"]
    before = detect(train_detector.averaged_detector(trained), words, picture[None], [phrases])
    after = detect(detector.eval(), tokenizer, picture[None], [phrases])
    for (score, box), (again, other) in zip(before[0], after[0], strict=True):
        assert again == pytest.approx(score, abs=0.02)
        assert other == pytest.approx(box, abs=2)
    weights = folder / "model.safetensors"
    assert weights.stat().st_size < 2.2 * sum(p.numel() for p in detector.parameters()) + 100_000


def test_nothing_trained_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gas_diorama\.train detector"):
        train_detector.averaged_detector(tmp_path)


def test_the_command_line_has_the_stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    called: list[object] = []
    monkeypatch.setattr(train, "train_detector", lambda out, settings, device: called.append(settings))
    monkeypatch.setattr(train, "export_detector", lambda out: called.append(out))
    train.main(["detector", "--out", str(tmp_path), "--steps", "7", "--seed", "3"])
    assert called[0].steps == 7  # type: ignore[attr-defined]
    assert called[0].seed == 3  # type: ignore[attr-defined]
    assert called[1] == tmp_path


class _Knows:
    """A grounder that knows the scenes, and how to be wrong."""

    def __init__(
        self, scenes: int, shift: float = 0.0, invents: bool = False, seed: int = 7, part: str = "test"
    ) -> None:
        bank = SceneBank(scenes, seed, part=part)
        self.scenes = {bank.pictures(np.array([n]))[0].tobytes(): bank.scene(n) for n in range(scenes)}
        self.shift, self.invents = shift, invents
        self.options = SimpleNamespace(model_dump=lambda mode: {})

    def ground(self, job: GroundJob) -> list[Region]:
        scene = self.scenes[job.image.tobytes()]
        boxes, visible, taken, out = visible_boxes(scene), masks(scene), set(), []
        for region in job.regions:
            meant = sorted(_true_of(region.phrase, scene) - taken)
            if not meant and not self.invents:
                raise ObjectNotFound(f"{region.phrase!r} was not found", "look again")
            index = meant[0] if meant else 0
            taken.add(index)
            box = tuple(float(value) for value in boxes[index] + self.shift)
            out.append(replace(region, box=box, mask=visible[things(scene)[index]], score=1.0))
        return out


def _session(grounder: object) -> object:
    return SimpleNamespace(settings=SimpleNamespace(grounders=("knows",)), backend=lambda role, name: grounder)


def test_the_evaluation_counts_a_perfect_chain_as_perfect() -> None:
    figures = evaluate_grounding.evaluate_grounding(_session(_Knows(12)), 12)
    for row in figures["present"].values():
        if row["asked"]:
            assert (row["recall"], row["box_iou"], row["mask_iou"]) == (1, 1, 1)
    assert figures["present"]["all"]["asked"] == sum(
        len(things(SceneBank(12, 7, part="test").scene(n))) for n in range(12)
    )
    assert figures["absent"]["all"] == 0
    assert figures["whole pictures"] == 1
    assert figures["both of a kind"] in (1, None)
    shown = evaluate_grounding.table(figures)
    assert "small objects" in shown and "seconds a picture" in shown


def test_the_evaluation_sees_shifted_boxes_and_invented_things() -> None:
    shifted = evaluate_grounding.evaluate_grounding(_session(_Knows(6, shift=30.0)), 6)
    assert shifted["present"]["objects"]["recall"] < 0.5
    assert shifted["whole pictures"] < 0.5
    assert shifted["present"]["objects"]["box_iou"] < 0.5
    assert shifted["present"]["objects"]["mask_iou"] == 1
    invents = evaluate_grounding.evaluate_grounding(_session(_Knows(6, invents=True)), 6)
    assert invents["absent"]["all"] == 1


def test_one_missing_phrase_does_not_lose_the_others() -> None:
    knows = _Knows(1)
    picture, scene = SceneBank(1, 7, part="test").pictures(np.array([0]))[0], SceneBank(1, 7, part="test").scene(0)
    found = evaluate_grounding.find(_session(knows), picture, [name(scene.sky), "a dog", scene.ground])
    assert [one is None for one in found] == [False, True, False]
    nameless = SimpleNamespace(ground=lambda job: (_ for _ in ()).throw(ObjectNotFound("nothing", "look")))
    with pytest.raises(ObjectNotFound, match="nothing"):
        evaluate_grounding.find(_session(nameless), picture, ["a dog"])


def test_the_command_asks_the_grounders_and_scenes_that_it_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags: dict = {}

    def of(**given: object) -> object:
        flags.update(given)
        return _session(_Knows(3, seed=9, part="validation"))

    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(Session, "of", of)
    told = ["--scenes", "3", "--part", "validation", "--seed", "9", "--json", str(tmp_path / "figures.json")]
    chosen = ["--profile", "mine", "--grounder", "knows", "-o", "knows.model=a.b", "--threads", "3"]
    evaluate_grounding.main([*told, *chosen])
    assert flags["profile"] == "mine"
    assert flags["grounders"] == ("knows",)
    assert flags["options"] == {"knows": {"model": "a.b"}}
    assert flags["offline"] is True
    assert threads == [3]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["present"]["all"]["recall"] == 1
    assert (figures["setting"]["scenes"], figures["setting"]["part"], figures["setting"]["seed"]) == (
        3,
        "validation",
        9,
    )
    assert "recall" in capsys.readouterr().out
    monkeypatch.setattr(Session, "of", lambda **given: flags.clear() or flags.update(given) or _session(_Knows(1)))
    evaluate_grounding.main(["--scenes", "1"])
    assert "grounders" not in flags


WEIGHTS = train_detector.DETECTOR_WEIGHTS


def test_the_shipped_detector_finds_the_demo() -> None:
    detector = GroundingDinoForObjectDetection.from_pretrained(WEIGHTS, local_files_only=True, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS, local_files_only=True)
    demo = shipped()[0]
    picture = np.array(Image.open(folders.SCENES / "demo.png").convert("RGB"))
    assert (picture == render(demo.scene)).all()
    asked = plain(demo.scene)
    found = detect(detector.eval(), tokenizer, picture[None], [[one.text for one in asked] + ["a green igloo"]])[0]
    for (score, box), true in zip(found, visible_boxes(demo.scene), strict=False):
        assert evaluate_grounding.box_overlap(np.array(box), true) > 0.7
        assert score >= evaluate_grounding.THRESHOLD
    assert found[-1][0] < evaluate_grounding.THRESHOLD


def test_the_shipped_folder_is_small_half_precision_and_whole() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) <= 6e6
    config = json.loads((WEIGHTS / "config.json").read_text())
    assert config["model_type"] == "grounding-dino"
    assert config["dtype"] == "float16"
    shown = GroundingDinoImageProcessorPil.from_pretrained(WEIGHTS, local_files_only=True).to_dict()
    assert shown["size"] == build_image_processor().to_dict()["size"]
