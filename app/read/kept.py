"""A bounded store of values that all sessions share, and whose keys may be filled together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from cachetools import TTLCache

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """The values that were used last. Streamlit's own caches take one value at a time.

    Args:
        most: how many values are kept, or of what size together.
        seconds: how long.
        size_of: of one value; None: all count alike.
    """

    def __init__(
        self, most: int, seconds: float, size_of: Callable[[V], int] | None = None
    ) -> None:
        self._values: TTLCache[K, V] = TTLCache(most, seconds, getsizeof=size_of)
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """The value, or None where there is none."""
        with self._lock:
            value: V | None = self._values.get(key)
            return value

    def put(self, key: K, value: V) -> None:
        """Keep a value, unless it is larger than all may be together."""
        with self._lock, suppress(ValueError):
            self._values[key] = value
