"""EmbeddingCache: embeddings by content key, in memory and in files that processes share."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Literal

import torch
from cachetools import FIFOCache
from platformdirs import user_cache_path
from torch import Tensor

from sing_monitor.space.cache_files import ChunkFolder

GIB = 1024**3


def default_cache_dir() -> Path:
    """The user's cache folder: `$XDG_CACHE_HOME/sing_monitor`, else that of the operating system.

    On Linux that is `~/.cache/sing_monitor`.
    """
    return user_cache_path("sing_monitor", appauthor=False)


class EmbeddingCache:
    """Embeddings of one space by 64-bit content key, so that each image and text is embedded once.

    If the disk fails, the cache warns once and keeps embeddings in memory alone.

    Args:
        space_name: of the space; embeddings of other spaces are never returned.
        kind: "images" or "texts".
        dim: n, the size of an embedding.
        cache_dir: folder shared by all spaces and runs, made when needed; None for memory alone.
        max_bytes: bound on the memory of this cache, and on the files of all caches under
            `cache_dir`. The oldest rows and the least recently used files are deleted first. Runs
            that write at the same time may exceed it by a few percent.

    Raises:
        ValueError: if the kind is another one, or dim or max_bytes is below 1.

    Example:
        >>> cache = EmbeddingCache("toy", "texts", dim=2, cache_dir=None)
        >>> cache.add(torch.tensor([7]), torch.tensor([[1.0, 2.0]]))
        >>> rows, known = cache.lookup(torch.tensor([7, 8]))
        >>> rows[0].tolist(), known.tolist()
        ([1.0, 2.0], [True, False])
    """

    def __init__(
        self,
        space_name: str,
        kind: Literal["images", "texts"],
        dim: int,
        cache_dir: str | Path | None,
        max_bytes: int = 2 * GIB,
    ) -> None:
        if kind not in ("images", "texts"):
            raise ValueError(f'kind is {kind!r}; expected "images" or "texts"')
        if dim < 0 or max_bytes < 1:
            raise ValueError(f"dim ({dim}) must be at least 0, max_bytes ({max_bytes}) at least 1")
        self._dim = dim
        self._memory: FIFOCache[int, Tensor] = FIFOCache(max(max_bytes // (4 * max(dim, 1)), 1))
        self._files: ChunkFolder | None = None
        if cache_dir is not None:
            root = Path(cache_dir).expanduser()
            folder = root / _slug(space_name) / kind
            self._files = ChunkFolder(root, folder, space_name, dim, max_bytes)

    @property
    def unreadable(self) -> int:
        """Number of files that were ignored as broken or foreign."""
        return self._files.unreadable if self._files is not None else 0

    def lookup(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Find embeddings in memory, then in files, also those of other processes.

        Args:
            keys: (B,) int64.

        Returns:
            Embeddings (B, n) float32, NaN for unknown keys, and a mask of the known keys, (B,)
            bool; both on the device of the keys.

        Raises:
            ValueError: if the keys have another type or shape.
        """
        wanted = _as_list(keys)
        found = {key: self._memory[key] for key in wanted if key in self._memory}
        missing = set(wanted) - found.keys()
        if missing and self._files is not None:
            read = self._files.find(missing)
            found |= read
            self._memory.update(read)
        rows = torch.full((len(wanted), self._dim), torch.nan, dtype=torch.float32)
        known = torch.tensor([key in found for key in wanted], dtype=torch.bool)
        if found:
            rows[known] = torch.stack([found[key] for key in wanted if key in found])
        return rows.to(keys.device), known.to(keys.device)

    def add(self, keys: Tensor, embeddings: Tensor) -> None:
        """Keep embeddings in memory, and write those that are in no file yet into a new file.

        Args:
            keys: (B,) int64. A key in memory keeps its embedding.
            embeddings: (B, n), finite.

        Raises:
            ValueError: if shapes do not fit, or embeddings are not finite.
        """
        names = _as_list(keys)
        if embeddings.shape != (len(names), self._dim):
            raise ValueError(
                f"embeddings have shape {tuple(embeddings.shape)}; expected "
                f"{(len(names), self._dim)}, a row for each key"
            )
        broken = int((~embeddings.isfinite().all(1)).sum())
        if broken:
            raise ValueError(
                f"{broken} of {len(names)} embeddings hold NaN or infinite numbers and are not "
                "stored; check the images and the precision of the space"
            )
        # Copies: the caller may write to the tensor, and a tensor of inference mode is bound to it.
        with torch.inference_mode(False):
            rows = torch.empty(embeddings.shape, dtype=torch.float32).copy_(embeddings.detach())
            new = {
                key: row.clone()
                for key, row in zip(names, rows, strict=True)
                if key not in self._memory
            }
        self._memory.update(new)
        fresh = {key: row for key, row in new.items() if self._files and key not in self._files}
        if fresh and self._files is not None:
            self._files.write(fresh)


def _as_list(keys: Tensor) -> list[int]:
    if keys.dtype != torch.int64 or keys.ndim != 1:
        raise ValueError(
            f"keys are {keys.dtype} of shape {tuple(keys.shape)}; expected int64 of shape (B,)"
        )
    return [int(key) for key in keys.tolist()]


def _slug(name: str) -> str:
    """Folder name for a space: readable, and different for every other space."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60].strip(".")
    return f"{readable}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
