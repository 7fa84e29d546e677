"""Cached reads of the MLflow store, all through :mod:`sing_monitor.tracking`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from pandas.api.types import is_object_dtype

from sing_monitor.app.read import derived, run_list
from sing_monitor.app.read.curves import training_history
from sing_monitor.app.read.kept import Kept
from sing_monitor.space.cache import default_cache_dir
from sing_monitor.tracking import ArtifactNotFoundError, Layout, RunReader, gather, open_store
from sing_monitor.tracking.backend import StoredRun
from sing_monitor.tracking.disk.joined_tables import JoinedFile, Place
from sing_monitor.tracking.disk.kept_files import TABLES_FOLDER, KeptFiles
from sing_monitor.tracking.reader import Listing
from sing_monitor.tracking.runs import curves_of_runs
from sing_monitor.tracking.runs import other_metrics as other_metrics_of

_HOUR = 3600.0
_KEEP = "1h"
_ABSENT = 600.0
_CURVES = 2048
# Two runs of 100 epochs, a handful of tables each, several times over; what is large counts more.
_TABLES = 4096
# Bytes.
_MEMORY = 128_000_000
_DISK = 1_000_000_000


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

    @property
    def is_running(self) -> bool:
        """Whether the run has not ended, or was killed without a word."""
        return self.state.startswith("RUNNING")


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
    runs = [(_run(source), Layout(source.monitor)) for source in sources]
    return curves_of_runs(open_store(sources[0].uri), runs, keys, others)


def _run(source: RunSource) -> StoredRun:
    """The run as it was listed; one that is not is asked for."""
    listed = run_list.listed(source.uri).runs.get(source.run_id)
    return listed or open_store(source.uri).run(source.run_id)


@st.cache_resource(show_spinner=False)
def _held_histories() -> Kept[tuple[RunSource, Hashable], pd.DataFrame]:
    return Kept(_CURVES, seconds=_HOUR)


def other_metrics(source: RunSource) -> list[str]:
    """Metrics of the run that no monitor logged. Raises as `histories` does."""
    return other_metrics_of(open_store(source.uri), _run(source), Layout(source.monitor))


def validations(source: RunSource) -> list[tuple[int, int]]:
    """Epoch and global step of each validation with tables. Raises as `histories` does."""
    return list(_listing(source).whole)


def incomplete(source: RunSource) -> list[tuple[int, int]]:
    """The same of each validation whose files have not all arrived. Raises as `histories` does."""
    return list(_listing(source).incomplete)


def tries(source: RunSource, validations: Iterable[tuple[int, int]]) -> tuple[int | None, ...]:
    """The try that stored the tables of each validation: another one if they are stored again.

    None where they are not whole at the moment. Raises as `histories` does.
    """
    return tuple(_listing(source).whole.get(at) for at in validations)


# Tables may arrive later than the scalars of their validation.
@st.cache_resource(ttl=60, max_entries=_CURVES, show_spinner=False, hash_funcs={RunSource: hash})
def _listing(source: RunSource) -> Listing:
    return source.reader.listing()


Columns = Iterable[str] | None
Where = tuple[str, object] | None


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

    def read(part: _Part) -> dict[tuple[int, int], pd.DataFrame]:
        joined, together = part
        files = {} if joined is None else _parts_of(source, joined)
        found = {}
        for each in together:
            with suppress(ArtifactNotFoundError, ValueError):
                place = _place(source, each) if files else None
                found[each.at] = _held(source, each, files.get(place) if place else None)
        return found

    asked = [_Asked(name, *at, _key(columns), where) for at in validations]
    found = gather(source.uri, read, _parts(source, asked))
    by_place = {at: table for part in found for at, table in part.items()}
    return {each.at: by_place[each.at] for each in asked if each.at in by_place}


@dataclass(frozen=True)
class _Asked:
    """What is read of a run, as the arguments of `RunReader.table`."""

    table: str
    epoch: int
    step: int
    columns: tuple[str, ...] | None
    where: Where = None

    @property
    def at(self) -> tuple[int, int]:
        """The validation."""
        return self.epoch, self.step


# What is read from one joined file, or from files of their own.
_Part = tuple[JoinedFile | None, list[_Asked]]


def _parts(source: RunSource, asked: Sequence[_Asked]) -> list[_Part]:
    """As few questions as what is asked for can be had by."""
    # Files on this machine are read where they lie, and nobody has joined them.
    is_local = source.reader.store.at_a_time == 1
    unread = [] if is_local else _not_at_hand(source, asked)
    together: dict[JoinedFile, list[_Asked]] = {}
    for each in unread if len(unread) > 1 else ():
        if file := _joined_with(source, each):
            together.setdefault(file, []).append(each)
    # Of one table alone, its own file is the smaller one.
    several = {file: rows for file, rows in together.items() if len(rows) > 1}
    in_joined = {each for rows in several.values() for each in rows}
    return [*several.items(), *((None, [each]) for each in asked if each not in in_joined)]


def _not_at_hand(source: RunSource, asked: Sequence[_Asked]) -> list[_Asked]:
    """Of what the store must be asked."""
    held, missing, copies = _held_tables(), _missing_tables(), _copies(default_cache_dir())
    return [
        each
        for each in asked
        if held.get(_held_key(source, each)) is None
        and missing.get((source, each)) is None
        and not ((key := _copy_key(source, each)) and copies.has(key))
    ]


def _joined_with(source: RunSource, asked: _Asked) -> JoinedFile | None:
    """The joined file that should hold a table."""
    place, joined = _place(source, asked), _listing(source).joined
    known = (file for file in joined if file.table == asked.table)
    return next((file for file in known if place and file.may_hold(place.when)), None)


def _place(source: RunSource, asked: _Asked) -> Place | None:
    """Where the file comes from; None where earlier versions kept no number of the try."""
    when = _listing(source).whole.get(asked.at)
    return Place(*asked.at, when) if when else None


def _parts_of(source: RunSource, joined: JoinedFile) -> dict[Place, bytes]:
    """What a joined file holds; what it lacks is read from the files of the tables."""
    try:
        return source.reader.joined_files(joined)
    except (ArtifactNotFoundError, ValueError):
        return {}


# A run, what was read of it, and the try that stored it.
_Key = tuple[RunSource, _Asked, int | None]


def _held_key(source: RunSource, asked: _Asked) -> _Key:
    # Written once in a try, so a growing run need not be asked again.
    return replace(source, progress=""), asked, _listing(source).whole.get(asked.at)


def _held(source: RunSource, asked: _Asked, file: bytes | None = None) -> pd.DataFrame:
    key, held, missing = _held_key(source, asked), _held_tables(), _missing_tables()
    table = held.get(key)
    if table is None:
        if said := missing.get((source, asked)):
            raise ArtifactNotFoundError(said)
        try:
            table = _read(source, asked, file)
        except ArtifactNotFoundError as error:
            missing.put((source, asked), str(error))
            raise
        # One that is being stored again may be whole and older than the rest.
        if key[2] is not None:
            held.put(key, table)
    # pandas copies what is written to.
    return table.copy(deep=False)


def _read(source: RunSource, asked: _Asked, file: bytes | None) -> pd.DataFrame:
    """From its file, if it is known, else from this machine's copy of it, else from the store."""
    reader, key = source.reader, _copy_key(source, asked)
    read = partial(reader.table, asked.table, *asked.at, asked.columns, asked.where)
    if key is None:
        return read()
    copies = _copies(default_cache_dir())
    kept = copies.get(key) if file is None else None
    if kept is not None:
        return read(file=kept)
    found = reader.table_file(asked.table, *asked.at) if file is None else file
    table = read(file=found)
    # Only what could be read is kept.
    copies.put(key, found)
    return table


