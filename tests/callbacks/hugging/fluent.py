"""MLflow's functions without a client, whose state belongs to the whole process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
from mlflow.tracking import fluent

_VARIABLES = ("MLFLOW_EXPERIMENT_ID", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID")


@contextmanager
def fluent_mlflow(uri: str) -> Iterator[None]:
    """Let them write to a store for a block, and forget it, its experiment and its run."""
    before = mlflow.get_tracking_uri()
    variables = {name: os.environ.pop(name) for name in _VARIABLES if name in os.environ}
    mlflow.set_tracking_uri(uri)
    fluent._active_experiment_id = None
    try:
        yield
    finally:
        while mlflow.active_run() is not None:
            mlflow.end_run()
        fluent._active_experiment_id = None
        for name in _VARIABLES:
            os.environ.pop(name, None)
        os.environ.update(variables)
        mlflow.set_tracking_uri(before)
