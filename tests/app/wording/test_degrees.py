from __future__ import annotations

import pytest

from sing_monitor.analyses import CATALOGUE
from sing_monitor.app.wording import degrees

RUN = {"translator/ridge": 0.01, "monitor/samples": 1000.0, "translator/saturation": 0.95}


@pytest.mark.parametrize(
    ("changes", "unlike"),
    [
        ({}, []),
        ({"translator/ridge": 0.03}, []),
        ({"translator/ridge": 0.0316}, []),
        ({"translator/ridge": 0.04}, [("ridges", ["0.01", "0.04"])]),
        ({"translator/ridge": 0.002}, [("ridges", ["0.002", "0.01"])]),
        ({"monitor/samples": 1200.0}, []),
        ({"monitor/samples": 830.0}, [("probe sizes", ["830", "1,000"])]),
        ({"monitor/samples": 830.0, "translator/ridge": float("nan")}, []),
        ({"translator/ridge": 0.0}, []),
    ],
)
def test_half_a_decade_of_ridge_and_a_fifth_of_the_probe_are_borne(
    changes: dict[str, float], unlike: list[tuple[str, list[str]]]
) -> None:
    assert degrees.unlike([RUN, {**RUN, **changes}]) == unlike
    assert bool(degrees.caveat([RUN, {**RUN, **changes}])) == bool(unlike)


def test_a_run_whose_degrees_still_grow_is_marked_alone() -> None:
    growing = {**RUN, "translator/saturation": 0.84}
    assert degrees.saturation(growing) == 0.84
    assert degrees.saturation(RUN) is None
    assert degrees.saturation({}) is None
    assert degrees.caveat([RUN, growing]) == "still grows with the probe (saturation 0.84)"
    assert degrees.caveat([RUN]) == ""


def test_degrees_and_what_they_make_up_move_and_the_refit_does_not() -> None:
    keys = [spec.key.replace("{attribute}", "ink_colour") for spec in CATALOGUE]
    moving = {key for key in keys if degrees.move(key)}
    assert {
        "sing/attribute_score",
        "sing/attribute_score_excess",
        "sing/image_score_relative",
        "sing/score_ratio_random",
        "sing/attribute_share",
        "sing/retention",
        "attribute/ink_colour_retention",
        "attribute/ink_colour_score",
        "steer/attribute_score",
    } <= moving
    still = ("seen", "hidden", "zero_shot", "zero_shot_null", "r2", "ridge")
    assert not [key for key in moving if key.endswith(still)]
    assert not [key for key in moving if key.startswith(("head/", "collapse/", "monitor/"))]
