"""Trainings that are killed at random times, and what their runs hold: before a sync and after
it, and when the training has gone on to its end.

Run by a test and by a benchmark: ``python -m tests.callbacks.processes.kill_at_random <folder>
<first seed> <trials>`` writes one JSON object for each trial. Each is a process of its own that
trains, forked from this one, which has imported everything.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import MLFlowLogger

from sing_monitor.commands.cli import main as command
from sing_monitor.tracking import NoStoreError, RunReader, list_runs, open_store
from tests.helpers import tiny

KINDS = ("mlflow", "asynchronous", "folder")
EPOCHS = 6


class Diary(L.Callback):
    """Writes down each epoch that the training has ended."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "finished"

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.file.touch()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        with self.file.open("a") as file:
            file.write(f"{trainer.current_epoch}\n")


def train(folder: Path, kind: str) -> None:
    """A whole training; where one was killed, it goes on from its last checkpoint."""
    checkpoint = folder / "last.ckpt"
    is_resumed = checkpoint.exists()
    callback: dict[str, Any] = {"on_error": "warn"}
    logger: Any = False
    if kind == "folder":
        callback["tracking"] = str(folder / "runs")
    else:
        is_synchronous = kind == "mlflow"
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        logger = (
            MLFlowLogger(
                tracking_uri=uri, run_id=list_runs(uri)["run_id"][0], synchronous=is_synchronous
            )
            if is_resumed
            else tiny.mlflow_logger(folder, synchronous=is_synchronous)
        )
    keep = ModelCheckpoint(folder, "last", save_on_train_epoch_end=True)
    trainer = tiny.trainer(
        folder,
        tiny.quick_callback(**callback),
        keep,
        Diary(folder),
        logger=logger,
        max_epochs=EPOCHS,
        enable_checkpointing=True,
    )
    data = tiny.loader(tiny.Blobs())
    trainer.fit(tiny.Classifier(), data, data, ckpt_path=checkpoint if is_resumed else None)


def in_process(work: Callable[[], object]) -> int:
    """Do something in a new process; its number."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def held(uri: str) -> dict[str, list[int]]:
    """Epochs of the only run by what it holds of them."""
    try:
        listed = list_runs(uri)
    # It was killed before it had written anything.
    except NoStoreError:
        listed = []
    if len(listed) == 0:
        return {"curves": [], "points": [], "tables": [], "incomplete": []}
    reader = RunReader(uri, listed["run_id"][0])
    points = open_store(uri).histories([reader.run_id], ["monitor/global_step"])
    return {
        "curves": sorted(reader.scalars()["epoch"].astype(int).tolist()),
        "points": sorted(points["value"].astype(int).tolist()),
        "tables": [epoch for epoch, _ in reader.validations()],
        "incomplete": [epoch for epoch, _ in reader.incomplete()],
    }


def processor_seconds(process: int) -> float:
    """Processor time of a process so far: unlike the clock's, it does not depend on others.

    Infinite once it has ended: a training may take less than another one.
    """
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    if fields[0] == "Z":
        return math.inf
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def trial(folder: Path, seed: int, seconds: float | None) -> dict[str, Any]:
    """Train, kill, look, deliver, look, go on, look.

    Args:
        folder: of the training; empty.
        seed: chooses the kind of store and the time.
        seconds: processor time of an undisturbed training; None: this one is not disturbed.
    """
    kind = KINDS[seed % len(KINDS)]
    folder.mkdir(parents=True)
    uri = str(folder / "runs") if kind == "folder" else f"sqlite:///{folder / 'mlflow.db'}"
    process = in_process(lambda: train(folder, kind))
    while not (folder / "finished").exists():
        time.sleep(0.005)
    started = processor_seconds(process)
    if seconds is not None:
        last = started + random.Random(seed).uniform(0.0, 1.0) * seconds
        while processor_seconds(process) < last:
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
    _, status, usage = os.wait4(process, 0)
    took = usage.ru_utime + usage.ru_stime - started
    finished = [int(line) for line in (folder / "finished").read_text().split()]
    before = held(uri)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = command(["sync", str(folder / "runs" if (folder / "runs").exists() else folder)])
    after = held(uri)
    # Without a checkpoint, no training can go on, and one that has ended need not.
    resumed = None
    if os.WIFSIGNALED(status) and (folder / "last.ckpt").exists():
        _, status_of_resumed = os.waitpid(in_process(lambda: train(folder, kind)), 0)
        resumed = held(uri) if status_of_resumed == 0 else {}
    return {
        "kind": kind,
        "seed": seed,
        "seconds": took,
        "killed": os.WIFSIGNALED(status),
        "finished": finished,
        "before": before,
        "after": after,
        "resumed": resumed,
        "sync": code,
        "said": said.getvalue(),
    }


def main() -> None:
    """Print the result of each trial."""
    folder, first, trials = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    # What a first training loads and lays out, the others find.
    (folder / "first").mkdir()
    train(folder / "first", "mlflow")
    # Processes that are forked do not look through what this one has imported.
    gc.collect()
    gc.freeze()
    took = trial(folder / "undisturbed", first, None)["seconds"]
    for seed in range(first, first + trials):
        found = trial(folder / str(seed), seed, took)
        sys.stdout.write(f"{json.dumps(found)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
