"""What is shown of one explained image, whether the probe holds it or somebody uploaded it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import explain as charts
from sing_monitor.app.parts.image_cards import ImageView
from sing_monitor.app.read.snapshot_images import FittedSnapshot
from sing_monitor.app.ui import states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.wording import metrics
from sing_monitor.app.wording.text import plain
from sing_monitor.explain.feature_explanation import Explanation, Shift

CENTERED, RAW, RANDOM = "Null part, centered", "Null part, raw", "Random subspace"
ScoresByRemoval = Mapping[str, tuple[float | None, float | None]]


def shift_of(view: ImageView, found: Explanation) -> Shift:
    """What the null removal that the page shows changes."""
    is_centered = view.removal == "centered" and found.centered is not None
    return found.centered if is_centered and found.centered is not None else found.removed


def scores(by_removal: ScoresByRemoval) -> None:
    """AS and IS of every removal beside those of a random subspace.

    Args:
        by_removal: AS and IS, degrees, by what is removed.
    """
    rows = [{"kind": kind, "AS": each[0], "IS": each[1]} for kind, each in by_removal.items()]
    config = st.column_config
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        placeholder=metrics.MISSING,
        alt="AS and IS of the image, centered, raw and of a random subspace",
        column_config={
            "kind": config.TextColumn("What is removed"),
            "AS": config.NumberColumn(
                format="%+.2f°", help=metrics.explanation("sing/attribute_score_centered")
            ),
            "IS": config.NumberColumn(
                format="%.2f°", help=metrics.explanation("sing/image_score_centered")
            ),
        },
    )


def reading(toward: str) -> None:
    """How the scores are read."""
    st.caption(
        f"AS above zero: nearer to {toward} once the null part is gone. IS: how far the meaning "
        "moves. Both say something about the head only where they leave the values of the random "
        "subspace."
    )


def trust(found: Explanation, fitted: FittedSnapshot) -> None:
    """How well the translator does on this image."""
    if math.isnan(found.cosine):
        st.caption(
            "How well the translator does on this image is not known: start the app with "
            "`--space`, and its own embedding is compared."
        )
    else:
        st.caption(
            f"Translated, the image lies at cosine {found.cosine:.2f} to its own embedding (probe: "
            f"{fitted.cosine:.2f} on average). Where it is much lower, do not trust "
            "the scores of this image."
        )


def concepts_and_logits(view: ImageView, found: Explanation, fitted: FittedSnapshot) -> None:
    """Concepts gained and lost beside the logits before and after."""
    shift = shift_of(view, found)
    st.subheader("What its null part says", anchor=False)
    with st.grid(min_column_width=360, gap="medium") as grid:
        with grid.cell():
            if shift.gained or shift.lost:
                about = f"{view.removal} · blue: nearer once the null part is gone, orange: farther"
                said = f"AS of the image toward concepts; run {view.run.label}"
                show_chart(
                    charts.concepts, shift.gained, shift.lost, about, key="concepts", alt_text=said
                )
            else:
                _no_concepts(fitted)
        with grid.cell():
            _logits(view, found.logits.tolist(), shift.logits.tolist())


def _no_concepts(fitted: FittedSnapshot) -> None:
    texts = fitted.snapshot.texts
    if texts is not None and texts.concepts is not None:
        states.no_values("Concepts gained and lost")
        return
    why = (
        "The snapshot of this run holds no embeddings of its texts: an older version of "
        "sing-monitor wrote it."
        if texts is None
        else "This run watches no concepts: it was monitored with an empty vocabulary."
    )
    st.info(
        f"{why} `explain_image(model, image, space, snapshot=…)` embeds any words.",
        icon=":material/translate:",
    )


def _logits(view: ImageView, before: Sequence[float], after: Sequence[float]) -> None:
    rows = charts.logits(before, after, view.names)
    config = st.column_config
    st.markdown("**Logits before and after**")
    moved = rows["difference"]
    if view.run.tag("invariance") == "softmax":
        apart = (moved - moved.mean()).abs().max()
        st.caption(f"Logits move together, to {apart:.1e}: no probability changes.")
    else:
        most = moved.abs().max()
        st.caption(f"No logit moves by more than {most:.1e}: the head cannot tell the two apart.")
    st.dataframe(
        # Rounding is noise here, and -0 a riddle.
        rows.assign(difference=moved.round(3) + 0.0),
        hide_index=True,
        placeholder=metrics.MISSING,
        alt="Logit of each class before and after null removal",
        column_config={
            "class": config.TextColumn("Class"),
            "before": config.NumberColumn("Before", format="%.3f"),
            "after": config.NumberColumn("After", format="%.3f"),
            "difference": config.NumberColumn("Difference", format="%.3f"),
        },
    )
    csv_button("Logits as CSV", "logits.csv", rows)


def at_snapshot(view: ImageView, fitted: FittedSnapshot, at: tuple[int, int], what: str) -> bool:
    """Whether the page stands at the validation of the snapshot; if not, it has said so."""
    if fitted.at == at:
        return True
    st.info(
        f"{what} for epoch {fitted.snapshot.epoch} alone: the snapshot of {plain(view.run.label)} "
        "is of the last validation. Move the slider there to see them.",
        icon=":material/inventory_2:",
    )
    return False
