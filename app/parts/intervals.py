"""How certain the headline scalars are, from the table ``intervals`` of the validations."""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.read import store
from sing_monitor.app.read.derived import derived
from sing_monitor.app.ui import states
from sing_monitor.app.ui.selection import Run, is_many
from sing_monitor.app.wording import metrics

ABOUT = (
    "What the interval covers is what probes of this size show on average: other images of the "
    "same classes, and translators fitted on those. One other probe may lie somewhat outside, and "
    "another training well outside. Runs of earlier versions hold intervals that are too narrow: "
    "these left the translators out."
)
# Each is a file to fetch; of all runs together, hardly more than the latter two. Bars of many runs
# cover each other.
MOST_EPOCHS = 20
_MOST_FILES, _MOST_OF_MANY = 60, 20
_COLUMNS = ["key", "value", "low", "high"]
_RETURNED = ["epoch", "metric", "value", "low", "high"]
_RIDGE = ("key", "value", "value_low", "value_high")


def by_run(runs: Sequence[Run], epochs: Sequence[int]) -> dict[str, pd.DataFrame]:
    """The intervals by run id, at the last epoch of each run and at others; of many runs at few.

    The others lie evenly before the last epoch of all.

    Args:
        runs: picked; those that hold no intervals are left out.
        epochs: of which there are curves, in order.

    Returns:
        Columns epoch, metric, value, low and high.
    """
    files = _MOST_OF_MANY if is_many(runs) else _MOST_FILES
    most = min(MOST_EPOCHS, -(-files // max(len(runs), 1)))
    apart = -(-len(epochs) // most)
    wanted = set(epochs[::-1][:: max(apart, 1)])
    return _by_run((run, {*wanted, *_last(run)}) for run in runs)


def at_epoch(runs: Sequence[Run], epoch: int) -> pd.DataFrame:
    """The intervals of the runs at one epoch, of those that hold some.

    Returns:
        Columns series, epoch, metric, value, low and high.
    """
    return _one_table(_by_run((run, {epoch}) for run in runs))


def known_by(table: pd.DataFrame) -> Hashable:
    """Names intervals by what they are, not by the files that they come from.

    Files arrive later than the curves, and one may take the place of another.

    Args:
        table: of those that this module returns.
    """
    named = ["series", "metric"] if "series" in table else ["metric"]
    words = tuple(tuple(table[name].tolist()) for name in named)
    numbers = table[["epoch", "value", "low", "high"]].to_numpy("float64")
    return words, numbers.tobytes()


def along_ridge(runs: Sequence[Run], epoch: int) -> pd.DataFrame:
    """How far scores lie apart for ridges that translate as well as the chosen one, at one epoch.

    Returns:
        Columns series, metric, below and above: what to add to the value for the ends of the range.
        No row for runs of versions that did not measure it.
    """
    parts = []
    for run in runs:
        steps = {at: pair for at, pair in epoch_tables.last_validations(run).items() if at == epoch}
        tables = epoch_tables.tables_by_epoch(run, "ridge", steps, columns=_RIDGE)
        for table in tables.values():
            if set(_RIDGE) <= set(table.columns):
                # The table stands on some of the images, so that it is its differences that count.
                ends = table[["value_low", "value_high"]].sub(table["value"], axis=0)
                known = pd.DataFrame({"metric": table["key"], "below": ends.min(axis=1)})
                parts.append(known.assign(above=ends.max(axis=1), series=run.run_id))
    columns = ["series", "metric", "below", "above"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def at_last_validation(runs: Sequence[Run]) -> pd.DataFrame:
    """The same at the last validation with tables of each run."""
    return _one_table(_by_run((run, _last(run)) for run in runs))


def of_last_values(runs: Sequence[Run]) -> dict[tuple[str, str], str]:
    """The interval of each last logged value in words, by run id and metric.

    A value that was logged after the last table, as while a run grows, has none.
    """
    rows = {run.run_id: run.row for run in runs}
    return {
        (row["series"], row["metric"]): in_words(row["metric"], row["low"], row["high"])
        for row in at_last_validation(runs).to_dict("records")
        if math.isclose(
            rows[row["series"]].get(row["metric"], math.nan), row["value"], rel_tol=1e-5
        )
    }


def in_words(key: str, low: float, high: float) -> str:
    """The interval of a metric in words; empty where there is none.

    Example::

        >>> in_words("sing/retention", 0.90512, 0.95)
        '0.91 to 0.95'
    """
    return (
        f"{metrics.value_text(key, low)} to {metrics.value_text(key, high)}"
        if math.isfinite(low)
        else ""
    )


def show_note() -> None:
    """What the intervals cover, where some are drawn."""
    st.caption("95 % intervals, over the choice of images and translators.", help=ABOUT)


def _last(run: Run) -> set[int]:
    """The epoch of its last validation with tables; none where there is none."""
    return set(sorted(epoch_tables.last_validations(run))[-1:])


def _by_run(wanted: Iterable[tuple[Run, Collection[int]]]) -> dict[str, pd.DataFrame]:
    found = {run.run_id: _of_run(run, epochs) for run, epochs in wanted}
    return {run: table for run, table in found.items() if not table.empty}


def _of_run(run: Run, wanted: Collection[int]) -> pd.DataFrame:
    """Columns epoch, metric, value, low and high; no row where nothing can be read."""
    known = epoch_tables.last_validations(run)
    at = tuple(pair for epoch, pair in known.items() if epoch in wanted)

    def kept() -> pd.DataFrame:
        key = "intervals", run.source, at, store.tries(run.source, at)
        return derived(key, partial(_together, run, at))

    found = states.attempt(kept, run)
    return pd.DataFrame(columns=_RETURNED) if found is None else found


def _together(run: Run, at: Sequence[tuple[int, int]]) -> pd.DataFrame:
    tables = store.tables(run.source, "intervals", at, _COLUMNS)
    parts = [
        table.reindex(columns=_COLUMNS).assign(epoch=epoch) for (epoch, _), table in tables.items()
    ]
    if not parts:
        return pd.DataFrame(columns=_RETURNED)
    return pd.concat(parts, ignore_index=True).rename(columns={"key": "metric"})[_RETURNED]


def _one_table(by_run: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    parts = [table.assign(series=run) for run, table in by_run.items() if not table.empty]
    columns = ["series", *_RETURNED]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
