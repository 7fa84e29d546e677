"""Servers on this machine: any program, a real MLflow one that can be killed, a busy one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from tests.helpers.stores.databases import empty_database


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def busy_server(*, health: int) -> Iterator[tuple[str, list[str]]]:
    """A server that is busy for the next hour: its address, and the paths it was asked for.

    Args:
        health: the status of ``/health``; that of everything else is 503.
    """
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(health if self.path == "/health" else 503)
            self.send_header("Retry-After", "3600")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


class MlflowServer:
    """``mlflow server`` whose artifacts go through the server.

    Args:
        folder: where it keeps its artifacts.
        database: that it is to use; one of its own in the folder by default.
    """

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.uri = f"http://127.0.0.1:{free_port()}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        backend = database or empty_database(folder / "mlflow.db")
        self._command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend]
        self._command += ["--artifacts-destination", str(folder / "artifacts"), "--workers", "1"]
        self._command += ["--host", "127.0.0.1", "--port", self.uri.rpartition(":")[2]]

    def start(self) -> None:
        """Start it, if it does not run, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        log = self._folder / "log"
        # Processes of its own for background jobs: nobody asks for one, and they start slowly.
        environment = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=environment,
                stdout=out,
                stderr=out,
                process_group=0,
            )
        wait_for(f"{self.uri}/health", self._process, log)

    @property
    def group(self) -> int:
        """Number of its group of processes; only while it runs."""
        assert self._process is not None
        return self._process.pid

    def kill(self) -> None:
        """End it at once, workers included, as a crash would."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


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
            process.kill()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 120) -> None:
    """Wait until something answers at an address; fail early when the process has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer: {log.read_text()}")
