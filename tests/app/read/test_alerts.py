from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.charts.curves.evolution import curve_panel
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.read.alerts import Rule, alert_marks, alert_rules, fired_alerts
from sing_monitor.findings import Findings
from tests.app.conftest import Opened, Runs, copy_of
from tests.app.specs import spec_of
from tests.app.stores import Store, history

RATIO = "sing/score_ratio_centered"
TAGS = {"alerts": "ratio_falls@2,mine@3,leaking_class@3"}
# The first class leaks.
CLASSES = pd.DataFrame(
    {
        "class_index": range(3),
        "class_name": ["fox", "owl", "cat"],
        "attribute_score_centered": [-9.0, -1.0, 0.0],
        "attribute_q": [0.001, 0.5, 0.5],
        "attribute_deviation": [-9.0, 0.0, 0.0],
    }
)


def values() -> pd.DataFrame:
    """Two validations in epoch 1."""
    frame = pd.DataFrame({"epoch": [0, 1, 1, 2], "x": [0.0, 0.5, 1.0, 2.0]})
    return frame.assign(series="a", label="run a", value=[4.0, 3.0, 2.0, 1.0], difference=0.0)


def of_run(tag: str) -> pd.DataFrame:
    return fired_alerts(tag, alert_rules({})).assign(series="a")


@pytest.mark.parametrize(("key", "at"), [(RATIO, [2.0]), ("sing/retention", [])])
def test_an_alert_is_marked_on_what_it_watches_at_the_end_of_its_epoch(
    key: str, at: list[float]
) -> None:
    found = alert_marks(of_run("ratio_falls@1,mine@2"), key, values())
    assert found["value"].tolist() == at


def test_alerts_at_one_place_are_one_mark_with_their_number() -> None:
    beside = values().assign(series="b", label="run b", value=[4.1, 3.1, 2.1, 9.0])
    both = pd.concat([values(), beside], ignore_index=True)
    known = {"mine": Rule("Look.", (RATIO,)), **alert_rules({})}
    fell = fired_alerts("ratio_falls@1,mine@1", known).assign(series="a")
    alerts = pd.concat([fell, fired_alerts("mine@1,ratio_falls@2", known).assign(series="b")])
    near, far = alert_marks(alerts, RATIO, both).to_dict("records")
    assert (near["count"], near["label"], near["value"]) == (3, "run a", 2.0)
    assert near["alert"] == (
        "run a: ratio_falls at epoch 1; run a: mine at epoch 1; run b: mine at epoch 1"
    )
    assert near["message"].count("Look.") == 1
    assert (far["count"], far["alert"], far["value"]) == (1, "ratio_falls", 9.0)


def test_a_run_tells_what_its_own_alerts_watch() -> None:
    config = {
        "alerts": {"mine": "Look.", "old": "Earlier.", "ratio_falls": "Mine as well."},
        "alert_metrics": {"mine": ["head/rank"], "ratio_falls": ["head/drift"]},
    }
    found = alert_rules(config)
    assert found["mine"] == Rule("Look.", ("head/rank",))
    assert found["old"] == Rule("Earlier.")
    assert found["ratio_falls"].keys == ("head/drift",)
    assert alert_rules({})["ratio_falls"].keys == (RATIO, "monitor/accuracy")
    assert (
        alert_rules({"alerts": {"ratio_falls": "x"}})["ratio_falls"]
        == alert_rules({})["ratio_falls"]
    )


def test_without_alerts_there_is_nothing_to_mark() -> None:
    nothing = alert_marks(of_run(""), RATIO, values())
    assert nothing.empty
    panel = Panel("AS", "", "", ".2f", "epoch", (0, 2))
    series = [SeriesStyle("a", "run a", "#111111")]
    plain, marked = (
        spec_of(curve_panel(values(), panel, series, None, alerts))["layer"]
        for alerts in (nothing, alert_marks(of_run("ratio_falls@1"), RATIO, values()))
    )
    rule, triangle, number = marked[len(plain) :]
    assert rule["mark"]["type"] == "rule"
    assert number["transform"] == [{"filter": "datum.count > 1"}]
    assert triangle["encoding"]["color"]["scale"]["range"] == ["#111111"]
    assert [each["field"] for each in triangle["encoding"]["tooltip"]][::4] == ["alert", "message"]


@pytest.fixture(scope="module")
def alerted(
    filled: tuple[Store, Runs], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, str]:
    store = copy_of(filled[0], tmp_path_factory.mktemp("alerts"))
    config = {
        "alerts": {"mine": "Retention is *low*."},
        "alert_metrics": {"mine": ["translator/r2"]},
    }
    tables = Findings({}, {"classes": CLASSES})
    values = [each | {"sing/leaking_classes": 1.0} for each in history(4)]
    run = store.run("alerted", values, experiment="alerts", tags=TAGS, config=config, tables=tables)
    return store, run


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
    assert marked(app) == [
        "IS / |AS|, centered",
        "R2 of the translation",
        "Accuracy on the probe",
    ]
    said = [caption.value for caption in app.caption if "Alerts" in caption.value]
    assert len(said) == 1
    assert "**ratio\\_falls** at epoch 2" in said[0]
    assert "**mine** at epoch 3" in said[0]
    (tip,) = {caption.help for caption in app.caption if "Alerts" in caption.value}
    assert "**mine** (R2 of the translation): Retention is \\*low\\*\\." in tip
    assert "At epoch 3: fox" in tip.replace("\\", "")
    app = open_page("evolution", store.uri, runs=[runs.healthy])
    assert not marked(app)
    assert not [caption for caption in app.caption if "Alerts" in caption.value]


def test_the_table_of_runs_names_them(
    open_page: Opened, alerted: tuple[Store, str], runs: Runs
) -> None:
    store, run = alerted
    app = open_page("runs", store.uri, runs=[run])
    found = app.dataframe[0].value.set_index("run")["alerts"]
    assert found["alerted"] == "3: ratio_falls, mine, leaking_class"
    assert found["healthy"] == ""
    (said,) = (caption.value for caption in app.caption if "Alerts" in caption.value)
    assert "on the page Evolution: **ratio\\_falls** at epoch 2" in said
