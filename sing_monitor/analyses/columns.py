"""Columns that several tables share, and columns made of metrics."""

from __future__ import annotations

from collections.abc import Iterable

from sing_monitor.findings import ColumnSpec, MetricSpec

IMAGE = ColumnSpec(
    "image",
    "",
    "Content fingerprint as 16 hexadecimal digits, or the position where there is none.",
)
LABEL = ColumnSpec("label", "", "Index of the true class.")
CLASS = (
    ColumnSpec("class_index", "", "Index of the class, which is its row of the head."),
    ColumnSpec("class_name", "", "Name of the class."),
)
# The test of McNemar, see :mod:`sing_monitor.scores.hidden_classes`.
HIDDEN = (
    ColumnSpec("hidden", "", "Whether the class is hidden from the head."),
    ColumnSpec("hidden_p", "share", "p-value of McNemar's exact test, whole against seen."),
    ColumnSpec("hidden_q", "share", "The p-value adjusted for the number of classes."),
)
COUNT = ColumnSpec("n", "count", "Number of images that the row stands on.")


def columns_of(metrics: Iterable[MetricSpec]) -> tuple[ColumnSpec, ...]:
    """A column for each metric: the name after the slash, with the same unit and meaning.

    Example::

        >>> from sing_monitor.analyses.monitor_metrics import MONITOR_METRICS
        >>> [column.name for column in columns_of(MONITOR_METRICS[:2])]
        ['seconds', 'samples']
    """
    return tuple(ColumnSpec(spec.key.partition("/")[2], spec.unit, spec.plain) for spec in metrics)
