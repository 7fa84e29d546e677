"""How the numbers of the picked runs move while the models train."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from sing_monitor.app.parts import alert_list, intervals
from sing_monitor.app.parts.evolution import controls, meaning_pictures, numbers, panels
from sing_monitor.app.parts.evolution.controls import CurveView
from sing_monitor.app.parts.evolution.panels import Cell, Curves
from sing_monitor.app.read.derived import derived
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.drawing import show_made
from sing_monitor.app.ui.sections import section
from sing_monitor.app.ui.selection import Selection, is_many
from sing_monitor.app.wording import metrics


def body(chosen: Selection) -> None:
    """Controls, legend, one panel for each metric, where the meaning lies, then the table."""
    view = controls.choose_curves(chosen)
    # Their places are taken first: of what stays closed nothing is read.
    above = st.container()
    more = controls.take_section(view)
    meaning = meaning_pictures.take_section(chosen)
    table = section("Numbers", "numbers", is_folded=is_many(chosen.runs), holds="epoch")
    if not more:
        view = replace(view, more=[])
    pictured = meaning_pictures.keys_of(chosen.runs) if meaning else []
    with above:
        shown, known_by = _curves(chosen, view, list(dict.fromkeys([*view.read, *pictured])))
    if shown is None:
        return
    if more:
        with more.drawn():
            _panels(shown.more)
    runs = meaning_pictures.runs_of(chosen, shown.long)
    if meaning and runs:
        with meaning.drawn():
            meaning_pictures.draw_meaning(runs, shown.long, shown.x_title, shown.x_domain, known_by)
    if table and not shown.table.empty:
        with table.drawn():
            # A fragment of its own: moving the slider redraws no chart.
            st.fragment(numbers.draw_numbers)(
                chosen, shown.table, known_by, with_intervals=view.with_intervals
            )


def _curves(
    chosen: Selection, view: CurveView, read: Sequence[str]
) -> tuple[Curves | None, Hashable]:
    """Draw the panels that are always open; all that was made, and what it is known by."""
    if not (read or view.own):
        states.no_metric()
        return None, None
    histories = page.read_histories(chosen.runs, read, view.own)
    epochs = panels.epochs_of(histories)
    if not epochs:
        states.no_validation()
        return None, None
    sure = intervals.by_run(chosen.runs, epochs) if view.with_intervals else {}
    alerted = alert_list.of_runs(chosen.runs)
    # All that the charts are made from; what only draws stays outside.
    known_by = (
        *("evolution", chosen.known_by, repr(view), tuple(read)),
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
    for heading, cells in shown.sections:
        if heading:
            st.subheader(metrics.group_label(heading), anchor=False)
        _panels(cells)
    return shown, known_by


def _panels(cells: Sequence[Cell]) -> None:
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
