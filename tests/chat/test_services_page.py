"""docs/services.md: its settings are those of the services, as their fakes have them, and what it names is there."""

from __future__ import annotations

import json
import re

import pytest
from places import DOCS

from gas.backends.registry import Registry
from gas.chat.openai import OFFICIAL, OpenAIConnectionOptions
from gas.chat.openai.options import endpoint
from gas.chat.thoughts import split
from gas.settings import keys
from gas.testing import servers

PAGE = (DOCS / "services.md").read_text()
ROWS = [
    [cell.strip().strip("`") for cell in line.strip("|").split("|")]
    for line in PAGE.split("## Settings")[1].split("##")[0].splitlines()
    if line.startswith("| ") and "base_url" not in line
]
FAKES = {
    "OpenAI": servers.FakeStrictOpenAI,
    "Gemini": servers.FakeGemini,
    "Anthropic": servers.FakeAnthropic,
    "OpenRouter": servers.FakeOpenRouter,
    "vLLM": servers.FakeVLLM,
    "LM Studio": servers.FakeLMStudio,
    "llama.cpp": servers.FakeLlamaCpp,
}


def test_every_service_has_a_row_and_a_fake():
    assert [row[0] for row in ROWS] == list(FAKES)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_settings(row, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    name, url, login, model, remarks = row
    url, login = ("" if "none" in cell else cell for cell in (url, login))
    there = endpoint(url)
    assert there.versioned is None and there.remote is (name not in ("vLLM", "LM Studio", "llama.cpp"))
    assert there.url.endswith(FAKES[name].path) and (url or there.url == OFFICIAL)
    options = {"base_url": url, "login": login, "model": model}
    for option, value in re.findall(r"`-o '?(\w+)=(.+?)'?`", remarks):
        options[option] = value
    assert OpenAIConnectionOptions(**options)
    assert not login or keys.variable(login)
    assert not model or model in FAKES[name].default_models


def test_what_it_names_exists():
    registry = Registry.discover()
    known = {
        field
        for name in ("ollama", "openai", "transformers")
        for field in registry.load("planners", name).options_type.model_fields
    }
    for option in re.findall(r"-o '?(?:openai\.)?(\w+)=", PAGE):
        assert option in known, option
    for fake in re.findall(r"`(Fake\w+)`", PAGE):
        assert hasattr(servers, fake), fake


@pytest.mark.parametrize("begin", ["<think>", "<thinking>", "<thought>", "<reasoning>", "[THINK]", "◁think▷",
                                   "<|START_THINKING|>", "<|channel>"])  # fmt: skip
def test_the_marks_that_it_names_are_known(begin):
    assert f"`{begin}`" in PAGE
    assert split(f"{begin}hm").thoughts == "hm"


def test_the_models_that_it_names_are_the_defaults():
    options = Registry.discover().load("planners", "transformers").options_type()
    assert f"the default is `{options.model}`" in PAGE
    (extra,) = set(re.findall(r"-o 'extra=(\{.*?\})'", PAGE))
    assert json.loads(extra)["chat_template_kwargs"] == {"enable_thinking": False}
