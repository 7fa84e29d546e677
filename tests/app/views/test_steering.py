"""The page Steering on real stores: pairs side by side, curves, and runs that are older."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.findings import Findings
from tests.app.charts.test_steering import table
from tests.app.conftest import MARKUP, Opened, copy_of
from tests.app.stores import Store, history


@pytest.fixture(scope="module")
def steered(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    """Runs by what is stored of their steering."""
    store = copy_of(empty_store, tmp_path_factory.mktemp("steering"))
    kinds = {
        "one": table(1.0, 2.0, 3.0),
        "two": table(9.0, math.nan, 2.0),
        "nan": table(math.nan, math.nan),
        "markup": table(4.0).assign(source=MARKUP),
        "damaged": table(1.0).drop(columns="limit"),
    }
    values = [
        each | {"steer/attribute_score_abs": 5.0 + epoch, "steer/reachable": 1.0}
        for epoch, each in enumerate(history(3))
    ]
    ids = {
        name: store.run(name, values, tables=Findings(tables={"steering": found}))
        for name, found in kinds.items()
    }
    other = Findings(tables={"spectrum": pd.DataFrame({"index": [0]})})
    ids["older"] = store.run("older", history(3), tables=other)
    ids["bare"] = store.run("bare", history(3))
    return store, ids


@pytest.fixture
def opened(steered: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens the page on runs by their name here."""
    store, ids = steered

    def steering_of(*names: str, **link: str) -> AppTest:
        app = open_page("steering", store.uri, runs=[ids[name] for name in names], **link)
        assert not app.exception
        assert not app.error
        return app

    return steering_of


def texts(app: AppTest) -> str:
    kinds = ("subheader", "markdown", "caption", "info", "warning")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def specs(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]


def test_pairs_of_both_runs_stand_side_by_side_with_curves_below(opened: Opened) -> None:
    app = opened("one", "two", epoch="0")
    pairs, curve = specs(app)
    assert pairs["layer"][0]["encoding"]["y"]["scale"]["domain"] == [
        "cat → dog",
        "fox → owl",
        "dog → cat",
    ]
    assert curve["title"]["text"] == "|AS| when steered"
    assert [(each.label, each.value) for each in app.metric] == [("Steerable images", "1.000")]
    assert pairs["layer"][0]["encoding"]["x"]["axis"]["tickCount"] == 8
    rows = app.dataframe[0].value
    assert rows["label"].tolist() == ["one", "two"] * 3
    assert "1 row without a score" in texts(app)
    assert "the head can be fooled" in texts(app)
    assert len(app.get("download_button")) == 2


@pytest.mark.parametrize(
    ("run", "said", "charts"),
    [
        ("older", "No steering in older runs", 0),
        ("bare", "hold no tables so far", 0),
        ("nan", "No number so far", 1),
        ("markup", "the head can be fooled", 2),
        ("damaged", "has no limit", 1),
    ],
)
def test_odd_runs_say_why(run: str, said: str, charts: int, opened: Opened) -> None:
    app = opened(run, epoch="0")
    assert said in texts(app)
    assert len(specs(app)) == charts


def test_an_older_run_does_not_hide_the_other(opened: Opened) -> None:
    app = opened("older", "one", epoch="0")
    assert "An older version of sing-monitor wrote older" in texts(app)
    assert app.dataframe[0].value["label"].tolist() == ["one"] * 3
