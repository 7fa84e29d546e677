"""Metrics of the picked runs against the epoch, as several pages show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import alt_text, swatch
from sing_monitor.app.charts.curves import evolution
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.ui import hierarchies, states
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import plain


def panels(
    chosen: Selection,
    long: pd.DataFrame,
    keys: Sequence[str],
    domain: tuple[float, float],
    randoms: Mapping[str, str] | None = None,
) -> None:
    """A panel for each metric; above them, as figures, those that never change.

    Args:
        chosen: whose curves.
        long: from `curves.long_table`.
        keys: of the catalogue.
        domain: of the epochs, from `evolution.x_domain`.
        randoms: metrics of the random subspace, by key.
    """
    fixed = [key for key in keys if is_constant(long[long["metric"] == key])]
    if fixed:
        with st.container(horizontal=True, gap="large"):
            for key in fixed:
                _figure(chosen, long[long["metric"] == key], key)
    with st.grid(min_column_width=360, gap="medium") as grid:
        for key in keys:
            if key not in fixed:
                with grid.cell(), st.container(gap="xxsmall"):
                    _panel(chosen, long, key, domain, (randoms or {}).get(key))


def is_constant(values: pd.DataFrame) -> bool:
    """Whether a metric has one value in all of a run, for every run, and at several epochs.

    Args:
        values: columns series and value.
    """
    by_run = values.groupby("series")["value"]
    return len(values) > 0 and bool(
        (by_run.nunique(dropna=False).eq(1) & by_run.count().gt(1)).all()
    )


def _figure(chosen: Selection, values: pd.DataFrame, key: str) -> None:
    """The value, or one for each run where they differ."""
    known = values.groupby("series")["value"].first()
    about = f"{metrics.explanation(key)}\n\nThe same at every epoch."
    with st.container(width="content", gap="xxsmall"):
        if known.nunique() == 1:
            st.metric(plain(metrics.label(key)), metrics.value_text(key, known.iloc[0]), help=about)
            return
        st.caption(plain(metrics.label(key)), help=about)
        parts = [
            f"![{plain(run.label)}]({swatch(run.series)}) "
            f"{metrics.value_text(key, known[run.run_id])}"
            for run in chosen.runs
            if run.run_id in known
        ]
        st.markdown(" · ".join(parts))


def _panel(
    chosen: Selection,
    long: pd.DataFrame,
    key: str,
    domain: tuple[float, float],
    random: str | None,
) -> None:
    """Curves of one metric, with its help below; says so where there is no number."""
    values = long[long["metric"] == key]
    if values["value"].isna().all():
        states.no_values(metrics.label(key))
        return
    # Depths in different trees share no axis.
    for part in hierarchies.parts(chosen, key, values):
        said = Panel(
            title=metrics.label(key),
            unit=metrics.unit(key),
            direction=metrics.DIRECTIONS[metrics.better(key)],
            number_format=metrics.number_format(key),
            x_title="epoch",
            x_domain=domain,
            caveat=part.caveat or chosen.caveat(key),
        )
        show_chart(
            evolution.curve_panel,
            part.values,
            said,
            part.series,
            long[long["metric"] == random] if random else None,
            key=f"panel {key} {part.caveat}",
            alt_text=alt_text(f"{said.title} against epoch", part.series),
        )
    st.caption("How to read this", help=metrics.explanation(key))
