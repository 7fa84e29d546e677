"""Cached reads of the MLflow store, all through :mod:`sing_monitor.tracking`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from sing_monitor.tracking import ArtifactNotFoundError, RunReader, StoreError, gather, list_runs

REFRESH_SECONDS = 10
_KEEP = "1h"
_ABSENT = "10m"
_CURVES = 2048
# Two runs of 100 epochs, a handful of tables each, several times over; what is large counts more.
_TABLES = 4096
_MEMORY = "512MB"


@dataclass(frozen=True)
class RunSource:
    """One monitor of one run, as it stands: the key under which reads are kept.

    Args:
        uri: the tracking URI; two servers may hold the same run id.
        run_id: the MLflow run.
        monitor: its name, None for the unnamed one.
        state: changes when the run ends or is taken up again.
        progress: changes with every validation.
    """

    uri: str
    run_id: str
    monitor: str | None
    state: str
    progress: str = ""

    @property
    def reader(self) -> RunReader:
        """Reads the run from the store."""
        return RunReader(self.uri, self.run_id, self.monitor)


def listing(uri: str) -> pd.DataFrame:
    """Runs that a monitor wrote to, newest first; the columns of `list_runs`.

    Raises:
        StoreError: if the store cannot be reached.
    """
    found = _listing(uri)
    if isinstance(found, str):
        raise StoreError(found)
    return found


@st.cache_data(ttl=REFRESH_SECONDS - 1, max_entries=8, show_spinner="Looking for runs …")
def _listing(uri: str) -> pd.DataFrame | str:
    # A failure is kept too: a server that does not answer would be waited for at every click.
    try:
        return list_runs(uri)
    except StoreError as error:
        return str(error)


def scalars(source: RunSource, keys: Iterable[str], others: Iterable[str] = ()) -> pd.DataFrame:
    """Curves of one run, as `RunReader.scalars` gives them.

    Raises:
        StoreError: if the store cannot be reached.
        RunNotFoundError: if the run was deleted.
    """
    return _scalars(source, tuple(keys), tuple(others))


@st.cache_data(ttl=_KEEP, max_entries=_CURVES, show_spinner=False)
def _scalars(source: RunSource, keys: tuple[str, ...], others: tuple[str, ...]) -> pd.DataFrame:
    return source.reader.scalars(keys, others)


@st.cache_data(ttl=_KEEP, max_entries=_CURVES, show_spinner=False)
def other_metrics(source: RunSource) -> list[str]:
    """Metrics of the run that no monitor logged. Raises as `scalars` does."""
    return source.reader.other_metrics()


def validations(source: RunSource) -> list[tuple[int, int]]:
    """Epoch and global step of each validation with tables, in order. Raises as `scalars` does."""
    return _validations(source)[0]


def incomplete(source: RunSource) -> list[tuple[int, int]]:
    """The same of each validation whose files have not all arrived. Raises as `scalars` does."""
    return _validations(source)[1]


# Tables may arrive later than the scalars of their validation.
@st.cache_data(ttl=60, max_entries=_CURVES, show_spinner=False)
def _validations(source: RunSource) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    return source.reader.all_validations()


Columns = Iterable[str] | None
Where = tuple[str, object] | None


def table(
    source: RunSource, name: str, epoch: int, step: int, columns: Columns = None
) -> pd.DataFrame:
    """One table of one validation; written once, so a growing run need not be asked again.

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
    return _held(source, _Asked(name, epoch, step, _key(columns)))


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

    def read(at: tuple[int, int]) -> pd.DataFrame | None:
        try:
            return _held(source, _Asked(name, *at, _key(columns), where))
        except (ArtifactNotFoundError, ValueError):
            return None

    asked = list(validations)
    found = zip(asked, gather(source.uri, read, asked), strict=True)
    return {at: table for at, table in found if table is not None}


@dataclass(frozen=True)
class _Asked:
    """What is read of a run, as the arguments of `RunReader.table`."""

    table: str
    epoch: int
    step: int
    columns: tuple[str, ...] | None
    where: Where = None


def _held(source: RunSource, asked: _Asked) -> pd.DataFrame:
    missing = _absence(source, asked)
    if missing is not None:
        raise ArtifactNotFoundError(missing)
    return _table(replace(source, progress=""), asked)


# Streamlit keeps no exceptions, and runs of earlier versions lack the same tables at every epoch.
# Not for long, and anew after every validation: what is missing may be on its way.
@st.cache_data(ttl=_ABSENT, max_entries=_TABLES, show_spinner=False)
def _absence(source: RunSource, asked: _Asked) -> str | None:
    """Why there is no such table; None: there is one."""
    try:
        _table(replace(source, progress=""), asked)
    except ArtifactNotFoundError as error:
        return str(error)
    return None


@st.cache_data(ttl=_KEEP, max_entries=_TABLES, max_size=_MEMORY, show_spinner=False)
def _table(source: RunSource, asked: _Asked) -> pd.DataFrame:
    return source.reader.table(asked.table, asked.epoch, asked.step, asked.columns, asked.where)


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


@st.cache_data(ttl=_KEEP, max_entries=_TABLES, max_size=_MEMORY, show_spinner=False)
def _thumbnails(source: RunSource, ids: tuple[str, ...]) -> dict[str, NDArray[np.uint8]]:
    return source.reader.thumbnails(ids)


def forget() -> None:
    """Read everything anew."""
    st.cache_data.clear()
