"""Which alerts fire at a validation, and what the run remembers of them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from sing_monitor.alerts import DEFAULT_ALERTS, Alert, check_alerts, extended
from sing_monitor.errors import Option, SetupError
from sing_monitor.messages import warn
from sing_monitor.monitor.state import MonitorState

_DEFAULTS = {alert.name: alert for alert in DEFAULT_ALERTS}


def usable_alerts(alerts: Any) -> tuple[Alert, ...]:
    """The rules that ``alerts=`` means.

    Args:
        alerts: ``"default"``, or a list of rules and of names of default rules; None for none.

    Raises:
        SetupError: for anything but alerts on metrics of the catalogue.
    """
    from sing_monitor.analyses import CATALOGUE

    if alerts == "default":
        return DEFAULT_ALERTS
    if alerts is not None and (isinstance(alerts, str) or not isinstance(alerts, Sequence)):
        raise SetupError(
            Option("alerts", repr(alerts)),
            ": expected a list of sing_monitor.alerts.Alert or of names of default alerts, "
            "'default' for all of these, or None for none.",
        )
    rules = tuple(_rule(alert) for alert in alerts or ())
    try:
        check_alerts(rules, CATALOGUE)
    except ValueError as error:
        raise SetupError(Option("alerts"), f": {error}") from error
    return rules


def _rule(alert: Any) -> Alert:
    if isinstance(alert, Alert):
        return alert
    if not isinstance(alert, str):
        raise SetupError(
            Option("alerts"),
            f": {alert!r} is neither a sing_monitor.alerts.Alert nor the name of a default alert.",
        )
    if alert not in _DEFAULTS:
        close = difflib.get_close_matches(alert, _DEFAULTS, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise SetupError(
            Option("alerts"),
            f": there is no default alert {alert!r}. {hint}There are {', '.join(_DEFAULTS)}; an "
            "alert of your own is a sing_monitor.alerts.Alert.",
        )
    return _DEFAULTS[alert]


def raise_alerts(
    alerts: Sequence[Alert], state: MonitorState, *, epoch: int, scalars: Mapping[str, float]
) -> None:
    """Warn of what has become true, each alert once in a run, also across a resume.

    Args:
        alerts: the rules.
        state: of the run; updated in place, alike on every rank.
        epoch: the trainer's current epoch.
        scalars: of its validation.
    """
    state.history = history = extended(state.history or [], epoch, scalars, alerts)
    fired = state.fired or {}
    for alert in alerts:
        if alert.name not in fired and alert.is_true_of(history):
            fired = {**fired, alert.name: epoch}
            warn(alert.sentence(history))
    state.fired = fired
