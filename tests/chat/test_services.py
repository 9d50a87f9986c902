"""Each documented service by its fake: address, key, what it refuses in its own words, and what it gives besides."""

from __future__ import annotations

import json

import pytest
from chat_cases import ANSWER, PICTURE, QUESTION, SCHEMA, converse

from gas.chat import Unusable, probability_of_yes, said_yes
from gas.chat.openai import OpenAIConnection, OpenAIConnectionOptions
from gas.errors import ServiceUnavailable
from gas.runtime import Runtime
from gas.testing.servers import (
    FakeAnthropic,
    FakeGemini,
    FakeLlamaCpp,
    FakeLMStudio,
    FakeOpenRouter,
    FakeStrictOpenAI,
    FakeVLLM,
    say,
)
from gas.testing.servers.compatible import SEES, TAKES_SCHEMAS, THINKS

CLOUD = [FakeStrictOpenAI, FakeGemini, FakeAnthropic, FakeOpenRouter]
LOCAL = [FakeVLLM, FakeLMStudio, FakeLlamaCpp]
ALL = [*CLOUD, *LOCAL]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("gas.chat.calls.pause", lambda seconds: None)


def connection(server, **options) -> OpenAIConnection:
    options = {"base_url": server.url, "model": next(iter(server.able)), **options}
    return OpenAIConnection(OpenAIConnectionOptions(**options), Runtime())


@pytest.mark.parametrize("kind", ALL)
def test_an_answer_with_the_settings_of_the_docs(kind, monkeypatch):
    monkeypatch.setenv("MINE_API_KEY", "sk-mine")
    with kind([say(ANSWER)], key="sk-mine") as server:
        found, reply = converse(connection(server, login="mine"))
    assert found == {"colour": "red"} and reply.prompt_tokens == 1831
    assert len(server.chats) == 1 and server.chats[0].path == f"{kind.path}/chat/completions"
    assert server.chats[0].body["messages"][1]["content"][1]["type"] == "image_url"


@pytest.mark.parametrize("kind", ALL)
def test_a_refused_key_costs_one_call(kind):
    with kind([say(ANSWER)], key="sk-mine") as server, pytest.raises(ServiceUnavailable) as caught:
        converse(connection(server))
    assert len(server.chats) == 1
    assert "login refused" in caught.value.message and "login" in caught.value.remedy


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not FakeAnthropic])
def test_a_picture_for_a_model_that_does_not_see_costs_one_call(kind):
    models = {"blind": (TAKES_SCHEMAS,), "seeing": (SEES, TAKES_SCHEMAS)}
    with kind([say(ANSWER)], models) as server:
        with pytest.raises(ServiceUnavailable) as caught:
            converse(connection(server, model="blind"))
        assert len(server.chats) == 1 and caught.value.hint.code == "model_that_sees"
        found, _ = converse(connection(server, model="blind"), pictures=())
    assert found == {"colour": "red"}


@pytest.mark.parametrize("kind", [FakeOpenRouter, FakeLlamaCpp])
def test_a_service_that_says_which_models_see_is_believed(kind):
    models = {"blind": (TAKES_SCHEMAS,), "seeing": (SEES, TAKES_SCHEMAS)}
    with kind([say(ANSWER)], models) as server:
        with pytest.raises(ServiceUnavailable) as caught:
            converse(connection(server, model="blind"))
        assert caught.value.remedy.endswith("there: seeing")
        if kind is FakeOpenRouter:
            found, reply = converse(connection(server, model=""))  # the only one that sees
            assert found and reply.model == "seeing"


@pytest.mark.parametrize("kind", [kind for kind in ALL if kind is not FakeLlamaCpp])
def test_a_model_that_is_not_there_names_those_that_are(kind):
    with kind([say(ANSWER)]) as server, pytest.raises(ServiceUnavailable) as caught:
        converse(connection(server, model="nonsense"))
    assert "nonsense" in caught.value.message and next(iter(server.able)) in caught.value.remedy
    assert len(server.chats) == 1


