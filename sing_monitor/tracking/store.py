"""Reaching an MLflow store: short waits, one kind of error, and no password in any message."""

from __future__ import annotations

import os
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
Item = TypeVar("Item")

PROBE_SECONDS = 5
_AT_A_TIME = 8
# MLflow's defaults retry for about four minutes. One retry comes at once; from the second on there
# are pauses, and their jitter draws from Python's global random numbers, which are the training's.
# A retry-after header could ask for any pause.
_LIMITS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
# A password may hold a slash, so everything up to the last @ goes; a path of sqlite may hold an @.
_USER = re.compile(r"(?<![a-z0-9+.-])(?!sqlite|file)([a-z][a-z0-9+.-]*://)[^\s'\"]*@", re.I)
_QUERY = re.compile(r"\?[^\s'\")]*=[^\s'\")]*")
_REASON_LENGTH = 200


class StoreError(ConnectionError):
    """The MLflow store cannot be reached or read. One sentence, without credentials."""


class NotFoundError(LookupError):
    """The store answers, and does not hold what was asked for. The sentence says what exists."""


class RunNotFoundError(NotFoundError):
    """The run does not exist, or was deleted."""


class ArtifactNotFoundError(NotFoundError):
    """The run exists and holds no such file."""


def redact(text: str) -> str:
    """The text with ``user:password@`` and the query of every URI in it left out.

    Example::

        >>> redact("postgresql://bob:secret@db.example/mlflow?password=x")
        'postgresql://db.example/mlflow'
        >>> redact("sqlite:////home/me@work/mlflow.db")
        'sqlite:////home/me@work/mlflow.db'
    """
    return _QUERY.sub("", _USER.sub(r"\1", text))


def reason(error: BaseException) -> str:
    """What went wrong, in one line that holds no credentials.

    HTTP errors wrap each other's text three times; the last cause is the one that helps. The
    chain of exceptions is no substitute: it may lead on to an exception of the user's training.
    """
    name = type(error).__name__
    _, caused, text = redact(str(error)).rpartition("Caused by ")
    if caused:
        name, _, text = text.partition("(")
        text = text.rpartition("): ")[2].strip("\"') ")
    line = (text.strip().splitlines() or [""])[0].rstrip(". ")
    line = line if len(line) <= _REASON_LENGTH else line[:_REASON_LENGTH] + "…"
    return f"{name}: {line}" if line else name


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
    if not _is_server(uri):
        return
    try:
        with urlopen(f"{redact(uri).rstrip('/')}/health", timeout=PROBE_SECONDS):
            return
    except HTTPError as error:
        if error.code >= 500:
            raise
    except URLError as error:
        # Certificates are MLflow's business; whoever shows one is alive.
        if not isinstance(error.reason, ssl.SSLError):
            raise ConnectionError(str(error.reason)) from None


def gather(uri: str, read: Callable[[Item], T], items: Iterable[Item]) -> list[T]:
    """``read(item)`` for every item, in order; several at a time from a tracking server.

    What a server costs is waiting. A database in this process costs computing, and threads would
    only stand in each other's way.
    """
    if not _is_server(uri):
        return [read(item) for item in items]
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        return list(pool.map(read, items))


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


@contextmanager
def reaching(uri: str, run_id: str | None = None) -> Iterator[MlflowClient]:
    """A client for reading, with short waits; whatever it raises becomes one of our errors.

    Raises:
        StoreError: if the store cannot be reached or read.
        RunNotFoundError: if the store does not know the run.
    """
    from mlflow import MlflowClient

    try:
        _check_database(uri)
        with short_waits():
            yield MlflowClient(tracking_uri=uri)
    except (NotFoundError, StoreError):
        raise
    # Every kind of store has exceptions of its own: boto, azure, sqlalchemy, requests.
    except Exception as error:
        code = getattr(error, "error_code", None)
        if run_id is not None and code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise RunNotFoundError(
                f"MLflow at {redact(uri)} has no run {run_id!r}; it may have been deleted."
            ) from None
        raise StoreError(
            f"MLflow at {redact(uri)} cannot be read: {reason(error)}. "
            "Check the address, and that the server runs."
        ) from None


def _check_database(uri: str) -> None:
    """Look at the file first: MLflow creates a missing one, and retries a broken one for 100 s."""
    from sqlalchemy.engine import make_url

    if not uri.startswith("sqlite"):
        return
    path = make_url(uri).database
    if not path or path.startswith((":memory:", "file:")):
        return
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise StoreError(
            f"there is no MLflow database {path} yet; train once with "
            f'MLFlowLogger(tracking_uri="{redact(uri)}"), or give another tracking URI.'
        ) from None
    if start and start != b"SQLite format 3\0":
        raise StoreError(
            f"{path} is no SQLite database; give the tracking URI that the training used."
        )
