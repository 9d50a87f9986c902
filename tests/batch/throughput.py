"""Edits a second of a batch beside those of one session for each core: `python tests/batch/throughput.py`.

Both do the same edits of the diorama's pictures and write them, in turn, several times; loading is not counted, and
neither keeps states of unfinished edits. What is
compared is the median of the ratios, and the processor time of both, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_SESSION = """
import json, sys, time
import gas
rows, out, steps = json.loads(sys.argv[1]), sys.argv[2], int(sys.argv[3])
session = gas.Session.of(profile="diorama", editor="dds", options={"dds": {"steps": steps}})
gas.edit(rows[0]["image"], rows[0]["instruction"], out=f"{out}/warm-{rows[0]['seed']}.png", seed=1, session=session)
print("ready", flush=True)
sys.stdin.readline()
for row in rows:
    result = gas.edit(row["image"], row["instruction"], seed=row["seed"], session=session)
    result.save(f"{out}/{row['out']}")
print("done", flush=True)
sys.stdin.readline()
"""


def main() -> None:
    """Runs both and prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=24)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--cores", type=int, default=2)
    said = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = _rows(said.items)
    ratios, own, batch = [], [], []
    for _ in range(said.times):
        with tempfile.TemporaryDirectory() as folder:
            alone, alone_cpu = _sessions(rows, Path(folder), said.cores, said.steps)
        with tempfile.TemporaryDirectory() as folder:
            many, many_cpu = _batch(rows, Path(folder), said.cores, said.steps)
        ratios.append(alone / many)
        own.append(alone_cpu / said.items)
        batch.append(many_cpu / said.items)
        print(f"sessions {alone:.1f} s, batch {many:.1f} s: {100 * alone / many:.0f} % of their throughput", flush=True)
    print(
        f"{said.items} edits on {said.cores} cores, {said.times} times: {100 * statistics.median(ratios):.0f} % of the "
        f"throughput of a session per core; processor time an edit {statistics.median(own):.2f} s in sessions, "
        f"{statistics.median(batch):.2f} s in batches"
    )


def _rows(count: int) -> list[dict[str, Any]]:
    from gas_diorama.folders import SCENES

    asked = {name: said["request"] for name, said in json.loads((SCENES / "scenes.json").read_text()).items()}
    scenes = sorted(path for path in SCENES.glob("*.png") if not asked[path.stem].startswith("add"))  # needs a place
    return [
        {"image": str(path), "instruction": asked[path.stem], "seed": number, "out": f"{number}.png"}
        for number in range(count)
        for path in [scenes[number % len(scenes)]]
    ]


def _sessions(rows: list[dict[str, Any]], out: Path, cores: int, steps: int) -> tuple[float, float]:
    """Seconds, and processor seconds, of the edits in a session for each core."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    parts = [rows[core::cores] for core in range(cores)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _SESSION, json.dumps(part), str(out), str(steps)],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for part in parts
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    began = {process.pid: _cpu(process.pid) for process in processes}
    since = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "done\n"
    seconds = time.perf_counter() - since
    spent = sum(_cpu(process.pid) - began[process.pid] for process in processes)
    for process in processes:
        process.communicate("end\n")
    return seconds, spent


def _batch(rows: list[dict[str, Any]], out: Path, cores: int, steps: int) -> tuple[float, float]:
    """The same of a batch, from when each worker has made an edit of its own; the parent's time is counted."""
    import gas

    warm = [{**row, "seed": 1000 + core, "out": f"warm-{core}.png"} for core, row in enumerate([rows[0]] * cores)]
    found = gas.batch(
        [*warm, *rows], out=str(out / "out"), workers=cores, threads=1, ahead=1,
        profile="diorama", editor="dds", options={"dds": {"steps": steps}},
    )  # fmt: skip
    for _ in range(cores):
        assert next(found).status == "done"
    since, mine = time.perf_counter(), time.process_time()
    workers = [int(name) for name in os.listdir("/proc") if name.isdecimal() and _is_worker(int(name))]
    before = sum(map(_cpu, workers))
    done = 0
    spent = 0.0
    for entry in found:
        assert entry.status == "done", entry.error
        done += 1
        if done == len(rows):
            seconds, spent = time.perf_counter() - since, sum(map(_cpu, workers)) - before
            spent += time.process_time() - mine
    assert done == len(rows)
    return seconds, spent


def _is_worker(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(stat[1]) == os.getpid() and "engines.process" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def _cpu(pid: int) -> float:
    """Processor seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
