"""What the page Evolution shows, as the user chose it; every choice is part of the address."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from sing_monitor.app.parts import intervals
from sing_monitor.app.read import curves, store
from sing_monitor.app.ui import states
from sing_monitor.app.ui.sections import Section, section
from sing_monitor.app.ui.selection import Run, Selection, is_many
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import count

DEFAULT = (
    "sing/class_hidden",
    "sing/retention_seen",
    "monitor/accuracy",
    "sing/zero_shot",
    "sing/zero_shot_seen",
    "sing/zero_shot_null",
    "sing/attribute_score_centered",
    "sing/image_score_centered",
    "head/null_energy_centered",
    "translator/r2",
)
DEFAULT_BY_PROBES = (
    "probe/class_hidden",
    "probe/class_seen",
    "probe/class_whole",
    "monitor/accuracy",
    "head/null_energy_centered",
    "head/drift",
    "head/condition",
    "collapse/nc1",
    "collapse/null_share_between",
)
# Of runs of earlier versions, which have nothing of the above.
EARLIER = (
    "sing/attribute_score_centered",
    "sing/image_score_centered",
    "sing/score_ratio_centered",
    "head/null_energy_centered",
    "translator/r2",
    "translator/cosine",
    "monitor/accuracy",
)
EARLIER_WITHOUT_SPACE = (
    "head/null_energy_centered",
    "head/drift",
    "head/condition",
    "collapse/nc1",
    "collapse/null_share_between",
    "monitor/accuracy",
)
_OWN = re.compile(r"(?=.*(?:val|valid|test))(?=.*(?:acc|loss))", re.I)
# What runs without a space tell of annotated attributes.
_OF_ATTRIBUTE = re.compile(r"attribute/\w+_probe_(hidden|seen)")
# The monitor measures it too, on the same images or a sample of them.
_OWN_ACCURACY = re.compile(r"(?:val|valid|validation)[\W_]*acc(?:uracy)?(?:[\W_]epoch)?", re.I)
_MOST_OWN = 4
# Panels of many runs, at least so many of them of the monitor; the others wait in a section.
_FIRST, _FIRST_KEYS = 4, 2
_VALUES, _DIFFERENCE = "Values", "Difference to the baseline"


@dataclass(frozen=True)
class CurveView:
    """What the user asked to see.

    Args:
        keys: of the catalogue.
        more: further ones, in a section that stays closed at first.
        own: metrics that no monitor logged.
        groups: further keys of the catalogue, by the title of the group that was chosen whole.
        axis: what the curves stand on.
        is_difference: show differences to the baseline.
        with_random: show the random subspace behind the centered scores.
        by_seeds: show configurations in place of runs.
        with_intervals: show how certain the values are.
    """

    keys: list[str]
    more: list[str]
    own: list[str]
    groups: dict[str, list[str]]
    axis: curves.Axis
    is_difference: bool
    with_random: bool
    by_seeds: bool
    with_intervals: bool

    @property
    def shows_random(self) -> bool:
        """Whether random subspaces are drawn; they have no differences."""
        return self.with_random and not self.is_difference

    @property
    def shown(self) -> list[str]:
        """The metrics that have a panel."""
        return [*(key for _, keys in self.sections for key in keys), *self.more]

    @property
    def sections(self) -> list[tuple[str, list[str]]]:
        """The panels in their order, by the heading above them; the first have none."""
        return [("", [*self.keys, *self.own]), *self.groups.items()]

    @property
    def read(self) -> list[str]:
        """All keys of the catalogue that the charts need."""
        keys = [key for key in self.shown if key not in self.own]
        return list(dict.fromkeys([*keys, *metrics.companions(keys)]))


def choose_curves(chosen: Selection) -> CurveView:
    """One row of controls above the charts."""
    available = metrics.in_catalogue_order(key for key in chosen.listing.columns if "/" in key)
    default = [key for key in _default(chosen) if key in available]
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
            keys, own, groups = _metrics(chosen, available, default)
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
            help=f"Drawn for the headline scores, at up to {intervals.MOST_EPOCHS} epochs of each "
            "run, at fewer of more than three runs. Not drawn for differences, averaged seeds and "
            "runs of earlier versions. "
            f"{intervals.ABOUT}",
        )
        by_seeds = _seeds_toggle(chosen, axis or "Epoch")
    # Whoever chose metrics wants to see them.
    is_folded = is_many(chosen.runs) and keys == default
    first = max(_FIRST - len(own), _FIRST_KEYS) if is_folded else len(keys)
    is_difference = shown == _DIFFERENCE and chosen.baseline is not None and not by_seeds
    with_intervals = bool(with_intervals) and not (is_difference or by_seeds)
    return CurveView(
        keys[:first],
        keys[first:],
        own,
        groups,
        axis or "Epoch",
        is_difference,
        bool(with_random),
        by_seeds,
        with_intervals,
    )


def take_section(view: CurveView) -> Section | None:
    """The place of the further metrics; none while it is closed, and where all are drawn anyhow."""
    if not view.more:
        return None
    names = " · ".join(metrics.label(key) for key in view.more)
    return section(f"{count(len(view.more), 'more metric')}: {names}", "more", is_folded=True)


def _metrics(
    chosen: Selection, available: Sequence[str], default: Sequence[str]
) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """The chosen keys of the catalogue, of the runs' own metrics, and of whole groups by title."""
    keys = st.multiselect(
        "What the monitor measured",
        available,
        default=default,
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
    return keys, own, _whole_groups(available, keys)


def _default(chosen: Selection) -> tuple[str, ...]:
    """The metrics shown at first, as far as a picked run has them."""
    has_space = any(run.has_space for run in chosen.runs)
    keys, earlier = (DEFAULT, EARLIER) if has_space else (DEFAULT_BY_PROBES, EARLIER_WITHOUT_SPACE)
    rows = [run.row.to_dict() for run in chosen.runs]

    def is_known(key: str) -> bool:
        return any(math.isfinite(row.get(key, math.nan)) for row in rows)

    if not has_space:
        named = (key for key in chosen.listing if _OF_ATTRIBUTE.fullmatch(str(key)))
        keys += tuple(filter(is_known, named))
    return keys if is_known(keys[0]) else earlier


def _whole_groups(available: Sequence[str], shown: Sequence[str]) -> dict[str, list[str]]:
    """The metrics of the chosen groups that are not shown already, by the group's title."""
    groups: dict[str, list[str]] = {}
    for key in available:
        groups.setdefault(metrics.spec_of(key).group.title, []).append(key)
    chosen = st.pills(
        "All metrics of a group",
        list(groups),
        format_func=metrics.group_label,
        selection_mode="multi",
        key="groups",
        bind="query-params",
        help="They get a section of their own below the metrics chosen above.",
    )
    found = {title: [key for key in groups[title] if key not in shown] for title in chosen}
    return {title: keys for title, keys in found.items() if keys}


def _is_shown(name: str, available: Sequence[str]) -> bool:
    """Whether one of the training's metrics has a panel at first; accuracy is shown once."""
    is_known = "monitor/accuracy" in available and _OWN_ACCURACY.fullmatch(name) is not None
    return _OWN.search(name) is not None and not is_known


def _own_metrics(run: Run) -> list[str]:
    # Whatever is wrong is said once, when the curves are read.
    return states.quietly(lambda: store.other_metrics(run.source)) or []


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
