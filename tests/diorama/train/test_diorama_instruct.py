"""The diorama's instruction model: exact pairs, an adapter that starts as its base, training that learns and resumes,
an export that loads, and a judge of instructions that finds added things where they are."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.func import functional_call

from gas.diffusion.adapters import adapt, find_base, merge
from gas_diorama.bench.entrants import hash_of_weights
from gas_diorama.bench.follow import Guidance, answers, edited_latents, followed, load_parts, locate, shares, sheet
from gas_diorama.train import evaluate_instruct, export, train, train_instruct, training
from gas_diorama.train.drawn import cell_weights, changed_cells, training_pair
from gas_diorama.train.pair_cache import PairCache
from gas_diorama.train.train_instruct import (
    Adapter,
    InstructSettings,
    adapter_tensors,
    banded_times,
    changes,
    export_instruct,
    remove_settings,
    widened_weights,
)
from gas_diorama.train.training import load_checkpoint, save_checkpoint
from gas_diorama.world import networks
from gas_diorama.world.drawing import render
from gas_diorama.world.pairs import Pair, held_out, inverse, sample_pair, training_instruction
from gas_diorama.world.scene import EDIT_FORMS, Edit, Scene, Thing, apply, roomiest, split

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


TINY = InstructSettings(
    rank=2, steps=4, batch=4, warm_up=2, pairs=8, first_pairs=8, save_every=2, measured=0, peak=3e-3, average=0.9
)
SCENE = Scene("clear", "grass", 66, (Thing("car", "red", 34, 110, 44), Thing("tree", "green", 96, 104, 44)), 3)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which an instruction model was trained on the tiny model without a stop."""
    out = tmp_path_factory.mktemp("run")
    train_instruct.train_instruct(out, "instruct", TINY, tiny_sd)
    return out


def _pair(form: str, edit: Edit) -> Pair:
    return Pair(form, SCENE, edit, apply(SCENE, [edit]))


@pytest.mark.parametrize("form", EDIT_FORMS)
def test_pairs_are_exact_both_ways_and_never_show_a_held_out_scene(form: str) -> None:
    for seed in range(6):
        pair = sample_pair(np.random.default_rng(seed), {form: 2.0}, "train")
        assert pair.form == form and split(pair.before) == split(pair.after) == "train"
        assert pair.after == apply(pair.before, [pair.edit])
        back = inverse(pair)
        assert (back.before, back.after) == (pair.after, pair.before)
        assert np.array_equal(render(apply(back.before, [back.edit])), render(pair.before))
        assert not np.array_equal(render(pair.before), render(pair.after))
        assert back.form == {"add": "remove", "remove": "add"}.get(form, form) and inverse(back) == pair


def test_held_out_instructions_are_of_their_split_and_of_all_forms_alike() -> None:
    asked = held_out(14, "test")
    assert [pair.form for pair, _ in asked] == [*EDIT_FORMS, *EDIT_FORMS]
    assert all(split(pair.before) == "test" for pair, _ in asked)
    assert held_out(5, "test") == asked[:5] != held_out(5, "test", seed=1)
    assert len({words for _, words in asked}) > 10


def test_instructions_come_in_the_forms_of_people_of_plans_and_plain() -> None:
    car = SCENE.objects[0]
    pair = _pair("both", Edit("change", "thing", car, replace(car, kind="ball", colour="blue")))
    said = [training_instruction(pair, np.random.default_rng(seed)) for seed in range(200)]
    assert 10 < said.count("turn a red car into a blue ball") < 35
    assert 10 < said.count("change the red car into a blue ball") < 45
    assert len(set(said)) > 12 and all("ball" in words and "car" in words for words in said)
    removal = _pair("remove", Edit("remove", "thing", car, None))
    addition = _pair("add", Edit("add", "thing", None, Thing("ball", "blue", 66, 124, 36)))
    for one, words in ((removal, "remove a red car from grass"), (addition, "add a blue ball to grass")):
        assert words in [training_instruction(one, np.random.default_rng(seed)) for seed in range(60)]


