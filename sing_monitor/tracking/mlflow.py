"""MLflow as a tracker: a server, a database, or a folder of its own kind (``mlruns``)."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sing_monitor.tracking.addresses import shown_address
from sing_monitor.tracking.backend import StoredRun
from sing_monitor.tracking.errors import NotFoundError, StoreError, reason
from sing_monitor.tracking.mlflow_access import (
    check_answers,
    database_stamp,
    is_server,
    reaching,
    short_waits,
)
from sing_monitor.tracking.mlflow_bulk import database
from sing_monitor.tracking.mlflow_queries import (
    RUNNING,
    active_run,
    curves,
    download,
    experiments,
    local_root,
    monitored_runs,
    remember_root,
    stored_run,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowEntity
    from pandas import DataFrame

DEFAULT_URI = "sqlite:///mlflow.db"
# MLflow's own tries end within that time: 7 retries with pauses of up to two minutes.
PATIENCE_SECONDS = 1200.0
# The shortest limit of any MLflow version; newer ones take 8,000.
_TAG_LENGTH = 5000
_AT_A_TIME = 8
# The name of MLflow's setting: what it takes as an address, people expect us to take, too.
_URI_VARIABLE = "MLFLOW_TRACKING_URI"
_SCHEME = re.compile(r"[A-Za-z][\w+.-]+:")  # "C:" is a drive
_WITHOUT_SCHEME = ("databricks", "databricks-uc", "uc")


def default_uri(environment: Mapping[str, str] | None = None) -> str:
    """The address where none is given: MLFLOW_TRACKING_URI, else ``sqlite:///mlflow.db``.

    Args:
        environment: None: that of this process.
    """
    values = os.environ if environment is None else environment
    return values.get(_URI_VARIABLE) or DEFAULT_URI


def current_uri() -> str:
    """The address that MLflow's fluent functions use, where it was set; else the default."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is not None and mlflow.is_tracking_uri_set():
        return str(mlflow.get_tracking_uri())
    return default_uri()


def fluent_run() -> tuple[str, str] | None:
    """Address and id of the run that ``mlflow.start_run`` has made active; None without one."""
    mlflow = sys.modules.get("mlflow")
    if mlflow is None or (run := mlflow.active_run()) is None:
        return None
    return str(mlflow.get_tracking_uri()), str(run.info.run_id)


