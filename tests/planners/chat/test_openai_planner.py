"""The planner `openai` through the official client against a fake service over a real socket."""

from __future__ import annotations

import base64
import json
import logging
import sys
import time

import pytest
from planner_cases import BAD, CANARY, EXAMPLE, GOOD, asked, cassette, photo, shape
from pydantic import SecretStr

from gas.chat import calls as service
from gas.chat.addresses import is_local
from gas.chat.openai import OFFICIAL
from gas.errors import GasError, InputRefused, ModelUnavailable, PlanUnreadable, ServiceUnavailable, UsageError
from gas.plan.file import plan_to_json
from gas.remedies import Option, Remedy
from gas.runtime import Runtime
from gas.testing.contracts import PlannerContract
from gas.testing.servers import FakeLMStudio, FakeOpenAI, Reply, fail, say
from gas.types import EditRequest
from gas_cli import wording
from gas_planners.chat.openai import OpenAIOptions, OpenAIPlanner


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))


@pytest.fixture
def pauses(monkeypatch):
    """The waits between calls, which are noted instead of waited for."""
    found: list[float] = []
    monkeypatch.setattr(service, "pause", found.append)
    return found


def planner(server: FakeOpenAI, **options) -> OpenAIPlanner:
    return OpenAIPlanner(OpenAIOptions(**{"base_url": server.url, "model": "fake-vision", **options}), Runtime())


def test_a_plan(pauses):
    with FakeOpenAI([say(GOOD)]) as server:
        plan = planner(server).plan(asked())
    assert [(s.action, s.source, s.target) for s in plan.subtasks] == [
        (s.action, s.source, s.target) for s in EXAMPLE.reply.subtasks
    ]
    assert plan.subtasks[0].preserve_shape and not plan.subtasks[1].preserve_shape
    assert plan.source_prompt == EXAMPLE.reply.source_prompt
    provenance = plan.provenance
    assert (provenance.planner, provenance.model, provenance.service) == ("openai", "fake-vision", server.url)
    assert (provenance.prompt_tokens, provenance.reply_tokens) == (1831, 214)
    assert provenance.reply == GOOD
    assert EXAMPLE.request in json.dumps(provenance.request) and "sha256" in provenance.request
    assert pauses == []


def test_the_request_has_the_shape_that_the_service_documents():
    with FakeOpenAI([say(GOOD)]) as server:
        planner(server).plan(asked())
    (chat,) = server.chats
    real = cassette("openai_chat")["request"]
    sent = json.loads(chat.data)
    schema = sent["response_format"]["json_schema"].pop("schema")
    real["response_format"]["json_schema"].pop("schema")
    assert shape(sent) == shape(real)
    assert sent["response_format"]["json_schema"]["strict"] is True
    assert schema["additionalProperties"] is False
    assert sent["max_completion_tokens"] == 4096


@pytest.mark.parametrize(("name", "path"), [("openai_chat", None), ("openai_models", "/v1/models")])
def test_the_fake_answers_in_the_real_shape(name, path):
    from gas.testing.servers import Asked

    server = FakeOpenAI()
    fake = (
        server.other(Asked("GET", path, {}, None, b""))[1]
        if path
        else json.loads(server.body(say("{}"), {"model": ""}))
    )
    assert shape(fake) == shape(cassette(name)["response"])
    server._server.server_close()


def test_the_picture_is_downscaled_and_has_no_metadata():
    with FakeOpenAI([say(GOOD)]) as server:
        planner(server, picture_size=64).plan(EditRequest(image=photo(300, 600), instruction=EXAMPLE.request))
    url = server.chats[0].body["messages"][1]["content"][1]["image_url"]["url"]
    head, _, data = url.partition(",")
    assert head == "data:image/jpeg;base64"
    data = base64.b64decode(data)
    import io

    from PIL import Image

    picture = Image.open(io.BytesIO(data))
    assert picture.size == (64, 32)
    assert not picture.getexif() and "icc_profile" not in picture.info and "comment" not in picture.info


def test_picture_no_sends_words_only():
    with FakeOpenAI([say(GOOD)]) as server:
        made = planner(server, picture=False)
        made.plan(asked())
        assert made.preview(asked()).picture is None
    assert b"image" not in server.chats[0].data.replace(b"image model", b"")
    assert "no picture" in server.chats[0].body["messages"][1]["content"]


