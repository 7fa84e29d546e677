"""A picture of one's own, before the model of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.model import model_images, model_results
from sing_monitor.app.model.model_results import ExplainedUpload
from sing_monitor.app.parts import explained_image, image_cards, image_maps
from sing_monitor.app.parts.explained_image import CENTERED, RANDOM, RAW
from sing_monitor.app.parts.image_cards import ImageView
from sing_monitor.app.read import store
from sing_monitor.app.read.snapshot_images import FittedSnapshot
from sing_monitor.app.ui import states
from sing_monitor.app.wording.text import plain, short
from sing_monitor.commands.app_options import ModelSource

_MOST_MEGABYTES = 20
NO_MODEL = (
    "To explain a picture of your own, start the app with the model: `--checkpoint`, and `--model` "
    "or `--timm` (see `sing-monitor app --help`)."
)


def upload_box() -> bytes | None:
    """Where a picture is uploaded; the content of its file."""
    file = st.file_uploader(
        "Or a picture of your own",
        type=list(model_images.KINDS),
        key="upload",
        max_upload_size=_MOST_MEGABYTES,
        help="It goes through the model's own transform, stays in the memory of this app, and is "
        "not part of the link. Remove it to see images of the probe again.",
    )
    return None if file is None else file.getvalue()


def draw_upload(
    view: ImageView, model: ModelSource, content: bytes, fitted: FittedSnapshot, labels: pd.Series
) -> None:
    """All that is known of an uploaded picture.

    Args:
        view: what is shown.
        model: of the command line.
        content: of the picture's file.
        fitted: the run's snapshot.
        labels: classes of the probe images, by id.
    """
    label = _target(view)
    read = partial(model_results.explain_upload, view.run.source, model, content, label)
    found = states.attempt(read, view.run)
    if found is None:
        return
    if not found.is_of_snapshot:
        st.warning(
            f"The checkpoint's head is not that of the run's snapshot (epoch {fitted.at[0]}, step "
            f"{fitted.at[1]}): translator and neighbors belong to another state of the training. "
            "Start the app with the checkpoint of that epoch.",
            icon=":material/difference:",
        )
    explanation, toward = found.explanation, view.name(found.target)
    with st.grid(min_column_width=330, gap="medium") as grid:
        with grid.cell(), st.container(border=True, gap="xsmall"):
            _card(view, model, found, fitted, labels)
        with grid.cell():
            explained_image.scores(_scores(found))
            explained_image.reading(plain(toward))
            explained_image.trust(explanation, fitted)
    explained_image.concepts_and_logits(view, explanation, fitted)
    source = view.run.source
    image_maps.draw_maps(
        view,
        partial(model_results.upload_maps, source, model, content, found.target, view.removal),
        toward,
        with_focus=True,
    )


def _target(view: ImageView) -> int | None:
    names: Mapping[int, str] = view.names
    return st.selectbox(
        "Scores toward",
        sorted(names),
        index=None,
        format_func=view.name,
        key="toward",
        placeholder="The predicted class",
        help="The class that AS refers to. The class of an uploaded picture is not known.",
    )


def _scores(found: ExplainedUpload) -> explained_image.ScoresByRemoval:
    explanation = found.explanation
    shifts = {CENTERED: explanation.centered, RAW: explanation.removed}
    found_scores: dict[str, tuple[float | None, float | None]] = {
        kind: (each.attribute_score, each.image_score)
        for kind, each in shifts.items()
        if each is not None
    }
    return (
        found_scores if explanation.random is None else {**found_scores, RANDOM: explanation.random}
    )


def _card(
    view: ImageView,
    model: ModelSource,
    found: ExplainedUpload,
    fitted: FittedSnapshot,
    labels: pd.Series,
) -> None:
    explanation = found.explanation
    shift = explained_image.shift_of(view, explanation)
    near = {
        when: [fitted.ids[row] for row in rows]
        for when, rows in (("before", explanation.nearest), ("after", shift.nearest))
    }
    wanted = [image for ids in near.values() for image in ids]
    source = view.run.source
    kept = states.attempt(partial(store.thumbnails, source, wanted), view.run) or {}
    kept |= model_results.pictures(source, model, set(wanted) - set(kept))
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        image_cards.picture(found.picture, "The uploaded picture as the model sees it")
        lines = [
            f"taken for **{plain(short(explanation.prediction, 30))}**",
            f"AS {image_cards.degrees('AS', shift.attribute_score)}",
            f"IS {image_cards.degrees('IS', shift.image_score)}",
        ]
        lines += [image_cards.OUTSIDE] if found.outside.get(view.removal) else []
        with st.container(gap=None, width=image_cards.TEXT):
            st.markdown("  \n".join(lines))
            st.caption("Uploaded")
    for when, ids in near.items():
        image_cards.neighbors(view, f"Nearest {when}", ids, kept, labels)
