from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.charts.curves.evolution import band_panel, curve_panel, x_domain
from sing_monitor.app.charts.curves.panel import Panel
from tests.app.specs import spec_of

SERIES = [
    SeriesStyle("a", "run a", "#111111", is_baseline=True),
    SeriesStyle("b", "run b", "#222222"),
]
PANEL = Panel("AS", "degrees", "higher is better", ".2f", "epoch", (-0.5, 3.5))


def values(a: list[float], b: list[float] | None = None, sign: float = 1.0) -> pd.DataFrame:
    parts = [
        pd.DataFrame(
            {
                "series": key,
                "label": f"run {key}",
                "epoch": range(len(found)),
                "x": [float(i) for i in range(len(found))],
                "value": [sign * value for value in found],
                "difference": math.nan,
            }
        )
        for key, found in (("a", a), ("b", b or []))
        if found
    ]
    return pd.concat(parts, ignore_index=True)


def marks(chart: dict[str, Any]) -> list[dict[str, Any]]:
    inner = chart.get("layer")
    return [chart] if inner is None else [mark for each in inner for mark in marks(each)]


def of_type(chart: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [mark for mark in marks(chart) if mark["mark"]["type"] == kind]


def data(spec: dict[str, Any], name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = spec["datasets"][name]
    return rows


def main_rows(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return data(spec, spec["data"]["name"])


def test_a_line_for_each_run_in_its_color_with_a_dashed_baseline() -> None:
    spec = spec_of(curve_panel(values([1, 2], [3, 4]), PANEL, SERIES))
    (line,) = of_type(spec, "line")
    assert line["encoding"]["color"]["scale"]["range"] == ["#111111", "#222222"]
    assert line["encoding"]["strokeDash"]["scale"]["range"] == [[6, 4], [1, 0]]
    assert line["encoding"]["x"]["scale"]["domain"] == [-0.5, 3.5]
    assert line["encoding"]["y"]["title"] == "degrees"
    assert spec["title"]["text"] == "AS"
    assert spec["title"]["subtitle"] == ["degrees · higher is better"]


def test_missing_values_are_gaps_and_stand_in_the_data() -> None:
    spec = spec_of(curve_panel(values([1, math.nan, 3]), PANEL, SERIES[:1]))
    (line,) = of_type(spec, "line")
    assert line["mark"]["invalid"] == "break-paths-show-domains"
    assert [row["value"] for row in main_rows(spec)] == [1, None, 3]


def pointed(found: pd.DataFrame, series: list[SeriesStyle]) -> list[int]:
    """Where there are points, counted over all runs."""
    spec = spec_of(curve_panel(found, PANEL, series))
    assert of_type(spec, "point")[0]["transform"] == [{"filter": "datum.has_point"}]
    return [place for place, row in enumerate(main_rows(spec)) if row["has_point"]]


def test_every_value_has_a_point_until_there_are_many() -> None:
    assert pointed(values([1.0] * 40), SERIES[:1]) == [*range(40)]
    alone = [1.0] * 20 + [math.nan, 2.0, math.nan] + [1.0] * 20
    assert pointed(values(alone), SERIES[:1]) == [21]


def test_points_tell_long_curves_of_one_color_apart() -> None:
    repeat = SeriesStyle("b", "run b", "#111111", variant=1)
    assert pointed(values([1.0] * 80, [2.0] * 80), [SERIES[0], repeat]) == [*range(80, 160, 10)]
    spec = spec_of(curve_panel(values([1.0], [2.0]), PANEL, [SERIES[0], repeat]))
    shapes = of_type(spec, "point")[0]["encoding"]["shape"]["scale"]["range"]
    assert shapes == ["circle", "square"]


def test_a_single_epoch_is_a_point() -> None:
    spec = spec_of(curve_panel(values([1.0]), PANEL, SERIES[:1]))
    assert [row["value"] for row in main_rows(spec)] == [1.0]
    assert of_type(spec, "point")


@pytest.mark.parametrize(("sign_of_b", "rules"), [(1, 0), (-1, 1)])
def test_zero_is_marked_where_the_sign_is_the_message(sign_of_b: int, rules: int) -> None:
    spec = spec_of(curve_panel(values([1, 2], [3 * sign_of_b, 4]), PANEL, SERIES))
    zero = [mark for mark in of_type(spec, "rule") if "y" in mark["encoding"]]
    assert len(zero) == rules


def test_the_random_subspace_lies_behind_thin_and_dotted_in_the_color_of_its_run() -> None:
    random = values([5, 6], [7, 9])
    spec = spec_of(curve_panel(values([1, 2], [3, 4]), PANEL, SERIES, random))
    first, second = of_type(spec, "line")
    assert first["mark"]["strokeWidth"] < second["mark"]["strokeWidth"]
    assert first["mark"]["strokeDash"] not in [each.dashes for each in SERIES]
    assert first["encoding"]["color"]["scale"]["range"] == ["#111111", "#222222"]
    assert [row["value"] for row in data(spec, spec["layer"][0]["data"]["name"])] == [5, 6, 7, 9]


def test_an_unknown_random_subspace_is_not_drawn() -> None:
    nothing = values([math.nan, math.nan])
    for random in (None, nothing, nothing.iloc[:0]):
        spec = spec_of(curve_panel(values([1, 2]), PANEL, SERIES[:1], random))
        assert len(of_type(spec, "line")) == 1
        assert not of_type(spec, "text")


def test_a_caveat_stands_on_the_chart_itself() -> None:
    panel = Panel("AS", "degrees", "", ".2f", "epoch", (0, 1), caveat="other space")
    subtitle = spec_of(curve_panel(values([1, 2]), panel, SERIES[:1]))["title"]["subtitle"]
    assert subtitle == ["degrees", "⚠ other space"]


def test_of_what_the_pointer_may_come_near_to_only_the_nearest_is_drawn() -> None:
    spec = spec_of(curve_panel(values([1, 2], [3, 4]), PANEL, SERIES))
    (hover,) = spec["params"]
    (near,) = (mark for mark in marks(spec) if mark.get("name") in hover["views"])
    assert near["mark"]["opacity"] == 0
    assert near["encoding"].keys() == {"x", "y", "tooltip"}
    nearest = {"filter": {"param": hover["name"], "empty": False}}
    drawn = [mark["mark"]["type"] for mark in marks(spec) if nearest in mark.get("transform", [])]
    assert drawn == ["rule", "point"]


def test_differences_are_named_and_stand_in_the_tooltip() -> None:
    frame = values([1, 2]).assign(difference=[0.5, math.nan])
    spec = spec_of(curve_panel(frame, PANEL, SERIES[:1]))
    near = next(mark for mark in of_type(spec, "point") if "tooltip" in mark["encoding"])
    assert near["encoding"]["tooltip"][-1]["title"] == "to the baseline"
    assert [row["change"] for row in main_rows(spec)] == ["+0.50", "\N{EN DASH}"]
    shown = Panel("AS", "degrees", "", ".2f", "epoch", (0, 1), is_difference=True)
    spec = spec_of(curve_panel(frame, shown, SERIES[:1]))
    assert of_type(spec, "line")[0]["encoding"]["y"]["title"] == "difference to the baseline"


def test_names_with_any_signs_stay_data() -> None:
    frame = values([1, 2]).assign(label="a.b[0] 'x' <i>", series="a")
    spec = spec_of(curve_panel(frame, PANEL, SERIES[:1]))
    assert {row["label"] for row in main_rows(spec)} == {"a.b[0] 'x' <i>"}
    assert "<i>" not in str({key: spec[key] for key in ("layer", "title")})


def test_a_band_reaches_from_the_smallest_to_the_largest() -> None:
    frame = values([2, 3]).assign(low=[1, 2], high=[3, 4], n=2)
    spec = spec_of(band_panel(frame, PANEL, SERIES[:1]))
    (area,) = of_type(spec, "area")
    assert (area["encoding"]["y"]["field"], area["encoding"]["y2"]["field"]) == ("low", "high")


def test_values_out_of_support_are_crossed_and_say_so() -> None:
    frame = values([1, 2, 3]).assign(outside=[0.1, 0.25, math.nan])
    spec = spec_of(curve_panel(frame, PANEL, SERIES[:1]))
    cross = of_type(spec, "point")[-1]
    assert cross["mark"]["shape"] == "M-1-1L1 1M1-1L-1 1"
    assert cross["transform"] == [{"filter": "datum.support && isValid(datum.value)"}]
    said = [row["support"] for row in main_rows(spec)]
    assert said == ["", "\N{MULTIPLICATION SIGN} 25 % of the images", ""]
    inside = spec_of(curve_panel(frame.assign(outside=0.1), PANEL, SERIES[:1]))
    assert len(of_type(inside, "point")) == len(of_type(spec, "point")) - 1
    seeds = spec_of(band_panel(frame.assign(low=0.0, high=4.0, n=2), PANEL, SERIES[:1]))
    assert of_type(seeds, "point")[-1]["mark"]["shape"] == cross["mark"]["shape"]


def test_intervals_are_bands_and_stand_in_the_tooltip() -> None:
    frame = values([1, 2]).assign(low=[math.nan, 1.5], high=[math.nan, 2.5], spread=[3.0, math.nan])
    spec = spec_of(curve_panel(frame, PANEL, SERIES[:1]))
    (area,) = of_type(spec, "area")
    assert area["mark"]["invalid"] == "break-paths-show-domains"
    assert "transform" not in area
    assert [row["interval"] for row in main_rows(spec)] == ["\N{EN DASH}", "1.50 to 2.50"]
    assert [row["deviation"] for row in main_rows(spec)] == ["3.00", "\N{EN DASH}"]
    assert not of_type(spec_of(curve_panel(values([1, 2]), PANEL, SERIES[:1])), "area")


def test_the_same_data_give_the_same_chart() -> None:
    one, other = (spec_of(curve_panel(values([1, 2]), PANEL, SERIES[:1])) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        ([0.0, 10.0], (-0.3, 10.3)),
        ([4.0], (3.5, 4.5)),
        ([math.nan], (-0.03, 1.03)),
        ([], (-0.03, 1.03)),
    ],
)
def test_the_axis_leaves_room_at_both_ends(x: list[float], expected: tuple[float, float]) -> None:
    assert x_domain(pd.Series(x, dtype=float)) == pytest.approx(expected)
