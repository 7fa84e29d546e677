"""Tables that a run does not hold because their analysis was left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sing_monitor.analyses import ANALYSES


def left_out(table: str, config: Mapping[str, Any]) -> str | None:
    """Why a run holds no such table, as the end of a sentence; None where that is not the reason.

    Args:
        table: its name.
        config: of the run.

    Example::

        >>> left_out("spectrum", {"analyses": ["collapse"]})
        "it was made without the analysis 'head' (analyses=['collapse']), which gives the table \
'spectrum'. Train again with it to see it."
        >>> left_out("spectrum", {"analyses": None})
    """
    chosen = config.get("analyses")
    if chosen is None:
        return None
    for analysis in ANALYSES:
        if analysis.choice not in chosen and table in {spec.name for spec in analysis.tables}:
            return (
                f"it was made without the analysis {analysis.choice!r} (analyses={chosen}), which "
                f"gives the table {table!r}. Train again with it to see it."
            )
    return None
