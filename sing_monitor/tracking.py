"""Write findings to MLflow and read them back; nobody else needs to know where things lie.

A run holds, under ``sing/`` (``sing.<name>/`` for a named monitor)::

    config.json
    epoch=0007-step=00001234/<table>.parquet    one folder for each analysed validation
    sprites/<epoch, step, digest>.png + .json   thumbnails, and their ids in tile order
    snapshot.safetensors                        on demand

and tags ``sing.schema``, ``sing.reference``, ... Scalars are logged by the training framework.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from sing_monitor.findings import Findings
from sing_monitor.layout import MARKER_TAG, SCHEMA, Layout, check_thumbnail, save_sheet
from sing_monitor.reader import GLOBAL_STEP, RunReader
from sing_monitor.runs import list_runs
from sing_monitor.snapshot import Snapshot
from sing_monitor.spool import DeliveryError, Spool
from sing_monitor.store import (
    ArtifactNotFoundError,
    NotFoundError,
    RunNotFoundError,
    StoreError,
    check_answers,
    gather,
    reason,
    redact,
    short_waits,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "SCHEMA",
    "ArtifactNotFoundError",
    "DeliveryError",
    "Layout",
    "NotFoundError",
    "RunNotFoundError",
    "RunReader",
    "RunWriter",
    "StoreError",
    "gather",
    "list_runs",
    "redact",
]

# The shortest limit of any MLflow version; newer ones take 8,000.
_TAG_LENGTH = 5000
_TAGS = "tags.json"
_ARTIFACTS = "artifacts"


class RunWriter:
    """Writes one monitor's findings to one run.

    Everything goes to a local spool first and leaves it when MLflow has it. What MLflow does not
    take now is sent with the next call, or by the next process that writes to the same run.

    Every method raises `DeliveryError` if something has not arrived; its sentence says why, and
    whether it is kept or lost.

    Args:
        client: knows the tracking URI.
        run_id: the MLflow run.
        spool_dir: where the spools of all runs are kept.
        name: of the monitor, for runs that have several.

    Raises:
        ValueError: if the name cannot be part of a folder's name.

    Example::

        writer = RunWriter(MlflowClient("sqlite:///mlflow.db"), run_id, Path("spool"))
        writer.describe({"concepts": ["red"]}, {"reference": "text"})
        writer.write(findings, epoch=7, step=1234)
    """

    def __init__(
        self, client: MlflowClient, run_id: str, spool_dir: Path, name: str | None = None
    ) -> None:
        self.layout = Layout(name)
        self._client = client
        self._run_id = run_id
        self._uri = str(client.tracking_uri)
        self._reader = RunReader(self._uri, run_id, name)
        # A relative sqlite URI means nothing without the folder it is relative to.
        about = {
            "tracking_uri": redact(self._uri),
            "working_directory": str(Path.cwd()),
            "run_id": run_id,
            "name": name,
        }
        self._spool = Spool(Path(spool_dir) / run_id / self.layout.folder, about)
        self._groups: set[str] = set()
        self._tags = {MARKER_TAG: "true"}
        self._stored_ids: set[str] | None = None

    def describe(self, config: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Say how the findings come about; a resumed run keeps its first config.

        Args:
            config: settings that JSON can hold.
            tags: key -> value, stored as ``sing.<key>``, cut to MLflow's limit. Known keys are
                ``reference``, ``space``, ``head``, ``model`` and ``metric_prefix`` (the ``prefix``
                of the MLFlowLogger, without which the reader cannot find the curves).
        """
        text = json.dumps(config, indent=2, ensure_ascii=False)

        def keep() -> None:
            self._put_tags({"schema": SCHEMA, **tags})
            if not self._has_config():
                self._put(self.layout.config, lambda path: path.write_text(text, "utf-8"))

        self._keep_and_deliver("the settings", keep)

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
            for table, frame in findings.tables.items():
                self._put(self.layout.table(table, epoch, step), frame.to_parquet)
            if images:
                self._put_thumbnails(images, epoch, step)

        self._keep_and_deliver(f"the tables of epoch {epoch}", keep)

    def write_snapshot(self, snapshot: Snapshot) -> None:
        """Store the snapshot; a later one takes its place."""
        self._keep_and_deliver(
            f"the snapshot of epoch {snapshot.epoch}",
            lambda: self._put(self.layout.snapshot, snapshot.save),
        )

    @property
    def pending(self) -> int:
        """How many files have not reached MLflow yet."""
        return len(self._spool.files())

    def deliver(self) -> None:
        """Send what waits."""
        if not self._spool.files():
            return
        failure: Exception | None = None
        try:
            check_answers(self._uri)
            with short_waits():
                failure = self._spool.deliver(self._send)
        # Whatever a proxy answers, the files wait.
        except Exception as error:
            failure = error
        if failure is not None:
            raise DeliveryError(
                f"{self.pending} files could not be sent to MLflow at {redact(self._uri)}: "
                f"{reason(failure)}. They wait in {self._spool.folder} for the next try.",
                self.pending,
            ) from None

    def _keep_and_deliver(self, what: str, keep: Callable[[], None]) -> None:
        """A full disk must not stop the delivery: that is what makes room again."""
        lost: Exception | None = None
        try:
            keep()
        except (OSError, SafetensorError) as error:
            lost = error
        try:
            self.deliver()
        except DeliveryError:
            if lost is None:
                raise
        if lost is not None:
            raise DeliveryError(
                f"{what} were lost: {self._spool.folder} cannot be written: {reason(lost)}. "
                "Make room, or give another folder.",
                self.pending,
            ) from None

    def _put(self, path: str, write: Callable[[Path], object]) -> None:
        self._spool.put(f"{_ARTIFACTS}/{path}", write)

    def _put_tags(self, tags: Mapping[str, str]) -> None:
        """Tags that a full disk refuses come with the next ones: they are how a run is found."""
        self._tags |= {self.layout.tag(key): str(tags[key])[:_TAG_LENGTH] for key in tags}
        waiting = self._spool.folder / _TAGS
        old = json.loads(waiting.read_text("utf-8")) if waiting.exists() else {}
        text = json.dumps(old | self._tags)
        self._spool.put(_TAGS, lambda path: path.write_text(text, "utf-8"))
        self._tags = {}

    def _put_thumbnails(
        self, images: Mapping[str, NDArray[np.uint8]], epoch: int, step: int
    ) -> None:
        stored = self._known_ids()
        ids = [image_id for image_id in images if image_id not in stored]
        if ids:
            sheet = self.layout.sheet(ids, epoch, step)
            self._put(f"{sheet}.png", lambda path: save_sheet(path, [images[i] for i in ids]))
            self._put(f"{sheet}.json", lambda path: path.write_text(json.dumps(ids), "utf-8"))
            stored.update(ids)

    def _known_ids(self) -> set[str]:
        """Ids in the run and in the spool. While MLflow cannot say, only those in the spool."""
        if self._stored_ids is None:
            folder = self._spool.folder / _ARTIFACTS / self.layout.sprites
            known = {i for file in folder.glob("*.json") for i in json.loads(file.read_text())}
            try:
                check_answers(self._uri)
                known.update(i for _, ids in self._reader.sheets() for i in ids)
            # An image stored twice does no harm.
            except (OSError, LookupError, ValueError):
                return known
            self._stored_ids = known
        return self._stored_ids

    def _has_config(self) -> bool:
        try:
            check_answers(self._uri)
            self._reader.config()
        # A config that is stored again does no harm.
        except (OSError, LookupError, ValueError):
            return False
        return True

    def _send(self, file: Path) -> None:
        name = file.relative_to(self._spool.folder)
        if name == Path(_TAGS):
            from mlflow.entities import RunTag

            tags = json.loads(file.read_text("utf-8"))
            entities = [RunTag(key, value) for key, value in tags.items()]
            self._client.log_batch(self._run_id, tags=entities, synchronous=True)
        else:
            folder = name.relative_to(_ARTIFACTS).parent.as_posix()
            self._client.log_artifact(self._run_id, str(file), folder)
