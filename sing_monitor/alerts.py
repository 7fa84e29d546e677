"""Rules on the logged metrics that say, once, that a training deserves a look."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sing_monitor.findings import ATTRIBUTE_NAME, ATTRIBUTE_PLACEHOLDER, MetricSpec

_NAME = re.compile(r"[a-z0-9_]+")
_FIRED = re.compile(rf"({_NAME.pattern})@(\d+)")
# An analysed epoch and its metrics, in types that any checkpoint can hold.
Point = tuple[int, dict[str, float]]


@dataclass(frozen=True)
class Condition:
    """What must be true of one metric; written with :func:`above`, :func:`below` and so on.

    Args:
        key: of the catalogue.
        kind: ``above`` and ``below``: of every value; ``surely_above``: of the lower end of every
            interval; ``rises`` and ``falls``: of the last value against the first;
            ``undefined``: every value is NaN.
        amount: the limit; for ``rises`` and ``falls`` the change, relative to the first value;
            nothing for ``undefined``.
    """

    key: str
    kind: Literal["above", "surely_above", "below", "rises", "falls", "undefined"]
    amount: float = 0.0

    @property
    def is_trend(self) -> bool:
        """Whether a value before the first epoch is needed to compare with."""
        return self.kind in ("rises", "falls")

    @property
    def watched(self) -> str:
        """Name of the number that it looks at, as a history holds it."""
        return lower_end(self.key) if self.kind == "surely_above" else self.key

    def holds(self, values: Sequence[float]) -> bool:
        """Whether it is true of the values of successive epochs; of NaN only ``undefined`` is."""
        if self.kind == "undefined":
            return all(map(math.isnan, values))
        if self.kind in ("above", "surely_above"):
            return all(value > self.amount for value in values)
        if self.kind == "below":
            return all(value < self.amount for value in values)
        change = (values[-1] - values[0]) * (1 if self.kind == "rises" else -1)
        return change > self.amount * abs(values[0])


def above(key: str, limit: float) -> Condition:
    """Larger than a limit, in every epoch."""
    return Condition(key, "above", limit)


def surely_above(key: str, limit: float) -> Condition:
    """Larger than a limit in every epoch, by the lower end of the 95 % interval.

    Never true of a metric without an interval; the table ``intervals`` of a validation lists those
    that have one.
    """
    return Condition(key, "surely_above", limit)


def undefined(key: str) -> Condition:
    """NaN in every epoch."""
    return Condition(key, "undefined")


def below(key: str, limit: float) -> Condition:
    """Smaller than a limit, in every epoch."""
    return Condition(key, "below", limit)


def rises(key: str, by: float) -> Condition:
    """Grown over the epochs by more than a share of its value before them."""
    return Condition(key, "rises", by)


def falls(key: str, by: float) -> Condition:
    """Shrunk over the epochs by more than a share of its value before them."""
    return Condition(key, "falls", by)


@dataclass(frozen=True)
class Alert:
    """A rule that fires once in a run, when all its conditions hold at the same time.

    Args:
        name: letters a-z, digits and ``_``; the run's tag ``sing.alerts`` holds it.
        conditions: all of them must hold.
        message: what to make of it; the values are added.
        from_epoch: epochs before this one do not count.
        epochs: for how many analysed epochs in a row.

    Raises:
        ValueError: for a name, a count or a limit that cannot be used.

    Example::

        >>> alert = Alert(
        ...     "hidden", [above("collapse/null_share_between", 0.3)], "Look.", epochs=2
        ... )
        >>> points = [(e, {"collapse/null_share_between": v}) for e, v in enumerate([0.4, 0.2])]
        >>> alert.is_true_of(points), alert.is_true_of([points[0], (1, points[0][1])])
        (False, True)
    """

    name: str
    conditions: Sequence[Condition]
    message: str
    from_epoch: int = 0
    epochs: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"an alert cannot be called {self.name!r}; use lower-case letters, digits and '_'."
            )
        if not self.conditions:
            raise ValueError(f"alert {self.name!r} has no condition; give at least one.")
        if self.epochs < 1 or self.from_epoch < 0:
            raise ValueError(
                f"alert {self.name!r}: epochs={self.epochs} must be at least 1 and "
                f"from_epoch={self.from_epoch} at least 0."
            )
        for condition in self.conditions:
            if not isinstance(condition, Condition):
                raise ValueError(
                    f"alert {self.name!r}: {condition!r} is no condition; give a list of them, "
                    "such as [above('sing/class_hidden', 0.2)]."
                )
            if not math.isfinite(condition.amount):
                raise ValueError(
                    f"alert {self.name!r}: {condition.amount} is no limit for {condition.key}."
                )

    def is_true_of(self, history: Sequence[Point]) -> bool:
        """Whether the rule holds at the end of a history, oldest epoch first."""
        counted = [values for epoch, values in history if epoch >= self.from_epoch]
        for condition in self.conditions:
            needed = self.epochs + condition.is_trend
            values = [point.get(condition.watched, math.nan) for point in counted[-needed:]]
            if len(values) < needed or not condition.holds(values):
                return False
        return True

    def sentence(self, history: Sequence[Point]) -> str:
        """The message, with the values of the last epoch."""
        epoch, values = history[-1]
        found = ", ".join(_found(each, values[each.watched]) for each in self.conditions)
        return f"{self.message} (Epoch {epoch}: {found}. Alert {self.name!r}.)"


def _hidden_from_the_head(key: str, table: str) -> tuple[Alert, ...]:
    """The default rules on the metric that says which share of the images hides its class.

    Args:
        key: of the metric.
        table: that names the hidden classes.
    """
    hides = surely_above(key, 0.2)
    return (
        Alert(
            "class_hidden",
            (hides,),
            "For two analyzed epochs more than a fifth of the images have told their class only in "
            "what the head cannot see: the features know more of the classes than the head reads. "
            f"The table {table} says which are hidden.",
            from_epoch=6,
            epochs=2,
        ),
        Alert(
            "hidden_class_means",
            (hides, above("collapse/null_share_between", 0.3)),
            "Classes are hidden, and more than 30 % of what tells the class means apart lies in "
            "the null space: features separate the classes in ways that the head cannot use.",
            from_epoch=6,
            epochs=2,
        ),
    )


DEFAULT_ALERTS = (
    *_hidden_from_the_head("sing/class_hidden", "classes"),
    Alert(
        "class_hidden_by_probes",
        (surely_above("probe/class_hidden", 0.2), undefined("sing/retention_seen")),
        "The semantic space cannot read the class from the features, but linear probes of the "
        "labels can: for two analyzed epochs more than a fifth of the images have told their class "
        "only in what the head cannot see. The table probe_classes says which classes are hidden.",
        from_epoch=6,
        epochs=2,
    ),
)
# Of a run without a semantic space: linear probes of the labels say the same.
DEFAULT_ALERTS_WITHOUT_SPACE = _hidden_from_the_head("probe/class_hidden", "probe_classes")
# Rules to ask for by name.
FURTHER_ALERTS = (
    Alert(
        "leaking_class",
        (above("sing/leaking_classes", 0),),
        "For three epochs a class has hidden far more of its meaning from the head than the "
        "others; the table of classes says which, with a q-value.",
        epochs=3,
    ),
)


@dataclass(frozen=True)
class RetiredAlert:
    """A rule that earlier versions had. Runs of theirs still name it.

    Args:
        rule: as it was.
        reason: why it is gone, and what took its place; a clause.
    """

    rule: Alert
    reason: str


RETIRED_ALERTS = (
    RetiredAlert(
        Alert(
            "ratio_falls",
            (falls("sing/score_ratio_centered", 0.2), rises("monitor/accuracy", 0.01)),
            "Accuracy has been rising for three epochs while IS / |AS| fell by more than a fifth. "
            "(A rule of an earlier version: it fires in healthy trainings too.)",
            from_epoch=1,
            epochs=3,
        ),
        "it fired in healthy trainings, because IS / |AS| has no good direction; 'class_hidden', "
        "one of the default alerts, took its place",
    ),
)


def check_alerts(
    alerts: Iterable[Alert],
    catalogue: Iterable[MetricSpec],
    logged: Iterable[MetricSpec] | None = None,
) -> None:
    """Refuse alerts that share a name, or whose metric nobody logs.

    Args:
        alerts: the rules.
        catalogue: all metrics.
        logged: those of the run; None: all.

    Raises:
        ValueError: the sentence names metrics that are spelled alike.
    """
    specs, seen = list(catalogue), set()
    of_run = specs if logged is None else list(logged)
    for alert in alerts:
        if alert.name in seen:
            raise ValueError(f"two alerts are called {alert.name!r}; rename one of them.")
        seen.add(alert.name)
        for condition in alert.conditions:
            if not any(_is_of(condition.key, spec) for spec in specs):
                alike = difflib.get_close_matches(condition.key, [s.key for s in specs], cutoff=0.4)
                hint = f"did you mean {' or '.join(alike)}?" if alike else "the README lists it."
                raise ValueError(
                    f"alert {alert.name!r} watches {condition.key!r}, which is not in the metric "
                    f"catalogue; {hint}"
                )
            if not any(_is_of(condition.key, spec) for spec in of_run):
                raise ValueError(
                    f"alert {alert.name!r} watches {condition.key!r}, which this run does not log: "
                    "its analysis is left out, or what that needs is not captured (analyses=, "
                    "space=, n_maps=, n_weights=, layers=)."
                )


def extended(
    history: Sequence[Point],
    epoch: int,
    scalars: Mapping[str, float],
    alerts: Sequence[Alert],
) -> list[Point]:
    """A history with one more epoch, no longer than the alerts look back.

    A second validation of an epoch, and those that a resumed run repeats, take the place of the
    first.

    Args:
        history: oldest epoch first.
        epoch: that is added.
        scalars: of the epoch, and by :func:`lower_end` the lower ends of their intervals.
        alerts: the rules.
    """
    keys = {condition.watched for alert in alerts for condition in alert.conditions}
    longest = max((alert.epochs + 1 for alert in alerts), default=0)
    earlier = [point for point in history if point[0] < epoch]
    now = {key: float(scalars.get(key, math.nan)) for key in sorted(keys)}
    return [*earlier, (epoch, now)][-longest:] if longest else []


def format_fired(fired: Mapping[str, int]) -> str:
    """Alerts and the epochs in which they fired, as the run's tag holds them.

    Example::

        >>> format_fired({"class_hidden": 7, "hidden_class_means": 12})
        'class_hidden@7,hidden_class_means@12'
    """
    return ",".join(f"{name}@{epoch}" for name, epoch in fired.items())


def parse_fired(tag: object) -> dict[str, int]:
    """Alerts and their epochs from a run's tag; none for a run without the tag.

    Args:
        tag: a cell of the column ``sing.alerts`` of :func:`sing_monitor.tracking.list_runs`.
    """
    found = (_FIRED.fullmatch(part) for part in tag.split(",")) if isinstance(tag, str) else ()
    return {match[1]: int(match[2]) for match in found if match}


def lower_end(key: str) -> str:
    """Name under which a history holds the lower end of a metric's interval."""
    return f"{key} low"


def _found(condition: Condition, value: float) -> str:
    if condition.kind == "undefined":
        return f"{condition.key} undefined"
    least = "at least " if condition.watched != condition.key else ""
    return f"{condition.key} {least}{value:.3g}"


def _is_of(key: str, spec: MetricSpec) -> bool:
    before, placeholder, after = spec.key.partition(ATTRIBUTE_PLACEHOLDER)
    pattern = re.escape(before) + (ATTRIBUTE_NAME.pattern if placeholder else "") + re.escape(after)
    return re.fullmatch(pattern, key) is not None
