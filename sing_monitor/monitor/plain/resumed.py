"""Resumed: the state of a training that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sing_monitor.errors import SetupError
from sing_monitor.inputs.plain_values import describe_value
from sing_monitor.monitor.state import MonitorState


def resume(state: MonitorState, given: Any) -> None:
    """Take over what `Monitor.state_dict` gave.

    Args:
        state: of the monitor; changed in place.
        given: by the user.

    Raises:
        SetupError: if it is no such state, or that of another run than the monitor has begun.
    """
    if not isinstance(given, Mapping) or not given.keys() & vars(state).keys():
        raise SetupError(
            f"a state of the monitor was expected, as monitor.state_dict() gives it, and not "
            f"{type(given).__name__}."
        )
    last = given.get("last_epoch")
    if last is not None and not isinstance(last, int):
        raise SetupError(
            "a state of the monitor was expected, as monitor.state_dict() gives it; in this one "
            f"the last epoch is {describe_value(last)}, and no whole number."
        )
    before, run = state.tracking_run, given.get("tracking_run")
    if None not in (before, run) and before != run:
        raise SetupError(
            f"the state is of the run {run}, and this monitor has begun the run {before} already. "
            "Call monitor.load_state_dict(state) before the first validation."
        )
    for name in vars(state):
        setattr(state, name, given.get(name))
