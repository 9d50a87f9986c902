"""Fake services over a real socket on 127.0.0.1: what they answer, and every way in which they misbehave.

```python
with FakeOpenAI([say('{"reasoning": ...}')]) as server:
    planner = OpenAIPlanner(OpenAIOptions(base_url=server.url, model="any"), Runtime())
    planner.plan(request)
    server.asked[0].body["messages"]
```

Each chat that is not refused takes the next of the replies; the last one is repeated. `FakeOpenAI` takes whatever it is
sent; the others refuse what their services refuse, in their words.
"""

from __future__ import annotations

from gas.testing.servers.cloud import FakeAnthropic, FakeGemini, FakeOpenRouter, FakeStrictOpenAI
from gas.testing.servers.local import FakeLlamaCpp, FakeLMStudio, FakeVLLM
from gas.testing.servers.ollama import FakeOllama
from gas.testing.servers.openai import FakeOpenAI
from gas.testing.servers.service import Asked, FakeService, Reply, Trouble, fail, say

__all__ = [
    "Asked",
    "FakeAnthropic",
    "FakeGemini",
    "FakeLMStudio",
    "FakeLlamaCpp",
    "FakeOllama",
    "FakeOpenAI",
    "FakeOpenRouter",
    "FakeService",
    "FakeStrictOpenAI",
    "FakeVLLM",
    "Reply",
    "Trouble",
    "fail",
    "say",
]
