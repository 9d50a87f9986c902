"""Choosing options on validation cases: which points are tried, which is best, and the whole on a tiny network."""

from __future__ import annotations

from pathlib import Path

import pytest

from gas_diorama.bench.scores import Result
from gas_diorama.train import tune

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


pytest.importorskip("torch")


def test_trials_are_points_of_the_grid_and_repeatable() -> None:
    grid = {"steps": (1, 2, 3), "guidance_scale": (4.0, 7.5)}
    whole = tune.trials(grid, 100, seed=0)
    assert len(whole) == 6 and {"steps": 3, "guidance_scale": 4.0} in whole
    some = tune.trials(grid, 3, seed=1)
    assert len(some) == 3 and all(one in whole for one in some)
    assert some == tune.trials(grid, 3, seed=1)
    assert any(some != tune.trials(grid, 3, seed=other) for other in range(2, 6))


def test_the_best_has_most_done_then_least_error_then_fewest_rows() -> None:
    def result(row: str, done: bool, raw: float, rows: float) -> Result:
        verdict = (done,), ("x",), (0.1,), (done,), ("",)
        return Result(row, "a", "plain", 0, ("change",), *verdict, raw, 0.0, 1.0, rows)

    results = [
        result("undone", False, 0.0, 1),
        result("dear", True, 1.0, 9),
        result("dirty", True, 2.0, 1),
        result("best", True, 1.0, 3),
    ]
    assert tune.ranked(results) == ["best", "dear", "dirty", "undone"]


def test_toml_lines_can_be_read_back() -> None:
    import tomllib

    lines = tune.toml_lines("dds", {"steps": 150, "t_range": (50, 700), "guidance_scale": 4.0, "mask": "none"})
    assert tomllib.loads(lines) == {
        "options": {"dds": {"steps": 150, "t_range": [50, 700], "guidance_scale": 4.0, "mask": "none"}}
    }


@pytest.mark.parametrize(
    ("text", "axis"),
    [
        ("steps=100,150", ("steps", [100, 150])),
        ("t_range=50:948,100:700", ("t_range", [(50, 948), (100, 700)])),
        ("mask=region", ("mask", ["region"])),
        ("penalty=true,false", ("penalty", [True, False])),
    ],
)
def test_axes_are_read(text: str, axis: tuple[str, list[object]]) -> None:
    assert tune._axis(text) == axis


@pytest.mark.filterwarnings("ignore:the prompt")
def test_it_prints_penalties_table_and_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gas.testing.tiny import build_tiny_stable_diffusion

    model = build_tiny_stable_diffusion(tmp_path / "model")
    profile = tmp_path / "tiny.toml"
    profile.write_text(f'editor = "ground-a-score"\n[options.ground-a-score]\nmodel = "{model}"\n')
    arguments = ["--profile", str(profile), "--out", str(tmp_path / "out"), "--cases", "4", "--gamma", "2"]
    tune.main([*arguments, "--vary", "steps=1", "--vary", "guidance_scale=4,7.5"])
    text = capsys.readouterr().out
    assert text.count("lambda") == 3 and text.count("subtasks_done") == 2
    means = [float(line.split("mean gamma")[1].split()[0]) for line in text.splitlines() if "mean gamma" in line]
    assert 0 <= means[0] <= means[1] <= means[2] <= 1 and means[0] < means[2]
    assert "[options.ground-a-score]\nsteps = 1\nguidance_scale = " in text
