"""The chart of steered pairs."""

from __future__ import annotations

import math

import pandas as pd

from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.charts.steering import ordered, pairs

SERIES = [
    SeriesStyle("a", "run a", "#111111"),
    SeriesStyle("b", "run b", "#222222", is_baseline=True),
]


def table(*scores: float, targets: tuple[str, ...] = ("dog", "cat", "owl")) -> pd.DataFrame:
    """A row for each score."""
    return pd.DataFrame(
        {
            "source_index": range(len(scores)),
            "source": ["cat", "dog", "fox"][: len(scores)],
            "target_index": [1, 0, 7][: len(scores)],
            "target": targets[: len(scores)],
            "n": 8,
            "attribute_score_abs": scores,
            "attribute_score": scores,
            "attribute_score_std": 1.0,
            "limit": 70.0,
            "reachable": 1.0,
        }
    )


def test_pairs_stand_in_falling_order_and_the_unknown_last() -> None:
    both = pd.concat(
        [table(1.0, math.nan, 3.0).assign(series="a"), table(9.0, math.nan, 3.0).assign(series="b")]
    )
    found = ordered(both)["pair"].drop_duplicates().tolist()
    assert found == ["cat → dog", "fox → owl", "dog → cat"]


def test_classes_of_one_name_are_told_apart() -> None:
    same = table(1.0, 2.0).assign(source="cat", target="dog")
    assert ordered(same)["pair"].tolist() == ["cat → dog (1 → 0)", "cat → dog (0 → 1)"]


def test_runs_stand_side_by_side_and_the_baseline_is_hollow() -> None:
    rows = pd.concat([table(1.0, 2.0).assign(series=key, label=key) for key in "ab"])
    one = pairs(ordered(rows[rows["series"] == "a"]), SERIES[:1], "epoch 2").to_dict()
    spec = pairs(ordered(rows), SERIES, "epoch 2", "other spaces").to_dict()
    points = [layer for layer in spec["layer"] if layer["mark"]["type"] == "point"]
    assert [point["mark"]["filled"] for point in points] == [True, False]
    assert [point["encoding"]["color"]["value"] for point in points] == ["#111111", "#222222"]
    assert points[0]["encoding"]["y"]["scale"]["domain"] == ["dog → cat", "cat → dog"]
    assert points[0]["encoding"]["yOffset"]["scale"]["domain"] == ["a", "b"]
    assert spec["height"] > one["height"]
    assert spec["title"]["subtitle"] == ["epoch 2 · hollow: baseline", "⚠ other spaces"]
