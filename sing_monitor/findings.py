"""What an analysis answers: scalars and tables, and the catalogue that names every scalar."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pandas import DataFrame
    from torch import Tensor

ATTRIBUTE_PLACEHOLDER = "{attribute}"
ATTRIBUTE_NAME = re.compile(r"[a-z0-9_]+")


@dataclass(frozen=True)
class MetricGroup:
    """The metrics before one slash.

    Args:
        name: what stands before the slash; lower-case letters.
        title: for headings.
    """

    name: str
    title: str


@dataclass(frozen=True)
class MetricSpec:
    """One scalar of the catalogue: everything a reader needs to understand the number.

    Args:
        key: ``group/name``. The name may hold the placeholder ``{attribute}``.
        label: a few words for charts, the telling word first.
        unit: ``deg``, ``share``, ``count``, ``ratio``, ``cosine``, ``s`` or ``1`` (none).
        better: which direction is good: ``higher``, ``lower``, or ``none`` (it depends).
        formula: how it is computed, in plain text.
        source: paper and equation, or ``ours``.
        plain: one or two sentences for a newcomer.
        group: that the key belongs to.
        short: two or three words where the label has no room; empty: the label serves.
        baseline: key of the same quantity for a random subspace, or None.
        support: key of the share of images that are translated out of support, for scores that
            say little where it is large; or None.
        spread: key of the standard deviation about 1 that random heads show, or None.
    """

    key: str
    label: str
    unit: str
    better: Literal["higher", "lower", "none"]
    formula: str
    source: str
    plain: str
    group: MetricGroup
    short: str = ""
    baseline: str | None = None
    support: str | None = None
    spread: str | None = None


@dataclass(frozen=True)
class ColumnSpec:
    """One column of a table.

    Args:
        name: as it stands in the file. It may hold the placeholder ``{attribute}``.
        unit: as of a metric; empty for names, ids and lists.
        plain: what it holds, in a sentence.
        is_optional: whether a table may come without it.
    """

    name: str
    unit: str
    plain: str
    is_optional: bool = False


@dataclass(frozen=True)
class TableSpec:
    """One table of a validation.

    Args:
        name: of its file; lower-case letters and underscores.
        title: for headings.
        plain: what a row is, in a sentence.
        columns: in their order.
        is_followed: whether charts show it over the epochs, so that a server keeps it once more,
            in files of several validations. It would be much for a row of each class and concept.
    """

    name: str
    title: str
    plain: str
    columns: tuple[ColumnSpec, ...]
    is_followed: bool = False


@dataclass(frozen=True)
class Findings:
    """Scalars by metric key and tables by name; two findings merge with ``|``.

    Args:
        scalars: by key.
        tables: by name.
        kept: what an analysis wants to find at the next validation, by ``group/name``: small
            tensors on the CPU, which are kept in checkpoints.
        pictured: ids of the images whose pictures the tables are read with, in 16 hexadecimal
            digits.

    Example::

        >>> a = Findings(scalars={"head/rank": 10.0})
        >>> b = Findings(scalars={"head/null_dim": 118.0})
        >>> sorted((a | b).scalars)
        ['head/null_dim', 'head/rank']
    """

    scalars: Mapping[str, float] = field(default_factory=dict)
    tables: Mapping[str, DataFrame] = field(default_factory=dict)
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    pictured: frozenset[str] = frozenset()

    def __or__(self, other: Findings) -> Findings:
        """Merge two findings.

        Raises:
            ValueError: if both hold the same scalar, table or kept tensor; one would hide the
                other.
        """
        both = (
            (self.scalars.keys() & other.scalars.keys())
            | (self.tables.keys() & other.tables.keys())
            | (self.kept.keys() & other.kept.keys())
        )
        if both:
            raise ValueError(
                f"two analyses report {', '.join(sorted(both))}; give each its own name."
            )
        return Findings(
            {**self.scalars, **other.scalars},
            {**self.tables, **other.tables},
            {**self.kept, **other.kept},
            self.pictured | other.pictured,
        )


def expand(specs: Iterable[MetricSpec], attributes: Sequence[str] = ()) -> dict[str, MetricSpec]:
    """The catalogue by key, each ``{attribute}`` placeholder filled with every attribute's name.

    Raises:
        ValueError: if an attribute's name holds anything but ``a-z``, ``0-9`` and ``_``, or if
            two specs share a key.
    """
    for attribute in attributes:
        if not ATTRIBUTE_NAME.fullmatch(attribute):
            raise ValueError(
                f"attribute name {attribute!r} cannot be part of a metric key; "
                "use lower-case letters, digits and underscores, for example 'ink_colour'."
            )
    catalogue: dict[str, MetricSpec] = {}
    for spec in specs:
        names = attributes if ATTRIBUTE_PLACEHOLDER in spec.key else ("",)
        for name in names:
            key = spec.key.replace(ATTRIBUTE_PLACEHOLDER, name)
            if key in catalogue:
                raise ValueError(f"the catalogue holds {key!r} twice; rename one of the metrics.")
            catalogue[key] = spec
    return catalogue


def complete(
    scalars: Mapping[str, float], specs: Iterable[MetricSpec], attributes: Sequence[str] = ()
) -> dict[str, float]:
    """Every key of the catalogue, in its order: the given value, or NaN where there is none.

    The same keys are logged at every validation and on every rank, so nothing may be absent.
    Infinite values become NaN: MLflow would store them as 1.8e308 and ruin the chart.

    Raises:
        ValueError: if a scalar is not in the catalogue; a number nobody explains is not logged.
    """
    catalogue = expand(specs, attributes)
    unknown = sorted(scalars.keys() - catalogue.keys())
    if unknown:
        raise ValueError(f"not in the metric catalogue: {', '.join(unknown)}; add a MetricSpec.")
    values = {key: float(scalars.get(key, math.nan)) for key in catalogue}
    return {key: value if math.isfinite(value) else math.nan for key, value in values.items()}


def check_tables(
    tables: Mapping[str, DataFrame], specs: Iterable[TableSpec], attributes: Sequence[str] = ()
) -> None:
    """Refuse tables and columns without a spec; a table nobody explains is not stored.

    Args:
        tables: by name.
        specs: of all tables that there may be.
        attributes: in place of ``{attribute}``, in the order of their columns.

    Raises:
        ValueError: if a table has no spec, or other columns than its spec, or in another order.
    """
    known = {spec.name: spec for spec in specs}
    unknown = sorted(tables.keys() - known.keys())
    if unknown:
        raise ValueError(f"tables without a spec: {', '.join(unknown)}; add a TableSpec.")
    for name, table in tables.items():
        found = [str(column) for column in table.columns]
        expected = [
            column.name.replace(ATTRIBUTE_PLACEHOLDER, attribute)
            for column in known[name].columns
            if not (column.is_optional and column.name not in found)
            for attribute in (attributes if ATTRIBUTE_PLACEHOLDER in column.name else ("",))
        ]
        if found != expected:
            raise ValueError(
                f"table {name!r} has the columns {', '.join(found)}; its TableSpec says "
                f"{', '.join(expected)}."
            )


def named_key(key: str, name: str | None) -> str:
    """The key as a callback called ``name`` logs it: the name joins the group, before the slash.

    Example::

        >>> named_key("sing/image_score", None), named_key("sing/image_score", "aux")
        ('sing/image_score', 'sing.aux/image_score')
    """
    group, _, metric = key.partition("/")
    return key if name is None else f"{group}.{name}/{metric}"


def markdown_table(specs: Iterable[MetricSpec], in_space: Collection[str]) -> str:
    """The catalogue as the README shows it: one row a metric.

    Args:
        specs: of the metrics.
        in_space: keys of those that are measured in a semantic space.
    """
    arrows = {"higher": "↑", "lower": "↓", "none": ""}
    rows = [
        f"| `{spec.key}` | {spec.plain} | {spec.unit} | {arrows[spec.better]} "
        f"| {'' if spec.key in in_space else '✓'} "
        f"| {spec.formula.replace('|', chr(92) + '|')} | {spec.source} |"
        for spec in specs
    ]
    head = "| metric | what it tells | unit | better | `space=None` | computed as | source |"
    return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def markdown_tables(specs: Iterable[TableSpec]) -> str:
    """The tables as the README shows them: one row a table."""
    rows = [f"| `{spec.name}` | {spec.plain} |" for spec in specs]
    return "\n".join(["| table | what a row is |", "|---|---|", *rows])
