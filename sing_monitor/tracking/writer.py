"""Write findings to a run; nobody else needs to know where things lie.

A run holds, under ``sing/`` (``sing.<name>/`` for a named monitor)::

    config.json
    epoch=0007-step=00001234/<table>.parquet    one folder for each analysed validation
    epoch=0007-step=00001234.<when>.begun.json      stored before the tables of a validation,
    epoch=0007-step=00001234.<when>.complete.json   and after them: names of the tables
    <table>.<first>-<last>.joined.parquet       on a server: a table of the validations that were
                                                stored from one <when> to another, once more
    sprites/<epoch, step, digest>.png + .json   thumbnails, and their ids in tile order
    snapshot.safetensors                        on demand

and tags ``sing.schema``, ``sing.reference``, ... Scalars are logged by the training framework,
and kept here until they are seen in the run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sing_monitor import analyses
from sing_monitor.findings import Findings
from sing_monitor.snapshot import Snapshot
from sing_monitor.tracking.backend import Run
from sing_monitor.tracking.delivery import Delivery
from sing_monitor.tracking.disk.joined_tables import Joiner, Place, joined_path, save_joined
from sing_monitor.tracking.disk.kept_scalars import KeptScalars
from sing_monitor.tracking.disk.table_files import parquet
from sing_monitor.tracking.layout import (
    BEGUN,
    COMPLETE,
    MARKER_TAG,
    SCHEMA,
    Layout,
    check_thumbnail,
    last_try,
    save_sheet,
)
from sing_monitor.tracking.reader import RunReader
from sing_monitor.tracking.runs import GLOBAL_STEP
from sing_monitor.tracking.spool import Spool
from sing_monitor.untrusted.settings import analyses_by_epoch, with_analyses

if TYPE_CHECKING:
    from pandas import DataFrame


class RunWriter:
    """Writes one monitor's findings to one run.

    Everything goes to a local spool first and leaves it when the tracker has it. What the tracker
    does not take now is sent with the next call, by the next process that writes to the same run,
    or by ``sing-monitor sync``.

    Every method raises `DeliveryError` if something has not arrived; its sentence says why, and
    whether it is kept or lost. From the first write on, no other process with the same spool can
    write to the run: its writers raise `BusyError`, a `DeliveryError`.

    Args:
        run: to write to.
        spool_dir: where the spools of all runs are kept; a store that has a place of its own for
            them, such as a folder of runs, needs none.
        name: of the monitor, for runs that have several.

    Raises:
        ValueError: if the name cannot be part of a folder's name, or the store needs a place for
            spools.

    Example::

        run = create_run("runs/", run_name="resnet18")
        writer = RunWriter(run)
        writer.describe({"concepts": ["red"]}, {"reference": "text"})
        writer.write(findings, epoch=7, step=1234)
    """

    def __init__(self, run: Run, spool_dir: Path | None = None, name: str | None = None) -> None:
        self.layout = Layout(name)
        place = run.store.own_spool or spool_dir
        if place is None:
            raise ValueError(
                f"a run in {run.store.place} needs a folder for what waits: spool_dir."
            )
        self.spool_dir = Path(place)
        self.is_described = False
        self._run = run
        self._reader = RunReader(run.store.uri, run.run_id, name)
        # A relative address means nothing without the folder it is relative to.
        about = {
            "tracking_uri": run.store.address,
            "working_directory": str(Path.cwd()),
            "run_id": run.run_id,
            "name": name,
        }
        spool = Spool(self.spool_dir / run.run_id / self.layout.folder, about)
        self._delivery = Delivery(run, spool, {MARKER_TAG: "true"})
        self._groups: set[str] = set()
        self._stored_ids: set[str] | None = None
        self._last_try = -1
        self._knows_tries = False
        # Files on this machine are read where they lie: one by one costs nothing.
        self._joiner = Joiner() if run.store.at_a_time > 1 else None

    def describe(
        self, config: Mapping[str, Any], tags: Mapping[str, str], *, since: int = 0
    ) -> None:
        """Say how the findings come about.

        A resumed run keeps its first config, in which ``analyses_since`` says from which epoch on
        other analyses were chosen.

        Args:
            config: settings that JSON can hold.
            tags: key -> value, stored as ``sing.<key>``, cut to the tracker's limit. Known keys
                are ``reference``, ``space``, ``head``, ``model``, ``alerts`` and ``metric_prefix``
                (the ``prefix`` of the logger, without which the reader cannot find the curves).
            since: the first epoch that is written now.
        """
        chosen = config.get("analyses")

        def keep() -> None:
            self._put_tags({"schema": SCHEMA, **tags})
            stored = self._stored_config()
            if stored is None:
                self._put_config(config)
            elif analyses_by_epoch(stored)[-1].chosen != (chosen and tuple(chosen)):
                self._put_config(with_analyses(stored, chosen, since))

        self.is_described = True
        self._delivery.keep("the settings", keep)

    def write(
        self,
        findings: Findings,
        *,
        epoch: int,
        step: int,
        thumbnails: Mapping[str, NDArray[np.uint8]] | None = None,
    ) -> None:
        """Store the tables of one validation, and the thumbnails that the run lacks.

        Args:
            findings: tables are stored; scalars only tell the reader which groups exist.
            epoch: the trainer's current epoch.
            step: the trainer's global step.
            thumbnails: image id (16 hex digits) -> (64, 64, 3) uint8.

        Raises:
            ValueError: if a thumbnail or its id has the wrong form.
        """
        images = dict(thumbnails or {})
        for image_id, image in images.items():
            check_thumbnail(image_id, image)

        def keep() -> None:
            groups = {key.partition("/")[0] for key in (*findings.scalars, GLOBAL_STEP)}
            if not groups <= self._groups:
                self._put_tags({"groups": ",".join(sorted(groups | self._groups))})
                self._groups |= groups
            with self._validation(findings.tables, epoch, step) as when:
                self._put_tables(findings.tables, Place(epoch, step, when))
                if images:
                    self._put_thumbnails(images, epoch, step)
            self._put_joined()

        self._delivery.keep(f"the tables of epoch {epoch}", keep)

    def add_tables(self, tables: Mapping[str, DataFrame], *, epoch: int, step: int) -> None:
        """Store further tables of a validation that the run holds already, or newer ones."""

        def keep() -> None:
            with self._validation(tables, epoch, step) as when:
                self._put_tables(tables, Place(epoch, step, when))
            self._put_joined()

        self._delivery.keep(f"the tables of epoch {epoch}", keep)

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Store the snapshot; a later one takes its place."""
        self._delivery.keep(
            f"the snapshot of epoch {snapshot.epoch}",
            lambda: self._delivery.put_artifact(self.layout.snapshot, snapshot.save),
        )

    def write_tags(self, tags: Mapping[str, str]) -> None:
        """Store further tags of the run: key -> value, as in :meth:`describe`."""
        self._delivery.keep("the tags", lambda: self._put_tags(tags))

    def keep_scalars(
        self,
        scalars: Mapping[str, float],
        *,
        epoch: int,
        step: int,
        tracker_step: int,
        metric_prefix: str = "",
        by_logger: bool = True,
        others: Mapping[str, float] | None = None,
    ) -> None:
        """Keep what a logger is about to log, until a delivery finds it in the run.

        While a logger of this process may still bring it, deliveries only look. The last one of
        the process, or another process's, sends what is missing. To a run that no logger writes
        to, the next delivery sends it. What the disk refuses is said by the next delivery, too.

        Args:
            scalars: value by catalogue key.
            epoch: the trainer's current epoch.
            step: the trainer's global step.
            tracker_step: the step that the logger gives to the tracker.
            metric_prefix: the ``prefix`` of the logger.
            by_logger: whether a logger of this process brings them; else the next delivery does.
            others: further values of the same moment, by the name that they get.

        Raises:
            BusyError: if another process writes to the run.
        """
        prefix = self._run.store.logged_prefix(metric_prefix)
        witness = prefix + self.layout.metric(GLOBAL_STEP)
        metrics = {prefix + name: value for name, value in (others or {}).items()}
        metrics |= {prefix + self.layout.metric(key): value for key, value in scalars.items()}
        metrics |= {f"{prefix}epoch": float(epoch), witness: float(step)}
        kept = KeptScalars(metrics, tracker_step, int(time.time() * 1000), witness)
        name = f"epoch={epoch:04d}-step={step:08d}"
        what = f"the curves of epoch {epoch}"
        self._delivery.put_scalars(what, name, kept, by_logger=by_logger)

    def together(self) -> AbstractContextManager[None]:
        """Write several things in a block and deliver at its end: a server is asked only once."""
        return self._delivery.together()

    @property
    def address(self) -> str:
        """The store's, without credentials."""
        return self._run.store.address

    @property
    def pending(self) -> int:
        """How many files have not reached the tracker yet."""
        return self._delivery.pending

    def deliver(self, *, last: bool = False) -> None:
        """Send what waits; ``last``: no logger of this process sends anything from now on."""
        self._delivery.deliver(last=last)

    def close(self) -> None:
        """Let other processes write to the run; the end of this process does it, too."""
        self._delivery.close()

    @contextmanager
    def _validation(self, tables: Collection[str], epoch: int, step: int) -> Iterator[int]:
        """Marks around the tables of a validation; whoever dies in between leaves one.

        Gives the number of the try.
        """
        if not tables:
            yield time.time_ns()
            return
        when = self._next_try()
        text = json.dumps({"tables": sorted(tables)})

        def mark(end: str) -> None:
            self._delivery.put_artifact(
                self.layout.mark(end, epoch, step, when),
                lambda path: path.write_text(text, "utf-8"),
            )

        mark(BEGUN)
        yield when
        mark(COMPLETE)

    def _next_try(self) -> int:
        """The time in ns; after a larger number, as where the clock was set back, the next one."""
        if not self._knows_tries:
            self._last_try = max(self._last_try, self._stored_try())
        self._last_try = max(time.time_ns(), self._last_try + 1)
        return self._last_try

    def _stored_try(self) -> int:
        """The last one in the run and in the spool. While the store cannot say, in the spool."""
        waiting = [path.name for path in self._delivery.kept(f"{self.layout.folder}/*.json")]
        try:
            self._delivery.ask()
            stored = self._run.store.files(self._run.run_id, self.layout.folder)
        # The time alone is right, too, where the clock is.
        except (OSError, LookupError, ValueError):
            return last_try(waiting)
        self._knows_tries = True
        return last_try([*waiting, *stored])

    def _put_tables(self, tables: Mapping[str, DataFrame], place: Place) -> None:
        for table, frame in tables.items():
            file, spec = parquet(frame), analyses.TABLES.get(table)
            self._delivery.put_artifact(
                self.layout.table(table, place.epoch, place.step),
                partial(Path.write_bytes, data=file),
            )
            if self._joiner is not None and spec is not None and spec.is_followed:
                self._joiner.add(table, place, file)

    def _put_joined(self) -> None:
        """Once more, in one file, the tables of several validations that charts follow."""
        for table, parts in self._joiner.full() if self._joiner is not None else ():
            # A second copy that the disk refuses is no loss.
            with suppress(OSError):
                self._delivery.put_artifact(
                    joined_path(self.layout.folder, table, parts), partial(save_joined, parts=parts)
                )

    def _put_tags(self, tags: Mapping[str, str]) -> None:
        self._delivery.put_tags({self.layout.tag(key): str(tags[key]) for key in tags})

    def _put_thumbnails(
        self, images: Mapping[str, NDArray[np.uint8]], epoch: int, step: int
    ) -> None:
        stored = self._known_ids()
        ids = [image_id for image_id in images if image_id not in stored]
        if ids:
            sheet = self.layout.sheet(ids, epoch, step)
            put = self._delivery.put_artifact
            put(f"{sheet}.png", lambda path: save_sheet(path, [images[i] for i in ids]))
            put(f"{sheet}.json", lambda path: path.write_text(json.dumps(ids), "utf-8"))
            stored.update(ids)

    def _known_ids(self) -> set[str]:
        """Ids in the run and in the spool. While the store cannot say, only those of the spool."""
        if self._stored_ids is None:
            waiting = self._delivery.kept(f"{self.layout.sprites}/*.json")
            known = {i for file in waiting for i in json.loads(file.read_text())}
            try:
                self._delivery.ask()
                known.update(i for _, ids in self._reader.sheets() for i in ids)
            # An image stored twice does no harm.
            except (OSError, LookupError, ValueError):
                return known
            self._stored_ids = known
        return self._stored_ids

    def _put_config(self, config: Mapping[str, Any]) -> None:
        text = json.dumps(config, indent=2, ensure_ascii=False)
        self._delivery.put_artifact(self.layout.config, lambda path: path.write_text(text, "utf-8"))

    def _stored_config(self) -> dict[str, Any] | None:
        try:
            self._delivery.ask()
            return self._reader.config()
        # A config that is stored again does no harm.
        except (OSError, LookupError, ValueError):
            return None
