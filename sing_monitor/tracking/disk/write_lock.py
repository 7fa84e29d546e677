"""Lock of a file for one process, which the operating system frees when the process ends.

A record lock of POSIX: processes that a data loader forks do not inherit it, so that the workers
of a killed training block nobody, and network file systems pass it on from machine to machine.
Where the file system knows no locks, and on Windows, nothing is locked.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_BUSY = (errno.EACCES, errno.EAGAIN)


class LockedError(Exception):
    """Another process holds the lock. The text says which, as far as it has told."""


@dataclass
class _Held:
    file: BinaryIO
    process: int
    users: int = 1


# The system would free the lock with the first file that the process closes: one for all its users.
_held: dict[Path, _Held] = {}
_guard = threading.Lock()


def lock(path: Path) -> Callable[[], None]:
    """Hold a lock until the returned function is called, or the process ends.

    Within one process it can be held several times.

    Args:
        path: of a small file that is made, and gone when the lock is released; its folder exists.

    Raises:
        LockedError: if another process holds it.
        OSError: if the file cannot be made.
    """
    path = path.absolute()
    with _guard:
        held = _held.get(path)
        # A forked child finds what its parent holds, and not the lock.
        if held is not None and held.process == os.getpid():
            held.users += 1
        else:
            file = _locked(path)
            if file is None:
                return lambda: None
            _held[path] = held = _Held(file, os.getpid())

    def release() -> None:
        with _guard:
            if held.process != os.getpid():
                return
            held.users -= 1
            if held.users == 0:
                del _held[path]
                with suppress(OSError):
                    path.unlink()
                held.file.close()

    return release


def _locked(path: Path) -> BinaryIO | None:
    """The locked file; None where there are no locks."""
    if fcntl is None:
        return None
    while True:
        file = path.open("a+b")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            with file:
                if error.errno in _BUSY:
                    raise LockedError(_holder(file)) from None
            path.unlink(missing_ok=True)
            return None
        if _is_at(path, file):
            break
        # Whoever held it has just released it, and its file.
        file.close()
    about = {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(" ", "seconds"),
    }
    # Only for the sentence of whoever is refused.
    with suppress(OSError):
        file.truncate(0)
        file.write(json.dumps(about).encode())
        file.flush()
    return file


def _is_at(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _holder(file: BinaryIO) -> str:
    try:
        file.seek(0)
        about = json.loads(file.read())
        return f"process {about['process']} on {about['host']}, since {about['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "a process that has not said its number"
