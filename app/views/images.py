"""The images that moved most: what the head takes them for, once what it ignores is gone."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import images as charts
from sing_monitor.app.parts import (
    epoch_tables,
    image_cards,
    image_history,
    image_maps,
    image_page,
)
from sing_monitor.app.parts.image_cards import ImageView
from sing_monitor.app.parts.image_history import NEEDED
from sing_monitor.app.parts.structure import focus
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.ui.settings import model_source
from sing_monitor.app.ui.widgets import epoch_slider, run_box
from sing_monitor.app.wording import metrics, support_marks
from sing_monitor.app.wording.text import count, plain, short

_ALL, _RIGHT, _WRONG = "All", "Right", "Wrong"
_COUNTS = (12, 24, 48)


def body(chosen: Selection) -> None:
    """Controls, the cards, one image in detail, the table."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        if not states.has_space(run):
            return
        score = st.segmented_control(
            "Largest",
            list(charts.SCORES),
            format_func=lambda name: "|AS|" if name == "AS" else name,
            default="AS",
            key="score",
            bind="query-params",
            required=True,
            help=metrics.explanation("sing/attribute_score_centered"),
        )
        removal = image_page.removal_choice()
    # After a resume the newest of the validations of an epoch counts.
    steps = epoch_tables.last_validations(run)
    if not steps:
        st.info(
            f"{plain(run.label)} holds no tables of images so far. They are written after each "
            "validation.",
            icon=":material/hourglass_empty:",
        )
        return
    epoch = epoch_slider(sorted(steps))
    opened = image_page.opened(run, steps[epoch], score or "AS", removal)
    if opened is not None:
        _images(*opened, steps)


def _images(view: ImageView, table: pd.DataFrame, steps: Mapping[int, tuple[int, int]]) -> None:
    found = charts.ranked(table, view.column)
    mapped = focus.mapped_images(view, steps[view.epoch])
    if found.empty:
        st.info(
            f"No image has a score at epoch {view.epoch}: the head ignores nothing there, or its "
            "features were not finite.",
            icon=":material/block:",
        )
        if mapped:
            _one_image(view, table[table["image"].isin(mapped)], table, steps, mapped)
        return
    movers = table["mover"].astype(bool) if "mover" in table else pd.Series(False, table.index)
    shown, number = _filtered(view, found, movers, mapped)
    without = len(table) - len(found)
    st.caption(
        f"{min(number, len(shown))} of {count(len(shown), 'image')} that match, of "
        f"{len(table):,} in the probe{f'; {without:,} have no score' if without else ''}. The row "
        "*after* shows what lies nearest to the image without the part that the head ignores."
    )
    if far := sum(map(view.is_outside, shown["image"])):
        st.caption(
            f"{far:,} of the {len(shown):,} that match are out of support. "
            f"{support_marks.OUT_OF_SUPPORT}"
        )
    top = shown.head(number)
    if shown.empty:
        st.info("No image matches; choose another class or show all.", icon=":material/filter_alt:")
    elif movers.any():
        image_cards.draw_cards(view, top, table)
    else:
        st.info(
            "No pictures are stored for this validation: the run was monitored with n_images=0. "
            "SINGCallback(n_images=64) keeps the pictures of the images that move most. Ids and "
            "numbers are below.",
            icon=":material/hide_image:",
        )
    _one_image(view, top, table, steps, mapped)
    if len(shown):
        _table(view, shown)


