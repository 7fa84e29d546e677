"""Limit for the whole time that one question to a server takes, however slowly it answers.

The time-outs of HTTP clients are for each piece of an answer: a byte a second keeps them waiting
for hours. Here a thread waits, and who asked goes on without it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

T = TypeVar("T")

VARIABLE = "SING_MONITOR_SERVER_SECONDS"
_SECONDS = 30.0
# A large file on a slow line may take longer, as long as it comes at this rate.
_BYTES_PER_SECOND = 100_000
_LOOK_SECONDS = 0.5
# As many as are asked at once. A server that leaves so many waiting is not asked further.
_MOST_UNANSWERED = 8

_unanswered: set[threading.Thread] = set()


def server_seconds() -> float:
    """The limit, from the environment: a positive number of seconds, also inf; else 30."""
    try:
        seconds = float(os.environ.get(VARIABLE, ""))
    except ValueError:
        return _SECONDS
    return min(seconds, threading.TIMEOUT_MAX) if seconds > 0 else _SECONDS


def within_limit(
    ask: Callable[[], T], *, seconds: float | None = None, into: Path | None = None
) -> T:
    """The answer to a question.

    Args:
        ask: gives it; where it takes too long, it goes on in a thread that ends with the process.
        seconds: the limit; None: `server_seconds`.
        into: folder that a file is copied into. What arrives there prolongs the limit.

    Raises:
        TimeoutError: if it takes too long, or if too many earlier ones have not been answered yet.
    """
    limit = server_seconds() if seconds is None else seconds
    waiting = [thread for thread in _unanswered.copy() if thread.is_alive()]
    _unanswered.intersection_update(waiting)
    if len(waiting) >= _MOST_UNANSWERED:
        raise TimeoutError(
            f"the server has left {len(waiting)} questions unanswered, and gets no further one "
            "before it has answered"
        )
    answer: _Answer[T] = _Answer(ask)
    try:
        answer.start()
    # At the end of the interpreter no thread starts any more, from Python 3.12 on: the time-outs of
    # the question itself must do.
    except RuntimeError:
        return ask()
    start = time.monotonic()
    while answer.is_alive():
        left = start + limit + _size(into) / _BYTES_PER_SECOND - time.monotonic()
        if left <= 0:
            _unanswered.add(answer)
            raise TimeoutError(
                f"no whole answer within {limit:g} s; where the server is slow and not broken, set "
                f"{VARIABLE} to more"
            )
        answer.join(left if into is None else min(left, _LOOK_SECONDS))
    return answer.result()


class LimitedClient:
    """A client whose every method call is a question with a limit.

    Args:
        client: asks the server.
    """

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found
        return lambda *args, **options: within_limit(lambda: found(*args, **options))


class _Answer(threading.Thread, Generic[T]):
    """A daemon: the end of the process does not wait for it."""

    def __init__(self, ask: Callable[[], T]) -> None:
        super().__init__(name="sing-monitor question", daemon=True)
        self._ask = ask
        self._found: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        """Ask."""
        try:
            self._found.append(self._ask())
        except BaseException as error:
            self._error = error

    def result(self) -> T:
        """The answer of a thread that has ended."""
        if self._error is not None:
            raise self._error
        return self._found[0]


def _size(folder: Path | None) -> int:
    if folder is None:
        return 0
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
