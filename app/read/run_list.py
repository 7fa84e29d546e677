"""The runs of a store, looked up anew where they may have changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from sing_monitor.tracking import StoreError, open_store
from sing_monitor.tracking.backend import StoredRun
from sing_monitor.tracking.runs import runs_table

REFRESH_SECONDS = 10
# What became of runs that had ended, such as a deletion, shows after so long on a server.
_ALL_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class RunList:
    """What a store held when it was asked. It is shared by all sessions: never write to it.

    Args:
        table: of `list_runs`, newest first.
        runs: by id.
    """

    table: pd.DataFrame
    runs: Mapping[str, StoredRun]


class _Watched:
    """The runs of one store. A failure is kept too, or each click would wait for a dead server."""

    def __init__(self, uri: str) -> None:
        self._store = open_store(uri)
        self._lock = threading.Lock()
        self._found: RunList | str | None = None
        self._stamp: Hashable | None = None
        self._looked = self._asked_for_all = 0.0

    def current(self) -> RunList | str:
        with self._lock:
            if self._found is None or time.monotonic() - self._looked > REFRESH_SECONDS - 1:
                self._found = self._look(self._found)
                self._looked = time.monotonic()
            return self._found

    def _look(self, known: RunList | str | None) -> RunList | str:
        # Taken first: what is written meanwhile shows the next time.
        stamp = self._store.stamp()
        if isinstance(known, RunList) and stamp is not None and stamp == self._stamp:
            return known
        try:
            with st.spinner("Looking for runs …"):
                runs = {run.run_id: run for run in self._ask(known)}
        except StoreError as error:
            return str(error)
        self._stamp = stamp
        if isinstance(known, RunList) and _are_same(known.runs, runs):
            return known
        return RunList(runs_table(self._store, runs.values()), runs)

    def _ask(self, known: RunList | str | None) -> list[StoredRun]:
        now = time.monotonic()
        if isinstance(known, RunList) and now - self._asked_for_all < _ALL_SECONDS:
            return self._store.renewed(list(known.runs.values()))
        self._asked_for_all = now
        return self._store.runs()


def _are_same(known: Mapping[str, StoredRun], found: Mapping[str, StoredRun]) -> bool:
    """Whether two looks found the same runs in the same order."""
    # NaN, which runs log where a score is undefined, is unlike itself, but reads the same.
    return list(known) == list(found) and all(
        run == found[each] or repr(run) == repr(found[each]) for each, run in known.items()
    )


def listed(uri: str) -> RunList:
    """The runs of a store that a monitor wrote to, at most `REFRESH_SECONDS` old.

    Raises:
        StoreError: if the store cannot be reached.
    """
    found = _watched(uri).current()
    if isinstance(found, str):
        raise StoreError(found)
    return found


@st.cache_resource(max_entries=8, show_spinner=False)
def _watched(uri: str) -> _Watched:
    return _Watched(uri)


def forget() -> None:
    """Ask again."""
    _watched.clear()
