"""Contents of the embedding cache on the disk, by space, and their deletion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sing_monitor.space.cache_files import OUTDATED, chunk_files, is_outdated

UNREADABLE = "(unreadable)"


@dataclass(frozen=True)
class SpaceContents:
    """Number and size of the cached embeddings of one space.

    Args:
        space: name of the space; `UNREADABLE` for broken and foreign files, `OUTDATED` for those of
            other versions.
        images: number of image embeddings.
        texts: number of text embeddings.
        bytes: size of all its files.
    """

    space: str
    images: int
    texts: int
    bytes: int


def list_contents(root: Path) -> list[SpaceContents]:
    """List the contents of a cache folder by space; an empty list if there is no folder.

    An image that two runs embedded at the same time counts twice.
    """
    counts: dict[str, dict[str, int]] = {}
    for path, space, entries in _described(root):
        count = counts.setdefault(space, {"images": 0, "texts": 0, "bytes": 0})
        count[path.parent.name] += entries
        with suppress(OSError):  # another process deleted it
            count["bytes"] += path.stat().st_size
    return [SpaceContents(space, **counts[space]) for space in sorted(counts)]


def clear(root: Path, space: str | None = None) -> int:
    """Delete the embeddings of one space, or of all; other files stay.

    Args:
        root: the cache folder.
        space: name of the space, `UNREADABLE` or `OUTDATED`; None for all.

    Returns:
        Number of bytes that were freed.

    Raises:
        OSError: if a file cannot be deleted.
    """
    freed = 0
    for path, found, _ in list(_described(root)):
        if space in (None, found):
            size = path.stat().st_size if path.exists() else 0
            path.unlink(missing_ok=True)
            freed += size
            # Fails if other files are left in it.
            for folder in (path.parent, path.parent.parent):
                with suppress(OSError):
                    folder.rmdir()
    return freed


def _described(root: Path) -> Iterator[tuple[Path, str, int]]:
    """Iterate over chunk files, with the space and number of embeddings of each."""
    for path in chunk_files(root):
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                count = int(file.get_slice("keys").get_shape()[0])
            space = metadata.get("space", UNREADABLE)
            yield path, OUTDATED if is_outdated(metadata) and space != UNREADABLE else space, count
        except (OSError, SafetensorError, IndexError):
            yield path, UNREADABLE, 0
