"""Three changes for a picture, which every planner understands."""

from __future__ import annotations

import json

import pytest
from planner_cases import photo

from gas.chat.lenient_json import Unreadable
from gas.errors import PlanUnreadable, ServiceUnavailable, UsageError
from gas.runtime import Runtime
from gas.testing.servers import FakeOllama, FakeOpenAI, fail, say
from gas.types import EditRequest, Suggestions
from gas_planners.auto import AutoOptions, AutoPlanner
from gas_planners.chat.ollama import OllamaOptions, OllamaPlanner
from gas_planners.chat.openai import OpenAIOptions, OpenAIPlanner
from gas_planners.chat.suggestions import read_suggestions
from gas_planners.rules.planner import RulesPlanner

THREE = [("a dog", "a wolf"), ("a red car", "a blue car"), ("the clear sky", "a sunset sky")]


def reply(pairs=THREE, **more) -> str:
    return json.dumps({"reasoning": "r", "suggestions": [{"source": s, "target": t} for s, t in pairs], **more})


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path))


def test_suggestions_are_requests_that_rules_understand():
    with FakeOllama([say(reply())]) as server:
        made = OllamaPlanner(OllamaOptions(host=server.url), Runtime()).suggest(photo(), "my dog", ["change x into y"])
    assert made.suggestions[0].request == "change a dog into a wolf"
    rules = RulesPlanner(RulesPlanner.options_type(), Runtime())
    plan = rules.plan(EditRequest(image=photo(), instruction=made.request))
    assert [s.action for s in plan.subtasks] == ["change"] * 3
    for suggestion in made.suggestions:
        assert len(rules.plan(EditRequest(image=photo(), instruction=suggestion.request)).subtasks) == 1
    body = server.chats[0].body
    assert "my dog" in body["messages"][1]["content"] and "change x into y" in body["messages"][1]["content"]
    assert body["messages"][1]["images"] and "suggestions" in body["format"]["properties"]
    assert (made.planner, made.model, made.prompt_tokens) == ("ollama", "llava:latest", 1698)
    assert Suggestions.model_validate_json(made.model_dump_json()) == made


def test_through_openai():
    with FakeOpenAI([say(reply())]) as server:
        made = OpenAIPlanner(OpenAIOptions(base_url=server.url, model="m"), Runtime()).suggest(photo())
    assert len(made.suggestions) == 3 and made.service == server.url


def test_a_bad_reply_is_sent_back_once():
    with FakeOllama([say(reply(THREE[:2])), say(reply())]) as server:
        assert OllamaPlanner(OllamaOptions(host=server.url), Runtime()).suggest(photo()).suggestions
    assert "2 suggestions, not 3" in server.chats[1].body["messages"][-1]["content"]
    with FakeOllama([say("no")]) as server, pytest.raises(PlanUnreadable) as caught:
        OllamaPlanner(OllamaOptions(host=server.url), Runtime()).suggest(photo())
    assert caught.value.reply == "no" and len(server.chats) == 2


def test_no_reply():
    with FakeOllama([fail(401)]) as server, pytest.raises(ServiceUnavailable):
        OllamaPlanner(OllamaOptions(host=server.url), Runtime()).suggest(photo())


def test_a_planner_that_cannot_see(monkeypatch):
    with pytest.raises(UsageError, match="sees"):
        RulesPlanner(RulesPlanner.options_type(), Runtime()).suggest(photo())
    with pytest.raises(UsageError, match="sees"):
        OllamaPlanner(OllamaOptions(picture=False), Runtime()).suggest(photo())
    closed = FakeOllama()
    closed._server.server_close()
    monkeypatch.setenv("OLLAMA_HOST", closed.url)
    with pytest.raises(UsageError, match="no Ollama answers"):
        AutoPlanner(AutoOptions(), Runtime()).suggest(photo())


def test_auto_takes_the_ollama_that_is_there(monkeypatch):
    with FakeOllama([say(reply())]) as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        assert AutoPlanner(AutoOptions(), Runtime()).suggest(photo()).planner == "ollama"


@pytest.mark.parametrize(
    "text",
    [
        reply(),
        f"Sure:\n```json\n{reply()}\n```",
        reply(extra=1),
        reply(reasoning=None),
        json.dumps({"suggestions": [f"change {s} into {t}" for s, t in THREE]}),
        json.dumps({"suggestions": [f"Change {s} into {t}." for s, t in THREE]}),
        reply([(f"{s}.", f"{t}\u200b") for s, t in THREE]),
    ],
)
def test_salvaged(text):
    made, _ = read_suggestions(text)
    assert [(s.source, s.target) for s in made.suggestions] == THREE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("change = [change A into B. change C into D.]", "no suggestions"),
        (reply(THREE[:2]), "2 suggestions"),
        (reply([*THREE, ("a cat", "a lion")]), "4 suggestions"),
        (reply([*THREE[:2], ("a dog", "a cat")]), "same thing"),
        (reply([*THREE[:2], ("the  Dog", "a cat")]), "same thing"),
        (reply([*THREE[:2], ("a cat", "A  cat")]), "same phrase"),
        (reply([*THREE[:2], ("", "a cat")]), "phrase is empty"),
        (reply([*THREE[:2], ("a sign with letters", "a blank sign")]), "lettering"),
        (reply([*THREE[:2], ("a logo", "a star")]), "lettering"),
        (reply([*THREE[:2], ("a cat", "a very very very very very very large cat")]), "more than 8 words"),
        (reply([*THREE[:2], ("a cat", "a dog, change the sky into fire")]), "suggestion 3"),
        (reply([*THREE[:2], ("a cat into a dog", "a pig")]), "suggestion 3"),
        (reply([*THREE[:2], ("x" * 300, "a cat")]), "200 characters"),
        (f"{reply()} {reply(THREE[::-1])}", "2 different answers"),
        (json.dumps({"suggestions": "three"}), "suggestions"),
        (json.dumps({"suggestions": [1, 2, 3]}), "suggestions"),
    ],
)  # fmt: skip
def test_refused_by_name(text, words):
    with pytest.raises(Unreadable, match=words):
        read_suggestions(text)
