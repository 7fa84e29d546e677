"""Every page in every state a store can be in: no traceback, and the designed look."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.charts.common import PALETTE
from sing_monitor.app.parts import runs_table
from tests.app.conftest import Opened, Runs
from tests.app.stores import Store, plausible

ONE_EACH = (
    "healthy",
    "shortcut",
    "nan",
    "one_epoch",
    "resumed",
    "other_space",
    "markup",
    "long_name",
    "two_monitors",
    "running",
)
OF_RUNS = (
    "runs",
    "evolution",
    "tradeoff",
    "classes",
    "concepts",
    "images",
    "explain",
    "steering",
    "geometry",
    "hierarchy",
    "similarity",
    "dynamics",
)


def texts(app: AppTest) -> str:
    """Everything the page says, without the code of the pictures in it."""
    kinds = ("title", "subheader", "markdown", "caption", "info", "warning", "error", "code")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def charts(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(element.proto.spec) for element in app.get("vega_lite_chart")]


def layers(chart: dict[str, Any]) -> list[dict[str, Any]]:
    """All marks of a chart, whatever layer of a layer they are in."""
    inner = chart.get("layer")
    return [chart] if inner is None else [mark for each in inner for mark in layers(each)]


def titles(app: AppTest) -> list[str]:
    return [chart["title"]["text"] for chart in charts(app)]


@pytest.mark.parametrize(
    "picked",
    [
        "healthy shortcut",
        "nan",
        "nan other_space markup long_name one_epoch no_validation",
        "running",
        "two_monitors healthy",
    ],
)
def test_evolution_shows_runs_of_every_kind(picked: str, open_page: Opened, runs: Runs) -> None:
    ids = [getattr(runs, name) for name in picked.split()]
    app = open_page("evolution", runs=ids, baseline=ids[-1])
    assert not app.exception
    assert not app.error
    assert charts(app)


def test_the_table_shows_runs_of_every_kind(open_page: Opened, runs: Runs) -> None:
    kinds = ("healthy", "one_epoch", "nan", "resumed", "markup", "running", "no_validation")
    ids = [getattr(runs, kind) for kind in kinds]
    app = open_page("runs", runs=ids)
    assert not app.exception
    assert not app.error
    table = app.dataframe[0].value.set_index("run")
    assert len(table) == 14
    settings = json.loads(app.dataframe[0].proto.columns)
    named = {column for column, about in settings.items() if {"label", "hidden"} & about.keys()}
    assert {*table.columns} <= named
    assert table.loc["nan", "status"] == "failed"
    assert table.loc["running", "status"] == "running"
    assert table.loc["resumed", "sing/image_score_centered last"] == 77.0
    assert table.loc["one epoch", "epochs"] == 1
    # Infinity is stored as 1.8e308, and is no best value.
    assert table.loc["nan", "monitor/accuracy best"] < 100


def walk(app: AppTest) -> Iterator[tuple[str, AppTest]]:
    """Through all pages in one session; none of them fails."""
    for page in OF_RUNS:
        app.switch_page(f"views/{page}.py").run()
        assert not app.exception, page
        yield page, app


def test_an_empty_database_shows_what_to_add(open_page: Opened, empty_store: Store) -> None:
    for page, app in walk(open_page("runs", empty_store.uri)):
        assert "No monitored run yet" in texts(app), page
        assert "callbacks=[SINGCallback()]" in texts(app), page
        assert empty_store.uri in texts(app), page


def test_runs_without_a_monitor_are_no_runs(open_page: Opened, unmonitored_store: Store) -> None:
    for page, app in walk(open_page("runs", unmonitored_store.uri)):
        assert "No monitored run yet" in texts(app), page


def test_a_missing_folder_is_named(open_page: Opened, tmp_path: Path) -> None:
    for page, app in walk(open_page("runs", f"sqlite:///{tmp_path / 'nowhere' / 'mlflow.db'}")):
        assert "The store cannot be read" in texts(app), page
        assert "nowhere" in texts(app), page
    assert not (tmp_path / "nowhere").exists()


def test_a_dead_server_is_named_without_its_password(open_page: Opened, dead_port: int) -> None:
    for page, app in walk(open_page("runs", f"http://bob:hunter2@127.0.0.1:{dead_port}")):
        assert "The store cannot be read" in texts(app), page
        assert f"127.0.0.1:{dead_port}" in texts(app), page
        assert "hunter2" not in texts(app), page
        assert "bob" not in texts(app), page


def test_every_page_shows_every_odd_run_at_once(open_page: Opened, runs: Runs) -> None:
    ids = [getattr(runs, name) for name in ONE_EACH]
    for page, app in walk(open_page("runs", runs=ids, baseline=ids[2])):
        assert not app.error, page
        assert app.sidebar.multiselect(key="sidebar_runs").value == ids, page
        assert any("do not compare" in warning.value for warning in app.warning), page


def test_the_guide_needs_no_store(open_page: Opened, dead_port: int) -> None:
    app = open_page("guide", f"http://127.0.0.1:{dead_port}")
    assert not app.exception
    assert "Image Score" in texts(app)


@pytest.mark.parametrize("page", OF_RUNS)
def test_a_deleted_run_of_a_link_is_named_and_the_others_are_shown(
    page: str, open_page: Opened, runs: Runs
) -> None:
    app = open_page(page, runs=[runs.deleted, runs.healthy])
    (warning,) = app.warning
    assert runs.deleted in warning.value
    assert "The other runs are shown" in warning.value
    assert app.sidebar.multiselect(key="sidebar_runs").value == [runs.healthy]


def test_a_link_of_deleted_runs_only_picks_nothing(open_page: Opened, runs: Runs) -> None:
    app = open_page("evolution", runs=[runs.deleted])
    assert "Pick a run" in texts(app)
    assert "The other runs" not in texts(app)
    assert not charts(app)


def test_a_run_that_is_deleted_while_it_is_shown(
    open_page: Opened, runs: Runs, store: Store
) -> None:
    passing = store.run("passing", [{"sing/image_score_centered": 3.0}])
    app = open_page("evolution", runs=[passing, runs.healthy])
    assert "passing" in texts(app)
    store.client.delete_run(passing)
    app.button[0].click().run()
    assert not app.exception
    assert passing in app.warning[0].value
    assert app.sidebar.multiselect(key="sidebar_runs").value == [runs.healthy]


def test_without_a_link_the_newest_runs_are_shown(open_page: Opened, runs: Runs) -> None:
    app = open_page("runs")
    assert app.sidebar.multiselect(key="sidebar_runs").value == [runs.no_validation, runs.running]
    assert app.query_params["runs"] == [runs.no_validation, runs.running]


def test_picks_follow_through_the_pages_and_into_the_address(open_page: Opened, runs: Runs) -> None:
    app = open_page("runs", runs=[runs.healthy])
    app.sidebar.multiselect(key="sidebar_runs").set_value([runs.healthy, runs.shortcut]).run()
    app.sidebar.selectbox(key="sidebar_baseline").set_value(runs.shortcut).run()
    app.switch_page("views/evolution.py").run()
    assert app.query_params["runs"] == [runs.healthy, runs.shortcut]
    assert app.query_params["baseline"] == runs.shortcut
    assert "shortcut *(baseline)*" in texts(app)


def test_a_baseline_leaves_with_its_run(open_page: Opened, runs: Runs) -> None:
    app = open_page("evolution", runs=[runs.healthy, runs.shortcut], baseline=runs.shortcut)
    app.sidebar.multiselect(key="sidebar_runs").set_value([runs.healthy]).run()
    assert app.sidebar.selectbox(key="sidebar_baseline").value == ""
    assert "baseline" not in app.query_params


def test_a_run_has_one_color_whatever_else_is_picked(open_page: Opened, runs: Runs) -> None:
    def series(page: str, *picked: str) -> dict[str, tuple[str, str]]:
        """Color and shape by run, as the charts of the page draw them."""
        app = open_page(page, runs=picked)
        places = next(
            mark["encoding"]
            for mark in layers(charts(app)[0])
            if {"color", "shape"} <= mark["encoding"].keys()
        )
        colors, shapes = places["color"]["scale"], places["shape"]["scale"]
        looks = zip(colors["range"], shapes["range"], strict=True)
        return dict(zip(colors["domain"], looks, strict=True))

    everything = [getattr(runs, name) for name in ONE_EACH]
    assert len(everything) > len(PALETTE)
    alone = {run: series("evolution", run)[run][0] for run in everything[:3]}
    together = series("evolution", *everything)
    assert {run: together[run][0] for run in alone} == alone
    assert series("tradeoff", *reversed(everything)) == together
    # There are fewer colors than runs, and every run looks different.
    assert len({color for color, _ in together.values()}) < len(together)
    assert len({*together.values()}) == len(together)


def test_evolution_without_a_metric_says_so(open_page: Opened, runs: Runs) -> None:
    app = open_page("evolution", runs=[runs.healthy])
    for key in ("metrics", "own"):
        app.multiselect(key=key).set_value([]).run()
    assert not app.exception
    assert not app.get("vega_lite_chart")


def test_the_evolution_page_shows_the_default_metrics_and_the_runs_own(
    open_page: Opened, runs: Runs
) -> None:
    app = open_page("evolution", runs=[runs.healthy, runs.shortcut], baseline=runs.healthy)
    assert titles(app) == [
        "AS toward the true class, centered",
        "IS, meaning moved, centered",
        "IS / |AS|, centered",
        "Null energy, centered",
        "R2 of the translation",
        "Cosine of the translation",
        "Accuracy on the probe",
        "val_loss",
    ]
    # Accuracy is shown once, and the training's own is still offered.
    assert "val_acc" in app.multiselect(key="own").options
    (numbers,) = app.dataframe
    scores = numbers.value.query("metric == 'AS toward the true class, centered'")
    assert scores["label"].tolist() == ["healthy", "shortcut"]
    assert scores["last_epoch"].tolist() == [7, 7]


def test_one_epoch_says_so(open_page: Opened, runs: Runs) -> None:
    app = open_page("evolution", runs=[runs.one_epoch])
    assert "drawn as a point" in texts(app)
    assert not app.select_slider
    assert "drawn as a point" not in texts(open_page("evolution", runs=[runs.healthy]))


def test_a_run_without_validations_says_so(open_page: Opened, runs: Runs) -> None:
    app = open_page("evolution", runs=[runs.no_validation])
    assert "No validation" in texts(app)
    assert not charts(app)


def test_a_resumed_run_shows_the_newest_value_of_a_repeated_step(
    open_page: Opened, runs: Runs
) -> None:
    app = open_page("evolution", runs=[runs.resumed])
    numbers = app.dataframe[0].value.set_index("metric")
    assert numbers.loc["IS, meaning moved, centered", "last"] == 77.0
    assert numbers.loc["IS, meaning moved, centered", "last_epoch"] == 3


def test_different_yardsticks_are_said_on_the_page_and_on_each_chart(
    open_page: Opened, runs: Runs
) -> None:
    app = open_page("evolution", runs=[runs.healthy, runs.other_space])
    assert "do not compare" in app.warning[0].value
    marked = {chart["title"]["text"]: "⚠" in str(chart["title"]) for chart in charts(app)}
    assert marked["AS toward the true class, centered"]
    assert marked["R2 of the translation"]
    assert not marked["Null energy, centered"]
    assert not open_page("evolution", runs=[runs.healthy, runs.shortcut]).warning


def test_seeds_become_one_line(open_page: Opened, runs: Runs) -> None:
    link = {"runs": [*runs.seeds, runs.healthy], "seeds": "true"}
    app = open_page("evolution", **link)
    assert "wide (3 runs)" in texts(app).replace("\\", "")
    assert [layer["mark"]["type"] for layer in layers(charts(app)[0])].count("area") == 1


def test_markup_in_names_stays_text(open_page: Opened, runs: Runs) -> None:
    for page in ("runs", "evolution", "geometry"):
        legend = next(
            m.value for m in open_page(page, runs=[runs.markup]).markdown if "bold" in m.value
        )
        for sign in ("<b>", "**stars", "[link]", "$x", ":red[", "http://"):
            assert sign not in legend, (page, sign)


def test_long_names_are_cut_in_the_middle(open_page: Opened, runs: Runs) -> None:
    app = open_page("runs", runs=[runs.long_name])
    (name,) = {row for row in app.dataframe[0].value["run"] if row.startswith("long")}
    assert len(name) == 40


def test_a_monitor_is_chosen_where_a_run_has_several(open_page: Opened, runs: Runs) -> None:
    app = open_page("runs", runs=[runs.two_monitors])
    box = app.sidebar.selectbox(key="sidebar_monitor")
    assert box.options == ["(unnamed)", "aux"]
    first = app.metric[0].value
    box.set_value("aux").run()
    assert app.query_params["monitor"] == "aux"
    assert app.metric[0].value != first


def test_the_experiment_limits_what_is_offered_and_keeps_what_is_picked(
    open_page: Opened, runs: Runs
) -> None:
    app = open_page("runs", runs=[runs.healthy])
    box = app.sidebar.selectbox(key="sidebar_experiment")
    second = next(option for option in box.options if option == "second")
    box.select_index(box.options.index(second)).run()
    assert set(app.dataframe[0].value["run"]) == {"two heads", "healthy"}


def test_the_table_of_runs_is_searched_by_words(open_page: Opened) -> None:
    app = open_page("runs", find="WIDE seed=1")
    assert app.dataframe[0].value["run"].tolist() == ["wide seed=1"]
    app.text_input(key="find").set_value("nothing like it").run()
    assert "No run matches" in texts(app)
    assert not app.dataframe


def test_many_runs_are_shown_a_page_at_a_time(
    open_page: Opened, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_page("runs", runs=[runs.healthy])
    every = app.dataframe[0].value.set_index("run")
    monkeypatch.setattr(runs_table, "ROWS", 5)
    monkeypatch.setattr(runs_table, "MOST_AT_ONCE", 5)

    def shown(place: int) -> list[str]:
        app.pagination[0].set_value(place).run()
        assert not app.exception
        return list(app.dataframe[0].value["run"])

    app.run()
    # The newest first, and none twice.
    assert [*shown(1), *shown(2), *shown(3)] == every.index.tolist()
    assert "11 to 14 of 14 runs" in texts(app)
    app.selectbox(key="order").set_value("monitor/accuracy").run()
    accuracy = every["monitor/accuracy last"]
    in_order = [*app.dataframe[0].value["run"], *shown(2), *shown(3)]
    assert accuracy[in_order[0]] == accuracy.max()
    known = accuracy[in_order].dropna()
    assert known.is_monotonic_decreasing
    assert accuracy[in_order[: len(known)]].notna().all()
    # All that are picked stay, whichever page is looked at.
    assert app.query_params["runs"] == runs.healthy
    # The search looks through all of them, and few need no pages.
    app.text_input(key="find").set_value("wide").run()
    assert len(app.dataframe[0].value) == 3
    assert not app.pagination


def test_the_guide_is_searched_over_all_groups(open_page: Opened) -> None:
    app = open_page("guide")
    assert "AS toward the true class" in texts(app)
    assert "NC1" not in texts(app)
    app.text_input(key="about").set_value("nc1 collapse").run()
    assert "NC1" in texts(app)
    assert "1 metric of" in texts(app)


def test_the_epoch_is_chosen_by_slider_and_link(open_page: Opened, runs: Runs) -> None:
    def at_epoch(app: AppTest) -> float:
        numbers = app.dataframe[0].value.set_index("metric")
        return float(numbers.loc["IS, meaning moved, centered", "at_epoch"])

    app = open_page("evolution", runs=[runs.healthy], epoch="2")
    assert at_epoch(app) == pytest.approx(plausible(2)["sing/image_score_centered"])
    app.select_slider(key="epoch").set_value(7).run()
    assert at_epoch(app) == pytest.approx(plausible(7)["sing/image_score_centered"])
    # The other run ends before; the slider follows.
    app.sidebar.multiselect(key="sidebar_runs").set_value([runs.two_monitors]).run()
    assert not app.exception
    assert app.select_slider(key="epoch").value == 2
    app.sidebar.multiselect(key="sidebar_runs").set_value([runs.healthy]).run()
    assert app.select_slider(key="epoch").value == 7


def test_axis_and_difference_come_from_the_link(open_page: Opened, runs: Runs) -> None:
    picked = {"runs": [runs.healthy, runs.shortcut], "baseline": runs.healthy}
    for axis, name in (("Step", "global step"), ("Time", "minutes since the start")):
        app = open_page("evolution", axis=axis, **picked)
        assert {mark["encoding"]["x"]["title"] for mark in layers(charts(app)[1])} == {name}
    app = open_page("evolution", show="Difference to the baseline", **picked)
    assert "difference to the baseline" in str(charts(app)[0])


def test_one_session_walks_through_all_pages(open_page: Opened, runs: Runs) -> None:
    app = open_page("runs", runs=[runs.healthy, runs.shortcut], baseline=runs.healthy)
    for page in ("evolution", "guide", "runs"):
        app.switch_page(f"views/{page}.py").run()
        assert not app.exception
        assert app.query_params["baseline"] == runs.healthy
