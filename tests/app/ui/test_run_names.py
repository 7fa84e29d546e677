from __future__ import annotations

import math
from itertools import permutations

import pandas as pd
import pytest

from sing_monitor.app.charts.common import PALETTE, SeriesStyle, dash, shape, swatch
from sing_monitor.app.ui.run_names import colors, labels, one_row_a_run, variants


def listing(*rows: tuple[str, str | None, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["run_id", "name", "run_name"], dtype=object)


@pytest.mark.parametrize(
    ("monitor", "expected"),
    [
        (None, [None, "x", "b"]),
        ("", [None, "x", "b"]),
        ("b", ["b", "x", "b"]),
        ("x", [None, "x", "b"]),
    ],
)
def test_every_run_has_one_monitor(monitor: str | None, expected: list[str | None]) -> None:
    frame = listing(
        ("r1", "b", "n"), ("r1", None, "n"), ("r2", "x", "n"), ("r3", "c", "n"), ("r3", "b", "n")
    )
    rows = one_row_a_run(frame, monitor)
    assert rows["run_id"].tolist() == ["r1", "r2", "r3"]
    assert rows["name"].tolist() == expected


def test_an_empty_listing_stays_empty() -> None:
    assert one_row_a_run(listing(), None).empty


def test_labels_differ() -> None:
    frame = listing(
        ("aaaaaaa1", None, "same"),
        ("bbbbbbb2", None, "same"),
        ("ccccccc3", None, " \n"),
        ("ddddddd4", None, None),
        ("eeeeeee5", None, "own"),
    )
    assert labels(frame) == [
        "same · aaaaaa",
        "same · bbbbbb",
        "run ccccccc3",
        "run ddddddd4",
        "own",
    ]


def test_labels_differ_where_ids_start_with_the_name() -> None:
    frame = listing(("digits-1f2e3d4c", None, "digits"), ("digits-5a6b7c8d", None, "digits"))
    assert labels(frame) == ["digits · 2e3d4c", "digits · 6b7c8d"]


def test_rescored_runs_are_marked_and_name_the_run_they_come_from() -> None:
    frame = listing(
        ("aaaaaaa1", None, "honest, ridge 0.01"),
        ("bbbbbbb2", None, "honest"),
        ("ccccccc3", None, "honest"),
        ("ddddddd4", None, None),
    ).assign(
        **{
            "sing.rescored_from": ["bbbbbbb2", math.nan, math.nan, "gone5678"],
            "translator/ridge": [0.01, 0.1, 0.1, math.nan],
        }
    )
    rows = one_row_a_run(frame, None)
    assert rows["label"].tolist() == [
        "\N{CLOCKWISE OPEN CIRCLE ARROW} honest, ridge 0.01",
        "honest · bbbbbb",
        "honest · cccccc",
        "\N{CLOCKWISE OPEN CIRCLE ARROW} run ddddddd4",
    ]
    assert rows["origin"].tolist() == [
        "rescored from honest · bbbbbb, ridge 0.01",
        "",
        "",
        "rescored from run gone5678",
    ]


RUNS = [f"r{i}" for i in range(30)]
PAINTED = colors(RUNS[::-1])


def test_the_first_runs_of_a_store_all_look_different_and_then_colors_repeat() -> None:
    assert [PAINTED[run] for run in RUNS] == [*PALETTE * 3, *PALETTE[:6]]


def test_a_color_stays_when_newer_runs_come() -> None:
    newer = colors(["new", *RUNS[::-1]])
    assert {run: newer[run] for run in RUNS} == PAINTED


def test_picked_runs_of_one_color_are_told_apart_in_any_order() -> None:
    for order in permutations(["r1", "r9", "r4", "r17"]):
        assert variants(order, PAINTED) == {"r1": 0, "r4": 0, "r9": 1, "r17": 2}
    assert variants(["r9"], PAINTED) == {"r9": 0}


def test_as_many_runs_of_one_color_as_fit_mostly_look_different() -> None:
    looks = [SeriesStyle("", "", "", variant=variant) for variant in range(20)]
    assert len({(each.shape, *each.dashes) for each in looks}) == 15
    assert len({swatch(each) for each in looks}) == 15


def test_dashes_mark_the_baseline_and_shapes_repeated_colors() -> None:
    series = [
        SeriesStyle("a", "", "#111111", is_baseline=True),
        SeriesStyle("b", "", "#111111", variant=1),
        SeriesStyle("c", "", "#222222"),
    ]
    strokes, points = dash(series), shape(series)
    assert strokes["scale"]["range"] == [[6, 4], [2, 3], [1, 0]]
    assert points["scale"] == {"domain": ["a", "b", "c"], "range": ["circle", "square", "circle"]}
