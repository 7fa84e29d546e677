"""Counts what MLflow is really asked: calls, statements to its database, and files of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import mlflow.artifacts
import pytest
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine

from sing_monitor.tracking import MlflowStore

_ASKING = (
    (MlflowClient, "get_run"),
    (MlflowClient, "get_metric_history"),
    (MlflowClient, "search_runs"),
    (MlflowClient, "search_experiments"),
    (MlflowClient, "list_artifacts"),
    (mlflow.artifacts, "download_artifacts"),
    (MlflowStore, "read_file"),
)


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Questions by kind, as long as the block lasts; each of them is asked as ever."""
    counts: Counter[str] = Counter()

    def counted(owner: object, name: str) -> Callable[..., object]:
        original = getattr(owner, name)

        def call(*args: object, **kwargs: object) -> object:
            counts[name] += 1
            return original(*args, **kwargs)

        return call

    def statement(*_: object) -> None:
        counts["statements"] += 1

    event.listen(Engine, "before_cursor_execute", statement)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in _ASKING:
                patch.setattr(owner, name, counted(owner, name))
            yield counts
    finally:
        event.remove(Engine, "before_cursor_execute", statement)
