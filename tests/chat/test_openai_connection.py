"""A connection in OpenAI's language, where a service is not OpenAI: what it does not take, what it answers instead."""

from __future__ import annotations

import json

import pytest
from chat_cases import ANSWER, BRACKETS, PICTURE, QUESTION, SCHEMA, converse

from gas.chat import Unusable, connect
from gas.chat import calls as service
from gas.chat.openai import OpenAIConnection, OpenAIConnectionOptions
from gas.errors import ServiceUnavailable, UsageError
from gas.runtime import Runtime
from gas.testing.servers import FakeOpenAI, Reply, fail, say


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(service, "pause", lambda seconds: None)


def connection(server: FakeOpenAI, **options) -> OpenAIConnection:
    options = {"base_url": server.url, "model": "fake-vision", **options}
    return OpenAIConnection(OpenAIConnectionOptions(**options), Runtime())


def refusal(status: int, body) -> Reply:
    return Reply(status=status, raw=json.dumps(body).encode())


def message(**fields) -> Reply:
    """A reply whose message has these fields."""
    return say(
        "", fields={"choices": [{"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": "stop"}]}
    )


# --- what a service does not take -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(
    "body",
    [
        {"error": {"code": 400, "message": "Failed to parse grammar", "type": "invalid_request_error"}},
        {"error": "'response_format.type' must be 'json_object' or 'text'"},
        [{"error": {"code": 400, "message": "Unknown name 'additionalProperties'", "status": "INVALID_ARGUMENT"}}],
        {"detail": [{"loc": ["body", "response_format"], "msg": "Extra inputs are not permitted"}]},
        {"message": {"reason": "something else altogether"}},
        "Bad Request",
        {},
    ],
    ids=range(7),
)
def test_any_refusal_of_a_schema_is_asked_once_more_without_it(status, body):
    with FakeOpenAI([refusal(status, body), say(ANSWER)]) as server:
        made = connection(server)
        assert converse(made)[0] == {"colour": "red"}
        first, second = (chat.body for chat in server.chats)
        assert "response_format" in first and "response_format" not in second
        assert '"additionalProperties":false' in second["messages"][0]["content"]
        converse(made)
    assert len(server.chats) == 3 and "response_format" not in server.chats[2].body


def test_a_refused_schema_is_remembered_only_when_leaving_it_out_helped():
    with FakeOpenAI([fail(400, "no"), fail(401, "no"), say(ANSWER)]) as server:
        made = connection(server)
        with pytest.raises(ServiceUnavailable):
            converse(made)
        converse(made)
    assert "response_format" in server.chats[2].body


@pytest.mark.parametrize("status", [400, 422])
def test_any_refusal_of_the_limits_name_is_asked_with_the_other(status):
    with FakeOpenAI([fail(status, "Bad Request"), fail(status, "Bad Request"), say(ANSWER)]) as server:
        made = connection(server)
        assert converse(made)[0] == {"colour": "red"}
    limits = [sorted({"max_tokens", "max_completion_tokens"} & chat.body.keys()) for chat in server.chats]
    assert limits == [["max_completion_tokens"], ["max_completion_tokens"], ["max_tokens"]]


def test_a_named_part_is_left_out_first():
    detail = {"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"}]}
    with FakeOpenAI([refusal(422, detail), say(ANSWER)]) as server:
        converse(connection(server))
    assert "max_tokens" in server.chats[1].body and "response_format" in server.chats[1].body


def test_what_is_refused_again_and_again_says_so_after_three_calls():
    with FakeOpenAI([fail(400, "no such thing")]) as server, pytest.raises(ServiceUnavailable, match="no such thing"):
        converse(connection(server))
    assert len(server.chats) == 3


def test_probabilities_that_a_service_does_not_know_are_left_out():
    with FakeOpenAI([fail(400, "logprobs are not supported"), say("yes")]) as server:
        made = connection(server)
        reply = made.ask(QUESTION, [PICTURE], likeliest=3)
        assert reply.text == "yes" and reply.tokens == ()
        made.ask(QUESTION, [PICTURE], likeliest=3)
    assert ["logprobs" in chat.body for chat in server.chats] == [True, False, False]


