from __future__ import annotations

import math

import pytest

from sing_monitor.app.wording.run_reading import reading
from sing_monitor.app.wording.support_marks import MARK
from tests.app.stores import plausible


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sing/attribute_score_centered": -4.2}, ["4.20° of class meaning are lost", "hidden"]),
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
        "What the head cannot see moves the meaning by 30.00°; the class barely changes (+1.00°)."
    )
    assert "trust no score" not in reading(values)
    assert "out of support" not in reading(values)
    assert "random subspace" in reading(values)
    assert reading({}) == "The scores of the last validation are undefined."
