"""Workers for the contract of engines: they do nothing but what their tasks say."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gas.errors import InputRefused, ModelUnavailable
from gas.remedies import Remedy, Setting


class Obedient:
    """Echoes, waits, fails or dies, as each task asks."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self.setup, self.stopped, self.at_work = setup, threading.Event(), 0

    def start(self) -> None:
        if self.setup.get("dies_at_start"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.setup.get("fault"):
            raise ModelUnavailable("the model is not there", Remedy("pull", "name {one}", one=Setting("model", "x")))

    def __call__(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        self.at_work += 1
        most = self.at_work
        try:
            until = time.monotonic() + float(data.get("seconds", 0))
            while time.monotonic() < until and not self.stopped.is_set():
                time.sleep(0.005)
                most = max(most, self.at_work)
            if data.get("mark"):
                with Path(data["mark"]).open("a") as file:
                    file.write(f"{os.getpid()}\n")
            if data.get("die"):
                os.kill(os.getpid(), signal.SIGKILL)
            if data.get("refuse"):
                raise InputRefused("the picture is broken", "give another")
            if data.get("bug"):
                raise ZeroDivisionError("none of our errors")
            return {"said": data.get("say"), "process": os.getpid(), "together": most, "setup": dict(self.setup)}
        finally:
            self.at_work -= 1

    def stop(self) -> None:
        self.stopped.set()
