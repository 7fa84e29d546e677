"""How often each page asks MLflow: not much when it is cold, and not at all when it is warm."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import streamlit as st

from sing_monitor.tracking import RunReader, list_runs
from tests.app.asked import counting
from tests.app.conftest import Opened

# Of a cold page with two runs of five epochs: curves, tables and files but sheets of thumbnails.
MOST = {
    "runs": {"get_metric_history": 16, "download_artifacts": 2},
    "evolution": {"get_metric_history": 32, "download_artifacts": 10},
    "tradeoff": {"get_metric_history": 42, "download_artifacts": 6},
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
    with counting() as asked:
        app = open_page(page, uri, runs=runs)
    assert not app.exception
    assert asked["search_runs"] == 1
    most = Counter(MOST[page])
    if page in PICTURES:
        most["download_artifacts"] += 2 * PICTURES[page](sheets)
    assert all(asked[kind] <= most[kind] for kind in most), asked
    with counting() as again:
        app.run()
    assert not app.exception
    assert not again