def test_options_reach_the_service():
    with FakeOpenAI([say(GOOD)]) as server:
        planner(server, temperature=0.3, max_tokens=99, structured=False).plan(asked())
    body = server.chats[0].body
    assert body["temperature"] == 0.3 and body["max_completion_tokens"] == 99
    assert "response_format" not in body and "JSON schema" in body["messages"][0]["content"]


def test_users_own_examples_go_in(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(
        json.dumps([{"picture": "zebra crossing", "request": "zebra to okapi", "reply": EXAMPLE.reply.model_dump()}])
    )
    with FakeOpenAI([say(GOOD)]) as server:
        planner(server, examples=str(file)).plan(asked(caption="my caption of it"))
    system, user = server.chats[0].body["messages"]
    assert "zebra to okapi" in system["content"]
    assert "my caption of it" in user["content"][0]["text"]


def test_phrases_that_nobody_asked_for_are_flagged():
    with FakeOpenAI([say(GOOD)]) as server:
        plan = planner(server).plan(asked("turn the rabbit into a fox"))
    assert any("cart" in w for w in plan.warnings)


# --- the reply cannot be used -----------------------------------------------------------------------------------------


def test_a_bad_reply_is_sent_back_once_with_the_reason():
    with FakeOpenAI([say(BAD), say(GOOD)]) as server:
        plan = planner(server).plan(asked())
    assert len(plan.subtasks) == 3
    first, second = (chat.body["messages"] for chat in server.chats)
    assert [m["role"] for m in second] == ["system", "user", "assistant", "user"]
    assert second[:2] == first and second[2]["content"] == BAD
    assert "source_prompt" in second[3]["content"]


@pytest.mark.parametrize("text", [BAD, "", "I like dogs", "<html></html>"])
def test_two_bad_replies_exit_with_4_and_keep_the_reply(text):
    with FakeOpenAI([say(text)]) as server, pytest.raises(PlanUnreadable) as caught:
        planner(server).plan(asked())
    assert caught.value.exit_code == 4 and caught.value.reply == text
    assert len(server.chats) == 2


def test_a_refusal_is_named_and_not_asked_again():
    refusal = "I will not help with that."
    with FakeOpenAI([say("", refusal=refusal)]) as server, pytest.raises(PlanUnreadable, match="refused") as caught:
        planner(server).plan(asked())
    assert caught.value.reply == refusal and len(server.chats) == 1
    with (
        FakeOpenAI([say("", finish="content_filter")]) as server,
        pytest.raises(PlanUnreadable, match="content filter"),
    ):
        planner(server).plan(asked())


def test_a_reply_that_was_cut_names_the_option():
    with FakeOpenAI([say(GOOD[:80], finish="length")]) as server, pytest.raises(PlanUnreadable, match="max_tokens"):
        planner(server).plan(asked())
    with FakeOpenAI([say(GOOD, finish="length")]) as server:  # cut after the end of the object: all is there
        assert planner(server).plan(asked()).subtasks


def test_a_failure_while_sending_back_leaves_the_first_reply(pauses):
    with FakeOpenAI([say(BAD), fail(401)]) as server, pytest.raises(PlanUnreadable, match="sent back") as caught:
        planner(server).plan(asked())
    assert caught.value.reply == BAD


# --- no reply ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_is_not_tried_again(status, pauses):
    with FakeOpenAI([fail(status)]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server).plan(asked())
    assert caught.value.exit_code == 8 and "login" in caught.value.message
    assert len(server.chats) == 1 and pauses == []


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
def test_a_passing_failure_is_tried_again_three_times_at_most(status, pauses):
    with FakeOpenAI([fail(status)]) as server, pytest.raises(ServiceUnavailable, match=str(status)):
        planner(server).plan(asked())
    assert len(server.chats) == 3 and pauses == [1.0, 3.0]


@pytest.mark.parametrize("status", [405, 413, 418])
def test_other_failures_are_not(status, pauses):
    with (
        FakeOpenAI([fail(status, "no such thing")]) as server,
        pytest.raises(ServiceUnavailable, match="no such thing"),
    ):
        planner(server).plan(asked())
    assert len(server.chats) == 1


def test_it_goes_on_when_the_service_recovers(pauses):
    with FakeOpenAI([fail(503), say(BAD), say(GOOD)]) as server:
        assert planner(server).plan(asked()).subtasks
    assert len(server.chats) == 3  # the correction counts too
    with FakeOpenAI([fail(503), fail(503), say(BAD)]) as server, pytest.raises(PlanUnreadable):
        planner(server).plan(asked())
    assert len(server.chats) == 3


@pytest.mark.parametrize(
    ("value", "waited"),
    [("7", [7.0, 7.0]), ("0.5", [0.5, 0.5]), ("-3", [0.0, 0.0]), ("nan", [1.0, 3.0]), ("soon", [1.0, 3.0])],
)
def test_retry_after_is_honoured(value, waited, pauses):
    with FakeOpenAI([fail(429, headers={"Retry-After": value})]) as server, pytest.raises(ServiceUnavailable):
        planner(server).plan(asked())
    assert pauses == waited


def test_retry_after_as_a_date():
    from email.utils import formatdate

    assert 50 < service.retry_after(formatdate(time.time() + 60, usegmt=True)) <= 61
    assert service.retry_after(formatdate(time.time() - 60, usegmt=True)) == 0.0


@pytest.mark.parametrize("value", ["3600", "inf", "1e300"])
def test_a_wait_longer_than_the_time_is_said_and_not_waited_for(value, pauses):
    with FakeOpenAI([fail(429, headers={"Retry-After": value})]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server).plan(asked())
    assert "asks to wait" in caught.value.remedy and pauses == [] and len(server.chats) == 1


def test_a_model_that_is_gone_names_those_that_are_there():
    gone = cassette("openai_404")
    reply = Reply(status=404, raw=json.dumps(gone["response"]).encode())
    with FakeOpenAI([reply], models=["new-vision", "other"]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server).plan(asked())
    assert "does not exist" in caught.value.message and "new-vision, other" in caught.value.remedy
    assert len(server.chats) == 1


def test_without_a_model_the_only_one_is_taken():
    with FakeOpenAI([say(GOOD)], models=["the-one"]) as server:
        assert planner(server, model="").plan(asked()).provenance.model == "the-one"
    with FakeOpenAI([say(GOOD)], models=["a", "b"]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server, model="").plan(asked())
    assert "a, b" in caught.value.remedy and server.chats == []


def test_a_service_without_schemas_gets_the_schema_in_the_prompt():
    refusal = Reply(status=400, raw=json.dumps(cassette("openai_400_schema")["response"]).encode())
    with FakeOpenAI([refusal, say(f"Here:\n```json\n{GOOD}\n```")]) as server:
        made = planner(server)
        assert made.plan(asked()).subtasks
        assert "response_format" in server.chats[0].body
        assert "response_format" not in server.chats[1].body
        assert "JSON schema" in server.chats[1].body["messages"][0]["content"]
        made.plan(asked())
    assert len(server.chats) == 3  # it is remembered


def test_a_service_with_the_older_name_of_the_limit():
    refusal = Reply(status=400, raw=json.dumps(cassette("openai_400_limit")["response"]).encode())
    with FakeOpenAI([refusal, say(GOOD)]) as server:
        assert planner(server).plan(asked()).subtasks
    assert server.chats[1].body["max_tokens"] == 4096 and "max_completion_tokens" not in server.chats[1].body


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (say("", fields={"choices": []}), "without choices"),
        (say("", fields={"choices": None}), "without choices"),
        (say("", fields={"choices": "none"}), "without choices"),
        (say("", fields={"choices": [None]}), "without choices"),
        (say("", fields={"error": {"message": "upstream died", "code": 500}}), "upstream died"),
        (Reply(raw=b'{"error": "overloaded"}'), "overloaded"),
        (Reply(raw=b"<html><body>Login to the hotel's network</body></html>", content_type="text/html"), "HTML page"),
        (Reply(raw=b"not json"), "not a reply"),
        (Reply(raw=b""), "not a reply"),
        (Reply(raw=b"[]"), ""),
        (Reply(raw=b"null"), ""),
        (Reply(raw=b"<html>Bad Gateway</html>", status=502, content_type="text/html"), "502"),
        (Reply(status=302, raw=b"", headers={"Location": "http://127.0.0.1:9/elsewhere"}), "redirect"),
        (Reply(status=307, raw=b"", headers={"Location": "http://127.0.0.1:9/elsewhere"}), "redirect"),
        (Reply(trouble="drop"), "broke the connection off"),
        (Reply(trouble="drop in body", text=GOOD), "broke the connection off"),
        (Reply(raw=b"x", headers={"Content-Encoding": "gzip"}), "packed"),
    ],
)  # fmt: skip
def test_what_is_no_reply_exits_with_8(reply, words, pauses):
    with FakeOpenAI([reply]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server).plan(asked())
    assert words in caught.value.message and caught.value.exit_code == 8
    assert 1 <= len(server.chats) <= 3


