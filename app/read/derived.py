"""What pages work out of what they have read, kept for as long as that stays the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

import pandas as pd
import streamlit as st

from sing_monitor.app.read.kept import Kept

V = TypeVar("V")

# Bytes, the last one of a cell of a table: half of them hold words, which take 8 and more.
_MEMORY = 64_000_000
CELL = 16
_SECONDS = 600.0


def derived(key: Hashable, make: Callable[[], V]) -> V:
    """``make()``, or what it returned the last time. All sessions share it: never write to it.

    Args:
        key: names what is made, and everything that it is made from.
        make: draws nothing on the page, since it is not called again.
    """
    held = _held()
    found = held.get(key)
    if found is None:
        found = make()
        held.put(key, found)
    # Nobody else puts anything under this key.
    return found  # type: ignore[return-value]


def forget() -> None:
    """Make all anew."""
    _held.clear()


@st.cache_resource(show_spinner=False)
def _held() -> Kept[Hashable, object]:
    return Kept(_MEMORY, _SECONDS, size_of=size_of)


def size_of(value: object) -> int:
    """Bytes, about."""
    if isinstance(value, pd.DataFrame):
        # To ask pandas for more would take longer than to keep it.
        return CELL * value.size
    if isinstance(value, Mapping):
        return 1_000 + sum(map(size_of, value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return 1_000 + sum(map(size_of, value))
    return int(getattr(value, "size", 1_000))
