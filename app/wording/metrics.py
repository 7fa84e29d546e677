"""The catalogue as the app shows it: labels, units, directions, help."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cache

from sing_monitor.analyses import CATALOGUE
from sing_monitor.app.wording.text import plain
from sing_monitor.findings import ATTRIBUTE_PLACEHOLDER, MetricGroup, MetricSpec

UNITS = {
    "deg": "degrees",
    "share": "share",
    "count": "count",
    "ratio": "ratio",
    "cosine": "cosine",
    "s": "seconds",
    "1": "",
}
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "none": ""}
GROUPS = {
    "sing": "Scores",
    "attribute": "Attributes",
    "head": "Head",
    "translator": "Translator",
    "support": "Support",
    "collapse": "Neural collapse",
    "steer": "Steering",
    "perturb": "Perturbations",
    "monitor": "Monitor",
}
# Scores of these groups are angles in a semantic space; the others need none.
IN_SPACE = ("sing", "attribute", "translator", "support", "steer", "perturb")
# They place a point on a curve and are no curve themselves.
BOOKKEEPING = ("monitor/global_step", "monitor/stage")

# In place of a number that does not exist.
MISSING = "\N{EN DASH}"

# For headers of tables and cards, where the label has no room.
_SHORT = {
    "sing/attribute_score_centered": "AS, centered",
    "sing/image_score_centered": "IS, centered",
    "sing/score_ratio_centered": "IS / |AS|",
    "sing/retention": "Retention",
    "monitor/accuracy": "Accuracy",
}
_FORMATS = {"deg": ".2f", "ratio": ".2f", "share": ".3f", "cosine": ".3f", "s": ".1f", "1": ".3g"}


@cache
def spec_of(key: str) -> MetricSpec:
    """The catalogue's entry; a key that another version logged gets an entry that says so."""
    for spec in CATALOGUE:
        if _attribute(spec, key) is not None:
            return spec
    group = MetricGroup(key.partition("/")[0], key.partition("/")[0])
    plain_words = "This version does not know the metric."
    return MetricSpec(key, key, "", "none", "", "", plain_words, group)


def _attribute(spec: MetricSpec, key: str) -> str | None:
    """What the key has in place of ``{attribute}``; "" without a placeholder, None: no match."""
    before, placeholder, after = spec.key.partition(ATTRIBUTE_PLACEHOLDER)
    if not placeholder:
        return "" if key == spec.key else None
    match = re.fullmatch(f"{re.escape(before)}([a-z0-9_]+){re.escape(after)}", key)
    return match[1] if match else None


def label(key: str) -> str:
    """A few words for charts.

    Example::

        >>> label("attribute/ink_colour_retention")
        'Retention of the ink colour'
    """
    spec = spec_of(key)
    name = _attribute(spec, key)
    return spec.label.replace("attribute", name.replace("_", " ")) if name else spec.label


def short_label(key: str) -> str:
    """Two or three words, for headers of tables and cards."""
    return _SHORT.get(key, label(key))


def better(key: str) -> str:
    """``higher``, ``lower`` or ``none``; of the training's own metrics, by what the name says."""
    if "/" in key and key.partition("/")[0] in GROUPS:
        return spec_of(key).better
    if re.search(r"loss|err", key, re.I):
        return "lower"
    return "higher" if re.search(r"acc|f1|auc|precision|recall", key, re.I) else "none"


def unit(key: str) -> str:
    """The unit in words, empty where there is none."""
    return UNITS.get(spec_of(key).unit, spec_of(key).unit)


def explanation(key: str) -> str:
    """What the number means, as Markdown for a tooltip."""
    spec = spec_of(key)
    lines = [plain(spec.plain)]
    if spec.formula:
        lines.append(f"Computed as `{spec.formula}`")
    facts = [word for word in (unit(key), DIRECTIONS[spec.better], plain(spec.source)) if word]
    return "\n\n".join([*lines, " · ".join(facts)])


def number_format(key: str) -> str:
    """How many digits a value deserves, as a d3 and Python format."""
    return ".0f" if spec_of(key).unit == "count" else _FORMATS.get(spec_of(key).unit, ".4g")


def value_text(key: str, value: float, sign: bool = False) -> str:
    """A value with its unit; a dash where there is none."""
    if not math.isfinite(value):
        return MISSING
    # z: a value that rounds to zero has no sign.
    text = format(value, f"{'+' if sign else ''}z{number_format(key)}")
    return text + {"deg": "°", "s": " s"}.get(spec_of(key).unit, "")


def baseline_of(key: str) -> str | None:
    """The same quantity for a random subspace: the baseline to read the value against.

    Example::

        >>> baseline_of("sing/image_score_centered"), baseline_of("head/rank")
        ('sing/image_score_random', None)
    """
    known = {spec.key for spec in CATALOGUE}
    baseline = f"{key.removesuffix('_centered')}_random"
    return baseline if key.endswith(("_centered", "_share")) and baseline in known else None


def in_catalogue_order(keys: Iterable[str]) -> list[str]:
    """Known keys as the catalogue lists them, then the others by name; no bookkeeping."""
    order = {spec.key: place for place, spec in enumerate(CATALOGUE)}
    return sorted(
        set(keys) - set(BOOKKEEPING), key=lambda key: (order.get(spec_of(key).key, len(order)), key)
    )
