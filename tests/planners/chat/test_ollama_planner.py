"""The planner `ollama` through the official client against a fake Ollama over a real socket."""

from __future__ import annotations

import base64
import json
import logging
import sys
import time
import traceback

import pytest
from planner_cases import BAD, CANARY, EXAMPLE, GOOD, asked, cassette, shape

from gas.chat import calls as service
from gas.chat.ollama import HERE
from gas.errors import GasError, ModelUnavailable, PlanUnreadable, ServiceUnavailable, UsageError
from gas.plan.file import plan_to_json
from gas.runtime import Runtime
from gas.testing.contracts import PlannerContract
from gas.testing.servers import Asked, FakeOllama, Reply, fail, say
from gas_planners.chat.ollama import OllamaOptions, OllamaPlanner


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))


@pytest.fixture
def pauses(monkeypatch):
    found: list[float] = []
    monkeypatch.setattr(service, "pause", found.append)
    return found


def planner(server: FakeOllama, **options) -> OllamaPlanner:
    return OllamaPlanner(OllamaOptions(**{"host": server.url, **options}), Runtime())


def test_a_plan():
    with FakeOllama([say(GOOD)]) as server:
        plan = planner(server).plan(asked())
    assert [s.target for s in plan.subtasks] == [s.target for s in EXAMPLE.reply.subtasks]
    provenance = plan.provenance
    assert (provenance.planner, provenance.model, provenance.service) == ("ollama", "llava:latest", server.url)
    assert (provenance.prompt_tokens, provenance.reply_tokens, provenance.reply) == (1698, 243, GOOD)
    assert [a.path for a in server.asked] == ["/api/tags", "/api/show", "/api/chat"]


def test_the_request_has_the_shape_that_the_service_documents():
    with FakeOllama([say(GOOD)]) as server:
        planner(server).plan(asked(seed=7))
    (chat,) = server.chats
    real, sent = cassette("ollama_chat")["request"], dict(chat.body)
    schema = sent.pop("format")
    real.pop("format")
    assert shape(sent) == shape(real)
    assert schema["properties"]["subtasks"]["items"]["properties"]["action"]["enum"] == ["change", "add", "remove"]
    assert base64.b64decode(sent["messages"][1]["images"][0])[:3] == b"\xff\xd8\xff"
    assert sent["options"]["seed"] == 7


def test_the_fake_answers_in_the_real_shape():
    server = FakeOllama()
    assert shape(server.other(Asked("GET", "/api/tags", {}, None, b""))[1]) == shape(
        cassette("ollama_tags")["response"]
    )
    shown = server.other(Asked("POST", "/api/show", {}, {"model": "llava"}, b""))[1]
    assert shape(shown) == shape(cassette("ollama_show")["response"])
    status, error = server.other(Asked("POST", "/api/show", {}, {"model": "nope"}, b""))
    assert status == 404 and shape(error) == shape(cassette("ollama_404")["response"])
    lines = [json.loads(line) for line in server.body(say("{"), {"model": "llava:latest"}).splitlines()]
    assert shape(lines) == shape(cassette("ollama_chat")["response"])
    server._server.server_close()


def test_options_reach_the_service():
    with FakeOllama([say(GOOD)]) as server:
        planner(server, keep_alive="-1", context=4096, temperature=0.5, max_tokens=77, structured=False).plan(asked())
        planner(server, keep_alive="90s", picture=False).plan(asked())
    first, second = (chat.body for chat in server.chats)
    assert first["keep_alive"] == -1 and second["keep_alive"] == "90s"
    assert first["options"] == {"temperature": 0.5, "seed": 0, "num_ctx": 4096, "num_predict": 77}
    assert not first.get("format") and "JSON schema" in first["messages"][0]["content"]
    assert "images" not in second["messages"][1]


