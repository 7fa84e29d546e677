"""Curves of the groups that have a page of their own, in sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.curves import evolution
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
    draw_panels(chosen, read_curves(chosen, sections, randoms), sections, randoms, file_name)


def read_curves(
    chosen: Selection,
    sections: Mapping[str, tuple[str, Sequence[str]]],
    randoms: Mapping[str, str],
) -> pd.DataFrame:
    """What `draw_panels` draws, from `curves.long_table`."""
    read = [*(key for _, section in sections.values() for key in section), *randoms.values()]
    labels = {run.run_id: run.label for run in chosen.runs}
    return curves.long_table(page.read_histories(chosen.runs, read), read, labels=labels)


def draw_panels(
    chosen: Selection,
    long: pd.DataFrame,
    sections: Mapping[str, tuple[str, Sequence[str]]],
    randoms: Mapping[str, str],
    file_name: str,
) -> None:
    """The same from curves that have been read.

    Args:
        chosen: see `draw_curves`, like all that is not named here.
        long: from `read_curves`.
        sections: see there.
        randoms: see there.
        file_name: see there.
    """
    keys = [key for _, section in sections.values() for key in section]
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
    beside = [key for key, random in randoms.items() if random in known]
    page.legend(
        chosen.series,
        with_chance=any(map(metrics.is_against_chance, beside)),
        with_walks=any(map(metrics.is_against_walks, beside)),
    )
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
