"""How the numbers of the picked runs move while the models train."""

from __future__ import annotations

from functools import partial

import streamlit as st

from sing_monitor.app.parts import alert_list, intervals
from sing_monitor.app.parts.evolution import controls, meaning_pictures, numbers, panels
from sing_monitor.app.parts.evolution.panels import Cell, Curves
from sing_monitor.app.read.derived import derived
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.drawing import show_made
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.wording import metrics


def body(chosen: Selection) -> None:
    """Controls, legend, one panel for each metric, where the meaning lies, then the table."""
    view = controls.choose_curves(chosen)
    read = list(dict.fromkeys([*view.read, *meaning_pictures.keys_of(chosen.runs)]))
    histories = page.read_histories(chosen.runs, read, view.own)
    epochs = panels.epochs_of(histories)
    if not epochs or not (read or view.own):
        states.no_validation()
        return
    sure = intervals.by_run(chosen.runs, epochs) if view.with_intervals else {}
    alerted = alert_list.of_runs(chosen.runs)
    # All that the charts are made from; what only draws stays outside.
    known_by = (
        *("evolution", chosen.known_by, repr(view)),
        tuple((run, len(history)) for run, history in histories.items()),
        tuple((run, intervals.known_by(table)) for run, table in sure.items()),
        repr(alerted.to_dict("records")),
    )
    shown = derived(
        known_by,
        partial(panels.curves_of, chosen, view, read, histories, sure, alerted),
    )
    if shown.has_one_epoch:
        states.one_epoch()
    page.legend(
        shown.series,
        with_random=shown.with_random,
        with_chance=shown.with_chance,
        with_walks=shown.with_walks,
        with_crosses=shown.with_crosses,
    )
    alert_list.show_alerts(chosen.runs, alerted, "" if view.by_seeds else " below")
    if sure:
        intervals.show_note()
    _panels(shown)
    meaning_pictures.draw_meaning(chosen, shown.long, shown.x_title, shown.x_domain, known_by)
    if not shown.table.empty:
        # A fragment of its own: moving the slider redraws no chart.
        st.fragment(numbers.draw_numbers)(
            chosen, shown.table, known_by, with_intervals=view.with_intervals
        )


def _panels(shown: Curves) -> None:
    for heading, cells in shown.sections:
        if heading:
            st.subheader(metrics.group_label(heading), anchor=False)
        with st.grid(min_column_width=360, gap="medium") as grid:
            for cell in cells:
                with grid.cell(), st.container(gap="xxsmall"):
                    _cell(cell)


def _cell(cell: Cell) -> None:
    if not cell.charts:
        states.no_values(cell.label)
        return
    for chart in cell.charts:
        show_made(chart)
    if cell.below:
        st.caption(cell.below, help=cell.about)


page.show_page(
    "Evolution",
    "Is class meaning hidden from the head, since when, and is one run better than another?",
    body,
)
