"""Read back what a monitor stored in one run: curves, tables, thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sing_monitor import analyses
from sing_monitor.alerts import parse_fired
from sing_monitor.snapshot import Snapshot
from sing_monitor.tracking.backend import Store
from sing_monitor.tracking.disk.joined_tables import JoinedFile, Place, load_joined
from sing_monitor.tracking.errors import reason
from sing_monitor.tracking.layout import (
    Layout,
    load_sheet,
    validation_tries,
)
from sing_monitor.tracking.runs import STAGE, curves_of_runs, other_metrics
from sing_monitor.tracking.stores import open_store
from sing_monitor.untrusted.plain_json import read_mapping, read_texts
from sing_monitor.untrusted.settings import checked_settings
from sing_monitor.untrusted.tables import check_columns, read_table

if TYPE_CHECKING:
    from pandas import DataFrame

_TRAINING = 0.0  # in monitor/stage


@dataclass(frozen=True)
class Listing:
    """What one look into the folder of a run tells.

    Args:
        whole: epoch and global step of each validation that left all of its tables, in order, with
            the number of the try that stored them: another one if they are stored again, 0 where
            an earlier version kept none.
        incomplete: the others, in order.
        joined: files with tables of several validations.
    """

    whole: dict[tuple[int, int], int]
    incomplete: list[tuple[int, int]]
    joined: list[JoinedFile]


@dataclass(frozen=True)
class RunReader:
    """Reads one monitor's findings from one run. Building it costs nothing and asks nobody.

    Every method raises `StoreError` if the store cannot be reached, `RunNotFoundError` if it has
    no such run, and ValueError if a file is damaged.

    Args:
        uri: of the store: a tracking URI of MLflow's, or a folder of runs.
        run_id: the run.
        name: of the monitor, as given to the callback.
    """

    uri: str
    run_id: str
    name: str | None = None

    @property
    def store(self) -> Store:
        """The store that holds the run."""
        return open_store(self.uri)

    @property
    def layout(self) -> Layout:
        """Where the monitor keeps what."""
        return Layout(self.name)

    def config(self) -> dict[str, Any]:
        """The settings of the monitor.

        Raises:
            ArtifactNotFoundError: if none were stored.
        """
        with self._artifact(self.layout.config) as path:
            return checked_settings(read_mapping(path))

    def validations(self) -> list[tuple[int, int]]:
        """Epoch and global step of each validation that left tables, in order.

        Those of which some are missing are absent; :meth:`incomplete` has them.
        """
        return list(self.listing().whole)

    def incomplete(self) -> list[tuple[int, int]]:
        """Epoch and global step of each validation whose files have not all arrived, in order.

        They may be on their way, wait in a spool for ``sing-monitor sync``, or be lost with a
        process that was killed.
        """
        return self.listing().incomplete

    def listing(self) -> Listing:
        """:meth:`validations`, :meth:`incomplete` and joined files, from one question."""
        paths = self._files(self.layout.folder)
        tries = validation_tries(paths)
        return Listing(
            whole={pair: when for pair, when in tries.items() if when is not None},
            incomplete=[pair for pair, when in tries.items() if when is None],
            joined=[found for path in paths if (found := JoinedFile.at(path)) is not None],
        )

    def tables(self, epoch: int, step: int) -> list[str]:
        """Names of the tables that one validation left, sorted."""
        found = map(Path, self._files(self.layout.validation(epoch, step)))
        return [path.stem for path in found if path.suffix == ".parquet"]

    def table(
        self,
        table: str,
        epoch: int,
        step: int,
        columns: Sequence[str] | None = None,
        where: tuple[str, object] | None = None,
        *,
        file: bytes | None = None,
    ) -> DataFrame:
        """One table of one validation, as it was written.

        Args:
            table: its name.
            epoch: of the validation.
            step: the trainer's global step.
            columns: to read, as far as the table has them; None: all.
            where: a column and the value of the rows to read; None: all rows.
            file: from :meth:`table_file`; None: the store is asked for it.

        Raises:
            ValueError: if the table's name holds anything but ``a-z`` and ``_``.
            ArtifactNotFoundError: if it is not there; the sentence says what is.
        """
        import pandas as pd

        filters = None if where is None else [(where[0], "==", where[1])]
        path = self.layout.table(table, epoch, step)
        stored = self.store.read_file(self.run_id, path) if file is None else nullcontext(file)
        with stored as source, self._readable(path):
            frame = read_table(source, columns, filters)
            spec = analyses.TABLES.get(table)
            check_columns(frame, [each.name for each in spec.columns] if spec else (), table)
        # Parquet brings lists back as arrays.
        for column, kind in frame.dtypes.items():
            values = frame[column] if pd.api.types.is_object_dtype(kind) else ()
            if any(isinstance(value, np.ndarray) for value in values):
                frame[column] = pd.Series(map(_as_list, values), frame.index, dtype=object)
        return frame

    def table_file(self, table: str, epoch: int, step: int) -> bytes:
        """The file of one table, to be read by :meth:`table` later. Raises as that does."""
        with self._artifact(self.layout.table(table, epoch, step)) as path:
            return path.read_bytes()

    def joined_files(self, joined: JoinedFile) -> dict[Place, bytes]:
        """The files of one table of several validations, as of :meth:`table_file`.

        What is damaged is absent; :meth:`table_file` has it. Raises as that does.
        """
        with self._artifact(joined.path) as path:
            return load_joined(path)

    def snapshot(self) -> Snapshot:
        """The last stored snapshot.

        Raises:
            ArtifactNotFoundError: if none was stored.
        """
        with self._artifact(self.layout.snapshot) as path:
            return Snapshot.load(path)

    def scalars(self, keys: Sequence[str] | None = None, others: Sequence[str] = ()) -> DataFrame:
        """The curves: one row for each validation, sorted by the tracker's step.

        Columns: epoch, global_step (join tables by these two), step (the tracker's), timestamp
        (UTC, when it was logged), then one for each metric. NaN stands for what was not logged and
        for infinities. Where a resumed run logged a step again, the newest value counts; so it
        does where the trainer came by the same epoch and global step at another step.

        Args:
            keys: of the catalogue; None: all that this monitor logged.
            others: further metrics of the run at the same steps, from :meth:`other_metrics`.
        """
        run = self.store.run(self.run_id)
        return curves_of_runs(self.store, [(run, self.layout)], keys, others)[0]

    def alerts(self) -> dict[str, int]:
        """The alerts that fired, by name, and in which epoch; the config has their messages."""
        tags = self.layout.tags(self.store.run(self.run_id).tags)
        return parse_fired(tags.get("alerts"))

    def other_metrics(self) -> list[str]:
        """Metrics of the run that no monitor logged, such as its own accuracy and loss."""
        return other_metrics(self.store, self.store.run(self.run_id), self.layout)

    def thumbnails(self, ids: Iterable[str]) -> dict[str, NDArray[np.uint8]]:
        """Images (64, 64, 3) by id. Ids that the run does not hold are absent."""
        missing = set(ids)
        found: dict[str, NDArray[np.uint8]] = {}
        for sheet, on_sheet in self.sheets() if missing else ():
            here = missing & set(on_sheet)
            if here:
                with self._artifact(f"{sheet}.png") as path:
                    tiles = _named(on_sheet, load_sheet(path))
                found |= {key: tiles[key] for key in here}
                missing -= here
            if not missing:
                break
        return found

    def sheets(self) -> Iterator[tuple[str, list[str]]]:
        """The sheets of thumbnails, newest first: path without suffix, ids in tile order."""
        for listed in reversed(self._files(self.layout.sprites)):
            if listed.endswith(".json"):
                with self._artifact(listed) as path:
                    ids = read_texts(path)
                yield listed.removesuffix(".json"), ids

    def _files(self, folder: str) -> list[str]:
        return self.store.files(self.run_id, folder)

    @contextmanager
    def _artifact(self, path: str) -> Iterator[Path]:
        """One file of the run on the local disk, for the length of the block."""
        with self.store.read_file(self.run_id, path) as local, self._readable(path):
            yield local

    @contextmanager
    def _readable(self, path: str) -> Iterator[None]:
        """What the block stumbles over in a file of the run becomes a sentence."""
        try:
            yield
        # What reads a damaged file raises whatever it stumbles over.
        except Exception as error:
            raise ValueError(
                f"{path} of run {self.run_id} cannot be read: {reason(error)}. "
                "It is damaged, or another version wrote it."
            ) from None


def training_epochs(uri: str, run_id: str, name: str | None) -> set[int]:
    """Epochs of trainings that a run holds; none where it cannot be read.

    A validation by itself, outside a training, leaves no such epoch.

    Args:
        uri: of the store.
        run_id: of the run.
        name: of the monitor.
    """
    try:
        open_store(uri).check()
        found = RunReader(uri, run_id, name).scalars([STAGE])
        return {int(epoch) for epoch in found["epoch"][found[STAGE] == _TRAINING].dropna()}
    # A store that cannot be read is said by whoever writes to it.
    except (OSError, LookupError, ValueError):
        return set()


def _named(ids: Sequence[str], tiles: Sequence[NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """Tiles of a sheet by id; the last ones, which only fill it, have none."""
    if len(ids) > len(tiles):
        raise ValueError(f"it has {len(tiles)} thumbnails for {len(ids)} ids")
    return dict(zip(ids, tiles, strict=False))


def _as_list(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value
