"""One metric of the picked runs against the epoch, as several pages show it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from sing_monitor.app import metrics, states
from sing_monitor.app.charts import evolution
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.panel import Panel
from sing_monitor.app.drawing import draw
from sing_monitor.app.selection import Selection


def panel(
    chosen: Selection,
    long: pd.DataFrame,
    key: str,
    domain: tuple[float, float],
    random: str | None = None,
) -> None:
    """Curves of one metric, with its help below; says so where there is no number.

    Args:
        chosen: whose curves.
        long: from `curves.long_table`.
        key: of the catalogue.
        domain: of the epochs, from `evolution.x_domain`.
        random: the metric of the random subspace.
    """
    values = long[long["metric"] == key]
    if values["value"].isna().all():
        states.no_values(metrics.label(key))
        return
    said = Panel(
        title=metrics.label(key),
        unit=metrics.unit(key),
        direction=metrics.DIRECTIONS[metrics.better(key)],
        number_format=metrics.number_format(key),
        x_title="epoch",
        x_domain=domain,
        caveat=chosen.caveat(key),
    )
    draw(
        evolution.curves,
        values,
        said,
        chosen.series,
        long[long["metric"] == random] if random else None,
        key=f"panel {key}",
        alt_text=alt_text(f"{said.title} against epoch", chosen.series),
    )
    st.caption("How to read this", help=metrics.explanation(key))
