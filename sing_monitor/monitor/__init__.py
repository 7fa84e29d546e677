"""One training under watch, whatever runs it.

``Session`` and ``Options`` are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sing_monitor.monitor.options import Options
    from sing_monitor.monitor.session import Session

__all__ = ["Options", "Session"]


def __getattr__(name: str) -> Any:
    if name == "Session":
        from sing_monitor.monitor.session import Session

        return Session
    if name == "Options":
        from sing_monitor.monitor.options import Options

        return Options
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
