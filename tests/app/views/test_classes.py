from __future__ import annotations

import json
import math
import os
import re
from typing import Any
from urllib.parse import parse_qs

import pandas as pd
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.charts import classes as charts
from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.charts.heat import heat_map
from sing_monitor.app.wording.support_marks import MARK
from sing_monitor.findings import Findings
from tests.app.conftest import MARKUP, Opened, Runs, copy_of
from tests.app.specs import spec_of
from tests.app.stores import Store, history

ONE = SeriesStyle("a", "run a", "#111111")
BASE = SeriesStyle("b", "run b", "#222222", is_baseline=True)
PAIRS = ("", "_centered", "_random")


def class_table(names: list[str], mean: float = 0.0) -> pd.DataFrame:
    """Every class lower than the one before; the last has no images."""
    count = len(names)
    scores = [mean - place for place in range(count)]
    scores[-1] = math.nan
    table = pd.DataFrame({"class_index": range(count), "class_name": names, "n": 2})
    table["accuracy"] = 0.5
    for suffix in PAIRS:
        table[f"attribute_score{suffix}"] = scores
        table[f"image_score{suffix}"] = 30.0
    return table


def image_table(classes: int, mean: float = 0.0) -> pd.DataFrame:
    labels = [label for label in range(classes - 1) for _ in range(2)]
    scores = [mean - label + side for label in range(classes - 1) for side in (-1.0, 1.0)]
    ids = [f"{row:016x}" for row in range(len(labels))]
    table = pd.DataFrame({"image": ids, "label": labels, "prediction": 0, "mover": True})
    columns = {f"attribute_score{suffix}": scores for suffix in PAIRS}
    return table.assign(**columns, **{f"image_score{suffix}": 30.0 for suffix in PAIRS})


def tables(names: list[str], mean: float = 0.0) -> Findings:
    return Findings(
        {}, {"classes": class_table(names, mean), "images": image_table(len(names), mean)}
    )


def marks(chart: dict[str, Any]) -> list[str]:
    return [layer["mark"]["type"] for layer in chart["layer"]]


def specs(app: AppTest) -> dict[str, dict[str, Any]]:
    found = [json.loads(element.proto.spec) for element in app.get("vega_lite_chart")]
    return {spec["title"]["text"]: spec for spec in found}


def y_domain(spec: dict[str, Any]) -> list[str]:
    layers = [spec, *spec.get("layer", [])]
    domain: list[str] = next(
        each["encoding"]["y"]["scale"]["domain"]
        for each in layers
        if "y" in each.get("encoding", {})
    )
    return domain


def test_the_most_negative_class_is_first_and_the_empty_one_last() -> None:
    named = charts.named(class_table(["a", "b", "c", "none"]))
    rows = charts.spread(image_table(4), named, "attribute_score")
    assert rows["name"].tolist() == ["c", "b", "a", "none"]
    assert rows["mean"].tolist()[:3] == [-2.0, -1.0, 0.0]
    assert (rows["q1"][0], rows["median"][0], rows["q3"][0]) == (-2.5, -2.0, -1.5)
    assert math.isnan(rows["mean"][3])


def test_names_that_repeat_are_told_apart_and_signs_that_hide_are_gone() -> None:
    named = charts.named(class_table(["crane", "crane", "a\u202eb", ""]))
    assert named["name"].tolist() == ["crane (0)", "crane (1)", "a b", "(no name)"]


def test_classes_are_found_by_words() -> None:
    names = ["red fox", "gray fox", "redstart"]
    assert charts.matching(names, "FOX red") == ["red fox"]
    assert charts.matching(names, " ") == names
    assert charts.matching(names, "owl") == []


def test_the_distribution_keeps_its_order_and_the_color_of_the_run() -> None:
    named = charts.named(class_table(["a", "b", "c"]))
    rows = charts.spread(image_table(3), named, "attribute_score")
    spec = spec_of(charts.distribution(rows, "AS", ONE))
    assert marks(spec) == ["rule", "rule", "bar", "tick", "point"]
    assert spec["layer"][2]["encoding"]["color"] == {"value": "#111111"}
    assert y_domain(spec) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("values", "furthest"), [([-3.0, 1.0], 3.0), ([math.nan, math.nan], 1.0), ([0.0, 0.0], 1.0)]
)
def test_the_colors_of_the_heat_map_are_centred_at_zero(
    values: list[float], furthest: float
) -> None:
    rows = pd.DataFrame({"name": "a", "epoch": [0, 1], "value": values})
    cells = spec_of(heat_map(rows, ["a"], "AS"))["layer"][0]
    scale = cells["encoding"]["color"]["scale"]
    assert scale["domain"] == [-furthest, 0, furthest]
    assert (scale["range"][0], scale["range"][2]) == (charts.AWAY, charts.TOWARD)
    assert cells["encoding"]["x"]["scale"]["domain"] == [0, 1]


