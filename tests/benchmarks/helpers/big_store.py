"""A large MLflow store on SQLite, made in a minute: one real run, and copies of its rows.

The first run is written as a training writes it. Every other one takes over its rows and files,
with numbers of its own; rows go to the database in one go, and files are linked.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from sing_monitor.analyses import analyze
from sing_monitor.findings import Findings
from sing_monitor.snapshot import Snapshot
from sing_monitor.tracking import Layout, MlflowRun, RunWriter
from tests.app.stores import MINUTE, START, Store, own_metrics
from tests.benchmarks.bench_analysis import planted

# Samples N, features m, classes C, embedding n, concepts K
SMALL = (1_000, 128, 100, 64, 60)
LARGE = (10_000, 1_024, 1_000, 128, 100)
_FIRST_EPOCH = Layout().validation(0, 100)


@dataclass(frozen=True)
class BigStore:
    """What was made: the address, the runs from the oldest to the newest, and their experiment."""

    uri: str
    experiment: str
    runs: list[str]


def make_store(
    folder: Path,
    *,
    runs: int,
    epochs: int,
    shape: tuple[int, int, int, int, int] = SMALL,
    with_tables: int = 4,
) -> BigStore:
    """Make the store in an empty folder.

    Args:
        folder: gets ``mlflow.db`` and the runs' files.
        runs: how many, all finished.
        epochs: validations of each.
        shape: of the validated problem; its tables are as large as those of a real one.
        with_tables: how many of the newest runs hold tables of every epoch; the others of one.
    """
    store = Store.at(folder)
    found, snapshot = _findings(shape)
    first = _first_run(store, found, snapshot)
    experiment = store.client.get_run(first).info.experiment_id
    ids = [first, *(uuid.uuid4().hex for _ in range(runs - 1))]
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        for number, run in enumerate(ids):
            _copy_rows(database, first, run, number)
            _fill_curves(database, found, run, epochs, number / runs)
    root = folder / "artifacts"
    for run in ids:
        if run != first:
            shutil.copytree(root / first, root / run, copy_function=os.link)
    for run in ids[-with_tables:]:
        place = root / run / "artifacts"
        for epoch in range(1, epochs):
            at = place / Layout().validation(epoch, (epoch + 1) * 100)
            shutil.copytree(place / _FIRST_EPOCH, at, copy_function=os.link)
    return BigStore(store.uri, str(experiment), ids)


def _findings(shape: tuple[int, int, int, int, int]) -> tuple[Findings, Snapshot]:
    snapshot, texts = planted(shape)
    # Of the first validation, whose ridge pages look up.
    snapshot = replace(snapshot, step=100, image_ids=torch.arange(shape[0]))
    return analyze(snapshot, texts), snapshot


def _first_run(store: Store, found: Findings, snapshot: Snapshot) -> str:
    """A run with everything but curves."""
    params = {f"parameter_{number}": str(number) for number in range(12)}
    run = store.run("run 0", [], params=params, config={"concepts": ["red"]})
    movers = found.tables["images"].query("mover")["image"]
    pictures = np.random.default_rng(0).integers(256, size=(len(movers), 64, 64, 3), dtype=np.uint8)
    writer = RunWriter(MlflowRun(store.client, run), store.folder / "spool")
    thumbnails = dict(zip(movers, pictures, strict=True))
    writer.write(found, epoch=0, step=100, thumbnails=thumbnails)
    writer.write_snapshot(snapshot)
    return run


def _copy_rows(database: sqlite3.Connection, first: str, run: str, number: int) -> None:
    if run == first:
        return
    for table in ("runs", "tags", "params"):
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        others = ", ".join(column for column in columns if column != "run_uuid")
        database.execute(
            f"INSERT INTO {table} (run_uuid, {others}) SELECT ?, {others} FROM {table} "
            "WHERE run_uuid = ?",
            (run, first),
        )
    started = START + number * 600 * MINUTE
    place = "replace(artifact_uri, ?, ?)"
    database.execute(
        f"UPDATE runs SET name = ?, start_time = ?, end_time = ?, artifact_uri = {place} "
        "WHERE run_uuid = ?",
        (f"run {number}", started, started + 500 * MINUTE, first, run, run),
    )
    name = "UPDATE tags SET value = ? WHERE run_uuid = ? AND key = 'mlflow.runName'"
    database.execute(name, (f"run {number}", run))
    seed = "UPDATE params SET value = ? WHERE run_uuid = ? AND key = 'parameter_0'"
    database.execute(seed, (str(number), run))


def _fill_curves(
    database: sqlite3.Connection, found: Findings, run: str, epochs: int, shift: float
) -> None:
    """Every metric of the run at every epoch; all of them move, as those of a training do."""
    random = np.random.default_rng(int(1e6 * shift))
    keys = [key for key, value in found.scalars.items() if np.isfinite(value)]
    last = np.array([found.scalars[key] for key in keys])
    progress = 1 - np.exp(-(np.arange(epochs) + 1) / 5)
    values = last * progress[:, None] * random.normal(1 + 0.1 * shift, 0.01, (epochs, len(keys)))
    rows = []
    for epoch, own in enumerate(own_metrics(epochs, shift)):
        step, at = (epoch + 1) * 100, START + (epoch + 1) * 3 * MINUTE
        logged = dict(zip(keys, values[epoch].tolist(), strict=True)) | own
        logged |= {"monitor/global_step": float(step), "monitor/stage": 0.0, "epoch": float(epoch)}
        rows += [(key, value, at, step - 1, 0, run) for key, value in logged.items()]
    columns = "(key, value, timestamp, step, is_nan, run_uuid)"
    for table, part in (("metrics", rows), ("latest_metrics", rows[-len(logged) :])):
        database.executemany(f"INSERT INTO {table} {columns} VALUES (?, ?, ?, ?, ?, ?)", part)
