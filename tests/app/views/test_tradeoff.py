"""The plane and the bars: their charts, and the page in every state that a run can be in."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import chi2
from streamlit.testing.v1 import AppTest

from sing_monitor.app.charts.bars import BarLabels, bars
from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.charts.tradeoff import PlaneLabels, ellipse, plane, ranges, sample
from sing_monitor.app.wording.support_marks import MARK
from sing_monitor.findings import Findings
from tests.app.conftest import Opened, Runs, copy_of
from tests.app.stores import Store, history

SERIES = [
    SeriesStyle("a", "run a", "#111111", is_baseline=True),
    SeriesStyle("b", "it's b", "#222222"),
]
AROUND = PlaneLabels("AS and IS", "epoch 2", (-9, 9), (0, 50))
SPREAD = {"sing/attribute_score_std_centered": 2.0, "sing/image_score_std_centered": 4.0}


def scores(n: int) -> tuple[pd.Series, pd.Series]:
    rng = np.random.default_rng(0)
    attribute = rng.normal(1, 3, n)
    return pd.Series(attribute), pd.Series(30 + attribute + rng.normal(0, 5, n))


def images(n: int = 60, shift: float = 0.0) -> Findings:
    attribute, image = scores(n)
    columns: dict[str, object] = {"image": [f"{row:016x}" for row in range(n)]}
    for place, suffix in enumerate(("", "_centered", "_random")):
        columns[f"attribute_score{suffix}"] = attribute + shift + place
        columns[f"image_score{suffix}"] = image + place
    return Findings(tables={"images": pd.DataFrame(columns)})


def path() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "series": "a",
            "label": "run a",
            "epoch": [0, 1, 2],
            "order": [0, 1, 2],
            "attribute": [1.0, math.nan, 3.0],
            "image": [10.0, 20.0, 30.0],
            "is_chosen": [False, False, True],
            "outside": [0.5, 0.5, 0.02],
            "attribute_low": [math.nan, math.nan, 2.5],
            "attribute_high": [math.nan, math.nan, 3.5],
            "image_low": math.nan,
            "image_high": math.nan,
        }
    )


def specs(app: AppTest) -> dict[str, dict[str, Any]]:
    found = [json.loads(element.proto.spec) for element in app.get("vega_lite_chart")]
    return {spec["title"]["text"]: spec for spec in found}


def drawn(app: AppTest, title: str, layer: int | None = None) -> pd.DataFrame:
    """The data of a chart, or of one of its layers, as the browser gets them."""
    for element in app.get("vega_lite_chart"):
        spec = json.loads(element.proto.spec)
        if spec["title"]["text"] == title:
            name = (spec if layer is None else spec["layer"][layer])["data"]["name"]
            sent = {each.name: each.data.data for each in element.proto.datasets}
            return pa.ipc.open_stream(sent[name]).read_pandas()
    raise KeyError(title)


def texts(app: AppTest) -> str:
    kinds = ("caption", "info", "warning", "markdown")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def rows(spec: dict[str, Any], layer: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = spec["datasets"][spec["layer"][layer]["data"]["name"]]
    return found


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_ellipse_has_one_distance_and_covers_its_share(share: float) -> None:
    attribute, image = scores(20_000)
    both = np.column_stack([attribute, image])
    inverse = np.linalg.inv(np.cov(both, rowvar=False))

    def distance(points: np.ndarray) -> np.ndarray:
        off = points - both.mean(axis=0)
        return np.einsum("ni,ij,nj->n", off, inverse, off)

    border = distance(ellipse(attribute, image, share)[["attribute", "image"]].to_numpy())
    assert border == pytest.approx(chi2.ppf(share, df=2))
    assert (distance(both) <= border.mean()).mean() == pytest.approx(share, abs=0.01)


def test_independent_scores_give_upright_axes() -> None:
    corners = pd.Series([1.0, -1.0, 1.0, -1.0]), pd.Series([12.0, 8.0, 8.0, 12.0])
    found = ellipse(*corners)
    # Variances 4/3 and 16/3 of four corners.
    radius = math.sqrt(chi2.ppf(0.95, df=2))
    assert found["attribute"].max() == pytest.approx(radius * math.sqrt(4 / 3), rel=1e-3)
    assert found["image"].max() == pytest.approx(10 + radius * math.sqrt(16 / 3), rel=1e-3)
    assert found.iloc[0][["attribute", "image"]].tolist() == pytest.approx(
        found.iloc[-1][["attribute", "image"]].tolist()
    )


def test_unknown_scores_are_no_part_of_the_ellipse() -> None:
    attribute, image = scores(50)
    more = pd.concat([attribute, pd.Series([math.nan, 5.0, math.inf])], ignore_index=True)
    other = pd.concat([image, pd.Series([1.0, math.nan, 2.0])], ignore_index=True)
    pd.testing.assert_frame_equal(ellipse(more, other), ellipse(attribute, image))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_images_have_no_ellipse(n: int) -> None:
    assert ellipse(*scores(n)).empty


def test_equal_images_are_a_point() -> None:
    found = ellipse(pd.Series([2.0] * 4), pd.Series([5.0] * 4))
    assert found["attribute"].unique() == pytest.approx([2.0])
    assert found["image"].unique() == pytest.approx([5.0])


def test_the_sample_is_the_same_at_every_call() -> None:
    frame = pd.DataFrame({"series": ["a"] * 30 + ["b"] * 5, "attribute": range(35)})
    found = sample(frame, 10)
    assert found.groupby("series").size().to_dict() == {"a": 10, "b": 5}
    pd.testing.assert_frame_equal(found, sample(frame, 10))


def test_the_ranges_hold_all_epochs_with_zero_in_the_middle() -> None:
    spread = path().assign(attribute_std=[2.0, 2.0, math.nan], image_std=1.0)
    points = pd.DataFrame({"attribute": [-12.0], "image": [31.0]})
    (left, right), (low, high) = ranges(spread, points)
    assert left == -right
    assert right == pytest.approx(1.05 * 12)
    assert low == 0
    assert high == pytest.approx(1.05 * (30 + math.sqrt(chi2.ppf(0.95, df=2))))


def test_the_plane_has_cloud_ellipse_path_and_the_chosen_epoch() -> None:
    points = pd.DataFrame({"series": "a", "attribute": [1.0, 2.0], "image": [3.0, 4.0]})
    points = points.assign(outside=[False, True])
    ellipses = ellipse(*scores(9)).assign(series="a")
    spec = plane(points, ellipses, path(), AROUND, SERIES).to_dict()
    _, cloud, far, outline, line, _, flat, steep, cross, mark, on_mark = spec["layer"]
    assert cloud["mark"]["opacity"] < 0.3
    for each in (outline, line):
        assert each["encoding"]["strokeDash"]["scale"]["range"] == [[6, 4], [1, 0]]
        assert each["encoding"]["order"]["field"] == "order"
    assert cloud["encoding"]["color"]["scale"]["range"] == ["#111111", "#222222"]
    assert cloud["encoding"]["x"]["scale"]["domain"] == [-9, 9]
    assert far["transform"] == [{"filter": "datum.outside"}]
    assert far["mark"]["shape"] == cross["mark"]["shape"] == on_mark["mark"]["shape"]
    assert [row["epoch"] for row in rows(spec, 4)] == [0, 2]
    said = [(row["support"], row["attribute_interval"]) for row in rows(spec, 4)]
    assert said == [(f"{MARK} 50 % of the images", ""), ("", "2.50 to 3.50")]
    assert flat["transform"][-1] == {"filter": "isValid(datum.attribute_low)"}
    assert (steep["encoding"]["y"]["field"], steep["encoding"]["y2"]["field"]) == (
        "image_low",
        "image_high",
    )
    assert mark["transform"] == [{"filter": "datum.is_chosen"}]
    assert rows(spec, 0) == [{"zero": 0.0}]


def test_bars_write_their_number_and_name_the_run_whatever_it_is_called() -> None:
    values = pd.DataFrame(
        {
            "series": ["a", "b"],
            "label": ["run a", "it's b"],
            "value": [2.0, math.nan],
            "random": [1.5, math.nan],
            "text": ["2.00", "\N{EN DASH}"],
            "low": [1.9, math.nan],
            "high": [2.2, math.nan],
            "outside": [0.3, math.nan],
        }
    )
    spec = bars(values, BarLabels("IS / |AS|", "epoch 2", 4.0, "other space"), SERIES).to_dict()
    bar, _, whisker, tick, number, cross = spec["layer"]
    assert bar["encoding"]["x"]["scale"]["domain"] == [0, 4.8]
    assert '"it\'s b"' in bar["encoding"]["y"]["axis"]["labelExpr"]
    assert tick["transform"] == [{"filter": "isValid(datum.random)"}]
    assert number["encoding"]["text"]["field"] == "text"
    assert whisker["transform"] == [{"filter": "isValid(datum.low)"}]
    (ends,) = (data for data in spec["datasets"].values() if "end" in data[0])
    assert [(row["end"], row["interval"], row["support"]) for row in ends] == [
        (2.2, "1.9 to 2.2", f"{MARK} 30 % of the images"),
        (None, "\N{EN DASH}", ""),
    ]
    assert cross["transform"] == [{"filter": "datum.support"}]
    assert spec["title"]["subtitle"] == ["epoch 2", "⚠ other space"]


def test_a_thinner_whisker_tells_what_other_ridges_would_give() -> None:
    values = pd.DataFrame(
        {
            **{"series": ["a", "b"], "label": ["a", "b"], "text": "", "value": [2.0, 3.0]},
            **{"low": [1.9, 2.9], "high": [2.1, 3.1], "random": math.nan, "outside": math.nan},
            **{"thin_low": [1.5, math.nan], "thin_high": [2.6, math.nan]},
        }
    )
    spec = bars(values, BarLabels("IS / |AS|", "epoch 2", 4.0), SERIES).to_dict()
    _, _, thin, _, sure, *_ = spec["layer"]
    assert thin["encoding"]["x"]["field"] == "thin_low"
    assert thin["mark"]["strokeWidth"] < sure["mark"]["strokeWidth"]
    (rows,) = (data for data in spec["datasets"].values() if "end" in data[0])
    assert [(row["end"], row["ridges"]) for row in rows] == [
        (2.6, "1.5 to 2.6"),
        (3.1, "\N{EN DASH}"),
    ]


@pytest.fixture(scope="module")
def store(filled: tuple[Store, Runs], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the common database: the runs that are added here are seen here alone."""
    return copy_of(filled[0], tmp_path_factory.mktemp("tradeoff"))


