"""Which scores lie out of support, from the tables ``support`` and ``class_support``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import pandas as pd

from sing_monitor.app import at_epoch, data, states
from sing_monitor.app.selection import Run

ABOUT = (
    "Out of support: without its null part the image is translated to a place farther from the "
    "mean than nearly all embeddings of real images. No image lies there, so its score may say "
    "more about the translator than about the head."
)


def outside(
    run: Run, at: tuple[int, int], table: str, key: str, suffix: str
) -> pd.Series[float] | None:
    """Share of the scores that are out of support, 0 or 1 for single images.

    Args:
        run: whose.
        at: epoch and global step of the validation.
        table: ``support`` or ``class_support``.
        key: column of the index: ``image`` or ``class_index``.
        suffix: of the pair's columns, as in ``attribute_score{suffix}``.

    Returns:
        None where the run does not tell: earlier versions wrote no such table, and no version
        tells of the random pair.
    """
    column = f"outside{suffix}"
    read = partial(data.table, run.source, table, *at, (key, column))
    found = states.quietly(read)
    if found is None or not {key, column} <= set(found.columns):
        return None
    return found.drop_duplicates(key).set_index(key)[column]


def of_classes(
    run: Run, steps: Mapping[int, tuple[int, int]], suffix: str
) -> dict[int, pd.Series[float]]:
    """The share of images out of support of each class, by epoch and class index.

    Args:
        run: whose; without entry where it does not tell, as of the random pair.
        steps: from `at_epoch.last_steps`.
        suffix: of the pair's columns.
    """
    if suffix not in ("", "_centered"):
        return {}
    columns = ("class_index", f"outside{suffix}")
    found = at_epoch.history(run, "class_support", steps, columns=columns)
    return {
        epoch: table.drop_duplicates(columns[0]).set_index(columns[0])[columns[1]]
        for epoch, table in found.items()
        if set(columns) <= set(table.columns)
    }


def beside(classes: pd.DataFrame, shares: pd.Series[float] | None) -> pd.DataFrame:
    """A table of classes with ``outside``; NaN where the run does not tell."""
    index = classes["class_index"]
    return classes.assign(outside=math.nan if shares is None else index.map(shares))
