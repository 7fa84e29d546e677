"""One training under watch, whatever runs it.

``Monitor`` and ``Options`` are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sing_monitor.monitor.monitor import Monitor
    from sing_monitor.monitor.options import Options

__all__ = ["Monitor", "Options"]


def __getattr__(name: str) -> Any:
    if name == "Monitor":
        from sing_monitor.monitor.monitor import Monitor

        return Monitor
    if name == "Options":
        from sing_monitor.monitor.options import Options

        return Options
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
