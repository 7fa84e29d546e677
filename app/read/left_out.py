"""Tables that a run does not hold because their analysis was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sing_monitor.analyses import ANALYSES
from sing_monitor.untrusted.settings import Part, analyses_by_epoch


def left_out(table: str, config: Mapping[str, Any], epoch: int | None = None) -> str | None:
    """Why a run holds no such table, as the end of a sentence; None where that is not the reason.

    Args:
        table: its name.
        config: of the run.
        epoch: in which it is missing; None: in all.

    Example::

        >>> left_out("spectrum", {"analyses": ["collapse"]})
        "it was made without the analysis 'head' (analyses=['collapse']), which gives the table \
'spectrum'. Train again with it to see it."
        >>> left_out("spectrum", {"analyses": None})
        >>> resumed = {"analyses_since": [[0, None], [3, ["collapse"]]]}
        >>> print(left_out("spectrum", resumed, 4))
        from epoch 3 on it was made without the analysis 'head' (analyses=['collapse']), which \
gives the table 'spectrum'. Train again with it to see it.
        >>> left_out("spectrum", resumed, 2)
    """
    choice = next(
        (each.choice for each in ANALYSES if table in {spec.name for spec in each.tables}), None
    )
    parts = analyses_by_epoch(config)
    there = parts if epoch is None else [part for part in parts if _holds(part, epoch)]
    if choice is None or not there:
        return None
    if any(part.chosen is None or choice in part.chosen for part in there):
        return None
    last = there[-1]
    return (
        f"{_span(last) if epoch is not None else ''}it was made without the analysis {choice!r} "
        f"(analyses={[*(last.chosen or ())]}), which gives the table {table!r}. Train again with "
        "it to see it."
    )


def _holds(part: Part, epoch: int) -> bool:
    return part.since <= epoch and (part.until is None or epoch <= part.until)


def _span(part: Part) -> str:
    """The epochs of a part of a run; empty where it is the whole."""
    if part.until is None:
        return f"from epoch {part.since} on " if part.since else ""
    if part.since in (0, part.until):
        return f"up to epoch {part.until} " if part.since == 0 else f"in epoch {part.until} "
    return f"from epoch {part.since} to {part.until} "
