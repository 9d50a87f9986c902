"""Bounded calls of a service: how many, how long, how much, and what may be said about it afterwards.

One question costs at most three calls and five minutes, its corrections and fallbacks included; a connection is waited
for 10 s, a silent service 120 s, a reply is read up to 4 MB. A refused login is not tried again. The clients' own
retries are off.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar, cast

from pydantic import SecretStr

from gas.errors import ServiceUnavailable
from gas.remedies import Remedy, remedy_of
from gas.settings import keys

MAX_CALLS = 3
TOTAL_SECONDS = 300.0
CONNECT_SECONDS = 10.0
READ_SECONDS = 120.0
MAX_REPLY_BYTES = 4_000_000
_PAUSES = (1.0, 3.0)
_TRY_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

# Below warnings they log what is sent and received: pictures, and headers, in which a service may quote the key.
_TALKATIVE = ("httpcore", "httpcore2", "httpx", "httpx2", "openai")

T = TypeVar("T")
pause = time.sleep


class CallFailed(Exception):
    """A call that brought no reply: in words, with what to do about it.

    `again` says whether another try may help; None leaves that to the HTTP `status`.
    """

    def __init__(
        self, message: str, remedy: str | Remedy = "", *, status: int | None = None, again: bool | None = None
    ) -> None:
        super().__init__(message)
        self.message, self.remedy, self.status = message, remedy, status
        self.again = status in _TRY_AGAIN if again is None else again


class Unsupported(CallFailed):
    """The service does not take the request as it is: `part` names what it complains of, None where it does not say."""

    def __init__(self, part: str | None, message: str, remedy: str | Remedy = "", *, status: int | None = None) -> None:
        super().__init__(message, remedy, status=status, again=False)
        self.part = part


class Calls:
    """The calls that one question may make. `secrets` never appear in what it raises.

    `seconds` bounds everything together, `silence` the wait for a sign of life.
    """

    def __init__(
        self,
        service: str,
        *,
        seconds: float = TOTAL_SECONDS,
        silence: float = READ_SECONDS,
        secrets: Sequence[SecretStr] = (),
    ) -> None:
        self.service = service
        self.secrets = list(secrets)
        self.silence = silence
        self.seconds = seconds
        self.made = 0
        self._end = time.monotonic() + seconds
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        self._retry_after: str | None = None
        self._broken: CallFailed | None = None

    @property
    def remaining(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    @property
    def left(self) -> int:
        """Calls that are left."""
        return MAX_CALLS - self.made

    def take(self) -> None:
        """Counts one call. ServiceUnavailable (8) when none is left, or no time."""
        if self.left < 1:
            raise self.failure(
                CallFailed(f"{self.service} gave no usable reply in {MAX_CALLS} calls", "try again later")
            )
        if self.remaining <= 0:
            raise self.failure(self.too_late())
        self.made += 1

    def make(self, send: Callable[[float], T]) -> T:
        """What `send(seconds without a sign of life)` returns, tried again where that may help and is allowed.

        ServiceUnavailable (8) when nothing came; Unsupported passes.
        """
        while True:
            self.take()
            self._retry_after = self._broken = None
            try:
                return self._within(send)
            except Unsupported:
                raise
            except CallFailed as failure:
                wait = self._wait(failure)
                if wait is None:
                    raise self.failure(failure) from None
                pause(wait)

    def look(self, send: Callable[[float], T]) -> T:
        """What `send` returns, tried once: for questions about the service that carry no picture and are not counted.

        ServiceUnavailable (8) when nothing came.
        """
        self._retry_after = self._broken = None
        try:
            return self._within(send)
        except CallFailed as failure:
            raise self.failure(failure) from None

    def failure(self, failed: CallFailed) -> ServiceUnavailable:
        """The error for the user, without secrets."""
        return ServiceUnavailable(
            self.redact(failed.message)[:500],
            remedy_of(failed.remedy).with_text(lambda text: self.redact(text)[:500]),
        )

    def redact(self, text: str) -> str:
        """`text` without the secrets: a service may quote the key that it was given."""
        return keys.redact(text, self.secrets)

    def hook(self, httpx: Any) -> Callable[[Any], None]:
        """A response hook for a client of the module `httpx`: notes Retry-After, bounds the body while it is read."""
        calls = self

        class Bounded(httpx.SyncByteStream):
            def __init__(self, stream: Any) -> None:
                self.stream, self.size = stream, 0

            def __iter__(self) -> Any:
                for chunk in self.stream:
                    self.size += len(chunk)
                    if self.size > MAX_REPLY_BYTES:
                        raise calls._break(f"{calls.service} sent more than {MAX_REPLY_BYTES} bytes")
                    if calls.remaining <= 0:
                        raise calls._break(calls.too_late().message)
                    yield chunk

            def close(self) -> None:
                self.stream.close()

        def received(response: Any) -> None:
            calls._retry_after = response.headers.get("retry-after")
            packed = response.headers.get("content-encoding", "identity").strip().lower()
            if packed not in ("", "identity"):  # was not asked for, and a few bytes could unpack to gigabytes
                raise calls._break(f"{calls.service} sent a reply packed as {packed[:20]!r}, unasked")
            response.stream = Bounded(response.stream)

        return received

    def explain(self, error: BaseException, hint: str | Remedy, strange: Remedy | None = None) -> CallFailed:
        """The failure behind an exception of a client's transport, by the kinds that httpx and its successor share.

        `hint` is the remedy where nothing came, `strange` (else `hint`) where what came is no reply.
        """
        if self._broken is not None:
            return self._broken
        kinds = {cls.__name__ for part in causes(error) for cls in type(part).__mro__}
        if isinstance(error, CallFailed):
            return error
        if isinstance(error, RecursionError):
            return CallFailed(f"{self.service} sent a reply that is nested too deeply to be one", strange or hint)
        if "ConnectTimeout" in kinds:
            return CallFailed(f"{self.service} did not answer within {CONNECT_SECONDS:g} s", hint)
        if "ProxyError" in kinds:
            return CallFailed(f"the proxy on the way to {self.service} refused", "check HTTPS_PROXY and NO_PROXY")
        if "ConnectError" in kinds or "ConnectionError" in kinds:
            return CallFailed(f"{self.service} cannot be reached", hint)
        if "TimeoutException" in kinds:
            return CallFailed(
                f"{self.service} was silent for {min(self.silence, self.seconds):g} s", "try again, or a smaller model"
            )
        if "TransportError" in kinds:
            return CallFailed(f"{self.service} broke the connection off", "try again", again=True)
        return CallFailed(
            f"{self.service} sent something that is not a reply ({type(error).__name__})", strange or hint
        )

    def _break(self, message: str) -> CallFailed:
        self._broken = CallFailed(message, "check the address of the service")
        return self._broken

    def too_late(self) -> CallFailed:
        """The failure of a question whose time is over."""
        return CallFailed(
            f"{self.service} gave no reply within {self.seconds:g} s in all", "try again, or a smaller model"
        )

    def _wait(self, failure: CallFailed) -> float | None:
        """Seconds to wait before the next call; None: there is to be none."""
        if not failure.again or self.left < 1:
            return None
        asked = retry_after(self._retry_after)
        if asked is None:
            asked = _PAUSES[min(self.made, len(_PAUSES)) - 1]
        elif asked >= self.remaining:
            failure.remedy = f"it asks to wait {asked:.0f} s: try again then"
            return None
        return asked if asked < self.remaining else None

    def _within(self, send: Callable[[float], T]) -> T:
        """The result of `send` in a thread of its own, which is left behind when the time is over.

        Clients bound the wait for each byte and not the whole: a service that sends a byte a minute would hold them
        for ever.
        """
        done: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()
        silence = min(self.silence, max(0.1, self.remaining))

        def work() -> None:
            try:
                done.put((True, send(silence)))
            except BaseException as error:  # noqa: BLE001 (carried over to the caller's thread)
                done.put((False, error))

        thread = threading.Thread(target=work, daemon=True, name="call of a service")
        thread.start()
        while thread.is_alive() and self.remaining > 0:
            thread.join(min(0.2, max(0.01, self.remaining)))  # short waits: Ctrl-C gets through on every system
        try:
            good, result = done.get_nowait()
        except queue.Empty:
            raise self._break(self.too_late().message) from None
        if not good:
            raise result
        return cast(T, result)


def retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks to wait (a number or a date); None when it says nothing sensible."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return None if math.isnan(seconds) else max(0.0, seconds)


def causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and len(found) < 10:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
