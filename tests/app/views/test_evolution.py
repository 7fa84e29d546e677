"""What the page Evolution shows while files arrive, runs vanish and choices are taken back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.read import run_list, sources
from sing_monitor.app.read import store as app_store
from sing_monitor.app.read.sources import RunSource
from sing_monitor.app.wording import metrics
from sing_monitor.findings import Findings
from sing_monitor.tracking import MlflowRun, RunWriter
from tests.app.conftest import Opened, copy_of
from tests.app.stores import Store, history, refitted_history
from tests.app.views.test_pages import charts, layers, texts, titles

KEY = "sing/attribute_score_centered"
MEANING = "Meaning of the images"


@pytest.fixture
def own(empty_store: Store, tmp_path: Path) -> Store:
    """A store of one test."""
    return copy_of(empty_store, tmp_path)


def tables(high: float) -> Findings:
    table = pd.DataFrame({"key": [KEY], "value": 5.0, "low": 4.0, "high": high})
    classes = pd.DataFrame(
        {
            "class_index": [0],
            "class_name": ["a"],
            "n": [5],
            "accuracy": [0.5],
            "attribute_score_centered": [high],
        }
    )
    return Findings(
        history(1)[0], {"intervals": table.assign(n=100, level=0.95), "classes": classes}
    )


def listed_anew() -> None:
    """As after the minute for which the list of a run's files is kept."""
    sources.listing_of.clear()


def write(store: Store, run: str, epoch: int, found: Findings) -> None:
    writer = RunWriter(MlflowRun(store.client, run), store.folder / "spool")
    writer.write(found, epoch=epoch, step=100 * (epoch + 1))


def test_without_a_metric_there_are_no_numbers(open_page: Opened, own: Store) -> None:
    run = own.run("refitted", refitted_history(3))
    app = open_page("evolution", own.uri, runs=[run])
    app.multiselect(key="metrics").set_value([]).run()
    assert not app.exception
    assert MEANING in titles(app)
    assert "Numbers" not in texts(app)


def test_a_run_that_vanishes_takes_no_other_away(open_page: Opened, own: Store) -> None:
    stays, goes = (own.run(name, refitted_history(3)) for name in ("stays", "goes"))
    # Gone after it was listed.
    run_list.listed(own.uri)
    with closing(sqlite3.connect(own.folder / "mlflow.db")) as database, database:
        database.execute("DELETE FROM metrics WHERE run_uuid = ?", [goes])
    app = open_page("evolution", own.uri, runs=[stays, goes])
    assert not app.exception
    assert titles(app).count(MEANING) == 1


def last_intervals(app: AppTest, run: str) -> list[str]:
    table = app.dataframe[0].value
    if "last_interval" not in table:
        return []
    return table.loc[
        table["series"].eq(run) & table["last_interval"].ne(""), "last_interval"
    ].tolist()


def test_intervals_that_arrive_late_are_shown(open_page: Opened, own: Store) -> None:
    """Also at an epoch for which no band is read, since another run is longer."""
    longer = own.run("longer", history(60))
    late = own.run("late", history(4), status=None)
    write(own, late, 2, tables(6.0))
    app = open_page("evolution", own.uri, runs=[longer, late])
    assert last_intervals(app, late) == []
    write(own, late, 3, tables(7.0))
    listed_anew()
    app.run()
    assert not app.exception
    assert last_intervals(app, late) == ["4.00° to 7.00°"]


def test_a_run_that_ended_early_has_its_last_interval(open_page: Opened, own: Store) -> None:
    longer = own.run("longer", history(60))
    early = own.run("early", history(2), tables=tables(6.0))
    app = open_page("evolution", own.uri, runs=[longer, early])
    assert not app.exception
    (chart,) = (each for each in charts(app) if each["title"]["text"] == metrics.label(KEY))
    assert any(each.get("encoding", {}).get("y2") == {"field": "high"} for each in layers(chart))


def test_tables_that_are_stored_again_take_the_place_of_the_first(
    open_page: Opened, own: Store
) -> None:
    """A killed run was never said to have ended: nothing but its files has changed."""
    run = own.run("killed", history(2), status=None, tables=tables(6.0))
    evolution, classes = (open_page(page, own.uri, runs=[run]) for page in ("evolution", "classes"))
    assert last_intervals(evolution, run) == ["4.00° to 6.00°"]
    assert classes.dataframe[0].value["mean"].tolist() == [6.0]
    bands = [chart.proto.datasets[0].data.data for chart in evolution.get("vega_lite_chart")]
    write(own, run, 1, tables(8.0))
    listed_anew()
    evolution.run()
    classes.run()
    assert last_intervals(evolution, run) == ["4.00° to 8.00°"]
    assert classes.dataframe[0].value["mean"].tolist() == [8.0]
    now = [chart.proto.datasets[0].data.data for chart in evolution.get("vega_lite_chart")]
    assert sum(one != other for one, other in zip(bands, now, strict=True)) == 1


