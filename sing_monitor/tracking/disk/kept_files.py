"""Copies of files that never change, on this machine's disk, so that a server is asked only once.

A digest over the key and the content tells whether a copy is still what was kept under that key: a
damaged file, half of one, and one of another key count as absent.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sing_monitor.tracking.disk.whole_files import write_whole

logger = logging.getLogger(__name__)

# Below the user's cache folder: the tables that the app has read from servers.
TABLES_FOLDER = "tables"

_DIGEST = 32  # bytes
_NAME = re.compile(r"[0-9a-f]{64}\.kept")


class KeptFiles:
    """Files by key in one folder, which processes share. What the disk refuses is not kept.

    Args:
        folder: made when needed, for this user alone.
        most_bytes: of all files together; those that were read least recently are deleted first.

    Example::

        >>> from tempfile import mkdtemp
        >>> kept = KeptFiles(Path(mkdtemp()), most_bytes=1_000_000)
        >>> kept.put("a key of any length", b"content")
        >>> kept.get("a key of any length"), kept.get("another one")
        (b'content', None)
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._room = 0  # bytes to write before the size of all files is looked up again

    def get(self, key: str) -> bytes | None:
        """What was kept under the key; None where there is nothing that can be trusted."""
        path = self._path(key)
        try:
            if path.stat().st_size > self._most_bytes:
                return None
            whole = path.read_bytes()
        except OSError:
            return None
        digest, content = whole[:_DIGEST], whole[_DIGEST:]
        if digest != _digest(key, content):
            return None
        with suppress(OSError):
            os.utime(path)
        return content

    def has(self, key: str) -> bool:
        """Whether there is something under the key, be it damaged; costs less than :meth:`get`."""
        return self._path(key).exists()

    def put(self, key: str, content: bytes) -> None:
        """Keep a content in place of an earlier one."""
        whole = _digest(key, content) + content
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(self._path(key), lambda path: path.write_bytes(whole))
            with self._lock:
                self._room -= len(whole)
                if self._room < 0:
                    self._room = _make_room(self._folder, self._most_bytes)
        except OSError as error:
            logger.warning("%s takes no copies of files: %s.", self._folder, error)

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.blake2b(key.encode(), digest_size=32).hexdigest()}.kept"


def kept_files(folder: Path) -> Iterator[Path]:
    """The files of a folder of copies; none where there is no such folder."""
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def _digest(key: str, content: bytes) -> bytes:
    own = hashlib.blake2b(key.encode()).digest()
    return hashlib.blake2b(own + content, digest_size=_DIGEST).digest()


def _make_room(folder: Path, most_bytes: int) -> int:
    """Delete the oldest files down to nine tenths of the bound; how many bytes may come then."""
    found = []
    for path in kept_files(folder):
        with suppress(FileNotFoundError):  # another process deleted it
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    total = sum(size for _, size, _ in found)
    if total > most_bytes:
        for _, size, path in sorted(found):
            if total <= 0.9 * most_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size
    # Other processes write too: looking again soon keeps all of them near the bound.
    return min(most_bytes - total, most_bytes // 32)
