"""How every page runs: title, empty states, legend, and refreshing while a run grows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import SeriesStyle, cross_swatch, random_swatch, swatch
from sing_monitor.app.read import curves, store
from sing_monitor.app.read.run_list import REFRESH_SECONDS
from sing_monitor.app.ui import selection, states
from sing_monitor.app.ui.selection import RUNNING, Run, Selection, differences
from sing_monitor.app.ui.settings import tracking_uri
from sing_monitor.app.wording import degrees, support_marks
from sing_monitor.app.wording.text import plain
from sing_monitor.tracking import StoreError

Body = Callable[[Selection], None]


def show_page(
    title: str, about: str, body: Body, *, needs_picks: bool = True, has_degrees: bool = True
) -> None:
    """Run a page: its head, then its body, or what stands in the body's place.

    The body is a fragment: its widgets run it again without the rest of the page, and it must not
    write to the sidebar. While a picked run grows, it is drawn anew after every validation. What
    the user should see whenever runs are compared (ids that the store lacks, yardsticks that
    differ) is said here.

    Args:
        title: of the page.
        about: one sentence, Markdown.
        body: draws the page from the selection.
        needs_picks: False for pages that make sense without a picked run.
        has_degrees: whether it shows scores of several runs side by side.
    """
    st.title(title, anchor=False)
    st.caption(about)
    chosen = _selection()
    if chosen is None:
        _wait()
        return
    if chosen.unknown:
        states.unknown_runs(chosen.unknown, others=bool(chosen.runs))
    if chosen.left_out:
        states.too_many(len(chosen.runs), chosen.left_out)
    if needs_picks and not chosen.runs:
        states.nothing_picked()
        return
    if again := [run for run in chosen.runs if run.origin]:
        states.rescored(again)
    if unlike := differences(chosen.runs):
        states.different_yardsticks(unlike)
    if has_degrees:
        _about_degrees(chosen)

    @st.fragment
    def redrawn() -> None:
        now = _selection()
        if now is None:
            return
        if needs_picks and not now.runs:
            st.rerun()
        body(now)
        _about_incomplete(now)

    redrawn()
    is_live = chosen.is_live if needs_picks else chosen.listing["status"].eq(RUNNING).any()
    if is_live:
        _watch(chosen)


def legend(
    series: Sequence[SeriesStyle],
    *,
    with_random: bool = False,
    with_chance: bool = False,
    with_walks: bool = False,
    with_crosses: bool = False,
) -> None:
    """One entry for each series, as its lines look; names wrap with the width of the page.

    Args:
        series: what the charts of the page show.
        with_random: also explain the dotted lines of random subspaces.
        with_chance: also explain those of what chance alone gives.
        with_walks: also explain those of random walks.
        with_crosses: also explain the cross.
    """
    with st.container(horizontal=True, gap="medium"):
        for each in series:
            note = " *(baseline)*" if each.is_baseline else ""
            st.markdown(
                f"![]({swatch(each)}) {plain(each.label)}{note}",
                width="content",
            )
        if with_random:
            st.markdown(
                f"![]({random_swatch()}) random subspace of the same size",
                width="content",
                help="What happens when a random subspace as large as the null space is removed. "
                "A score says something about the head only where it leaves this line.",
            )
        if with_chance:
            st.markdown(
                f"![]({random_swatch()}) chance: the classes permuted",
                width="content",
                help="The same number on average when the classes of the errors are exchanged at "
                "random. Likeness explains errors only as far as a curve lies above it.",
            )
        if with_walks:
            st.markdown(
                f"![]({random_swatch()}) chance: random walks",
                width="content",
                help="What modes explain of walks with the same steps, each forward or back at "
                "random. Modes tell something only as far as a curve lies above it.",
            )
        if with_crosses:
            st.markdown(
                f"![]({cross_swatch()}) out of support",
                width="content",
                help=f"{support_marks.OUT_OF_SUPPORT} {support_marks.MARK_RULE}",
            )


def read_histories(
    runs: Sequence[Run], keys: Sequence[str], others: Sequence[str] = ()
) -> dict[str, pd.DataFrame]:
    """Curves of the picked runs by run id, from `training_history`.

    A run that cannot be read is absent, and the page has said why.

    Args:
        runs: picked.
        keys: of the catalogue.
        others: metrics that no monitor logged, from `store.other_metrics`.
    """
    wanted = (*keys, curves.STAGE)
    with st.spinner("Reading curves …"):
        all_at_once = partial(store.histories, [run.source for run in runs], wanted, others)
        found = states.quietly(all_at_once) or {}
        for run in runs:
            # One that cannot be read must not take the others away.
            if run.source not in found:
                one = states.attempt(partial(store.histories, [run.source], wanted, others), run)
                found |= one or {}
    return {run.run_id: found[run.source] for run in runs if run.source in found}


def _about_degrees(chosen: Selection) -> None:
    """Say where degrees do not compare, or would grow with the probe."""
    if unlike := degrees.unlike(chosen.last_values):
        states.different_degrees(unlike)
    growing = [
        (run.label, found)
        for run in chosen.runs
        if run.has_space and (found := degrees.saturation(run.row.to_dict())) is not None
    ]
    if growing:
        states.degrees_that_grow(growing)


def _about_incomplete(chosen: Selection) -> None:
    """Name the validations that the page cannot show; what it has read already tells."""
    for run in chosen.runs:
        # A run that cannot be read has been named by the page.
        if pairs := states.quietly(partial(store.incomplete, run.source)):
            states.incomplete_validations(run, pairs)


def _watch(drawn: Selection) -> None:
    """Draw the page anew when a run has changed, and not before: redrawn charts flicker."""

    @st.fragment(run_every=REFRESH_SECONDS)
    def look() -> None:
        try:
            has_changed = selection.current().pulse != drawn.pulse
        # A server that is away for a moment is no reason to take the charts away.
        except StoreError:
            return
        if has_changed:
            st.rerun()

    look()


def _wait() -> None:
    """Look again every few seconds whether there is something to show by now."""

    @st.fragment(run_every=REFRESH_SECONDS)
    def look() -> None:
        try:
            is_there = not selection.current().listing.empty
        except (StoreError, ValueError):
            return
        if is_there:
            st.rerun()

    look()


def _selection() -> Selection | None:
    """The selection, or None after the page has said why there is none."""
    try:
        uri = tracking_uri()
    except ValueError as error:
        states.wrong_option(error)
        return None
    try:
        chosen = selection.current()
    except StoreError as error:
        states.unreachable(error, uri)
        return None
    if chosen.listing.empty:
        states.no_runs(uri)
        return None
    return chosen
