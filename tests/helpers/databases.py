"""Copies of an empty MLflow database: laying one out takes seconds, so it is done once."""

from __future__ import annotations

import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from mlflow import MlflowClient


def empty_database(path: Path) -> str:
    """Put an empty database at a path; its tracking URI."""
    shutil.copy(_template(), path)
    return f"sqlite:///{path}"


@lru_cache(maxsize=1)
def _template() -> Path:
    path = Path(tempfile.mkdtemp()) / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path
