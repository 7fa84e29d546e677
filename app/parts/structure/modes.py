"""The modes of one run at one epoch: their curves, layers and weights, with the tables as CSV."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st
from numpy import float64
from numpy.typing import NDArray

from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.structure import mode_charts, mode_rows
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Run
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import count

# More would be lines of a pixel or two.
MOST_LAYERS = 160


@dataclass(frozen=True, eq=False)
class ModesView:
    """The modes of one validation.

    Args:
        run: whose.
        epoch: of the validation.
        modes: from `mode_rows.read_modes`.
        curves: from `mode_rows.read_curves`.
        weights: from `mode_rows.read_weights`, like the next.
        correlations: of the weights.
    """

    run: Run
    epoch: int
    modes: pd.DataFrame
    curves: pd.DataFrame
    weights: pd.DataFrame
    correlations: NDArray[float64]


def draw_modes(view: ModesView) -> None:
    """Three charts, the modes as a table, and all of it to take home."""
    sizes = mode_rows.by_mode(view.modes, view.curves)
    with st.grid(min_column_width=400, gap="medium") as grid:
        with grid.cell():
            _references(view, sizes)
        with grid.cell():
            _layers(view)
        with grid.cell():
            _matrix(view)
        with grid.cell():
            _sizes(sizes)
    with st.container(horizontal=True, gap="small"):
        at = {"epoch": view.epoch}
        csv_button("Modes by layer as CSV", "modes.csv", view.modes.assign(**at))
        csv_button(
            "Reference curves as CSV", "mode_curves.csv", view.curves.assign(at_epoch=view.epoch)
        )
        csv_button("Sampled weights as CSV", "mode_weights.csv", _for_csv(view.weights, at))


def _references(view: ModesView, sizes: pd.DataFrame) -> None:
    if view.curves.empty:
        st.caption("The table of the reference curves holds no number.")
        return
    title = "What the weights follow"
    show_chart(
        mode_charts.references,
        view.curves,
        sizes,
        view.run.series.color,
        title,
        f"reference of each mode, at epoch {view.epoch} · percent: of the moving weights",
        key="references",
        alt_text=_alt(view, f"{title}: reference curves of {len(sizes)} modes"),
    )
    st.caption(
        "Each in its own standard deviations. Up and down mean nothing: a weight follows its "
        "reference or the mirror image of it."
    )


def _layers(view: ModesView) -> None:
    cells, columns, left_out = mode_rows.shares(view.modes, MOST_LAYERS)
    if cells.empty:
        st.caption("The table of the modes names no layer.")
        return
    title, layers = "In which layers", cells["depth"].nunique()
    show_chart(
        mode_charts.layer_map,
        cells,
        columns,
        title,
        "share of a layer's sampled weights · still: they never change",
        key="layers",
        alt_text=_alt(view, f"{title}: share of {count(layers, 'layer')} in each mode"),
    )
    left = f" {count(left_out, 'layer')} below are left out; the CSV has them." if left_out else ""
    st.caption(
        "Layers in the order in which the network lists them. Rows that look alike: no layer moves "
        f"on its own. A bright cell off the usual column: that layer goes its own way.{left}"
    )


def _matrix(view: ModesView) -> None:
    if view.weights.empty:
        st.caption("The table of the weights holds no curve.")
        return
    title = "How alike weights move"
    shown = len(view.weights)
    show_chart(
        mode_charts.weight_matrix,
        mode_charts.matrix_picture(view.correlations),
        mode_rows.blocks(view.weights["mode"].tolist(), view.correlations),
        title,
        f"|correlation| of any two of {count(shown, 'weight')}, sorted by mode",
        key="matrix",
        alt_text=_alt(view, f"{title}: absolute correlation of any two of {shown} weights"),
    )
    st.caption(
        "Rows and columns are the same weights. Modes are real groups as far as bright squares lie "
        "on the diagonal and all around them is dark; random walks make pale squares, too."
    )


def _sizes(sizes: pd.DataFrame) -> None:
    st.markdown("**Modes by size**")
    config = st.column_config
    st.dataframe(
        sizes.sort_values("weights", ascending=False).assign(percent=100 * sizes["share"])[
            ["mode", "weights", "percent", "reference"]
        ],
        hide_index=True,
        placeholder=metrics.MISSING,
        alt="Modes with the number of their weights and the layer of their reference",
        column_config={
            "mode": config.NumberColumn("Mode", width="small"),
            "weights": config.NumberColumn("Weights", format="%,d", help="Sampled ones."),
            "percent": config.NumberColumn(
                "Share", format="%.1f %%", help="Of the sampled weights that move."
            ),
            "reference": config.TextColumn("Layer of the reference"),
        },
    )
    st.caption(
        "A mode is no layer and no feature, and a large one is no redundancy: weights that move "
        "alike over these validations may part in the next."
    )


def _alt(view: ModesView, what: str) -> str:
    return alt_text(f"{what}, at epoch {view.epoch}", [view.run.series])


def _for_csv(weights: pd.DataFrame, at: dict[str, int]) -> pd.DataFrame:
    joined = weights["curve"].map(lambda curve: " ".join(f"{value:.6g}" for value in curve))
    return weights.assign(curve=joined, **at)
