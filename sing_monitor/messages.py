"""Messages to the user: one process of a training speaks, the others are silent."""

from __future__ import annotations

import logging
import math
import sys
import warnings

from sing_monitor.processes import is_first_process

_LOGGER = logging.getLogger("sing_monitor")
_PREFIX = "sing-monitor: "


def info(text: str) -> None:
    """Log a line at level INFO to the logger ``sing_monitor``, in the first process.

    Where the application has set up no logging, the line goes to the standard error: it says what
    the monitor has understood, which nobody should have to turn on.
    """
    if is_first_process():
        _make_audible()
        _LOGGER.info("%s%s", _PREFIX, text)


def warn(text: str) -> None:
    """Emit a UserWarning in the first process."""
    if is_first_process():
        warnings.warn(f"{_PREFIX}{text}", UserWarning, stacklevel=3)


def duration(seconds: float) -> str:
    """Seconds in words a person reads: '40 seconds', '13 minutes', '2.5 hours'."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} seconds"
    if seconds < 5400:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"


def _make_audible() -> None:
    if _LOGGER.level == logging.NOTSET:
        _LOGGER.setLevel(logging.INFO)
    if not _LOGGER.hasHandlers():
        _LOGGER.addHandler(logging.StreamHandler(sys.stderr))
