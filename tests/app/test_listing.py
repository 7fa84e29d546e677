from __future__ import annotations

from itertools import permutations

import pandas as pd
import pytest

from sing_monitor.app.charts.common import PALETTE
from sing_monitor.app.listing import assign_slots, labels, one_row_a_run


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


RUNS = [f"r{i}" for i in range(30)]
STARTED = {run: place for place, run in enumerate(RUNS)}


def test_a_link_gives_the_same_colours_in_any_order() -> None:
    for order in permutations(["r3", "r4", "r6"]):
        slots: dict[str, int] = {}
        assign_slots(order, STARTED, slots)
        assert slots == {"r3": 3, "r4": 4, "r6": 6}


def test_picked_runs_never_share_a_colour_while_there_are_enough() -> None:
    slots: dict[str, int] = {}
    for start in range(0, 30, 3):
        picked = RUNS[start : start + 8]
        assign_slots(picked, STARTED, slots)
        assert len({slots[run] for run in picked}) == len(picked)


def test_a_run_keeps_its_colour_when_others_come_and_go() -> None:
    slots: dict[str, int] = {}
    assign_slots(["r0"], STARTED, slots)
    assign_slots(["r8"], STARTED, slots)
    assign_slots(["r16", "r8", "r0"], STARTED, slots)
    assert slots["r0"] == 0
    assert len({*slots.values()}) == 3


def test_more_runs_than_colours_all_get_one() -> None:
    slots: dict[str, int] = {}
    assign_slots(RUNS[:20], STARTED, slots)
    assert {slots[run] for run in RUNS[:20]} == {*range(len(PALETTE))}