@pytest.mark.parametrize("content", [None, 7, [], {}])
def test_content_that_is_no_text(content):
    message = {"role": "assistant", "content": content}
    fields = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    with FakeOpenAI([say("", fields=fields)]) as server, pytest.raises(PlanUnreadable, match="empty"):
        planner(server).plan(asked())


def test_content_in_parts():
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": GOOD[:50]}, {"type": "text", "text": GOOD[50:]}],
    }
    fields = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    with FakeOpenAI([say("", fields=fields)]) as server:
        assert planner(server).plan(asked()).subtasks


@pytest.mark.parametrize("trouble", ["hang", "hang in body"])
def test_silence_ends(trouble):
    start = time.monotonic()
    with FakeOpenAI([Reply(text=GOOD, trouble=trouble)]) as server, pytest.raises(ServiceUnavailable, match="silent"):
        planner(server, silence=0.3).plan(asked())
    assert time.monotonic() - start < 5 and len(server.chats) == 1


@pytest.mark.parametrize("trouble", ["trickle headers", "hang"])
def test_the_time_in_all_ends_whatever_the_service_does(trouble):
    start = time.monotonic()
    with FakeOpenAI([Reply(trouble=trouble)]) as server, pytest.raises(ServiceUnavailable):
        planner(server, time_limit=0.5).plan(asked())
    assert time.monotonic() - start < 5


