from __future__ import annotations

import math

import pytest

from sing_monitor.analyses import CATALOGUE
from sing_monitor.app.parts import runs_table
from sing_monitor.app.parts.evolution import controls
from sing_monitor.app.wording import degrees, metrics

KEYS = [spec.key.replace("{attribute}", "ink_colour") for spec in CATALOGUE]


def test_every_metric_of_the_catalogue_can_be_shown() -> None:
    assert len({metrics.label(key) for key in KEYS}) == len(KEYS)
    for key, spec in zip(KEYS, CATALOGUE, strict=True):
        assert metrics.spec_of(key) is spec
        assert spec.unit in metrics.UNITS
        assert spec.group in metrics.groups()
        assert spec.formula in metrics.explanation(key)
        assert format(0.5, metrics.number_format(key))


def test_keys_the_app_names_are_in_the_catalogue() -> None:
    named = {
        *controls.DEFAULT,
        *controls.DEFAULT_BY_PROBES,
        *controls.EARLIER,
        *controls.EARLIER_WITHOUT_SPACE,
        *(key for keys in runs_table.HEADLINES.values() for key in keys),
        *(degrees.RIDGE, degrees.SAMPLES, degrees.SATURATION),
        *runs_table.SCORES,
        *runs_table.HEAD,
        *runs_table.CURVES,
        *runs_table.HEADLINE,
        *runs_table.HEADLINE_WITHOUT_SPACE,
        *metrics.BOOKKEEPING,
    }
    assert named <= {spec.key for spec in CATALOGUE}


def test_an_unknown_metric_is_shown_by_its_key() -> None:
    assert metrics.label("sing/of_the_future") == "sing/of_the_future"
    assert "does not know" in metrics.explanation("sing/of_the_future")
    assert metrics.value_text("sing/of_the_future", 1234.5678) == "1235"


def test_an_attribute_is_named_and_an_empty_one_is_unknown() -> None:
    assert metrics.label("attribute/size_score") == "AS toward the size"
    assert metrics.label("attribute/_zero_shot_centered_zero_shot") != "attribute/"
    assert metrics.spec_of("attribute/Upper_score").source == ""


@pytest.mark.parametrize(
    ("key", "random"),
    [
        ("sing/attribute_score_centered", "sing/attribute_score_random"),
        ("sing/attribute_share", "sing/attribute_share_random"),
        ("head/null_energy_centered", "head/null_energy_random"),
        ("sing/attribute_score", None),
        ("sing/zero_shot_centered", None),
        ("sing/attribute_score_random", None),
    ],
)
def test_the_random_baseline_of_a_metric(key: str, random: str | None) -> None:
    assert metrics.baseline_of(key) == random


@pytest.mark.parametrize(
    ("key", "value", "sign", "text"),
    [
        ("sing/attribute_score", -1.234, False, "-1.23°"),
        ("sing/attribute_score", -0.001, True, "+0.00°"),
        ("head/rank", 10.0, False, "10"),
        ("monitor/accuracy", 0.97654, True, "+0.977"),
        ("monitor/seconds", 12.34, False, "12.3 s"),
        ("sing/retention", math.nan, False, metrics.MISSING),
        ("sing/retention", math.inf, False, metrics.MISSING),
    ],
)
def test_values_are_shown_with_their_unit(key: str, value: float, sign: bool, text: str) -> None:
    assert metrics.value_text(key, value, sign) == text


@pytest.mark.parametrize(
    ("key", "direction"),
    [
        ("val_loss", "lower"),
        ("val_acc", "higher"),
        ("valid/F1", "higher"),
        ("lr", "none"),
        ("sing/attribute_score", "none"),
        ("collapse/nc1", "lower"),
    ],
)
def test_which_direction_is_good(key: str, direction: str) -> None:
    assert metrics.better(key) == direction


def test_catalogue_order_puts_the_unknown_last_and_leaves_bookkeeping_out() -> None:
    keys = ["sing/zzz", "monitor/stage", "head/rank", "sing/attribute_score", "attribute/a_score"]
    assert metrics.in_catalogue_order(keys) == [
        "sing/attribute_score",
        "attribute/a_score",
        "head/rank",
        "sing/zzz",
    ]
