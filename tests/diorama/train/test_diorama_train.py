"""The diorama's trainers on tiny settings: stopped, they go on as if never stopped, and what they export loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from transformers import CLIPTokenizer

from gas_diorama.train import (
    classifier,
    drawn,
    export,
    restore,
    train,
    train_text,
    train_unet,
    train_vae,
    training,
)
from gas_diorama.train.train_text import TextSettings
from gas_diorama.train.train_unet import UNetSettings
from gas_diorama.train.train_vae import DecoderSettings, VAESettings
from gas_diorama.train.training import learning_rate, load_checkpoint, save_checkpoint
from gas_diorama.world import networks, tokenizer
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.scene import Scene, Thing

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


VAE = VAESettings(channels=(8, 8, 16, 16), latent_channels=4, steps=4, batch=2, scenes=8, save_every=2, measured=16)
TEXT = TextSettings(width=24, layers=1, heads=2, vocabulary=700, steps=2, batch=4)
UNET = UNetSettings(
    channels=(16, 16, 32),
    steps=4,
    batch=2,
    scenes=12,
    first_scenes=6,
    scenes_a_step=2,
    save_every=2,
    preview_every=9,
    previews=1,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    """A tokenizer from little text, read back from its folder."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.train_tokenizer(size=1200, count=300).save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all three trainers ran without a stop."""
    out = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    tokenizer.train_tokenizer(size=700, count=50).save_pretrained(out / "tokenizer")
    train_vae.train_vae(out, VAE)
    train_unet.train_unet(out, UNET, TEXT)
    return out


class Stopped(Exception):
    pass


def _stop_after_first_save(monkeypatch: pytest.MonkeyPatch, module: object) -> None:
    def save_and_stop(path: Path, state: dict) -> None:
        save_checkpoint(path, state)
        raise Stopped

    monkeypatch.setattr(module, "save_checkpoint", save_and_stop)


def _same(a: dict, b: dict, key: str) -> bool:
    return all(torch.equal(a[key][name], b[key][name]) for name in a[key])


