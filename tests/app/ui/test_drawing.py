"""How a chart is sent to the page."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from sing_monitor.app.charts.vega import Part, layer, layered, quantity
from sing_monitor.app.ui.drawing import made


def dots(values: pd.DataFrame) -> Part:
    place = {"x": quantity("x"), "y": quantity("x")}
    return layered(values, [layer("point", place)], title={"text": "dots"}, height=100)


@pytest.mark.parametrize(("rows", "is_large"), [(10, False), (2_000, True)])
def test_large_charts_are_drawn_on_a_canvas_and_say_nothing_of_single_marks(
    rows: int, is_large: bool
) -> None:
    values = pd.DataFrame({"x": np.arange(rows, dtype=float)})
    spec = made(dots, values, key="dots", alt_text="dots").spec
    options = spec.get("usermeta", {}).get("embedOptions", {})
    assert (options.get("renderer") == "canvas") is is_large
    assert (spec["config"].get("mark", {}).get("aria") is False) is is_large
    assert spec["config"]["axis"] == {"labelFlush": False}