@pytest.mark.parametrize("status", [400, 404, 500, 501])
def test_no_vision_costs_one_call(status):
    body = {"error": {"code": status, "message": "image input is not supported - hint: provide the mmproj"}}
    with FakeOpenAI([refusal(status, body)]) as server, pytest.raises(ServiceUnavailable) as caught:
        converse(connection(server))
    assert len(server.chats) == 1 and caught.value.hint.code == "model_that_sees"
    with FakeOpenAI([refusal(500, body)]) as server, pytest.raises(ServiceUnavailable) as caught:
        connection(server).ask(QUESTION)  # no picture was sent: then it is not about one
    assert caught.value.hint.code != "model_that_sees"


def test_an_option_that_the_service_does_not_take_is_named():
    for options, parameter, name in (({"temperature": 1.5}, "temperature", "temperature"),
                                     ({"think": "low"}, "reasoning_effort", "think")):  # fmt: skip
        refused = fail(400, f"Unsupported value: '{parameter}'", param=parameter)
        with FakeOpenAI([refused]) as server, pytest.raises(ServiceUnavailable) as caught:
            converse(connection(server, **options))
        assert name in caught.value.remedy


# --- what a service answers instead -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reply",
    [
        *(Reply(raw=BRACKETS, status=status) for status in (200, 400, 500)),
        Reply(raw=b'{"choices": ' + BRACKETS),
        Reply(raw=b'{"error": ' + BRACKETS),
    ],
    ids=range(5),
)
def test_two_hundred_thousand_brackets_exit_with_8(reply):
    with FakeOpenAI([reply]) as server, pytest.raises(ServiceUnavailable) as caught:
        converse(connection(server))
    assert caught.value.exit_code == 8 and "[[[[" not in caught.value.message


def test_brackets_instead_of_models(monkeypatch):
    monkeypatch.setattr(FakeOpenAI, "other", lambda self, asked: (200, None))
    monkeypatch.setattr("gas.testing.servers.service.json.dumps", lambda value: BRACKETS.decode())
    with FakeOpenAI() as server, pytest.raises(ServiceUnavailable, match="nested too deeply"):
        converse(connection(server, model=""))


def test_brackets_as_an_answer_are_sent_back_and_refused():
    with FakeOpenAI([say(BRACKETS.decode())]) as server, pytest.raises(Unusable):
        converse(connection(server))
    assert len(server.chats) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "upstream died", "code": 502}}, "answered 502: upstream died"),
        ({"error": {"message": "upstream died", "code": "502"}}, "answered 502: upstream died"),
        ({"error": "upstream died"}, "reported an error: upstream died"),
    ],
)
def test_an_error_with_status_200(body, words):
    with FakeOpenAI([Reply(raw=json.dumps(body).encode())]) as server, pytest.raises(ServiceUnavailable, match=words):
        converse(connection(server))


def test_a_refused_schema_with_status_200():
    body = {"error": {"message": "Provider returned error", "code": 400}}
    with FakeOpenAI([Reply(raw=json.dumps(body).encode()), say(ANSWER)]) as server:
        assert converse(connection(server))[0] == {"colour": "red"}


# --- thinking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"content": None, "reasoning_content": ANSWER},
        {"content": "", "reasoning": ANSWER},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": ANSWER}]}]},
    ],
    ids=["SGLang", "vLLM", "Mistral"],
)
def test_the_whole_answer_in_the_place_of_thoughts_is_read(fields):
    with FakeOpenAI([message(**fields)]) as server:
        found, reply = converse(connection(server))
    assert found == {"colour": "red"} and reply.parts.in_thoughts and len(server.chats) == 1


@pytest.mark.parametrize(
    "reply",
    [
        message(content=None, reasoning_content=f"A draft: {ANSWER}"),
        message(content=f"<think>A draft: {ANSWER}</think>"),
        say("", thoughts="counted only"),
        message(content=[{"type": "thinking", "thinking": "hm"}]),
    ],
    ids=range(4),
)
def test_an_answer_that_is_all_thought_says_so_and_names_the_option(reply):
    with FakeOpenAI([reply]) as server, pytest.raises(Unusable, match="only thought") as caught:
        converse(connection(server))
    assert len(server.chats) == 1  # asking again would bring more thoughts
    remedy = str(caught.value.remedy)
    assert 'think="no"' in remedy and "max_tokens=16384" in remedy


