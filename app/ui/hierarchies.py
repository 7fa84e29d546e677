"""Keeps apart what was counted in different trees of classes: such depths share no axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.wording.hierarchies import IN_TREE, tree_name
from sing_monitor.app.wording.text import short


@dataclass(frozen=True)
class Part:
    """Curves that may stand on one axis.

    Args:
        values: of the runs.
        series: the runs.
        caveat: which tree they were counted in, where there are several; else empty.
    """

    values: pd.DataFrame
    series: list[SeriesStyle]
    caveat: str = ""


def tree_of(run: Run) -> str:
    """The tree of classes that a run's depths were counted in; empty where it says none."""
    return tree_name(run.tag("hierarchy"))


def trees(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs by tree, in their order."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(tree_of(run), []).append(run)
    return found


def parts(chosen: Selection, key: str, values: pd.DataFrame) -> list[Part]:
    """The curves of a metric, apart where they were counted in different trees of classes.

    Args:
        chosen: whose.
        key: of the catalogue.
        values: columns series, value and difference; runs without a value count in no tree.
    """
    if key not in IN_TREE:
        return [Part(values, chosen.series)]
    with_values = set(values.loc[values["value"].notna(), "series"])
    apart = trees([run for run in chosen.runs if run.run_id in with_values])
    if len(apart) < 2:
        return [Part(values, chosen.series)]
    found = []
    for name, runs in apart.items():
        own = values[values["series"].isin([run.run_id for run in runs])]
        if not any(run.is_baseline for run in runs):
            own = own.assign(difference=np.nan)
        caveat = f"counted in {short(name, 40) or 'an unknown tree'} alone: trees do not compare"
        found.append(Part(own, [run.series for run in runs], caveat))
    return found


def comparable_differences(chosen: Selection, long: pd.DataFrame) -> pd.DataFrame:
    """Without the differences to a baseline that was counted in another tree.

    Args:
        chosen: whose curves.
        long: from `curves.add_difference`.
    """
    counted = long["metric"].isin(IN_TREE)
    if chosen.baseline is None or not counted.any():
        return long
    tree = tree_of(chosen.baseline)
    others = [run.run_id for run in chosen.runs if tree_of(run) != tree]
    is_other = counted & long["series"].isin(others)
    return long.assign(difference=long["difference"].mask(is_other))