def test_of_many_runs_the_ends_of_their_differences_are_told(open_page: Opened, own: Store) -> None:
    ids = [own.run(f"wide {number}", history(2, number / 10)) for number in range(6)]
    few = open_page("evolution", own.uri, runs=ids[:5], baseline=ids[0])
    assert "To the baseline: " in texts(few)
    assert "To the baseline, of" not in texts(few)
    many = open_page("evolution", own.uri, runs=ids, baseline=ids[0])
    below = [each.value for each in many.caption if each.value.startswith("To the baseline")]
    assert below
    assert all(said.startswith("To the baseline, of 5 runs: ") for said in below)
    assert all(said.count("at epoch 1") == 2 for said in below)
    opened = open_page("evolution", own.uri, runs=ids, baseline=ids[0], numbers="true")
    table = opened.dataframe[0].value
    found = table.loc[table["metric"] == metrics.label(KEY), "difference"].dropna()
    ends = [metrics.value_text(KEY, each, sign=True) for each in (found.min(), found.max())]
    assert any(all(end in said.replace("\\", "") for end in ends) for said in below)


def test_the_box_of_pictures_follows_the_picked_runs(open_page: Opened, own: Store) -> None:
    ids = [own.run(f"run {number}", refitted_history(2)) for number in range(6)]
    app = open_page("evolution", own.uri, runs=ids[:4])
    app.multiselect(key="meaning").set_value(ids[2:4]).run()
    app.multiselect(key="sidebar_runs").set_value(ids[:3]).run()
    assert app.multiselect(key="meaning").value == [ids[2]]
    app.multiselect(key="sidebar_runs").set_value([*ids[:2], *ids[4:]]).run()
    assert not app.exception
    assert app.multiselect(key="meaning").value == ids[:2]
    assert titles(app).count(MEANING) == 2
    app.multiselect(key="meaning").set_value([]).run()
    app.multiselect(key="sidebar_runs").set_value(ids).run()
    assert app.multiselect(key="meaning").value == []


SECTIONS = ("more", "pictures", "numbers")


@pytest.fixture(scope="module")
def five(empty_store: Store, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, list[str]]:
    store = copy_of(empty_store, tmp_path_factory.mktemp("five"))
    own = [{"val_loss": 1.0}, {"val_loss": 0.5}]
    return store, [store.run(f"run {at}", refitted_history(2), own=own) for at in range(5)]


def test_of_many_runs_a_page_draws_the_first_metrics_until_its_sections_are_opened(
    open_page: Opened, five: tuple[Store, list[str]]
) -> None:
    store, ids = five
    few = open_page("evolution", store.uri, runs=ids[:4])
    assert not few.expander
    many = open_page("evolution", store.uri, runs=ids)
    keys = ("sing/class_hidden", "sing/retention_seen", "monitor/accuracy")
    first = [*map(metrics.label, keys), "val_loss"]
    assert titles(many) == first
    assert not many.dataframe
    labels = [section.label for section in many.expander]
    assert labels[1:] == ["Where the meaning lies", "Numbers"]
    named = labels[0].removeprefix("7 more metrics: ").split(" · ")
    opened = open_page("evolution", store.uri, runs=ids, **dict.fromkeys(SECTIONS, "true"))
    assert not opened.exception
    assert titles(opened)[:11] == [*first, *named]
    # Pictures of the first two runs, as of few.
    assert sorted(titles(opened)) == sorted(titles(few))
    assert len(opened.dataframe) == len(few.dataframe) == 1


def test_of_a_closed_section_nothing_is_read(
    open_page: Opened, five: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, ids = five
    asked: list[set[str]] = []
    histories = app_store.histories

    def recorded(
        sources: Sequence[RunSource], keys: Sequence[str], others: Sequence[str]
    ) -> object:
        asked.append({*keys})
        return histories(sources, keys, others)

    monkeypatch.setattr(app_store, "histories", recorded)
    for choice in ({}, {"more": "true"}, {"pictures": "true"}):
        open_page("evolution", store.uri, runs=ids, **choice)
    closed, more, pictures = asked
    assert "sing/class_hidden" in closed
    assert "translator/r2" in more - closed
    assert "meaning/shared" in pictures - more - closed


def test_whoever_chose_metrics_or_what_a_section_holds_sees_them(
    open_page: Opened, five: tuple[Store, list[str]]
) -> None:
    store, ids = five
    keys = (
        "translator/r2",
        "collapse/nc1",
        "head/null_dim",
        "sing/zero_shot",
        "sing/zero_shot_null",
    )
    labels = [*map(metrics.label, keys)]
    chosen = open_page("evolution", store.uri, runs=ids, metrics=labels)
    assert {*titles(chosen)} == {*labels, "val_loss"}
    pictures = open_page("evolution", store.uri, runs=ids, meaning="run 3")
    assert titles(pictures).count(MEANING) == 1
    table = open_page("evolution", store.uri, runs=ids, epoch="0")
    assert "At epoch 0" in table.dataframe[0].proto.columns


def test_without_a_metric_nothing_is_said_about_validations(open_page: Opened, own: Store) -> None:
    ids = [own.run(f"run {at}", refitted_history(2)) for at in range(5)]
    app = open_page("evolution", own.uri, runs=ids)
    app.multiselect(key="metrics").set_value([]).run()
    assert [message.value for message in app.info] == [
        "No metric is chosen. Choose some in **Metrics** above."
    ]
    app.multiselect(key="metrics").set_value(["translator/r2"]).run()
    assert titles(app) == [metrics.label("translator/r2")]
    assert not app.info
