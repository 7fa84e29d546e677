"""The chart of ranks over depth: its rows, its lines, and what is said of them."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from sing_monitor.app.charts.structure.depth import (
    MOST_EPOCHS,
    depth_rows,
    rank_over_depth,
    spread,
)
from sing_monitor.app.wording.depth import depth_reading
from tests.app import structure


def test_many_epochs_are_thinned_and_the_chosen_one_stays() -> None:
    assert spread([3, 5], 5) == [3, 5]
    for chosen in (0, 37, 99):
        found = spread(range(100), chosen)
        assert len(found) <= MOST_EPOCHS
        assert {0, chosen, 99} <= set(found)
        assert found == sorted(found)


def test_stages_stand_in_their_order_under_short_names() -> None:
    fewer = structure.layers().iloc[[0, 2]].assign(depth=[1, 2])
    rows = depth_rows({0: fewer, 1: structure.layers()})
    assert rows["name"].tolist() == ["stem", "body.2", "stem", "body.1", "body.2"]
    assert rows["place"].tolist() == [0, 2, 0, 1, 2]
    assert rows["most"].tolist() == [16, 40, 16, 3, 40]


def test_names_that_are_cut_to_the_same_stay_apart() -> None:
    long = "x" * 60
    layers = [f"{long}a{long}", f"{long}b{long}", "other"]
    rows = depth_rows({0: structure.layers().assign(layer=layers)})
    assert rows["name"].nunique() == 3


def test_one_epoch_is_strong_and_the_others_are_fainter_the_earlier_they_are() -> None:
    rows = depth_rows({epoch: structure.layers() for epoch in (0, 4, 8)})
    spec = rank_over_depth(rows, 4, "#123456", 20.0, "a run", "epoch 4").to_dict()
    limit, lines, points, strong, dots = spec["layer"]
    for layer in (lines, points):
        assert layer["transform"] == [{"filter": "!datum.is_chosen"}]
        scale = layer["encoding"]["opacity"]["scale"]
        assert scale["domain"] == [0, 8]
        assert 0 < scale["range"][0] < scale["range"][1] < 1
    for layer in (limit, strong, dots):
        assert layer["transform"] == [{"filter": "datum.is_chosen"}]
    assert strong["encoding"]["y"]["scale"]["domain"] == [0, pytest.approx(22.4)]
    # "~g" alone writes 60 as 6e+1.
    assert strong["encoding"]["y"]["axis"]["format"] == ".6~g"
    assert strong["encoding"]["x"]["sort"] == ["stem", "body.1", "body.2"]
    drawn = spec["datasets"][spec["data"]["name"]]
    assert sorted({row["epoch"] for row in drawn if row["is_chosen"]}) == [4]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_stage_without_a_rank_is_not_drawn(value: float) -> None:
    table = structure.layers()
    table.loc[1, "rank"] = value
    spec = rank_over_depth(depth_rows({0: table}), 0, "#123456", 20.0, "a", "b").to_dict()
    drawn = spec["datasets"][spec["data"]["name"]]
    assert [row["name"] for row in drawn] == ["stem", "body.2"]
    # Its place is kept.
    assert spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == ["stem", "body.1", "body.2"]


@pytest.mark.parametrize(
    ("ranks", "said"),
    [
        ([12.0, 11.0, 10.0], "about 12 directions at `` a `` and in about 10 at `` c ``."),
        ([12.0, 2.25, 9.5], "`` b `` is a bottleneck: about 2.2."),
        ([12.0, math.nan, 9.5], "about 12 directions at `` a `` and in about 9.5 at `` c ``."),
        ([math.nan, math.nan, 9.5], ""),
    ],
)
def test_a_sentence_says_where_directions_are_lost(ranks: list[float], said: str) -> None:
    found = depth_reading(["a", "b", "c"], ranks)
    assert found.endswith(said)
    assert bool(found) is bool(said)
    assert pd.isna(ranks[1]) or ("bottleneck" in found) is (ranks[1] == 2.25)
