"""The planner `transformers` with a tiny model of a real class that knows one plan by heart."""

from __future__ import annotations

import json

import pytest
from planner_cases import EXAMPLE, GOOD, asked, photo

from gas.backends.registry import Registry
from gas.errors import ModelUnavailable, PlanUnreadable
from gas.plan.file import parse_plan, plan_to_json
from gas.runtime import Runtime
from gas.testing.contracts import PlannerContract
from gas.testing.tiny import build_tiny_vision_language
from gas_planners.chat.transformers import TransformersOptions, TransformersPlanner

THREE = [{"source": s, "target": t} for s, t in (("a dog", "a wolf"), ("a red car", "a blue car"), ("snow", "sand"))]


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32", offline=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return build_tiny_vision_language(tmp_path_factory.mktemp("planner") / "model", says=GOOD)


def planner(model, runtime, **options) -> TransformersPlanner:
    return TransformersPlanner(TransformersOptions(model=str(model), **options), runtime)


def test_a_plan(model, runtime):
    plan = planner(model, runtime).plan(asked())
    assert [(s.source, s.target) for s in plan.subtasks] == [(s.source, s.target) for s in EXAMPLE.reply.subtasks]
    provenance = plan.provenance
    assert (provenance.planner, provenance.model, provenance.service) == ("transformers", str(model), None)
    assert provenance.reply == GOOD and provenance.reply_tokens == 2 and provenance.prompt_tokens > 1_000
    assert EXAMPLE.request in json.dumps(provenance.request) and "sha256" in provenance.request
    assert parse_plan(plan_to_json(plan)) == plan


def test_nothing_leaves_this_machine(model, runtime):
    made = planner(model, runtime)
    preview = made.preview(asked())
    assert not made.remote and preview.address is None and preview.model == str(model)
    assert "nothing is sent" in "\n".join(preview.lines("planner", "transformers"))


def test_the_picture_can_be_left_out(model, runtime):
    with_picture, without = (planner(model, runtime, picture=p).plan(asked()).provenance for p in (True, False))
    assert "sha256" in with_picture.request and "sha256" not in without.request


def test_suggestions(tmp_path, runtime):
    said = json.dumps({"reasoning": "r", "suggestions": THREE})
    made = planner(build_tiny_vision_language(tmp_path / "m", says=said), runtime).suggest(photo())
    assert [(s.source, s.target) for s in made.suggestions] == [tuple(three.values()) for three in THREE]
    assert (made.planner, made.service) == ("transformers", None)


def test_random_words_are_no_plan(tmp_path, runtime):
    made = planner(build_tiny_vision_language(tmp_path / "m"), runtime, max_tokens=64)
    with pytest.raises(PlanUnreadable) as caught:
        made.plan(asked())
    assert caught.value.exit_code == 4 and caught.value.reply
    assert 'options={"transformers": {"max_tokens"' in caught.value.remedy


def test_its_default_is_a_model_that_sees_and_is_small():
    made = Registry.discover().create("planners", "transformers", {}, Runtime(offline=True))
    assert made.options.model == "Qwen/Qwen3-VL-2B-Instruct"
    with pytest.raises(ModelUnavailable, match="has not been downloaded"):
        made.plan(asked())


class TestContract(PlannerContract):
    @pytest.fixture
    def planner(self, model, runtime):
        return planner(model, runtime)
