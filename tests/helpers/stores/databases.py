"""Copies of an empty MLflow database: laying one out takes seconds, so it is done once."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from mlflow import MlflowClient


def empty_database(path: Path) -> str:
    """Put an empty database at a path, where none is; its tracking URI.

    Whole at once: of several processes the second must not write over what the first has opened.
    """
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, suppress(FileExistsError):
        os.link(shutil.copy(_template(), folder), path)
    return f"sqlite:///{path}"


@lru_cache(maxsize=1)
def _template() -> Path:
    path = Path(tempfile.mkdtemp()) / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
