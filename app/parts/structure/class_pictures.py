"""The graph of the classes of a run: all of it, one cluster, or what stands around one class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.structure import relations
from sing_monitor.app.charts.structure.class_graph import MOST, class_graph
from sing_monitor.app.charts.structure.class_rows import class_rows, columns
from sing_monitor.app.charts.structure.edges import KINDS, kind_swatch, scale_swatch
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Run
from sing_monitor.app.wording.text import count, listed, plain, short

# More names are drawn by cluster only.
MOST_ROWS = 120
_COLUMNS = 2
_OUTSIDE = 6
_SIZE = "larger circle: more of its images wrong · hollow: no images"


@dataclass(frozen=True, eq=False)
class ClassView:
    """The classes of one validation.

    Args:
        run: whose.
        epoch: of the validation.
        nodes: from `relations.read_nodes`.
        edges: from `relations.read_edges`.
        clusters: from `relations.clusters`.
    """

    run: Run
    epoch: int
    nodes: pd.DataFrame
    edges: pd.DataFrame
    clusters: pd.DataFrame

    @property
    def largest_error(self) -> float:
        """Of all classes; 0 where none has images."""
        return float(self.nodes["error"].max()) if self.nodes["error"].notna().any() else 0.0

    def of(self, names: list[str]) -> pd.DataFrame:
        """The nodes of these names."""
        return self.nodes[self.nodes["class"].isin(names)]


def draw_classes(view: ClassView) -> list[str]:
    """Choices, legend and picture; gives the names of the classes that are shown."""
    name, members = _choices(view)
    _legend()
    everything = view.nodes["class"].tolist()
    if name is not None:
        shown = relations.around(view.edges, name, MOST)
        _graph(view, shown, f"{name} and the classes around it", [name])
        return shown
    if members is not None:
        title = f"A cluster of {len(members):,} classes" if len(members) > 1 else "A class alone"
        if len(members) <= MOST:
            room = min(_OUTSIDE, MOST - len(members))
            outside = relations.confused_with(view.edges, members, room)
            _graph(view, [*members, *outside], title, outside=outside)
            return [*members, *outside]
        own = view.clusters[view.clusters["members"].map(lambda each: each == members)]
        return _rows(view, own, members)
    if len(everything) <= MOST:
        _graph(view, everything, f"All {len(everything):,} classes")
        return everything
    return _rows(view, view.clusters, everything)


def _choices(view: ClassView) -> tuple[str | None, list[str] | None]:
    """A class, the members of a cluster, or nothing of both."""
    named: dict[str, list[str]] = {}
    for row in view.clusters.to_dict("records"):
        name = row["name"] if row["name"] not in named else f"{row['name']} ({row['cluster']})"
        named[name] = row["members"]
    needs_one = len(view.nodes) > MOST_ROWS
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        cluster = st.selectbox(
            "Cluster",
            list(named),
            index=None,
            placeholder=next(iter(named)) if needs_one else f"All {len(named):,} clusters",
            key="cluster",
            bind="query-params",
            help="Classes whose templates in the head are alike, by affinity propagation. A "
            "cluster is called by its most central classes; those with the most errors come first.",
        )
        name = st.selectbox(
            "Class",
            view.nodes["class"].tolist(),
            index=None,
            placeholder="Any class",
            key="class",
            bind="query-params",
            help="The class, its neighbors and theirs.",
        )
    if needs_one and name is None:
        st.caption(
            f"{len(view.nodes):,} classes in {count(len(named), 'cluster')}: one cluster, or what "
            "stands around one class, is drawn at a time."
        )
    if cluster is None and needs_one:
        # That of whatever epoch is shown.
        cluster = next(iter(named))
    return name, named.get(cluster) if cluster is not None else None


def _legend() -> None:
    kinds = [f"![]({kind_swatch(kind)}) {text}" for kind, text in KINDS.items()]
    scale = f"similarity -1 ![orange, gray, blue, violet]({scale_swatch()}) 1"
    st.markdown(
        " &emsp; ".join([*kinds, scale]),
        help="The similarity of two classes is the cosine of their templates, which are their rows "
        "of the head's matrix less the mean row. One scale for all clusters, epochs and runs.",
    )


def _graph(
    view: ClassView,
    names: list[str],
    title: str,
    picked: Sequence[str] = (),
    outside: Sequence[str] = (),
) -> None:
    gray = "gray names: classes of other clusters that are confused with these" if outside else ""
    show_chart(
        class_graph,
        view.of(names)[list(relations.NODE_COLUMNS)],
        relations.among(view.edges, names)[[*relations.EDGE_COLUMNS, "kind"]],
        short(title, 60),
        [f"epoch {view.epoch} · {_SIZE}", gray],
        view.largest_error,
        picked,
        outside,
        key="class graph",
        alt_text=alt_text(f"Class graph at epoch {view.epoch}: {title}", [view.run.series]),
    )


def _rows(view: ClassView, clusters: pd.DataFrame, names: list[str]) -> list[str]:
    """Clusters as far as they fit, in columns."""
    fits = clusters["classes"].cumsum() <= MOST_ROWS
    shown = clusters[fits]
    if shown.empty:
        members = clusters["members"].iloc[0][:MOST_ROWS]
        shown = clusters.head(1).assign(members=[members], classes=len(members))
    found = [name for members in shown["members"] for name in members]
    st.caption(
        f"Epoch {view.epoch}. Each tree is a cluster of classes that the head holds alike, from "
        "its most central class down. At the right: what a class is confused with most, and how "
        f"often; in orange where the head does not hold the two alike. {_SIZE[0].upper()}"
        f"{_SIZE[1:]}."
    )
    if len(found) < len(names):
        st.caption(
            f"{len(found):,} of {len(names):,} classes are drawn, the most central; pick a class "
            "to see what stands around it."
        )
    parts = columns(shown, view.nodes, view.edges, _COLUMNS)
    with st.grid(min_column_width=380, gap="medium") as grid:
        for number, column in enumerate(parts):
            with grid.cell():
                first = listed([plain(name) for name in column.nodes["class"].head(3)])
                show_chart(
                    class_rows,
                    column,
                    view.largest_error,
                    key=f"class rows {number}",
                    alt_text=alt_text(f"Trees of classes: {first} and more", [view.run.series]),
                )
    return found
