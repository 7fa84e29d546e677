"""Which images a network finds alike, place by place and part by part."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import streamlit as st

from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.structure import matrices, suggestions
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.parts.structure import class_curves, image_pairs
from sing_monitor.app.parts.structure.image_pairs import ImagesView
from sing_monitor.app.read import store
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart_to_pick
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.widgets import epoch_slider, run_box
from sing_monitor.app.wording.text import plain, short

_SECTIONS = {
    "Does likeness tell what the classifier answers?": (
        "How far alike images get alike answers: the correlation of likeness with the divergence "
        "of the predicted probabilities. More negative is better.",
        ("similarity/jsd_semantic", "similarity/jsd_spatial", "similarity/jsd_gain"),
    ),
    "Is the most similar image of the same class?": (
        "The share of images whose most similar other image has their class.",
        ("similarity/retrieval_semantic", "similarity/retrieval_spatial"),
    ),
    "How much hangs on where things stand": (
        "What matching adds, and how far both ways agree.",
        ("similarity/gain", "similarity/cka", "similarity/drift", "similarity/alignment"),
    ),
    "On how many images": ("Images of the probe with a map.", ("similarity/images",)),
}
_TITLES = {
    "spatial": ("Place by place", "spatial: both maps as they lie"),
    "semantic": ("Part by part", "semantic: each place with its best partner"),
}
_FIRST, _SECOND = "first", "second"


def body(chosen: Selection) -> None:
    """The matrices and a pair of one run at one epoch, then the curves of all runs."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        steps = epoch_tables.last_validations(run)
        found = epoch_tables.tables_by_epoch(run, "similarity_images", steps, columns=["image"])
        epoch = epoch_slider(sorted(found)) if found else None
    if epoch is None:
        title = "No maps of images in this run"
        states.no_table(run, "similarity_images", title, bool(steps), _why(run))
    elif (view := _view(run, steps[epoch])) is not None:
        _images(view)
    st.divider()
    class_curves.draw_curves(chosen, _SECTIONS, {}, "similarity.csv")


def _why(run: Run) -> str:
    config = states.quietly(partial(store.config, run.source)) or {}
    if config.get("n_maps") == 0:
        return (
            "it was monitored with `n_maps=0`, so no feature maps were kept. `SINGCallback()` "
            "keeps those of 48 images of the probe."
        )
    if "n_maps" not in config:
        return (
            "an earlier version of sing-monitor wrote it, which kept no feature maps. Train again, "
            "or analyze the finished model with `sing-monitor analyze`."
        )
    none, _, reason = str(config.get("map", "none")).partition(": ")
    if none != "none":
        return (
            f"the maps of the layer {plain(short(none, 100))} could not be taken, or are zero "
            "everywhere, as those of a dead layer are; the log of the training says which."
        )
    said = f" The run says: {plain(short(reason, 300))}." if reason else ""
    return (
        "the head reads no feature map that could be kept. A map is what enters the global "
        f"pooling before the head, or the tokens of a transformer.{said}"
    )


def _view(run: Run, at: tuple[int, int]) -> ImagesView | None:
    """The images of a validation; None where the page has said why it cannot show them."""
    pairs = epoch_tables.whole_table(run, "similarity", at, image_pairs.PAIR_COLUMNS)
    images = epoch_tables.whole_table(run, "similarity_images", at, image_pairs.IMAGE_COLUMNS)
    if pairs is None or images is None:
        return None
    is_known = pairs["image_a"].isin(images["image"]) & pairs["image_b"].isin(images["image"])
    pairs = pairs[is_known]
    if pairs.empty:
        st.info("Only one image has a map, so there is no pair.", icon=":material/filter_1:")
        return None
    names = list(epoch_tables.class_names(run, at).values())
    return ImagesView(run, at[0], matrices.in_order(images, names), pairs)


def _images(view: ImagesView) -> None:
    st.markdown(
        "Two images can show the same parts in different places. **Place by place** the network's "
        "maps of them are compared as they lie; **part by part** every place first looks for its "
        "best partner in the other image. Press a cell to see the two images behind it."
    )
    above = st.container()
    st.subheader("Two images", anchor=False)
    first, second = _choices(view)
    with above:
        _matrices(view, first, second)
    image_pairs.draw_pair(view, first, second)
    image_pairs.draw_nearest(view, first)
    shown = view.pairs.assign(
        **{
            f"class_{end}": view.pairs[f"image_{end}"].map(view.images.set_index("image")["class"])
            for end in "ab"
        }
    )
    columns = ["image_a", "class_a", "image_b", "class_b", "spatial", "semantic", "jsd"]
    csv_button("All pairs of this epoch as CSV", "similarity_pairs.csv", shown[columns])


def _choices(view: ImagesView) -> tuple[str, str]:
    """Two images, from the lists or from what is suggested; at first the first suggestion."""
    names = dict(zip(view.images["name"], view.images["image"], strict=True))
    offered = suggestions.suggested(view.pairs, view.images)
    with st.container(horizontal=True, gap="small"):
        for title, pair in offered.items():
            st.button(
                title,
                on_click=_pick,
                args=(view, *pair),
                icon=":material/lightbulb:",
                help=suggestions.ABOUT[title],
            )
    start = next(iter(offered.values()))
    shown = view.images.set_index("image")["name"]
    found = []
    with st.container(horizontal=True, gap="medium"):
        for key, label, image in zip(
            (_FIRST, _SECOND), ("One image", "Another image"), start, strict=True
        ):
            name = st.selectbox(
                label,
                list(names),
                index=None,
                key=key,
                bind="query-params",
                placeholder=str(shown[image]),
            )
            found.append(names.get(name or "", image))
    return found[0], found[1]


def _pick(view: ImagesView, first: str, second: str) -> None:
    """Put two images into the lists."""
    names = view.images.set_index("image")["name"]
    if {first, second} <= set(names.index):
        st.session_state[_FIRST], st.session_state[_SECOND] = names[first], names[second]


def _matrices(view: ImagesView, first: str, second: str) -> None:
    rows, classes = matrices.cells(view.pairs, view.images), matrices.blocks(view.images)
    has_one_scale = st.toggle(
        "Same colors in both",
        value=True,
        key="scale",
        bind="query-params",
        help="Off: each matrix has a scale of its own, which shows more within it.",
    )
    place = view.images.set_index("image")["place"]
    picked = (int(place[first]), int(place[second]))

    def press(fields: Mapping[str, Any]) -> None:
        _pick(view, str(fields.get("image_a")), str(fields.get("image_b")))

    with st.grid(min_column_width=400, gap="medium") as grid:
        for kind, (title, about) in _TITLES.items():
            with grid.cell():
                show_chart_to_pick(
                    matrices.matrix,
                    kind,
                    rows,
                    classes,
                    matrices.domain_of(view.pairs, matrices.KINDS if has_one_scale else [kind]),
                    picked,
                    title,
                    about,
                    key=f"matrix {kind}",
                    alt_text=alt_text(
                        f"{title}: how alike any two of {len(view.images)} images are, by class",
                        [view.run.series],
                    ),
                    selection=matrices.PAIR,
                    on_pick=press,
                )
    st.caption(
        f"Epoch {view.epoch}. Rows and columns are the same {len(view.images)} images in the same "
        "order, by class. Framed: the two images below. A light square on the diagonal: images of "
        "that class are alike."
    )


page.show_page(
    "Similarity",
    "Which images does the network find alike, and does it matter where in the image things stand?",
    body,
    has_degrees=False,
)
