"""The words for what a head hides read well whatever the numbers are."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from sing_monitor.headline import headline, interval_ends, leading_key

HIDDEN = "sing/class_hidden"
PROBES = {"probe/class_hidden": 0.6, "probe/class_whole": 0.9, "probe/class_seen": 0.3}
NONE = "no image tells its class only in what the head cannot see"


def said(hidden: float, kept: float = 0.5, **more: float) -> str:
    found = headline({HIDDEN: hidden, "sing/retention_seen": kept, **more})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("hidden", "words"),
    [
        (0.4123, "41 % of the images tell their class only"),
        (0.01, "1 % of the images"),
        (0.0064, "0.6 % of the images"),
        (0.0001, NONE),
        (0.0, NONE),
        (-0.01, NONE),
        (-0.03, "the images are too few to tell"),
    ],
)
def test_the_share_is_said_in_percent_and_nothing_as_nothing(hidden: float, words: str) -> None:
    assert said(hidden).startswith(words)


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((0.03, 0.052), " (95 % interval: 3 to 5 %)."),
        ((-0.021, 0.004), " (95 % interval: -2 to 0 %)."),
        ((0.001, 0.006), " (95 % interval: 0.1 to 0.6 %)."),
        ((math.nan, math.nan), "see. What"),
        (None, "see. What"),
    ],
)
def test_the_interval_stands_behind_it_where_there_is_one(
    interval: tuple[float, float] | None, words: str
) -> None:
    values = {HIDDEN: 0.04, "sing/retention_seen": 0.9}
    found = headline(values, {} if interval is None else {HIDDEN: interval})
    assert words in str(found)
    assert ("interval" in str(found)) == ("interval" in words)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (0.58, "keeps 58 % of what"),
        (1.02, "keeps all of what"),
        (0.0, "keeps nothing of what"),
        (-0.4, "keeps nothing of what"),
    ],
)
def test_what_is_kept_is_all_some_or_nothing(kept: float, words: str) -> None:
    assert words in said(0.1, kept)


def test_the_accuracy_is_said_where_it_is_known() -> None:
    assert said(0.1, **{"monitor/accuracy": 0.29}).endswith(
        "the class, and it classifies 29 % of the images correctly."
    )
    assert said(0.1, **{"monitor/accuracy": math.nan}).endswith("what can be read of the class.")


def test_where_the_space_cannot_read_the_class_nothing_is_said_through_it() -> None:
    """At chance nothing can be hidden from the space: 0 would be no finding."""
    unread = {HIDDEN: 0.0, "sing/retention_seen": math.nan}
    assert headline(unread) is None
    assert headline({**unread, **PROBES}) == (
        "the semantic space cannot read the class from these features; by linear probes, 60 % of "
        "the images tell their class only in what the head cannot see. Linear probes classify 90 % "
        "correctly from all features, 30 % from what it sees."
    )
    assert leading_key({**unread, **PROBES}) == "probe/class_hidden"
    assert leading_key({HIDDEN: 0.0, "sing/retention_seen": 0.9, **PROBES}) == HIDDEN
    assert headline({}) is None


def test_the_ends_come_from_the_table_of_intervals() -> None:
    table = pd.DataFrame({"key": [HIDDEN, "x/y"], "low": [0.1, math.nan], "high": [0.2, math.nan]})
    found = interval_ends({"intervals": table})
    assert found[HIDDEN] == (0.1, 0.2)
    assert math.isnan(found["x/y"][0])
    assert interval_ends({}) == {}
