"""Alerts that fired, from the tags of the runs and what they say of their rules; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sing_monitor.alerts import DEFAULT_ALERTS, FURTHER_ALERTS, RETIRED_ALERTS, parse_fired

SIGN = "\N{BLACK DOWN-POINTING TRIANGLE}"
# Marks nearer than these shares of a panel's width and height would lie on each other.
_NEAR = np.array([0.04, 0.08])
_AXES = ["x", "value"]


@dataclass(frozen=True)
class Rule:
    """What is known of an alert.

    Args:
        message: what to make of it; empty where the run does not tell.
        keys: the metrics that it watches, likewise.
    """

    message: str = ""
    keys: tuple[str, ...] = ()


# Runs of earlier versions name rules that are gone by now, and may say nothing of them.
_DEFAULT = {
    alert.name: Rule(alert.message, tuple(each.key for each in alert.conditions))
    for alert in (
        *DEFAULT_ALERTS,
        *FURTHER_ALERTS,
        *(retired.rule for retired in RETIRED_ALERTS),
    )
}


def alert_rules(config: Mapping[str, Any]) -> dict[str, Rule]:
    """The alerts of a run by name, its own among them.

    Args:
        config: of the run. Earlier versions kept no ``alert_metrics``, and before that no
            ``alerts``; then only the default rules are known.
    """
    messages, keys = config.get("alerts") or {}, config.get("alert_metrics") or {}
    own = {
        name: Rule(str(message), tuple(keys[name]))
        if name in keys
        else _DEFAULT.get(name, Rule(str(message)))
        for name, message in messages.items()
    }
    return {**_DEFAULT, **own}


def fired_alerts(tag: object, known: Mapping[str, Rule]) -> pd.DataFrame:
    """One row for each alert of a run.

    Args:
        tag: its ``sing.alerts``; empty where no alert fired.
        known: from `alert_rules`.

    Returns:
        Columns alert, epoch, message and keys, the metrics that it watches.
    """
    rows = [
        (name, epoch, known.get(name, Rule()).message, known.get(name, Rule()).keys)
        for name, epoch in parse_fired(tag).items()
    ]
    return pd.DataFrame(rows, columns=["alert", "epoch", "message", "keys"])


def alert_marks(alerts: pd.DataFrame, key: str, values: pd.DataFrame) -> pd.DataFrame:
    """Where on the curves of a metric its alerts fired; one mark for those at one place.

    Args:
        alerts: of all runs, from `fired_alerts`, with their ``series``.
        key: the metric.
        values: the curves: series, label, epoch, x, value.

    Returns:
        Columns series, label, epoch, x, value, alert and message, those of the first alert at the
        place or, of several, a list; and their count.
    """
    is_watched = np.array([key in keys for keys in alerts["keys"]], dtype=bool)
    watched = alerts[is_watched].drop(columns="keys")
    if watched.empty:
        return pd.DataFrame(columns=[*values.columns, "alert", "message", "count"])
    ends = values.drop_duplicates(["series", "epoch"], keep="last").dropna(subset="value")
    found = ends.merge(watched, on=["series", "epoch"]).sort_values("x", kind="stable")
    size = (values[_AXES].max() - values[_AXES].min()).to_numpy(dtype=float)
    places = _places(found[_AXES].to_numpy(dtype=float), _NEAR * size)
    rows = [_one_mark(at_place) for _, at_place in found.groupby(places, sort=False)]
    return pd.DataFrame(rows, columns=[*found.columns, "count"]).reset_index(drop=True)


def _places(points: NDArray[np.float64], near: NDArray[np.float64]) -> NDArray[np.int64]:
    """The number of each point's place: that of the first point that lies so near, (N,)."""
    places = np.arange(len(points))
    for row, point in enumerate(points):
        is_near = (np.abs(points[:row] - point) <= near).all(axis=1)
        if is_near.any():
            places[row] = places[is_near.argmax()]
    return places


def _one_mark(at_place: pd.DataFrame) -> pd.Series:
    first = at_place.iloc[0].copy()
    if len(at_place) > 1:
        rows = at_place.to_dict("records")
        each = [f"{row['label']}: {row['alert']} at epoch {row['epoch']}" for row in rows]
        first["alert"] = "; ".join(each)
        first["message"] = " ".join(dict.fromkeys(filter(None, at_place["message"])))
    first["count"] = len(at_place)
    return first


def alert_summary(tag: object) -> str:
    """How many alerts fired in a run, and which.

    Example::

        >>> alert_summary("class_hidden@7,hidden_class_means@12")
        '2: class_hidden, hidden_class_means'
    """
    names = list(parse_fired(tag))
    return f"{len(names)}: {', '.join(names)}" if names else ""
