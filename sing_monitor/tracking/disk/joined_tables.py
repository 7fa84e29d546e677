"""Files of a table of several validations in one, so that a server is asked once for all of them.

A joined file is only a second copy. Each part bears the number of the try that stored it and a
digest: a validation that was stored again since, and a damaged part, are read from the table's own
file, as is what no joined file holds.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sing_monitor.untrusted.tables import read_table

# Files of as many validations lie in one, or fewer that are large: a training holds them until
# then.
MOST_PARTS = 8
MOST_BYTES = 8_000_000
# More rows than any version has joined are refused before they are decoded.
MOST_ROWS = 1_000

_PATH = re.compile(r".*/([a-z_]+)\.(\d+)-(\d+)\.joined\.parquet")
_PLACE = ["epoch", "step", "when"]


@dataclass(frozen=True, order=True)
class Place:
    """Where a file comes from: a validation, and the number of the try that stored it."""

    epoch: int
    step: int
    when: int


@dataclass(frozen=True)
class JoinedFile:
    """A joined file, as its name tells of it.

    Args:
        path: in the run.
        table: the name of the table.
        first: number of the first try that it holds.
        last: of the last one.

    Example::

        >>> JoinedFile.at("sing/classes.5-9.joined.parquet")
        JoinedFile(path='sing/classes.5-9.joined.parquet', table='classes', first=5, last=9)
    """

    path: str
    table: str
    first: int
    last: int

    @classmethod
    def at(cls, path: str) -> JoinedFile | None:
        """None where the path is that of another file."""
        match = _PATH.fullmatch(path)
        return cls(path, match[1], int(match[2]), int(match[3])) if match else None

    def may_hold(self, when: int) -> bool:
        """Whether a try was stored while the file was filled."""
        return self.first <= when <= self.last


class Joiner:
    """Holds the files of tables until there are enough to join."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[Place, bytes]] = {}

    def add(self, table: str, place: Place, file: bytes) -> None:
        """Hold the file of one table of one validation."""
        self._parts.setdefault(table, {})[place] = file

    def full(self) -> Iterator[tuple[str, Mapping[Place, bytes]]]:
        """The tables with enough files, which are let go; one file alone is not worth joining."""
        for table, parts in self._parts.items():
            if len(parts) >= MOST_PARTS or sum(map(len, parts.values())) >= MOST_BYTES:
                self._parts[table] = {}
                if len(parts) > 1:
                    yield table, parts


def joined_path(folder: str, table: str, parts: Iterable[Place]) -> str:
    """Where in a run a joined file lies: the numbers of the first and the last try tell the rest.

    Args:
        folder: of the monitor.
        table: name of the table.
        parts: that it holds.
    """
    tries = [part.when for part in parts]
    return f"{folder}/{table}.{min(tries)}-{max(tries)}.joined.parquet"


def save_joined(path: Path, parts: Mapping[Place, bytes]) -> None:
    """Write a joined file. What the footers of its parts repeat is compressed."""
    import pandas as pd

    table = pd.DataFrame([(p.epoch, p.step, p.when) for p in parts], columns=_PLACE)
    table["digest"] = [_digest(place, file) for place, file in parts.items()]
    table["file"] = list(parts.values())
    table.to_parquet(path, compression="zstd", index=False)


def load_joined(path: Path) -> dict[Place, bytes]:
    """The parts of a joined file that are whole.

    Raises:
        ValueError: if the file tells of more than `MOST_ROWS` parts.
        Exception: whatever a damaged file leads to.
    """
    rows = read_table(path, most_rows=MOST_ROWS).to_dict("records")
    found = {Place(*(int(row[key]) for key in _PLACE)): row for row in rows}
    return {
        place: row["file"]
        for place, row in found.items()
        if row["digest"] == _digest(place, row["file"])
    }


def _digest(place: Place, file: bytes) -> str:
    key = f"{place.epoch} {place.step} {place.when}\n".encode()
    return hashlib.blake2b(key + file, digest_size=16).hexdigest()
