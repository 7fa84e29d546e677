"""Lists and mappings of other libraries (OmegaConf, NumPy, pandas) as Python's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def is_listing(value: Any) -> bool:
    """Whether a value is an ordered collection: no text, no single number, no range of numbers.

    Example:
        >>> is_listing(["cat"]), is_listing("cat"), is_listing(range(2))
        (True, False, False)
    """
    if isinstance(value, Sequence):
        return not isinstance(value, (str, bytes, range))
    return bool(getattr(value, "shape", ())) and hasattr(value, "tolist")


def plain(value: Any) -> Any:
    """The same with Python's own containers, so that it can be written as JSON.

    Args:
        value: a mapping becomes a dict, an array and any sequence but a tuple a list, at every
            depth; everything else stays.

    Example:
        >>> from collections import UserDict, UserList
        >>> plain(UserDict(a=UserList([1, (2, "b")])))
        {'a': [1, (2, 'b')]}
    """
    if isinstance(value, Mapping):
        return {plain(key): plain(item) for key, item in value.items()}
    if not is_listing(value):
        return value
    if not isinstance(value, Sequence):
        return value.tolist()
    items = [plain(item) for item in value]
    return tuple(items) if isinstance(value, tuple) else items