def test_the_newest_model_that_sees_is_taken():
    models = {"llama3.2:3b": ("completion",), "qwen2.5vl:7b": ("completion", "vision"), "llava:latest": ("vision",)}
    with FakeOllama([say(GOOD)], models) as server:
        assert planner(server).plan(asked()).provenance.model == "qwen2.5vl:7b"
        assert planner(server, model="llava").plan(asked()).provenance.model == "llava"


def test_models_of_the_cloud_are_not_taken_unasked():
    models = {"qwen3-vl:235b-cloud": ("vision",), "gemma:cloud": ("vision",), "renamed:latest": ("vision",)}
    with FakeOllama([say(GOOD)], models, sizes={"renamed:latest": 384}) as server:
        with pytest.raises(ServiceUnavailable, match="no model that sees"):
            planner(server).plan(asked())
        assert all(model.cloud for model in planner(server).connection.models())
        named = planner(server, model="qwen3-vl:235b-cloud")
        assert named.remote and named.plan(asked()).subtasks  # it was named
    assert len(server.chats) == 1


def test_a_model_that_thinks_is_told_not_to_and_answers():
    """ollama/ollama#16184: a seeing model that thinks returned thoughts and an empty answer."""
    with FakeOllama([say(GOOD)], {"qwen3-vl:latest": ("completion", "vision", "thinking")}) as server:
        assert planner(server).plan(asked()).subtasks
    assert server.chats[0].body["think"] is False


def test_an_answer_that_is_all_thought_is_no_plan_and_names_the_option():
    models = {"qwen3-vl:latest": ("completion", "vision", "thinking")}
    with FakeOllama([say("")], models) as server, pytest.raises(PlanUnreadable, match="only thought") as caught:
        planner(server, think="yes").plan(asked())
    assert 'options={"ollama": {"think": "no"}}' in caught.value.remedy and len(server.chats) == 1


def test_a_model_that_is_not_pulled():
    with FakeOllama([say(GOOD)]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server, model="bakllava").plan(asked())
    assert caught.value.remedy == "ollama pull bakllava; pulled: llava:latest" and server.chats == []


def test_a_model_that_is_blind():
    with FakeOllama([say(GOOD)], {"llama3:8b": ("completion",)}) as server:
        with pytest.raises(ServiceUnavailable, match="no model that sees") as caught:
            planner(server).plan(asked())
        assert "ollama pull" in caught.value.remedy
        with pytest.raises(ServiceUnavailable, match="takes no pictures"):
            planner(server, model="llama3:8b").plan(asked())
        assert server.chats == []
        assert planner(server, model="llama3:8b", picture=False).plan(asked()).subtasks


def test_an_ollama_from_before_capabilities(monkeypatch):
    real = FakeOllama.other

    def older(self, request):
        status, content = real(self, request)
        content.pop("capabilities", None)
        return status, content

    monkeypatch.setattr(FakeOllama, "other", older)
    with FakeOllama([say(GOOD)]) as server:
        assert planner(server).connection.seeing() == "llava:latest"  # it has a projector beside it


def test_an_ollama_from_before_schemas():
    refusal = Reply(status=400, raw=json.dumps(cassette("ollama_400_format")["response"]).encode())
    with FakeOllama([refusal, say(GOOD)]) as server:
        assert planner(server).plan(asked()).subtasks
    assert not server.chats[1].body.get("format")
    assert "JSON schema" in server.chats[1].body["messages"][0]["content"]


def test_nobody_there_says_how_to_start_it():
    server = FakeOllama()
    server._server.server_close()
    with pytest.raises(ServiceUnavailable, match="cannot be reached") as caught:
        planner(server).plan(asked())
    assert "ollama serve" in caught.value.remedy and "\n" not in caught.value.remedy


def test_a_filled_context_is_said():
    with FakeOllama([say(GOOD, fields={"prompt_eval_count": 8192})]) as server:
        plan = planner(server).plan(asked())
    assert any("the option context" in w for w in plan.warnings)


