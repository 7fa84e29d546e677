"""How often each page asks MLflow: not much when it is cold, and not at all when it is warm."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pandas as pd
import pytest

from sing_monitor.app.read import run_list
from sing_monitor.app.read import store as data
from sing_monitor.findings import Findings
from sing_monitor.tracking import list_runs
from tests.app.asked import counting
from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store, history
from tests.app.views.test_classes import tables

# Of a cold page with two runs on a local database, however many epochs, curves and tables it
# shows: the experiments, the runs in four statements, and the curves in one.
MOST_STATEMENTS = 16
PAGES = (
    *("runs", "evolution", "tradeoff", "classes", "concepts", "images"),
    *("geometry", "hierarchy", "similarity", "dynamics", "steering", "tables", "guide"),
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_once_and_then_no_more(
    page: str, open_page: Opened, quickstart_folder: Path
) -> None:
    uri = f"sqlite:///{quickstart_folder / 'mlflow.db'}"
    runs = list_runs(uri)["run_id"].tolist()
    data.forget()
    with counting() as asked:
        app = open_page(page, uri, runs=runs)
    assert not app.exception
    assert asked["search_experiments"] == 1
    assert asked["statements"] <= MOST_STATEMENTS
    # Files on the same disk are read where they lie.
    assert set(asked) <= {"search_experiments", "statements", "read_file"}, asked
    with counting() as again:
        app.run()
    assert not app.exception
    assert not again


def test_a_list_that_is_looked_up_again_asks_only_if_something_was_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_list, "REFRESH_SECONDS", 0)
    # Younger files may be written again within one tick of their clock.
    database = store.folder / "mlflow.db"
    an_hour_ago = time.time() - 3600
    os.utime(database, (an_hour_ago, an_hour_ago))
    before = data.listing(store.uri)
    with counting() as asked:
        assert data.listing(store.uri) is before
    assert not asked
    run = store.run("one more", history(1))
    assert data.listing(store.uri)["run_id"].tolist()[0] in {run, *before["run_id"]}
    assert run in set(data.listing(store.uri)["run_id"])
    store.client.delete_run(run)
    assert run not in set(data.listing(store.uri)["run_id"])
    store.client.restore_run(run)
    assert run in set(data.listing(store.uri)["run_id"])
    store.client.delete_run(run)


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
    data.forget()
    with counting() as asked:
        app = open_page("classes", store.uri, runs=runs)
    assert not app.exception
    marks = app.dataframe[0].value["mark"].tolist()
    assert all(bool(mark) == (share > 0.1) for mark in marks)
    return asked["read_file"]


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
