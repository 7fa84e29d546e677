from __future__ import annotations

import math

import pandas as pd
import pytest

from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.charts.curves.meaning import (
    PARTS,
    meaning_stack,
    shares,
    stacked_parts,
    things_panel,
)
from sing_monitor.app.charts.curves.panel import Panel
from tests.app.specs import spec_of


def history() -> pd.DataFrame:
    """Of the honest digit model at the end: .69 in all, .45 seen, .67 null; before, one below 0."""
    return pd.DataFrame(
        {
            "epoch": [0, 1, 2],
            "x": [0.0, 1.0, 2.0],
            "meaning/unique_seen": [-0.01, math.nan, 0.02],
            "meaning/shared": [0.21, 0.3, 0.43],
            "meaning/unique_null": [0.1, 0.2, 0.24],
            "translator/r2": [0.3, 0.5, 0.69],
        }
    )


def test_the_four_parts_add_up_to_the_whole_variance() -> None:
    parts = shares(history())
    assert parts["epoch"].tolist() == [0, 2]
    assert parts[[name for name, *_ in PARTS]].sum(axis=1).tolist() == pytest.approx([1, 1])
    assert parts.iloc[1][["seen", "both", "null", "neither"]].tolist() == pytest.approx(
        [0.02, 0.43, 0.24, 0.31]
    )


def test_parts_lie_on_each_other_and_one_below_zero_takes_no_room() -> None:
    drawn = stacked_parts(shares(history()))
    first = drawn[drawn["epoch"] == 0].set_index("part")
    assert first.loc["seen alone", "value"] == pytest.approx(-0.01)
    assert first["low"].tolist() == pytest.approx([0, 0, 0.21, 0.31])
    assert first["high"].tolist() == pytest.approx([0, 0.21, 0.31, 1.01])
    spec = spec_of(meaning_stack(drawn, "about", "epoch", (0, 2)))
    area, bars = spec["layer"]
    assert (area["mark"]["type"], bars["mark"]["type"]) == ("area", "bar")
    assert area["encoding"]["y"]["scale"]["domain"] == [0, pytest.approx(1.01)]
    assert area["encoding"]["color"]["scale"]["domain"] == [label for _, label, _ in PARTS]
    assert [each["field"] for each in bars["encoding"]["tooltip"][1:]] == [
        "seen",
        "both",
        "null",
        "neither",
    ]


def test_no_area_is_drawn_across_a_validation_without_a_split() -> None:
    seven = pd.concat([history()] * 3, ignore_index=True).head(7)
    seven = seven.assign(epoch=range(7), x=[float(x) for x in range(7)])
    # Split at 0, 2 and 3, 5 and 6; none at 1 and 4.
    drawn = stacked_parts(shares(seven)).drop_duplicates("epoch").set_index("epoch")
    assert drawn["span"].to_dict() == {0: 0, 2: 1, 3: 1, 5: 2, 6: 2}
    assert drawn["alone"].to_dict() == {0: True, 2: False, 3: False, 5: False, 6: False}
    area, bars = spec_of(meaning_stack(stacked_parts(shares(seven)), "", "epoch", (0, 6)))["layer"]
    assert area["encoding"]["detail"]["field"] == "span"
    assert [each["value"] for each in bars["encoding"]["opacity"]["condition"]] == [0.3, 0.75]
    assert bars["encoding"]["opacity"]["value"] < 0.1


def test_class_and_attributes_are_told_apart_by_dash_and_shape() -> None:
    values = pd.DataFrame({"thing": ["class", "colour"], "epoch": 0, "x": 0.0, "value": [0.9, 0.1]})
    panel = Panel("Kept", "share", "", ".3f", "epoch", (0, 1))
    run = SeriesStyle("a", "run a", "#111111")
    line, point = spec_of(things_panel(values, panel, run, ("class", "colour")))["layer"]
    assert line["encoding"]["strokeDash"]["scale"]["domain"] == ["class", "colour"]
    dashes = line["encoding"]["strokeDash"]["scale"]["range"]
    assert dashes[0] != dashes[1]
    assert point["encoding"]["color"] == {"value": "#111111"}