def test_two_runs_are_joined_by_a_line_and_the_baseline_is_hollow() -> None:
    one, other = (pd.DataFrame({"name": ["a", "b"], "v": [value, 1.0]}) for value in (3.0, 5.0))
    both = charts.side_by_side(one, other.iloc[:1], "name", "v")
    assert both.set_index("name")["difference"]["a"] == -2.0
    assert math.isnan(both.set_index("name")["other"]["b"])
    spec = spec_of(charts.paired(both, ["a", "b"], "AS", [ONE, BASE], "other space"))
    assert marks(spec) == ["rule", "rule", *["point"] * 4]
    assert [layer["mark"]["filled"] for layer in spec["layer"][2::2]] == [True, False]
    assert spec["title"]["subtitle"] == ["hollow: baseline", "⚠ other space"]


def test_classes_out_of_support_are_crossed_in_every_chart() -> None:
    named = charts.named(class_table(["a", "b", "c"])).assign(outside=[0.5, 0.02, math.nan])
    said = {"a": f"{MARK} 50 % of the images", "b": "", "c": ""}

    def crossed(spec: dict[str, Any], field: str = "support") -> dict[str, str]:
        """What is said of each class, where the chart crosses all of whom something is said."""
        crosses = [each for each in spec["layer"] if each["mark"].get("shape", "").startswith("M")]
        filters = [each["transform"][-1]["filter"] for each in crosses]
        assert any(each.endswith(f"datum.{field}") for each in filters)
        return {row["name"]: row[field] for row in spec["datasets"][spec["data"]["name"]]}

    rows = charts.spread(image_table(3), named, "attribute_score")
    assert crossed(spec_of(charts.distribution(rows, "AS", ONE))) == said
    cells = named.assign(epoch=0, value=1.0)
    assert crossed(spec_of(heat_map(cells, ["a", "b", "c"], "AS"))) == said
    both = charts.side_by_side(named, class_table(["a", "b", "c"]), "class_index", "accuracy")
    both["name"] = ["a", "b", "c"]
    spec = spec_of(charts.paired(both, ["a", "b", "c"], "AS", [ONE, BASE], ""))
    assert crossed(spec, "one_support") == said
    assert crossed(spec, "other_support") == dict.fromkeys(said, "")


