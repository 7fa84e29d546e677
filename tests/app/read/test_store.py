"""The store is asked once for what does not change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from sing_monitor.app.read import run_list
from sing_monitor.app.read import store as data
from sing_monitor.app.read.sources import RunSource
from sing_monitor.app.ui.selection import run_source
from sing_monitor.findings import Findings
from sing_monitor.tracking import (
    ArtifactNotFoundError,
    MlflowRun,
    RunWriter,
    StoreError,
    create_run,
)
from tests.app.asked import counting
from tests.app.conftest import Opened, Runs
from tests.app.stores import Store, plausible


@pytest.fixture
def asked() -> Iterator[Counter[str]]:
    """Counts the questions that MLflow really gets."""
    data.forget()
    with counting() as counts:
        yield counts
    data.forget()


def row(store: Store, run_id: str) -> pd.Series:
    run_list.forget()
    listing = data.listing(store.uri)
    return listing[listing["run_id"] == run_id].iloc[0]


def test_a_page_asks_once(open_page: Opened, runs: Runs, asked: Counter[str]) -> None:
    app = open_page("evolution", runs=[runs.healthy, runs.shortcut])
    assert asked["search_experiments"] == 1
    # The experiments in a few, the runs in four, their curves in one.
    assert asked["statements"] <= 16
    asked.clear()
    app.run()
    app.switch_page("views/guide.py").run()
    app.switch_page("views/evolution.py").run()
    assert not asked


def test_the_table_of_runs_asks_once_for_all_curves(open_page: Opened, asked: Counter[str]) -> None:
    app = open_page("runs")
    assert len(app.dataframe[0].value) > 10
    assert asked["search_experiments"] == 1
    assert asked["statements"] <= 16
    asked.clear()
    app.run()
    assert not asked


def test_a_failure_is_kept_for_a_moment(dead_port: int) -> None:
    uri = f"http://127.0.0.1:{dead_port}"
    with pytest.raises(StoreError) as first:
        data.listing(uri)
    with pytest.raises(StoreError) as second:
        data.listing(uri)
    assert str(first.value) == str(second.value)


def test_a_growing_run_is_read_again_after_a_validation(store: Store) -> None:
    run = store.run("growing", [plausible(0)], status=None)
    before = run_source(store.uri, row(store, run))
    assert len(data.histories([before], ["sing/retention"])[before]) == 1
    for key, value in {"sing/retention": 0.5, "monitor/global_step": 200.0, "epoch": 1.0}.items():
        store.client.log_metric(run, key, value, step=199)
    data.forget()
    after = run_source(store.uri, row(store, run))
    assert after != before
    assert len(data.histories([after], ["sing/retention"])[after]) == 2
    store.client.set_terminated(run)
    data.forget()
    assert run_source(store.uri, row(store, run)) != after
    store.client.delete_run(run)


def test_tables_are_read_once_even_while_the_run_grows(store: Store, asked: Counter[str]) -> None:
    frame = pd.DataFrame({"class_name": ["a", "<b>"], "n": [1, 2]})
    run = store.run("tables", [plausible(0)], status=None, tables=Findings({}, {"classes": frame}))
    found = run_source(store.uri, row(store, run))
    assert data.validations(found) == [(0, 100)]
    asked.clear()
    for progress in ("1", "2"):
        grown = RunSource(found.uri, run, None, found.state, progress)
        pd.testing.assert_frame_equal(data.table(grown, "classes", 0, 100), frame)
    assert asked["read_file"] == 1
    with pytest.raises(ArtifactNotFoundError, match=r"no images\.parquet"):
        data.table(found, "images", 0, 100)
    assert data.config(found) == {"prompt": "an image of a {}"}
    assert data.thumbnails(found, ["0" * 16]) == {}
    store.client.delete_run(run)


def test_a_missing_table_is_asked_for_once_until_the_next_validation(
    store: Store, asked: Counter[str]
) -> None:
    frame = pd.DataFrame({"class_name": ["a"], "n": [1]})
    run = store.run("older", [plausible(0)], status=None, tables=Findings({}, {"classes": frame}))
    found = run_source(store.uri, row(store, run))
    asked.clear()
    for _ in range(2):
        with pytest.raises(ArtifactNotFoundError, match=r"no support\.parquet"):
            data.table(found, "support", 0, 100)
        assert data.tables(found, "class_support", [(0, 100), (1, 200)]) == {}
    assert asked["read_file"] == 3
    grown = RunSource(found.uri, run, None, found.state, "2")
    writer = RunWriter(MlflowRun(store.client, run), store.folder / "spool")
    writer.write(Findings({}, {"support": frame}), epoch=0, step=100)
    pd.testing.assert_frame_equal(data.table(grown, "support", 0, 100), frame)
    store.client.delete_run(run)


def test_two_stores_do_not_share_what_was_read(store: Store, empty_store: Store) -> None:
    assert len(data.listing(store.uri)) > 0
    assert data.listing(empty_store.uri).empty


def test_only_what_a_page_shows_is_read(
    open_page: Opened, store: Store, asked: Counter[str]
) -> None:
    concepts = pd.DataFrame({"concept": ["red"], "n": 1, "angle_before": 80.0})
    for suffix in ("", "_centered"):
        concepts = concepts.assign(
            **{f"angle_after{suffix}": 81.0, f"attribute_score{suffix}": -1.0}
        )
    classes = pd.DataFrame({"class_index": [0, 1], "class_name": ["a", "b"]})
    found = {
        "classes": classes,
        "concepts": concepts,
        "class_concepts": concepts.assign(class_index=1),
    }
    run = store.run(
        "by epoch", [plausible(epoch) for epoch in range(3)], tables=Findings({}, found)
    )
    data.forget()
    asked.clear()
    app = open_page("concepts", runs=[run])
    # The names of the classes, three epochs of all classes together, and the support of one.
    assert asked["read_file"] == 4 + 1
    asked.clear()
    app.selectbox(key="class").set_value("b").run()
    assert asked["read_file"] == 3 + 1
    assert not app.exception
    app.selectbox(key="class").set_value(None).run()
    asked.clear()
    app.select_slider(key="epoch").set_value(0).run()
    assert asked["read_file"] == 1
    store.client.delete_run(run)


def test_tables_that_are_missing_or_damaged_are_left_out(store: Store) -> None:
    frame = pd.DataFrame({"class_name": ["a", "b"], "n": [1, 2]})
    run = store.run("gaps", [plausible(0)], tables=Findings({}, {"classes": frame}))
    writer = store.folder / "artifacts" / run / "artifacts" / "sing" / "epoch=0001-step=00000200"
    writer.mkdir()
    (writer / "classes.parquet").write_bytes(b"PAR1")
    found = run_source(store.uri, row(store, run))
    validations = [(0, 100), (1, 200), (2, 300)]
    read = data.tables(found, "classes", validations, ["n", "later"], ("class_name", "b"))
    assert {at: table.to_dict("list") for at, table in read.items()} == {(0, 100): {"n": [2]}}
    assert data.tables(found, "classes", validations, None, ("later", 1)) == {}
    store.client.delete_run(run)


def test_a_folder_of_runs_is_shown_like_a_database(open_page: Opened, tmp_path: Path) -> None:
    uri = str(tmp_path / "runs")
    run = create_run(uri, run_name="in a folder", experiment="digits")
    app = open_page("runs", uri=uri)
    assert 'SINGCallback(tracking="' in app.code[0].value
    frame = pd.DataFrame({"class_index": [0], "class_name": ["a"], "n": [1]})
    writer = RunWriter(run)
    writer.describe({"prompt": "an image of a {}"}, {"model": "ResNet", "space": "TinyCLIP"})
    for epoch, values in enumerate(plausible(epoch) for epoch in range(3)):
        writer.write(Findings(values, {"classes": frame}), epoch=epoch, step=100 * epoch + 100)
        writer.keep_scalars(values, epoch=epoch, step=100 * epoch + 100, tracker_step=100 * epoch)
        writer.deliver()
    run.finish("FINISHED")
    data.forget()
    found = run_source(uri, data.listing(uri).iloc[0])
    assert data.validations(found) == [(0, 100), (1, 200), (2, 300)]
    assert len(data.tables(found, "classes", data.validations(found))) == 3
    assert data.config(found) == {"prompt": "an image of a {}"}
    for page in ("runs", "evolution", "geometry", "guide"):
        app = open_page(page, uri=uri, runs=[run.run_id])
        assert not app.exception
    table = open_page("runs", uri=uri).dataframe[0].value
    assert table["run"].tolist() == ["in a folder"]
    assert table["epochs"].tolist() == [3]
    assert "mlflow" not in table
