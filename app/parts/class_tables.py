"""The tables of classes of a run at every epoch, as the page Classes shows them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import classes as charts
from sing_monitor.app.parts import epoch_tables, support_tables
from sing_monitor.app.read import store
from sing_monitor.app.read.derived import derived
from sing_monitor.app.ui import states
from sing_monitor.app.ui.selection import Run
from sing_monitor.app.wording.removals import WITH_RANDOM, suffix

# The columns that the page shows.
_COLUMNS = (
    *("class_index", "class_name", "n", "accuracy", "attribute_q", "attribute_deviation"),
    *("zero_shot", "zero_shot_seen", "hidden", "hidden_q"),
    *support_tables.COLUMNS,
    *(
        f"{score}{spread}{suffix(removal)}"
        for score in ("attribute_score", "image_score")
        for spread in ("", "_std")
        for removal in WITH_RANDOM
    ),
)


@dataclass(frozen=True, eq=False)
class ClassTables:
    """Kept and shared: never write to the tables.

    Args:
        by_epoch: with ``name``, and ``outside``, which tells the share of the removal where known.
        known_by: names all that they were made from.
    """

    by_epoch: Mapping[int, pd.DataFrame]
    known_by: Hashable

    @cached_property
    def history(self) -> pd.DataFrame:
        """All of them under each other, with ``epoch``."""
        return charts.stacked(self.by_epoch)

    @property
    def size(self) -> int:
        """Bytes, about; those of the history alike."""
        return 16 * sum(table.size for table in self.by_epoch.values())


def read(run: Run, ending: str) -> ClassTables:
    """The table of classes of every epoch; none where the page has said why.

    Args:
        run: whose.
        ending: of the removal's columns.
    """
    at = tuple(epoch_tables.last_validations(run).values())

    def kept() -> ClassTables:
        known_by = "classes", run.source, at, store.tries(run.source, at), ending
        return derived(known_by, partial(_read, run, at, ending, known_by))

    return states.attempt(kept, run) or ClassTables({}, run.source)


def _read(run: Run, at: Sequence[tuple[int, int]], ending: str, known_by: Hashable) -> ClassTables:
    with st.spinner("Reading tables …"):
        found = store.tables(run.source, "classes", at, _COLUMNS)
    tables = {
        epoch: support_tables.with_shares(charts.named(table), ending)
        for (epoch, _), table in found.items()
        if len(table) and {"class_index", "class_name"} <= set(table.columns)
    }
    return ClassTables(tables, known_by)


def with_support(run: Run, tables: ClassTables, epoch: int, ending: str) -> ClassTables:
    """With ``outside`` also where an earlier version has stored it apart, at one epoch.

    A table for each epoch would be read for a mark; those of other epochs stay unknown.

    Args:
        run: whose.
        tables: from `read`.
        epoch: one of theirs, or another one, which changes nothing.
        ending: of the removal's columns.
    """
    table = tables.by_epoch.get(epoch)
    if table is None or support_tables.has_shares(table):
        return tables
    shares = support_tables.class_shares(run, epoch_tables.last_validations(run)[epoch], ending)
    if shares is None:
        return tables
    marked = table.assign(outside=table["class_index"].map(shares))
    return replace(
        tables,
        by_epoch={**tables.by_epoch, epoch: marked},
        known_by=("with support", tables.known_by, epoch),
    )
