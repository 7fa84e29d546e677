"""Cached reads of the MLflow store, all through :mod:`sing_monitor.tracking`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from sing_monitor.app.read import derived, held_tables, run_list
from sing_monitor.app.read.curves import training_history
from sing_monitor.app.read.held_tables import Asked, Where, held
from sing_monitor.app.read.kept import Kept
from sing_monitor.app.read.sources import RunSource, listing_of, stored_run
from sing_monitor.app.read.table_files import parts, read_part
from sing_monitor.tracking import Layout, gather, open_store
from sing_monitor.tracking.runs import curves_of_runs
from sing_monitor.tracking.runs import other_metrics as other_metrics_of

_HOUR = 3600.0
_KEEP = "1h"
_CURVES = 2048
_THUMBNAILS = 4096

Columns = Iterable[str] | None


def listing(uri: str) -> pd.DataFrame:
    """Runs that a monitor wrote to, newest first; the columns of `list_runs`. Never write to it.

    Raises:
        StoreError: if the store cannot be reached.
    """
    return run_list.listed(uri).table


def histories(
    sources: Iterable[RunSource], keys: Iterable[str], others: Iterable[str] = ()
) -> dict[RunSource, pd.DataFrame]:
    """Curves of some runs from `training_history`; the store is asked once for all. Never write.

    Args:
        sources: of one store.
        keys: of the catalogue.
        others: metrics that no monitor logged, from `other_metrics`.

    Raises:
        StoreError: if the store cannot be reached.
        RunNotFoundError: if a run was deleted.
    """
    what, asked, held = (tuple(keys), tuple(others)), list(sources), _held_histories()
    found = {source: held.get((source, what)) for source in asked}
    missing = [source for source, history in found.items() if history is None]
    for source, scalars in zip(missing, _scalars(missing, *what), strict=True):
        found[source] = training_history(scalars)
        # What has no validation may be on its way.
        if len(scalars):
            held.put((source, what), found[source])
    return {source: history for source, history in found.items() if history is not None}


def _scalars(
    sources: Sequence[RunSource], keys: Sequence[str], others: Sequence[str]
) -> list[pd.DataFrame]:
    if not sources:
        return []
    runs = [(stored_run(source), Layout(source.monitor)) for source in sources]
    return curves_of_runs(open_store(sources[0].uri), runs, keys, others)


@st.cache_resource(show_spinner=False)
def _held_histories() -> Kept[tuple[RunSource, Hashable], pd.DataFrame]:
    return Kept(_CURVES, seconds=_HOUR)


def other_metrics(source: RunSource) -> list[str]:
    """Metrics of the run that no monitor logged. Raises as `histories` does."""
    return other_metrics_of(open_store(source.uri), stored_run(source), Layout(source.monitor))


def validations(source: RunSource) -> list[tuple[int, int]]:
    """Epoch and global step of each validation with tables. Raises as `histories` does."""
    return list(listing_of(source).whole)


def incomplete(source: RunSource) -> list[tuple[int, int]]:
    """The same of each validation whose files have not all arrived. Raises as `histories` does."""
    return list(listing_of(source).incomplete)


def tries(source: RunSource, validations: Iterable[tuple[int, int]]) -> tuple[int | None, ...]:
    """The try that stored the tables of each validation: another one if they are stored again.

    None where they are not whole at the moment. Raises as `histories` does.
    """
    return tuple(listing_of(source).whole.get(at) for at in validations)


def table(
    source: RunSource, name: str, epoch: int, step: int, columns: Columns = None
) -> pd.DataFrame:
    """One table of one validation, kept until the validation is stored again.

    Args:
        source: the run.
        name: of the table.
        epoch: of the validation.
        step: the trainer's global step.
        columns: to read, as far as the table has them; None: all.

    Raises:
        ArtifactNotFoundError: if the validation has no such table.
        ValueError: if the file is damaged.
        StoreError: if the store cannot be reached.
        RunNotFoundError: if the run was deleted.
    """
    return held(source, Asked(name, epoch, step, _key(columns)))


def tables(
    source: RunSource,
    name: str,
    validations: Iterable[tuple[int, int]],
    columns: Columns = None,
    where: Where = None,
) -> dict[tuple[int, int], pd.DataFrame]:
    """One table of many validations; those in which it is missing or damaged are left out.

    Args:
        source: the run.
        name: of the table.
        validations: epoch and global step of each.
        columns: to read, as far as the tables have them; None: all.
        where: a column and the value of the rows to read; None: all rows.

    Raises:
        StoreError: if the store cannot be reached.
        RunNotFoundError: if the run was deleted.
    """
    asked = [Asked(name, *at, _key(columns), where) for at in validations]
    found = gather(source.uri, partial(read_part, source), parts(source, asked))
    by_place = {at: table for part in found for at, table in part.items()}
    return {each.at: by_place[each.at] for each in asked if each.at in by_place}


def _key(columns: Columns) -> tuple[str, ...] | None:
    return None if columns is None else tuple(columns)


def config(source: RunSource) -> dict[str, Any]:
    """The settings of the monitor. Raises as `table` does."""
    return _config(replace(source, progress=""))


@st.cache_data(ttl=_KEEP, max_entries=_CURVES, show_spinner=False)
def _config(source: RunSource) -> dict[str, Any]:
    return source.reader.config()


def thumbnails(source: RunSource, ids: Iterable[str]) -> dict[str, NDArray[np.uint8]]:
    """Images (64, 64, 3) by id; those that the run does not hold are absent. Raises as `table`."""
    return _thumbnails(source, tuple(sorted(set(ids))))


@st.cache_data(ttl=_KEEP, max_entries=_THUMBNAILS, max_size="32MB", show_spinner=False)
def _thumbnails(source: RunSource, ids: tuple[str, ...]) -> dict[str, NDArray[np.uint8]]:
    return source.reader.thumbnails(ids)


def forget() -> None:
    """Read everything anew."""
    st.cache_data.clear()
    _held_histories.clear()
    listing_of.clear()
    held_tables.forget()
    derived.forget()
    run_list.forget()