@pytest.mark.parametrize("kind", ALL)
def test_a_model_without_schemas(kind):
    with kind([say(ANSWER)], {"plain": (SEES,)}) as server:
        made = connection(server, model="plain")
        assert converse(made)[0] == {"colour": "red"}
        refused = len(server.chats) - 1
        assert refused == (0 if kind is FakeAnthropic else 1)  # Anthropic's address ignores the schema
        converse(made)
    bodies = [chat.body for chat in server.chats]
    assert len(bodies) == 2 + refused  # that it takes none is remembered
    if refused:
        assert "response_format" in bodies[0] and not any("response_format" in body for body in bodies[1:])
        assert json.dumps(SCHEMA, separators=(",", ":")) in bodies[1]["messages"][0]["content"]


@pytest.mark.parametrize("kind", LOCAL)
def test_an_address_without_v1(kind):
    with kind([say(ANSWER)]) as server:
        for model in ("", next(iter(server.able))):
            if kind is FakeLlamaCpp and not model:
                continue  # it lists its model there too
            with pytest.raises(ServiceUnavailable) as caught:
                converse(connection(server, base_url=server.host, model=model))
            assert caught.value.hint.code == "versioned_address" and f"{server.host}/v1" in caught.value.remedy


@pytest.mark.parametrize(
    ("kind", "field"), [(FakeVLLM, "reasoning"), (FakeLMStudio, "reasoning_content"), (FakeOpenRouter, "reasoning")]
)
def test_thoughts_come_apart_from_the_answer(kind, field):
    with kind([say(ANSWER, thoughts="A draft: {}")], {"thinker": (SEES, TAKES_SCHEMAS, THINKS)}) as server:
        made = connection(server, model="thinker")
        found, reply = converse(made)
        assert field in json.loads(server.body(server.replies[0], {"model": "thinker"}))["choices"][0]["message"]
    assert found == {"colour": "red"} and reply.thoughts == "A draft: {}" and reply.answer == ANSWER


def test_thinking_can_be_turned_off():
    models = {"thinker": (SEES, TAKES_SCHEMAS, THINKS)}
    for kind in (FakeLlamaCpp, FakeOpenRouter):
        with kind([say(ANSWER)], models) as server:
            assert converse(connection(server, model="thinker"))[1].thoughts
            assert converse(connection(server, model="thinker", think="no"))[1].thoughts == ""
            assert server.chats[1].body["reasoning_effort"] == "none"
    extra = '{"chat_template_kwargs": {"enable_thinking": false}}'
    with FakeVLLM([say(ANSWER)], models) as server:
        assert converse(connection(server, model="thinker"))[1].thoughts
        assert converse(connection(server, model="thinker", extra=extra))[1].thoughts == ""


def test_gemini_spends_all_on_thoughts():
    with FakeGemini([say("", finish="length")]) as server, pytest.raises(Unusable, match="token limit") as caught:
        converse(connection(server))
    assert "think" in str(caught.value.remedy) and "max_tokens" in str(caught.value.remedy)


@pytest.mark.parametrize("kind", [FakeStrictOpenAI, FakeVLLM, FakeLlamaCpp, FakeOpenRouter])
def test_yes_with_its_probability(kind):
    with kind([say("Yes", likely={"Yes": 0.6, "No": 0.2, "yes": 0.1, "The": 0.1})]) as server:
        reply = connection(server).ask(QUESTION, [PICTURE], likeliest=5)
    assert server.chats[0].body["top_logprobs"] == 5 and server.chats[0].body["logprobs"] is True
    assert said_yes(reply) is True
    assert probability_of_yes(reply) == pytest.approx(0.7 / 0.9)


@pytest.mark.parametrize("kind", [FakeAnthropic, FakeGemini, FakeLMStudio])
def test_a_service_without_probabilities(kind):
    with kind([say("No, it is a dog.", likely={"No": 1.0})]) as server:
        reply = connection(server).ask(QUESTION, [PICTURE], likeliest=5)
    assert said_yes(reply) is False and probability_of_yes(reply) is None
