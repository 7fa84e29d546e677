"""A plain folder as a tracker: no server, no database, and every run a folder that can be copied.

A folder of runs holds::

    sing-monitor.json            says that this is a folder of runs
    <run>/run.json               name, experiment, status, start and end
    <run>/tags.json
    <run>/scalars.parquet        columns metric, step, timestamp (ms), value: one row per point
    <run>/sing/...               tables, settings, thumbnails, as sing_monitor.tracking.writer says

Every file is replaced as a whole, so that a killed process leaves a readable run, and processes
that write different runs never meet. One process at a time writes to a run.
"""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sing_monitor.tracking.backend import CURVE_COLUMNS, POINT_COLUMNS, StoredRun
from sing_monitor.tracking.disk.whole_files import write_whole
from sing_monitor.tracking.errors import (
    ArtifactNotFoundError,
    NoStoreError,
    NotFoundError,
    RunNotFoundError,
    StoreError,
    reason,
)
from sing_monitor.tracking.folder_files import (
    RUN,
    SCALARS,
    TAGS,
    as_json,
    is_run,
    points_of,
    read_json,
    reading,
    stored_run,
)
from sing_monitor.tracking.layout import MARKER_TAG
from sing_monitor.tracking.spool import SPOOL_DIR

if TYPE_CHECKING:
    from pandas import DataFrame

MARKER = "sing-monitor.json"
_ABOUT = "This folder holds runs of sing-monitor, each in a folder of its own."
_DEFAULT_EXPERIMENT = "Default"
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_SLUG_LENGTH = 40