def _copy_key(source: RunSource, asked: _Asked) -> str | None:
    """Tells a file from every other one, and from what may replace it; None: keep no copy."""
    store = source.reader.store
    # Files on this machine are read where they lie.
    if store.at_a_time == 1:
        return None
    when = _listing(source).whole.get(asked.at)
    if when is None or (when == 0 and source.is_running):
        return None
    # Earlier versions left no mark: a run that is taken up again may replace what they stored.
    version = str(when) if when else source.state
    path = source.reader.layout.table(asked.table, asked.epoch, asked.step)
    return "\n".join((store.address, source.run_id, path, version))


@st.cache_resource(show_spinner=False)
def _copies(root: Path) -> KeptFiles:
    return KeptFiles(root / TABLES_FOLDER, _DISK)


@st.cache_resource(show_spinner=False)
def _held_tables() -> Kept[_Key, pd.DataFrame]:
    return Kept(_MEMORY, seconds=_HOUR, size_of=_size)


def _size(table: pd.DataFrame) -> int:
    """Bytes, about: those of objects are not counted one by one."""
    objects = sum(map(is_object_dtype, table.dtypes))
    return 5_000 + int(table.memory_usage(index=False).sum()) + 200 * objects * len(table)


# Runs of earlier versions lack the same tables at every epoch. Not for long, and anew after every
# validation: what is missing may be on its way.
@st.cache_resource(show_spinner=False)
def _missing_tables() -> Kept[tuple[RunSource, _Asked], str]:
    return Kept(_TABLES, seconds=_ABSENT)


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


@st.cache_data(ttl=_KEEP, max_entries=_TABLES, max_size="32MB", show_spinner=False)
def _thumbnails(source: RunSource, ids: tuple[str, ...]) -> dict[str, NDArray[np.uint8]]:
    return source.reader.thumbnails(ids)


def forget() -> None:
    """Read everything anew."""
    st.cache_data.clear()
    for held in (_held_histories, _held_tables, _missing_tables, _listing):
        held.clear()
    derived.forget()
    run_list.forget()
