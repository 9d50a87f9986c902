"""`python tests/reliability.py [ROW ...]`: the table of docs/reliability.md, as Markdown. About five minutes.

Each row's tests are run and counted. Where a count of tests says too little there is a trial beside it: two editors in
threads, models without a weight, runs that are killed at random moments, a bomb, and damaged pictures.
"""

from __future__ import annotations

import io
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pictures
from reliability_rows import HEAD, ROWS, run_tests

from gas.errors import GasError, InputRefused, ModelUnavailable

ROOT = Path(__file__).resolve().parents[1]
PHOTOGRAPH = ROOT / "docs" / "photographs" / "coffee.jpg"
THREADS, WEIGHTS, KILLS, MUTANTS = 20, 60, 40, 5000


def two_in_threads(rounds: int) -> tuple[int, bool]:
    """How many of `rounds` times two sessions in threads, each with models of its own, gave other pictures than one
    after the other; and whether warning filters and random states were as before."""
    import warnings

    import torch

    from gas.run.session import Session
    from gas_diorama.world.cases import cases
    from gas_diorama.world.world import render

    case = cases(4, "validation")[0]
    picture = render(case.scene)

    def edit(editor: str) -> bytes:
        options = {editor: {"steps": 2}}
        session = Session.of(profile="diorama", editor=editor, options=options, device="cpu")
        found = session.ground(picture, case.plan)
        return session.edit(picture, case.plan, found, seed=1).image.tobytes()

    editors = ("dds", "sdedit")
    alone = {name: edit(name) for name in editors}
    filters, state = list(warnings.filters), torch.random.get_rng_state()
    wrong = 0
    for _ in range(rounds):
        seen: dict[str, bytes] = {}

        def run(name: str, into: dict[str, bytes]) -> None:
            into[name] = edit(name)

        threads = [threading.Thread(target=run, args=(name, seen)) for name in editors]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        wrong += seen != alone
    return wrong, filters == list(warnings.filters) and torch.equal(state, torch.random.get_rng_state())


def killed(runs: int, folder: Path) -> Counter[str]:
    """What is at the output's name after `runs` runs that were killed at random moments: nothing, a whole picture, or a
    broken one; and whether one more run of the same name works."""
    random.seed(0)
    found: Counter[str] = Counter()
    environ = {**os.environ, "GAS_HOME": str(folder / "home"), "GAS_CACHE": "false"}
    command = [sys.executable, "-m", "gas_cli", "edit", str(PHOTOGRAPH), "change the red cup into a blue cup"]
    command += ["--box", "cup=72,12,484,392", "--profile", "retouch", "--overwrite", "-o", "out.png"]
    whole = subprocess.run(command, cwd=folder, env=environ, capture_output=True)
    assert whole.returncode == 0, whole.stderr
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environ, capture_output=True)
    length = time.perf_counter() - began
    for number in range(runs):
        target = folder / f"{number}.png"
        process = subprocess.Popen(
            [*command[:-1], target.name], cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(random.uniform(0.3, 1.0) * length)
        process.kill()
        process.wait()
        found[_state(target)] += 1
    again = subprocess.run([*command[:-1], "0.png"], cwd=folder, env=environ, capture_output=True)
    found["a run after them fails"] += again.returncode != 0
    found["temporary files are left after it"] += bool([p for p in folder.iterdir() if p.suffix == ".tmp"])
    return found


def _state(path: Path) -> str:
    if not path.exists():
        return "nothing"
    try:
        with Pictures.open(path) as picture:
            picture.load()
    except Exception:  # noqa: BLE001 - whatever a broken file does
        return "broken"
    return "whole"


def mutants(count: int, folder: Path) -> Counter[str]:
    """How `count` damaged pictures were read: as a picture, refused, or by a crash; and whether one took over 2 s."""
    from gas.picture import photo

    generator = np.random.default_rng(0)
    small = Pictures.open(PHOTOGRAPH).resize((96, 64))
    bases = []
    for container in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        stream = io.BytesIO()
        small.save(stream, container)
        bases.append((container.lower(), stream.getvalue()))
    found: Counter[str] = Counter()
    for number in range(count):
        suffix, base = bases[number % len(bases)]
        data = bytearray(base)
        for place in generator.integers(0, len(data), int(generator.integers(1, 9))):
            data[place] = int(generator.integers(256))
        if generator.random() < 0.2:
            del data[int(generator.integers(len(data))) :]
        path = folder / f"mutant.{suffix}"
        path.write_bytes(data)
        began = time.perf_counter()
        try:
            photo.read(path)
            found["read"] += 1
        except GasError:
            found["refused"] += 1
        except Exception:  # noqa: BLE001 - a crash is what is counted
            found["crashed"] += 1
        found["over 2 s"] += time.perf_counter() - began > 2
    return found


def bomb(folder: Path) -> tuple[int, float, float]:
    """The bytes of a PNG of 160 megapixels of one colour, the seconds until it was refused, and the megabytes that this
    process grew by meanwhile."""
    from gas.picture import photo

    side, packer, data = 12_649, zlib.compressobj(9), bytearray()
    row = bytes(1 + 3 * side)
    for _ in range(side):
        data += packer.compress(row)
    data += packer.flush()
    path = folder / "bomb.png"
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b""))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    try:
        photo.read(path)
    except InputRefused:
        seconds = time.perf_counter() - began
        return path.stat().st_size, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1000
    raise AssertionError("the bomb was read")


