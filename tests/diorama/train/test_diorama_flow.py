"""The diorama's flow model on tiny settings: Stable Diffusion 3's layout and pipeline, a loss that falls, training that
goes on as if never stopped."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from gas.diffusion.load import backbone_from_folder
from gas.diffusion.stable_diffusion_3 import StableDiffusion3
from gas.errors import ModelUnavailable
from gas_diorama.train import optimisers, train, train_flow, training
from gas_diorama.train.drawn import TOKENS, draw
from gas_diorama.train.evaluate import flow_painter, text_to_image
from gas_diorama.train.flow import FlowSize, build_flow, export_flow, flow_ids, load_flow, sample_flow, text_states
from gas_diorama.train.scene_cache import SceneCache, padded, words_of
from gas_diorama.train.train_flow import FlowLearner, FlowSettings, logit_normal, patches, transformer_of
from gas_diorama.train.training import load_checkpoint, save_checkpoint
from gas_diorama.world import networks
from gas_diorama.world.asking import LABELS
from gas_diorama.world.language import caption
from gas_diorama.world.scene import GRID, sample_scene

pytestmark = pytest.mark.seeded

TINY = FlowSettings(
    width=32, heads=2, layers=2, shown_layer=0, steps=4, batch=4, peak=1e-2, warm_up=2, average=0.9,
    scenes=8, first_scenes=6, scenes_a_step=1, save_every=2, preview_every=9, previews=1,
)  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def trained(tiny_sd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a flow model was trained on the tiny model without a stop."""
    out = tmp_path_factory.mktemp("run")
    train_flow.train_flow(out, TINY, tiny_sd)
    return out


def _parts(folder: Path) -> tuple[CLIPTextModel, CLIPTokenizer]:
    encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()
    return encoder, CLIPTokenizer.from_pretrained(folder / "tokenizer")


def test_blocks_begin_as_the_identity_and_the_network_predicts_nothing() -> None:
    torch.manual_seed(0)
    network = build_flow(FlowSize(32, 2, 2), 4, 24)
    z, states, pooled = torch.randn(2, 4, GRID, GRID), torch.randn(2, 5, 24), torch.randn(2, 24)
    learner = FlowLearner(network, 1)
    with torch.no_grad():
        v, _ = learner(z, torch.tensor([0.2, 0.7]), states, pooled)
        assert not v.any() and torch.equal(learner._hidden, network.pos_embed(z))


def test_texts_are_told_as_stable_diffusion_3_takes_them(tiny_sd: Path) -> None:
    encoder, tokenizer = _parts(tiny_sd)
    ids = flow_ids(tokenizer, ["a red car on grass", ""])
    states, pooled = text_states(encoder, ids)
    with torch.no_grad():
        said = encoder(ids, output_hidden_states=True)
    assert ids.shape == (2, TOKENS)
    assert torch.allclose(states, said.hidden_states[-2], atol=0.1)
    assert torch.allclose(pooled, said.pooler_output, atol=0.1)
    assert not torch.allclose(states, said.last_hidden_state, atol=0.1)


def test_every_caption_of_the_world_fits() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(train_flow.WEIGHTS / "tokenizer")
    rng = np.random.default_rng(0)
    texts = [caption(sample_scene(rng, count=3), rng) for _ in range(300)]
    assert max(len(ids) for ids in tokenizer(texts).input_ids) <= TOKENS - 4


def test_labels_of_four_cells_lie_in_the_patch_that_covers_them() -> None:
    shown = torch.zeros(1, GRID, GRID, 3, dtype=torch.bool)
    shown[0, 5, 8, 2] = True  # row 5, column 8: patch row 2, patch column 4, the cell below on the left
    found = patches(shown.view(1, GRID * GRID, 3))
    assert found.shape == (1, 64, 12) and found.nonzero().tolist() == [[0, 2 * 8 + 4, 2 * 3 + 2]]


def test_times_are_logit_normal() -> None:
    t = logit_normal((torch.arange(4000) + 0.5) / 4000)
    logits = torch.logit(t)
    assert abs(logits.mean()) < 1e-3 and abs(logits.std() - 1) < 0.01 and ((t > 0) & (t < 1)).all()
    assert t[2000] == pytest.approx(0.5, abs=1e-3)


