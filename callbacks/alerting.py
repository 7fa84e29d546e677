"""Which alerts fire at a validation, and what the run remembers of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from sing_monitor.alerts import Alert, check_alerts, extended
from sing_monitor.callbacks.memory import Memory


def usable_alerts(alerts: Any) -> tuple[Alert, ...]:
    """The rules as a tuple; None means none.

    Raises:
        MisconfigurationException: for anything but alerts on metrics of the catalogue.
    """
    from sing_monitor.analyses import CATALOGUE

    rules = () if alerts is None else alerts
    if not isinstance(rules, Sequence) or not all(isinstance(rule, Alert) for rule in rules):
        raise MisconfigurationException(
            f"SINGCallback(alerts={alerts!r}): expected a list of sing_monitor.alerts.Alert, or "
            "None for none."
        )
    try:
        check_alerts(rules, CATALOGUE)
    except ValueError as error:
        raise MisconfigurationException(f"SINGCallback(alerts=...): {error}") from error
    return tuple(rules)


def raise_alerts(
    alerts: Sequence[Alert], memory: Memory, *, epoch: int, scalars: Mapping[str, float]
) -> None:
    """Warn of what has become true, each alert once in a run, also across a resume.

    Args:
        alerts: the rules.
        memory: of the run; updated in place, alike on every rank.
        epoch: the trainer's current epoch.
        scalars: of its validation.
    """
    memory.history = history = extended(memory.history or [], epoch, scalars, alerts)
    fired = memory.fired or {}
    for alert in alerts:
        if alert.name not in fired and alert.is_true_of(history):
            fired = {**fired, alert.name: epoch}
            rank_zero_warn(f"SINGCallback: {alert.sentence(history)}")
    memory.fired = fired
