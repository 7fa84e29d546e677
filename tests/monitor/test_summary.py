"""The sentence that a run ends with."""

from __future__ import annotations

import math

import pytest

from sing_monitor.monitor.summary import summary

SCALARS = {
    "sing/image_score_centered": 34.83,
    "sing/image_score_random": 28.85,
    "sing/attribute_score_centered": -11.5,
    "sing/retention": 0.42,
    "support/outside_centered": 0.02,
}


def test_the_headline_of_a_run_is_one_sentence() -> None:
    said = summary(SCALARS)
    assert "34.8° (a random subspace of that size: 28.9°), -11.5° of it toward" in said
    assert said.endswith("42% of the class's zero-shot accuracy is retained.")
    # Below chance, what is retained is less than nothing.
    assert "; none of the class's" in summary({**SCALARS, "sing/retention": -0.01})
    assert summary({**SCALARS, "sing/retention": math.nan}).endswith("toward the class.")


@pytest.mark.parametrize(("outside", "is_said"), [(math.nan, False), (0.4, False), (0.99, True)])
def test_scores_out_of_support_do_not_stand_unremarked(outside: float, is_said: bool) -> None:
    said = summary({**SCALARS, "support/outside_centered": outside})
    assert ("But 99% of the images are translated out of support" in said) == is_said
