"""Streamlit as ever, in a process that counts what its app asks MLflow.

``python counted_streamlit.py FILE run main.py ...``: on SIGUSR1 the counts since the last time are
written to FILE; on SIGUSR2 every cache is emptied.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import mlflow.artifacts
import mlflow.utils.rest_utils
import streamlit as st
from mlflow import MlflowClient
from sqlalchemy import event
from sqlalchemy.engine import Engine
from streamlit.web import cli

_ASKING = (
    *(
        (MlflowClient, name)
        for name in (
            "get_run",
            "get_metric_history",
            "search_runs",
            "search_experiments",
            "list_artifacts",
            "download_artifacts",
        )
    ),
    (mlflow.artifacts, "download_artifacts"),
    # What goes past the client: to a server, and to a database.
    (mlflow.utils.rest_utils, "http_request"),
)
_counts: Counter[str] = Counter()
_inside = threading.local()


def _counted(owner: object, name: str) -> Callable[..., object]:
    original = getattr(owner, name)

    def call(*args: object, **kwargs: object) -> object:
        if getattr(_inside, "call", False):
            return original(*args, **kwargs)
        _counts["calls"] += 1
        _counts[name] += 1
        _inside.call = True
        try:
            return original(*args, **kwargs)
        finally:
            _inside.call = False

    return call


def _statement(*_: object) -> None:
    _counts["statements"] += 1
    if not getattr(_inside, "call", False):
        _counts["calls"] += 1
        _counts["direct statement"] += 1


def _report(file: Path) -> None:
    half = file.with_suffix(".half")
    half.write_text(json.dumps(_counts))
    os.replace(half, file)
    _counts.clear()


def _empty_caches() -> None:
    st.cache_data.clear()
    st.cache_resource.clear()


def main(file: Path) -> None:
    """Serve, and count."""
    for owner, name in _ASKING:
        setattr(owner, name, _counted(owner, name))
    event.listen(Engine, "before_cursor_execute", _statement)
    signal.signal(signal.SIGUSR1, lambda *_: _report(file))
    signal.signal(signal.SIGUSR2, lambda *_: _empty_caches())
    sys.argv = ["streamlit", *sys.argv[2:]]
    cli.main()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
