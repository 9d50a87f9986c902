"""The program of a worker process of the local engine: `python -m gas.batch.engines.process DEPTH`.

Its standard input has what it is to do, a line of JSON each; its standard output gets what came of it. When the input
ends, so does the process, at once: its parent is gone.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

from gas.batch.engines import wire
from gas.batch.engines.interface import Worker, WorkerSpec
from gas.errors import GasError
from gas.process import own_process


def main() -> None:
    """Runs until its standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which says what is to be done
    faulthandler.enable()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # whatever prints gets into the log, and not between the answers
    sys.stdout = sys.stderr
    with own_process():
        _run(sys.stdin.buffer, _Answers(answers), int(sys.argv[1]))


class _Answers:
    """Lines to the parent, written by several threads."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def give(self, **values: Any) -> None:
        data = memoryview(wire.line(**values))
        with self._lock:
            try:
                while data:
                    data = data[self._stream.write(data) :]
            except BrokenPipeError:
                os._exit(0)


def _run(orders: BinaryIO, answers: _Answers, depth: int) -> None:
    first = json.loads(orders.readline() or b"null")
    if first is None:
        return
    made: list[Worker] = []
    ready = threading.Event()
    pool = ThreadPoolExecutor(depth)

    def work(order: dict[str, Any]) -> None:
        ready.wait()
        answers.give(id=order["id"], value=value_of(made[0], order["data"]))

    def read() -> None:  # in a thread of its own: also while models are loaded the end of the parent is noticed
        for line in orders:
            order = json.loads(line)
            if not order.get("stop"):
                pool.submit(work, order)
                continue
            if ready.is_set():
                made[0].stop()
                pool.shutdown(cancel_futures=True)
            break
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    try:
        made.append(wire.make_worker(WorkerSpec(first["target"], first["setup"])))
        made[0].start()
    except GasError as error:
        answers.give(fault=wire.error_values(error))
    except Exception as error:  # noqa: BLE001 - a bug of ours is told to the parent, and ends the batch
        traceback.print_exc()
        answers.give(fault=wire.error_values(wire.bug(error)))
    else:
        answers.give(ready=True)
        ready.set()
    threading.Event().wait()


def value_of(worker: Worker, data: dict[str, Any]) -> dict[str, Any]:
    """What comes of a task; one that ends with an exception never stops a batch."""
    try:
        return dict(worker(data))
    except GasError as error:
        return {"error": wire.error_values(error)}
    except Exception as error:  # noqa: BLE001 - a bug of ours, or of whoever wrote the worker
        traceback.print_exc()
        return {"error": wire.error_values(wire.bug(error))}


if __name__ == "__main__":
    main()