def test_an_endless_reply_is_cut(monkeypatch):
    monkeypatch.setattr(service, "MAX_REPLY_BYTES", 300_000)
    with FakeOpenAI([Reply(trouble="endless")]) as server, pytest.raises(ServiceUnavailable, match="300000 bytes"):
        planner(server).plan(asked())
    assert len(server.chats) == 1


def test_nobody_there():
    server = FakeOpenAI()
    server._server.server_close()
    with pytest.raises(ServiceUnavailable, match="cannot be reached") as caught:
        planner(server).plan(asked())
    assert "running" in caught.value.remedy


def test_the_bounds_that_are_promised():
    assert service.MAX_CALLS == 3 and service.TOTAL_SECONDS == 300
    assert service.CONNECT_SECONDS == 10 and service.READ_SECONDS == 120
    fields = OpenAIOptions.model_fields
    assert fields["silence"].default == 120 and fields["time_limit"].default == 300
    with FakeOpenAI() as server, planner(server).connection._client(service.Calls("x"), 120.0) as client:
        assert client.max_retries == 0
        assert client._client.timeout.connect == 10 and client._client.timeout.read == 120
        assert client._client.follow_redirects is False


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with FakeOpenAI() as server, pytest.raises(ModelUnavailable) as caught:
        planner(server).plan(asked())
    assert caught.value.exit_code == 6 and "gas-edit[openai]" in caught.value.remedy
    assert server.asked == []


# --- what a connection says, in a planner's words ---------------------------------------------------------------------


def test_a_model_that_does_not_see_can_be_asked_without_the_picture():
    """ggml-org/llama.cpp#13566: a text-only server answers 500 to a picture."""
    refused = fail(500, "image input is not supported - hint: you may need to provide the mmproj")
    with FakeOpenAI([refused, say(GOOD)]) as server:
        with pytest.raises(ServiceUnavailable) as caught:
            planner(server).plan(asked())
        assert len(server.chats) == 1
        assert wording.remedy(caught.value) == (
            "name a model that sees: -o openai.model=NAME; or send it the words alone: -o openai.picture=no"
        )
        assert planner(server, picture=False).plan(asked()).subtasks


def test_an_address_without_v1_is_shown_with_it():
    """lmstudio-ai/lmstudio-bug-tracker#618: 200 with an error text where /v1 is missing."""
    with FakeLMStudio([say(GOOD)]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server, base_url=server.host).plan(asked())
    assert wording.remedy(caught.value).endswith(f"-o openai.base_url={server.host}/v1")


def test_an_answer_that_is_all_thought_is_no_plan_and_names_the_options():
    with FakeOpenAI([say("", thoughts="hm")]) as server, pytest.raises(PlanUnreadable, match="only thought") as caught:
        planner(server).plan(asked())
    assert "-o openai.think=no" in wording.remedy(caught.value) and len(server.chats) == 1


