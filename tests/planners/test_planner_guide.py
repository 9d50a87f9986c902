"""docs/write-a-planner.md: its first listing is a planner that works, and what it says of the others is so."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from places import DOCS

import gas
from gas.backends.registry import Registry
from gas.chat import calls as service
from gas.errors import PlanUnreadable
from gas.testing import PlannerContract
from gas.testing.servers import Trouble
from gas_planners.chat.reply import read_plan

GUIDE = (DOCS / "write-a-planner.md").read_text()
LISTINGS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)


@pytest.fixture(scope="module")
def listing():
    names: dict = {"__name__": "gas_night"}
    exec(compile(LISTINGS[0][1], "write-a-planner.md", "exec"), names)
    return names


class TestNight(PlannerContract):
    @pytest.fixture
    def planner(self, listing):
        return listing["NightPlanner"](listing["NightOptions"](), gas.Runtime())

    @pytest.fixture
    def edit_request(self, image):
        return gas.EditRequest(image, "make it night")


def test_the_first_listing_plans(listing):
    request = gas.EditRequest(np.zeros((8, 8, 3), np.uint8), "make it night", caption="a lake")
    plan = listing["NightPlanner"](listing["NightOptions"](stars=False), gas.Runtime()).plan(request)
    assert plan.subtasks[0].target == "a night sky" and plan.target_prompt == "a lake under a night sky"
    with pytest.raises(PlanUnreadable, match="not a request for night"):
        listing["NightPlanner"](listing["NightOptions"](), gas.Runtime()).plan(
            gas.EditRequest(np.zeros((8, 8, 3), np.uint8), "make it day")
        )
    (spec,) = listing["gas_register_planners"]()
    assert spec.name == "night"


def test_the_table_names_the_planners_that_are_there():
    registry = Registry.discover()
    row = next(line for line in GUIDE.splitlines() if line.startswith("| |"))
    named = re.findall(r"`(\w+)`", row)
    assert set(named) == {"rules", "ollama", "openai", "transformers", "auto"}
    for name in named:
        assert registry.load("planners", name).options_type()


def test_the_options_that_it_names_exist():
    registry = Registry.discover()
    known = {
        f
        for name in ("auto", "ollama", "openai", "transformers")
        for f in registry.load("planners", name).options_type.model_fields
    }
    for option in re.findall(r"-o (\w+)", GUIDE):
        assert option in known | {"stars"}, option


def test_the_reply_that_it_shows_can_be_read():
    (text,) = [body for language, body in LISTINGS if language == "json"]
    assert read_plan(text).warnings == ()
    assert json.loads(text)


def test_the_bounds_that_it_names():
    assert f"{service.CONNECT_SECONDS:g} s" in GUIDE and f"{service.READ_SECONDS:g} s" in GUIDE
    assert f"{service.MAX_REPLY_BYTES // 10**6} MB" in GUIDE
    assert "three calls" in GUIDE and service.MAX_CALLS == 3
    for trouble in Trouble.__args__:
        assert f"`{trouble}`" in GUIDE
