"""Trainings that end in many ways, with stores that answer or do not: how long their processes
live on after the last line of their script.

Run by a benchmark: ``python -m tests.callbacks.processes.exits <folder> [<number of trials>]``
writes one JSON object for each. Each is a process of its own that trains, forked from this one,
which has imported everything, and that ends as any script does. MLflow's patience with a server is
shortened by the environment, so that a trial takes seconds where it would take hours.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import MLFlowLogger
from torch import Tensor
from torch.utils.data import DataLoader

from sing_monitor.commands.cli import main as command
from sing_monitor.tracking import RunReader
from tests.helpers import tiny
from tests.helpers.stores.servers import MlflowServer, free_port

EPOCHS = 3
AT_A_TIME = 4
# As long as this, a process is waited for before its threads are written down.
DUMP_SECONDS = 20.0
# MLflow tries three times, each for three seconds and with pauses of 0 and 4 s; by itself it tries
# eight times, each for two minutes.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}

LOCAL = ("none", "sqlite", "files")
# When the server goes, and how: a killed one refuses, a stopped one takes questions and is silent.
GONE = {
    "dies at the end": (EPOCHS - 1, signal.SIGKILL),
    "dies in the middle": (1, signal.SIGKILL),
    "silent at the end": (EPOCHS - 1, signal.SIGSTOP),
    "silent in the middle": (1, signal.SIGSTOP),
}
STORES = ("sqlite", "files", "server", *GONE)
ENDINGS = ("normal", "exception", "interrupt", "test")

_FORWARDER = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()

async def serve(reader, writer):
    there, back = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Trial:
    """One training and its end.

    Args:
        store: where it logs, and what becomes of it.
        synchronous: whether the logger waits for the store.
        workers: of the loaders; they persist.
        ending: of the training.
        leaves_by_exit: whether the script calls ``sys.exit`` or falls off its end.
        steps: of an epoch, each of which logs a loss.
    """

    store: str
    synchronous: bool
    workers: int
    ending: str
    leaves_by_exit: bool
    steps: int = 3


class Noisy(tiny.Classifier):
    """Logs its loss at each step, and may fail."""

    fails = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss)
        if self.fails and self.current_epoch == EPOCHS - 1:
            raise RuntimeError("a training that fails")
        return loss

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", super().training_step(batch, batch_idx))


class Fate(L.Callback):
    """Ends the server, and interrupts the training; writes down the epochs that were finished."""

    def __init__(self, trial: Trial, folder: Path, server: int | None) -> None:
        self.trial, self.folder, self.server = trial, folder, server

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        when, how = GONE.get(self.trial.store, (None, 0))
        if trainer.current_epoch == when and self.server is not None:
            os.kill(self.server, how)
            self.server = None
        if self.trial.ending == "interrupt" and trainer.current_epoch == EPOCHS - 1:
            os.kill(os.getpid(), signal.SIGINT)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        with (self.folder / "finished").open("a") as file:
            file.write(f"{trainer.current_epoch}\n")


def train(trial: Trial, folder: Path, uri: str, server: int | None) -> None:
    """The script of a user."""
    artifacts = str(folder / "artifacts") if trial.store == "sqlite" else None
    logger = MLFlowLogger(
        folder.name, tracking_uri=uri, synchronous=trial.synchronous, artifact_location=artifacts
    )
    (folder / "run_id").write_text(str(logger.run_id))
    trainer = tiny.trainer(
        folder,
        tiny.callback(on_error="warn"),
        Fate(trial, folder, server),
        logger=logger,
        max_epochs=EPOCHS,
    )

    def loader(size: int) -> DataLoader[Any]:
        many = trial.workers > 0
        return DataLoader(tiny.Blobs(size), 16, num_workers=trial.workers, persistent_workers=many)

    model = Noisy()
    model.fails = trial.ending == "exception"
    trainer.fit(model, loader(16 * trial.steps), loader(48))
    if trial.ending == "test":
        trainer.test(model, loader(48), verbose=False)


def run(trial: Trial, folder: Path, uri: str, server: int | None) -> None:
    """Train in this process, and leave it to end; what it says goes to a file."""
    said = os.open(folder / "said", os.O_CREAT | os.O_WRONLY)
    os.dup2(said, 1)
    os.dup2(said, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if trial.store not in LOCAL:
        os.environ |= PATIENCE
    # The first that is registered is called last: when all threads have been waited for.
    atexit.register(_awaited, folder)
    started = time.time()
    try:
        if trial.store != "none":
            train(trial, folder, uri, server)
    finally:
        faulthandler.dump_traceback_later(DUMP_SECONDS, repeat=True)
        now = {"started": started, "ended": time.time(), "processor": time.process_time()}
        (folder / "ended").write_text(json.dumps(now))


def _awaited(folder: Path) -> None:
    (folder / "awaited").write_text(json.dumps({"at": time.time()}))


def look(trial: Trial, folder: Path, uri: str) -> None:
    """Write down what waits, and what is there after a sync; in this process."""
    spool = folder / ".sing_spool"
    waiting = [path for path in spool.rglob("*") if path.is_file() and "lock" not in path.suffix]
    with (folder / "sync").open("w") as said, contextlib.redirect_stdout(said):
        command(["sync", str(folder)])
    reader = RunReader(uri, (folder / "run_id").read_text())
    curves = reader.scalars()["epoch"].astype(int).tolist()
    tables = [epoch for epoch, _ in reader.validations()]
    diary = folder / "finished"
    finished = {int(line) for line in diary.read_text().split()} if diary.exists() else set()
    found = {
        "waited": len(waiting),
        "finished": len(finished),
        "lost": sorted(finished - (set(curves) & set(tables))),
        "twice": len(curves) - len(set(curves)),
    }
    (folder / "found").write_text(json.dumps(found))


def forwarder(port: int, to: int) -> subprocess.Popen[bytes]:
    """A process that stands for the server, and may die."""
    command = [sys.executable, "-c", _FORWARDER, str(port), str(to)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL)


def trials() -> Iterator[Trial]:
    """All kinds, those that differ most first."""
    # What a process takes to end that has only imported everything.
    yield from [Trial("none", True, 0, "normal", False)] * 2
    ways = [(True, 0, False), (False, 2, True), (False, 0, False), (True, 2, True)]
    for shift, (index, store) in itertools.product(range(4), enumerate(STORES)):
        for ending in range(2):
            way = ways[(shift + index + ending) % 4]
            yield Trial(store, way[0], way[1], ENDINGS[(shift + 2 * ending) % 4], way[2])
    # What waits for the store grows with the training.
    for store in ("dies in the middle", "silent in the middle"):
        for steps in (40, 80):
            yield Trial(store, False, 0, "normal", False, steps)


class Running:
    """A trial under way.

    Args:
        trial: to run.
        folder: of its own.
        server: the port of the server that answers.
    """

    def __init__(self, trial: Trial, folder: Path, server: int) -> None:
        self.trial, self.folder, self._server = trial, folder, server
        folder.mkdir()
        self._port = free_port()
        self.uri = {
            "sqlite": f"sqlite:///{folder / 'mlflow.db'}",
            "files": f"file://{folder / 'mlruns'}",
        }.get(trial.store, f"http://127.0.0.1:{self._port}")
        self._way: subprocess.Popen[bytes] | None = None
        self.open_way()

    @property
    def way(self) -> int | None:
        """Number of the process that stands for the server."""
        return None if self._way is None else self._way.pid

    def open_way(self) -> None:
        """Let the server answer."""
        if self.trial.store not in LOCAL:
            self._way = forwarder(self._port, self._server)
            while True:
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection(("127.0.0.1", self._port)),
                ):
                    return
                time.sleep(0.05)

    def close_way(self) -> None:
        """Let nobody answer."""
        if self._way is not None:
            self._way.kill()
            self._way.wait()

    def _awaited(self) -> float:
        return float(json.loads((self.folder / "awaited").read_text())["at"])

    def found(self, status: int, processor: float, now: float) -> dict[str, Any]:
        """What there is to say of it, when its process has ended."""
        ended = json.loads((self.folder / "ended").read_text())
        found = self.folder / "found"
        self.close_way()
        if self.trial.store != "none":
            self.open_way()
            child = os.fork()
            if child == 0:
                with contextlib.suppress(Exception):
                    look(self.trial, self.folder, self.uri)
                os._exit(0)
            os.waitpid(child, 0)
            self.close_way()
        return {
            **asdict(self.trial),
            "folder": self.folder.name,
            "code": os.waitstatus_to_exitcode(status),
            "script": round(ended["ended"] - ended["started"], 2),
            "awaited": round(self._awaited() - ended["ended"], 2),
            "exit": round(now - ended["ended"], 2),
            "processor": round(processor - ended["processor"], 2),
            "threads": (self.folder / "said").read_text(errors="replace").count("Timeout ("),
            **(json.loads(found.read_text()) if found.exists() else {}),
        }


def main() -> None:
    """Print the result of each trial; in a process that trains, train."""
    folder, most = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else None
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"  # MLflow's own folders, which it calls old
    (folder / "server").mkdir(parents=True)
    server = MlflowServer(folder / "server")
    server.start()
    # Processes that are forked do not look through what this one has imported.
    gc.collect()
    gc.freeze()
    todo = deque(enumerate(itertools.islice(trials(), most)))
    running: dict[int, Running] = {}
    while todo or running:
        while todo and len(running) < AT_A_TIME:
            number, trial = todo.popleft()
            started = Running(trial, folder / f"{number:02d}", int(server.uri.rpartition(":")[2]))
            child = os.fork()
            if child == 0:
                run(trial, started.folder, started.uri, started.way)
                if trial.leaves_by_exit:
                    sys.exit(0)
                return
            running[child] = started
        # Those of the servers that a training has killed come by here, too.
        child, status, usage = os.wait4(-1, 0)
        if child in running:
            now, processor = time.time(), usage.ru_utime + usage.ru_stime
            found = running.pop(child).found(status, processor, now)
            sys.stdout.write(f"{json.dumps(found)}\n")
            sys.stdout.flush()
    server.kill()


if __name__ == "__main__":
    main()
