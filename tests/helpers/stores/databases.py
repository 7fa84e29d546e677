"""Copies of an empty MLflow database: laying one out takes seconds, so it is done once."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

# Environment variable: where processes that are started for one run of the tests share it.
SHARED = "SING_MONITOR_TESTS_EMPTY_DATABASE"


def empty_database(path: Path) -> str:
    """Put an empty database at a path, where none is; its tracking URI.

    Whole at once: of several processes the second must not write over what the first has opened.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, suppress(FileExistsError):
        os.link(shutil.copy(_template(), folder), path)
    return f"sqlite:///{path}"


@lru_cache(maxsize=1)
def _template() -> Path:
    """The database that the tests' processes share, or one of this process's own."""
    from mlflow import MlflowClient

    shared = os.environ.get(SHARED)
    path = Path(shared or Path(tempfile.mkdtemp()) / "mlflow.db")
    if not path.exists():
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            MlflowClient(f"sqlite:///{made}").search_experiments()
            made.replace(path)
    return path
