"""Any stored table of a run with its columns explained, and the curves that have no page."""

from __future__ import annotations

import streamlit as st

from sing_monitor.app.charts.curves import evolution
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.read import curves, stored_tables
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.panels import panels
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.widgets import epoch_slider, run_box
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import count, plain

# Every other group has its curves here, so that a new analysis needs no page.
_WITH_A_PAGE = frozenset(
    {"sing", "attribute", "head", "translator", "support", "collapse", "steer", "monitor"}
    | {"hierarchy", "similarity", "dynamics"}
)
_MOST_ROWS = 2000


def body(chosen: Selection) -> None:
    """One table of one validation, then the curves."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        steps = epoch_tables.last_validations(run)
        epoch = epoch_slider(sorted(steps)) if steps else None
    if epoch is None:
        st.info(
            f"{plain(run.label)} holds no tables so far. They are written after each validation.",
            icon=":material/hourglass_empty:",
        )
    else:
        _table(run, steps[epoch])
    _curves(chosen)


def _table(run: Run, at: tuple[int, int]) -> None:
    names = states.attempt(lambda: stored_tables.names(run.source, *at), run)
    if not names:
        return
    name = st.selectbox(
        "Table",
        names,
        format_func=lambda each: metrics.table_spec_of(each).title,
        key="table",
        bind="query-params",
        width=420,
    )
    spec = metrics.table_spec_of(name)
    table = states.attempt(lambda: stored_tables.table(run.source, name, *at), run)
    if table is None:
        return
    row = f"Each row is {spec.plain[0].lower()}{spec.plain[1:]}" if spec.columns else spec.plain
    st.markdown(plain(row))
    shown = f"the first {_MOST_ROWS:,} of " if len(table) > _MOST_ROWS else ""
    st.caption(
        f"{plain(run.label)} at epoch {at[0]}: {shown}{count(len(table), 'row')}. Point at the "
        "name of a column to see what it holds; the CSV file has every row."
    )
    st.dataframe(
        table.head(_MOST_ROWS),
        hide_index=True,
        placeholder=metrics.MISSING,
        alt=f"{spec.title} of {run.label} at epoch {at[0]}",
        column_config={
            column: st.column_config.Column(help=metrics.column_help(spec, column))
            for column in table.columns
        },
    )
    csv_button("This table as CSV", f"{name}.csv", table)


def _curves(chosen: Selection) -> None:
    labels = {run.run_id: run.label for run in chosen.runs}
    logged = metrics.in_catalogue_order(key for key in chosen.listing.columns if "/" in key)
    keys = [key for key in logged if metrics.spec_of(key).group.name not in _WITH_A_PAGE]
    long = curves.long_table(page.read_histories(chosen.runs, keys), keys, labels=labels)
    long = long.groupby(["series", "metric"]).filter(lambda rows: rows["value"].notna().any())
    if long.empty:
        return
    page.legend([each for each in chosen.series if each.key in set(long["series"])])
    long = curves.add_difference(long, chosen.baseline.run_id if chosen.baseline else None)
    long = long.drop(columns=["timestamp", "global_step"])
    domain = evolution.x_domain(long["x"])
    for group in metrics.groups():
        mine = [key for key in keys if metrics.spec_of(key).group == group]
        rows = long[long["metric"].isin(mine)]
        if rows.empty:
            continue
        st.subheader(group.title, anchor=False)
        panels(chosen, long, mine, domain)
        csv_button("These curves as CSV", f"{group.name}_curves.csv", rows.drop(columns="x"))


page.show_page(
    "Tables",
    "Every table that a run stored, with what its columns mean, and the curves that no other page "
    "shows.",
    body,
    has_degrees=False,
)
