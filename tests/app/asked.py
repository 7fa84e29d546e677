"""Counts what MLflow is really asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mlflow import MlflowClient

ASKING = (
    "get_run",
    "get_metric_history",
    "search_runs",
    "search_experiments",
    "list_artifacts",
    "download_artifacts",
)


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Questions by kind, as long as the block lasts; each of them is asked as ever."""
    counts: Counter[str] = Counter()
    with pytest.MonkeyPatch.context() as patch:
        for name in ASKING:
            original = getattr(MlflowClient, name)

            def call(
                self: MlflowClient, *args: object, _name=name, _original=original, **more: object
            ) -> object:
                counts[_name] += 1
                return _original(self, *args, **more)

            patch.setattr(MlflowClient, name, call)
        yield counts
