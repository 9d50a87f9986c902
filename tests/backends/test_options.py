from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, model_validator

from gas.backends.options import Layer, settle
from gas.errors import PluginBroken, UsageError
from gas.interfaces import Options


class Dials(Options):
    steps: int = Field(200, ge=1)
    guidance_scale: float = Field(7.5, gt=0)
    t_range: tuple[int, int] = (50, 949)
    sizes: tuple[int, ...] = (1, 2)
    norm: Literal["mask", "all"] = "mask"
    converge: float | None = None
    model: str | None = None
    sequential: bool = False
    weights: Mapping[str, float] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper": {"steps": 500, "guidance_scale": 7.5, "t_range": (50, 949), "norm": "mask", "sequential": False},
        "fast": {"steps": 100},
        "wrong": {"steps": 0},
    }

    @model_validator(mode="after")
    def _range(self) -> Dials:
        if self.t_range[0] >= self.t_range[1]:
            raise ValueError("t_range is empty")
        return self


def settled(*layers: Mapping[str, Any]):
    return settle("dials", Dials, [Layer(f"layer {i}", values) for i, values in enumerate(layers)])


def test_later_layers_win_and_say_so() -> None:
    result = settled({"steps": 5, "norm": "all"}, {"steps": 6})
    assert (result.options.steps, result.options.norm, result.options.guidance_scale) == (6, "all", 7.5)
    assert result.origins["steps"] == "layer 1"
    assert result.origins["norm"] == "layer 0"
    assert result.origins["guidance_scale"] == "default"
    assert result.preset is None


def test_preset_lies_above_lower_layers_and_beneath_its_own() -> None:
    tuned = {"guidance_scale": 4.0, "steps": 150, "model": "tiny"}
    paper = settled(tuned, {"preset": "paper"})
    assert (paper.options.guidance_scale, paper.options.steps) == (7.5, 500), "paper resets what a profile tuned"
    assert paper.options.model == "tiny", "and leaves what no paper speaks of"
    assert paper.origins["steps"] == "preset paper"
    fast = settled(tuned, {"preset": "fast"})
    assert (fast.options.guidance_scale, fast.options.steps) == (4.0, 100)
    assert settled({"preset": "fast", "steps": 7}).options.steps == 7
    assert settled({"steps": 7, "preset": "fast"}).options.steps == 7
    assert settled({"preset": "paper", "steps": 7}, {"preset": "fast"}).options.steps == 100
    assert settled({"preset": "paper"}, {"preset": "fast"}).preset == "fast"


@pytest.mark.parametrize(("name", "text", "value"), [
    ("steps", "300", 300), ("guidance_scale", "3", 3.0), ("guidance_scale", "2.5e0", 2.5),
    ("t_range", "100,700", (100, 700)), ("t_range", "[100, 700]", (100, 700)), ("sizes", "4", (4,)), ("sizes", "", ()),
    ("sequential", "yes", True), ("sequential", "false", False), ("converge", "none", None), ("converge", "null", None),
    ("converge", "0.02", 0.02), ("norm", "all", "all"), ("model", "none", "none"), ("model", "a,b", "a,b"),
    ("model", "12", "12"), ("weights", '{"a": 1}', {"a": 1.0}),
])  # fmt: skip
def test_text_is_read_as_the_type_wants_it(name: str, text: str, value: Any) -> None:
    assert getattr(settled({name: text}).options, name) == value


@given(st.integers(1, 10**9), st.floats(1e-6, 1e6))
def test_any_number_survives_as_text(steps: int, scale: float) -> None:
    options = settled({"steps": str(steps), "guidance_scale": repr(scale)}).options
    assert (options.steps, options.guidance_scale) == (steps, scale)


@pytest.mark.parametrize(("values", "message"), [
    ({"stpes": 1}, r"dials has no option 'stpes' \(layer 0\); did you mean 'steps'\?"),
    ({"guidance-scale": 1}, r"did you mean 'guidance_scale'\?"),
    ({"steps": "many"}, r"option steps='many' of dials \(layer 0\): input should be a valid integer"),
    ({"steps": "0"}, r"option steps='0' of dials \(layer 0\): input should be greater than or equal to 1"),
    ({"steps": "[" * 100_000}, r"option steps="),
    ({"guidance_scale": "nan"}, "finite"),
    ({"norm": "al"}, "input should be 'mask' or 'all'"),
    ({"t_range": "700"}, "t_range"),
    ({"t_range": "700,100"}, "options of dials: .*t_range is empty"),
    ({"preset": "papr"}, "unknown preset of dials 'papr'; did you mean 'paper'"),
])  # fmt: skip
def test_wrong_values_are_refused_by_name(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        settled(values)
    assert caught.value.remedy
    assert "\n" not in caught.value.message


def test_a_model_named_for_what_has_none_says_which_settings_to_change() -> None:
    class Plain(Options):
        amount: float = 1.0

    with pytest.raises(
        UsageError, match=r"tint has no model of its own, and 'a/b' was named for it \(--model\)"
    ) as caught:
        settle("tint", Plain, [Layer("--model", {"model": "a/b"})])
    assert "editor" in caught.value.remedy and "profile" in caught.value.remedy
    assert '{"EDITOR": {"model": "a/b"}}' in caught.value.remedy  # of one that hands changes on


def test_the_complaint_is_about_the_values_where_the_text_could_be_read_as_the_type() -> None:
    def ascending(value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError("the smaller one first")
        return value

    class Window(Options):
        window: Annotated[tuple[int, int] | None, AfterValidator(ascending)] = None

    with pytest.raises(UsageError, match=r"option window='900,100' of tint .*the smaller one first"):
        settle("tint", Window, [Layer("-o", {"window": "900,100"})])
    with pytest.raises(UsageError, match="valid tuple"):
        settle("tint", Window, [Layer("-o", {"window": "300"})])


def test_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        settled({"x": 1})
    assert "guidance_scale, model, norm, preset," in caught.value.remedy


def test_preset_that_does_not_fit_is_the_backends_fault() -> None:
    with pytest.raises(PluginBroken, match="preset 'wrong' of dials does not fit its options: steps"):
        settled({"preset": "wrong"})


def test_models_are_the_options_that_are_named_so() -> None:
    class Several(Options):
        model: str = "owner/one"
        second_model: str | None = None
        map_model: str = "owner/two"
        models_tried: str = "owner/three"

    assert Several().named_models() == {"model": "owner/one", "map_model": "owner/two"}
    assert Several(second_model="x").named_models()["second_model"] == "x"
    assert Options().named_models() == {}