@pytest.fixture(scope="module")
def with_images(store: Store) -> tuple[str, str]:
    """Two runs with images at every epoch; the second ends before the first."""
    values = [each | SPREAD for each in history(3)]
    one = store.run("with images", values, tables=images(), experiment="images")
    other = store.run("many images", values[:2], tables=images(2100, -4), experiment="images")
    return one, other


def test_the_page_draws_the_plane_and_the_bars(
    open_page: Opened, with_images: tuple[str, str]
) -> None:
    app = open_page("tradeoff", runs=list(with_images), baseline=with_images[0], epoch="1")
    assert not app.exception
    found = specs(app)
    assert list(found) == ["AS and IS, centered", "IS / |AS|, centered", "IS relative to random"]
    assert len(drawn(app, "AS and IS, centered", 1)) == 60 + 2000
    assert "many images (2,100)" in texts(app)
    assert "95 %" in texts(app)
    app.select_slider(key="epoch").set_value(2).run()
    assert "many images stored no table of images at epoch 2" in texts(app)
    assert len(drawn(app, "AS and IS, centered", 1)) == 60


@pytest.mark.parametrize(("kind", "crosses"), [("Centered", 2), ("Raw", 0), ("Random pair", 0)])
def test_scores_out_of_support_are_crossed(
    kind: str, crosses: int, open_page: Opened, store: Store
) -> None:
    found = images(6)
    ids = found.tables["images"]["image"]
    far = pd.DataFrame(
        {"image": ids[::-1], "outside": 0.0, "outside_centered": [1.0] * 2 + [0] * 4}
    )
    both = Findings({}, {**found.tables, "support": far})
    values = history(1)[0] | SPREAD | {"support/outside": 0.0, "support/outside_centered": 0.33}
    run = store.run(f"far {kind}", [values], tables=both, experiment="images")
    app = open_page("tradeoff", store.uri, runs=[run], scores=kind)
    assert not app.exception
    points = drawn(app, next(iter(specs(app))), 1)
    assert points["outside"].sum() == crosses
    assert ("Out of support: 2 of 6 images" in texts(app)) == bool(crosses)
    means = drawn(app, next(iter(specs(app))), 4)["support"].tolist()
    # Raw scores were not logged, so there is no mean to mark.
    assert [text for text in means if text] == [f"{MARK} 33 % of the images"] * bool(crosses)
    # The bars are of the centered pair, whichever is looked at.
    assert drawn(app, "IS / |AS|, centered")["support"].tolist() == [f"{MARK} 33 % of the images"]
    assert "out of support" in texts(app)


