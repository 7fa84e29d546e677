"""Tables of the picked runs at one epoch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app import data, states
from sing_monitor.app.selection import Run
from sing_monitor.app.text import listed, plain

Validations = dict[str, list[tuple[int, int]]]


def validations(runs: Sequence[Run]) -> Validations:
    """Epoch and global step of each validation with tables, by run id.

    A run that cannot be read is absent, and the page has said why.
    """
    found = {}
    for run in runs:
        pairs = states.attempt(partial(data.validations, run.source), run)
        if pairs is not None:
            found[run.run_id] = pairs
    return found


def tables(
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
        read = partial(data.table, run.source, name, *steps[-1])
        table = states.attempt(read, run)
        if table is not None and states.has_columns(table, columns, name):
            parts.append(table[list(columns)].assign(series=run.run_id, label=run.label))
    if without:
        st.caption(f"No {name} of {listed(without)} at epoch {epoch}.")
    empty = pd.DataFrame(columns=[*columns, "series", "label"])
    return pd.concat(parts, ignore_index=True) if parts else empty
