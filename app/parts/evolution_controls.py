"""What the page Evolution shows, as the user chose it; every choice is part of the address."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from sing_monitor.app.parts import intervals
from sing_monitor.app.read import curves, store
from sing_monitor.app.ui import states
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.wording import metrics, support_marks

DEFAULT = (
    "sing/attribute_score_centered",
    "sing/image_score_centered",
    "sing/score_ratio_centered",
    "head/null_energy_centered",
    "translator/r2",
    "translator/cosine",
    "monitor/accuracy",
)
_OWN = re.compile(r"(?=.*(?:val|valid|test))(?=.*(?:acc|loss))", re.I)
# The monitor measures it too, on the same images or a sample of them.
_OWN_ACCURACY = re.compile(r"(?:val|valid|validation)[\W_]*acc(?:uracy)?(?:[\W_]epoch)?", re.I)
_MOST_OWN = 4
_VALUES, _DIFFERENCE = "Values", "Difference to the baseline"


@dataclass(frozen=True)
class CurveView:
    """What the user asked to see.

    Args:
        keys: of the catalogue.
        own: metrics that no monitor logged.
        axis: what the curves stand on.
        is_difference: show differences to the baseline.
        with_random: show the random subspace behind the centered scores.
        by_seeds: show configurations in place of runs.
        with_intervals: show how certain the values are.
    """

    keys: list[str]
    own: list[str]
    axis: curves.Axis
    is_difference: bool
    with_random: bool
    by_seeds: bool
    with_intervals: bool

    @property
    def shown(self) -> list[str]:
        """The metrics that have a panel."""
        return [*self.keys, *self.own]

    @property
    def read(self) -> list[str]:
        """All keys of the catalogue that the charts need."""
        beside = (*map(metrics.baseline_of, self.keys), *map(support_marks.metric_of, self.keys))
        return list(dict.fromkeys([*self.keys, *filter(None, beside)]))


def choose_curves(chosen: Selection) -> CurveView:
    """One row of controls above the charts."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        axis = st.segmented_control(
            "Against", curves.AXES, default="Epoch", key="axis", bind="query-params", required=True
        )
        shown = st.segmented_control(
            "Show",
            [_VALUES, _DIFFERENCE],
            default=_VALUES,
            key="show",
            bind="query-params",
            required=True,
            disabled=chosen.baseline is None,
            help="Choose a baseline in the sidebar to see differences.",
        )
        with st.popover("Metrics", icon=":material/tune:", width="content"):
            keys, own = _metrics(chosen)
        with_random = st.toggle(
            "Random subspace",
            value=True,
            key="random",
            bind="query-params",
            help="A dotted line behind the centered scores, in the color of the run: the same "
            "score after removing a random subspace of the same size.",
        )
        with_intervals = st.toggle(
            "95 % interval",
            value=True,
            key="interval",
            bind="query-params",
            help=f"Of the headline scores, at up to {intervals.MOST_EPOCHS} epochs of each run; "
            "not of differences, of averaged seeds, and of runs that an earlier version watched. "
            f"{intervals.ABOUT}",
        )
        by_seeds = _seeds_toggle(chosen, axis or "Epoch")
    is_difference = shown == _DIFFERENCE and chosen.baseline is not None and not by_seeds
    with_intervals = bool(with_intervals) and not (is_difference or by_seeds)
    return CurveView(
        keys, own, axis or "Epoch", is_difference, bool(with_random), by_seeds, with_intervals
    )


def _metrics(chosen: Selection) -> tuple[list[str], list[str]]:
    """The chosen keys of the catalogue, and of the runs' own metrics."""
    available = metrics.in_catalogue_order(key for key in chosen.listing.columns if "/" in key)
    keys = st.multiselect(
        "What the monitor measured",
        available,
        default=[key for key in DEFAULT if key in available],
        format_func=metrics.label,
        key="metrics",
        bind="query-params",
        help="The page Guide explains each of them.",
    )
    offered = sorted({name for run in chosen.runs for name in _own_metrics(run)})
    own = st.multiselect(
        "What the training itself logged at the same validations",
        offered,
        default=[name for name in offered if _is_shown(name, available)][:_MOST_OWN],
        key="own",
        bind="query-params",
        placeholder="Choose metrics" if offered else "Nothing",
    )
    return keys, own


def _is_shown(name: str, available: Sequence[str]) -> bool:
    """Whether one of the training's metrics has a panel at first; accuracy is shown once."""
    is_known = "monitor/accuracy" in available and _OWN_ACCURACY.fullmatch(name) is not None
    return _OWN.search(name) is not None and not is_known


def _own_metrics(run: Run) -> list[str]:
    # Whatever is wrong is said once, when the curves are read.
    return states.quietly(lambda: store.other_metrics(run.stored)) or []


def _seeds_toggle(chosen: Selection, axis: curves.Axis) -> bool:
    """Only where picked runs differ in nothing but the seed is there anything to average."""
    groups = curves.configurations(pd.DataFrame([run.row for run in chosen.runs]))
    if len(set(groups.values())) == len(groups):
        return False
    wanted = st.toggle(
        "Average seeds",
        key="seeds",
        bind="query-params",
        disabled=axis == "Time",
        help="Runs that differ in nothing but the seed become one line, their mean, in a band from "
        "the smallest to the largest value. Not against time, which differs from run to run.",
    )
    return bool(wanted) and axis != "Time"
