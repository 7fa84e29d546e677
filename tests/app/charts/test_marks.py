from __future__ import annotations

import math

from sing_monitor.app.charts.marks import isolated


def test_isolated_values_have_no_neighbor() -> None:
    values = [1.0, math.nan, 2.0, 3.0, math.inf, 4.0]
    assert isolated(values).tolist() == [True, False, False, False, False, True]
    assert isolated([]).tolist() == []