def test_cells_that_change_weigh_more_and_most_where_they_are_few() -> None:
    empty = render(SCENE)
    ball = render(apply(SCENE, [Edit("add", "thing", None, Thing("ball", "blue", 68, 122, 16))]))
    weights = changed_cells(empty, ball)[0]
    assert weights[14, 8] == 9 and weights[0, 0] == 1
    night = changed_cells(empty, render(replace(SCENE, sky="night")))[0]
    assert night[1, 1] == 3 and night[15, 15] == 1


def test_a_new_adapter_sees_the_source_as_the_base_sees_the_noisy_latent(tiny_sd: Path) -> None:
    parts = load_parts(tiny_sd)
    adapter = Adapter(widened_weights(parts), rank=2)
    model = adapt(parts.unet, adapter.tensors())
    assert model.config.in_channels == 8
    z = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    text, t = parts.embed(["add a ball", "remove the car"]), torch.tensor([20, 800])
    with torch.no_grad():
        before = parts.unet(z, t, text).sample
        for told in ([z, torch.zeros_like(z)], [torch.zeros_like(z), z], [0.25 * z, 0.75 * z]):
            assert torch.allclose(model(torch.cat(told, 1), t, text).sample, before, atol=1e-5)


def test_a_new_adapter_may_see_a_share_of_the_source(tiny_sd: Path) -> None:
    weights = widened_weights(load_parts(tiny_sd), 0.2)["conv_in.weight"]
    assert torch.equal(weights[:, 4:], 0.2 * weights[:, :4])


def test_the_adapters_of_the_shipped_model_fit_into_three_megabytes() -> None:
    weights = widened_weights(load_parts(export.WEIGHTS))
    assert weights["conv_in.weight"].shape[1] == 16
    first, second = (
        sum(p.numel() for p in Adapter(weights, settings.rank, settings.whole).parameters())
        for settings in (InstructSettings(), remove_settings())
    )
    assert first < 2.7e6 and second < 0.5e6  # a byte each, and a scale for every row


def test_layers_that_are_named_are_trained_whole(tiny_sd: Path) -> None:
    weights = widened_weights(load_parts(tiny_sd))
    tensors = Adapter(weights, 1, ("conv", "down_blocks.0")).tensors()
    whole = {name for name in tensors if "lora" not in name and weights[name].ndim > 1}
    assert "down_blocks.0.resnets.0.conv1.weight" in whole
    assert all(name.startswith(("conv", "down_blocks.0")) for name in whole)


def test_an_adapter_begins_with_another_model_as_nearly_as_its_rank_allows(tiny_sd: Path) -> None:
    weights = widened_weights(load_parts(tiny_sd))
    other = Adapter(weights, 3)
    with torch.no_grad():
        for name, value in other.tensors().items():
            value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name))))
        start = merge(weights, other.tensors())
    apart = []
    for rank in (1, 3, 0):
        merged = merge(weights, Adapter(weights, rank, start=start).tensors())
        apart.append(max((merged[name] - start[name]).abs().max().item() for name in weights))
    assert apart[0] > 0.01 and apart[1] < 1e-4 and apart[2] == 0
    assert all(torch.equal(value, start[name]) for name, value in Adapter(weights, 0, start=start).tensors().items())


def test_an_export_keeps_of_whole_weights_what_changed(tiny_sd: Path) -> None:
    weights = load_parts(tiny_sd).unet.state_dict()
    adapter = Adapter(widened_weights(load_parts(tiny_sd)), 2, ("conv",)).tensors()
    kept = changes(weights, adapter)
    assert "conv_in.weight" not in kept and not kept["conv_in.weight.diff"][:, :4].any()
    assert torch.equal(kept["conv_in.weight.diff"][:, 4:], weights["conv_in.weight"])
    whole, again = merge(weights, adapter), merge(weights, kept)
    assert all(torch.allclose(whole[name], again[name], atol=1e-6) for name in whole)


