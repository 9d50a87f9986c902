"""Many pictures: a manifest, workers that keep their models loaded, and a ledger of what is done.

`gas.batch(items, out="edited")` is `gas.batch.call.batch`: this package can be called, since function and package share
the name that users look for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> Iterator[Any]:
        from gas.batch.call import batch

        return batch(*arguments, **named)


sys.modules[__name__].__class__ = _Callable
