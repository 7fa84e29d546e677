from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.alerts import fired, marks
from sing_monitor.app.charts.common import Series
from sing_monitor.app.charts.evolution import Panel, curves
from tests.app.conftest import Opened, Runs, copy_of
from tests.app.stores import Store, history

RATIO = "sing/score_ratio_centered"
TAGS = {"alerts": "ratio_falls@2,mine@3"}


def values() -> pd.DataFrame:
    """Two validations in epoch 1."""
    frame = pd.DataFrame({"epoch": [0, 1, 1, 2], "x": [0.0, 0.5, 1.0, 2.0]})
    return frame.assign(series="a", label="run a", value=[4.0, 3.0, 2.0, 1.0], difference=0.0)


@pytest.mark.parametrize(("key", "at"), [(RATIO, [2.0]), ("sing/retention", [])])
def test_an_alert_is_marked_on_what_it_watches_at_the_end_of_its_epoch(
    key: str, at: list[float]
) -> None:
    found = marks(fired({"a": "ratio_falls@1,mine@2", "b": ""}), key, values())
    assert found["value"].tolist() == at


def test_without_alerts_there_is_nothing_to_mark() -> None:
    nothing = marks(fired({"a": ""}), RATIO, values())
    assert nothing.empty
    panel = Panel("AS", "", "", ".2f", "epoch", (0, 2))
    series = [Series("a", "run a", "#111111")]
    plain, marked = (
        curves(values(), panel, series, None, alerts).to_dict()["layer"]
        for alerts in (nothing, marks(fired({"a": "ratio_falls@1"}), RATIO, values()))
    )
    rule, triangle = marked[len(plain) :]
    assert rule["mark"]["type"] == "rule"
    assert triangle["encoding"]["color"]["scale"]["range"] == ["#111111"]
    assert [each["field"] for each in triangle["encoding"]["tooltip"]][::4] == ["alert", "message"]


@pytest.fixture(scope="module")
def alerted(
    filled: tuple[Store, Runs], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, str]:
    store = copy_of(filled[0], tmp_path_factory.mktemp("alerts"))
    return store, store.run("alerted", history(4), experiment="alerts", tags=TAGS)


def marked(app: AppTest) -> list[str]:
    charts: list[dict[str, Any]] = [
        json.loads(element.proto.spec) for element in app.get("vega_lite_chart")
    ]
    return [chart["title"]["text"] for chart in charts if "triangle-down" in json.dumps(chart)]


def test_alerts_are_named_and_marked_in_their_panels(
    open_page: Opened, alerted: tuple[Store, str], runs: Runs
) -> None:
    store, run = alerted
    app = open_page("evolution", store.uri, runs=[run, runs.healthy])
    assert not app.exception
    assert marked(app) == ["IS / |AS|, centered", "Accuracy on the probe"]
    said = [caption.value for caption in app.caption if "Alerts" in caption.value]
    assert len(said) == 1
    assert "**ratio\\_falls** at epoch 2" in said[0]
    assert "mine" in said[0]
    app = open_page("evolution", store.uri, runs=[runs.healthy])
    assert not marked(app)
    assert not [caption for caption in app.caption if "Alerts" in caption.value]


def test_the_table_of_runs_names_them(
    open_page: Opened, alerted: tuple[Store, str], runs: Runs
) -> None:
    store, run = alerted
    app = open_page("runs", store.uri, runs=[run])
    found = app.dataframe[0].value.set_index("run")["alerts"]
    assert found["alerted"] == "2: ratio_falls, mine"
    assert found["healthy"] == ""
