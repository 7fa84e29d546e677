"""Watches what an image classifier's head ignores while the model trains.

``SINGCallback``, ``Monitor`` and ``analyze`` are resolved on first use, so that
``import sing_monitor`` stays light.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sing_monitor import moved

if TYPE_CHECKING:
    from sing_monitor.callbacks.sing import SINGCallback
    from sing_monitor.monitor.plain.monitor import Monitor
    from sing_monitor.offline.analyze import analyze

__version__ = version("sing-monitor")

moved.install()

__all__ = ["Monitor", "SINGCallback", "__version__", "analyze"]


def __getattr__(name: str) -> Any:
    if name == "SINGCallback":
        from sing_monitor.callbacks.sing import SINGCallback

        return SINGCallback
    if name == "Monitor":
        from sing_monitor.monitor.plain.monitor import Monitor

        return Monitor
    if name == "analyze":
        from sing_monitor.offline.analyze import analyze

        return analyze
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
