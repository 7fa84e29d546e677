"""Which classes the head holds alike, and which of its errors follow from that."""

from __future__ import annotations

import streamlit as st

from sing_monitor.app.charts.structure import relations
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.parts.structure import class_curves, class_pairs, class_pictures
from sing_monitor.app.parts.structure.class_pictures import ClassView
from sing_monitor.app.ui import hierarchies, page, states
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.widgets import epoch_slider, run_box
from sing_monitor.app.wording.text import plain

_SECTIONS = {
    "How specific the hierarchy is": (
        "How deep in a tree of classes the nearest common ancestors of alike classes lie: the "
        "deeper, the more specific is what the head holds alike. Depths of different trees never "
        "share a panel.",
        (
            "hierarchy/similarity_depth",
            "hierarchy/similarity_depth_clustered",
            "hierarchy/similarity_depth_relative",
            "hierarchy/agreement",
            "hierarchy/confusion_depth",
            "hierarchy/similarity_depth_raw",
            "hierarchy/similarity_depth_clustered_raw",
        ),
    ),
    "Compared with the texts of the classes": (
        "The same question with the semantic space as the reference: no depth in a tree.",
        ("hierarchy/soft_depth", "hierarchy/soft_agreement"),
    ),
    "How far errors follow it": (
        "The share of the main confusions that lie between classes held alike. Read it against "
        "chance: one large cluster explains everything, whatever the errors are.",
        (
            "hierarchy/compliance_direct",
            "hierarchy/compliance_extended",
            "hierarchy/confusion_agreement",
            "hierarchy/errors",
        ),
    ),
    "Its shape": (
        "Clusters of alike classes, and how much of the tree is new since the last validation.",
        ("hierarchy/clusters", "hierarchy/error_clusters", "hierarchy/tree_change"),
    ),
}
_CHANCE = {
    "hierarchy/compliance_direct": "hierarchy/compliance_direct_chance",
    "hierarchy/compliance_extended": "hierarchy/compliance_extended_chance",
}
_WHY = (
    "An earlier version of sing-monitor wrote the run, or its images had no labels. Analyze the "
    "finished model with `sing-monitor analyze` to see its classes."
)


def body(chosen: Selection) -> None:
    """The graph of one run at one epoch with its pairs, then the curves of all runs."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        steps = epoch_tables.last_validations(run)
        found = epoch_tables.tables_by_epoch(run, "class_graph", steps, columns=["class"])
        epoch = epoch_slider(sorted(found)) if found else None
    if epoch is None:
        states.no_table(run, "class_graph", "No class graph in this run", bool(steps), _WHY)
    elif (view := _view(run, steps[epoch])) is not None:
        _classes(view)
    st.divider()
    class_curves.draw_curves(chosen, _SECTIONS, _CHANCE, "hierarchy.csv")


def _view(run: Run, at: tuple[int, int]) -> ClassView | None:
    """The classes of a validation; None where the page has said why it cannot show them."""
    nodes = epoch_tables.whole_table(run, "class_graph", at, relations.NODE_COLUMNS)
    edges = epoch_tables.whole_table(run, "class_edges", at, relations.EDGE_COLUMNS)
    if nodes is None or edges is None:
        return None
    nodes, edges = relations.read_nodes(nodes), relations.read_edges(edges)
    return ClassView(run, at[0], nodes, edges, relations.clusters(nodes, edges))


def _classes(view: ClassView) -> None:
    st.markdown(class_pairs.first_sentence(view.edges))
    tree = hierarchies.tree_of(view.run)
    st.caption(
        f"Common ancestors are those of {plain(tree)}."
        if tree
        else "The run has no tree of classes to compare with, so common ancestors and depths are "
        "unknown; SINGCallback(hierarchy=...) gives it one."
    )
    names = class_pictures.draw_classes(view)
    class_pairs.draw_tables(view, names)
    class_pairs.draw_images(view, names)


page.show_page(
    "Hierarchy",
    "Which classes does the head hold alike, and which of its errors were to be expected from "
    "that?",
    body,
    has_degrees=False,
)
