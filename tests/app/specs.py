"""Charts in Vega-Lite's own words as the browser would get them: checked, and with their rows."""

from __future__ import annotations

import json
from typing import Any

import altair as alt

from sing_monitor.app.charts.vega import Part

Rows = list[dict[str, Any]]


def spec_of(chart: Part) -> dict[str, Any]:
    """The chart as JSON, its data sets by name beside it; it must keep to Vega-Lite's schema."""
    sets: dict[str, Rows] = {}
    spec = _named(chart, sets) | {"datasets": sets}
    alt.LayerChart.from_dict(spec, validate=True)
    found: dict[str, Any] = json.loads(json.dumps(spec))
    return found


def _named(chart: Part, sets: dict[str, Rows]) -> Part:
    found = dict(chart)
    if "data" in chart:
        found["data"] = {"name": f"data {len(sets)}"}
        sets[f"data {len(sets)}"] = json.loads(chart["data"].to_json(orient="records"))
    if "layer" in chart:
        found["layer"] = [_named(each, sets) for each in chart["layer"]]
    return found
