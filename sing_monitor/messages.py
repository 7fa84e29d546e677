"""Messages to the user: one process of a training speaks, the others are silent."""

from __future__ import annotations

import logging
import math
import os
import sys
import warnings

import torch.distributed as dist

from sing_monitor.processes import is_distributed

_LOGGER = logging.getLogger("sing_monitor")
_PREFIX = "sing-monitor: "
# Set by torchrun, by Lightning for the processes it starts, by SLURM and by LSF.
_RANK_VARIABLES = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def may_speak() -> bool:
    """Whether messages and progress bars of this process are shown: those of rank 0.

    Before a group of processes exists, the rank is that of the launcher.
    """
    if is_distributed():
        return dist.get_rank() == 0
    ranks = (os.environ.get(name) for name in _RANK_VARIABLES)
    return next((rank for rank in ranks if rank), "0") == "0"


def info(text: str) -> None:
    """Log a line at level INFO to the logger ``sing_monitor``, in the first process.

    Where the application has set up no logging, the line goes to the standard error: it says what
    the monitor has understood, which nobody should have to turn on.
    """
    if may_speak():
        _make_audible()
        _LOGGER.info("%s%s", _PREFIX, text)


def warn(text: str) -> None:
    """Emit a UserWarning in the first process."""
    if may_speak():
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
