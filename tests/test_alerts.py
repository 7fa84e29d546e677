from __future__ import annotations

import math
from typing import Any

import pytest

from sing_monitor.alerts import (
    DEFAULT_ALERTS,
    DEFAULT_ALERTS_WITHOUT_SPACE,
    FURTHER_ALERTS,
    RETIRED_ALERTS,
    Alert,
    Condition,
    Point,
    above,
    below,
    check_alerts,
    extended,
    falls,
    format_fired,
    lower_end,
    parse_fired,
    rises,
    surely_above,
)
from sing_monitor.analyses import CATALOGUE

KEY = "sing/score_ratio"


def history(*values: float, start: int = 0, key: str = KEY) -> list[Point]:
    return [(epoch, {key: value}) for epoch, value in enumerate(values, start)]


def alert(*conditions: Condition, **changes: Any) -> Alert:
    return Alert("rule", conditions, "Look at it.", **changes)


def first_epoch(rule: Alert, points: list[Point]) -> int | None:
    """The epoch in which a rule fires, were the history to grow point by point."""
    for end in range(1, len(points) + 1):
        if rule.is_true_of(points[:end]):
            return points[end - 1][0]
    return None


@pytest.mark.parametrize(
    ("rule", "epoch"),
    [
        (alert(above(KEY, 2.5)), 3),
        (alert(below(KEY, 1.5)), 1),
        (alert(above(KEY, 2.5), epochs=3), 5),
        (alert(above(KEY, 2.5), epochs=4), None),
        (alert(above(KEY, 0.5), from_epoch=4), 4),
        (alert(above(KEY, 0.5), from_epoch=2, epochs=3), 4),
        (alert(rises(KEY, 0.4)), 2),
        (alert(rises(KEY, 0.6), epochs=2), 3),
        (alert(falls(KEY, 0.4)), 1),
        (alert(falls(KEY, 0.6), epochs=2), None),
        # The value before the first epoch counts only if it is not too early itself.
        (alert(rises(KEY, 0.4), from_epoch=2), 3),
    ],
)
def test_a_rule_fires_in_the_first_epoch_that_completes_it(rule: Alert, epoch: int | None) -> None:
    assert first_epoch(rule, history(2, 1, 2, 3, 3, 4)) == epoch


def test_all_conditions_must_hold_at_the_same_time() -> None:
    rule = alert(falls("sing/score_ratio", 0.1), rises("monitor/accuracy", 0.1), epochs=2)
    points = [
        (epoch, {"sing/score_ratio": ratio, "monitor/accuracy": accuracy})
        for epoch, (ratio, accuracy) in enumerate([(4, 0.5), (3, 0.5), (2, 0.5), (2, 0.9)])
    ]
    assert first_epoch(rule, points) == 3
    assert first_epoch(rule, points[:3]) is None


def test_a_change_is_relative_also_to_a_negative_value() -> None:
    assert alert(rises(KEY, 0.4)).is_true_of(history(-2, -1))
    assert alert(falls(KEY, 0.4)).is_true_of(history(-2, -3))
    assert not alert(falls(KEY, 0.6)).is_true_of(history(-2, -3))


@pytest.mark.parametrize("rule", [above, below, rises, falls])
def test_what_is_undefined_or_absent_never_fires(rule: Any) -> None:
    for points in (history(math.nan, math.nan), history(1, math.nan), history(1, 2, key="x/y")):
        assert not alert(rule(KEY, -5.0)).is_true_of(points)
    assert not alert(rule(KEY, -5.0)).is_true_of([])


def test_the_sentence_holds_message_epoch_and_values() -> None:
    rule = alert(above(KEY, 1), rises("monitor/accuracy", 0))
    sentence = rule.sentence([(7, {KEY: 2.34567, "monitor/accuracy": 0.5})])
    for part in ("Look at it.", "Epoch 7", "sing/score_ratio 2.35", "monitor/accuracy 0.5", "rule"):
        assert part in sentence


def test_a_history_is_as_long_as_the_rules_look_back_and_no_longer() -> None:
    rules = [alert(above(KEY, 1), epochs=3), alert(falls("head/rank", 0.1))]
    points: list[Point] = []
    for epoch in range(9):
        points = extended(points, epoch, {KEY: epoch, "monitor/accuracy": 1.0}, rules)
    assert [epoch for epoch, _ in points] == [5, 6, 7, 8]
    assert points[-1][1][KEY] == 8
    assert points[-1][1].keys() == {KEY, "head/rank"}
    assert math.isnan(points[-1][1]["head/rank"])
    assert extended(points, 9, {}, []) == []


