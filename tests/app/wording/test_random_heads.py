"""A relative score is marked where a random head may show it."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from sing_monitor.app.wording.random_heads import MARK, WITHIN, band_lines, beside, is_within
from sing_monitor.app.wording.run_reading import reading


@pytest.mark.parametrize(
    ("value", "spread", "expected"),
    [
        *((0.9, 0.33, True), (0.35, 0.33, True), (0.3, 0.33, False), (1.7, 0.33, False)),
        *((0.9, 0.06, True), (0.87, 0.06, False), (1.0, 0.0, True), (1.1, 0.0, False)),
    ],
)
def test_two_spreads_to_both_sides_are_within(value: float, spread: float, expected: bool) -> None:
    assert is_within(value, spread) is expected
    assert beside(value, spread, "x")["text"] == (f"x {MARK}" if expected else "x")


def test_what_is_not_known_is_not_marked() -> None:
    assert not is_within(0.9, math.nan)
    assert not is_within(math.nan, 0.3)
    found = beside(0.9, math.nan, "0.90")
    assert found["text"] == "0.90"
    assert math.isnan(float(str(found["band_low"])))


def test_a_band_has_two_ends_of_their_own() -> None:
    spreads = pd.DataFrame({"label": ["a", "a"], "x": [0, 1], "value": [0.1, math.nan]})
    found = band_lines(spreads).set_index(["label", "x"])["value"]
    assert found["a lower", 0] == pytest.approx(0.8)
    assert found["a upper", 0] == pytest.approx(1.2)
    assert found[:, 1].isna().all()
    assert found.index.get_level_values("label").nunique() == 2


def test_the_sentence_of_a_run_says_so() -> None:
    values = {
        "sing/class_hidden": 0.04,
        "sing/retention_seen": 0.95,
        "monitor/accuracy": 0.94,
        "sing/attribute_score_centered": -1.2,
        "sing/image_score_centered": 5.0,
        "sing/image_score_random": 5.5,
        "sing/image_score_relative": 0.9,
        "sing/image_score_relative_spread": 0.3,
    }
    assert f"(a random subspace: 5.50°, {WITHIN})" in reading(values)
    assert WITHIN not in reading(values | {"sing/image_score_relative_spread": 0.01})
    assert WITHIN not in reading(values | {"sing/image_score_relative_spread": math.nan})
