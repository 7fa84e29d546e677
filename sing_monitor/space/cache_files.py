"""ChunkFolder: embeddings in files that many processes share without locks.

This works on network drives too: a chunk of embeddings is one file with a unique name, which
appears complete or not at all and never changes. Disks do change files: a digest beside each
embedding tells whether it is still the one that was written.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shlex
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

logger = logging.getLogger(__name__)

# Version 1 stored no digests.
VERSION = "2"
# Stands for the space of files of other versions, which nobody reads.
OUTDATED = "(another version)"

_CHUNK_NAME = re.compile(r"[0-9a-f]{32}\.safetensors")
_TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}\.tmp")
_TENSORS = ["digests", "embeddings", "keys"]
# No process is still writing a broken file of this age.
_STALE_SECONDS = 3600.0
# A folder that changed this recently may change again within a tick of the file system's clock.
_TICK_SECONDS = 2.0


class _DamagedError(ValueError):
    """An embedding is not the one that was written."""


class ChunkFolder:
    """Embeddings of one space and kind in files; a failing disk gives one warning and no error.

    Args:
        root: folder of all spaces and kinds, which shares `max_bytes`.
        folder: `root / <space> / <kind>`, created when needed.
        space_name: written into every file; files of other spaces are ignored.
        dim: n, the size of an embedding.
        max_bytes: bound on all chunk files under `root`; the least recently used are deleted first.

    Attributes:
        unreadable: number of files that were ignored as broken or foreign.
    """

    def __init__(self, root: Path, folder: Path, space_name: str, dim: int, max_bytes: int) -> None:
        self.unreadable = 0
        self._root = root
        self._folder = folder
        self._space_name = space_name
        self._dim = dim
        self._max_bytes = max_bytes
        self._index: dict[int, tuple[Path, int]] = {}  # key -> file and row
        self._seen: set[str] = set()
        self._folder_time = -1
        self._room = 0  # bytes to write before the size of all files is read again
        self._warned: set[str] = set()

    def __contains__(self, key: int) -> bool:
        """Whether the key was in a file when the folder was last scanned."""
        return key in self._index

    def find(self, keys: Iterable[int]) -> dict[int, Tensor]:
        """Read the embeddings of those keys that are in a file, also of other processes.

        Returns:
            key -> (n,) float32.
        """
        wanted = set(keys)
        if not wanted <= self._index.keys():
            self._scan()
        rows_of: dict[Path, dict[int, int]] = {}
        for key in wanted & self._index.keys():
            path, row = self._index[key]
            rows_of.setdefault(path, {})[key] = row
        found: dict[int, Tensor] = {}
        for path, rows in rows_of.items():
            embeddings = self._read(path, rows)
            if embeddings is None:
                self._index = {key: at for key, at in self._index.items() if at[0] != path}
            else:
                found.update(zip(rows, embeddings, strict=True))
        return found

    def write(self, embeddings: Mapping[int, Tensor]) -> None:
        """Write embeddings, key -> (n,) float32, as one new file.

        The file is written under another name first, so that no reader sees half of it.
        """
        keys = list(embeddings)
        rows = torch.stack([embeddings[key] for key in keys])
        tensors = {
            "keys": torch.tensor(keys, dtype=torch.int64),
            "embeddings": rows,
            "digests": _digests(keys, rows),
        }
        data = save(tensors, metadata={"version": VERSION, "space": self._space_name})
        name = uuid.uuid4().hex
        path, temporary = self._folder / f"{name}.safetensors", self._folder / f"{name}.tmp"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            self._warn(
                "write",
                f"Embeddings cannot be written to {self._folder}: {error}. They are kept in "
                "memory, and the next run has to compute them again. To keep them, free some disk "
                "space or choose another cache_dir.",
            )
            return
        self._seen.add(path.name)
        self._index.update({key: (path, row) for row, key in enumerate(keys)})
        self._room -= len(data)
        if self._room < 0:
            self._make_room()

    def _scan(self) -> None:
        """Index the keys of new files in the folder."""
        try:
            changed = self._folder.stat().st_mtime_ns
            if changed == self._folder_time:
                return
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return
        except OSError as error:
            self._warn("read", f"The embedding cache {self._folder} cannot be read: {error}.")
            return
        recent = time.time() - changed / 1e9 < _TICK_SECONDS
        self._folder_time = -1 if recent else changed
        for name in names:
            path = self._folder / name
            if _TEMPORARY_NAME.fullmatch(name):
                _remove_if_stale(path)
            elif _CHUNK_NAME.fullmatch(name) and name not in self._seen:
                self._seen.add(name)
                self._index_file(path)

    def _index_file(self, path: Path) -> None:
        """Read the keys of a file; its embeddings are read when one is wanted."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if is_outdated(metadata):
                    self._pass_over_outdated()
                    return
                if metadata.get("space") != self._space_name:
                    raise ValueError("it was written for another space")
                if sorted(file.keys()) != _TENSORS:
                    raise ValueError(f"it holds {', '.join(sorted(file.keys()))}")
                keys = file.get_tensor("keys")
                rows, digests = file.get_slice("embeddings"), file.get_slice("digests")
                shape, kind = list(rows.get_shape()), rows.get_dtype()
            if keys.dtype != torch.int64 or shape != [*keys.shape, self._dim] or kind != "F32":
                raise ValueError(
                    f"it holds {kind} embeddings of shape {shape} for {len(keys)} keys"
                )
            if digests.get_shape() != list(keys.shape) or digests.get_dtype() != "I64":
                raise ValueError("it does not hold a digest for each embedding")
        except (OSError, SafetensorError, ValueError) as error:
            self._pass_over(path, error)
            return
        for row, key in enumerate(keys.tolist()):
            self._index.setdefault(key, (path, row))

    def _read(self, path: Path, rows: Mapping[int, int]) -> Tensor | None:
        """The embeddings of some keys, which are those of these rows; None: do not trust the file.

        One damaged embedding is enough: its disk or its memory fails.
        """
        at = list(rows.values())
        try:
            with safe_open(path, framework="pt") as file:
                embeddings: Tensor = file.get_tensor("embeddings")[at]
                digests = file.get_tensor("digests")[at]
            damaged = int((digests != _digests(rows, embeddings)).sum())
            if damaged:
                raise _DamagedError(
                    f"{damaged} of {len(rows)} embeddings read from it are not those written"
                )
            if not embeddings.isfinite().all():
                raise ValueError("it holds numbers that are not finite")
        except (OSError, SafetensorError, IndexError, ValueError) as error:
            self._pass_over(path, error)
            return None
        try:
            os.utime(path)  # the least recently used file is deleted first
        except OSError as error:
            logger.debug("The time of %s could not be set: %s", path, error)
        return embeddings

    def _make_room(self) -> None:
        """Delete the least recently used files of all spaces, down to nine tenths of the bound."""
        files = []
        for path in chunk_files(self._root):
            try:
                stat = path.stat()
            except OSError:  # another process deleted it
                continue
            files.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in files)
        if total > self._max_bytes:
            for _, size, path in sorted(files):
                if total <= 0.9 * self._max_bytes:
                    break
                try:
                    path.unlink(missing_ok=True)
                    total -= size
                except OSError as error:
                    self._warn("room", f"{path} cannot be deleted to make room: {error}.")
        # Other runs write too: checking again soon keeps the sum of all near the bound.
        self._room = min(self._max_bytes - total, self._max_bytes // 32)

    def _pass_over(self, path: Path, error: Exception) -> None:
        if isinstance(error, FileNotFoundError):  # another process deleted it
            return
        self.unreadable += 1
        removed = isinstance(error, SafetensorError | _DamagedError) and _remove_if_stale(path)
        self._warn(
            "removed" if removed else "passed over",
            f"{path} is no readable part of the embedding cache and was "
            f"{'removed' if removed else 'passed over'}: {error}. Its embeddings are computed "
            "again. There is no message for further such files.",
        )

    def _pass_over_outdated(self) -> None:
        self.unreadable += 1
        self._warn(
            "outdated",
            f"The embedding cache {self._folder} holds files of another version of sing-monitor, "
            "which lack the digests by which damage is seen. Their embeddings are computed again. "
            f'To free their space: sing-monitor cache clear --space "{OUTDATED}" --cache-dir '
            f"{shlex.quote(str(self._root))}",
        )

    def _warn(self, topic: str, message: str) -> None:
        if topic not in self._warned:
            self._warned.add(topic)
            logger.warning(message)


def is_outdated(metadata: Mapping[str, str]) -> bool:
    """Whether a chunk file is of another version, going by its metadata."""
    return metadata.get("version") != VERSION


def _digests(keys: Iterable[int], embeddings: Tensor) -> Tensor:
    """A digest of 64 bits of each embedding and its key, (K,) int64.

    Args:
        keys: K numbers of 64 bits.
        embeddings: (K, n) float32.
    """
    found = b"".join(
        hashlib.blake2b(key.to_bytes(8, "little", signed=True) + row, digest_size=8).digest()
        for key, row in zip(keys, map(bytes, embeddings.numpy()), strict=True)
    )
    return torch.from_numpy(np.frombuffer(found, "<i8").astype(np.int64))


def chunk_files(root: Path) -> Iterator[Path]:
    """Iterate over the chunk files of all spaces and kinds, ``<space>/<kind>/<chunk>``."""
    for path in root.glob("*/*/*.safetensors"):
        if path.parent.name in ("images", "texts") and _CHUNK_NAME.fullmatch(path.name):
            yield path


def _remove_if_stale(path: Path) -> bool:
    try:
        if time.time() - path.stat().st_mtime < _STALE_SECONDS:
            return False
        path.unlink()
    except OSError:  # deleted already, or without permission
        return False
    return True
