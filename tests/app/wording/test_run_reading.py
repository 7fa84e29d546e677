from __future__ import annotations

import math

import pytest

from sing_monitor.app.wording.run_reading import reading
from sing_monitor.app.wording.support_marks import MARK
from tests.app.stores import plausible, refitted


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"sing/attribute_score_centered": -4.2},
            ["4.20° of class meaning are lost", "the run does not say"],
        ),
        ({"sing/attribute_score_centered": 5.0}, ["5.00° nearer to their class"]),
        ({"sing/attribute_score_centered": -2.9}, ["barely changes (-2.90°)"]),
        ({"head/null_dim": 0.0}, ["no null space"]),
        ({"sing/attribute_score_centered": math.nan}, ["undefined"]),
        ({"translator/r2": 0.05}, ["translation is poor", "trust no score"]),
        (
            {"sing/attribute_score_centered": -0.4, "sing/retention": 0.71},
            [
                "on average the class barely moves (-0.40°)",
                "taken for other classes",
                "0.71 remains",
            ],
        ),
        ({"support/outside_centered": 0.4}, [f"{MARK} 40 % of the images are out of support"]),
    ],
)
def test_a_reading_says_what_the_numbers_mean(changes: dict[str, float], words: list[str]) -> None:
    text = reading({**plausible(9), **changes, "status": "FINISHED"})
    assert all(word in text for word in words), text


def test_a_reading_leaves_out_what_is_unknown() -> None:
    values = plausible(9) | {"support/outside_centered": 0.1}
    text = reading({"sing/attribute_score_centered": 1.0, "sing/image_score_centered": 30.0})
    assert text == (
        "Removing what the head cannot see moves the meaning by 30.00°; on average the class "
        "barely changes "
        "(+1.00°)."
    )
    assert "trust no score" not in reading(values)
    assert "out of support" not in reading(values)
    assert "random subspace" in reading(values)
    assert reading({}) == "The scores of the last validation are undefined."


def test_what_is_hidden_comes_first_where_it_was_measured() -> None:
    values = {
        "sing/class_hidden": 0.04,
        "sing/retention_seen": 0.95,
        "monitor/accuracy": 0.94,
        "sing/image_score_centered": 30.0,
        "sing/image_score_random": 60.0,
        "sing/attribute_score_centered": -1.2,
    }
    assert reading(values) == (
        "4 % of the images tell their class only in what the head cannot see. What it sees keeps "
        "95 % of what can be read of the class, and it classifies 94 % of the images correctly. "
        "Removing what the head cannot see moves the meaning by 30.00° (a random subspace: "
        "60.00°), "
        "-1.20° of it toward the class."
    )
    assert "One class is hidden; the page" in reading({**values, "sing/hidden_classes": 1.0})
    assert "3 classes are hidden; the page" in reading({**values, "sing/hidden_classes": 3.0})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head/null_dim": 0.0}, ["it has no null space"]),
        ({"translator/saturation": 0.84}, ["Degrees still grow with the probe (saturation 0.84)"]),
        ({"translator/r2": 0.05}, ["The translation is poor"]),
        ({"support/outside_centered": 0.4}, [f"{MARK} 40 % of the images are out of support"]),
        (
            {"sing/retention_seen": math.nan},
            ["The semantic space cannot read the class", "Linear probes classify"],
        ),
        (
            {"sing.reference": "none", "sing/class_hidden": math.nan},
            ["Linear probes classify", "What it means is not known"],
        ),
        (
            {"sing/class_hidden": math.nan, "probe/class_hidden": math.nan},
            ["the class barely changes"],
        ),
    ],
)
def test_a_reading_of_refitted_numbers_says_its_doubts(
    changes: dict[str, object], words: list[str]
) -> None:
    text = reading({**refitted(9), **changes})
    assert all(word in text for word in words), text
    assert "nan" not in text
