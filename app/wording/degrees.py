"""Whether degrees of runs compare: they move with the ridge and the probe; pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from sing_monitor.app.wording.metrics import needs_space, spec_of
from sing_monitor.app.wording.text import listed

RIDGE, SAMPLES, SATURATION = "translator/ridge", "monitor/samples", "translator/saturation"
# Beyond these, models differ less than what they were measured with.
_MOST_DECADES = 0.5
_MOST_TIMES = 1.2
SATURATED = 0.9
# Made of degrees, or read without refitting.
_MADE_OF_DEGREES = re.compile(
    r"score_ratio\w*|image_score_relative|attribute_share\w*|(?:\w+_)?(?:retention|zero_shot_centered)"
)

Values = Mapping[str, object]


def move(key: str) -> bool:
    """Whether a metric moves with the ridge and the probe size: degrees, and what they make up.

    Example::

        >>> move("sing/image_score"), move("attribute/ink_colour_retention")
        (True, True)
        >>> move("sing/retention_seen"), move("head/null_angle")
        (False, False)
    """
    name = key.partition("/")[2]
    return needs_space(key) and (
        spec_of(key).unit == "deg" or _MADE_OF_DEGREES.fullmatch(name) is not None
    )


def unlike(runs: Iterable[Values]) -> list[tuple[str, list[str]]]:
    """In what the runs' measurements differ so much that degrees do not compare, and the values.

    Args:
        runs: latest values by catalogue key, of each run; those without a ridge have no degrees.

    Example::

        >>> unlike([{"translator/ridge": 0.001}, {"translator/ridge": 0.01}])
        [('ridges', ['0.001', '0.01'])]
    """
    scored = [run for run in runs if math.isfinite(_number(run, RIDGE))]
    found = []
    ridges = sorted({_number(run, RIDGE) for run in scored} - {0.0})
    if ridges and math.log10(ridges[-1] / ridges[0]) > _MOST_DECADES:
        found.append(("ridges", [f"{ridge:.2g}" for ridge in (ridges[0], ridges[-1])]))
    sizes = sorted({size for run in scored if (size := _number(run, SAMPLES)) > 0})
    if sizes and sizes[-1] > _MOST_TIMES * sizes[0]:
        found.append(("probe sizes", [f"{size:,.0f}" for size in (sizes[0], sizes[-1])]))
    return found


def saturation(run: Values) -> float | None:
    """Saturation of a run whose degrees still grow with the probe; None where they do not."""
    found = _number(run, SATURATION)
    return found if found < SATURATED else None


def caveat(runs: Iterable[Values]) -> str:
    """Why degrees of the runs do not compare, for the chart itself; else empty."""
    values = list(runs)
    if nouns := [noun for noun, _ in unlike(values)]:
        return f"different {listed(nouns)}: degrees do not compare"
    low = [found for run in values if (found := saturation(run)) is not None]
    return f"still grows with the probe (saturation {min(low):.2f})" if low else ""


def _number(run: Values, key: str) -> float:
    value = run.get(key)
    return float(value) if isinstance(value, int | float) else math.nan