def test_a_stopped_run_goes_on_as_if_never_stopped(
    trained: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cut(Exception):
        pass

    def save_and_stop(path: Path, state: dict) -> None:
        save_checkpoint(path, state)
        raise Cut

    with monkeypatch.context() as stopping, pytest.raises(Cut):
        stopping.setattr(training, "save_checkpoint", save_and_stop)
        train_flow.train_flow(tmp_path, TINY, tiny_sd)
    half = load_checkpoint(tmp_path / "flow.pt")
    assert half is not None and half["step"] == 2
    train_flow.train_flow(tmp_path, TINY, tiny_sd)
    whole, resumed = load_checkpoint(trained / "flow.pt"), load_checkpoint(tmp_path / "flow.pt")
    assert whole is not None and resumed is not None
    for key in ("network", "average"):
        assert all(torch.equal(whole[key][name], resumed[key][name]) for name in whole[key]), key
        moved = [name for name in whole[key] if not torch.equal(whole[key][name], half[key][name])]
        assert any("attn" in name for name in moved) and "shown.weight" in moved, key


@pytest.mark.parametrize("muon", [True, False], ids=["muon", "adamw"])
def test_the_loss_falls(muon: bool, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []

    def fit(
        path: Path, network: object, settings: object, loss_at: Callable[[int], Tensor], *rest: object, **more: object
    ) -> object:
        def noted(step: int) -> Tensor:
            loss = loss_at(step)
            losses.append(loss.item())
            return loss

        return training.fit(path, network, settings, noted, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(train_flow, "fit", fit)
    train_flow.train_flow(tmp_path, replace(TINY, steps=30, save_every=99, muon=muon), tiny_sd)
    assert len(losses) == 30 and np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4])


def test_what_cells_show_teaches_the_transformer(tiny_sd: Path, tmp_path: Path) -> None:
    found = {}
    for weight in (0.0, 0.1):
        settings = replace(TINY, steps=1, warm_up=0, shown_weight=weight)
        train_flow.train_flow(tmp_path / str(weight), settings, tiny_sd)
        found[weight] = load_checkpoint(tmp_path / str(weight) / "flow.pt")["network"]  # type: ignore[index]
    torch.manual_seed(TINY.seed)
    begun = build_flow(TINY.size, 4, found[0.0]["transformer.context_embedder.weight"].shape[1])
    name = "pos_embed.proj.weight"
    assert torch.allclose(found[0.0][f"transformer.{name}"], begun.state_dict()[name], atol=2e-4), "only decayed"
    assert not torch.allclose(found[0.1][f"transformer.{name}"], begun.state_dict()[name], atol=2e-3)


def test_an_export_is_a_stable_diffusion_3_folder_on_the_model_beside_it(
    trained: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "FlowSettings", partial(replace, TINY))
    told = ["--out", str(trained), "--steps", "4", "--base", str(tiny_sd), "--folder", str(tmp_path / "f")]
    train.main(["flow", *told])
    folder = tmp_path / "f"
    index = json.loads((folder / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusion3Pipeline"
    assert (folder / index["_base"]).resolve() == tiny_sd.resolve()
    assert sorted(path.name for path in folder.iterdir()) == [
        "model_index.json",
        "scheduler",
        "tokenizer",
        "transformer",
    ]
    for name, (library, kind) in {k: v for k, v in index.items() if not k.startswith("_")}.items():
        assert kind is None or (folder / name).is_dir() or (tiny_sd / name).is_dir(), f"{name}: {library}.{kind}"
    assert CLIPTokenizer.from_pretrained(folder / "tokenizer").model_max_length == TOKENS
    assert FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler").config.shift == 1.0
    transformer = SD3Transformer2DModel.from_pretrained(folder / "transformer", torch_dtype=torch.float32)
    state = load_checkpoint(trained / "flow.pt")
    assert state is not None
    expected = transformer_of(state["average"], TINY).state_dict()
    assert all(torch.equal(value, expected[name].half().float()) for name, value in transformer.state_dict().items())
    assert (folder / "transformer" / "diffusion_pytorch_model.safetensors").stat().st_mode & 0o777 == 0o644


def test_sampling_is_what_diffusers_own_pipeline_draws(trained: Path, tiny_sd: Path, tmp_path: Path) -> None:
    encoder, tokenizer = _parts(tiny_sd)
    state = load_checkpoint(trained / "flow.pt")
    assert state is not None
    export_flow(transformer_of(state["average"], TINY), tokenizer, tmp_path / "flow", tiny_sd)
    pipeline, _ = load_flow(tmp_path / "flow")
    pipeline.set_progress_bar_config(disable=True)
    text, empty = (text_states(encoder, flow_ids(tokenizer, some)) for some in (["a red car", "snow"], [""]))
    noise = torch.randn(2, 4, GRID, GRID, generator=torch.Generator().manual_seed(3))
    latents = pipeline(
        prompt_embeds=text[0],
        pooled_prompt_embeds=text[1],
        negative_prompt_embeds=empty[0].expand_as(text[0]),
        negative_pooled_prompt_embeds=empty[1].expand_as(text[1]),
        num_inference_steps=5,
        guidance_scale=4.0,
        latents=noise,
        output_type="latent",
    ).images
    ours = sample_flow(pipeline.transformer, text, empty, seed=3, guidance_scale=4.0, steps=5)
    assert torch.allclose(ours, latents, atol=1e-4)
    pictures = text_to_image(flow_painter(tmp_path / "flow", 4.0, 2), ["a red car"] * 3, 0, batch=2)
    assert pictures.shape == (3, 128, 128, 3) and pictures.dtype == np.uint8


def test_the_toolkit_reads_it_as_a_model_with_one_text_encoder(trained: Path, tiny_sd: Path, tmp_path: Path) -> None:
    encoder, tokenizer = _parts(tiny_sd)
    state = load_checkpoint(trained / "flow.pt")
    assert state is not None
    export_flow(transformer_of(state["average"], TINY), tokenizer, tmp_path / "flow", tiny_sd)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # nothing is missing of which it would have to warn
        backbone = backbone_from_folder(tmp_path / "flow")
    assert isinstance(backbone, StableDiffusion3) and backbone.second is None and backbone.t5 is None
    said = ["a red car", ""]
    told = backbone.condition(said, (GRID, GRID))
    ids = flow_ids(tokenizer, said)
    with torch.no_grad():
        expected = encoder(ids, output_hidden_states=True)
    assert torch.allclose(told.embeddings, expected.hidden_states[-2], atol=1e-5)
    assert torch.allclose(told.extra["pooled"], expected.pooler_output, atol=1e-5)
    z, t = torch.randn(2, 4, GRID, GRID, generator=torch.Generator().manual_seed(1)), torch.tensor([0.3, 0.9])
    with torch.no_grad():
        v = backbone.network(z, told.embeddings, told.extra["pooled"], 1000 * t, return_dict=False)[0]
        assert torch.allclose(backbone.predict(z, t, told), v, atol=1e-6)
    picture = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert backbone.encode(picture).shape == (1, 4, GRID, GRID)


def test_a_model_whose_base_is_gone_is_refused(trained: Path, tiny_sd: Path, tmp_path: Path) -> None:
    _, tokenizer = _parts(tiny_sd)
    state = load_checkpoint(trained / "flow.pt")
    assert state is not None
    export_flow(transformer_of(state["average"], TINY), tokenizer, tmp_path / "flow", tmp_path / "gone")
    with pytest.raises(ModelUnavailable, match=r"vae/config\.json, text_encoder/config\.json missing"):
        backbone_from_folder(tmp_path / "flow")


def test_a_tokenizer_that_is_sent_to_processes_gives_the_same_ids(tiny_sd: Path) -> None:
    _, tokenizer = _parts(tiny_sd)
    rng = np.random.default_rng(0)
    texts = ["", "A Red car, please", "word " * 40, *(caption(sample_scene(rng), rng) for _ in range(9))]
    assert words_of(tokenizer).ids(texts).tolist() == flow_ids(tokenizer, texts).tolist()


def test_a_cache_keeps_what_was_drawn(tiny_sd: Path) -> None:
    vae = AutoencoderKL.from_pretrained(tiny_sd / "vae", torch_dtype=torch.float32).eval()
    _, tokenizer = _parts(tiny_sd)
    cache = SceneCache(vae, tokenizer, 6, seed=1, texts=2)
    cache.grow(2)
    first = cache.latents[:2].clone()
    cache.grow(99)
    assert cache.known == 6 and torch.equal(cache.latents[:2], first) and cache.latents[5].any()
    drawn = draw(1, np.arange(6), 2, words_of(tokenizer))
    with torch.no_grad():
        latents = vae.encode(networks.to_tensor(drawn.pictures)).latent_dist.mean
    assert torch.allclose(cache.latents.float(), latents, atol=0.05)
    assert torch.equal(cache.shown, torch.from_numpy(drawn.shown)) and drawn.shown.shape == (6, 256, len(LABELS))
    told = {
        tuple(ids): (number, kind)
        for number in range(6)
        for kind in range(2)
        for ids in drawn.ids[number, kind].tolist()
    }
    batch = cache.batch(400, torch.Generator().manual_seed(0), empty=0.2, short=0.3)
    empty = flow_ids(tokenizer, [""])[0]
    kinds = {"empty": 0, "short": 0, "whole": 0}
    for latent, ids in zip(batch.latents, batch.ids, strict=True):
        if torch.equal(ids, empty):
            kinds["empty"] += 1
            continue
        number, kind = told[tuple(ids.tolist())]
        kinds["short" if kind else "whole"] += 1
        if kind == 0:
            assert torch.equal(latent, cache.latents[number].float()), "a text of another scene"
    assert all(
        abs(kinds[kind] / 400 - share) < 0.08 for kind, share in (("empty", 0.2), ("short", 0.3), ("whole", 0.5))
    )
    assert torch.equal(padded(empty[None], tokenizer), networks.token_ids(tokenizer, [""]))


def test_muon_steps_matrices_of_blocks_and_adamw_the_rest() -> None:
    torch.manual_seed(0)
    network = build_flow(FlowSize(32, 2, 2), 4, 24)
    named = dict(network.named_parameters())
    both = optimisers.muon(lambda name: "transformer_blocks" in name and "norm1" not in name)(named, 1e-3, 0.1)
    first = {id(p) for group in both.parts[0].param_groups for p in group["params"]}
    assert isinstance(both.parts[0], torch.optim.Muon) and len(both.parts) == 2
    for name, p in named.items():
        inside = p.ndim == 2 and "transformer_blocks" in name and "norm1" not in name
        assert (id(p) in first) == inside, name
    assert sum(len(group["params"]) for group in both.param_groups) == len(named)
    for group in both.param_groups:
        assert group["weight_decay"] == (0.1 if group["params"][0].ndim > 1 else 0.0)