def test_the_scores_come_from_the_link(open_page: Opened, with_images: tuple[str, str]) -> None:
    app = open_page("tradeoff", runs=[with_images[0]], scores="Random pair")
    assert "AS and IS of a random subspace" in specs(app)
    attribute, _ = scores(60)
    found = drawn(app, "AS and IS of a random subspace", 1)["attribute"]
    assert sorted(found) == pytest.approx(sorted(attribute + 2))


def test_play_starts_again_at_the_end_steps_on_and_stops(
    open_page: Opened, with_images: tuple[str, str]
) -> None:
    app = open_page("tradeoff", runs=[with_images[0]])
    assert app.select_slider(key="epoch").value == 2
    app.button(key="play").click().run()
    assert not app.exception
    assert app.select_slider(key="epoch").value == 0
    assert app.button(key="play").label == "Pause"
    for expected, label in ((1, "Pause"), (2, "Pause"), (2, "Play")):
        # As if the time of one picture had passed.
        app.session_state["tradeoff stepped"] = 0.0
        app.run()
        assert not app.exception
        assert not app.warning
        assert app.select_slider(key="epoch").value == expected
        assert app.button(key="play").label == label
    app.button(key="play").click().run()
    app.button(key="play").click().run()
    assert app.button(key="play").label == "Play"
    assert app.select_slider(key="epoch").value == 0


