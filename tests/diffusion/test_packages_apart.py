"""LoRAs, GGUF files and int8, with the packages that the environment of the tests does not have: in one program that
finds them in a folder of their own (`tests/apart.py`)."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import apart
import pytest
from places import ROOT

FILES = ("test_lora.py", "test_pipeline_loading.py", "test_quantised.py")


@pytest.mark.skipif(not apart.FOLDER.is_dir(), reason="make test installs peft, gguf and torchao into a folder apart")
def test_what_needs_the_packages_that_are_kept_apart() -> None:
    where = os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(apart.FOLDER)]).strip(os.pathsep)
    command = [sys.executable, "-m", "pytest", "-m", "apart", "-p", "no:randomly", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, *(f"tests/diffusion/{name}" for name in FILES)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": where},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])}
    assert counts.get("passed", 0) > 30 and "skipped" not in counts, done.stdout