@dataclass(frozen=True)
class FolderStore:
    """A folder of runs; see :class:`sing_monitor.tracking.backend.Store`.

    Args:
        uri: a path.
    """

    uri: str

    @classmethod
    def takes(cls, uri: str) -> bool:
        """Any path, so this kind of store is asked last."""
        return True

    @classmethod
    def found_again(cls, uri: str, folder: Path) -> str:
        """The path from the root."""
        return str(folder / uri)

    @property
    def root(self) -> Path:
        """The folder."""
        return Path(self.uri).expanduser()

    @property
    def address(self) -> str:
        """The path."""
        return self.uri

    @property
    def place(self) -> str:
        """The folder as a sentence mentions it."""
        return f"the folder {self.uri}"

    @property
    def at_a_time(self) -> int:
        """One file after the other."""
        return 1

    @property
    def own_spool(self) -> Path:
        """On the same disk, where moving a file takes no time."""
        return self.root / SPOOL_DIR

    def check(self) -> None:
        """A disk is not asked: it answers at once."""

    def logged_prefix(self, prefix: str) -> str:
        """Nothing: no logger writes here."""
        return ""

    def create_run(
        self,
        *,
        run_name: str | None = None,
        experiment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> FolderRun:
        """A new run in a folder named after it; the folder of runs is made where it is missing.

        Raises:
            StoreError: if the disk refuses.
        """
        now = time.time()
        name = run_name or datetime.fromtimestamp(now).strftime("%Y-%m-%d %H:%M")
        slug = _UNSAFE.sub("-", name).strip("-")[:_SLUG_LENGTH]
        run_id = f"{slug}-{uuid.uuid4().hex[:8]}".lstrip("-")
        root = self.root.absolute()
        about = {
            "run_name": name,
            "experiment": experiment or _DEFAULT_EXPERIMENT,
            "status": "RUNNING",
            "start_time": round(1000 * now),
            "end_time": None,
        }
        try:
            folder = root / run_id
            folder.mkdir(parents=True)
            write_whole(root / MARKER, as_json({"about": _ABOUT}), half_in=folder)
            write_whole(folder / TAGS, as_json(tags or {}))
            write_whole(folder / RUN, as_json(about))
        except OSError as error:
            raise StoreError(f"{self.place} cannot be written: {reason(error)}.") from None
        return FolderRun(root, run_id)

    def resume_run(self, run_id: str) -> FolderRun:
        """A run that is written to again, and runs."""
        run = self.open_run(run_id)
        run.resume()
        return run

    def open_run(self, run_id: str) -> FolderRun:
        """A run that gets further files."""
        self._folder(run_id)
        return FolderRun(self.root.absolute(), run_id)

    def stamp(self) -> None:
        """None: a folder has no mark that all of its runs share."""

    def runs(self, experiment: str | None = None) -> list[StoredRun]:
        """Runs that a monitor wrote to, newest first."""
        self._look()
        with reading(self.root):
            names = [entry.name for entry in os.scandir(self.root) if is_run(entry)]
        found = [stored_run(self.root / name) for name in names]
        found = [run for run in found if run.tags.get(MARKER_TAG) == "true"]
        if experiment is not None:
            known = sorted({run.experiment for run in found})
            if experiment not in known:
                raise NotFoundError(
                    f"{self.place} has no experiment {experiment!r}; "
                    f"it has {', '.join(known) or 'none'}."
                )
            found = [run for run in found if run.experiment == experiment]
        return sorted(found, key=lambda run: (run.start_time or 0, run.run_id), reverse=True)

    def renewed(self, known: Sequence[StoredRun]) -> list[StoredRun]:
        """All runs: a disk answers at once."""
        return self.runs()

    def run(self, run_id: str) -> StoredRun:
        """One run."""
        return stored_run(self._folder(run_id))

    def files(self, run_id: str, folder: str) -> list[str]:
        """Paths of what lies in a folder of the run, sorted."""
        inside = self._folder(run_id) / folder
        with reading(inside):
            names = os.listdir(inside) if inside.is_dir() else []
        # A dot marks what is not written to its end.
        return sorted(f"{folder}/{name}" for name in names if not name.startswith("."))

    @contextmanager
    def read_file(self, run_id: str, path: str) -> Iterator[Path]:
        """The file itself."""
        folder = self._folder(run_id)
        if not (folder / path).is_file():
            present = self.files(run_id, path.rpartition("/")[0])
            raise ArtifactNotFoundError.at(run_id, path, present, str(folder))
        yield folder / path

    def histories(self, run_ids: Sequence[str], metrics: Sequence[str]) -> DataFrame:
        """All points of some metrics, from one file of each run."""
        import pandas as pd

        parts = [
            points_of(self._folder(run_id), metrics).assign(run_id=run_id) for run_id in run_ids
        ]
        return pd.concat(parts, ignore_index=True)[list(CURVE_COLUMNS)]

    def _look(self) -> None:
        """Raise `StoreError` if this is no folder of runs."""
        with reading(self.root):
            if (self.root / MARKER).is_file():
                return
            is_folder, is_there = self.root.is_dir(), self.root.exists()
            is_empty = is_folder and not any(self.root.iterdir())
        if not is_there:
            raise NoStoreError(
                f"there is no folder {self.uri}; give the one that the training wrote to."
            )
        if not is_folder:
            raise StoreError(
                f"{self.uri} is a file; give a folder of runs, or the tracking URI of an MLflow "
                "store, such as sqlite:///mlflow.db."
            )
        if not is_empty:
            raise NoStoreError(
                f"{self.uri} is no folder of runs: it has no {MARKER}, and no MLflow store either: "
                "no folder in it has a meta.yaml. Give the folder that the training wrote to."
            )

    def _folder(self, run_id: str) -> Path:
        self._look()
        folder = self.root / run_id
        # A path in place of a name could lead out of the folder.
        is_name = run_id == folder.name and not run_id.startswith(".")
        if not is_name or not (folder / RUN).is_file():
            raise RunNotFoundError(f"{self.place} has no run {run_id!r}; it may have been deleted.")
        return folder


class FolderRun:
    """One run in a folder of runs, for writing; see :class:`sing_monitor.tracking.backend.Run`.

    Args:
        root: the folder of runs.
        run_id: the name of the run's folder.
    """

    # No logger writes to a folder, so nothing is waited for.
    logger_seconds = 0.0

    def __init__(self, root: Path, run_id: str) -> None:
        self.run_id = run_id
        self.store = FolderStore(str(root))
        self.folder = root / run_id

    def put_files(self, folder: str, files: Sequence[Path]) -> None:
        """Move files to a folder of the run."""
        place = self.folder / folder
        place.mkdir(parents=True, exist_ok=True)
        for file in files:
            try:
                os.replace(file, place / file.name)
            # From another disk, a file can only be copied.
            except OSError:
                write_whole(place / file.name, partial(shutil.copyfile, file))

    def put_tags(self, tags: Mapping[str, str]) -> None:
        """Store tags over those of the same key."""
        self._merge(TAGS, tags)

    def put_scalars(self, values: Mapping[str, float], step: int, timestamp: int) -> None:
        """Add points to those of the run."""
        import pandas as pd

        rows = [(name, step, timestamp, float(value)) for name, value in values.items()]
        added = pd.DataFrame(rows, columns=list(POINT_COLUMNS))
        points = pd.concat([points_of(self.folder), added], ignore_index=True)
        write_whole(self.folder / SCALARS, lambda path: points.to_parquet(path, index=False))

    def has_scalar(self, name: str, value: float, since: int) -> bool:
        """Whether a metric has had a value at a time or later."""
        points = points_of(self.folder, [name])
        return bool(((points["value"] == value) & (points["timestamp"] >= since)).any())

    def resume(self) -> None:
        """Say that it runs again."""
        self._merge(RUN, {"status": "RUNNING", "end_time": None})

    def finish(self, status: str) -> None:
        """Say how it ended."""
        self._merge(RUN, {"status": status, "end_time": round(1000 * time.time())})

    def _merge(self, name: str, changes: Mapping[str, Any]) -> None:
        known = read_json(self.folder / name)
        write_whole(self.folder / name, as_json({**known, **changes}))