def test_thoughts_in_parts_beside_the_answer():
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": ANSWER}]
    with FakeOpenAI([message(content=parts)]) as server:
        found, reply = converse(connection(server))
    assert found == {"colour": "red"} and reply.thoughts == "hm"


def test_options_of_thinking_reach_the_service():
    with FakeOpenAI([say(ANSWER)]) as server:
        for think in ("", "no", "low"):
            converse(connection(server, think=think))
        converse(connection(server, extra='{"chat_template_kwargs": {"enable_thinking": false}, "top_k": 1}'))
    efforts = [chat.body.get("reasoning_effort") for chat in server.chats]
    assert efforts == [None, "none", "low", None]
    assert server.chats[3].body["chat_template_kwargs"] == {"enable_thinking": False}
    assert server.chats[3].body["top_k"] == 1


@pytest.mark.parametrize("extra", ["{", "[1]", '"x"', '{"messages": []}', '{"model": "x"}', "[" * 4000])
def test_extra_fields_that_cannot_be(extra):
    with pytest.raises(ValueError, match="extra"):
        OpenAIConnectionOptions(extra=extra)


# --- addresses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["/v1/chat/completions", "/v1/chat/completions/", "/v1/completions", "/v1/models"])
def test_an_address_that_names_the_endpoint_is_refused_with_the_right_one(end):
    with pytest.raises(UsageError) as caught:
        OpenAIConnection(OpenAIConnectionOptions(base_url=f"http://localhost:1234{end}"), Runtime())
    assert "http://localhost:1234/v1" in caught.value.remedy and "chat/completions" not in caught.value.remedy


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=404, raw=b'{"detail": "Not Found"}'),
        Reply(status=404, raw=b"404 page not found", content_type="text/plain"),
        Reply(raw=b'{"error": "Unexpected endpoint or method. (POST /chat/completions)"}'),
        Reply(raw=b"<html><title>llama.cpp</title></html>", content_type="text/html"),
        Reply(raw=b'{"status": "ok"}'),
        Reply(raw=b"hello", content_type="text/plain"),
    ],
    ids=range(6),
)
def test_an_address_without_v1_says_so(reply, monkeypatch):
    monkeypatch.setattr(FakeOpenAI, "path", "")
    with FakeOpenAI([reply]) as server:
        with pytest.raises(ServiceUnavailable) as caught:
            converse(connection(server))
        assert f"{server.host}/v1" in caught.value.remedy and len(server.chats) == 1
    server = FakeOpenAI()
    server._server.server_close()
    with pytest.raises(ServiceUnavailable) as caught:
        converse(connection(server))
    assert "/v1" not in caught.value.remedy and "running" in caught.value.remedy  # nobody is there at all


# --- one connection for all -------------------------------------------------------------------------------------------


def test_who_describes_the_same_connection_shares_it_and_what_it_knows():
    runtime = Runtime()
    with FakeOpenAI([fail(400, "no schema"), say(ANSWER)]) as server:
        options = OpenAIConnectionOptions(base_url=server.url, model="fake-vision")
        first, second = connect(OpenAIConnection, options, runtime), connect(OpenAIConnection, options, runtime)
        assert first is second
        assert connect(OpenAIConnection, options.model_copy(update={"model": "other"}), runtime) is not first
        assert connect(OpenAIConnection, options, Runtime()) is not first
        converse(first)
        converse(second)
    assert len(server.chats) == 3


def test_a_reply_that_cannot_be_used_is_sent_back_with_the_reason_and_the_schema():
    with FakeOpenAI([say("red"), say(ANSWER)]) as server:
        found, _ = converse(connection(server))
    assert found == {"colour": "red"}
    *_, said, correction = server.chats[1].body["messages"]
    assert said == {"role": "assistant", "content": "red"}
    assert '"there is no colour in it"' in correction["content"]
    assert json.dumps(SCHEMA, separators=(",", ":")) in correction["content"]


def test_several_pictures_go_together():
    with FakeOpenAI([say("yes")]) as server:
        connection(server).ask(QUESTION, [PICTURE, PICTURE])
    content = server.chats[0].body["messages"][1]["content"]
    assert [part["type"] for part in content] == ["text", "image_url", "image_url"]
