"""Access to an MLflow store: short waits, one kind of error, and no password in any message."""

from __future__ import annotations

import os
import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from typing import TYPE_CHECKING, cast
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from sing_monitor.tracking.addresses import redact, shown_address
from sing_monitor.tracking.errors import (
    NoStoreError,
    NotFoundError,
    RunNotFoundError,
    StoreError,
    reason,
)
from sing_monitor.tracking.time_limit import LimitedClient, within_limit

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE_SECONDS = 5
# MLflow's defaults retry for about four minutes. One retry comes at once; from the second on there
# are pauses, and their jitter draws from Python's global random numbers, which are the training's.
# A retry-after header could ask for any pause.
_LIMITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

_RUN_ID = re.compile(r"[A-Za-z0-9][\w-]*")
_REFUSED = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# The coarsest clock of a file system, in ns.
_TICKS = 2_000_000_000
_NO_STATISTICS = "MLFLOW_DISABLE_TELEMETRY"


def send_no_statistics() -> None:
    """Keep MLflow from reporting how it is used, unless the environment says otherwise.

    MLflow reads the variable when it is first imported and has no other way in.
    """
    os.environ.setdefault(_NO_STATISTICS, "true")


_lock = threading.Lock()
_depth = 0
_outside: dict[str, str | None] = {}


@contextmanager
def short_waits() -> Iterator[None]:
    """MLflow's HTTP calls give up within seconds inside this block.

    MLflow reads its limits from the environment at every call and has no other way in. The
    environment belongs to the whole process: a call that another thread starts during the block
    is limited too. Overlapping blocks count, so the last one out restores what the first found.
    """
    global _depth
    with _lock:
        if _depth == 0:
            _outside.update({key: os.environ.get(key) for key in _LIMITS})
            os.environ.update(_LIMITS)
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                for key, value in _outside.items():
                    if value is None:
                        os.environ.pop(key, None)
                    else:
                        os.environ[key] = value


def check_answers(uri: str) -> None:
    """Ask a tracking server for a sign of life; other stores are not asked.

    A writer asks before it enters :func:`short_waits`. While a server is down, the limits are then
    never set, and metrics that Lightning logs in a thread of its own keep MLflow's full patience.

    Raises:
        OSError: if nothing answers within `PROBE_SECONDS`, or the answer is a server error.
    """
    if not is_server(uri):
        return

    def ask() -> None:
        parts = urlsplit(uri)
        host = parts.netloc.rpartition("@")[2]
        health = urlunsplit((parts.scheme, host, f"{parts.path.rstrip('/')}/health", "", ""))
        urlopen(health, timeout=PROBE_SECONDS).close()

    try:
        within_limit(ask, seconds=2 * PROBE_SECONDS)
    except HTTPError as error:
        if error.code >= 500:
            raise
    except URLError as error:
        # Certificates are MLflow's business; whoever shows one is alive.
        if not isinstance(error.reason, ssl.SSLError):
            raise ConnectionError(redact(str(error.reason), uri)) from None
    except (ValueError, HTTPException) as error:
        raise ConnectionError(reason(error, uri)) from None


def is_server(uri: str) -> bool:
    """Whether a tracking URI is that of a server, where an answer costs waiting."""
    return uri.startswith(("http://", "https://"))


@contextmanager
def reaching(uri: str, run_id: str | None = None) -> Iterator[MlflowClient]:
    """A client for reading, with short waits; whatever it raises becomes one of our errors.

    Each of its calls has a limit of time, see :mod:`sing_monitor.tracking.time_limit`.

    Raises:
        StoreError: if the store cannot be reached or read.
        RunNotFoundError: if the store does not know the run.
    """
    unknown = RunNotFoundError(
        f"MLflow at {shown_address(uri)} has no run {run_id!r}; it may have been deleted."
    )
    try:
        _check_database(uri)
        # MLflow would take a path in place of an id for a part of an address.
        if run_id is not None and not _RUN_ID.fullmatch(run_id):
            raise unknown
        with short_waits():
            yield _client(uri)
    except (NotFoundError, StoreError):
        raise
    # Every kind of store has exceptions of its own: boto, azure, sqlalchemy, requests.
    except Exception as error:
        code = getattr(error, "error_code", None)
        if run_id is not None and code in _REFUSED and _is_unknown(uri, run_id):
            raise unknown from None
        raise StoreError(
            f"MLflow at {shown_address(uri)} cannot be read: {reason(error, uri)}. "
            "Check the address, and that the server runs."
        ) from None


def _client(uri: str) -> MlflowClient:
    """MLflow's client; of a server one whose questions have a limit of time."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    # It has the methods of the client, though not its type.
    return cast("MlflowClient", LimitedClient(client)) if is_server(uri) else client


def _is_unknown(uri: str, run_id: str) -> bool:
    """Whether the store knows no such run; it refuses files of runs with the same words."""
    try:
        with short_waits():
            _client(uri).get_run(run_id)
    # As in `reaching`.
    except Exception as error:
        return getattr(error, "error_code", None) in _REFUSED
    return False


def database_stamp(uri: str) -> tuple[tuple[int, ...] | None, ...] | None:
    """Another one as soon as anything was written to a SQLite file; None where that is not sure.

    SQLite writes to the file itself, or first to one beside it.
    """
    path = _database_file(uri)
    if path is None:
        return None
    found = [_file_stamp(path + end) for end in ("", "-wal", "-journal")]
    newest = max((each[0] for each in found if each), default=0)
    # Of two writes within one tick of the clock, the second leaves the time as it is.
    return tuple(found) if time.time_ns() - newest > _TICKS else None


def _file_stamp(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _database_file(uri: str) -> str | None:
    """The file of a SQLite store; None for any other."""
    from sqlalchemy.engine import make_url

    path = make_url(uri).database if uri.startswith("sqlite") else None
    return None if not path or path.startswith((":memory:", "file:")) else path


def _check_database(uri: str) -> None:
    """Look at the file first: MLflow creates a missing one, and retries a broken one for 100 s."""
    path = _database_file(uri)
    if path is None:
        return
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise NoStoreError(
            f"there is no MLflow database {path} yet; train once with "
            f'MLFlowLogger(tracking_uri="{shown_address(uri)}"), or give another tracking URI.'
        ) from None
    if start and start != b"SQLite format 3\0":
        raise StoreError(
            f"{path} is no SQLite database; give the tracking URI that the training used."
        )
