"""Files on their way to the tracker, kept on the local disk until they have arrived."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from sing_monitor.tracking.disk.whole_files import write_whole
from sing_monitor.tracking.disk.write_lock import LockedError, lock
from sing_monitor.tracking.layout import BEGUN, COMPLETE

SPOOL_DIR = ".sing_spool"
ABOUT = "spool.json"
PATIENCE_SECONDS = 10.0
# Place of tables and pictures in the order of delivery.
_PLAIN = 1


_LOCAL_URL = re.compile(r"(?:file|local):/*(?=/)")
_URL = re.compile(r"[A-Za-z][\w+.-]+:/")  # "C:/" is a drive


def spool_place(root: str | os.PathLike[str]) -> tuple[Path, str | None]:
    """Where spools are kept: in a folder on the local disk, else in a temporary one.

    Args:
        root: the folder that should hold them, such as the trainer's ``default_root_dir``; it may
            be the URL of a store.

    Returns:
        The place, and why it does not lie in ``root``, or None where it does.
    """
    text = _LOCAL_URL.sub("", os.fspath(root), count=1)
    if _URL.match(text):
        return temporary_folder() / SPOOL_DIR, "is no folder on the local disk"
    place = Path(text) / SPOOL_DIR
    refusal = _refusal(place)
    if refusal is None:
        return place, None
    return temporary_folder() / SPOOL_DIR, f"cannot be written ({refusal.strerror or refusal})"


def temporary_folder() -> Path:
    """A temporary folder of this user's, the same for every process where that is possible."""
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
    folder = Path(tempfile.gettempdir()) / f"sing_monitor-{user}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        # Anybody may have made it, also as a link to somewhere else.
        is_ours = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
        if is_ours and not folder.is_symlink() and _refusal(folder) is None:
            return folder
    return Path(tempfile.mkdtemp(prefix="sing_monitor-"))


def _refusal(folder: Path) -> OSError | None:
    """Why nothing can be written into a folder that may not exist yet; leaves no trace."""
    made = []
    try:
        for each in (*reversed(folder.parents), folder):
            if not each.is_dir():
                each.mkdir()
                made.append(each)
        # Empty, so that a full disk, where room may be made again, does not refuse it.
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error
    finally:
        for each in reversed(made):
            with suppress(OSError):
                each.rmdir()


class DeliveryError(OSError):
    """Something has not reached the tracker. One sentence, without credentials.

    Attributes:
        pending: how many files wait in the spool.
        is_loss: whether something could not even be kept.
    """

    def __init__(self, message: str, pending: int, *, is_loss: bool = False) -> None:
        super().__init__(message)
        self.pending = pending
        self.is_loss = is_loss


class BusyError(DeliveryError):
    """Another process writes to the run."""


class NotYetError(Exception):
    """A file's time has not come. It stays, and nothing is wrong."""


class Spool:
    """A folder of files for one run.

    Whoever dies between two calls leaves a folder that the next process can deliver.

    Args:
        folder: belongs to this spool alone; created when the first file comes, and gone with the
            last, as is the run's folder around it where it is empty then.
        about: written to ``spool.json``: where the files are to go.
    """

    def __init__(self, folder: Path, about: Mapping[str, str | None]) -> None:
        self.folder = folder
        self._about = json.dumps(about, indent=2)

    def lock(self) -> Callable[[], None]:
        """Be the only process that puts files in and delivers them, until the result is called.

        Raises:
            BusyError: if another process is that.
            OSError: if the disk refuses.
        """
        run = self.folder.parent
        path = run / f"{self.folder.name}.lock"
        run.mkdir(parents=True, exist_ok=True)
        try:
            release = lock(path)
        except LockedError as error:
            raise BusyError(
                f"another process writes to run {run.name} ({error}), and only one may at a time. "
                "Give each training a run of its own, or wait until that process has ended. If it "
                f"ended with its machine and the lock stays, delete {path}.",
                len(self.files()),
                is_loss=True,
            ) from None

        def release_all() -> None:
            release()
            with suppress(OSError):
                run.rmdir()

        return release_all

    def put(self, name: str, write: Callable[[Path], object]) -> None:
        """Let ``write`` fill a file; it appears under ``name`` whole or not at all.

        Raises:
            OSError: if the disk refuses, for example when it is full.
        """
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        about = self.folder / ABOUT
        if target != about and not about.exists():
            self.put(ABOUT, lambda path: path.write_text(self._about, encoding="utf-8"))
        # Names with a dot in front are not delivered.
        write_whole(target, write)

    def files(self) -> list[Path]:
        """What waits, in the order of delivery.

        A validation begins and ends with its marks. JSON comes late: where it names another file,
        that one is there already.
        """
        waiting = (
            path
            for path in self.folder.rglob("*")
            if path.is_file() and not path.name.startswith(".") and path.name != ABOUT
        )
        return sorted(waiting, key=_in_order)

    def deliver(self, send: Callable[[Sequence[Path]], None]) -> Exception | None:
        """Send every file and remove it; a file that fails stays and the others go on.

        Tables and pictures of one folder are sent together, and one by one where that fails. After
        a failure no further file is tried once `PATIENCE_SECONDS` are over.

        Args:
            send: takes files of one folder, all or none.

        Returns:
            The first failure, or None.
        """
        failure: Exception | None = None
        start = time.monotonic()
        waiting = deque(_by_folder(self.files()))
        while waiting:
            if failure is not None and time.monotonic() - start > PATIENCE_SECONDS:
                break
            files = waiting.popleft()
            try:
                send(files)
            except NotYetError:
                continue
            # Every artifact store has exceptions of its own.
            except Exception as error:
                if len(files) > 1:
                    waiting.extendleft([path] for path in reversed(files))
                # A file that is gone was delivered by another process.
                elif files[0].exists():
                    failure = failure or error
            else:
                for path in files:
                    path.unlink(missing_ok=True)
        if not self.files():
            self._remove_empty()
        return failure

    def _remove_empty(self) -> None:
        (self.folder / ABOUT).unlink(missing_ok=True)
        folders = [path for path in self.folder.rglob("*") if path.is_dir()]
        for folder in (*sorted(folders, reverse=True), self.folder, self.folder.parent):
            with suppress(OSError):
                folder.rmdir()


def _in_order(path: Path) -> tuple[int, Path]:
    if path.name.endswith(BEGUN):
        return 0, path
    if path.name.endswith(COMPLETE):
        return 3, path
    return (2 if path.suffix == ".json" else _PLAIN), path


def _by_folder(files: Iterable[Path]) -> Iterator[list[Path]]:
    """The files in their order, those of one folder together; marks and other JSON one by one."""
    for (_, order), some in groupby(files, key=lambda path: (path.parent, _in_order(path)[0])):
        if order == _PLAIN:
            yield list(some)
        else:
            yield from ([path] for path in some)
