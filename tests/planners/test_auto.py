"""The default planner: a local Ollama that sees, else rules; it says which and why, and nothing leaves the machine."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from planner_cases import BAD, EXAMPLE, GOOD, asked

from gas.errors import PlanUnreadable
from gas.runtime import Runtime
from gas.testing.contracts import PlannerContract
from gas.testing.servers import FakeOllama, FakeOpenAI, Reply, fail, say
from gas_planners.auto import AutoOptions, AutoPlanner

SIMPLE = "change the dog into a cat"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path))
    monkeypatch.setattr("gas.chat.calls.pause", lambda seconds: None)


def auto(**options) -> AutoPlanner:
    return AutoPlanner(AutoOptions(**options), Runtime())


@pytest.fixture
def nobody(monkeypatch):
    server = FakeOllama()
    server._server.server_close()
    monkeypatch.setenv("OLLAMA_HOST", server.url)


def test_nobody_there_means_rules(nobody):
    made = auto()
    assert made.choice().planner == "rules" and "no Ollama answers" in made.choice().why
    plan = made.plan(asked(SIMPLE))
    assert plan.subtasks[0].target == "a cat"
    assert plan.provenance.planner == "rules" and "no Ollama answers" in plan.provenance.note


def test_a_local_ollama_that_sees_is_taken(monkeypatch):
    with FakeOllama([say(GOOD)]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        made = auto()
        choice = made.choice()
        assert (choice.planner, choice.model) == ("ollama", "llava:latest")
        assert server.chats == []  # choosing sends no picture
        plan = made.plan(asked())
    assert plan.provenance.planner == "ollama" and "llava:latest" in plan.provenance.note
    assert plan.subtasks[0].target == EXAMPLE.reply.subtasks[0].target


def test_a_blind_ollama_is_not(monkeypatch):
    with FakeOllama([say(GOOD)], {"llama3:8b": ("completion",), "big:cloud": ("vision",)}) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        assert auto().choice().planner == "rules" and "no model that sees" in auto().choice().why
        auto().plan(asked(SIMPLE))
    assert server.chats == []


def test_an_ollama_on_another_machine_is_not_even_looked_at(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("the network was used")

    monkeypatch.setenv("OLLAMA_HOST", "gpu-box.invalid")
    monkeypatch.setattr("socket.create_connection", forbidden)
    monkeypatch.setattr("socket.getaddrinfo", forbidden)
    choice = auto().choice()
    assert choice.planner == "rules" and "the planner ollama" in choice.why


def test_openai_is_never_chosen(monkeypatch, nobody):
    with FakeOpenAI([say(GOOD)]) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert auto().plan(asked(SIMPLE)).provenance.planner == "rules"
    assert server.asked == []


def test_something_else_on_that_port(monkeypatch):
    with FakeOpenAI() as server:
        monkeypatch.setenv("OLLAMA_HOST", server.host)
        assert auto().choice().planner == "rules"


def test_looking_is_bounded(monkeypatch):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OLLAMA_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        assert auto(look_seconds=0.5).choice().planner == "rules"
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("reply", [say(BAD), say("sorry"), fail(500), Reply(raw=b"x"), say("", finish="length")])
def test_when_ollama_fails_rules_take_over_and_say_so(reply, monkeypatch):
    with FakeOllama([reply]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        plan = auto().plan(asked(SIMPLE))
    assert plan.provenance.planner == "rules" and "fell back" in plan.provenance.note
    assert any("fell back from ollama to rules" in w for w in plan.warnings)


def test_when_neither_can_read_it_the_models_reply_is_kept(monkeypatch):
    with FakeOllama([say("hm")]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        with pytest.raises(PlanUnreadable, match="fell back") as caught:
            auto().plan(asked("xyzzy plugh"))
    assert caught.value.reply == "hm" and caught.value.exit_code == 4


def test_preview_is_that_of_the_chosen(monkeypatch, nobody):
    sent = auto().preview(asked(SIMPLE))
    assert sent.address is None and "auto chose rules: no Ollama answers" in sent.note
    assert "nothing is sent" in "\n".join(sent.lines("planner", "auto"))
    with FakeOllama([say(GOOD)]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        sent = auto().preview(asked(SIMPLE))
        assert sent.address == server.url and sent.model == "llava:latest" and "auto chose ollama" in sent.note
    assert server.chats == []


def test_without_the_package_of_ollama(monkeypatch):
    with FakeOllama([say(GOOD)]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        monkeypatch.setitem(sys.modules, "ollama", None)
        choice = auto().choice()
    assert choice.planner == "rules" and "gas-edit[ollama]" in choice.why


def test_rules_are_chosen_without_loading_clients(nobody):
    code = (
        "import sys, numpy as np\n"
        "from gas.runtime import Runtime\nfrom gas.types import EditRequest\n"
        "from gas_planners.auto import AutoOptions, AutoPlanner\n"
        "request = EditRequest(np.zeros((8, 8, 3), np.uint8), 'change the dog into a cat')\n"
        "plan = AutoPlanner(AutoOptions(), Runtime()).plan(request)\n"
        "assert plan.provenance.planner == 'rules'\n"
        "loaded = {'torch', 'openai', 'ollama', 'httpx', 'PIL', 'transformers'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class TestContract(PlannerContract):
    @pytest.fixture
    def planner(self, monkeypatch):
        with FakeOllama([say(GOOD)]) as server:
            monkeypatch.setenv("OLLAMA_HOST", server.url)
            yield auto()
