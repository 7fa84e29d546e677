"""One image of the probe, or an upload: what its head takes it for, and what it ignores of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import images as image_charts
from sing_monitor.app.model import model_results
from sing_monitor.app.parts import (
    epoch_tables,
    explained_image,
    image_cards,
    image_history,
    image_maps,
    image_page,
    uploads,
)
from sing_monitor.app.parts.explained_image import CENTERED, RANDOM, RAW
from sing_monitor.app.parts.image_cards import ImageView
from sing_monitor.app.read import snapshot_images, store
from sing_monitor.app.read.snapshot_images import FittedSnapshot
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.ui.settings import model_source
from sing_monitor.app.ui.widgets import epoch_slider, run_box
from sing_monitor.app.wording.removals import suffix
from sing_monitor.app.wording.text import plain
from sing_monitor.commands.app_options import ModelSource
from sing_monitor.explain.feature_explanation import Explanation
from sing_monitor.tracking import ArtifactNotFoundError

_OFFERED = 48
_KINDS = {CENTERED: suffix("centered"), RAW: suffix("raw"), RANDOM: suffix("random")}


def body(chosen: Selection) -> None:
    """Controls, the image and its scores, its history, and what the snapshot adds."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        if not states.has_space(run):
            return
        removal = image_page.removal_choice()
    steps = epoch_tables.last_validations(run)
    if not steps:
        states.no_validation()
        return
    epoch = epoch_slider(sorted(steps))
    opened = image_page.opened(run, steps[epoch], "AS", removal)
    if opened is None:
        return
    view, table = opened
    rows = table.drop_duplicates("image").set_index("image", drop=False)
    model = states.attempt(model_source)
    with st.grid(min_column_width=330, gap="medium") as grid:
        with grid.cell():
            image = _choice(view, table)
        with grid.cell():
            content = None if model is None else uploads.upload_box()
            if model is None:
                st.caption(uploads.NO_MODEL)
    if model is not None and content is not None:
        fitted = _stored(view)
        if fitted and explained_image.at_snapshot(
            view, fitted, steps[epoch], "Uploads are explained"
        ):
            uploads.draw_upload(view, model, content, fitted, rows["label"])
    elif image is not None:
        _probe_image(view, rows, image, steps[epoch], model)
        st.subheader("Over training", anchor=False)
        image_history.draw_image_history(view, image, steps)


def _probe_image(
    view: ImageView, rows: pd.DataFrame, image: str, at: tuple[int, int], model: ModelSource | None
) -> None:
    fitted = _stored(view)
    is_known = fitted and explained_image.at_snapshot(
        view, fitted, at, "Concepts and logits are known"
    )
    read = partial(snapshot_images.explanation, view.run.source, image)
    found = states.attempt(read, view.run) if is_known else None
    _image(view, rows, image, found, fitted, model)
    if found is None or fitted is None:
        return
    explained_image.concepts_and_logits(view, found, fitted)
    image_maps.draw_probe_maps(view, model, image, at, with_focus=True)


def _stored(view: ImageView) -> FittedSnapshot | None:
    """The run's snapshot, or None after the page has said why there is none."""

    def read() -> FittedSnapshot | None:
        try:
            return snapshot_images.read(view.run.source)
        except ArtifactNotFoundError:
            states.no_snapshot(view.run.label)
            return None

    return states.attempt(read, view.run)


def _choice(view: ImageView, table: pd.DataFrame) -> str | None:
    """The image of the link, or one of those that moved most."""
    asked = st.session_state.get("image") or st.query_params.get("image")
    ranked = image_charts.ranked(table, view.column)
    offered = list(dict.fromkeys(ranked["image"].head(_OFFERED)))
    known = set(table["image"])
    if asked in known and asked not in offered:
        offered.append(asked)
    if asked and asked not in known:
        st.info(
            f"The link names an image that {plain(view.run.label)} does not hold at epoch "
            f"{view.epoch}. Choose another one.",
            icon=":material/link_off:",
        )
    # A default among the options would stay while the epoch moves on, and be lost to the link.
    first = offered[0] if offered else None
    is_uploaded = st.session_state.get("upload") is not None
    first_of_all = f"{first} (first of the list)" if first else "No image has a score here"
    chosen: str | None = st.selectbox(
        "Image",
        offered,
        index=None,
        key="image",
        bind="query-params",
        help=f"The {_OFFERED} images with the largest AS, whatever its sign; the cards on the "
        "page Images lead to any other.",
        placeholder="The uploaded picture is shown" if is_uploaded else first_of_all,
        disabled=is_uploaded or not offered,
    )
    return chosen or first


def _image(
    view: ImageView,
    rows: pd.DataFrame,
    image: str,
    found: Explanation | None,
    fitted: FittedSnapshot | None,
    model: ModelSource | None,
) -> None:
    row = rows.loc[image].to_dict()
    near = _near(view, row, found, fitted)
    wanted = [image, *(each for ids in near.values() for each in ids)]
    pictures = states.attempt(partial(store.thumbnails, view.run.source, wanted), view.run) or {}
    pictures |= model_results.pictures(view.run.source, model, set(wanted) - set(pictures))
    with st.grid(min_column_width=330, gap="medium") as grid:
        with grid.cell(), st.container(border=True, gap="xsmall"):
            image_cards.head(view, row, pictures)
            for when, ids in near.items():
                image_cards.neighbors(view, f"Nearest {when}", ids, pictures, rows["label"])
            if not any(near.values()):
                st.caption("Its nearest images are not stored: it is none of those that move most.")
        with grid.cell():
            columns = image_charts.SCORES.values()
            explained_image.scores(
                {
                    kind: tuple(row.get(f"{name}{end}") for name in columns)
                    for kind, end in _KINDS.items()
                }
            )
            explained_image.reading("the true class")
            if found is not None and fitted is not None:
                explained_image.trust(found, fitted)


def _near(
    view: ImageView,
    row: Mapping[str, object],
    found: Explanation | None,
    fitted: FittedSnapshot | None,
) -> dict[str, Sequence[str]]:
    """Ids of the nearest probe images, before and after."""
    if found is not None and fitted is not None:
        after = explained_image.shift_of(view, found).nearest
        near = {"before": found.nearest, "after": after}
        return {when: [fitted.ids[each] for each in places] for when, places in near.items()}
    return {when: image_cards.ids_of(row, name) for when, name in view.neighbors.items()}


page.show_page(
    "Explain",
    "One image: the class that the head predicts, and what the image means without the part of its "
    "features that the head ignores.",
    body,
    has_degrees=False,
)
