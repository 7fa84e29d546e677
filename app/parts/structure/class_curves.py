"""How deep the hierarchy of the head is over training, and how far errors follow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from sing_monitor.app.charts import evolution
from sing_monitor.app.read import curves
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.panels import panels
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import listed, plain


def draw_curves(
    chosen: Selection,
    sections: Mapping[str, tuple[str, Sequence[str]]],
    randoms: Mapping[str, str],
    file_name: str,
) -> None:
    """Panels in sections; metrics without any number are named below, not drawn.

    Args:
        chosen: whose curves.
        sections: heading -> what it says, and metrics of the catalogue.
        randoms: what chance gives, by metric.
        file_name: of the CSV file.
    """
    keys = [key for _, section in sections.values() for key in section]
    read = [*keys, *randoms.values()]
    labels = {run.run_id: run.label for run in chosen.runs}
    long = curves.long_table(page.read_histories(chosen.runs, read), read, labels=labels)
    if long.empty:
        states.no_validation()
        return
    known = set(long.loc[long["value"].notna(), "metric"])
    if not known & set(keys):
        st.caption("No curves: the picked runs logged no number of these groups.")
        return
    if long.groupby("series")["epoch"].nunique().max() == 1:
        states.one_epoch()
    long = curves.add_difference(long, chosen.baseline.run_id if chosen.baseline else None)
    long = long.drop(columns=["timestamp", "global_step"])
    page.legend(chosen.series, with_chance=bool(known & set(randoms.values())))
    domain = evolution.x_domain(long["x"])
    for name, (about, section) in sections.items():
        drawn = [key for key in section if key in known]
        if not drawn:
            continue
        st.subheader(name, anchor=False)
        st.caption(about)
        panels(chosen, long, drawn, domain, randoms)
    if without := [plain(metrics.label(key)) for key in keys if key not in known]:
        st.caption(f"Undefined at every validation, or not logged: {listed(without)}.")
    csv_button("All curves as CSV", file_name, long.drop(columns="x"))