def test_a_bad_reply_is_sent_back_once():
    with FakeOllama([say(BAD), say(GOOD)]) as server:
        assert planner(server).plan(asked()).subtasks
    assert [m["role"] for m in server.chats[1].body["messages"]] == ["system", "user", "assistant", "user"]
    with FakeOllama([say(BAD)]) as server, pytest.raises(PlanUnreadable) as caught:
        planner(server).plan(asked())
    assert caught.value.reply == BAD and len(server.chats) == 2


def test_sloppy_replies_of_small_models_are_read():
    lists = (
        "Explanation: the dog is on the grass.\nFinal answer:\n"
        'source_list: ["a dog", "a dog on the grass"]\n'
        'target_list: ["a cat", "a cat on the grass"]\npreserve_form: [1, 0]'
    )
    with FakeOllama([say(f"<think>hm</think>\n{lists}")]) as server:
        plan = planner(server).plan(asked("dog to cat"))
    assert plan.subtasks[0].target == "a cat" and plan.subtasks[0].preserve_shape


def test_a_reply_that_was_cut():
    with FakeOllama([say(GOOD[:99], finish="length")]) as server, pytest.raises(PlanUnreadable, match="max_tokens"):
        planner(server).plan(asked())


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_login_is_not_tried_again(status, pauses):
    reply = Reply(status=status, raw=b'{"error": "unauthorized"}')
    with FakeOllama([reply]) as server, pytest.raises(ServiceUnavailable, match="login"):
        planner(server).plan(asked())
    assert len(server.chats) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_failure_is_tried_again(status, pauses):
    reply = Reply(status=status, raw=b'{"error": "server busy"}', headers={"Retry-After": "2"})
    with FakeOllama([reply]) as server, pytest.raises(ServiceUnavailable, match="server busy"):
        planner(server).plan(asked())
    assert len(server.chats) == 3 and pauses == [2.0, 2.0]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(raw=b'{"error": "llama runner process has terminated"}\n'), "terminated"),
        (Reply(raw=b'{"error": {"message": "x"}}\n'), "not a reply"),
        (Reply(raw=b"<html>Portal</html>", content_type="text/html"), "not a reply"),
        (Reply(raw=b""), "empty reply"),
        (Reply(raw=b"[]\n"), "not a reply"),
        (Reply(raw=b"{}\n"), "not a reply"),
        (Reply(raw=b'{"message": {"role": "assistant", "content": "{"}, "done": false}\n'), "broke off"),
        (Reply(raw=b"[1]", status=500), "500: [1]"),
        (Reply(raw=b"<html>x</html>", status=502), "502"),
        (Reply(status=307, raw=b"", headers={"Location": "http://127.0.0.1:9/"}), "redirect"),
        (Reply(trouble="drop"), "broke the connection off"),
        (Reply(trouble="drop in body", text=GOOD), "broke the connection off"),
        (Reply(raw=b"x", headers={"Content-Encoding": "gzip"}), "packed"),
    ],
)  # fmt: skip
def test_what_is_no_reply_exits_with_8(reply, words, pauses):
    with FakeOllama([reply]) as server, pytest.raises(ServiceUnavailable) as caught:
        planner(server).plan(asked())
    assert words in caught.value.message and caught.value.exit_code == 8
    assert 1 <= len(server.chats) <= 3


@pytest.mark.parametrize("trouble", ["hang", "hang in body", "trickle headers", "endless"])
def test_it_ends_whatever_the_service_does(trouble, monkeypatch):
    monkeypatch.setattr(service, "MAX_REPLY_BYTES", 300_000)
    start = time.monotonic()
    with FakeOllama([Reply(text=GOOD, trouble=trouble)]) as server, pytest.raises(ServiceUnavailable):
        planner(server, silence=0.3, time_limit=1).plan(asked())
    assert time.monotonic() - start < 6 and len(server.chats) == 1


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ollama", None)
    with FakeOllama() as server, pytest.raises(ModelUnavailable) as caught:
        planner(server).plan(asked())
    assert "gas-edit[ollama]" in caught.value.remedy and server.asked == []


