from __future__ import annotations

import json
import math
import re
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.charts import concepts as charts
from sing_monitor.app.wording.support_marks import MARK
from sing_monitor.findings import Findings
from tests.app.conftest import MARKUP, Opened, Runs, copy_of
from tests.app.stores import Store, history


def concept_table(scores: dict[str, float]) -> pd.DataFrame:
    table = pd.DataFrame({"concept": list(scores), "n": 10, "angle_before": 90.0})
    values = pd.Series(list(scores.values()))
    for suffix, factor in (("", 2.0), ("_centered", 1.0)):
        table[f"angle_after{suffix}"] = 90.0 - factor * values
        table[f"attribute_score{suffix}"] = factor * values
    return table


def tables(scores: dict[str, float], class_name: str = "fox") -> Findings:
    overall = concept_table(scores)
    by_class = concept_table({name: -value for name, value in scores.items()})
    by_class = by_class.assign(class_index=0, class_name=class_name)
    classes = pd.DataFrame({"class_index": [0], "class_name": [class_name]})
    found = {"concepts": overall, "class_concepts": by_class, "classes": classes}
    return Findings({}, found)


def specs(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(element.proto.spec) for element in app.get("vega_lite_chart")]


def said(app: AppTest) -> str:
    kinds = ("subheader", "markdown", "caption", "info", "warning", "error", "code")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def names_of(spec: dict[str, Any]) -> list[str]:
    names: list[str] = spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    return names


def test_the_largest_movement_is_first_whatever_its_sign() -> None:
    rows = charts.ordered(concept_table({"a": 1.0, "b": -3.0, "c": math.nan}), "")
    assert rows["name"].tolist() == ["b", "a", "c"]
    assert rows["value"].tolist()[:2] == [-6.0, 2.0]
    assert (rows["before"][0], rows["after"][0]) == (90.0, 96.0)


def test_arrows_point_from_before_to_after_in_the_color_of_the_sign() -> None:
    rows = charts.ordered(concept_table({"a": 1.0, "b": -3.0}), "_centered")
    spec = charts.arrows(rows, "Concepts").to_dict()
    shaft, start, head = spec["layer"]
    assert (shaft["encoding"]["x"]["field"], shaft["encoding"]["x2"]["field"]) == (
        "before",
        "after",
    )
    assert start["encoding"]["x"]["field"] == "before"
    assert head["encoding"]["x"]["field"] == "after"
    assert shaft["encoding"]["color"]["scale"]["range"] == [charts.AWAY, charts.TOWARD]
    data = spec["datasets"][spec["data"]["name"]]
    assert {row["name"]: row["sign"] for row in data} == {"a": "toward", "b": "away"}


def test_movers_are_sorted_by_how_much_they_changed() -> None:
    before, after = (
        charts.ordered(concept_table(scores), "_centered")
        for scores in ({"a": 1.0, "b": 1.0, "gone": 2.0}, {"a": 2.0, "b": -3.0})
    )
    moved = charts.movers(before, after)
    assert moved["name"].tolist() == ["b", "a", "gone"]
    assert moved["difference"].tolist()[:2] == [-4.0, 1.0]
    assert math.isnan(moved["difference"][2])


@pytest.fixture(scope="module")
def concept_store(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    store = copy_of(empty_store, tmp_path_factory.mktemp("concepts"))
    few = {MARKUP: 1.0, "red": -2.0, "blue": 0.5}
    many = {f"word {number}": float(number) for number in range(40)}
    runs = {
        "one": store.run("one", history(3), tables=tables(few, MARKUP)),
        "other": store.run("other", history(3), tables=tables({"red": 3.0}, MARKUP)),
        "many": store.run("many", history(1), tables=tables(many)),
        "nan": store.run("nan", history(1), tables=tables({"red": math.nan})),
        "old": store.run(
            "old", history(1), tables=Findings({}, {"concepts": pd.DataFrame({"concept": ["a"]})})
        ),
    }
    return store, runs


@pytest.fixture
def open_concepts(concept_store: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens the page on runs by their name here."""
    store, runs = concept_store

    def opened(*names: str, **link: str) -> AppTest:
        return open_page("concepts", store.uri, runs=[runs[name] for name in names], **link)

    return opened


def test_all_classes_then_one(open_concepts: Opened) -> None:
    app = open_concepts("one")
    assert not app.exception
    assert not app.error
    arrows, heat = specs(app)
    assert names_of(arrows)[0] == "red"
    assert heat["title"]["text"] == "AS: concept by epoch"
    assert app.dataframe[-1].value["value"].tolist()[0] == -2.0
    app.selectbox(key="class").select_index(0).run()
    assert app.dataframe[-1].value["value"].tolist()[0] == 2.0
    for sign in ("<b>", "**stars", "[link]", "$x", ":red["):
        assert sign not in re.sub(r"\\.", "", said(app))


def test_the_link_restores_the_view(open_concepts: Opened) -> None:
    app = open_concepts("one", "other", removal="Raw", epoch="1", between="Two runs")
    assert not app.exception
    assert app.dataframe[-1].value["value"].tolist()[0] == -4.0
    moved = app.dataframe[0].value
    assert (moved["name"][0], moved["difference"][0]) == ("red", -10.0)
    assert app.select_slider(key="epoch").value == 1


def test_the_epoch_to_compare_with_follows_the_slider(open_concepts: Opened) -> None:
    app = open_concepts("one")
    assert app.selectbox(key="from").options == ["0", "1"]
    app.select_slider(key="epoch").set_value(0).run()
    assert not app.exception
    assert app.selectbox(key="from").options == ["1", "2"]


def test_many_concepts_are_cut_to_thirty(open_concepts: Opened) -> None:
    app = open_concepts("many")
    assert not app.exception
    assert "10 more" in said(app)
    assert len(names_of(specs(app)[0])) == 30
    assert len(app.dataframe[-1].value) == 40
    assert "A second validated epoch is needed" in said(app)


def test_spread_and_support_of_the_images_are_said(
    empty_store: Store, open_page: Opened, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = copy_of(empty_store, tmp_path_factory.mktemp("far"))
    found = tables({"red": 2.0, "blue": 1.0}).tables
    found["concepts"] = found["concepts"].assign(attribute_score_std_centered=[0.5, math.nan])
    ids = {"image": ["a", "b"], "outside": 0.0, "outside_centered": [1.0, 0.0]}
    found["support"] = pd.DataFrame(ids)
    found["class_support"] = pd.DataFrame({"class_index": [0], "outside_centered": [0.02]})
    run = store.run("far", history(1), tables=Findings({}, found))
    app = open_page("concepts", store.uri, runs=[run])
    assert not app.exception
    assert app.dataframe[-1].value["spread"].tolist()[0] == 0.5
    about = f"{MARK} 50 % of the images are out of support"
    assert about in specs(app)[0]["title"]["subtitle"]
    app.selectbox(key="class").select_index(0).run()
    assert about not in specs(app)[0]["title"]["subtitle"]
    app = open_page("concepts", store.uri, runs=[run], removal="Raw")
    assert about not in specs(app)[0]["title"]["subtitle"]


@pytest.mark.parametrize(
    ("kind", "words"), [("old", "another version"), ("nan", "No number so far")]
)
def test_odd_tables_have_their_look(kind: str, words: str, open_concepts: Opened) -> None:
    app = open_concepts(kind)
    assert not app.exception
    assert words in said(app)


def test_a_run_without_concepts_says_how_to_add_them(open_page: Opened, runs: Runs) -> None:
    app = open_page("concepts", runs=[runs.healthy])
    assert not app.exception
    assert "SINGCallback(concepts=[" in said(app)
