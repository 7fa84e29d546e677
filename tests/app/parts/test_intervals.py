from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.parts.intervals import MOST_EPOCHS
from sing_monitor.app.wording import metrics
from sing_monitor.findings import Findings
from tests.app.asked import counting
from tests.app.conftest import Opened, Runs, copy_of
from tests.app.stores import Store, history

KEYS = ("sing/attribute_score_centered", "sing/score_ratio_centered")
EPOCHS = 2 * MOST_EPOCHS + 1


@pytest.fixture(scope="module")
def sure(filled: tuple[Store, Runs], tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A run of many epochs with intervals."""
    store = copy_of(filled[0], tmp_path_factory.mktemp("intervals"))
    table = pd.DataFrame({"key": KEYS, "value": 5.0, "low": 4.0, "high": 60.0})
    found = Findings({}, {"intervals": table.assign(n=100, level=0.95)})
    run = store.run("sure", history(EPOCHS), experiment="intervals", tables=found)
    return store, run


def charts(app: AppTest) -> dict[str, dict[str, Any]]:
    found = [json.loads(element.proto.spec) for element in app.get("vega_lite_chart")]
    return {chart["title"]["text"]: chart for chart in found}


def kinds(chart: dict[str, Any]) -> list[str]:
    return [each["mark"]["type"] for each in chart["layer"] if "mark" in each]


def test_evolution_draws_bands_unless_told_not_to_and_fetches_few_files(
    open_page: Opened, sure: tuple[Store, str], runs: Runs
) -> None:
    store, run = sure
    with counting() as asked:
        app = open_page("evolution", store.uri, runs=[run, runs.healthy], interval="false")
    assert asked["read_file"] == 0
    assert not any("area" in kinds(chart) for chart in charts(app).values())
    assert "last_interval" not in app.dataframe[0].value
    with counting() as asked:
        app.toggle(key="interval").set_value(True).run()
    assert not app.exception
    assert not app.warning
    assert 0 < asked["read_file"] <= MOST_EPOCHS + 1
    found = charts(app)
    assert "area" in kinds(found[metrics.label(KEYS[0])])
    assert "area" not in kinds(found[metrics.label("sing/image_score_centered")])
    assert any("images and translators" in caption.value for caption in app.caption)
    numbers = app.dataframe[0].value.set_index(["series", "metric"])
    said = numbers.loc[run][["last_interval", "at_epoch_interval"]]
    assert said.loc[metrics.label(KEYS[0])].tolist() == ["4.00° to 60.00°"] * 2
    assert said.loc["Accuracy on the probe"].tolist() == ["", ""]
    assert numbers.loc[runs.healthy]["last_interval"].eq("").all()


def test_of_many_runs_fewer_files_are_fetched(
    open_page: Opened, sure: tuple[Store, str], runs: Runs
) -> None:
    store, run = sure
    others = [runs.healthy, runs.shortcut, runs.resumed, runs.one_epoch, runs.other_space]
    with counting() as asked:
        app = open_page("evolution", store.uri, runs=[run, *others])
    assert not app.exception
    assert "area" in kinds(charts(app)[metrics.label(KEYS[0])])
    assert asked["read_file"] <= MOST_EPOCHS // 2 + 1 + 2 * len(others)


def test_runs_without_intervals_have_no_bands(open_page: Opened, runs: Runs) -> None:
    app = open_page("evolution", runs=[runs.healthy])
    assert not app.exception
    assert not any("area" in kinds(chart) for chart in charts(app).values())
    assert not any("images and translators" in caption.value for caption in app.caption)


def test_bars_have_whiskers_at_the_epoch(open_page: Opened, sure: tuple[Store, str]) -> None:
    store, run = sure
    app = open_page("tradeoff", store.uri, runs=[run], epoch="3")
    assert not app.exception
    assert kinds(charts(app)["AS and IS, centered"]).count("rule") == 3
    bar = charts(app)["IS / |AS|, centered"]
    assert bar["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 72]
    assert any("images and translators" in caption.value for caption in app.caption)


def test_cards_and_table_of_runs_show_the_interval_of_the_value_they_show(
    open_page: Opened, filled: tuple[Store, Runs], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = copy_of(filled[0], tmp_path_factory.mktemp("cards"))
    values = history(1)[0]
    about = pd.DataFrame(
        {
            "key": ["sing/retention", KEYS[0]],
            # The second is about another validation than the last logged one.
            "value": [values["sing/retention"], values[KEYS[0]] + 1],
            "low": 0.8,
            "high": 0.9,
        }
    )
    run = store.run(
        "cards", [values], experiment="cards", tables=Findings({}, {"intervals": about})
    )
    app = open_page("runs", store.uri, runs=[run])
    assert not app.exception
    said = [caption.value for caption in app.caption if caption.value.startswith("95 %")]
    assert said == ["95 %: 0.80 to 0.90"]
    table = app.dataframe[0].value.set_index("run")
    assert table.loc["cards", "sing/retention interval"] == "0.80 to 0.90"
    assert table.loc["cards", f"{KEYS[0]} interval"] == ""
