"""What docs/reliability.md promises, row by row, with the tests that fail without it; and those tests, run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
HEAD = "| row | promise | tests | figures |\n|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """A promise under its `number`, and its `tests`: files below `tests`, or single tests of one (`file::name`)."""

    number: int
    promise: str
    tests: tuple[str, ...]

    def line(self, figures: str) -> str:
        """Its line of the table."""
        by_file: dict[str, list[str]] = {}
        for test in self.tests:
            file, _, name = test.partition("::")
            by_file.setdefault(file, []).extend([name] if name else [])
        shown = [f"`{file}`" + (f" ({len(names)} of its tests)" if names else "") for file, names in by_file.items()]
        return f"| {self.number} | {self.promise} | {', '.join(shown)} | {figures} |"


ROWS = (
    Row(
        21,
        "Several edits in threads of one process work, and leave the process as it was.",
        (
            "test_process.py",
            "models/test_pretrained.py::test_two_threads_load_twenty_times_and_leave_the_process_as_it_was",
            "models/test_pretrained.py::test_while_a_network_is_loaded_the_process_is_as_it_was_and_warnings_are_heard",
            "picture/test_decode.py",
        ),
    ),
    Row(
        22,
        "Every weight, key and vocabulary of a model is accounted for before it is used.",
        ("models/test_account.py", "models/test_pretrained.py", "diffusion/test_single_file.py"),
    ),
    Row(
        23,
        "A stranger's record, plan or state makes nothing happen but what it says.",
        (
            "cli/test_strangers_records.py",
            "cli/test_safe_output.py",
            "run/test_record.py::test_records_from_strangers_are_checked",
            "run/test_record.py::test_an_embedded_record_that_unpacks_to_too_much_is_refused",
            "run/test_record.py::test_every_field_of_a_strangers_record_is_bounded",
        ),
    ),
    Row(
        24,
        '"Outside" is measured on the written file, outside what the user drew or was shown; every command prints '
        "the same number.",
        (
            "cli/test_edit_command.py::test_edit_and_info_print_what_is_measured_on_the_file",
            "run/test_edit_call.py::test_what_an_editor_does_beyond_the_regions_is_a_difference_outside",
            "run/test_edit_call.py::test_an_editor_that_stays_inside_is_bit_for_bit_outside",
            "run/test_prepare.py::test_who_writes_into_the_photograph_is_named",
            "run/test_pipeline.py::test_grounders_get_the_plan_a_picture_that_they_cannot_write_into_and_the_users_watch",
        ),
    ),
    Row(
        25,
        "An edit of nothing is not a success (exit 11).",
        ("run/test_unchanged.py", "editors/test_nothing_to_edit_by.py"),
    ),
    Row(
        26,
        "What can be refused is refused before the first step.",
        (
            "run/test_output.py",
            "test_reserve.py",
            "cli/test_edit_command.py::test_an_output_that_cannot_be_is_refused_before_anything_is_computed",
            "run/test_prepare.py::test_what_can_be_refused_is_refused_before_anybody_is_asked",
            "run/test_prepare.py::test_what_a_plan_alone_shows_is_refused_before_the_first_step",
        ),
    ),
    Row(
        27,
        "Every warning reaches the user, the record and `--json`.",
        (
            "run/test_notes.py",
            "cli/test_warnings.py::test_a_plugins_warning_reaches_people_json_and_record",
            "cli/test_warnings.py::test_an_error_carries_what_was_warned_of_before_it",
            "cli/test_warnings.py::test_a_mask_that_is_only_a_box_is_said",
            "diffusion/test_stable_diffusion.py::test_prompts_that_are_too_long_name_the_lost_words",
        ),
    ),
    Row(
        28,
        "A plugin's garbage is named as the plugin's (exit 9); its name and version are in the record.",
        ("run/test_answers.py", "cli/test_warnings.py"),
    ),
    Row(
        29,
        "A bomb is known by its ratio, and a picture that is too large by the free memory.",
        (
            "picture/test_photo.py::test_bombs_are_refused_quickly_and_in_little_memory",
            "picture/test_photo.py::test_a_bomb_is_named_by_its_bytes_and_its_pixels",
            "picture/test_photo.py::test_a_picture_larger_than_the_free_memory_is_refused_before_it_is_decoded",
            "picture/test_photo.py::test_too_little_memory_is_exit_7",
            "picture/test_photo.py::test_broken_files_are_read_or_refused_never_worse",
            "run/test_memory.py",
        ),
    ),
    Row(
        30,
        "Nothing is downloaded that was not announced with its size and agreed to.",
        (
            "models/test_models.py::test_an_edit_downloads_nothing_by_itself",
            "models/test_models.py::test_an_edit_downloads_what_was_agreed_to",
            "models/test_models.py::test_what_is_agreed_to_is_still_not_downloaded_offline",
            "models/test_models.py::test_offline_no_socket_is_opened",
        ),
    ),
)


def run_tests(rows: Sequence[Row] = ROWS) -> dict[int, str]:
    """What became of each row's tests, by its number: "42 tests pass", or how many failed."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        chosen = list(dict.fromkeys(f"tests/{test}" for row in rows for test in row.tests))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-o", "junit_family=xunit1"]
        done = subprocess.run([*command, f"--junitxml={report}", *chosen], cwd=ROOT, capture_output=True, text=True)
        if not report.exists() or done.returncode not in (0, 1):
            raise RuntimeError(f"pytest did not run: {done.stdout[-2000:]}{done.stderr[-2000:]}")
        results = _results(report)
    return {row.number: _counted(row, results) for row in rows}


def _results(report: Path) -> dict[tuple[str, str], Counter[str]]:
    """By file and name of a test, how its cases ended."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        key = case.get("file", "").removeprefix("tests/"), case.get("name", "").partition("[")[0]
        ended = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "pass")
        found.setdefault(key, Counter())[ended] += 1
    return found


def _counted(row: Row, results: Mapping[tuple[str, str], Counter[str]]) -> str:
    whole = {test for test in row.tests if "::" not in test}
    total: Counter[str] = Counter()
    for (file, name), ended in results.items():
        if file in whole or f"{file}::{name}" in row.tests:
            total += ended
    failed = total["failure"] + total["error"]
    return f"{total['pass']} tests pass" + (f", {failed} FAIL" if failed else "")
