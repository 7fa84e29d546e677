"""The sidebar that all pages share: which runs, which baseline, which store."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import streamlit as st

from sing_monitor.app.read import store
from sing_monitor.app.ui import selection
from sing_monitor.app.ui.selection import MAX_RUNS, Picks, Selection
from sing_monitor.app.ui.settings import tracking_uri
from sing_monitor.app.wording.text import code, short
from sing_monitor.tracking import StoreError, shown_address

_UNNAMED = "(unnamed)"


def draw_sidebar() -> None:
    """Draw the sidebar. Without a readable store or without runs it only says which store."""
    with st.sidebar:
        try:
            chosen = selection.current()
        # The page says what is wrong, with more room for it.
        except (StoreError, ValueError):
            _store()
            return
        if not chosen.listing.empty:
            picks = selection.picks(chosen.listing)
            _experiment(chosen, picks)
            _monitor(picks)
            _runs(chosen, picks)
            _baseline(chosen, picks)
        _store()


def _experiment(chosen: Selection, picks: Picks) -> None:
    names = chosen.listing.drop_duplicates("experiment_id").set_index("experiment_id")["experiment"]
    if len(names) < 2:
        return
    if picks.experiment not in names.index:
        picks.experiment = None
    _choice(
        "Experiment",
        ["", *names.index],
        picks.experiment,
        lambda value: setattr(picks, "experiment", value),
        lambda value: short(names[value], 60) if value else "All experiments",
        key="sidebar_experiment",
        help="Whose runs are offered below. Runs that are already picked stay.",
    )


def _monitor(picks: Picks) -> None:
    """Only where a run holds several monitors is there anything to choose."""
    found = store.listing(tracking_uri())
    several = found[found["run_id"].duplicated(keep=False)]
    names = sorted({name or "" for name in several["name"]})
    if not names:
        return
    if picks.monitor not in names:
        picks.monitor = names[0]
    _choice(
        "Monitor",
        names,
        picks.monitor or "",
        lambda value: setattr(picks, "monitor", value),
        lambda value: value or _UNNAMED,
        key="sidebar_monitor",
        help="Some runs were watched by several monitors, each with its own head or space.",
    )


def _runs(chosen: Selection, picks: Picks) -> None:
    label = _labels(chosen)
    offered = offered_runs(chosen.listing, picks)
    st.session_state["sidebar_runs"] = list(picks.runs)
    st.multiselect(
        "Runs",
        offered,
        format_func=lambda run: label[run],
        key="sidebar_runs",
        on_change=lambda: picks.pick(st.session_state["sidebar_runs"]),
        max_selections=MAX_RUNS,
        placeholder="Pick the runs to look at",
        help=f"Shown on every page, in fixed colors; at most {MAX_RUNS}. "
        "The page's address remembers them: copy it to share this view.",
    )


def _labels(chosen: Selection) -> dict[str, str]:
    return dict(zip(chosen.listing["run_id"], chosen.listing["label"], strict=True))


def offered_runs(listing: pd.DataFrame, picks: Picks) -> list[str]:
    """Runs of the chosen experiment, and those already picked."""
    if picks.experiment is None:
        return listing["run_id"].tolist()
    mine = listing["experiment_id"].eq(picks.experiment) | listing["run_id"].isin(picks.runs)
    return listing.loc[mine, "run_id"].tolist()


def _baseline(chosen: Selection, picks: Picks) -> None:
    label = _labels(chosen)
    _choice(
        "Baseline",
        ["", *picks.runs],
        picks.baseline,
        lambda value: setattr(picks, "baseline", value),
        lambda value: label[value] if value else "No baseline",
        key="sidebar_baseline",
        help="Drawn dashed. The other runs are compared with it.",
    )


def _choice(
    label: str,
    options: list[str],
    value: str | None,
    choose: Callable[[str | None], None],
    name: Callable[[str], str],
    *,
    key: str,
    help: str,
) -> None:
    st.session_state[key] = value or ""
    st.selectbox(
        label,
        options,
        format_func=name,
        key=key,
        on_change=lambda: choose(st.session_state[key] or None),
        help=help,
    )


def _store() -> None:
    st.space("small")
    try:
        uri = shown_address(tracking_uri())
    except ValueError:
        return
    st.caption(f"Store: {code(short(uri, 70))}")
    st.button(
        "Reload",
        icon=":material/refresh:",
        on_click=store.forget,
        help="Read everything again. Runs in progress refresh by themselves.",
    )