def test_rank_zero_trains_every_weight(tiny_sd: Path) -> None:
    weights = widened_weights(load_parts(tiny_sd))
    assert Adapter(weights, 0).tensors().keys() == weights.keys()
    assert any("lora" in name for name in Adapter(weights, 1).tensors())


def test_another_seed_gives_other_factors(tiny_sd: Path) -> None:
    weights = widened_weights(load_parts(tiny_sd))
    first, same, other = (Adapter(weights, 2, seed=seed).tensors() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_cache_tells_changes_both_ways_and_the_rest_as_it_is(tiny_sd: Path) -> None:
    parts = load_parts(tiny_sd)
    forms = {"add": 1.0, "remove": 1.0}
    cache = PairCache(parts, 8, 0, forms)
    cache.grow(8)
    batch = cache.batch(8, torch.Generator().manual_seed(0))
    pairs = [training_pair(0, forms, int(n)) for n in batch.numbers]
    assert not batch.backwards.any()
    assert torch.allclose(batch.source, parts.encode(np.stack([render(p.before) for p in pairs])), atol=0.05)
    assert torch.allclose(batch.target, parts.encode(np.stack([render(p.after) for p in pairs])), atol=0.05)
    changed = changed_cells(render(pairs[3].before), render(pairs[3].after))
    weights = torch.from_numpy(np.maximum(changed, cell_weights(pairs[3].after)))
    assert torch.equal(batch.weights[3], weights.half().float())
    said = parts.tokenizer.decode(batch.ids[3], skip_special_tokens=True)
    edit = pairs[3].edit
    assert (edit.target or edit.source).kind in said and batch.ids.shape == (8, 77)  # type: ignore[union-attr]
    cache = PairCache(parts, 8, 0, {"sky": 1.0})
    cache.grow(1)
    batch = cache.batch(12, torch.Generator().manual_seed(0))
    pair = training_pair(0, {"sky": 1.0}, 0)
    assert 0 < batch.backwards.sum() < 12
    for backwards, source, target, ids in zip(batch.backwards, batch.source, batch.target, batch.ids, strict=True):
        way = inverse(pair) if backwards else pair
        assert torch.allclose(source, parts.encode(render(way.before)[None])[0], atol=0.05)
        assert torch.allclose(target, parts.encode(render(way.after)[None])[0], atol=0.05)
        assert way.after.sky in parts.tokenizer.decode(ids, skip_special_tokens=True)


def _watch(monkeypatch: pytest.MonkeyPatch, seen: Callable[[object, tuple[Tensor, ...]], None]) -> None:
    real = train_instruct.functional_call

    def call(network: object, weights: dict[str, Tensor], inputs: tuple[Tensor, ...]) -> object:
        seen(network, inputs)
        return real(network, weights, inputs)

    monkeypatch.setattr(train_instruct, "functional_call", call)


def test_text_picture_and_both_are_left_out_of_their_shares(
    tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = np.zeros((2, 2), int)
    empty = load_parts(tiny_sd).embed([""])

    def count(network: object, inputs: tuple[Tensor, ...]) -> None:
        z_and_source, _, states = inputs
        for row, state in zip(z_and_source, states, strict=True):
            counts[int((state == empty[0]).all()), int((row[4:] == 0).all())] += 1

    _watch(monkeypatch, count)
    train_instruct.train_instruct(tmp_path, "x", replace(TINY, steps=1, batch=120, drop=0.2), tiny_sd)
    assert counts.sum() == 120 and (np.abs(counts / 120 - [[0.4, 0.2], [0.2, 0.2]]) < 0.12).all()


def test_the_loss_falls(tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []

    def fit(
        path: Path, network: object, settings: object, loss_at: Callable[[int], Tensor], *rest: object, **more: object
    ) -> object:
        def noted(step: int) -> Tensor:
            loss = loss_at(step)
            losses.append(loss.item())
            return loss

        return training.fit(path, network, settings, noted, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(train_instruct, "fit", fit)
    settings = replace(TINY, steps=18, save_every=99, peak=3e-2)
    train_instruct.train_instruct(tmp_path, "instruct", settings, tiny_sd)
    assert len(losses) == 18 and np.mean(losses[-6:]) < 0.9 * np.mean(losses[:4])


def test_second_factors_learn_more_quickly(tiny_sd: Path, tmp_path: Path) -> None:
    moved = {}
    for quick in (1.0, 4.0):
        settings = replace(TINY, steps=1, warm_up=0, quick=quick)
        train_instruct.train_instruct(tmp_path / str(quick), "instruct", settings, tiny_sd)
        moved[quick] = load_checkpoint(tmp_path / str(quick) / "instruct.pt")["network"]  # type: ignore[index]
    ups = [name for name in moved[1.0] if name.endswith("lora_B/weight")]
    rest = [name for name in moved[1.0] if not name.endswith("lora_B/weight")]
    assert all(torch.allclose(moved[4.0][name], 4 * moved[1.0][name], rtol=1e-3, atol=1e-7) for name in ups)
    assert all(torch.equal(moved[4.0][name], moved[1.0][name]) for name in rest)


def test_times_are_drawn_by_bands_and_the_rest_starts_from_noise() -> None:
    places = (torch.arange(1000) + 0.5) / 1000
    assert torch.allclose(banded_times(places, ((0.0, 1.0, 1.0),)), places)
    times = banded_times(places, ((0.0, 1.0, 0.25), (0.8, 1.0, 0.5)))
    assert (times == 1).sum() == 250
    assert times.min() < 0.01 and ((times >= 0.8) & (times < 1)).sum() == 550


def test_a_start_of_sampling_asks_for_what_leads_to_the_result(
    tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all times at the start the network sees noise that says nothing of the result."""
    seen: list[Tensor] = []

    def call(unet: object, weights: object, inputs: tuple[Tensor, ...]) -> object:
        seen.append(inputs[0].detach())
        return functional_call(unet, weights, inputs)  # type: ignore[arg-type]

    monkeypatch.setattr(train_instruct, "functional_call", call)
    for bands in ((), ((0.999, 0.999, 1.0),)):
        train_instruct.train_instruct(tmp_path / str(len(bands)), "x", replace(TINY, steps=1, bands=bands), tiny_sd)
    noise, noisy = (one[:, :4] for one in seen)
    assert abs(float(noise.std()) - 1) < 0.1
    alpha, sigma = (
        networks.scheduler().alphas_cumprod[-1].sqrt(),
        (1 - networks.scheduler().alphas_cumprod[-1]).sqrt(),
    )
    assert not torch.allclose(noisy, noise) and float(((noisy - sigma * noise) / alpha).std()) < 5


class Stopped(Exception):
    pass


def test_a_stopped_run_goes_on_as_if_never_stopped(
    trained: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_and_stop(path: Path, state: dict) -> None:
        save_checkpoint(path, state)
        raise Stopped

    with monkeypatch.context() as stopping, pytest.raises(Stopped):
        stopping.setattr(training, "save_checkpoint", save_and_stop)
        train_instruct.train_instruct(tmp_path, "instruct", TINY, tiny_sd)
    half = load_checkpoint(tmp_path / "instruct.pt")
    train_instruct.train_instruct(tmp_path, "instruct", TINY, tiny_sd)
    whole, resumed = load_checkpoint(trained / "instruct.pt"), load_checkpoint(tmp_path / "instruct.pt")
    assert half is not None and whole is not None and resumed is not None
    assert half["step"] == 2 and whole["step"] == resumed["step"] == 4
    for key in ("network", "average"):
        assert all(torch.equal(whole[key][name], resumed[key][name]) for name in whole[key])
        assert any(not torch.equal(whole[key][name], half[key][name]) for name in whole[key])
    assert not (resumed["network"]["values.conv_in/weight"][:, 4:] == 0).any(), "the picture's channels are not trained"


def test_an_export_is_an_adapter_that_loads_wherever_both_folders_go(
    trained: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_sd, tmp_path / "a" / "sd")
    export_instruct(trained, "instruct", tmp_path / "a" / "instruct", tmp_path / "a" / "sd")
    assert json.loads((tmp_path / "a" / "instruct" / "adapter.json").read_text()) == {"base": "../sd"}
    (tmp_path / "a").rename(tmp_path / "b")
    unet = load_parts(tmp_path / "b" / "instruct").unet.state_dict()
    state = load_checkpoint(trained / "instruct.pt")
    assert state is not None
    expected = adapt(load_parts(tiny_sd).unet, adapter_tensors(state["average"])).state_dict()
    assert all(torch.allclose(unet[name], value, atol=2e-3) for name, value in expected.items())
    before = hash_of_weights(tmp_path / "b" / "instruct")
    assert before != hash_of_weights(tmp_path / "b" / "sd") == hash_of_weights(tiny_sd)
    (tmp_path / "b" / "sd" / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"another")
    assert hash_of_weights(tmp_path / "b" / "instruct") != before, "the base does not count"
    with pytest.raises(FileNotFoundError, match=r"gas_diorama\.train nothing"):
        export_instruct(tmp_path, "nothing", tmp_path / "c")


def test_the_command_line_trains_one_adapter_and_then_a_second_one_on_it(
    tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_sd, tmp_path / "sd")
    small = {"batch": 2, "pairs": 4, "first_pairs": 4, "measured": 2}
    monkeypatch.setattr(train, "InstructSettings", partial(InstructSettings, **small, rank=2))
    monkeypatch.setattr(train, "remove_settings", partial(remove_settings, **small | {"measured": 0}))
    run = ["--out", str(tmp_path / "run"), "--steps", "1"]
    train.main(["instruct", *run, "--base", str(tmp_path / "sd"), "--folder", str(tmp_path / "first")])
    train.main(
        ["instruct-remove", *run, "--base", str(tmp_path / "first"), "--folder", str(tmp_path / "second"), "--full"]
    )
    files = find_base(tmp_path / "second")[1]
    assert [file.parent.name for file in files] == ["first", "second"]
    assert files[1].stat().st_size > 1.2 * files[0].stat().st_size, "--full is no larger than an adapter"
    assert load_parts(tmp_path / "second").unet.config.in_channels == 8
    assert "instruct step 1 followed: all" in (tmp_path / "run" / "train.log").read_text()
    preview = tmp_path / "run" / "instruct-previews" / "step-000001.png"
    assert Image.open(preview).size == (4 * 3 * 128, 128)
    figures = tmp_path / "figures.json"
    asked = ["--pairs", "2", "--steps", "1", "--text-guidance", "2"]
    written_to = ["--json", str(figures), "--sheet", str(tmp_path / "sheet.png")]
    evaluate_instruct.main(["--model", str(tmp_path / "first"), *asked, *written_to])
    written = json.loads(figures.read_text())
    assert written["settings"]["text"] == 2 and 0 <= written["followed"]["change"] <= 1
    assert Image.open(tmp_path / "sheet.png").size == (4 * 3 * 128, 128)


def test_removals_are_what_the_second_adapter_is_told() -> None:
    settings = remove_settings(seed=5)
    assert settings.seed == 5 and remove_settings(rank=0).rank == 0
    assert settings.forms["remove"] > 0.8 and sum(settings.forms.values()) == pytest.approx(1)


def test_what_training_pairs_add_stands_where_there_is_most_room() -> None:
    for seed in range(20):
        pair = sample_pair(np.random.default_rng(seed), {"add": 1.0}, "train")
        thing = pair.edit.target
        assert isinstance(thing, Thing) and pair.after == apply(pair.before, [pair.edit])
        assert (thing.x, thing.y, thing.size) == roomiest(pair.before.horizon, pair.before.objects)
    free = [sample_pair(np.random.default_rng(seed), {"add": 1.0}, "validation") for seed in range(20)]
    assert any(
        (one.edit.target.x, one.edit.target.y, one.edit.target.size)  # type: ignore[union-attr]
        != roomiest(one.before.horizon, one.before.objects)
        for one in free
    )


def test_text_and_picture_guide_the_answer(trained: Path, tiny_sd: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_sd, tmp_path / "sd")
    parts = load_parts(export_instruct(trained, "instruct", tmp_path / "instruct", tmp_path / "sd"))
    source = parts.encode(np.stack([render(SCENE), render(replace(SCENE, sky="night"))]))
    text, empty = parts.embed(["add a ball", "make it night"]), parts.embed([""])
    draw = partial(edited_latents, parts.unet, source, text, empty)
    plain = draw(Guidance(steps=2), seed=0)
    assert torch.equal(plain, draw(Guidance(steps=2), seed=0))
    for guidance, seed in [(Guidance(steps=3), 0), (Guidance(text=5, steps=2), 0), (Guidance(image=3, steps=2), 0)]:
        assert not torch.allclose(plain, draw(guidance, seed=seed), atol=1e-4), guidance
    assert not torch.allclose(plain, draw(Guidance(steps=2), seed=1), atol=1e-2)
    asked = held_out(3, "validation")
    assert answers(parts, asked, Guidance(steps=1), batch=2).shape == (3, 128, 128, 3)


@pytest.mark.parametrize("form", EDIT_FORMS)
def test_exact_answers_follow_and_the_source_does_not(form: str) -> None:
    pair = sample_pair(np.random.default_rng(3), {form: 1.0}, "validation")
    exact, source = followed(pair, render(pair.after)), followed(pair, render(pair.before))
    assert exact.done and not source.done
    assert exact.outside in (0.0, None) and source.outside in (0.0, None)


def test_a_thing_may_be_added_anywhere_but_must_be_the_one_asked_for() -> None:
    asked = _pair("add", Edit("add", "thing", None, Thing("ball", "blue", 66, 124, 36)))
    elsewhere = Thing("ball", "blue", 70, 88, 30)
    there = render(apply(SCENE, [Edit("add", "thing", None, elsewhere)]))
    found = locate(SCENE, asked.edit.target, there)
    assert abs(found.x - 70) <= 2 and abs(found.y - 88) <= 2 and abs(found.size - 30) <= 3
    assert followed(asked, there).done
    for wrong in (replace(elsewhere, colour="red"), replace(elsewhere, kind="house")):
        assert not followed(asked, render(apply(SCENE, [Edit("add", "thing", None, wrong)]))).done, wrong


def test_shares_and_the_error_outside() -> None:
    car = SCENE.objects[0]
    removal = _pair("remove", Edit("remove", "thing", car, None))
    sky = _pair("sky", Edit("change", "sky", "clear", "night"))
    spoilt = render(removal.after)
    spoilt[100:, 80:] = 0
    found = [followed(removal, spoilt), followed(sky, render(SCENE))]
    assert found[0].done and found[0].outside > 1
    table = shares([(removal, ""), (sky, "")], found)
    assert table["all"] == 0.5 and table["remove"] == 1 and table["sky"] == table["change"] == 0
    assert table["outside"] == pytest.approx(found[0].outside / 2)
    drawn = sheet([(removal, ""), (sky, "")], np.stack([spoilt, spoilt]), in_a_row=1)
    assert drawn.shape == (256, 384, 3) and np.array_equal(drawn[:128, 256:], spoilt)
