"""Start a program that serves HTTP, and end it by its process id."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(
    command: Sequence[str | Path], health: str, folder: Path, **environment: str
) -> Iterator[Path]:
    """Run the command in the folder until the block ends; gives its log.

    Args:
        command: what serves.
        health: address that answers as soon as it does.
        folder: where it runs, and where its log is written.
        environment: variables over those of this process.
    """
    log = folder / "server.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **environment}
        ) as process,
    ):
        try:
            wait_for(health, process, log)
            yield log
        finally:
            process.terminate()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    """Ask until the process answers at the address; fails with its log."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise AssertionError(f"{url} did not answer: {log.read_text()}")
