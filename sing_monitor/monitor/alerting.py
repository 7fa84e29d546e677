"""Which alerts fire at a validation, and what the run remembers of them."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sing_monitor.alerts import (
    DEFAULT_ALERTS,
    DEFAULT_ALERTS_WITHOUT_SPACE,
    FURTHER_ALERTS,
    RETIRED_ALERTS,
    Alert,
    check_alerts,
    extended,
    lower_end,
)
from sing_monitor.errors import Option, SetupError
from sing_monitor.messages import warn
from sing_monitor.monitor.exchange import Outcome
from sing_monitor.monitor.state import MonitorState

if TYPE_CHECKING:
    from sing_monitor.analyses import Need

_RETIRED = {retired.rule.name: retired.reason for retired in RETIRED_ALERTS}


def usable_alerts(
    alerts: Any, captured: Collection[Need], analyses: Collection[str] | None = None
) -> tuple[Alert, ...]:
    """The rules that ``alerts=`` means.

    Args:
        alerts: ``"default"``, or a list of rules and of names of rules; None for none.
        captured: what a validation captures; without a semantic space the default rules watch
            probes.
        analyses: that run; None: all. Without ``sing`` there are no default rules.

    Raises:
        SetupError: for anything but alerts on metrics that are logged.
    """
    from sing_monitor.analyses import CATALOGUE, catalogue_of

    has_space, is_read = "embeddings" in captured, analyses is None or "sing" in analyses
    defaults = DEFAULT_ALERTS if has_space else DEFAULT_ALERTS_WITHOUT_SPACE if is_read else ()
    if alerts == "default":
        return defaults
    if alerts is not None and (isinstance(alerts, str) or not isinstance(alerts, Sequence)):
        raise SetupError(
            Option("alerts", repr(alerts)),
            ": expected a list of sing_monitor.alerts.Alert or of names of default alerts, "
            "'default' for all of these, or None for none.",
        )
    further = FURTHER_ALERTS if has_space else ()
    named = {alert.name: alert for alert in (*defaults, *further)}
    rules = tuple(_rule(alert, named) for alert in alerts or ())
    try:
        check_alerts(rules, CATALOGUE, catalogue_of(captured, analyses))
    except ValueError as error:
        raise SetupError(Option("alerts"), f": {error}") from error
    return rules


def _rule(alert: Any, named: Mapping[str, Alert]) -> Alert:
    if isinstance(alert, Alert):
        return alert
    if not isinstance(alert, str):
        raise SetupError(
            Option("alerts"),
            f": {alert!r} is neither a sing_monitor.alerts.Alert nor the name of an alert.",
        )
    if alert in _RETIRED:
        raise SetupError(
            Option("alerts"), f": there is no alert {alert!r} any more: {_RETIRED[alert]}."
        )
    if alert not in named:
        close = difflib.get_close_matches(alert, named, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise SetupError(
            Option("alerts"),
            f": there is no alert called {alert!r}. {hint}{_there_are(named)} An alert of your own "
            "is a sing_monitor.alerts.Alert.",
        )
    return named[alert]


def _there_are(named: Collection[str]) -> str:
    if not named:
        return "Those with names watch the analysis 'sing', which does not run."
    return f"There are {', '.join(named)}."


def raise_alerts(
    alerts: Sequence[Alert], state: MonitorState, *, epoch: int, outcome: Outcome
) -> None:
    """Warn of what has become true, each alert once in a run, also across a resume.

    Args:
        alerts: the rules.
        state: of the run; updated in place, alike on every rank.
        epoch: the trainer's current epoch.
        outcome: of its validation.
    """
    numbers = {
        **outcome.scalars,
        **{lower_end(key): low for key, (low, _) in outcome.intervals.items()},
    }
    state.history = history = extended(state.history or [], epoch, numbers, alerts)
    fired = state.fired or {}
    for alert in alerts:
        if alert.name not in fired and alert.is_true_of(history):
            fired = {**fired, alert.name: epoch}
            warn(alert.sentence(history))
    state.fired = fired
