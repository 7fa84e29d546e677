"""The scores of one image at every epoch."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from sing_monitor.app.charts import images as charts
from sing_monitor.app.charts.images import ScoreLabels
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.parts.image_cards import ImageView
from sing_monitor.app.ui import states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart

# Of the table of images, besides the scores.
NEEDED = ("image", "label", "prediction")
_ABOUT = {
    "AS": "in degrees; above zero: toward the true class once the null part is gone",
    "IS": "in degrees; how far the meaning of the image moves",
}


def draw_image_history(view: ImageView, image: str, steps: Mapping[int, tuple[int, int]]) -> None:
    """A chart for AS and one for IS, and the numbers as CSV.

    Args:
        view: what is shown; its epoch is marked.
        image: its id.
        steps: from `at_epoch.last_steps`.
    """
    wanted = [*NEEDED, *charts.COLUMNS]
    tables = epoch_tables.tables_by_epoch(
        view.run, "images", steps, columns=wanted, where=("image", image)
    )
    tables = {at: table for at, table in tables.items() if set(NEEDED) <= set(table.columns)}
    values = charts.history_of(image, tables)
    if values["epoch"].nunique() == 1:
        states.one_epoch()
    values["prediction"] = values["prediction"].map(view.name)
    with st.grid(min_column_width=360, gap="medium") as grid:
        for score, column in view.columns.items():
            with grid.cell():
                if column not in values or values[column].isna().all():
                    states.no_values(score)
                    continue
                said = ScoreLabels(column, f"{score} of this image, {view.removal}", _ABOUT[score])
                what = f"{said.title}, against epoch; run {view.run.label}"
                show_chart(
                    charts.history,
                    values,
                    said,
                    view.run.series.color,
                    view.epoch,
                    key=f"history {score}",
                    alt_text=what,
                )
    csv_button("Its history as CSV", "image_history.csv", values)
