"""Pairs of classes: the most confused, the closest, and the images that stand between two."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.structure import relations
from sing_monitor.app.parts.image_cards import ids_of, picture
from sing_monitor.app.parts.structure.class_pictures import ClassView
from sing_monitor.app.read import store
from sing_monitor.app.ui import states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import code, count, plain, short

_MOST = 20
_IMAGES = ("images_a", "images_b")
_WORDS = {"": "neither", relations.UNEXPLAINED: "unexplained"}


def first_sentence(edges: pd.DataFrame) -> str:
    """In plain words, as Markdown: what is held most alike, and how many confusions follow it.

    Args:
        edges: from `relations.read_edges`, of all classes.
    """
    nearest = relations.closest(edges).head(1).to_dict("records")
    confused = relations.most_confused(edges).head(relations.MOST_CONFUSED)
    said = "The head has no two classes whose similarity is known."
    if nearest:
        one, other = (f"**{plain(short(nearest[0][key], 40))}**" for key in ("class_a", "class_b"))
        said = f"The head holds {one} and {other} most alike"
    if confused.empty:
        return f"{said}; no image of the probe was taken for another class." if nearest else said
    expected = int((confused["kind"] == relations.EXPLAINED).sum())
    return (
        f"{said}. Of the {count(len(confused), 'pair')} of classes that it confuses most, "
        f"**{expected}** {'was' if expected == 1 else 'were'} to be expected from such likeness: "
        "the two classes stand next to each other in its tree of alike ones."
        if len(confused) > 1
        else f"{said}. The one pair of classes that it confuses was "
        f"{'' if expected else 'not '}to be expected from such likeness."
    )


def draw_tables(view: ClassView, names: list[str]) -> None:
    """The most confused and the closest pairs of the classes that are shown."""
    within = relations.among(view.edges, names)
    everything = len(names) == len(view.nodes)
    st.subheader("Pairs of classes" if everything else "Pairs of the shown classes", anchor=False)
    with st.grid(min_column_width=420, gap="medium") as grid:
        with grid.cell():
            _table("Most confused", relations.most_confused(within), "no two were confused")
        with grid.cell():
            _table("Closest templates", relations.closest(within), "none is known")
    csv_button("All pairs of this epoch as CSV", "class_pairs.csv", _for_csv(view.edges))


def draw_images(view: ClassView, names: list[str]) -> None:
    """Of a pair of classes, the images that stand nearest to the other one."""
    st.subheader("Images between two classes", anchor=False)
    rows = view.edges
    if not states.has_columns(rows, _IMAGES, "class_edges"):
        return
    has_images = pd.Series(
        [any(ids_of(row, name) for name in _IMAGES) for row in rows.to_dict("records")],
        rows.index,
        dtype=bool,
    )
    known = relations.most_confused(rows[has_images])
    known = pd.concat([known, relations.closest(rows[has_images].drop(known.index))])
    known = known.fillna({"confusions": 0})
    # Those of the shown classes first.
    inside = known.index.isin(relations.among(known, names).index)
    known = pd.concat([known[inside], known[~inside]])
    if known.empty:
        st.caption(
            "No images are named for any pair: the run was monitored with n_images=0, or no class "
            "of the closest pairs has images in the probe."
        )
        return
    pairs = {f"{row['class_a']} and {row['class_b']}": row for row in known.to_dict("records")}
    name = st.selectbox(
        "Two classes",
        list(pairs),
        # Without a choice the first pair of whatever epoch is shown.
        index=None,
        placeholder=next(iter(pairs)),
        key="pair",
        bind="query-params",
        width=420,
        help="The most confused pairs first, then the closest.",
    )
    row = pairs.get(name or "") or next(iter(pairs.values()))
    _said(row)
    ids = [*ids_of(row, "images_a"), *ids_of(row, "images_b")]
    pictures = states.attempt(partial(store.thumbnails, view.run.source, ids), view.run) or {}
    with st.grid(min_column_width=300, gap="small") as grid:
        for own, other, images in (
            ("class_a", "class_b", "images_a"),
            ("class_b", "class_a", "images_b"),
        ):
            if not ids_of(row, images):
                continue
            with grid.cell(), st.container(border=True, gap="xsmall"):
                names_of = [plain(short(row[key], 30)) for key in (own, other)]
                st.markdown("Of **{}**, nearest to **{}**".format(*names_of))
                with st.container(horizontal=True, gap="small"):
                    for image in ids_of(row, images):
                        _image(image, pictures, f"An image of {row[own]} near {row[other]}")


def _image(image: str, pictures: Mapping[str, Any], said: str) -> None:
    if image in pictures:
        picture(pictures[image], short(said, 120))
        return
    st.caption(f"No picture stored of {code(short(image, 40))}.")


def _said(row: Mapping[str, Any]) -> None:
    one, other = (plain(short(row[key], 30)) for key in ("class_a", "class_b"))
    similarity = plain(f"{row['similarity']:+.2f}")
    shared = (
        f" They share the ancestor {plain(short(row['ancestor'], 40))}." if row["ancestor"] else ""
    )
    st.caption(
        f"Similarity of {one} and {other} in the head: {similarity}; taken for each other: "
        f"{count(round(row['confusions']), 'image')}, {relations.shown_share(row['confusion'])} on "
        f"average of both.{shared}"
    )


def _table(title: str, rows: pd.DataFrame, nothing: str) -> None:
    st.markdown(f"**{title}**")
    if rows.empty:
        st.caption(f"Of the shown classes {nothing}.")
        return
    shown = rows.head(_MOST).assign(percent=100 * rows["confusion"])
    shown["kind"] = shown["kind"].map(lambda kind: _WORDS.get(kind, kind))
    order = ["class_a", "class_b", "similarity", "percent", "kind"]
    order += ["ancestor"] if (shown["ancestor"] != "").any() else []
    order += ["depth"] if shown["depth"].notna().any() else []
    order += ["confusions"]
    config = st.column_config
    st.dataframe(
        shown[order],
        hide_index=True,
        placeholder=metrics.MISSING,
        alt=f"{title}: similarity and confusions of pairs of classes",
        column_config={
            "class_a": config.TextColumn("Class"),
            "class_b": config.TextColumn("And"),
            "similarity": config.NumberColumn(
                "Similarity", format="%+.2f", help="Cosine of the two templates in the head."
            ),
            "percent": config.NumberColumn(
                "Confused",
                format="%.1f %%",
                help="Share of one class's images that was taken for the other, mean of both ways.",
            ),
            "confusions": config.NumberColumn("Images", help="How many were taken for the other."),
            "kind": config.TextColumn(
                "The pair is",
                help="Explained: in the tree of alike classes and in that of the errors. Neither: "
                "each of the two has nearer ones.",
            ),
            "ancestor": config.TextColumn("Common ancestor"),
            "depth": config.NumberColumn(
                "Depth", format="%.0f", help="Of the common ancestor; 1 is the root of the tree."
            ),
        },
    )


def _for_csv(edges: pd.DataFrame) -> pd.DataFrame:
    rows = edges.to_dict("records")
    joined = {name: [" ".join(ids_of(row, name)) for row in rows] for name in _IMAGES}
    return edges.assign(**joined)
