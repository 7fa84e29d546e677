"""What a tracker can do: :class:`Store` is a place that holds runs, :class:`Run` writes to one.

A tracker is one file with these two classes, and an entry in
:data:`sing_monitor.tracking.stores.STORES`. Everything else, from tables to thumbnails, is worked
out from their methods.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from pandas import DataFrame

T = TypeVar("T")
Item = TypeVar("Item")

POINT_COLUMNS = ("metric", "step", "timestamp", "value")
CURVE_COLUMNS = ("run_id", *POINT_COLUMNS)


@dataclass(frozen=True)
class StoredRun:
    """What a store knows of a run without opening its files.

    Args:
        run_id: unique in the store.
        run_name: for people.
        experiment: the name of the group of runs that it belongs to.
        experiment_id: of that group.
        status: RUNNING, FINISHED, FAILED or KILLED.
        start_time: ms since 1970.
        end_time: ms since 1970; None while it runs.
        tags: text by key.
        metrics: the latest value by logged name.
        params: what the training noted of itself.
    """

    run_id: str
    run_name: str
    experiment: str
    experiment_id: str
    status: str
    start_time: int | None
    end_time: int | None
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    params: Mapping[str, str]


class Store(Protocol):
    """A place that holds runs. Building one costs nothing and asks nobody.

    Every method but `takes` and `found_again` raises `StoreError` if the place cannot be reached
    or read; those that take a run's id raise `RunNotFoundError` if there is no such run.

    Args:
        uri: its address.
    """

    def __init__(self, uri: str) -> None: ...

    @property
    def uri(self) -> str:
        """The address, as it was given."""
        ...

    @classmethod
    def takes(cls, uri: str) -> bool:
        """Whether an address is one of this kind of store."""
        ...

    @classmethod
    def found_again(cls, uri: str, folder: Path) -> str:
        """The address that reaches a store from anywhere.

        Args:
            uri: without credentials, as :attr:`address`; those in the environment are added.
            folder: where the process ran that used it.
        """
        ...

    @property
    def address(self) -> str:
        """The URI without credentials."""
        ...

    @property
    def place(self) -> str:
        """The store as a sentence mentions it, without credentials."""
        ...

    @property
    def at_a_time(self) -> int:
        """How many questions to ask at once: more than 1 where an answer costs waiting."""
        ...

    @property
    def own_spool(self) -> Path | None:
        """Where files wait that only need to be moved into a run; None: wherever the writer likes.

        A store on the local disk has one, so that nothing is written twice.
        """
        ...

    def check(self) -> None:
        """Ask for a sign of life, for seconds at most.

        Raises:
            OSError: if nobody answers.
        """
        ...

    def logged_prefix(self, prefix: str) -> str:
        """What stands before every metric's name, given the ``prefix`` of the logger."""
        ...

    def create_run(
        self,
        *,
        run_name: str | None = None,
        experiment: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Run:
        """A new run, which is running. An experiment that is new is created."""
        ...

    def resume_run(self, run_id: str) -> Run:
        """A run that is written to again; its status is RUNNING from now on."""
        ...

    def open_run(self, run_id: str) -> Run:
        """A run that gets further files; its status stays."""
        ...

    def stamp(self) -> Hashable | None:
        """Another one as soon as anything was written; None where only asking tells."""
        ...

    def runs(self, experiment: str | None = None) -> list[StoredRun]:
        """Runs that a monitor wrote to, newest first.

        Args:
            experiment: an experiment's name; None: all of them.

        Raises:
            NotFoundError: if there is no such experiment.
        """
        ...

    def renewed(self, known: Sequence[StoredRun]) -> list[StoredRun]:
        """All of `runs`, given those of a moment ago; a server is asked only for what moves.

        Runs that began, grew or ended since are new. What else became of a run that had ended, such
        as its deletion, may be missing.
        """
        ...

    def run(self, run_id: str) -> StoredRun:
        """One run."""
        ...

    def files(self, run_id: str, folder: str) -> list[str]:
        """Paths of what lies in a folder of the run, sorted; none where there is no such folder."""
        ...

    def read_file(self, run_id: str, path: str) -> AbstractContextManager[Path]:
        """A file of the run on the local disk, as long as the block lasts; not to be written to.

        Raises:
            ArtifactNotFoundError: if it is not there; the sentence says what is.
        """
        ...

    def histories(self, run_ids: Sequence[str], metrics: Sequence[str]) -> DataFrame:
        """All points of some metrics of some runs; those that a run does not hold have none.

        Returns:
            Columns run_id, metric, step, timestamp (ms) and value, of one metric of a run in the
            order of logging.
        """
        ...


class Run(Protocol):
    """One run, for writing. Every method may raise any exception if the store takes nothing."""

    run_id: str

    @property
    def store(self) -> Store:
        """The store that holds it."""
        ...

    @property
    def logger_seconds(self) -> float:
        """How long a logger of this tracker may take to bring what it was given."""
        ...

    def put_files(self, folder: str, files: Sequence[Path]) -> None:
        """Store files in a folder of the run, in the place of earlier ones of the same names.

        Args:
            folder: path in the run.
            files: that lie in one folder; they may be moved.
        """
        ...

    def put_tags(self, tags: Mapping[str, str]) -> None:
        """Store tags over those of the same key."""
        ...

    def put_scalars(self, values: Mapping[str, float], step: int, timestamp: int) -> None:
        """Log values by name, at a step and a time (ms); they may be NaN or infinite."""
        ...

    def has_scalar(self, name: str, value: float, since: int) -> bool:
        """Whether a metric has had a value at a time (ms) or later."""
        ...

    def finish(self, status: str) -> None:
        """Say how it ended: FINISHED, FAILED or KILLED.

        Raises:
            OSError: if the store does not take it within seconds.
        """
        ...


def ask_each(store: Store, read: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
    """``read(item)`` for every item, in order; several at a time where the store waits."""
    if store.at_a_time == 1:
        return [read(item) for item in items]
    with ThreadPoolExecutor(store.at_a_time) as pool:
        return list(pool.map(read, items))
