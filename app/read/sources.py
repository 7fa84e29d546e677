"""A monitor of a run as it stands, and what the store lists of it."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from sing_monitor.app.read import run_list
from sing_monitor.tracking import RunReader, open_store
from sing_monitor.tracking.backend import StoredRun
from sing_monitor.tracking.reader import Listing

_RUNS = 2048


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


def stored_run(source: RunSource) -> StoredRun:
    """The run as it was listed; one that is not is asked for."""
    listed = run_list.listed(source.uri).runs.get(source.run_id)
    return listed or open_store(source.uri).run(source.run_id)


# Tables may arrive later than the scalars of their validation.
@st.cache_resource(ttl=60, max_entries=_RUNS, show_spinner=False, hash_funcs={RunSource: hash})
def listing_of(source: RunSource) -> Listing:
    """The validations of which the store holds tables. Raises as `store.histories` does."""
    return source.reader.listing()
