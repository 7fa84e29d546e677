"""Whether a relative score says more than that a head has a null space; pure functions."""

from __future__ import annotations

from typing import TypeVar

import pandas as pd

Number = TypeVar("Number", float, "pd.Series[float]")
# 19 of 20 random heads lie nearer to 1.
_SPREADS = 2
WITHIN = "within what a random head shows"
MARK = "\N{ALMOST EQUAL TO}"
BAND_RULE = f"gray band: random heads · {MARK} {WITHIN}"


def band(spread: Number) -> tuple[Number, Number]:
    """Where a score about 1 lies for random heads, two standard deviations to both sides.

    Example::

        >>> band(0.25)
        (0.5, 1.5)
    """
    return 1 - _SPREADS * spread, 1 + _SPREADS * spread


def is_within(value: float, spread: float) -> bool:
    """Whether a random head may show the value; False where either is NaN.

    Example::

        >>> is_within(0.9, 0.25), is_within(0.9, 0.03), is_within(0.9, float("nan"))
        (True, False, False)
    """
    low, high = band(spread)
    return low <= value <= high


def beside(value: float, spread: float, text: str) -> dict[str, object]:
    """What a bar needs: the band's ends, NaN where unknown, and its text, marked inside of it.

    Example::

        >>> beside(0.9, 0.25, "0.90")
        {'band_low': 0.5, 'band_high': 1.5, 'text': '0.90 ≈'}
    """
    low, high = band(spread)
    marked = f"{text} {MARK}" if is_within(value, spread) else text
    return {"band_low": low, "band_high": high, "text": marked}


def band_lines(spreads: pd.DataFrame) -> pd.DataFrame:
    """The two ends of the band as curves of their own.

    Args:
        spreads: columns label and value, the spread, and any others.

    Returns:
        Twice the rows, with the value of either end and a label for each.
    """
    ends = zip(("lower", "upper"), band(spreads["value"]), strict=True)
    return pd.concat(
        [spreads.assign(label=spreads["label"] + f" {end}", value=value) for end, value in ends],
        ignore_index=True,
    )
