"""Cached reads of whole tables, and of the names of those that a validation left."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from sing_monitor.app.read import store
from sing_monitor.app.read.sources import RunSource


# Tables may arrive later than the first of their validation.
@st.cache_data(ttl=60, max_entries=256, show_spinner=False)
def names(source: RunSource, epoch: int, step: int) -> list[str]:
    """The tables of one validation, by name. Raises as `store.scalars` does."""
    return source.reader.tables(epoch, step)


def table(source: RunSource, name: str, epoch: int, step: int) -> pd.DataFrame:
    """One of them; lists in its cells are written out. Raises as `store.table` does."""
    found = store.table(source, name, epoch, step)
    lists = [
        column
        for column, values in found.items()
        if any(isinstance(value, list) for value in values.head(100))
    ]
    joined = {column: found[column].map(_joined) for column in lists}
    return found.assign(**joined)


def _joined(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