@pytest.mark.parametrize("picked", ["healthy shortcut", "nan", "running markup other_space"])
def test_runs_without_images_show_their_path(picked: str, open_page: Opened, runs: Runs) -> None:
    app = open_page("tradeoff", runs=[getattr(runs, name) for name in picked.split()])
    assert not app.exception
    assert not app.error
    assert "stored no table of images" in texts(app)
    assert "AS and IS, centered" in specs(app)


def test_one_epoch_is_a_point_without_slider(open_page: Opened, runs: Runs) -> None:
    app = open_page("tradeoff", runs=[runs.one_epoch])
    assert not app.exception
    assert "drawn as a point" in texts(app)
    assert not app.select_slider
    assert not [button for button in app.button if button.key == "play"]


def test_a_run_without_validations_says_so(open_page: Opened, runs: Runs) -> None:
    app = open_page("tradeoff", runs=[runs.no_validation])
    assert not app.exception
    assert "No validation" in texts(app)
    assert not specs(app)


def test_runs_without_a_single_score_say_so(open_page: Opened, store: Store) -> None:
    nothing = dict.fromkeys(history(1)[0], math.nan)
    run = store.run("nothing", [nothing, nothing], experiment="images")
    app = open_page("tradeoff", runs=[run])
    assert not app.exception
    assert not specs(app)
    assert "No number so far" in texts(app)


def test_different_spaces_are_marked(open_page: Opened, runs: Runs) -> None:
    app = open_page("tradeoff", runs=[runs.healthy, runs.other_space])
    assert all("⚠" in str(spec["title"]) for spec in specs(app).values())


def test_the_range_of_ridges_is_moved_to_the_value_of_all_images(
    open_page: Opened, store: Store
) -> None:
    relative = "sing/image_score_relative"
    ridge = pd.DataFrame({"key": [relative], "value": 0.5, "value_low": 0.6, "value_high": 0.45})
    values = history(1)[0] | SPREAD
    run = store.run("ridge", [values], tables=Findings({}, {"ridge": ridge}), experiment="images")
    app = open_page("tradeoff", store.uri, runs=[run])
    assert not app.exception
    (row,) = drawn(app, "IS relative to random").to_dict("records")
    assert row["thin_low"] == pytest.approx(values[relative] - 0.05)
    assert row["thin_high"] == pytest.approx(values[relative] + 0.1)
    (row,) = drawn(app, "IS / |AS|, centered").to_dict("records")
    assert math.isnan(row["thin_low"])


def test_a_relative_score_that_a_random_head_may_show_is_marked(
    open_page: Opened, store: Store
) -> None:
    values = history(1)[0] | SPREAD | {"sing/image_score_relative_spread": 0.3}
    run = store.run("few null dimensions", [values], tables=images(), experiment="images")
    app = open_page("tradeoff", store.uri, runs=[run])
    assert not app.exception
    (row,) = drawn(app, "IS relative to random").to_dict("records")
    assert row["text"].endswith(" ≈")
    assert (row["band_low"], row["band_high"]) == pytest.approx((0.4, 1.6))
    assert "within what a random head shows" in str(specs(app)["IS relative to random"]["title"])
