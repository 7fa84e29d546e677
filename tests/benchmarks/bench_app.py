"""Every page of the app on a store of 100 runs of 100 epochs: time, and questions to MLflow.

Builds a real store on SQLite, then opens each page with four runs picked: cold, with all caches
empty, and warm, right after. The times are those of the page's script; what the browser needs to
draw comes on top.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st
import torch
from streamlit.testing.v1 import AppTest
from tqdm import tqdm

from sing_monitor.analyses import analyze
from sing_monitor.findings import Findings
from sing_monitor.tracking import MlflowRun, RunWriter
from tests.app.asked import counting
from tests.app.conftest import MAIN
from tests.app.stores import MINUTE, START, Store, history, own_metrics
from tests.benchmarks.bench_analysis import planted

PAGES = ("runs", "evolution", "tradeoff", "classes", "concepts", "images", "geometry", "guide")
PICKED = 4
SHAPE = (1_000, 128, 100, 64, 60)  # samples N, features m, classes C, embedding n, concepts K


def findings() -> Findings:
    """Real tables of a planted problem; the same at every epoch, which no page minds."""
    snapshot, texts = planted(SHAPE)
    return analyze(replace(snapshot, image_ids=torch.arange(SHAPE[0])), texts)


def build(folder: Path, runs: int, epochs: int) -> tuple[Store, list[str]]:
    """The store, and the runs that hold tables and pictures."""
    store, tables = Store.at(folder), findings()
    movers = tables.tables["images"].query("mover")["image"]
    pictures = np.random.default_rng(0).integers(256, size=(len(movers), 64, 64, 3), dtype=np.uint8)
    picked = []
    for number in tqdm(range(runs), desc="building the store", unit="run"):
        is_picked = number >= runs - PICKED
        shift = number / runs
        run = store.run(
            f"run {number}",
            history(epochs, shift),
            own=own_metrics(epochs, shift),
            started=START + number * 600 * MINUTE,
            params={"learning_rate": str(shift), "seed": str(number % 3)},
            tables=tables if is_picked else None,
        )
        if is_picked:
            writer = RunWriter(MlflowRun(store.client, run), folder / "spool")
            thumbnails = dict(zip(movers, pictures, strict=True))
            writer.write(tables, epoch=epochs - 1, step=epochs * 100, thumbnails=thumbnails)
            picked.append(run)
    return store, picked


def opened(page: str, picked: list[str]) -> AppTest:
    """A page, as a link opens it."""
    app = AppTest.from_file(str(MAIN), default_timeout=600)
    app.query_params["runs"] = picked
    app.query_params["baseline"] = picked[0]
    return app.switch_page(f"views/{page}.py")


def measured(app: AppTest) -> tuple[float, Counter[str]]:
    """Seconds of one run of the page, and what it asked."""
    with counting() as asked:
        start = time.perf_counter()
        app.run()
        seconds = time.perf_counter() - start
    assert not app.exception, app.exception
    return seconds, asked


def main() -> None:
    """Build the store and open every page twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--epochs", type=int, default=100)
    args = parser.parse_args()
    # Outside a server Streamlit warns at every call.
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        store, picked = build(Path(folder), args.runs, args.epochs)
        os.environ["MLFLOW_TRACKING_URI"] = store.uri
        measured(opened("guide", picked))  # imports count for no page
        print(f"{'page':<10} {'cold':>8} {'warm':>8}  questions cold, warm")
        for page in PAGES:
            st.cache_data.clear()
            app = opened(page, picked)
            (cold, asked), (warm, again) = measured(app), measured(app)
            kinds = ", ".join(f"{count} {name}" for name, count in sorted(asked.items()))
            print(
                f"{page:<10} {cold:>7.2f}s {warm:>7.2f}s  "
                f"{asked.total()}, {again.total()}  ({kinds or 'none'})"
            )


if __name__ == "__main__":
    main()
