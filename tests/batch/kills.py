"""Kills parents, workers and Ray's actors of a batch at random moments, and looks at what is left.

`python tests/batch/kills.py --moments 20` from a checkout, with its folders `plugins`, `cli` and `tests` importable. It
ends with code 1 when something was lost, done twice in the ledger, or left half.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from batch_backends import pictures
from PIL import Image

from gas.batch.ledger import entries
from gas.run.record import read_record, sidecar

WHO = ("parent", "worker", "actor")
_PROGRAM = """
import sys
import gas
from batch_backends import FLAGS, rows
names = sys.argv[2].split(",")
flags = {**FLAGS, "options": {**FLAGS["options"], "painter": {"seconds": 0.05}}}
for entry in gas.batch(rows(names), out="out", workers=2, engine=sys.argv[1], **flags):
    print(entry.status, entry.item, flush=True)
"""


def main() -> None:
    """Runs and prints one line for each kind of victim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--who", choices=WHO, action="append")
    parser.add_argument("--seed", type=int, default=1)
    said = parser.parse_args()
    for who in said.who or WHO:
        with tempfile.TemporaryDirectory(prefix="gas-kills-") as folder:
            print(f"{who}: {killed(Path(folder), who, said.moments, items=said.items, seed=said.seed)}", flush=True)


def killed(folder: Path, who: str, moments: int, *, items: int = 24, seed: int = 1) -> str:
    """What happened, in words, to batches of `items` pictures of whose processes one was killed at each of so many
    random `moments`. AssertionError where a promise was broken."""
    chance = random.Random(seed)
    names = pictures(folder, items)
    engine = "ray" if who == "actor" else "local"
    struck = rounds = 0
    while struck < moments:
        rounds += 1
        for path in (folder / "out").rglob("*") if (folder / "out").exists() else ():
            if path.is_file():
                path.unlink()
        while True:  # one batch, killed now and then, until it has come to its end
            batch = _start(folder, engine, names)
            ended = _strike(batch, who, chance) if struck < moments else None
            if ended is None:
                _finish(batch)
                break
            struck += ended
            _check_files(folder / "out")
            if who == "parent":
                continue
            _finish(batch)
            break
        _check_ledger(folder / "out", names)
    return f"{struck} kills in {rounds} batches of {items}: nothing lost, nothing twice, no half file"


def _start(folder: Path, engine: str, names: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    environment["RAY_USAGE_STATS_ENABLED"] = "0"
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, engine, ",".join(names)],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def _strike(batch: subprocess.Popen[str], who: str, chance: random.Random) -> int | None:
    """How many kills there were; None where the batch came to its end before."""
    assert batch.stdout is not None
    if who != "parent" or chance.random() < 0.8:  # else while it starts
        for _ in range(chance.randrange(1, 5)):
            if not batch.stdout.readline():
                return None
    time.sleep(chance.uniform(0, 0.15 if who != "parent" else 0.4))
    if who == "parent":
        batch.kill()
        batch.communicate()
        return 1
    victims = _workers(batch.pid, who)
    if not victims:
        return None
    victim = chance.choice(victims)
    try:
        victim.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return None
    return 1


def _workers(parent: int, who: str) -> list[psutil.Process]:
    found = []
    try:
        for process in psutil.Process(parent).children(recursive=True):
            try:
                line = " ".join(process.cmdline())
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if ("ray::Actor" in line) if who == "actor" else ("gas.batch.engines.process" in line):
                found.append(process)
    except psutil.NoSuchProcess:
        return []
    return found


def _finish(batch: subprocess.Popen[str]) -> None:
    _, error = batch.communicate(timeout=300)
    assert batch.returncode == 0, error


def _check_files(out: Path) -> None:
    """Every picture that is there is whole."""
    for path in out.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()


def _check_ledger(out: Path, names: list[str]) -> None:
    """Every item is done once, its output is what was recorded, and nothing else is left."""
    _check_files(out)
    found = list(entries(out / "ledger"))
    done = Counter(entry.item for entry in found if entry.status == "done")
    assert done == Counter(names), f"lost or twice: {set(names) ^ set(done)}, {done.most_common(3)}"
    assert not [entry for entry in found if entry.status == "failed"], "a kill was taken for an item's own fault"
    for entry in found:
        record = read_record(sidecar(out / entry.out))
        assert record.file is not None and record.file.sha256 == entry.output_sha256
    left = {path.name for path in out.iterdir()} - {name for n in names for name in (n, f"{n}.gas.json")}
    assert left == {"ledger", "report", "index.html"}, left


if __name__ == "__main__":
    main()