def test_a_plan_in_the_place_of_thoughts_is_taken_with_a_warning():
    """sgl-project/sglang#4539: the whole answer came in reasoning_content, content was null."""
    choice = {"message": {"role": "assistant", "content": None, "reasoning_content": GOOD}, "finish_reason": "stop"}
    with FakeOpenAI([say("", fields={"choices": [choice]})]) as server:
        plan = planner(server).plan(asked())
    assert plan.subtasks and plan.provenance.reply == GOOD
    assert any("where the model's thoughts go" in warning for warning in plan.warnings)


def test_the_answer_after_a_closing_mark_is_the_plan():
    """The chat template writes the opening mark into the prompt, so only the closing one comes back."""
    draft = GOOD.replace("a fox", "a lion")
    with FakeOpenAI([say(f"Let me draft: {draft}\nNo.\n</think>\n\n{GOOD}")]) as server:
        plan = planner(server).plan(asked())
    assert plan.subtasks[0].target == EXAMPLE.reply.subtasks[0].target and len(server.chats) == 1


def test_planning_and_suggesting_share_one_connection():
    runtime = Runtime()
    with FakeOpenAI([fail(400, "no schema"), say(GOOD)]) as server:
        options = OpenAIOptions(base_url=server.url, model="fake-vision")
        first, second = OpenAIPlanner(options, runtime), OpenAIPlanner(options, runtime)
        assert first.connection is second.connection
        first.plan(asked())
        second.plan(asked())
    assert len(server.chats) == 3  # what the service refuses was learned once


# --- where to, and with which key -------------------------------------------------------------------------------------


def test_preview_sends_nothing_and_says_where_to(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with FakeOpenAI() as server:
        preview = planner(server, login="openai").preview(asked())
    assert server.asked == []
    assert preview.address == server.url and preview.remote is False and preview.key == "$OPENAI_API_KEY"
    text = "\n".join(preview.lines("planner", "any"))
    assert EXAMPLE.request in json.dumps(text) and "90x60 image/jpeg" in text and server.url in text
    assert CANARY not in text and CANARY not in json.dumps(preview.as_json("planner", "openai"))


def test_what_is_sent_is_what_was_previewed():
    with FakeOpenAI([say(GOOD)]) as server:
        made = planner(server)
        preview = made.preview(asked())
        plan = made.plan(asked())
    system, user = server.chats[0].body["messages"]
    assert [system["content"], user["content"][0]["text"]] == [m.text for m in preview.messages]
    assert preview.picture in plan.provenance.request


def test_the_official_service_is_remote_and_needs_its_key():
    made = OpenAIPlanner(OpenAIOptions(model="any"), Runtime())
    assert made.address == OFFICIAL and made.remote
    with pytest.raises(ServiceUnavailable) as caught:
        made.plan(asked())
    assert "gas keys set openai" in caught.value.remedy


def test_offline_keeps_from_sending(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    with pytest.raises(ServiceUnavailable, match="offline"):
        OpenAIPlanner(OpenAIOptions(model="any"), Runtime(offline=True)).plan(asked())
    with FakeOpenAI([say(GOOD)]) as server:  # this machine is not the network
        options = OpenAIOptions(base_url=server.url, model="any")
        assert OpenAIPlanner(options, Runtime(offline=True)).plan(asked()).subtasks


def test_a_key_goes_only_where_it_belongs(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-canary")
    monkeypatch.setenv("MINE_API_KEY", "sk-mine")
    with FakeOpenAI([say(GOOD)]) as server:
        planner(server).plan(asked())
        planner(server, login="mine").plan(asked())
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        planner(server, base_url="").plan(asked())
    sent = [{k.lower(): v for k, v in chat.headers.items()} for chat in server.chats]
    assert CANARY not in str(sent[0]) and "org-canary" not in str(sent[0])
    assert sent[1]["authorization"] == "Bearer sk-mine"
    assert sent[2]["authorization"] == f"Bearer {CANARY}"  # the environment pairs this address with this key


def test_a_key_in_a_remedy_is_hidden_in_both_wordings():
    line = service.Calls("x", secrets=[SecretStr(CANARY)])
    remedy = Remedy("other_model", "known: {known}; {model}", known=f"a, {CANARY}", model=Option({"model": "a"}))
    for failed in (service.CallFailed("failed", remedy), service.CallFailed("failed", f"known: a, {CANARY}")):
        error = line.failure(failed)
        assert "known: a, [key]" in error.remedy and CANARY not in wording.remedy(error)


def test_a_named_login_without_a_key(monkeypatch):
    with FakeOpenAI([say(GOOD)]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server, login="mine").plan(asked())
    assert "gas keys set mine" in caught.value.remedy and server.asked == []


def test_proxies_of_the_environment_are_not_for_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeOpenAI([say(GOOD)]) as server:
        assert planner(server).plan(asked()).subtasks


def test_proxies_of_the_environment_are_for_other_machines(monkeypatch):
    with FakeOpenAI([say(GOOD)]) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.host)
        with pytest.raises(ServiceUnavailable):
            OpenAIPlanner(OpenAIOptions(base_url="http://service.invalid/v1", model="any"), Runtime()).plan(asked())
        assert proxy.asked[0].path == "http://service.invalid/v1/chat/completions"


@pytest.mark.parametrize("url", ["ftp://x/v1", "x", "http://", "http://a:b/v1", "file:///etc/passwd", "javascript:1"])
def test_what_is_no_address(url):
    with pytest.raises(UsageError):
        OpenAIPlanner(OpenAIOptions(base_url=url), Runtime())


def test_an_address_with_a_login_is_refused_without_showing_it():
    with pytest.raises(UsageError) as caught:
        OpenAIPlanner(OpenAIOptions(base_url=f"https://me:{CANARY}@service.invalid/v1"), Runtime())
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:1/v1", True),
        ("http://127.0.0.1/", True),
        ("http://127.8.8.8/", True),
        ("http://[::1]:80/", True),
        ("http://a.localhost/", True),
        ("https://api.openai.com/v1", False),
        ("http://localhost.example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://192.168.1.2/", False),
        ("http://0x7f000001/", False),
    ],
)
def test_what_counts_as_this_machine(url, local):
    assert is_local(url) is local


