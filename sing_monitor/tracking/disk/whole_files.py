"""Files that appear as a whole or not at all, whenever the process dies."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Nobody writes one file for that long: whoever began it was killed.
_ABANDONED_SECONDS = 3600.0


def write_whole(
    target: Path, write: Callable[[Path], object], *, half_in: Path | None = None
) -> None:
    """Let ``write`` fill a file, which then takes the place of an earlier one.

    Processes that write the same target do not meet: the last one that ends has it, whole. Halves
    of killed processes are removed after an hour.

    Args:
        target: the file; its folder exists.
        write: gets the path of a file whose name starts with a dot.
        half_in: the folder of that file, on the same disk; None: the target's.

    Raises:
        OSError: if the disk refuses, for example when it is full.
    """
    folder = half_in or target.parent
    _remove_abandoned(folder, target.name)
    half = folder / f".{target.name}.{uuid.uuid4().hex[:12]}.part"
    try:
        write(half)
        os.replace(half, target)
    except BaseException:
        half.unlink(missing_ok=True)
        raise


def _remove_abandoned(folder: Path, name: str) -> None:
    oldest = time.time() - _ABANDONED_SECONDS
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            is_half = entry.name.startswith(f".{name}.") and entry.name.endswith(".part")
            if is_half and entry.stat().st_mtime < oldest:
                Path(entry.path).unlink(missing_ok=True)
