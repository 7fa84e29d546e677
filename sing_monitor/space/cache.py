"""Each image and each text embedded once: embeddings by content key, in memory and in files."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sing_monitor.space.cache_files import ChunkFolder

GIB = 1024**3


def default_cache_dir() -> Path:
    """The user's cache folder: `$XDG_CACHE_HOME/sing_monitor`, else `~/.cache/sing_monitor`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "sing_monitor"


class EmbeddingCache:
    """Embeddings of one space by 64-bit content key.

    A disk that fails costs one warning: embeddings are then kept in memory alone.

    Args:
        space_name: the space; embeddings of another are never returned.
        kind: "images" or "texts".
        dim: n, the size of an embedding.
        cache_dir: folder shared by all spaces and runs, made when needed; None for memory alone.
        max_bytes: bound on this cache's memory, and on all its kind of files under `cache_dir`;
            the oldest rows and the least recently used files go first. Runs that write at once may
            exceed it by a few percent.

    Raises:
        ValueError: another kind, or a dim or bound below 1.

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
        self._max_rows = max(max_bytes // (4 * max(dim, 1)), 1)
        self._memory: dict[int, Tensor] = {}
        self._files: ChunkFolder | None = None
        if cache_dir is not None:
            root = Path(cache_dir).expanduser()
            folder = root / _slug(space_name) / kind
            self._files = ChunkFolder(root, folder, space_name, dim, max_bytes)

    @property
    def unreadable(self) -> int:
        """How many files were passed over as broken or foreign."""
        return self._files.unreadable if self._files is not None else 0

    def lookup(self, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Find embeddings in memory, then in files, those of other processes included.

        Args:
            keys: (B,) int64.

        Returns:
            Embeddings (B, n) float32, NaN where unknown, and which are known, (B,) bool; both on
            the device of the keys.

        Raises:
            ValueError: keys of another type or shape.
        """
        wanted = _as_list(keys)
        missing = {key for key in wanted if key not in self._memory}
        if missing and self._files is not None:
            self._memory.update(self._files.find(missing))
        rows = torch.full((len(wanted), self._dim), torch.nan)
        known = torch.zeros(len(wanted), dtype=torch.bool)
        for position, key in enumerate(wanted):
            if key in self._memory:
                rows[position] = self._memory[key]
                known[position] = True
        self._forget_oldest()
        return rows.to(keys.device), known.to(keys.device)

    def add(self, keys: Tensor, embeddings: Tensor) -> None:
        """Keep embeddings in memory and, those that are in no file yet, in one new file.

        Args:
            keys: (B,) int64. What is already known under a key stays.
            embeddings: (B, n), finite.

        Raises:
            ValueError: shapes that do not fit, or embeddings that are not finite.
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
                "stored; look at the images and at the precision of the space"
            )
        # Copies: the caller may write to the tensor, and a tensor of inference mode is bound to it.
        with torch.inference_mode(False):
            rows = torch.empty(embeddings.shape).copy_(embeddings.detach())
            new = {
                key: row.clone()
                for key, row in zip(names, rows, strict=True)
                if key not in self._memory
            }
        self._memory.update(new)
        fresh = {key: row for key, row in new.items() if self._files and key not in self._files}
        if fresh and self._files is not None:
            self._files.write(fresh)
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        excess = max(len(self._memory) - self._max_rows, 0)
        for key in list(self._memory)[:excess] if excess else ():
            del self._memory[key]


def _as_list(keys: Tensor) -> list[int]:
    if keys.dtype != torch.int64 or keys.ndim != 1:
        raise ValueError(
            f"keys are {keys.dtype} of shape {tuple(keys.shape)}; expected int64 of shape (B,)"
        )
    return [int(key) for key in keys.tolist()]


def _slug(name: str) -> str:
    """A folder name that reads like the space's and is never another space's."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:60].strip(".")
    return f"{readable}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"
