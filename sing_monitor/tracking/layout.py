"""Where a run keeps what: names of folders, files, tags and metrics, and sheets of thumbnails."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sing_monitor.findings import named_key
from sing_monitor.untrusted.pictures import opened

SCHEMA = "1"
MARKER_TAG = "sing_monitor"
TILE = 64
TILES_PER_ROW = 16
# Ends of the names of marks, see `Layout.mark`.
BEGUN, COMPLETE = ".begun.json", ".complete.json"

# Nanoseconds until the year 2262; the tables of Parquet hold no larger numbers.
_LAST = 2**63 - 1
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_TABLE = re.compile(r"[a-z_]+")
_IMAGE_ID = re.compile(r"[0-9a-f]{16}")
_VALIDATION = re.compile(r"epoch=(\d+)-step=(\d+)")
_MARK = re.compile(rf"({_VALIDATION.pattern})\.(\d+)({re.escape(BEGUN)}|{re.escape(COMPLETE)})")
_SCHEMA_TAG = re.compile(rf"sing\.(?:({_NAME.pattern})\.)?schema")


@dataclass(frozen=True)
class Layout:
    """Names of everything one monitor stores in a run.

    Args:
        name: of the monitor, for runs that have several; letters, digits, ``_`` and ``-``.

    Raises:
        ValueError: if the name holds anything else.

    Example::

        >>> Layout().table("classes", epoch=7, step=1234)
        'sing/epoch=0007-step=00001234/classes.parquet'
        >>> Layout("aux").tag("schema")
        'sing.aux.schema'
    """

    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a monitor cannot be called {self.name!r}; use letters, digits, '_' and '-'."
            )

    @property
    def folder(self) -> str:
        """The artifact folder that holds everything else."""
        return "sing" if self.name is None else f"sing.{self.name}"

    @property
    def config(self) -> str:
        """The settings of the monitor."""
        return f"{self.folder}/config.json"

    @property
    def snapshot(self) -> str:
        """The last snapshot."""
        return f"{self.folder}/snapshot.safetensors"

    @property
    def sprites(self) -> str:
        """The folder with the sheets of thumbnails."""
        return f"{self.folder}/sprites"

    def tag(self, key: str) -> str:
        """The run's tag for ``key``."""
        return f"{self.folder}.{key}"

    def tags(self, all_tags: Mapping[str, str]) -> dict[str, str]:
        """This monitor's tags among all tags of a run, by key."""
        start = f"{self.folder}."
        found = {k.removeprefix(start): v for k, v in all_tags.items() if k.startswith(start)}
        return {key: value for key, value in found.items() if "." not in key}

    def validation(self, epoch: int, step: int) -> str:
        """The folder of one analysed validation; ``step`` is the trainer's global step."""
        return f"{self.folder}/epoch={epoch:04d}-step={step:08d}"

    def table(self, table: str, epoch: int, step: int) -> str:
        """The file of one table.

        Raises:
            ValueError: if the table's name could lead out of the folder.
        """
        if not _TABLE.fullmatch(table):
            raise ValueError(f"no table is called {table!r}; names hold only a-z and '_'.")
        return f"{self.validation(epoch, step)}/{table}.parquet"

    def mark(self, end: str, epoch: int, step: int, when: int) -> str:
        """The file that is stored before the others of a validation, or after them.

        A validation whose last beginning has no end is not whole; what earlier versions stored has
        neither. They lie beside its folder: one listing tells which validations are whole.

        Args:
            end: `BEGUN` or `COMPLETE`.
            epoch: of the validation.
            step: the trainer's global step.
            when: number of the try, larger than that of earlier ones.
        """
        return f"{self.validation(epoch, step)}.{when}{end}"

    def sheet(self, ids: Sequence[str], epoch: int, step: int) -> str:
        """A sheet of thumbnails, without suffix.

        The name depends on the images: a validation that is repeated after a resume brings other
        new images, and must not replace the sheet that holds the first ones.
        """
        digest = hashlib.blake2s("".join(ids).encode(), digest_size=4).hexdigest()
        return f"{self.sprites}/epoch={epoch:04d}-step={step:08d}-{digest}"

    def metric(self, key: str) -> str:
        """The catalogue's key as this monitor logs it."""
        return named_key(key, self.name)

    def catalogue_key(self, metric: str) -> str | None:
        """Back from a logged metric to the catalogue's key, or None if it is not this monitor's."""
        group, slash, rest = metric.partition("/")
        own, _, name = group.partition(".")
        return f"{own}/{rest}" if slash and name == (self.name or "") else None


