"""Names and colors of runs, from the table of all runs; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from sing_monitor.app.charts.common import PALETTE
from sing_monitor.app.wording.degrees import RIDGE
from sing_monitor.app.wording.rescored import MARK, SOURCE, is_rescored, origin
from sing_monitor.app.wording.text import one_line, short

# Characters of an id that tell runs of one name apart.
_PART = 6


def one_row_a_run(listing: pd.DataFrame, monitor: str | None) -> pd.DataFrame:
    """The chosen monitor of every run; of runs that lack it, the unnamed or else the first one.

    Args:
        listing: from `list_runs`.
        monitor: the chosen name, "" for the unnamed monitor; None: no choice.

    Returns:
        The rows with the columns ``label`` and ``origin``, which tells of a rescored run where its
        numbers come from.
    """
    name = listing["name"].map(lambda value: value or "")
    # False sorts before True: the chosen one, then the unnamed one, then by name.
    order = pd.DataFrame({"other": name != (monitor or ""), "named": name != "", "name": name})
    best = order.sort_values(["other", "named", "name"], kind="stable").index
    first = listing.loc[best, "run_id"].drop_duplicates().index
    rows = listing.loc[listing.index.isin(first)].reset_index(drop=True)
    names = labels(rows)
    by_id = dict(zip(rows["run_id"], names, strict=True))
    origins = [origin(row, by_id) for row in _about_origin(rows)]
    return rows.assign(label=names, origin=pd.Series(origins, rows.index, dtype=object))


def labels(listing: pd.DataFrame) -> list[str]:
    """A short name for every run; runs of one name are told apart by a part of their ids.

    Rescored runs have a mark before it.
    """
    ids = [str(run_id) for run_id in listing["run_id"]]
    marks = [f"{MARK} " if is_rescored(row) else "" for row in _about_origin(listing)]
    names = [
        mark + short(name)
        if isinstance(name, str) and one_line(name)
        else f"{mark}run {run_id[:8]}"
        for mark, name, run_id in zip(marks, listing["run_name"], ids, strict=True)
    ]
    alike: dict[str, list[str]] = {}
    for name, run_id in zip(names, ids, strict=True):
        alike.setdefault(name, []).append(run_id)
    return [
        f"{name} · {_part(run_id, alike[name])}" if len(alike[name]) > 1 else name
        for name, run_id in zip(names, ids, strict=True)
    ]


def _about_origin(listing: pd.DataFrame) -> list[dict[str, object]]:
    # All columns of all runs would take longer than the rest.
    return listing.reindex(columns=[SOURCE, RIDGE]).to_dict("records")


def _part(run_id: str, alike: Sequence[str]) -> str:
    """The start of an id, as MLflow shows it; the end where others start with the run's name."""
    starts = {each[:_PART] for each in alike}
    return run_id[:_PART] if len(starts) == len(alike) else run_id[-_PART:]


def colors(runs: Sequence[str]) -> dict[str, str]:
    """The color of every run of the store; it hangs on no choice, so that links agree.

    Runs take the colors of the palette in turn, in the order in which they began.

    Args:
        runs: all of the store, newest first.
    """
    return {run: PALETTE[place % len(PALETTE)] for place, run in enumerate(reversed(runs))}


def variants(runs: Sequence[str], colors: Mapping[str, str]) -> dict[str, int]:
    """How many of the picked runs have each one's color and began before it.

    Args:
        runs: picked, in any order.
        colors: from `colors`, in the order in which runs began.
    """
    seen: Counter[str] = Counter()
    found = {}
    for run, color in colors.items():
        if run in runs:
            found[run] = seen[color]
            seen[color] += 1
    return found
