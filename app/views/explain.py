"""One image of the probe: what its head takes it for, and what it ignores of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

import pandas as pd
import streamlit as st

from sing_monitor.app import at_epoch, data, image_cards, image_history, metrics, page, states
from sing_monitor.app import stored as snapshots
from sing_monitor.app.charts import explain as charts
from sing_monitor.app.charts import images as image_charts
from sing_monitor.app.charts.images import Pair
from sing_monitor.app.downloads import csv_button
from sing_monitor.app.drawing import draw
from sing_monitor.app.image_cards import View
from sing_monitor.app.image_history import NEEDED
from sing_monitor.app.selection import Selection
from sing_monitor.app.text import plain
from sing_monitor.app.widgets import epoch_slider, run_box
from sing_monitor.stored_image import StoredExplanation
from sing_monitor.tracking import ArtifactNotFoundError

_OFFERED = 48
_KINDS = {"Null part, centered": "_centered", "Null part, raw": "", "Random subspace": "_random"}


def body(chosen: Selection) -> None:
    """Controls, the image and its scores, its history, and what the snapshot adds."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        pair = st.segmented_control(
            "Null removal",
            ["Centered", "Raw"],
            default="Centered",
            key="removal",
            bind="query-params",
            required=True,
            help="Centered keeps the mean of the null part, raw takes it away too, as in the "
            "paper.",
        )
    steps = at_epoch.last_steps(run)
    if not steps:
        states.no_validation()
        return
    epoch = epoch_slider(sorted(steps))
    table = states.attempt(partial(data.table, run.source, "images", *steps[epoch]), run)
    if table is None:
        return
    kind = cast(Pair, (pair or "Centered").lower())
    view = View(run, epoch, "AS", kind, at_epoch.class_names(run, steps[epoch]))
    if not states.has_columns(table, [*NEEDED, *view.columns.values()], "images"):
        return
    image = _choice(view, table)
    if image is None:
        return
    rows = table.drop_duplicates("image").set_index("image", drop=False)
    found = _explanation(view, image, steps[epoch])
    _image(view, rows, image, found)
    if found is not None:
        _snapshot(view, found)
    st.subheader("Over training", anchor=False)
    image_history.draw(view, image, steps)


def _choice(view: View, table: pd.DataFrame) -> str | None:
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
    chosen: str | None = st.selectbox(
        "Image",
        offered,
        index=None,
        key="image",
        bind="query-params",
        help=f"The {_OFFERED} images with the largest AS, whatever its sign; the cards on the "
        "page Images lead to any other.",
        placeholder=f"{first} (first of the list)" if first else "No image has a score here",
        disabled=not offered,
    )
    return chosen or first


def _image(view: View, rows: pd.DataFrame, image: str, found: StoredExplanation | None) -> None:
    row = rows.loc[image].to_dict()
    near = _near(view, row, found)
    wanted = [image, *(each for ids in near.values() for each in ids)]
    pictures = states.attempt(partial(data.thumbnails, view.run.source, wanted), view.run) or {}
    with st.grid(min_column_width=330, gap="medium") as grid:
        with grid.cell(), st.container(border=True, gap="xsmall"):
            image_cards.head(view, row, pictures)
            for when, ids in near.items():
                image_cards.neighbours(view, f"Nearest {when}", ids, pictures, rows["label"])
            if not any(near.values()):
                st.caption("Its nearest images are not stored: it is none of those that move most.")
        with grid.cell():
            _scores(row)


def _near(
    view: View, row: Mapping[str, object], found: StoredExplanation | None
) -> dict[str, Sequence[str]]:
    """Ids of the nearest probe images, before and after."""
    if found is not None:
        shift = found.centered if view.pair == "centered" else found.removed
        return {"before": found.nearest, "after": shift.nearest}
    return {when: image_cards.ids_of(row, name) for when, name in view.neighbours.items()}


def _scores(row: Mapping[str, float]) -> None:
    """AS and IS of every pair beside those of a random subspace."""
    rows = [
        {
            "kind": kind,
            **{score: row.get(f"{name}{end}") for score, name in image_charts.SCORES.items()},
        }
        for kind, end in _KINDS.items()
    ]
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
    st.caption(
        "AS above zero: nearer to the true class once the null part is gone. IS: how far the "
        "meaning moves. Both say something about the head only where they leave the values of "
        "the random subspace."
    )


def _explanation(view: View, image: str, at: tuple[int, int]) -> StoredExplanation | None:
    """What the snapshot says of the image at this epoch, or None after the page has said why."""

    def read() -> StoredExplanation | None:
        try:
            return snapshots.explanation(view.run.source, image)
        except ArtifactNotFoundError:
            states.no_snapshot(view.run.label)
            return None

    found = states.attempt(read, view.run)
    if found is not None and (found.epoch, found.step) != at:
        st.info(
            f"Concepts and logits are known for epoch {found.epoch} alone: the snapshot is of the "
            "last validation. Move the slider there to see them.",
            icon=":material/inventory_2:",
        )
        return None
    return found


def _snapshot(view: View, found: StoredExplanation) -> None:
    shift = found.centered if view.pair == "centered" else found.removed
    st.subheader("What its null part says", anchor=False)
    with st.grid(min_column_width=360, gap="medium") as grid:
        with grid.cell():
            if shift.gained or shift.lost:
                about = f"{view.pair} · blue: nearer once the null part is gone, orange: farther"
                said = f"AS of the image toward concepts; run {view.run.label}"
                draw(
                    charts.concepts, shift.gained, shift.lost, about, key="concepts", alt_text=said
                )
            elif snapshots.has_concepts(view.run.source):
                states.no_values("Concepts gained and lost")
            else:
                st.info(
                    "The concepts of this run are not known on this machine: their texts were "
                    "embedded elsewhere, or by an older version, or the run watches none. "
                    "`explain_image(model, image, space, snapshot=…)` embeds any words.",
                    icon=":material/translate:",
                )
        with grid.cell():
            _logits(view, found.logits.tolist(), shift.logits.tolist())


def _logits(view: View, before: Sequence[float], after: Sequence[float]) -> None:
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
        rows,
        hide_index=True,
        placeholder=metrics.MISSING,
        alt="Logit of each class before and after null removal",
        column_config={
            "class": config.TextColumn("Class"),
            "before": config.NumberColumn("Before", format="%.3f"),
            "after": config.NumberColumn("After", format="%.3f"),
            "difference": config.NumberColumn("Difference", format="scientific"),
        },
    )
    csv_button("Logits as CSV", "logits.csv", rows)


page.show(
    "Explain",
    "One image: what the head takes it for, and what it means once what the head ignores is gone.",
    body,
)
