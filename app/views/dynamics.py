"""How the weights move together, how much of that chance alone gives, and when it changed."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.analyses.dynamics.specs import FEWEST
from sing_monitor.app.charts.structure import mode_rows
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.parts.structure import class_curves, modes
from sing_monitor.app.parts.structure.modes import ModesView
from sing_monitor.app.read import store
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.widgets import epoch_slider, run_box
from sing_monitor.app.wording.regimes import change_reading, modes_reading
from sing_monitor.app.wording.text import count, plain

_EXPLAINED, _SURROGATE = "dynamics/explained", "dynamics/explained_surrogate"
_STABILITY = "dynamics/stability"
_SECTIONS = {
    "How much the modes explain": (
        "Dotted: what they explain of random walks with the same steps. The distance between both "
        "is the finding, and 0 means that there is none.",
        (
            _EXPLAINED,
            "dynamics/explained_excess",
            "dynamics/increments_excess",
            "dynamics/head_excess",
        ),
    ),
    "When it changed": (
        "1: every weight follows the reference that it followed before; 0: as by chance. A deep "
        "fall marks a change, such as a lower learning rate 5 to 8 validations before.",
        (_STABILITY,),
    ),
    "How many ways of moving": (
        "Few modes that suffice, or a large one: most weights move the same way.",
        ("dynamics/modes_95", "dynamics/largest_mode"),
    ),
    "On how much it stands": (
        "Weights are sampled. Over fewer validations modes explain more, by chance too.",
        ("dynamics/weights", "dynamics/constant", "dynamics/window"),
    ),
}
_CHANCE = {_EXPLAINED: _SURROGATE}
_INTRODUCTION = (
    "The weights of a network do not move one by one: many follow the same curve, each scaled and "
    "shifted in its own way. Ten such curves, the **modes**, are looked for. A high share "
    "explained says nothing by itself, because **chance alone explains about 0.75** of how weights "
    "move that have nothing in common: **only the excess over chance counts**."
)


def body(chosen: Selection) -> None:
    """The modes of one run at one epoch, then the curves of all runs."""
    st.markdown(_INTRODUCTION)
    long = class_curves.read_curves(chosen, _SECTIONS, _CHANCE)
    _changes(chosen, long)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        steps = epoch_tables.last_validations(run)
        # Stores are slow to say that a table is missing, and the first validations have none.
        of_run = long[(long["series"] == run.run_id) & (long["metric"] == _EXPLAINED)]
        known = set(of_run.loc[of_run["value"].notna(), "epoch"])
        at = {epoch: pair for epoch, pair in steps.items() if epoch in known}
        found = epoch_tables.tables_by_epoch(run, "modes", at, columns=["mode"]) if at else {}
        epoch = epoch_slider(sorted(found)) if found else None
    if epoch is None:
        why = _why(run, len(steps))
        states.no_table(run, "modes", "No modes in this run", bool(steps), why)
    elif (view := _view(run, steps[epoch])) is not None:
        _said(view, long)
        modes.draw_modes(view)
    st.divider()
    class_curves.draw_panels(chosen, long, _SECTIONS, _CHANCE, "dynamics.csv")


def _changes(chosen: Selection, long: pd.DataFrame) -> None:
    """A line for each run whose weights clearly changed the way in which they move together."""
    for run in chosen.runs:
        of_run = long[(long["series"] == run.run_id) & (long["metric"] == _STABILITY)]
        said = change_reading(of_run["value"].tolist(), of_run["epoch"].astype(int).tolist())
        if said:
            whose = f"**{plain(run.label)}**: " if len(chosen.runs) > 1 else ""
            st.markdown(f":material/trending_down: {whose}{said}")


def _said(view: ModesView, long: pd.DataFrame) -> None:
    """How much these modes explain; nothing where the scalars of the epoch are not known."""
    at = long[(long["series"] == view.run.run_id) & (long["epoch"] == view.epoch)]
    values = at.groupby("metric")["value"].last()
    explained, surrogate = (
        float(values.get(key, float("nan"))) for key in (_EXPLAINED, _SURROGATE)
    )
    number = view.modes.loc[view.modes["mode"] != mode_rows.STILL, "mode"].nunique()
    if said := modes_reading(view.epoch, number, explained, surrogate):
        st.markdown(said)


def _why(run: Run, validations: int) -> str:
    config = states.quietly(partial(store.config, run.source)) or {}
    if config.get("n_weights") == 0:
        return (
            "no weights were followed (`n_weights=0`, as for finished models that "
            "`sing-monitor analyze` looks at: they do not move). `SINGCallback()` follows 20,000 "
            "weights of a training."
        )
    if "n_weights" not in config:
        return (
            "an earlier version of sing-monitor wrote it, which followed no weights. Train again "
            "to see them."
        )
    if validations < FEWEST:
        return (
            f"modes are looked for from the {FEWEST}th validation on, and there "
            f"{'is' if validations == 1 else 'are'} {count(validations, 'validation')} so far: "
            "over fewer, any few curves explain all others."
        )
    return (
        "none of the weights that were followed moved, or too few of them: frozen weights have no "
        "modes. The curves below say how many moved."
    )


def _view(run: Run, at: tuple[int, int]) -> ModesView | None:
    """The modes of a validation; None where the page has said why it cannot show them."""
    tables = {}
    for name, columns in (
        ("modes", mode_rows.MODE_COLUMNS),
        ("mode_curves", mode_rows.CURVE_COLUMNS),
        ("mode_weights", mode_rows.WEIGHT_COLUMNS),
    ):
        table = epoch_tables.whole_table(run, name, at, columns)
        if table is None:
            return None
        tables[name] = table[list(columns)]
    weights, correlations = mode_rows.read_weights(tables["mode_weights"])
    return ModesView(
        run,
        at[0],
        mode_rows.read_modes(tables["modes"]),
        mode_rows.read_curves(tables["mode_curves"]),
        weights,
        correlations,
    )


page.show_page(
    "Dynamics",
    "Do the weights of the network move together, and when did the way they do so change?",
    body,
    has_degrees=False,
)
