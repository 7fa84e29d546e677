"""Where the meaning of each picked run lies, with the class and the attributes beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.curves import meaning as charts
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.read.derived import derived
from sing_monitor.app.ui import page
from sing_monitor.app.ui.drawing import MadeChart, made, show_made
from sing_monitor.app.ui.sections import Section, section
from sing_monitor.app.ui.selection import Run, Selection, is_many
from sing_monitor.app.wording.text import listed, plain

_MEANING = ("meaning/unique_seen", "meaning/shared", "meaning/unique_null", "translator/r2")
_CLASS = {"kept": "sing/retention_seen", "hidden": "sing/class_hidden"}
_ATTRIBUTE = re.compile(r"attribute/([a-z0-9_]+)_retention_seen")
# Three charts each.
_MOST, _FIRST = 6, 2
_ABOUT = (
    "Three translators read the image embeddings: one from the whole features, one from what the "
    "head sees, one from what it cannot see. How much of the embeddings' variance each explains on "
    "images that it was not fitted on tells what is said by the seen part alone, by both parts, by "
    "the null part alone, and by neither. A part that comes out slightly below 0 is drawn as 0; "
    "point at the picture for the numbers."
)
_TITLES = {
    "kept": "Kept in what the head sees",
    "hidden": "Only in what it cannot see",
}
_OF = {"kept": "of what can be read, chance apart", "hidden": "of the images"}


def take_section(chosen: Selection) -> Section | None:
    """Its place on the page; none while it is closed, and where no run has a space."""
    if not any(run.has_space for run in chosen.runs):
        return None
    title = "Where the meaning lies"
    return section(title, "pictures", is_folded=is_many(chosen.runs), holds="meaning")


def keys_of(runs: Sequence[Run]) -> list[str]:
    """The metrics that the pictures of these runs need; none where no run has them."""
    drawn = [run for run in runs if _has_meaning(run)]
    if not drawn:
        return []
    names = dict.fromkeys(name for run in drawn for name in _attributes(run))
    return [*_MEANING, *_CLASS.values(), *(key for name in names for key in _keys(name).values())]


def runs_of(chosen: Selection, long: pd.DataFrame) -> list[Run]:
    """The runs with a space; those that could not be read have no curves, and the page says why."""
    read = set(long["series"])
    return [run for run in chosen.runs if run.has_space and run.run_id in read]


def draw_meaning(
    runs: Sequence[Run],
    long: pd.DataFrame,
    x_title: str,
    domain: tuple[float, float],
    known_by: Hashable,
) -> None:
    """A row of pictures for each run that has what they need; the others are named.

    Args:
        runs: whose, from `runs_of`.
        long: from `curves.long_table`, with the metrics of `keys_of`.
        x_title: what the axis counts.
        domain: of the axis.
        known_by: names the curves.
    """
    drawn = [run for run in runs if _has_meaning(run)]
    if drawn:
        st.caption(
            "What the head sees of a feature and what it cannot see, each read on its own.",
            help=_ABOUT,
        )
    for run in _chosen(drawn):
        page.legend([run.series])
        made_of = partial(_pictures, run, long, x_title, domain)
        with st.grid(3, min_column_width=260, gap="medium") as grid:
            for chart in derived(("meaning", known_by, run.run_id), made_of):
                with grid.cell():
                    show_made(chart)
    if without := [plain(run.label) for run in runs if run not in drawn]:
        st.caption(
            f"{listed(without)}: no split at the last validation. An earlier version of "
            f"sing-monitor wrote {'them' if len(without) > 1 else 'it'}, or the images are too few "
            "for the ridge: a part is then read worse than by one constant guess. Train again, or "
            "analyze the finished model with `sing-monitor analyze`, on more images, to see it."
        )


def _chosen(runs: Sequence[Run]) -> list[Run]:
    """The runs to draw; of two there is nothing to choose."""
    if len(runs) <= _FIRST:
        return list(runs)
    by_id = {run.run_id: run for run in runs}
    first, before = list(by_id)[:_FIRST], st.session_state.get("meaning") or ()
    # All that was chosen here is no longer picked; a box that was cleared stays so.
    is_left = bool(before) and not by_id.keys() & set(before)
    if is_left:
        st.session_state["meaning"] = first
    # Streamlit takes a default and a set value for a mistake.
    default: dict[str, Any] = {} if is_left else {"default": first}
    chosen = st.multiselect(
        "Runs with pictures",
        list(by_id),
        format_func=lambda run: by_id[run].label,
        key="meaning",
        bind="query-params",
        max_selections=_MOST,
        help=f"Of the picked runs; at most {_MOST}.",
        **default,
    )
    return [by_id[run] for run in chosen]


def _pictures(
    run: Run, long: pd.DataFrame, x_title: str, domain: tuple[float, float]
) -> tuple[MadeChart, ...]:
    of_run = long[long["series"] == run.run_id]
    things = (_things(run, of_run, what, x_title, domain) for what in _CLASS)
    return (_stack(run, of_run, x_title, domain), *things)


def _stack(run: Run, of_run: pd.DataFrame, x_title: str, domain: tuple[float, float]) -> MadeChart:
    of_parts = of_run[of_run["metric"].isin(_MEANING)]
    # Validations without a split stay, as gaps.
    wide = of_parts.groupby(["epoch", "x", "metric"])["value"].mean().unstack("metric")
    parts = charts.shares(wide.reindex(columns=_MEANING).reset_index().sort_values("x"))
    last = parts.iloc[-1]
    about = f"null alone at epoch {last['epoch']:.0f}: {last['null']:.2f}"
    said = alt_text("Shares of the embeddings' variance, stacked over the epochs", [run.series])
    return made(
        charts.meaning_stack,
        charts.stacked_parts(parts),
        about,
        x_title,
        domain,
        key=f"meaning {run.run_id}",
        alt_text=said,
    )


def _things(
    run: Run, of_run: pd.DataFrame, what: str, x_title: str, domain: tuple[float, float]
) -> MadeChart:
    things = {"class": _CLASS[what]}
    for name in _attributes(run):
        # No other name holds parentheses.
        label = "class (attribute)" if name == "class" else name.replace("_", " ")
        things[label] = _keys(name)[what]
    names = {key: thing for thing, key in things.items()}
    values = of_run[of_run["metric"].isin(names)]
    values = values.assign(thing=values["metric"].map(names))[["thing", "epoch", "x", "value"]]
    panel = Panel(_TITLES[what], "share", _OF[what], ".3f", x_title, domain)
    said = alt_text(f"{panel.title}: {listed(list(things))}", [run.series])
    return made(
        charts.things_panel,
        values.dropna(subset="value"),
        panel,
        run.series,
        tuple(things),
        key=f"{what} {run.run_id}",
        alt_text=said,
    )


def _attributes(run: Run) -> list[str]:
    """Annotated attributes whose reading from what the head sees is known."""
    found = {match[1]: key for key in run.row.index if (match := _ATTRIBUTE.fullmatch(str(key)))}
    return [name for name, key in found.items() if math.isfinite(run.row[key])]


def _keys(attribute: str) -> dict[str, str]:
    return {
        "kept": f"attribute/{attribute}_retention_seen",
        "hidden": f"attribute/{attribute}_hidden",
    }


def _has_meaning(run: Run) -> bool:
    return run.has_space and all(math.isfinite(run.row.get(key, math.nan)) for key in _MEANING)
