"""Findings on their way to the tracker and back; nobody else needs to know where things lie."""

from sing_monitor.tracking.addresses import redact, shown_address
from sing_monitor.tracking.backend import Run, Store
from sing_monitor.tracking.errors import (
    ArtifactNotFoundError,
    NoStoreError,
    NotFoundError,
    RunNotFoundError,
    StoreError,
)
from sing_monitor.tracking.folder import FolderRun, FolderStore
from sing_monitor.tracking.layout import SCHEMA, Layout
from sing_monitor.tracking.mlflow import MlflowRun, MlflowStore, default_uri
from sing_monitor.tracking.reader import RunReader
from sing_monitor.tracking.runs import list_runs
from sing_monitor.tracking.spool import DeliveryError
from sing_monitor.tracking.stores import create_run, find_again, gather, open_store
from sing_monitor.tracking.writer import RunWriter

__all__ = [
    "SCHEMA",
    "ArtifactNotFoundError",
    "DeliveryError",
    "FolderRun",
    "FolderStore",
    "Layout",
    "MlflowRun",
    "MlflowStore",
    "NoStoreError",
    "NotFoundError",
    "Run",
    "RunNotFoundError",
    "RunReader",
    "RunWriter",
    "Store",
    "StoreError",
    "create_run",
    "default_uri",
    "find_again",
    "gather",
    "list_runs",
    "open_store",
    "redact",
    "shown_address",
]
