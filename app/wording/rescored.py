"""Runs that hold another run's snapshot, analyzed again under a ridge; pure functions."""

from __future__ import annotations

from collections.abc import Mapping

from sing_monitor.app.wording.degrees import RIDGE
from sing_monitor.app.wording.text import one_line

# Stands before the name of such a run wherever runs are named.
MARK = "\N{CLOCKWISE OPEN CIRCLE ARROW}"
ABOUT = (
    "`sing-monitor rescore` analyzed the stored snapshot of the other run again: its last "
    "validation alone, under a ridge that is given. The other run stays as it was logged."
)
# The tag that holds the other run's id.
SOURCE = "sing.rescored_from"


def is_rescored(row: Mapping[str, object]) -> bool:
    """Whether a run holds the snapshot of another one.

    Args:
        row: of `list_runs`.
    """
    return _source(row) != ""


def origin(row: Mapping[str, object], labels: Mapping[str, str]) -> str:
    """Where the numbers of a run come from; empty for a run of its own.

    Args:
        row: of `list_runs`.
        labels: of the runs of the store, by id; a run that was deleted is named by its id.

    Example::

        >>> row = {"sing.rescored_from": "4f5be2", "translator/ridge": 0.01}
        >>> origin(row, {"4f5be2": "honest"}), origin({}, {})
        ('rescored from honest, ridge 0.01', '')
    """
    if not (source := _source(row)):
        return ""
    ridge = row.get(RIDGE)
    under = f", ridge {ridge:.3g}" if isinstance(ridge, float) and ridge > 0 else ""
    return f"rescored from {labels.get(source) or f'run {source[:8]}'}{under}"


def _source(row: Mapping[str, object]) -> str:
    value = row.get(SOURCE)
    return one_line(value) if isinstance(value, str) else ""
