"""Headline: how much of the class a head hides, in words that the terminal and the app share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

HIDDEN, KEPT = "sing/class_hidden", "sing/retention_seen"
HIDDEN_BY_PROBES = "probe/class_hidden"
_WHOLE, _SEEN = "probe/class_whole", "probe/class_seen"
_ACCURACY = "monitor/accuracy"
# A share that rounds to less, in percent with one digit, is none.
_NONE = 0.0005
_NO_IMAGE = "no image tells its class only in what the head cannot see"
# From there on the whole feature is read worse than a part of it: it is overfitted.
_OVERFITTED = -0.02
_TOO_FEW = (
    "the images are too few to tell what the head hides: what it sees is read better than the "
    "whole feature"
)
_CLASSES = {HIDDEN: "sing/hidden_classes", HIDDEN_BY_PROBES: "probe/hidden_classes"}

Interval = tuple[float, float]


def interval_ends(tables: Mapping[str, DataFrame]) -> dict[str, Interval]:
    """Ends of the 95 % intervals by metric, from the table ``intervals``; empty without it."""
    table = tables.get("intervals")
    if table is None:
        return {}
    rows = zip(table["key"], table["low"], table["high"], strict=True)
    return {str(key): (float(low), float(high)) for key, low, high in rows}


def leading_key(scalars: Mapping[str, float]) -> str | None:
    """The metric that says how much of the class is hidden; None where none was measured.

    Read through the semantic space where the space can read the class from the features at all,
    else by linear probes of the labels.

    Example::

        >>> leading_key({"sing/class_hidden": 0.0, "sing/retention_seen": math.nan})
        >>> leading_key({"probe/class_hidden": 0.04})
        'probe/class_hidden'
    """
    # Where the space knows the classes too little to read them, nothing can be hidden from it.
    if _is_known(scalars, HIDDEN) and _is_known(scalars, KEPT):
        return HIDDEN
    return HIDDEN_BY_PROBES if _is_known(scalars, HIDDEN_BY_PROBES) else None


def headline(
    scalars: Mapping[str, float], intervals: Mapping[str, Interval] | None = None
) -> str | None:
    """How much of the class the head hides, in two sentences; None where it was not measured.

    Args:
        scalars: of one validation, by key of the catalogue; absent ones count as NaN.
        intervals: ends of their intervals by key, as far as they are known.

    Example::

        >>> headline({"sing/class_hidden": 0.041, "sing/retention_seen": 0.95})
        '4 % of the images tell their class only in what the head cannot see. \
What it sees keeps 95 % of what can be read of the class.'
    """
    key = leading_key(scalars)
    if key is None:
        return None
    hidden = _hidden(scalars[key], (intervals or {}).get(key))
    rest = _kept(scalars) if key == HIDDEN else _probed(scalars)
    is_unread = key != HIDDEN and _is_known(scalars, HIDDEN)
    why = "the semantic space cannot read the class from these features; by linear probes, "
    return f"{why if is_unread else ''}{hidden}. {rest}."


def hidden_classes(scalars: Mapping[str, float]) -> str:
    """How many classes are hidden, as a clause; empty for none, or where it was not measured.

    Example::

        >>> hidden_classes({"probe/class_hidden": 0.2, "probe/hidden_classes": 3.0})
        '3 classes are hidden'
    """
    key = leading_key(scalars)
    count = math.nan if key is None else scalars.get(_CLASSES[key], math.nan)
    if not count > 0:
        return ""
    return "one class is hidden" if count == 1 else f"{count:.0f} classes are hidden"


def percent(share: float) -> str:
    """A share in percent; below one, with a digit behind the point.

    Example::

        >>> percent(0.0412), percent(0.004), percent(-0.0001)
        ('4 %', '0.4 %', '0.0 %')
    """
    return f"{_number(share, _digits(share))} %"


def _hidden(share: float, interval: Interval | None) -> str:
    found = _TOO_FEW if share < _OVERFITTED else _NO_IMAGE
    if share >= _NONE:
        found = f"{percent(share)} of the images tell their class only in what the head cannot see"
    if interval is None or not all(map(math.isfinite, interval)):
        return found
    digits = _digits(*interval)
    low, high = (_number(end, digits) for end in interval)
    return f"{found} (95 % interval: {low} to {high} %)"


def _kept(scalars: Mapping[str, float]) -> str:
    kept = scalars[KEPT]
    share = "nothing" if kept < _NONE else "all" if kept > 1 - _NONE else percent(kept)
    found = f"What it sees keeps {share} of what can be read of the class"
    if _is_known(scalars, _ACCURACY):
        found += f", and it classifies {percent(scalars[_ACCURACY])} of the images correctly"
    return found


def _probed(scalars: Mapping[str, float]) -> str:
    whole, seen = (percent(scalars.get(key, math.nan)) for key in (_WHOLE, _SEEN))
    found = f"Linear probes classify {whole} correctly from all features, {seen} from what it sees"
    if _is_known(scalars, _ACCURACY):
        found += f"; the head itself {percent(scalars[_ACCURACY])}"
    return found


def _digits(*shares: float) -> int:
    return 0 if any(abs(share) >= 0.0095 for share in shares) else 1


def _number(share: float, digits: int) -> str:
    # z: what rounds to zero has no sign.
    return format(100 * share, f"z.{digits}f")


def _is_known(scalars: Mapping[str, float], key: str) -> bool:
    return math.isfinite(scalars.get(key, math.nan))