def _chunk(kind: bytes, data: bytes | bytearray) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def weights_missing(count: int, folder: Path) -> int:
    """How many of `count` models in a single file, each without one weight drawn at random, were refused."""
    from original_layout import single_file
    from safetensors.torch import save_file

    from gas.diffusion.single_file import stable_diffusion_1 as reading
    from gas.diffusion.stable_diffusion import StableDiffusion
    from gas.testing.tiny import build_tiny_stable_diffusion

    tiny, file = build_tiny_stable_diffusion(folder / "tiny"), folder / "model.safetensors"
    (tiny / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    shipped, reading.SETTINGS = reading.SETTINGS, tiny
    weights = single_file(tiny)
    try:
        save_file(weights, file)
        StableDiffusion.from_folder(file)  # whole, it is taken
        refused = 0
        for key in random.Random(0).sample(sorted(weights), count):
            save_file({name: one for name, one in weights.items() if name != key}, file)
            try:
                StableDiffusion.from_folder(file)
            except ModelUnavailable:
                refused += 1
    finally:
        reading.SETTINGS = shipped
    return refused


# --- the table --------------------------------------------------------------------------------------------------------


def threads_row() -> str:
    wrong, same = two_in_threads(THREADS)
    return (
        f"two editors in threads, {THREADS} times, each loading its models: {THREADS - wrong} times the bytes of one "
        f"after the other, filters and random states {'as before' if same else 'CHANGED'}"
    )


def weights_row() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return f"{WEIGHTS} models without one weight: refused {weights_missing(WEIGHTS, Path(folder))}"


def kills_row() -> str:
    with tempfile.TemporaryDirectory() as folder:
        return f"{KILLS} runs killed at random moments, at the output's name: {_shown(killed(KILLS, Path(folder)))}"


def pictures_row() -> str:
    with tempfile.TemporaryDirectory() as folder:
        size, seconds, grown = bomb(Path(folder))
        read = mutants(MUTANTS, Path(folder))
    return (
        f"160 megapixels in {size / 1000:.0f} kB: refused after {seconds:.2f} s and {max(grown, 0):.0f} MB; "
        f"{MUTANTS} damaged pictures of six formats: {_shown(read)}"
    )


TRIALS = {21: threads_row, 22: weights_row, 26: kills_row, 29: pictures_row}


def main(numbers: Sequence[str]) -> None:
    """Prints the table; of the rows with these `numbers` alone, if there are any."""
    rows = [row for row in ROWS if not numbers or str(row.number) in numbers]
    tested = run_tests(rows)
    print(HEAD)
    for row in rows:
        trial = TRIALS.get(row.number)
        print(row.line("; ".join([tested[row.number], *([trial()] if trial else [])])), flush=True)


def _shown(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counts.items())


if __name__ == "__main__":
    main(sys.argv[1:])
