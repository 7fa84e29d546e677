"""Concepts gained and lost, and logits before and after."""

from __future__ import annotations

from sing_monitor.app.charts.classes import AWAY, TOWARD
from sing_monitor.app.charts.explain import concepts, logits


def test_bars_go_from_the_most_gained_to_the_most_lost() -> None:
    spec = concepts([("red", 3.0), ("sky", 1.0)], [("fur", -4.0), ("dark", -1.0)], "raw").to_dict()
    assert spec["encoding"]["y"]["sort"] == ["red", "sky", "dark", "fur"]
    rows = spec["datasets"][spec["data"]["name"]]
    assert [row["value"] for row in rows] == [3.0, 1.0, -1.0, -4.0]
    paint = spec["encoding"]["color"]
    assert (paint["condition"][0]["value"], paint["value"]) == (TOWARD, AWAY)


def test_logits_are_sorted_and_named() -> None:
    rows = logits([1.0, 3.0], [1.5, 3.0], {0: "cat"})
    assert rows["class"].tolist() == ["class 1", "cat"]
    assert rows["difference"].tolist() == [0.0, 0.5]