@dataclass(frozen=True)
class MlflowStore:
    """An MLflow tracking store; see :class:`sing_monitor.tracking.backend.Store`."""

    uri: str

    @classmethod
    def takes(cls, uri: str) -> bool:
        """Whether it has a scheme, or is a folder that MLflow has laid out."""
        return (
            bool(_SCHEME.match(uri))
            or uri in _WITHOUT_SCHEME
            or any(Path(uri).glob("[0-9]*/meta.yaml"))
        )

    @classmethod
    def found_again(cls, uri: str, folder: Path) -> str:
        """With its SQLite file named from the root, and the password of the environment.

        Example::

            >>> MlflowStore.found_again("sqlite:///mlflow.db", Path("/data/one"))
            'sqlite:////data/one/mlflow.db'
            >>> MlflowStore.found_again("http://127.0.0.1:5000", Path("/data/one"))
            'http://127.0.0.1:5000'
        """
        known = os.environ.get(_URI_VARIABLE, "")
        # Only what the address leaves out is missing in it.
        if known != uri and shown_address(known) == uri:
            return known
        if uri.startswith("sqlite"):
            from sqlalchemy.engine import make_url

            url = make_url(uri)
            if url.database and not url.database.startswith((":memory:", "file:")):
                return str(url.set(database=str(folder / url.database)))
        return uri

    @property
    def address(self) -> str:
        """The URI without credentials."""
        return shown_address(self.uri)

    @property
    def place(self) -> str:
        """The store as a sentence mentions it."""
        return f"MLflow at {self.address}"

    @property
    def at_a_time(self) -> int:
        """Eight questions to a server; threads would stand in the way of a local database."""
        return _AT_A_TIME if is_server(self.uri) else 1

    @property
    def own_spool(self) -> None:
        """No place: files may have a long way to go."""

    def check(self) -> None:
        """Ask a server for a sign of life; other stores are not asked."""
        check_answers(self.uri)

    def logged_prefix(self, prefix: str) -> str:
        """What Lightning's MLFlowLogger puts before every metric's name."""
        return re.sub(r"[^a-zA-Z0-9_/. -]+", "", prefix) + "-" if prefix else ""

    def create_run(
        self,
        *,
        run_name: str | None = None,
        experiment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> MlflowRun:
        """A new run; in MLflow's default experiment where none is named."""
        with self._using() as client:
            found = client.get_experiment_by_name(experiment or "Default")
            experiment_id = (
                found.experiment_id if found else client.create_experiment(experiment or "Default")
            )
            created = client.create_run(experiment_id, run_name=run_name, tags=dict(tags or {}))
        return MlflowRun(client, str(created.info.run_id))

    def resume_run(self, run_id: str) -> MlflowRun:
        """A run that is written to again, and runs."""
        run = self.open_run(run_id)
        with self._using() as client:
            client.update_run(run_id, status="RUNNING")
        return run

    def open_run(self, run_id: str) -> MlflowRun:
        """A run that gets further files."""
        from mlflow import MlflowClient

        with reaching(self.uri, run_id) as client:
            active_run(client, run_id)
        return MlflowRun(MlflowClient(self.uri), run_id)

    def stamp(self) -> Hashable | None:
        """That of a local database's files; a server has none."""
        return database_stamp(self.uri)

    def runs(self, experiment: str | None = None) -> list[StoredRun]:
        """Runs that a monitor wrote to, newest first; deleted ones are absent."""
        with reaching(self.uri) as client:
            known = dict(experiments(client))
            chosen = {key: name for key, name in known.items() if experiment in (None, name)}
            if experiment is not None and not chosen:
                raise NotFoundError(
                    f"{self.place} has no experiment {experiment!r}; "
                    f"it has {', '.join(sorted(known.values()))}."
                )
            if database.is_database(self.uri):
                found = database.monitored_runs(self.uri, chosen)
                for run, root in found:
                    remember_root(self.uri, run.run_id, root)
                return [run for run, _ in found]
            return self._stored(monitored_runs(client, list(chosen)), chosen)

    def renewed(self, known: Sequence[StoredRun]) -> list[StoredRun]:
        """Of a server, those that run, and those that have ended since the last end that is known.

        Its clock is not ours, and that of a training may be another one: where a run is neither,
        all are asked for.
        """
        ends = [run.end_time for run in known if run.end_time is not None]
        if not ends or database.is_database(self.uri):
            return self.runs()
        with reaching(self.uri) as client:
            names = dict(experiments(client))
            moved = self._stored(
                [
                    run
                    for condition in (RUNNING, f"attributes.end_time >= {max(ends)}")
                    for run in monitored_runs(client, list(names), condition)
                ],
                names,
            )
        new = {run.run_id: run for run in moved}
        if any(run.end_time is None and run.run_id not in new for run in known):
            return self.runs()
        merged = {**{run.run_id: run for run in known}, **new}
        # As MLflow's: the newest first, and of one time by id.
        return sorted(merged.values(), key=lambda run: (-(run.start_time or 0), run.run_id))

    def _stored(self, runs: Iterable[MlflowEntity], names: Mapping[str, str]) -> list[StoredRun]:
        found = []
        for run in runs:
            remember_root(self.uri, run.info.run_id, str(run.info.artifact_uri))
            found.append(stored_run(run, names[run.info.experiment_id]))
        return found

    def run(self, run_id: str) -> StoredRun:
        """One run; the name of its experiment is not asked for."""
        with reaching(self.uri, run_id) as client:
            return stored_run(active_run(client, run_id), "")

    def files(self, run_id: str, folder: str) -> list[str]:
        """Paths of what lies in a folder of the run, sorted."""
        with reaching(self.uri, run_id) as client:
            if (root := local_root(self.uri, run_id)) is not None and (root / folder).is_dir():
                # A dot marks what is not written to its end.
                names = [name for name in os.listdir(root / folder) if not name.startswith(".")]
                return sorted(f"{folder}/{name}" for name in names)
            return sorted(info.path for info in client.list_artifacts(run_id, folder))

    @contextmanager
    def read_file(self, run_id: str, path: str) -> Iterator[Path]:
        """A local copy of one file of the run, gone after the block; the file if it is local."""
        with reaching(self.uri, run_id):
            root = local_root(self.uri, run_id)
        if root is not None and (root / path).is_file():
            yield root / path
            return
        with tempfile.TemporaryDirectory() as folder:
            with reaching(self.uri, run_id) as client:
                local = download(client, run_id, path, folder)
            yield Path(local)

    def histories(self, run_ids: Sequence[str], metrics: Sequence[str]) -> DataFrame:
        """All points of some metrics, in as few questions as the kind of store allows."""
        with reaching(self.uri, run_ids[0] if len(run_ids) == 1 else None) as client:
            if database.is_database(self.uri):
                return database.curves(self.uri, run_ids, metrics)
            return curves(client, self, run_ids, metrics)

    @contextmanager
    def _using(self) -> Iterator[MlflowClient]:
        """A client for a training's first steps: a server that is away is said at once.

        Raises:
            StoreError: if the store cannot be used.
        """
        from mlflow import MlflowClient

        try:
            self.check()
            with short_waits():
                yield MlflowClient(self.uri)
        # Every kind of store has exceptions of its own.
        except Exception as error:
            raise StoreError(f"{self.place} cannot be used: {reason(error, self.uri)}.") from None


def begun_run(run_name: str | None) -> tuple[str, str]:
    """Address and id of a new active run, as ``mlflow.log_metrics`` makes one where none is."""
    import mlflow

    run = mlflow.start_run(run_name=run_name)
    return str(mlflow.get_tracking_uri()), str(run.info.run_id)


def joined_run(uri: str, run_id: str) -> MlflowRun:
    """A run that is known to be there: its store is asked nothing."""
    from mlflow import MlflowClient

    return MlflowRun(MlflowClient(uri), run_id)


class MlflowRun:
    """One MLflow run, for writing; see :class:`sing_monitor.tracking.backend.Run`.

    Args:
        client: knows the tracking URI.
        run_id: the run's.
    """

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.run_id = run_id
        self.store = MlflowStore(str(client.tracking_uri))
        self._client = client

    @property
    def logger_seconds(self) -> float:
        """As long as MLflow itself tries."""
        return PATIENCE_SECONDS

    def put_files(self, folder: str, files: Sequence[Path]) -> None:
        """Store files, all of a folder in one call, which costs a third of as many calls."""
        source = files[0].parent
        with short_waits():
            if len(files) > 1 and set(source.iterdir()) == set(files):
                self._client.log_artifacts(self.run_id, str(source), folder)
                return
            for file in files:
                self._client.log_artifact(self.run_id, str(file), folder)

    def put_tags(self, tags: Mapping[str, str]) -> None:
        """Store tags, cut to the length that every MLflow takes."""
        from mlflow.entities import RunTag

        entities = [RunTag(key, value[:_TAG_LENGTH]) for key, value in tags.items()]
        with short_waits():
            self._client.log_batch(self.run_id, tags=entities, synchronous=True)

    def put_scalars(self, values: Mapping[str, float], step: int, timestamp: int) -> None:
        """Log values as a logger would."""
        from mlflow.entities import Metric

        points = [Metric(key, value, timestamp, step) for key, value in values.items()]
        with short_waits():
            self._client.log_batch(self.run_id, metrics=points, synchronous=True)

    def has_scalar(self, name: str, value: float, since: int) -> bool:
        """Whether a metric has had a value at a time or later."""
        with short_waits():
            history = self._client.get_metric_history(self.run_id, name)
        return any(point.value == value and point.timestamp >= since for point in history)

    def finish(self, status: str) -> None:
        """Say how it ended; a server that is away is not waited for as long as MLflow does."""
        try:
            self.store.check()
            with short_waits():
                self._client.set_terminated(self.run_id, status)
        # Every kind of store has exceptions of its own.
        except Exception as error:
            raise StoreError(
                f"{self.store.place} was not told that run {self.run_id} is {status}, and may show "
                f"it as running: {reason(error, self.store.uri)}."
            ) from None
