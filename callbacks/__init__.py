"""Adapters that feed a training framework's validation loop to the analyses.

Installed as ``sing_monitor.callbacks``; import it by that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sing_monitor.callbacks.sing import SINGCallback

__all__ = ["SINGCallback"]


def __getattr__(name: str) -> Any:
    if name == "SINGCallback":
        from sing_monitor.callbacks.sing import SINGCallback

        return SINGCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
