"""The head as linear algebra: what it reads, what it ignores, and how features collapse."""

from __future__ import annotations

import streamlit as st

from sing_monitor.app.charts import geometry as charts
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.curves import evolution
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.parts.structure.depth import OF_STAGES, draw_depth
from sing_monitor.app.read import curves
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.panels import panels
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.ui.widgets import epoch_slider
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import count

_ROOM = "Room of the features"
_SECTIONS = {
    "Head and null space": (
        "head/rank",
        "head/null_dim",
        "head/null_energy",
        "head/null_energy_centered",
        "head/mean_share",
        "head/null_angle",
        "head/drift",
        "head/condition",
    ),
    "Neural collapse": (
        "collapse/nc1",
        "collapse/nc2_equinorm",
        "collapse/nc2_equiangle",
        "collapse/nc3",
        "collapse/nc4",
    ),
    "Where the null space lies": (
        "collapse/null_share_between",
        "collapse/null_share_within",
    ),
    _ROOM: (
        "layers/effective_rank",
        "layers/pca_95",
        "layers/classification_dimension",
        OF_STAGES,
    ),
}
# Runs of earlier versions, and those without stages, lack some of it.
_IF_LOGGED = frozenset(_SECTIONS[_ROOM])
_ABOUT = {
    "Head and null space": "The head reads as many directions of a feature as its rank; the others "
    "change no logit. Null energy is how much of the features lies in those.",
    "Neural collapse": "Late in training the features of a class often shrink to a point, and the "
    "points stand as far apart as they can. All of these go to 0 then.",
    "Where the null space lies": "The share of the differences between class means, and of those "
    "within a class, that the head cannot see.",
    _ROOM: "In how many directions features vary, those before the head in the curves. Networks "
    "keep fewer as classes collapse: about as many as there are classes, less one.",
}
_COLUMNS = ("index", "singular_value", "in_row_space")


def body(chosen: Selection) -> None:
    """Curves in three sections, and the spectrum of the head."""
    keys = [key for section in _SECTIONS.values() for key in section]
    randoms = {key: random for key in keys if (random := metrics.baseline_of(key))}
    histories = page.read_histories(chosen.runs, [*keys, *randoms.values()])
    labels = {run.run_id: run.label for run in chosen.runs}
    long = curves.long_table(histories, [*keys, *randoms.values()], labels=labels)
    if long.empty:
        states.no_validation()
        return
    if long.groupby("series")["epoch"].nunique().max() == 1:
        states.one_epoch()
    long = curves.add_difference(long, chosen.baseline.run_id if chosen.baseline else None)
    long = long.drop(columns=["timestamp", "global_step"])
    page.legend(chosen.series, with_random=bool(randoms))
    domain = evolution.x_domain(long["x"])
    for name, section in _SECTIONS.items():
        st.subheader(name, anchor=False)
        st.caption(_ABOUT[name])
        logged = set(long["metric"])
        shown = [key for key in section if key in logged or key not in _IF_LOGGED]
        panels(chosen, long, shown, domain, randoms)
        if name == _ROOM:
            draw_depth(chosen, long)
        if name == "Head and null space":
            # A fragment of its own: moving the slider redraws no curve.
            st.fragment(_spectrum)(chosen)
    csv_button("All curves as CSV", "geometry.csv", long.drop(columns="x"))


def _spectrum(chosen: Selection) -> None:
    known = epoch_tables.validations(chosen.runs)
    epochs = sorted({epoch for pairs in known.values() for epoch, _ in pairs})
    if not epochs:
        st.info(
            "The picked runs hold no tables so far, so there are no singular values to show.",
            icon=":material/hourglass_empty:",
        )
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        epoch = epoch_slider(epochs, label="Singular values at epoch")
        is_log = st.toggle("Logarithmic", value=False, key="log", bind="query-params")
    values = epoch_tables.tables_of_runs(chosen.runs, "spectrum", _COLUMNS, epoch, known)
    if not values["singular_value"].notna().any():
        states.no_values("Singular values of the head")
        return
    about = f"epoch {epoch} · hollow and gray: beyond the rank, of no use to the head"
    what = f"Singular values of the head at epoch {epoch}"
    show_chart(
        charts.spectrum,
        values,
        about,
        bool(is_log),
        chosen.series,
        key="spectrum",
        alt_text=alt_text(what, chosen.series),
    )
    hidden = int((values["singular_value"] <= 0).sum()) if is_log else 0
    if hidden:
        st.caption(f"{count(hidden, 'value')} at 0 left out: a logarithmic axis cannot show 0.")
    csv_button("Spectrum as CSV", "spectrum.csv", values.assign(epoch=epoch))


page.show_page(
    "Geometry",
    "What the head reads of the features, what it cannot see, and how that changes.",
    body,
    has_degrees=False,
)
