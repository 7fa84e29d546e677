"""Tables of validations, from this process, this machine's copies or the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import streamlit as st
from pandas.api.types import is_object_dtype

from sing_monitor.app.read.kept import Kept
from sing_monitor.app.read.sources import RunSource, listing_of
from sing_monitor.space.cache import default_cache_dir
from sing_monitor.tracking import ArtifactNotFoundError
from sing_monitor.tracking.disk.kept_files import TABLES_FOLDER, KeptFiles

_HOUR = 3600.0
_ABSENT = 600.0
# Two runs of 100 epochs, a handful of tables each, several times over; what is large counts more.
_TABLES = 4096
# Bytes.
_MEMORY = 128_000_000
_DISK = 1_000_000_000

# A column and the value of the rows to read.
Where = tuple[str, object] | None


@dataclass(frozen=True)
class Asked:
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


# A run, what was read of it, and the try that stored it.
_Key = tuple[RunSource, Asked, int | None]


def _held_key(source: RunSource, asked: Asked) -> _Key:
    # Written once in a try, so a growing run need not be asked again.
    return replace(source, progress=""), asked, listing_of(source).whole.get(asked.at)


def not_at_hand(source: RunSource, asked: Sequence[Asked]) -> list[Asked]:
    """Of what the store must be asked."""
    tables, missing, copies = _held_tables(), _missing_tables(), _copies(default_cache_dir())
    return [
        each
        for each in asked
        if tables.get(_held_key(source, each)) is None
        and missing.get((source, each)) is None
        and not ((key := _copy_key(source, each)) and copies.has(key))
    ]


def held(source: RunSource, asked: Asked, file: bytes | None = None) -> pd.DataFrame:
    """A table, kept from now on.

    Args:
        source: the run.
        asked: which table of it.
        file: what the table's file holds, where that is known already.

    Raises:
        ArtifactNotFoundError: if the validation has no such table.
        ValueError: if the file is damaged.
        StoreError: if the store cannot be reached.
        RunNotFoundError: if the run was deleted.
    """
    key, tables, missing = _held_key(source, asked), _held_tables(), _missing_tables()
    table = tables.get(key)
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
            tables.put(key, table)
    # pandas copies what is written to.
    return table.copy(deep=False)


def _read(source: RunSource, asked: Asked, file: bytes | None) -> pd.DataFrame:
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


def _copy_key(source: RunSource, asked: Asked) -> str | None:
    """Tells a file from every other one, and from what may replace it; None: keep no copy."""
    store = source.reader.store
    # Files on this machine are read where they lie.
    if store.at_a_time == 1:
        return None
    when = listing_of(source).whole.get(asked.at)
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
def _missing_tables() -> Kept[tuple[RunSource, Asked], str]:
    return Kept(_TABLES, seconds=_ABSENT)


def forget() -> None:
    """Read all anew."""
    _held_tables.clear()
    _missing_tables.clear()