def test_a_stopped_vae_run_goes_on_as_if_never_stopped(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as stopping, pytest.raises(Stopped):
        _stop_after_first_save(stopping, train_vae)
        train_vae.train_vae(tmp_path, VAE)
    half = load_checkpoint(tmp_path / "vae.pt")
    assert half is not None and half["step"] == 2
    train_vae.train_vae(tmp_path, VAE)
    whole, resumed = load_checkpoint(trained / "vae.pt"), load_checkpoint(tmp_path / "vae.pt")
    assert whole is not None and resumed is not None
    assert _same(whole, resumed, "network") and _same(whole, resumed, "average")
    assert not _same(whole, half, "network")


def test_a_polished_decoder_leaves_every_latent_and_resumes(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vae.pt").write_bytes((trained / "vae.pt").read_bytes())
    before = train_vae.averaged_vae(tmp_path)
    settings = DecoderSettings(steps=4, batch=2, scenes=6, save_every=2)
    whole = train_vae.train_decoder(tmp_path, settings)
    x = networks.to_tensor(SceneBank(4).pictures(np.arange(4)))
    with torch.no_grad():
        latents = before.encode(x).latent_dist.mean
        assert torch.equal(whole.encode(x).latent_dist.mean, latents)
        assert not torch.equal(whole.decode(latents).sample, before.decode(latents).sample)
    (tmp_path / "decoder.pt").unlink()
    with monkeypatch.context() as stopping, pytest.raises(Stopped):
        _stop_after_first_save(stopping, train_vae)
        train_vae.train_decoder(tmp_path, settings)
    resumed = train_vae.train_decoder(tmp_path, settings).state_dict()
    assert all(torch.equal(resumed[name], value) for name, value in whole.state_dict().items())


def test_pixels_of_things_weigh_more() -> None:
    small, large = Thing("ball", "red", 30, 110, 24), Thing("car", "blue", 90, 110, 50)
    weights = train_vae.pixel_weights(Scene("clear", "grass", 66, (small, large)), DecoderSettings())[0]
    assert weights[100, 30] == 10 and weights[95, 90] == 4 and weights[5, 5] == 1


def test_a_stopped_unet_run_goes_on_as_if_never_stopped(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vae.pt", "text.pt"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    (tmp_path / "tokenizer").symlink_to(trained / "tokenizer")
    with monkeypatch.context() as stopping, pytest.raises(Stopped):
        _stop_after_first_save(stopping, training)
        train_unet.train_unet(tmp_path, UNET, TEXT)
    half = load_checkpoint(tmp_path / "unet.pt")
    assert half is not None and half["step"] == 2
    train_unet.train_unet(tmp_path, UNET, TEXT)
    assert Image.open(tmp_path / "previews" / "step-000004.png").size == (128, 128)
    whole, resumed = load_checkpoint(trained / "unet.pt"), load_checkpoint(tmp_path / "unet.pt")
    assert whole is not None and resumed is not None
    for key in ("network", "average"):
        assert _same(whole, resumed, key), key
        for part in ("unet.", "encoder."):
            names = [name for name in whole[key] if name.startswith(part)]
            assert any(not torch.equal(whole[key][name], half[key][name]) for name in names), f"{part} is not trained"


def test_an_export_is_a_stable_diffusion_folder_in_half_precision(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sd"
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "config.json").write_text("old")
    export.export(trained, folder)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sd"], "a partial folder was left"
    assert next(iter(_tensors(folder / "unet"))).dtype == torch.float16
    pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.vae_scale_factor == 8 and pipeline.vae.config.scaling_factor == 1.0
    pictures = pipeline(["a red car on grass"], num_inference_steps=1, output_type="np").images
    assert pictures.shape == (1, 128, 128, 3)
    assert any("up_blocks" in name and name.endswith("attn1") for name, _ in pipeline.unet.named_modules())


def _tensors(folder: Path) -> list[torch.Tensor]:
    from safetensors.torch import load_file

    return list(load_file(folder / "diffusion_pytorch_model.safetensors").values())


def test_latents_are_standardised_and_decode_as_before(trained: Path) -> None:
    state = load_checkpoint(trained / "vae.pt")
    assert state is not None
    plain = train_vae.build_vae(VAESettings(**state["settings"]))
    plain.load_state_dict(state["average"])
    folded = train_vae.averaged_vae(trained)
    x = networks.to_tensor(SceneBank(VAE.measured, VAE.seed).pictures(np.arange(VAE.measured)))
    with torch.no_grad():
        latents = folded.encode(x).latent_dist.mean
        assert latents.mean(dim=(0, 2, 3)).abs().max() < 1e-3
        assert (latents.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-3
        before = plain.decode(plain.encode(x).latent_dist.mean).sample
        assert (folded.decode(latents).sample - before).abs().max() < 1e-4
        ratio = folded.encode(x).latent_dist.std / plain.encode(x).latent_dist.std
        scale = latents.std() / plain.encode(x).latent_dist.mean.std(dim=(0, 2, 3))
        assert torch.allclose(ratio.mean(dim=(0, 2, 3)), scale, rtol=0.02)


@pytest.mark.parametrize(
    ("stage", "command"), [("VAE", train_vae.averaged_vae), ("UNet", train_unet.networks)], ids=["vae", "unet"]
)
def test_a_missing_checkpoint_names_the_command_that_makes_it(stage: str, command: object, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"no {stage} checkpoint.*gas_diorama\.train {stage.lower()}"):
        command(tmp_path)  # type: ignore[operator]


def test_the_command_line_trains_the_stage_asked_for(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer").symlink_to(trained / "tokenizer")
    train.main(["text", "--out", str(tmp_path), "--steps", "1", "--seed", "3"])
    state = load_checkpoint(tmp_path / "text.pt")
    assert state is not None and state["step"] == 1 and state["settings"]["seed"] == 3
    assert "text step 0" in (tmp_path / "train.log").read_text()


def test_half_a_checkpoint_never_replaces_a_whole_one(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", {"step": 1})
    with pytest.raises(AttributeError):
        save_checkpoint(tmp_path / "a.pt", {"step": lambda: 2})
    assert load_checkpoint(tmp_path / "a.pt") == {"step": 1}


def test_learning_rate_warms_up_and_dies_away() -> None:
    rates = [learning_rate(step, 100, 1e-3, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4) and max(rates) == pytest.approx(1e-3) and rates[9] == max(rates)
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] < 2e-5


def test_small_things_weigh_most() -> None:
    small, large = Thing("ball", "red", 30, 110, 24), Thing("car", "blue", 90, 110, 50)
    weights = drawn.cell_weights(Scene("clear", "grass", 66, (small, large)))[0]
    assert weights[12, 3] == 6 and weights[12, 11] == 3 and weights[0, 0] == 1


def test_tokenizer_round_trip_and_special_ids(words: CLIPTokenizer) -> None:
    assert words.model_max_length == 77
    assert words.bos_token_id == len(words) - 2 and words.eos_token_id == len(words) - 1 == words.pad_token_id
    for text in ("change the red car into a blue house", "a purple snowman", "zyx ümlaut 日本!", ""):
        ids = words(text).input_ids
        assert ids[0] == words.bos_token_id and ids[-1] == words.eos_token_id
        assert words.decode(ids, skip_special_tokens=True).replace(" ", "") == text.lower().replace(" ", "")
    for word in ("car", "snowman", "sunset", "change", "igloo"):
        assert len(words(word).input_ids) == 3, f"{word} is no single token"


def test_text_encoder_pools_at_the_end_token(words: CLIPTokenizer) -> None:
    encoder = train_text.build_text_encoder(TEXT, words).eval()
    ids = networks.token_ids(words, ["a red car", ""])
    assert ids.shape == (2, 77)
    with torch.no_grad():
        out = encoder(ids)
    assert torch.equal(out.pooler_output[0], out.last_hidden_state[0, 4])
    assert torch.equal(out.pooler_output[1], out.last_hidden_state[1, 1])


def test_what_a_text_speaks_of() -> None:
    said = dict(zip(train_text._WORDS, train_text.spoken_of("a red car, snow and a clear sky"), strict=True))
    assert {word for word, one in said.items() if one} == {"red car", "car", "snow", "clear sky"}


def test_judge_counts_what_is_right() -> None:
    scenes = [
        Scene("clear", "grass", 66, (Thing("car", "red", 40, 110, 48), Thing("tree", "green", 98, 104, 44))),
        Scene("night", "snow", 66, (Thing("ball", "blue", 40, 110, 48),)),
    ]
    grounds, skies, things = classifier.truth(scenes)

    def fixed(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rows = slice(0, len(x))
        logits = things.clone()
        logits[0, classifier.COLOURS.index("green"), classifier.KINDS.index("tree")] = 0  # seen as a green car instead
        logits[0, classifier.COLOURS.index("green"), classifier.KINDS.index("car")] = 1
        ground = torch.nn.functional.one_hot(torch.stack([grounds[0], grounds[0]]), 4).float()
        return ground[rows], torch.nn.functional.one_hot(skies, 3).float()[rows], (logits - 0.5)[rows]

    figures = classifier.judge(fixed, np.zeros((2, 128, 128, 3), np.uint8), scenes)  # type: ignore[arg-type]
    assert figures["ground"] == 0.5 and figures["sky"] == 1
    assert figures["colour"] == 1 and figures["kind"] == pytest.approx(2 / 3)
    assert figures["thing"] == pytest.approx(2 / 3) and figures["invented"] == pytest.approx(1 / 3)


def test_a_trained_classifier_is_kept_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vae = train_vae.build_vae(VAE).eval()
    settings = classifier.ClassifierSettings(steps=3, batch=4, scenes=6, round_trips=4, calibration=4, warm_up=1)
    first = classifier.train_classifier(tmp_path, vae, settings).state_dict()
    torch.manual_seed(settings.seed)
    begun = classifier.Classifier().state_dict()
    assert not torch.equal(first["ground.weight"], begun["ground.weight"])
    monkeypatch.setattr(classifier, "fit", None)  # would fail if it was called
    again = classifier.train_classifier(tmp_path, vae, settings).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_a_calibrated_classifier_sees_as_many_things_as_there_are() -> None:
    torch.manual_seed(0)
    network, vae = classifier.Classifier().eval(), train_vae.build_vae(VAE).eval()
    classifier.calibrate(network, vae, 12)
    bank = SceneBank(12, seed=2, part="validation")
    pictures = bank.pictures(np.arange(12))
    with torch.no_grad():
        things = network(networks.to_tensor(networks.round_trip(vae, pictures)))[2]
    assert (things > 0).sum() == classifier.truth([bank.scene(n) for n in range(12)])[2].sum()


def test_restored_checkpoints_hold_what_was_exported_and_training_goes_on(trained: Path, tmp_path: Path) -> None:
    folder = export.export(trained, tmp_path / "sd")
    out = tmp_path / "again"
    restore.restore(out, folder)
    before, after = train_unet.networks(trained), train_unet.networks(out)
    for old, new in zip((before[0], before[1], before[3]), (after[0], after[1], after[3]), strict=True):
        kept = new.state_dict()
        for name, value in old.state_dict().items():
            assert torch.equal(value.half().float(), kept[name].float()), name
    with pytest.raises(FileExistsError, match="another folder"):
        restore.restore(out, folder)
    train_vae.train_decoder(out, DecoderSettings(steps=1, batch=2, scenes=8))
    encoded, kept = train_vae.averaged_vae(out).state_dict(), before[0].state_dict()
    assert all(torch.equal(encoded[n], kept[n].half().float()) for n in kept if n.startswith(("encoder", "quant")))
    assert any(not torch.equal(encoded[n], kept[n].half().float()) for n in kept if n.startswith("decoder"))
    train_unet.train_unet(out, UNET, TEXT)
    assert load_checkpoint(out / "unet.pt")["step"] == UNET.steps