@pytest.fixture(scope="module")
def class_store(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    store = copy_of(empty_store, tmp_path_factory.mktemp("classes"))
    few = [MARKUP, "zwei", "三", "empty"]
    many = [f"class {number:04d}" for number in range(1000)]
    runs = {
        "one": store.run("one", history(3), tables=tables(few)),
        "other": store.run("other", history(2), tables=tables(few, 2.0)),
        "many": store.run("many", history(1), tables=tables(many)),
        "old": store.run(
            "old",
            history(1),
            tables=Findings({}, {"classes": class_table(few)[["class_name", "class_index"]]}),
        ),
        "nan": store.run(
            "nan", history(1), tables=Findings({}, {"classes": class_table(few, math.nan)})
        ),
    }
    return store, runs


@pytest.fixture
def open_classes(class_store: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens the page on runs by their name here."""
    store, runs = class_store

    def opened(*names: str, **link: str) -> AppTest:
        if "baseline" in link:
            link["baseline"] = runs[link["baseline"]]
        return open_page("classes", store.uri, runs=[runs[name] for name in names], **link)

    return opened


def drawn(app: AppTest, title: str) -> pd.DataFrame:
    """The data of a chart as the browser gets them."""
    for element in app.get("vega_lite_chart"):
        spec = json.loads(element.proto.spec)
        if spec["title"]["text"] == title:
            sent = {each.name: each.data.data for each in element.proto.datasets}
            return pa.ipc.open_stream(sent[spec["data"]["name"]]).read_pandas()
    raise KeyError(title)


def said(app: AppTest) -> str:
    kinds = ("subheader", "markdown", "caption", "info", "warning", "error")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def test_two_runs_show_all_charts(
    open_classes: Opened,
) -> None:
    app = open_classes("one", "other", baseline="other")
    assert not app.exception
    assert not app.error
    drawn = specs(app)
    assert {"AS, centered by class", "Mean AS, centered: class by epoch"} <= drawn.keys()
    assert "Mean AS, centered, two runs" in drawn
    assert y_domain(drawn["AS, centered by class"])[:2] == ["三", "zwei"]
    assert "ended at epoch 1" in said(app)
    for sign in ("<b>", "**stars", "[link]", "$x", ":red["):
        assert sign not in re.sub(r"\\.", "", said(app))


def test_epoch_pair_class_and_words_come_from_the_link(
    open_classes: Opened,
) -> None:
    link = {"epoch": "1", "removal": "Raw", "class": "zwei"}
    app = open_classes("one", **link)
    assert app.select_slider(key="epoch").value == 1
    assert "AS, raw by class" in specs(app)
    assert app.selectbox(key="class").value == "zwei"
    app.text_input(key="find_class").set_value("no such class").run()
    assert "No class matches" in said(app)
    app.text_input(key="find_class").set_value("三").run()
    assert not app.exception
    assert app.selectbox(key="class").placeholder == "三 (first of the list)"


def test_a_class_opens_its_images_and_concepts(open_classes: Opened, open_page: Opened) -> None:
    app = open_classes("one", "other", baseline="other", epoch="1", removal="Raw", of="one")
    app.selectbox(key="class").set_value("zwei").run()
    links = {link.proto.label: link.proto.url for link in app.get("link_button")}
    assert set(links) == {"All its images", "All its concepts"}
    page, _, address = links["All its images"].partition("?")
    link = parse_qs(address)
    assert link.pop("runs") == app.query_params["runs"]
    images = open_page(
        page, os.environ["MLFLOW_TRACKING_URI"], runs=app.query_params["runs"], **link
    )
    assert not images.exception
    assert images.selectbox(key="class").value == "zwei"
    assert images.select_slider(key="epoch").value == 1
    assert images.get_by_key("removal").value == "Raw"
    assert "2 images that match" in said(images)


def test_a_thousand_classes_are_cut_to_thirty_and_kept_in_the_table(
    open_classes: Opened,
) -> None:
    app = open_classes("many")
    assert not app.exception
    assert "970 more" in said(app)
    assert len(y_domain(specs(app)["AS, centered by class"])) == 30
    assert len(app.dataframe[0].value) == 1000
    assert "One validation so far" in said(app)


@pytest.mark.parametrize(
    ("kind", "words"), [("old", "another version"), ("nan", "No number so far")]
)
def test_odd_tables_have_their_look(kind: str, words: str, open_classes: Opened) -> None:
    app = open_classes(kind)
    assert not app.exception
    assert words in said(app)


def test_a_run_without_tables_says_so(open_page: Opened, runs: Runs) -> None:
    app = open_page("classes", runs=[runs.healthy])
    assert not app.exception
    assert "No table of classes yet" in said(app)


def test_a_class_that_leaks_is_named_with_its_q_value(
    filled: tuple[Store, Runs], open_page: Opened, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = copy_of(filled[0], tmp_path_factory.mktemp("leaks"))
    names = ["a", "b", "c", "d"]
    found = tables(names).tables
    found["classes"] = found["classes"].assign(
        attribute_score_centered=[-3.0, -6.0, -6.0, math.nan],
        attribute_q=[0.001, 0.001, 0.2, math.nan],
        attribute_deviation=[-9, -9, -9, math.nan],
    )
    support = pd.DataFrame({"class_index": range(4), "outside_centered": [0, 0.25, 0.5, math.nan]})
    new = store.run(
        "new",
        history(1),
        experiment="leaks",
        tables=Findings({}, {**found, "class_support": support}),
    )
    old = store.run("old", history(1), experiment="leaks", tables=tables(names))
    app = open_page("classes", store.uri, runs=[new])
    assert not app.exception
    table = app.dataframe[0].value.set_index("name")
    # The score of a is too small to matter, c's q-value is too large.
    assert table["leak"].to_dict() == {"a": "", "b": "leaks", "c": "", "d": ""}
    assert table["q"].to_dict() == pytest.approx(
        {"a": 0.001, "b": 0.001, "c": 0.2, "d": math.nan}, nan_ok=True
    )
    assert table["outside"]["c"] == 0.5
    assert table["mark"].to_dict() == {"a": "", "b": MARK, "c": MARK, "d": ""}
    assert f"{MARK} 50 % of the images" in drawn(app, "AS, centered by class")["support"].tolist()
    assert any("out of support" in each.value for each in app.markdown)
    assert not any(
        "out of support" in each.value
        for each in open_page("classes", store.uri, runs=[new], removal="Raw").markdown
    )
    app = open_page("classes", store.uri, runs=[old])
    assert not app.exception
    assert not app.warning
    assert not {"leak", "q", "outside", "mark"} & {*app.dataframe[0].value.columns}
