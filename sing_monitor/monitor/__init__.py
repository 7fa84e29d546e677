"""One training under watch, whatever runs it.

``Monitor``, ``Options``, ``Session`` and ``Watch`` are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sing_monitor.monitor.options import Options
    from sing_monitor.monitor.plain.monitor import Monitor
    from sing_monitor.monitor.plain.watch import Watch
    from sing_monitor.monitor.session import Session

__all__ = ["Monitor", "Options", "Session", "Watch"]

_HOMES = {
    "Monitor": "plain.monitor",
    "Options": "options",
    "Session": "session",
    "Watch": "plain.watch",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
