"""Keeps Python's garbage collector from looking through all imports every few pages."""

from __future__ import annotations

import gc
from functools import cache


@cache
def leave_out_imports() -> None:
    """Leave what lives by now out of later collections; the first call in a process alone.

    The libraries are half a million objects, which live as long as the process. To look through
    them takes a quarter of a second, and each third page or so would have to wait for that.
    """
    gc.collect()
    gc.freeze()