def test_a_picture_that_is_none():
    with FakeOpenAI() as server, pytest.raises(InputRefused):
        planner(server).plan(EditRequest(image=photo()[..., 0], instruction="x"))
    assert server.asked == []


def test_no_request():
    with FakeOpenAI() as server, pytest.raises(UsageError):
        planner(server).plan(asked(" "))
    assert server.asked == []


# --- secrets ----------------------------------------------------------------------------------------------------------

QUOTED = f"Incorrect API key provided: {CANARY}."
FAILURES = [
    fail(401, QUOTED),
    fail(403, QUOTED),
    fail(404, QUOTED),
    fail(400, QUOTED),
    fail(429, QUOTED, headers={"Retry-After": "9999"}),
    fail(500, QUOTED),
    Reply(raw=f"<html>{QUOTED}</html>".encode(), content_type="text/html"),
    Reply(raw=QUOTED.encode()),
    say("", fields={"error": {"message": QUOTED}}),
    say("", fields={"choices": []}),
    say(QUOTED),
    say(f'{{"subtasks": "{CANARY}"}}'),
    say("", refusal=QUOTED),
    say(GOOD[:60] + CANARY, finish="length"),
    say(GOOD.replace("a fox", CANARY)),
    say(GOOD.replace("Three requests", CANARY)),
    say(GOOD, fields={"model": CANARY}),
    Reply(trouble="hang"),
    Reply(trouble="hang in body", text=QUOTED),
    Reply(trouble="drop"),
    Reply(trouble="endless"),
    Reply(status=302, raw=b"", headers={"Location": f"http://127.0.0.1:9/{CANARY}"}),
]


@pytest.mark.parametrize("reply", FAILURES, ids=range(len(FAILURES)))
def test_the_key_appears_nowhere(reply, monkeypatch, pauses, caplog, capfd):
    import traceback

    monkeypatch.setenv("MINE_API_KEY", CANARY)
    monkeypatch.setattr(service, "MAX_REPLY_BYTES", 300_000)
    caplog.set_level(logging.DEBUG)
    seen = []
    with FakeOpenAI([reply]) as server:
        made = planner(server, login="mine", silence=0.3, time_limit=3)
        seen += [repr(made), repr(made.options), "\n".join(made.preview(asked()).lines("planner", "any"))]
        try:
            seen.append(plan_to_json(made.plan(asked())))
        except GasError as error:
            seen += [str(error), repr(error), error.remedy, str(getattr(error, "reply", ""))]
            seen.append("".join(traceback.format_exception(error)))
    assert server.chats and f"Bearer {CANARY}" in str(server.chats[0].headers)
    out, err = capfd.readouterr()
    seen += [out, err, caplog.text]
    assert not [text for text in seen if CANARY in text]


class TestContract(PlannerContract):
    @pytest.fixture
    def planner(self):
        with FakeOpenAI([say(GOOD)]) as server:
            yield OpenAIPlanner(OpenAIOptions(base_url=server.url, model="fake-vision"), Runtime())
