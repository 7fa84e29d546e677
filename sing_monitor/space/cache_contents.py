"""What the embedding cache holds on the disk, by space, and how it is emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sing_monitor.space.cache_files import chunk_files

UNREADABLE = "(unreadable)"


@dataclass(frozen=True)
class SpaceContents:
    """What is kept of one space.

    Args:
        space: its name; `UNREADABLE` for broken and foreign files.
        images: number of image embeddings.
        texts: number of text embeddings.
        bytes: of all its files.
    """

    space: str
    images: int
    texts: int
    bytes: int


def contents(root: Path) -> list[SpaceContents]:
    """What is kept of every space under a cache folder, by name; nothing where there is no folder.

    Two runs that embedded the same image at once both count.
    """
    counts: dict[str, dict[str, int]] = {}
    for path, space, entries in _described(root):
        count = counts.setdefault(space, {"images": 0, "texts": 0, "bytes": 0})
        count[path.parent.name] += entries
        with suppress(OSError):  # another process made room
            count["bytes"] += path.stat().st_size
    return [SpaceContents(space, **counts[space]) for space in sorted(counts)]


def clear(root: Path, space: str | None = None) -> int:
    """Delete the embeddings of one space, or of all; other files stay.

    Args:
        root: the cache folder.
        space: its name; None for all spaces and what is unreadable.

    Returns:
        How many bytes were freed.

    Raises:
        OSError: a file cannot be deleted.
    """
    freed = 0
    for path, found, _ in list(_described(root)):
        if space in (None, found):
            size = path.stat().st_size if path.exists() else 0
            path.unlink(missing_ok=True)
            freed += size
            # Empty now, or another process's.
            for folder in (path.parent, path.parent.parent):
                with suppress(OSError):
                    folder.rmdir()
    return freed


def _described(root: Path) -> Iterator[tuple[Path, str, int]]:
    """Each chunk file with its space and number of embeddings."""
    for path in chunk_files(root):
        try:
            with safe_open(path, framework="pt") as file:
                space = (file.metadata() or {}).get("space", UNREADABLE)
                yield path, space, file.get_slice("keys").get_shape()[0]
        except (OSError, SafetensorError, IndexError):
            yield path, UNREADABLE, 0