def test_preview_sends_nothing():
    with FakeOllama() as server:
        preview = planner(server).preview(asked())
    assert server.asked == []
    assert preview.remote is False and preview.key is None and "newest" in preview.model


@pytest.mark.parametrize(
    ("option", "environment", "address", "remote"),
    [
        ("", "", HERE, False),
        ("", "0.0.0.0", "http://127.0.0.1:11434", False),
        ("", "0.0.0.0:8080", "http://127.0.0.1:8080", False),
        ("", ":8080", "http://127.0.0.1:8080", False),
        ("", "gpu-box", "http://gpu-box:11434", True),
        ("", "https://ollama.example.com", "https://ollama.example.com:443", True),
        ("localhost", "gpu-box", "http://localhost:11434", False),
        ("[::1]:11434", "", "http://[::1]:11434", False),
        ("http://127.0.0.1/ollama/", "", "http://127.0.0.1:80/ollama", False),
    ],
)
def test_the_address(option, environment, address, remote, monkeypatch):
    if environment:
        monkeypatch.setenv("OLLAMA_HOST", environment)
    made = OllamaPlanner(OllamaOptions(host=option), Runtime())
    assert (made.address, made.remote) == (address, remote)


def test_what_is_no_address():
    for host in ("ftp://x", "a:b:c", "http://u:p@h"):
        with pytest.raises(UsageError):
            OllamaPlanner(OllamaOptions(host=host), Runtime())


def test_offline_keeps_from_sending_to_another_machine():
    with pytest.raises(ServiceUnavailable, match="offline"):
        OllamaPlanner(OllamaOptions(host="gpu-box"), Runtime(offline=True)).plan(asked())


def test_proxies_of_the_environment_are_not_for_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeOllama([say(GOOD)]) as server:
        assert planner(server).plan(asked()).subtasks


QUOTED = f"who is {CANARY}?"
FAILURES = [
    fail(401, QUOTED),
    Reply(status=403, raw=json.dumps({"error": QUOTED}).encode()),
    Reply(status=400, raw=json.dumps({"error": QUOTED}).encode()),
    Reply(status=404, raw=json.dumps({"error": QUOTED}).encode()),
    Reply(status=500, raw=json.dumps({"error": QUOTED}).encode()),
    Reply(raw=json.dumps({"error": QUOTED}).encode()),
    Reply(raw=QUOTED.encode()),
    say(QUOTED),
    say(GOOD.replace("a fox", CANARY)),
    say(GOOD, fields={"model": CANARY}),
    Reply(trouble="hang in body", text=QUOTED),
    Reply(trouble="drop"),
]


@pytest.mark.parametrize("reply", FAILURES, ids=range(len(FAILURES)))
def test_the_key_appears_nowhere(reply, monkeypatch, pauses, caplog, capfd):
    monkeypatch.setenv("OLLAMA_API_KEY", CANARY)
    caplog.set_level(logging.DEBUG)
    seen = []
    with FakeOllama([reply]) as server:
        made = planner(server, silence=0.3)
        seen += [repr(made), repr(made.options), "\n".join(made.preview(asked()).lines("planner", "any"))]
        try:
            seen.append(plan_to_json(made.plan(asked())))
        except GasError as error:
            seen += [str(error), repr(error), str(getattr(error, "reply", ""))]
            seen.append("".join(traceback.format_exception(error)))
    assert server.chats and f"Bearer {CANARY}" in str(server.chats[0].headers)
    out, err = capfd.readouterr()
    assert not [text for text in [*seen, out, err, caplog.text] if CANARY in text]


class TestContract(PlannerContract):
    @pytest.fixture
    def planner(self):
        with FakeOllama([say(GOOD)]) as server:
            yield OllamaPlanner(OllamaOptions(host=server.url), Runtime())
