"""Maps of where features stand, out of the tables of a validation."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from sing_monitor.app.charts.structure.focus_rows import ImageFocus, focus_of, spread_history
from sing_monitor.app.charts.structure.spread_chart import spreads
from tests.app import structure

NAMES = {"all": "All features", "seen": "Seen", "null": "Ignored"}


def rows(**changes: object) -> pd.DataFrame:
    """The maps of the first image, of two by three places."""
    table = structure.focus_maps()
    return table[table["image"] == structure.IDS[0]].assign(**changes)


def test_shares_and_entropies_of_stored_levels() -> None:
    found = focus_of(rows())
    assert found is not None
    assert found.grid == (2, 3)
    assert found.shares["seen"].tolist() == [[0, 0, 0], [0, 1, 0]]
    assert found.shares["all"].tolist() == [[pytest.approx(1 / 6)] * 3] * 2
    assert found.entropies == pytest.approx({"all": 1, "seen": 0, "null": math.log(2, 6)})
    assert found.overlap == pytest.approx(math.sqrt(0.5))


def test_a_head_without_a_split_has_one_map() -> None:
    one = rows()
    found = focus_of(one[one["part"] == "all"])
    assert found is not None
    assert list(found.shares) == ["all"]
    assert math.isnan(found.overlap)


@pytest.mark.parametrize(
    "damage",
    [
        {"part": "other"},
        {"height": 3},
        {"width": None},
        {"height": -2, "width": -3},
        {"height": 1e9},
        {"levels": [None] * 3},
        {"levels": [[0.5] * 6] * 3},
        {"levels": [np.zeros(6, np.uint8)] * 3},
        {"levels": [7] * 3},
    ],
)
def test_rows_that_make_no_map_give_none(damage: dict[str, object]) -> None:
    assert focus_of(rows(**damage)) is None
    assert focus_of(rows().head(0)) is None


def test_maps_of_the_same_image_on_two_grids_give_none() -> None:
    assert focus_of(rows(height=[2, 3, 2], width=[3, 2, 3])) is None


def test_a_part_that_is_nothing_is_left_out() -> None:
    found = ImageFocus.of({"all": torch.ones(1, 2, 2), "null": torch.zeros(1, 2, 2)})
    assert list(found.shares) == list(found.entropies) == ["all"]


def test_the_history_leaves_out_what_is_undefined() -> None:
    table = structure.focus()
    tables = {3: table.assign(entropy_null=math.nan), 1: table.drop(columns="entropy_seen")}
    found = spread_history({epoch: each.head(1) for epoch, each in tables.items()})
    assert found.to_records(index=False).tolist() == [
        (1, "all", 1.0),
        (1, "null", pytest.approx(math.log(2, 6))),
        (3, "all", 1.0),
        (3, "seen", 0.0),
    ]


def test_a_line_for_each_part_that_is_known() -> None:
    history = spread_history({epoch: structure.focus() for epoch in range(2)})
    spec = spreads(history[history["part"] != "null"], NAMES, 1).to_dict()
    rule, line, points = spec["layer"]
    assert [each["mark"]["type"] for each in (rule, line, points)] == ["rule", "line", "point"]
    scale = line["encoding"]["color"]["scale"]
    assert scale["domain"] == ["All features", "Seen"]
    assert len(set(scale["range"])) == 2
