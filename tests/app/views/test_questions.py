"""How often each page asks MLflow: not much when it is cold, and not at all when it is warm."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import streamlit as st

from sing_monitor.app.read.store import REFRESH_SECONDS
from sing_monitor.findings import Findings
from sing_monitor.tracking import RunReader, list_runs
from tests.app.asked import counting
from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store, history
from tests.app.views.test_classes import tables

# Of a cold page with two runs of five epochs: curves, tables and files but sheets of thumbnails.
MOST = {
    "runs": {"get_metric_history": 16, "download_artifacts": 2},
    "evolution": {"get_metric_history": 50, "download_artifacts": 10},
    "tradeoff": {"get_metric_history": 44, "download_artifacts": 8},
    "classes": {"get_metric_history": 0, "download_artifacts": 8},
    "concepts": {"get_metric_history": 0, "download_artifacts": 7},
    "images": {"get_metric_history": 0, "download_artifacts": 3},
    "geometry": {"get_metric_history": 38, "download_artifacts": 2},
    "guide": {"get_metric_history": 0, "download_artifacts": 0},
}
# Which runs' thumbnails a page shows. A run has a sheet for each epoch that showed new images; it
# comes in two files.
PICTURES = {"classes": sum, "images": max}


@pytest.mark.parametrize("page", MOST)
def test_a_page_asks_once_and_then_no_more(
    page: str, open_page: Opened, quickstart_folder: Path
) -> None:
    uri = f"sqlite:///{quickstart_folder / 'mlflow.db'}"
    runs = list_runs(uri)["run_id"].tolist()
    sheets = [len(list(RunReader(uri, run).sheets())) for run in runs]
    st.cache_data.clear()
    started = time.monotonic()
    with counting() as asked:
        app = open_page(page, uri, runs=runs)
    assert not app.exception
    assert 1 <= asked["search_runs"] <= 1 + refreshes_since(started)
    most = Counter(MOST[page])
    if page in PICTURES:
        most["download_artifacts"] += 2 * PICTURES[page](sheets)
    assert all(asked[kind] <= most[kind] for kind in most), asked
    with counting() as again:
        app.run()
    assert not app.exception
    assert again.pop("search_runs", 0) <= refreshes_since(started)
    assert not again


def refreshes_since(started: float) -> int:
    """How often the list of runs may have been asked for anew since a page was opened."""
    return int((time.monotonic() - started) / (REFRESH_SECONDS - 1))


def downloads_of_classes(
    store: Store, open_page: Opened, experiment: str, share: float, *, apart: bool
) -> int:
    """Downloads of a cold page of classes with two runs of five epochs.

    Args:
        store: to add the runs to.
        open_page: opens the page.
        experiment: of the runs.
        share: of the images of every class that are out of support.
        apart: in the table ``class_support`` alone, as earlier versions stored it.
    """
    shares = {"outside": 2 * [share], "outside_centered": 2 * [share]}
    found = dict(tables(["cat", "dog"]).tables)
    found["class_support"] = pd.DataFrame({"class_index": range(2), **shares})
    if not apart:
        found["classes"] = found["classes"].assign(**shares)
    runs = [
        store.run(name, history(5), experiment=experiment, tables=Findings({}, found))
        for name in ("one", "other")
    ]
    st.cache_data.clear()
    with counting() as asked:
        app = open_page("classes", store.uri, runs=runs)
    assert not app.exception
    marks = app.dataframe[0].value["mark"].tolist()
    assert all(bool(mark) == (share > 0.1) for mark in marks)
    return asked["download_artifacts"]


def test_a_mark_costs_no_table(
    empty_store: Store, open_page: Opened, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = copy_of(empty_store, tmp_path_factory.mktemp("marks"))
    far, near, apart_far, apart_near = (
        downloads_of_classes(store, open_page, f"{share} {apart}", share, apart=apart)
        for apart in (False, True)
        for share in (0.5, 0.0)
    )
    assert far == near
    # Of an earlier version's runs the table of the shown epoch is read, of each run.
    assert apart_far == apart_near == far + 2