def test_an_epoch_that_comes_again_takes_the_place_of_the_first() -> None:
    rules = [alert(above(KEY, 1), epochs=3)]
    points = extended(history(1, 2, 3), 2, {KEY: 9.0}, rules)
    assert points == history(1, 2, 9)
    # A run resumed from an older checkpoint repeats what came after it.
    assert extended(history(1, 2, 3), 1, {KEY: 9.0}, rules) == history(1, 9)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "Not a name"}, "'Not a name'; use lower-case"),
        ({"conditions": ()}, "has no condition"),
        ({"conditions": KEY}, "is no condition; give a list of them"),
        ({"epochs": 0}, "epochs=0 must be at least 1"),
        ({"from_epoch": -1}, "from_epoch=-1 at least 0"),
        ({"conditions": [above(KEY, math.nan)]}, "nan is no limit for sing/score_ratio"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(changes: dict[str, Any], match: str) -> None:
    arguments = {"name": "rule", "conditions": [above(KEY, 1)], "message": "Look at it."}
    with pytest.raises(ValueError, match=match):
        Alert(**{**arguments, **changes})


def test_a_metric_that_nobody_logs_is_refused_with_those_spelled_alike() -> None:
    with pytest.raises(ValueError, match=r"'sing/score_ration'.*did you mean sing/score_ratio"):
        check_alerts([alert(above("sing/score_ration", 1))], CATALOGUE)
    with pytest.raises(ValueError, match="the README lists it"):
        check_alerts([alert(above("zzzz", 1))], CATALOGUE)


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two alerts are called 'rule'"):
        check_alerts([alert(above(KEY, 1)), alert(below(KEY, 1))], CATALOGUE)


def test_metrics_of_any_attribute_can_be_watched() -> None:
    check_alerts([alert(above("attribute/ink_colour_retention", 0.5))], CATALOGUE)
    with pytest.raises(ValueError, match="not in the metric catalogue"):
        check_alerts([alert(above("attribute/_retention_of_it", 0.5))], CATALOGUE)


ALL = (DEFAULT_ALERTS, DEFAULT_ALERTS_WITHOUT_SPACE, FURTHER_ALERTS)


@pytest.mark.parametrize("rules", [*ALL, tuple(each.rule for each in RETIRED_ALERTS)])
def test_the_rules_of_the_package_are_usable(rules: tuple[Alert, ...]) -> None:
    check_alerts(rules, CATALOGUE)
    assert len({rule.message for rule in rules}) == len(rules) >= 1


def hiding(key: str, lows: list[float], share: float = 0.5) -> list[Point]:
    """Epochs in which the head hides a class, by the lower ends of the intervals."""
    hidden = {"collapse/null_share_between": share}
    return [(epoch, {key: 0.9, lower_end(key): low} | hidden) for epoch, low in enumerate(lows)]


@pytest.mark.parametrize("rules", ALL[:2])
@pytest.mark.parametrize(
    ("lows", "epoch"),
    [
        ([0.3] * 12, 7),
        ([0.3] * 7 + [0.1] + [0.3] * 4, 9),
        ([0.3, 0.1] * 6, None),
        ([0.19] * 12, None),
        ([math.nan] * 12, None),
    ],
)
def test_hidden_classes_are_reported_by_the_lower_end_of_their_interval(
    rules: tuple[Alert, ...], lows: list[float], epoch: int | None
) -> None:
    hidden, means = rules[:2]
    points = hiding(hidden.conditions[0].key, lows)
    assert first_epoch(hidden, points) == epoch
    # Class means in the null space are reported beside hidden classes alone.
    assert first_epoch(means, points) == epoch
    assert first_epoch(means, hiding(hidden.conditions[0].key, lows, 0.2)) is None


def test_the_sentence_of_such_a_rule_says_how_much_is_sure() -> None:
    rule = alert(surely_above(KEY, 0.2))
    assert "sing/score_ratio at least 0.31" in rule.sentence(
        [(7, {KEY: 0.4, lower_end(KEY): 0.31})]
    )


def test_a_history_holds_the_lower_ends_that_are_asked_for() -> None:
    points = extended([], 0, {KEY: 3.0, lower_end(KEY): 2.0}, [alert(surely_above(KEY, 1))])
    assert points == [(0, {lower_end(KEY): 2.0})]


@pytest.mark.parametrize("fired", [{}, {"one": 0}, {"ratio_falls": 7, "x_1": 120}])
def test_a_tag_is_read_back_as_it_was_written(fired: dict[str, int]) -> None:
    assert parse_fired(format_fired(fired)) == fired


@pytest.mark.parametrize("tag", [None, math.nan, "", "nonsense", "a@", "@5"])
def test_a_tag_that_says_nothing_means_no_alert(tag: object) -> None:
    assert parse_fired(tag) == {}


def test_a_tag_that_was_cut_keeps_what_is_whole() -> None:
    assert parse_fired("one@3,two@14,thr") == {"one": 3, "two": 14}


def test_probes_stand_in_where_the_space_cannot_read_the_class() -> None:
    (rule,) = (each for each in DEFAULT_ALERTS if each.name == "class_hidden_by_probes")
    hidden = {"probe/class_hidden low": 0.4, "sing/class_hidden low": -0.1}
    unread, read = hidden | {"sing/retention_seen": math.nan}, hidden | {"sing/retention_seen": 0.9}
    assert not rule.is_true_of([(6, unread)])
    assert rule.is_true_of([(6, unread), (7, unread)])
    assert not rule.is_true_of([(6, read), (7, read)])
    assert not rule.is_true_of([(6, unread), (7, read)])
    assert "at least 0.4, sing/retention_seen undefined" in rule.sentence([(7, unread)])
