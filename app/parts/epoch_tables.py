"""Tables by epoch: of the picked runs at one of them, or of one run at all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import classes as charts
from sing_monitor.app.read import store
from sing_monitor.app.read.held_tables import Where
from sing_monitor.app.ui import states
from sing_monitor.app.ui.selection import Run
from sing_monitor.app.wording.text import listed, plain

Validations = dict[str, list[tuple[int, int]]]


def validations(runs: Sequence[Run]) -> Validations:
    """Epoch and global step of each validation with tables, by run id.

    A run that cannot be read is absent, and the page has said why.
    """
    found = {}
    for run in runs:
        pairs = states.attempt(partial(store.validations, run.source), run)
        if pairs is not None:
            found[run.run_id] = pairs
    return found


def last_validations(run: Run) -> dict[int, tuple[int, int]]:
    """The last validation of each epoch that has tables: epoch -> (epoch, global step)."""
    return {pair[0]: pair for pair in validations([run]).get(run.run_id, [])}


def whole_table(
    run: Run, name: str, at: tuple[int, int], columns: Sequence[str]
) -> pd.DataFrame | None:
    """A table of one validation; None where the page has said what it lacks.

    Args:
        run: whose.
        name: of the table.
        at: epoch and global step of the validation.
        columns: that it must have.
    """
    table = states.attempt(partial(store.table, run.source, name, *at), run, name, at[0])
    if table is None or not states.has_columns(table, columns, name):
        return None
    return table


def tables_by_epoch(
    run: Run,
    name: str,
    steps: Mapping[int, tuple[int, int]],
    *,
    columns: store.Columns = None,
    where: Where = None,
) -> dict[int, pd.DataFrame]:
    """One table of a run at every epoch that holds it and has rows in it.

    Args:
        run: picked.
        name: of the table.
        steps: from `last_validations`.
        columns: to read, as far as the tables have them; None: all.
        where: a column and the value of the rows to read; None: all rows.
    """
    with st.spinner("Reading tables …"):
        read = partial(store.tables, run.source, name, steps.values(), columns, where)
        found = states.attempt(read, run) or {}
    return {epoch: table for (epoch, _), table in found.items() if not table.empty}


def class_names(run: Run, at: tuple[int, int]) -> dict[int, str]:
    """Class names by index, each different; empty where the run does not tell."""
    read = partial(store.table, run.source, "classes", *at, ("class_index", "class_name"))
    table = states.quietly(read)
    if table is None or not {"class_index", "class_name"} <= set(table.columns):
        return {}
    named = charts.named(table)
    return dict(zip(named["class_index"].tolist(), named["name"].tolist(), strict=True))


def tables_of_runs(
    runs: Sequence[Run],
    name: str,
    columns: Sequence[str],
    epoch: int,
    known: Validations,
) -> pd.DataFrame:
    """One table of each run under each other, with ``series`` and ``label``; says who has none.

    Args:
        runs: picked.
        name: of the table.
        columns: what to keep of it.
        epoch: of several validations in it the last one counts.
        known: from `validations`.
    """
    parts, without = [], []
    for run in runs:
        steps = [pair for pair in known.get(run.run_id, []) if pair[0] == epoch]
        if not steps:
            without.append(plain(run.label))
            continue
        read = partial(store.table, run.source, name, *steps[-1], columns)
        table = states.attempt(read, run, name, epoch)
        if table is not None and states.has_columns(table, columns, name):
            parts.append(table[list(columns)].assign(series=run.run_id, label=run.label))
    if without:
        st.caption(f"{listed(without)} stored no table of {name} at epoch {epoch}.")
    empty = pd.DataFrame(columns=[*columns, "series", "label"])
    return pd.concat(parts, ignore_index=True) if parts else empty