def _filtered(
    view: ImageView, found: pd.DataFrame, movers: pd.Series, mapped: frozenset[str]
) -> tuple[pd.DataFrame, int]:
    """The rows that the user asked for, and how many of them to draw."""
    options = [view.name(index) for index in sorted(found["label"].unique().tolist())]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        name = st.selectbox(
            "Class", options, index=None, placeholder="All", key="class", bind="query-params"
        )
        verdict = st.segmented_control(
            "Prediction",
            [_ALL, _RIGHT, _WRONG],
            default=_ALL,
            key="verdict",
            bind="query-params",
            required=True,
        )
        number = st.segmented_control(
            "Cards", _COUNTS, default=_COUNTS[0], key="cards", bind="query-params", required=True
        )
        has_picture = movers.any() and st.toggle(
            "Only with pictures",
            value=True,
            key="pictures",
            bind="query-params",
            help="Pictures and nearest images are stored for the images that moved most.",
        )
        has_map = bool(mapped) and st.toggle(
            "Only with maps",
            key="maps",
            bind="query-params",
            help="Maps of where its features stand, with a picture, are stored for "
            f"{len(mapped)} images of the probe, whether they moved or not.",
        )
    keep = pd.Series(True, found.index)
    if has_map:
        keep &= found["image"].isin(mapped)
    elif has_picture:
        keep &= movers.loc[found.index]
    if name is not None:
        keep &= found["label"].map(view.name) == name
    if verdict in (_RIGHT, _WRONG):
        keep &= (found["label"] == found["prediction"]) == (verdict == _RIGHT)
    return found[keep], number or _COUNTS[0]


def _one_image(
    view: ImageView,
    top: pd.DataFrame,
    table: pd.DataFrame,
    steps: Mapping[int, tuple[int, int]],
    mapped: frozenset[str],
) -> None:
    """Maps and history of one image; the shown ones and the one of the link are offered."""
    asked = st.session_state.get("image") or st.query_params.get("image")
    rows = table.drop_duplicates("image").set_index("image")
    offered = list(dict.fromkeys(top["image"]))
    if asked in rows.index and asked not in offered:
        offered.append(asked)

    st.subheader("One image", anchor=False)
    if asked and asked not in rows.index:
        st.info(
            f"The link names an image that {plain(view.run.label)} does not hold at epoch "
            f"{view.epoch}. Choose another one.",
            icon=":material/link_off:",
        )
    image = st.selectbox(
        "Image",
        offered,
        index=None,
        key="image",
        bind="query-params",
        placeholder="Choose an image to see where its scores come from, and how they went",
    )
    if image is None:
        return
    names = (plain(short(view.name(rows[key].get(image, -1)), 40)) for key in NEEDED[1:])
    st.caption("Class {}, taken for {} at epoch {}.".format(*names, view.epoch))
    focus.draw_stored_focus(view, image, steps, mapped)
    image_maps.draw_probe_maps(view, states.attempt(model_source), image, steps[view.epoch])
    image_history.draw_image_history(view, image, steps)


def _table(view: ImageView, shown: pd.DataFrame) -> None:
    st.subheader("Numbers", anchor=False)
    numbers = shown[list(NEEDED)].assign(
        label=shown["label"].map(view.name),
        prediction=shown["prediction"].map(view.name),
        right=shown["label"] == shown["prediction"],
        **{score: shown[column] for score, column in view.columns.items()},
    )
    if view.outside is not None:
        numbers["outside"] = shown["image"].map(view.is_outside)
    config = st.column_config
    st.dataframe(
        numbers,
        hide_index=True,
        height="auto",
        alt="Label, prediction and scores of the images that match",
        column_config={
            "image": config.TextColumn("Image"),
            "label": config.TextColumn("Class"),
            "prediction": config.TextColumn("Prediction"),
            "right": config.CheckboxColumn("Right"),
            "outside": config.CheckboxColumn("Out of support", help=support_marks.OUT_OF_SUPPORT),
            "AS": config.NumberColumn("AS in degrees", format="%+.2f"),
            "IS": config.NumberColumn("IS in degrees", format="%.2f"),
        },
    )
    csv_button("These images as CSV", "images.csv", numbers.rename(columns={"label": "class"}))


page.show_page(
    "Images",
    "Which images carry the most meaning that the head ignores, and what remains without it?",
    body,
    has_degrees=False,
)
