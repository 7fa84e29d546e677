"""The sentences that a run ends with."""

from __future__ import annotations

import math

import pytest

from sing_monitor.monitor.summary import summary

SCALARS = {
    "sing/class_hidden": 0.041,
    "sing/retention_seen": 0.951,
    "monitor/accuracy": 0.94,
    "sing/image_score_centered": 34.83,
    "sing/image_score_random": 28.85,
    "sing/attribute_score_centered": -11.5,
    "support/outside_centered": 0.02,
}
HEAD = {"head/null_dim": 118.0, "head/rank": 10.0, "head/null_energy_centered": 0.31}


def test_what_the_head_hides_comes_first_and_degrees_last() -> None:
    assert summary(SCALARS, {"sing/class_hidden": (0.03, 0.052)}) == (
        "4 % of the images tell their class only in what the head cannot see (95 % interval: 3 to "
        "5 %). What it sees keeps 95 % of what can be read of the class, and it classifies 94 % of "
        "the images correctly. Removing what the head cannot see moves meaning by 34.8° (a random "
        "subspace of that size: 28.9°), -11.5° of it toward the class."
    )


def test_without_a_space_probes_of_the_labels_are_read() -> None:
    probes = {"probe/class_hidden": 0.03, "probe/class_whole": 0.94, "probe/class_seen": 0.91}
    assert summary({**probes, **HEAD, "monitor/accuracy": 0.93}) == (
        "3 % of the images tell their class only in what the head cannot see. Linear probes "
        "classify 94 % correctly from all features, 91 % from what it sees; the head itself 93 %. "
        "118 of 128 feature dimensions change no logit; they hold 31% of what differs from image "
        "to image."
    )


def test_an_undefined_validation_is_said_to_be_one() -> None:
    undefined = dict.fromkeys(SCALARS, math.nan)
    unknown = "how much of the class the head hides is undefined at this validation."
    assert summary(undefined) == unknown
    probes = {"probe/class_hidden": math.nan}
    assert summary({**probes, **HEAD, "head/null_energy_centered": math.nan}) == (
        f"{unknown} 118 of 128 feature dimensions change no logit."
    )


def test_without_what_reads_the_class_nothing_is_said_of_it() -> None:
    assert summary({**HEAD, "head/null_energy_centered": math.nan, "monitor/samples": 40.0}) == (
        "40 images analyzed. 118 of 128 feature dimensions change no logit."
    )
    assert summary({"monitor/samples": 40.0}) == "40 images analyzed."


@pytest.mark.parametrize(("outside", "is_said"), [(math.nan, False), (0.4, False), (0.99, True)])
def test_scores_out_of_support_do_not_stand_unremarked(outside: float, is_said: bool) -> None:
    said = summary({**SCALARS, "support/outside_centered": outside})
    assert ("but 99% of the images are translated out of support" in said) == is_said
