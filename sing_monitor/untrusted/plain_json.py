"""JSON files of a known form, refused when they are too large to parse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 1024**2


def read_mapping(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ValueError: if it holds anything else, or nests too deeply.
    """
    found = _read(path)
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__}; expected names with values")
    return found


def read_texts(path: Path) -> list[str]:
    """The list of texts in a JSON file.

    Raises:
        ValueError: if it holds anything else, or nests too deeply.
    """
    found = _read(path)
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise ValueError("it does not hold a list of texts")
    return found


def _read(path: Path) -> Any:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"it has {size:,} bytes; at most {MOST_BYTES:,} are read")
    try:
        return json.loads(path.read_text("utf-8"))
    except RecursionError:
        raise ValueError("it nests too deeply") from None
