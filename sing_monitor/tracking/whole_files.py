"""Files that appear as a whole or not at all, whenever the process dies."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def write_whole(
    target: Path, write: Callable[[Path], object], *, half_in: Path | None = None
) -> None:
    """Let ``write`` fill a file, which then takes the place of an earlier one.

    Args:
        target: the file; its folder exists.
        write: gets the path of a file whose name starts with a dot.
        half_in: the folder of that file, on the same disk; None: the target's. Processes that
            write the same target need one each.

    Raises:
        OSError: if the disk refuses, for example when it is full.
    """
    # A second try takes the same name, so that killed processes do not pile up halves.
    half = (half_in or target.parent) / f".{target.name}.part"
    try:
        write(half)
        os.replace(half, target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
