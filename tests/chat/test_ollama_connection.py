"""A connection to an Ollama: models that think, what it does not take, addresses, probabilities."""

from __future__ import annotations

import json

import pytest
from chat_cases import ANSWER, BRACKETS, PICTURE, QUESTION, SCHEMA, converse

from gas.chat import Unusable, probability_of_yes, said_yes
from gas.chat import calls as service
from gas.chat.ollama import OllamaConnection, OllamaConnectionOptions
from gas.errors import ServiceUnavailable, UsageError
from gas.runtime import Runtime
from gas.testing.servers import FakeOllama, Reply, say

THINKER = {"qwen3-vl:latest": ("completion", "vision", "thinking")}
SEES = {"llava:latest": ("completion", "vision")}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(service, "pause", lambda seconds: None)


def connection(server: FakeOllama, **options) -> OllamaConnection:
    return OllamaConnection(OllamaConnectionOptions(host=server.url, **options), Runtime())


def refusal(status: int, body) -> Reply:
    return Reply(status=status, raw=json.dumps(body).encode())


# --- thinking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "think", "sent"),
    [
        (SEES, "no", "absent"),
        (THINKER, "no", False),
        (THINKER, "yes", True),
        (THINKER, "low", "low"),
    ],
)
def test_think_is_sent_where_the_model_is_listed_as_thinking(models, think, sent):
    with FakeOllama([say(ANSWER)], models) as server:
        named = connection(server, think=think, model=next(iter(models)))
        found, reply = converse(named)
        converse(connection(server, think=think))  # chosen by what it reports
    assert found == {"colour": "red"}
    assert [chat.body.get("think", "absent") for chat in server.chats] == [sent, sent]
    assert bool(reply.thoughts) is (sent not in ("absent", False))


def test_a_model_that_cannot_think_is_not_told_to():
    with FakeOllama([say(ANSWER)], SEES) as server, pytest.raises(ServiceUnavailable, match="does not think") as caught:
        converse(connection(server, model="llava", think="yes"))
    assert 'think="no"' in caught.value.remedy and server.chats == []


def test_an_answer_that_is_all_thought_says_so_and_names_the_option():
    with FakeOllama([say("")], THINKER) as server, pytest.raises(Unusable, match="only thought") as caught:
        converse(connection(server, think="yes"))
    assert len(server.chats) == 1
    assert 'think="no"' in str(caught.value.remedy) and "max_tokens" in str(caught.value.remedy)
    with FakeOllama([say("", thoughts="hm")], SEES) as server, pytest.raises(Unusable) as caught:
        converse(connection(server))
    assert "need not think" in str(caught.value.remedy)  # it was not asked to


def test_the_whole_answer_in_the_place_of_thoughts_is_read():
    with FakeOllama([say("", thoughts=ANSWER)], SEES) as server:
        found, reply = converse(connection(server))
    assert found == {"colour": "red"} and reply.parts.in_thoughts


def test_an_ollama_that_refuses_think_is_asked_without():
    refused = refusal(400, {"error": '"qwen3-vl" does not support thinking'})
    with FakeOllama([refused, say(ANSWER)], THINKER) as server:
        assert converse(connection(server))[0] == {"colour": "red"}
    assert "think" in server.chats[0].body and "think" not in server.chats[1].body
    assert "format" in server.chats[1].body


def test_an_ollama_that_loses_the_schema_is_told_it_in_words():
    """Some models are not held to `format` when they are told not to think (ollama/ollama#14645, #15260)."""
    with FakeOllama([say("It is red."), say(ANSWER)], THINKER) as server:
        assert converse(connection(server))[0] == {"colour": "red"}
    assert json.dumps(SCHEMA, separators=(",", ":")) in server.chats[1].body["messages"][-1]["content"]


# --- what it does not take --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "body", [{"error": "whatever"}, [{"error": "x"}], {"detail": [{"loc": ["a"], "msg": "b"}]}, {}]
)
def test_any_refusal_of_a_schema_is_asked_once_more_without_it(status, body):
    with FakeOllama([refusal(status, body), say(ANSWER)]) as server:
        made = connection(server)
        assert converse(made)[0] == {"colour": "red"}
        converse(made)
    assert ["format" in chat.body for chat in server.chats] == [True, False, False]
    assert '"additionalProperties":false' in server.chats[1].body["messages"][0]["content"]


