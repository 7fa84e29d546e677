"""What an analysis will cost; that it is about right, tests/benchmarks/bench_growth.py shows."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from sing_monitor.messages import duration
from sing_monitor.translate.cost import (
    LONG,
    MapShape,
    Shape,
    estimate,
    in_words,
    largest_probe,
    measure_speed,
    seconds_to_compare,
)

SPEED = 5e10
SMALL = Shape(1000, 512, 10, 512, 60)
# Flattened maps of VGG and the default probe.
HUGE = Shape(10_000, 25_088, 1000, 768, 60)


@pytest.mark.parametrize(
    "larger",
    [
        {"samples": 8000},
        {"feature_dim": 4096},
        {"classes": 10_000},
        {"embedding_dim": 1024},
        {"concepts": 5000},
        {"maps": MapShape(64, 512, 49)},
    ],
)
def test_more_of_anything_takes_longer(larger: dict[str, int]) -> None:
    cost, more = estimate(SMALL, SPEED), estimate(replace(SMALL, **larger), SPEED)
    assert more.seconds > cost.seconds
    assert more.gigabytes >= cost.gigabytes


def test_few_images_of_many_features_take_little() -> None:
    few, wide = (estimate(Shape(128, m, 100, 512, 60), SPEED) for m in (512, 8192))
    assert wide.seconds < 3 * few.seconds
    assert estimate(Shape(128, 25_088, 100, 512, 60), SPEED).gigabytes < 1


def test_the_choice_of_the_ridge_costs_extra() -> None:
    fixed = replace(HUGE, ridge=0.01)
    assert estimate(HUGE, SPEED).seconds > 2 * estimate(fixed, SPEED).seconds


def test_a_faster_machine_takes_less() -> None:
    assert estimate(HUGE, 2 * SPEED).seconds < estimate(HUGE, SPEED).seconds


def test_a_short_analysis_is_not_commented_on() -> None:
    assert re.fullmatch(r"about 1 seconds and 0\.\d GB each validation", in_words(SMALL, SPEED))


def test_following_the_advice_makes_the_analysis_short() -> None:
    said = in_words(HUGE, SPEED / 4)
    assert "That is long" in said
    found = re.search(r"probe_size=(\d+)", said)
    assert found is not None
    fewer = replace(HUGE, samples=int(found[1]))
    assert estimate(fewer, SPEED / 4).seconds <= LONG < estimate(HUGE, SPEED / 4).seconds
    assert "That is long" not in in_words(fewer, SPEED / 4)
    assert "every_n_epochs=5" in said


def test_no_probe_is_advised_where_none_is_quick() -> None:
    shape = replace(HUGE, classes=20_000)
    assert largest_probe(shape, 1e9) is None
    assert "probe_size" not in in_words(shape, 1e9)


def test_the_speed_is_measured_quickly_and_draws_no_random_number() -> None:
    state = torch.get_rng_state()
    assert measure_speed(size=64, seconds=0.001) > 0
    assert torch.equal(torch.get_rng_state(), state)


def test_durations_in_words() -> None:
    assert [duration(each) for each in (0.2, 40, 780, 9000)] == [
        "1 seconds", "40 seconds", "13 minutes", "2.5 hours"
    ]  # fmt: skip


def test_pairs_of_maps_and_of_positions_cost_time() -> None:
    maps = MapShape(64, 512, 49)
    few = seconds_to_compare(maps, SPEED)
    assert seconds_to_compare(replace(maps, positions=98), SPEED) == pytest.approx(4 * few)
    assert seconds_to_compare(replace(maps, images=128), SPEED) > 4 * few
    assert seconds_to_compare(maps, SPEED / 2) > few
    assert seconds_to_compare(replace(maps, images=1), SPEED) == 0


def test_many_maps_are_advised_against() -> None:
    maps = MapShape(400, 512, 196)
    said = in_words(replace(SMALL, maps=maps), SPEED)
    assert "That is long" in said
    assert "n_maps=200 compares fewer images" in said
    assert "n_maps" not in in_words(replace(HUGE, maps=MapShape(64, 512, 49)), SPEED / 4)
    assert "for 400 maps of 196 positions; n_maps=200 takes a quarter" in maps.in_words(SPEED)
