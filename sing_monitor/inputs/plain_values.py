"""Values of other libraries (OmegaConf, NumPy, pandas, torch) as built-in types or as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor


def is_ordered_collection(value: Any) -> bool:
    """Whether a value is an ordered collection: no text, no single number, no ``range``.

    Example:
        >>> [is_ordered_collection(each) for each in (["cat"], "cat", range(2))]
        [True, False, False]
    """
    if isinstance(value, Sequence):
        return not isinstance(value, (str, bytes, range))
    return bool(getattr(value, "shape", ())) and hasattr(value, "tolist")


def as_builtin(value: Any) -> Any:
    """Convert a value to Python's built-in containers, so that it can be written as JSON.

    Args:
        value: a mapping becomes a dict, an array and any sequence but a tuple a list, at every
            depth; everything else stays.

    Example:
        >>> from collections import UserDict, UserList
        >>> as_builtin(UserDict(a=UserList([1, (2, "b")])))
        {'a': [1, (2, 'b')]}
    """
    if isinstance(value, Mapping):
        return {as_builtin(key): as_builtin(item) for key, item in value.items()}
    if not is_ordered_collection(value):
        return value
    if not isinstance(value, Sequence):
        return value.tolist()
    items = [as_builtin(item) for item in value]
    return tuple(items) if isinstance(value, tuple) else items


def describe_value(value: object, depth: int = 2) -> str:
    """Describe a value for an error message: its type, shapes, and a few levels of content.

    Args:
        value: anything.
        depth: number of levels.
    """
    if isinstance(value, Tensor):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"Tensor {dtype} {tuple(value.shape)}"
    kind = type(value).__name__
    if depth and isinstance(value, Mapping):
        parts = [f"{key!r}: {describe_value(item, depth - 1)}" for key, item in value.items()]
    elif depth and isinstance(value, (list, tuple)):
        parts = [describe_value(item, depth - 1) for item in value]
    else:
        return kind
    return f"{kind} with [{', '.join(parts[:8])}{', ...' if len(parts) > 8 else ''}]"
