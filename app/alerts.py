"""Alerts that fired, from the tags of the runs; pure functions."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from sing_monitor.alerts import DEFAULT_ALERTS, parse_fired

_KNOWN = {alert.name: alert for alert in DEFAULT_ALERTS}


def fired(tags: Mapping[str, str]) -> pd.DataFrame:
    """One row for each alert of each run.

    Args:
        tags: run id -> its tag ``sing.alerts``; empty where no alert fired.

    Returns:
        Columns series, alert, epoch and message; the message is empty for a user's own rules, of
        which the tag holds the name alone.
    """
    rows = [
        (run, name, epoch, _KNOWN[name].message if name in _KNOWN else "")
        for run, tag in tags.items()
        for name, epoch in parse_fired(tag).items()
    ]
    return pd.DataFrame(rows, columns=["series", "alert", "epoch", "message"])


def marks(alerts: pd.DataFrame, key: str, values: pd.DataFrame) -> pd.DataFrame:
    """Where on the curves of a metric its alerts fired.

    Args:
        alerts: from `fired`.
        key: the metric; a user's own rules do not say which one they watch.
        values: the curves: series, label, epoch, x, value.

    Returns:
        The rows of the values, with alert and message.
    """
    watched = alerts["alert"].map(lambda name: key in watched_by(name)).astype(bool)
    ends = values.drop_duplicates(["series", "epoch"], keep="last")
    return ends.merge(alerts[watched], on=["series", "epoch"])


def watched_by(name: str) -> list[str]:
    """The metrics of an alert, as far as this version knows it."""
    return [each.key for each in _KNOWN[name].conditions] if name in _KNOWN else []


def summary(tag: object) -> str:
    """How many alerts fired in a run, and which.

    Example::

        >>> summary("ratio_falls@7,hidden_class_means@12")
        '2: ratio_falls, hidden_class_means'
    """
    names = list(parse_fired(tag))
    return f"{len(names)}: {', '.join(names)}" if names else ""
