"""Which scores lie out of support, from ``classes``, ``support`` and ``class_support``."""

from __future__ import annotations

import math
from functools import partial

import pandas as pd

from sing_monitor.app.read import store
from sing_monitor.app.ui import states
from sing_monitor.app.ui.selection import Run

# Of the table of classes.
COLUMNS = ("outside", "outside_centered")


def shares(
    run: Run, at: tuple[int, int], table: str, key: str, suffix: str
) -> pd.Series[float] | None:
    """Share of the scores that are out of support, 0 or 1 for single images.

    Args:
        run: whose.
        at: epoch and global step of the validation.
        table: ``support`` or ``class_support``.
        key: column of the index: ``image`` or ``class_index``.
        suffix: of the removal's columns, as in ``attribute_score{suffix}``.

    Returns:
        None where the run does not tell: earlier versions wrote no such table, and no version
        tells of the random subspace.
    """
    column = f"outside{suffix}"
    read = partial(store.table, run.source, table, *at, (key, column))
    found = states.quietly(read)
    if found is None or not {key, column} <= set(found.columns):
        return None
    return found.drop_duplicates(key).set_index(key)[column]


def with_shares(classes: pd.DataFrame, suffix: str) -> pd.DataFrame:
    """A table of classes with ``shares`` of a removal; NaN where the table does not tell.

    Args:
        classes: as it is stored; earlier versions stored no ``outside{suffix}`` in it.
        suffix: of the removal's columns.
    """
    column = f"outside{suffix}"
    return classes.assign(outside=classes.get(column, math.nan))


def has_shares(classes: pd.DataFrame) -> bool:
    """Whether a stored table of classes tells which lie out of support."""
    return set(COLUMNS) <= set(classes.columns)


def class_shares(run: Run, at: tuple[int, int], suffix: str) -> pd.Series[float] | None:
    """The share of each class by index from ``class_support``, as earlier versions stored it.

    Args:
        run: whose.
        at: epoch and global step of the validation.
        suffix: of the removal's columns.

    Returns:
        None where the run does not tell, as of the random subspace.
    """
    if f"outside{suffix}" not in COLUMNS:
        return None
    return shares(run, at, "class_support", "class_index", suffix)