def test_a_grammar_that_fails_inside_is_asked_without():
    with FakeOllama([refusal(500, {"error": "failed to parse grammar"}), say(ANSWER)]) as server:
        assert converse(connection(server))[0] == {"colour": "red"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": "no such thing"}, "no such thing"),
        ({"error": {"message": "no such thing"}}, "no such thing"),
        ([{"error": {"message": "no such thing"}}], "no such thing"),
        ({"detail": [{"loc": ["body"], "msg": "no such thing"}]}, "body: no such thing"),
        ({"message": {"detail": "no such thing"}}, "no such thing"),
        ("no such thing", "no such thing"),
    ],
    ids=range(6),
)
def test_error_bodies_of_every_shape_show_their_message(body, words):
    with FakeOllama([refusal(503, body)]) as server, pytest.raises(ServiceUnavailable, match=words):
        converse(connection(server))


@pytest.mark.parametrize("status", [200, 400, 500])
def test_two_hundred_thousand_brackets_exit_with_8(status):
    with (
        FakeOllama([Reply(raw=BRACKETS + b"\n", status=status)]) as server,
        pytest.raises(ServiceUnavailable) as caught,
    ):
        converse(connection(server))
    assert caught.value.exit_code == 8 and "[[[[" not in caught.value.message


def test_no_vision_costs_one_call(monkeypatch):
    with FakeOllama([refusal(500, {"error": "this model is missing data required for image input"})]) as server:
        with pytest.raises(ServiceUnavailable) as caught:
            converse(connection(server))
        assert len(server.chats) == 1 and caught.value.hint.code == "model_that_sees"


def test_a_blind_model_names_one_that_is_there_and_sees():
    with FakeOllama([say(ANSWER)], {"llama3:8b": ("completion",), "gemma4:e4b": ("vision",)}) as server:
        with pytest.raises(ServiceUnavailable, match="takes no pictures") as caught:
            converse(connection(server, model="llama3:8b"))
        assert "gemma4:e4b" in caught.value.remedy and server.chats == []
    with FakeOllama([say(ANSWER)], {"llama3:8b": ("completion",)}) as server:
        for model in ("llama3:8b", ""):
            with pytest.raises(ServiceUnavailable) as caught:
                converse(connection(server, model=model))
            assert "ollama pull qwen3-vl" in caught.value.remedy and "gemma4" in caught.value.remedy


def test_without_a_picture_any_model_that_chats_will_do():
    models = {"embed:latest": ("embedding",), "llama3:8b": ("completion",), "llava:latest": ("completion", "vision")}
    with FakeOllama([say(ANSWER)], models) as server:
        assert converse(connection(server), pictures=())[1].model == "llama3:8b"
        assert converse(connection(server))[1].model == "llava:latest"
    with FakeOllama([say(ANSWER)], {"embed:latest": ("embedding",)}) as server:
        for pictures in ((), (PICTURE,)):
            with pytest.raises(ServiceUnavailable, match="no model that") as caught:
                converse(connection(server), pictures)
            assert caught.value.hint.code == "pull_or_name"


def test_a_chosen_model_that_cannot_think_is_not_told_to_either():
    with FakeOllama([say(ANSWER)], SEES) as server, pytest.raises(ServiceUnavailable, match="does not think"):
        converse(connection(server, think="yes"))


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["/v1", "/v1/", "/v1/chat/completions", "/api", "/api/chat"])
def test_an_address_that_goes_on_into_the_ollamas_paths(end):
    with pytest.raises(UsageError) as caught:
        OllamaConnection(OllamaConnectionOptions(host=f"http://localhost:11434{end}"), Runtime())
    assert caught.value.remedy == 'leave that out: the option host="http://localhost:11434"'


# --- probabilities ----------------------------------------------------------------------------------------------------


def test_yes_with_its_probability():
    with FakeOllama([say("Yes", likely={"Yes": 0.75, "No": 0.25})]) as server:
        reply = connection(server).ask(QUESTION, [PICTURE], likeliest=4)
        assert said_yes(reply) is True and probability_of_yes(reply) == pytest.approx(0.75)
        assert connection(server).ask(QUESTION, [PICTURE]).tokens == ()
    assert server.chats[0].body["top_logprobs"] == 4 and "logprobs" not in server.chats[1].body
