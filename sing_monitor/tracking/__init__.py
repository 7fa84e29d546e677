"""Findings on their way to the tracker and back; nobody else needs to know where things lie."""

from sing_monitor.tracking.layout import SCHEMA, Layout
from sing_monitor.tracking.reader import RunReader
from sing_monitor.tracking.runs import list_runs
from sing_monitor.tracking.spool import DeliveryError
from sing_monitor.tracking.store import (
    ArtifactNotFoundError,
    NotFoundError,
    RunNotFoundError,
    StoreError,
    gather,
    redact,
)
from sing_monitor.tracking.writer import RunWriter

__all__ = [
    "SCHEMA",
    "ArtifactNotFoundError",
    "DeliveryError",
    "Layout",
    "NotFoundError",
    "RunNotFoundError",
    "RunReader",
    "RunWriter",
    "StoreError",
    "gather",
    "list_runs",
    "redact",
]
