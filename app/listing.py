"""Names and colours of runs, from the table of all runs; pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from sing_monitor.app.charts.common import PALETTE
from sing_monitor.app.text import one_line, short


def one_row_a_run(listing: pd.DataFrame, monitor: str | None) -> pd.DataFrame:
    """The chosen monitor of every run; of runs that lack it, the unnamed or else the first one.

    Args:
        listing: from `list_runs`.
        monitor: the chosen name, "" for the unnamed monitor; None: no choice.

    Returns:
        The rows with a column ``label``.
    """
    name = listing["name"].map(lambda value: value or "")
    # False sorts before True: the chosen one, then the unnamed one, then by name.
    order = pd.DataFrame({"other": name != (monitor or ""), "named": name != "", "name": name})
    best = order.sort_values(["other", "named", "name"], kind="stable").index
    first = listing.loc[best, "run_id"].drop_duplicates().index
    rows = listing.loc[listing.index.isin(first)].reset_index(drop=True)
    return rows.assign(label=labels(rows))


def labels(listing: pd.DataFrame) -> list[str]:
    """A short name for every run; runs of one name are told apart by the start of their id."""
    names = [
        short(name) if isinstance(name, str) and one_line(name) else f"run {run_id[:8]}"
        for name, run_id in zip(listing["run_name"], listing["run_id"], strict=True)
    ]
    again = {
        name for name, times in pd.Series(names, dtype=object).value_counts().items() if times > 1
    }
    return [
        f"{name} · {run_id[:6]}" if name in again else name
        for name, run_id in zip(names, listing["run_id"], strict=True)
    ]


def assign_slots(runs: Sequence[str], started: Mapping[str, int], slots: dict[str, int]) -> None:
    """Give every picked run a place in the palette that it keeps.

    The place follows from how many runs started before it, so that a link shows the colours that
    its sender saw; where that is taken, the next place that nobody had yet, or else that no picked
    run has.

    Args:
        runs: picked.
        started: for each run, how many started before it.
        slots: of all runs picked so far; updated in place.
    """
    size = len(PALETTE)
    for place, run in enumerate(runs):
        taken = [slots[other] for other in runs[:place]]
        if run in slots and (slots[run] not in taken or len(taken) >= size):
            continue
        ring = [(started[run] + step) % size for step in range(size)]
        held = {slot for other, slot in slots.items() if other != run}
        choices = (
            [slot for slot in ring if slot not in held],
            [slot for slot in ring if slot not in {slots.get(other) for other in runs}],
            [slot for slot in ring if slot not in taken],
            ring,
        )
        slots[run] = next(options[0] for options in choices if options)
