"""The catalogue as the app shows it: labels, units, directions, help."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cache

from sing_monitor import analyses
from sing_monitor.app.wording.text import code, plain
from sing_monitor.findings import ATTRIBUTE_PLACEHOLDER, MetricGroup, MetricSpec, TableSpec

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
# They place a point on a curve and are no curve themselves.
BOOKKEEPING = ("monitor/global_step", "monitor/stage")

# In place of a number that does not exist.
MISSING = "\N{EN DASH}"

_FORMATS = {"deg": ".2f", "ratio": ".2f", "share": ".3f", "cosine": ".3f", "s": ".1f", "1": ".3g"}


@cache
def spec_of(key: str) -> MetricSpec:
    """The catalogue's entry; a key that another version logged gets an entry that says so."""
    matching = [spec for spec in analyses.CATALOGUE if _attribute(spec.key, key) is not None]
    if matching:
        # attribute/ink_probe_hidden is also what an attribute "ink_probe" would log as hidden.
        return max(matching, key=lambda spec: len(spec.key))
    name = key.partition("/")[0]
    group = analyses.GROUPS.get(name, MetricGroup(name, name))
    plain_words = "This version of sing-monitor does not know the metric."
    return MetricSpec(key, key, "", "none", "", "", plain_words, group)


def groups() -> list[MetricGroup]:
    """The groups of the catalogue, in its order."""
    return list(analyses.GROUPS.values())


def group_label(title: str) -> str:
    r"""The title of a group as Markdown; one that the catalogue lacks comes from a store.

    Example::

        >>> print(group_label("Neural collapse"), group_label("*bold*"))
        Neural collapse \*bold\*
    """
    return title if title in {group.title for group in groups()} else plain(title)


def table_spec_of(name: str) -> TableSpec:
    """The description of a stored table; one that another version wrote says so."""
    unknown = "This version of sing-monitor does not know the table."
    return analyses.TABLES.get(name, TableSpec(name, name, unknown, ()))


def column_help(table: TableSpec, name: str) -> str:
    """What a column of a stored table holds and its unit, as Markdown for a tooltip."""
    for column in table.columns:
        if _attribute(column.name, name) is not None:
            return " · ".join(filter(None, (plain(column.plain), unit_in_words(column.unit))))
    return "This version of sing-monitor does not know the column."


def _attribute(spec_name: str, name: str) -> str | None:
    """What a name has in place of ``{attribute}``; "" without a placeholder, None: no match."""
    before, placeholder, after = spec_name.partition(ATTRIBUTE_PLACEHOLDER)
    if not placeholder:
        return "" if name == spec_name else None
    match = re.fullmatch(f"{re.escape(before)}([a-z0-9_]+){re.escape(after)}", name)
    return match[1] if match else None


def label(key: str) -> str:
    """A few words for charts.

    Example::

        >>> label("attribute/ink_colour_retention")
        'Retention of the ink colour'
    """
    spec = spec_of(key)
    name = _attribute(spec.key, key)
    return spec.label.replace("attribute", name.replace("_", " ")) if name else spec.label


def short_label(key: str) -> str:
    """Two or three words, for headers of tables and cards."""
    return spec_of(key).short or label(key)


def better(key: str) -> str:
    """``higher``, ``lower`` or ``none``; of the training's own metrics, by what the name says."""
    if "/" in key and key.partition("/")[0] in analyses.GROUPS:
        return spec_of(key).better
    if re.search(r"loss|err", key, re.I):
        return "lower"
    return "higher" if re.search(r"acc|f1|auc|precision|recall", key, re.I) else "none"


def unit(key: str) -> str:
    """The unit in words, empty where there is none."""
    return unit_in_words(spec_of(key).unit)


def unit_in_words(unit: str) -> str:
    """The unit of a metric or column in words; one that the app does not know stands for itself."""
    return UNITS.get(unit, unit)


def explanation(key: str) -> str:
    """What the number means, as Markdown for a tooltip."""
    spec = spec_of(key)
    lines = [plain(spec.plain)]
    if spec.formula:
        lines.append(f"Computed as {code(spec.formula)}")
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


@cache
def needs_space(key: str) -> bool:
    """Whether the metric is measured in a semantic space; its values compare within one only.

    So is what another version logged in a group of such metrics.

    Example::

        >>> needs_space("attribute/ink_retention_seen"), needs_space("attribute/ink_probe_seen")
        (True, False)
    """
    spec = spec_of(key)
    if spec in analyses.CATALOGUE:
        return spec.key in analyses.IN_SPACE
    return any(each.startswith(f"{spec.group.name}/") for each in analyses.IN_SPACE)


def baseline_of(key: str) -> str | None:
    """The same quantity for a random subspace: the baseline to read the value against.

    Example::

        >>> baseline_of("sing/image_score_centered"), baseline_of("head/rank")
        ('sing/image_score_random', None)
    """
    return _filled(spec_of(key).baseline, key)


def is_against_chance(key: str) -> bool:
    """Whether what it is read against is chance, and no random subspace.

    Example::

        >>> is_against_chance("hierarchy/compliance_direct"), is_against_chance("sing/image_score")
        (True, False)
    """
    return (baseline_of(key) or "").endswith("_chance")


def is_against_walks(key: str) -> bool:
    """Whether what it is read against are random walks.

    Example::

        >>> is_against_walks("dynamics/explained"), is_against_walks("sing/image_score")
        (True, False)
    """
    return (baseline_of(key) or "").endswith("_surrogate")


def support_of(key: str) -> str | None:
    """The metric that tells which share of a score's images is out of support.

    Example::

        >>> support_of("sing/retention"), support_of("sing/image_score"), support_of("head/rank")
        ('support/outside_centered', 'support/outside', None)
    """
    return _filled(spec_of(key).support, key)


def spread_of(key: str) -> str | None:
    """The metric that tells how far from 1 random heads lie.

    Example::

        >>> spread_of("sing/image_score_relative"), spread_of("sing/image_score")
        ('sing/image_score_relative_spread', None)
    """
    return _filled(spec_of(key).spread, key)


def _filled(other: str | None, key: str) -> str | None:
    """A key that stands in the spec of another one, with its attribute in place."""
    name = _attribute(spec_of(key).key, key) or ""
    return None if other is None else other.replace(ATTRIBUTE_PLACEHOLDER, name)


def companions(keys: Iterable[str]) -> list[str]:
    """The baselines, spreads and shares out of support that these metrics are read beside."""
    found = [other(key) for key in keys for other in (baseline_of, spread_of, support_of)]
    return list(dict.fromkeys(key for key in found if key is not None))


def in_catalogue_order(keys: Iterable[str]) -> list[str]:
    """Known keys as the catalogue lists them, then the others by name; no bookkeeping."""
    order = {spec.key: place for place, spec in enumerate(analyses.CATALOGUE)}
    return sorted(
        set(keys) - set(BOOKKEEPING), key=lambda key: (order.get(spec_of(key).key, len(order)), key)
    )