def monitor_names(tags: Mapping[str, str]) -> list[str | None]:
    """Names of the monitors that stored something in a run, from the run's tags."""
    found = (_SCHEMA_TAG.fullmatch(tag) for tag in sorted(tags))
    return [match[1] for match in found if match]


def parse_validation(path: str) -> tuple[int, int] | None:
    """Epoch and step of a validation's folder, or None for any other path."""
    match = _VALIDATION.fullmatch(path.rpartition("/")[2])
    return (int(match[1]), int(match[2])) if match else None


def validation_tries(paths: Iterable[str]) -> dict[tuple[int, int], int | None]:
    """The last try of each validation by epoch and step, in order, from what lies in the folder.

    None stands for one that is not whole, 0 for one that an earlier version left without marks.

    Example::

        >>> validation_tries(["sing/epoch=0007-step=00001234.5.begun.json"])
        {(7, 1234): None}
    """
    folders = set()
    last: dict[str, dict[tuple[int, int], int]] = {BEGUN: {}, COMPLETE: {}}
    for path in paths:
        if pair := parse_validation(path):
            folders.add(pair)
        elif match := _MARK.fullmatch(path.rpartition("/")[2]):
            pair, when, tries = (int(match[2]), int(match[3])), int(match[4]), last[match[5]]
            tries[pair] = max(when, tries.get(pair, -1))
    begun, complete = last[BEGUN], last[COMPLETE]
    is_whole = {
        pair: begun.get(pair, -1) <= complete.get(pair, -1) for pair in folders | begun.keys()
    }
    return {
        pair: complete.get(pair, 0) if is_whole[pair] else None
        for pair in sorted(is_whole)
        # Marks alone tell of tables that are on their way, or gone.
        if pair in folders or not is_whole[pair]
    }


def last_try(paths: Iterable[str]) -> int:
    """The largest number of a try in the names of marks; -1 where there are none.

    Numbers that no clock gives are left out.

    Example::

        >>> last_try(["sing/epoch=0007-step=00001234.5.begun.json", "sing/config.json"])
        5
    """
    marks = (_MARK.fullmatch(path.rpartition("/")[2]) for path in paths)
    return max((when for mark in marks if mark and (when := int(mark[4])) < _LAST), default=-1)


def check_thumbnail(image_id: str, image: NDArray[np.uint8]) -> None:
    """Refuse what does not fit a sheet.

    Raises:
        ValueError: if the id is not 16 hex digits, or the image is not (64, 64, 3) uint8.
    """
    if not _IMAGE_ID.fullmatch(image_id):
        raise ValueError(f"image id {image_id!r} is not 16 hex digits (0-9, a-f).")
    if image.shape != (TILE, TILE, 3) or image.dtype != np.uint8:
        raise ValueError(
            f"thumbnail {image_id} is {image.shape} {image.dtype}, expected (64, 64, 3) uint8."
        )


def save_sheet(path: Path, images: Sequence[NDArray[np.uint8]]) -> None:
    """Write images (64, 64, 3) as one PNG grid, row by row, 16 in a row."""
    from PIL import Image

    rows = -(-len(images) // TILES_PER_ROW)
    columns = min(len(images), TILES_PER_ROW)
    sheet = np.zeros((rows * TILE, columns * TILE, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        y, x = (TILE * at for at in divmod(index, TILES_PER_ROW))
        sheet[y : y + TILE, x : x + TILE] = image
    # A third of the default level's time, for 2 to 3 % more bytes.
    Image.fromarray(sheet).save(path, format="PNG", compress_level=2)


def load_sheet(path: Path) -> list[NDArray[np.uint8]]:
    """All tiles of a grid in order, with the black ones that fill its last row.

    Raises:
        ValueError: if it is no grid of tiles, or too large; its header says so.
    """
    with opened(path) as file:
        if file.width % TILE or file.height % TILE or file.width > TILES_PER_ROW * TILE:
            raise ValueError(f"it is {file.width} by {file.height} pixels, no sheet of thumbnails")
        sheet = np.asarray(file.convert("RGB"))
    rows, columns = sheet.shape[0] // TILE, sheet.shape[1] // TILE
    tiles = sheet.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
    return [tile.copy() for tile in tiles]
