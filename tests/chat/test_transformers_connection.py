"""A connection to a model in this process, with tiny networks of real classes: offline, on one thread."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_cases import ANSWER, PICTURE, QUESTION, converse

from gas.chat import Message, Unusable, connect, encode
from gas.chat.transformers import TransformersConnection, TransformersConnectionOptions
from gas.errors import ModelUnavailable, OutOfResources, ServiceUnavailable
from gas.runtime import Runtime
from gas.testing.tiny import build_tiny_vision_language

KINDS = ["gemma3", *(["qwen3-vl"] if find_spec("torchvision") else [])]


@pytest.fixture(scope="module")
def random_model(tmp_path_factory) -> Path:
    return build_tiny_vision_language(tmp_path_factory.mktemp("vision-language") / "random")


@pytest.fixture(scope="module")
def knowing_model(tmp_path_factory) -> Path:
    """A model that says ANSWER to everything."""
    return build_tiny_vision_language(tmp_path_factory.mktemp("vision-language") / "knowing", says=ANSWER)


def connection(folder: Path, runtime: Runtime | None = None, **options) -> TransformersConnection:
    options = {"model": str(folder), "max_tokens": 64, **options}
    return connect(TransformersConnection, TransformersConnectionOptions(**options), runtime or cpu())


def cpu() -> Runtime:
    return Runtime(device="cpu", dtype="fp32", offline=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_answers(kind, tmp_path):
    made = connection(build_tiny_vision_language(tmp_path / "model", kind, says=ANSWER))
    found, reply = converse(made)
    assert found == {"colour": "red"} and not reply.cut and reply.reply_tokens == 2
    assert made.address is None and not made.remote and reply.model == str(tmp_path / "model")


def test_one_network_for_all_who_share_the_runtime(knowing_model, monkeypatch):
    loaded = []
    from gas.chat.transformers.network import VisionLanguageNetwork

    real = VisionLanguageNetwork.load.__func__
    monkeypatch.setattr(
        VisionLanguageNetwork, "load", classmethod(lambda cls, *args: loaded.append(args) or real(cls, *args))
    )
    runtime = cpu()
    first, second = connection(knowing_model, runtime), connection(knowing_model, runtime)
    other = connection(knowing_model, runtime, max_tokens=65)  # another connection to the same model
    for made in (first, second, other):
        converse(made)
    assert first is second and other is not first and len(loaded) == 1


def test_the_schema_is_told_in_words(knowing_model):
    made = connection(knowing_model)
    bare = made.ask(QUESTION, [PICTURE]).prompt_tokens
    _, reply = converse(made)
    assert reply.prompt_tokens > bare + 50


def test_an_answer_of_random_words_is_sent_back_once_and_refused(random_model):
    made = connection(random_model)
    with pytest.raises(Unusable, match="token limit") as caught:
        converse(made)
    assert caught.value.reply.cut and caught.value.reply.reply_tokens == 64
    assert "max_tokens" in str(caught.value.remedy)


def test_the_picture_is_looked_at(random_model):
    made = connection(random_model, max_tokens=64)
    white = encode(np.full((8, 8, 3), 255, np.uint8), 64)
    black, again, other = (made.ask(QUESTION, [p], likeliest=3).tokens[0] for p in (PICTURE, PICTURE, white))
    assert black == again
    assert black.likeliest != other.likeliest
    two = made.ask(QUESTION, [PICTURE, white])
    assert two.prompt_tokens > made.ask(QUESTION, [PICTURE]).prompt_tokens > made.ask(QUESTION).prompt_tokens


def test_probabilities_are_those_of_the_network(random_model):
    made = connection(random_model)
    reply = made.ask(QUESTION, [PICTURE], likeliest=4)
    network = made._network()
    inputs = network._inputs(QUESTION, [PICTURE], think=False)
    with torch.no_grad():
        logprobs = network.network(**inputs).logits[0, -1].float().log_softmax(-1)
    best = [logprob for _, logprob in reply.tokens[0].likeliest]
    assert best == pytest.approx(logprobs.topk(4).values.tolist(), abs=1e-4)
    assert reply.tokens[0].logprob == pytest.approx(best[0], abs=1e-4)
    assert len(reply.tokens) == reply.reply_tokens


def test_drawing_is_repeatable_by_its_seed_and_leaves_the_process_alone(random_model):
    made = connection(random_model, temperature=1.5)
    before = torch.random.get_rng_state()
    first, again, other = (made.ask(QUESTION, seed=seed).text for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())
    assert made.ask(QUESTION, seed=1).text != connection(random_model).ask(QUESTION, seed=1).text


def test_thinking_is_the_templates_business(random_model):
    spoken = [connection(random_model, think=think).ask(QUESTION).prompt_tokens for think in ("no", "yes")]
    assert spoken[1] > spoken[0]


def test_special_tokens_stay_for_some_models_mark_their_thoughts_by_them(random_model):
    network = connection(random_model)._network()
    mark = network.processor.tokenizer.convert_tokens_to_ids("<start_of_image>")
    assert network._text([mark]) == "<start_of_image>"


def test_thoughts_are_told_apart(tmp_path):
    made = connection(build_tiny_vision_language(tmp_path / "m", says=f"A draft.</think>{ANSWER}"))
    found, reply = converse(made)
    assert found == {"colour": "red"} and reply.parts.thoughts == "A draft."


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_runtime_says_the_number_format(dtype, knowing_model):
    made = connection(knowing_model, Runtime(device="cpu", dtype=dtype, offline=True))
    assert converse(made)[0] == {"colour": "red"}
    assert made._network().network.dtype is {"fp32": torch.float32, "bf16": torch.bfloat16}[dtype]


def test_the_time_ends(random_model):
    with pytest.raises(ServiceUnavailable, match=r"within 0\.001 s") as caught:
        connection(random_model, time_limit=0.001).ask(QUESTION)
    assert "time_limit" in caught.value.remedy


def test_memory_that_is_short_is_named(random_model, monkeypatch):
    made = connection(random_model)

    def failing(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(made._network().network, "generate", failing)
    with pytest.raises(OutOfResources, match="not enough memory"):
        made.ask(QUESTION)


def test_a_question_longer_than_the_context(random_model, tmp_path):
    short = shutil.copytree(random_model, tmp_path / "short")
    config = json.loads((short / "config.json").read_text())
    config["text_config"]["max_position_embeddings"] = 16
    (short / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelUnavailable, match="holds 16"):
        connection(short).ask(QUESTION)


def test_a_template_without_a_system_gets_its_text_with_the_users(knowing_model, tmp_path):
    strict = shutil.copytree(knowing_model, tmp_path / "strict")
    template = strict / "chat_template.jinja"
    refuses = "{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    text = template.read_text()
    template.write_text(text.replace("{% for m in messages %}", "{% for m in messages %}" + refuses, 1))
    made = connection(strict)
    assert converse(made)[0] == {"colour": "red"}
    with pytest.raises(ModelUnavailable, match="System role not supported"):
        made.ask([Message("system", "alone")])


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda f: (f / "chat_template.jinja").unlink(), "no chat template"),
        (lambda f: (f / "config.json").write_text('{"model_type": "llama"}'), "'llama', which does not take pictures"),
        (lambda f: (f / "config.json").write_text("[]"), "no readable config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "no weights"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x" * 100), "cannot be loaded"),
        (lambda f: (f / "config.json").unlink(), "config.json"),
    ],
)
def test_a_broken_model_is_named(break_it, words, knowing_model, tmp_path):
    broken = shutil.copytree(knowing_model, tmp_path / "broken")
    break_it(broken)
    with pytest.raises(ModelUnavailable, match=words):
        connection(broken).ask(QUESTION)


def test_weights_that_are_missing_are_not_filled_in(knowing_model, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(knowing_model, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    weights.pop(next(name for name in weights if "layers.0" in name))
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match="weights are missing"):
        connection(broken).ask(QUESTION)


def test_a_missing_package_is_named(knowing_model, monkeypatch):
    def lacking(*args, **kwargs):
        raise ImportError("Qwen3VLVideoProcessor requires the Torchvision library but it was not found.")

    monkeypatch.setattr("transformers.AutoProcessor.from_pretrained", lacking)
    with pytest.raises(ModelUnavailable, match="Torchvision") as caught:
        connection(knowing_model).ask(QUESTION)
    assert "torchvision" in caught.value.remedy


def test_offline_a_model_of_the_hub_is_not_fetched():
    with pytest.raises(ModelUnavailable, match="has not been downloaded"):
        connection(Path("Qwen/Qwen3-VL-2B-Instruct")).ask(QUESTION)
