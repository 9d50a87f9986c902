"""What a backend would send away: to be shown before anything is sent."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Message:
    """One message to a model: who speaks (`system`, `user`, `assistant`), the text, and whether the picture goes with
    it."""

    role: str
    text: str
    with_picture: bool = False


@dataclass(frozen=True)
class Preview:
    """What would be sent for one request, and where to. Making it sends nothing.

    * `address`: where to (None: nothing is sent, or the backend does not say);
    * `remote`: it leaves this machine;
    * `complete`: False where the backend cannot show what it sends;
    * `model`, `key`: who is asked, and where the key comes from (never the key itself);
    * `picture`: the form in which the picture goes with it (None: it is not sent);
    * `messages`: the texts;
    * `calls`: how often it is sent at most;
    * `note`: more for the reader, e.g. who was chosen and why.
    """

    address: str | None = None
    remote: bool = False
    complete: bool = True
    model: str | None = None
    key: str | None = None
    picture: str | None = None
    messages: tuple[Message, ...] = ()
    calls: int = 1
    note: str = ""

    def lines(self, role: str, name: str) -> list[str]:
        """The preview for people; `role` and `name` are those of the backend, e.g. "planner" and "ollama"."""
        out = [f"{role:<8} {name}", *([f"note     {self.note}"] if self.note else [])]
        if self.remote and not self.complete:
            return [*out, "the picture is sent to another machine; this plugin cannot show what it sends, and where to"]
        if self.address is None:
            return [*out, "nothing is sent: the request and the picture stay on this machine"]
        where = "another machine" if self.remote else "this machine"
        out += [
            f"to       {self.address} ({where}), at most {self.calls} call{'s' * (self.calls != 1)}",
            f"model    {self.model}",
            f"key      {self.key or 'none'}",
            f"picture  {self.picture or 'not sent'}",
        ]
        for message in self.messages:
            head = f"{message.role}, with the picture" if message.with_picture else message.role
            out += ["", f"--- {head} ---", message.text]
        return out

    def as_json(self, role: str, name: str) -> dict[str, Any]:
        """The preview for machines: its fields, and under the name of the role that of the backend."""
        return {role: name, **asdict(self), "messages": [asdict(message) for message in self.messages]}
