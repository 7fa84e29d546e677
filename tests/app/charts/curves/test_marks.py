from __future__ import annotations

import math

from sing_monitor.app.charts.curves.marks import isolated, places


def test_isolated_values_have_no_neighbor() -> None:
    values = [1.0, math.nan, 2.0, 3.0, math.inf, 4.0]
    assert isolated(values, [0] * 6).tolist() == [True, False, False, False, False, True]
    assert isolated([], []).tolist() == []


def test_places_are_counted_on_each_curve() -> None:
    assert places(["b", "a", "b", "b", "a"]).tolist() == [0, 0, 1, 2, 1]
    assert places([]).tolist() == []


def test_a_neighbor_on_another_curve_is_none() -> None:
    one_by_one = isolated([1.0, 2.0, 3.0, math.nan], ["a", "b", "a", "b"])
    assert one_by_one.tolist() == [False, True, False, False]
