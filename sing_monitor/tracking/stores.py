"""The kinds of stores, and the one that an address belongs to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from sing_monitor.tracking.backend import Run, Store, ask_each
from sing_monitor.tracking.folder import FolderStore
from sing_monitor.tracking.mlflow import MlflowStore

T = TypeVar("T")
Item = TypeVar("Item")

# The first kind that takes an address has it; the last takes every path.
STORES: tuple[type[Store], ...] = (MlflowStore, FolderStore)


def open_store(uri: str | os.PathLike[str]) -> Store:
    """The store at an address; nothing is read or made.

    Args:
        uri: a tracking URI of MLflow's, a folder that MLflow has laid out, or any other path,
            which is that of a folder of runs.

    Example::

        >>> open_store("sqlite:///mlflow.db").place
        'MLflow at sqlite:///mlflow.db'
        >>> open_store("runs/").place
        'the folder runs/'
    """
    address = os.fspath(uri)
    return _kind(address)(address)


def find_again(address: str, folder: Path) -> Store:
    """The store that another process used.

    Args:
        address: its :attr:`~sing_monitor.tracking.backend.Store.address`.
        folder: where that process ran.
    """
    return open_store(_kind(address).found_again(address, folder))


def create_run(
    uri: str | os.PathLike[str],
    *,
    run_name: str | None = None,
    experiment: str | None = None,
    run_id: str | None = None,
) -> Run:
    """A run to write to, by :class:`~sing_monitor.tracking.writer.RunWriter`.

    Args:
        uri: of the store; a folder of runs is made where there is nothing yet.
        run_name: of a new run; None: the tracker's choice.
        experiment: the group of runs that a new one belongs to; None: the tracker's default.
        run_id: of a run that is taken up again; None: a new one.

    Raises:
        StoreError: if the store cannot be reached or written.
        RunNotFoundError: if it holds no run of that id.
    """
    store = open_store(uri)
    if run_id is not None:
        return store.resume_run(run_id)
    return store.create_run(run_name=run_name, experiment=experiment)


def gather(uri: str, read: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
    """``read(item)`` for every item, in order; several at a time from a tracking server."""
    return ask_each(open_store(uri), read, items)


def _kind(address: str) -> type[Store]:
    return next(kind for kind in STORES if kind.takes(address))
