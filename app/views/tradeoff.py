"""Score against score: is meaning moved by the head's null space, and is it the class's?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from sing_monitor.app.charts import tradeoff as charts
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.parts import epoch_tables, intervals, score_bars, support_tables
from sing_monitor.app.ui import page, player, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.wording import metrics, support_marks
from sing_monitor.app.wording.removals import suffix
from sing_monitor.app.wording.text import listed, plain

_KINDS = {"Raw": suffix("raw"), "Centered": suffix("centered"), "Random pair": suffix("random")}
_TITLES = {
    "Raw": "AS and IS, raw",
    "Centered": "AS and IS, centered",
    "Random pair": "AS and IS of a random subspace",
}
_ABOUT_KINDS = (
    "Raw removes the whole null component of the features; much of it may be their mean. Centered "
    "removes only what differs from the mean. Random pair removes a random subspace of the same "
    "size: a score says something about the head only where it differs from this one."
)
_SCORES = {
    "attribute": "sing/attribute_score",
    "image": "sing/image_score",
    "attribute_std": "sing/attribute_score_std",
    "image_std": "sing/image_score_std",
    "outside": "support/outside",
}
_HOW = (
    "**How to read it.** Each faint point is an image, each ellipse covers 95 % of a run's images, "
    "and the line is the path of their mean over the epochs. Right of 0 the head's invisible "
    "directions carry the image toward its class, left away from it; up, more of its meaning "
    "moves. Degrees grow with the probe and follow the ridge, and a mean AS near 0 does not prove "
    "that nothing of the class is hidden: images may go opposite ways. Class hidden, the first "
    "bar, says that."
)


def body(chosen: Selection) -> None:
    """Controls, then the plane with the bars beside it, redrawn for every epoch."""
    chosen = states.with_space_only(chosen)
    if not chosen.runs:
        return
    keys = [f"{key}{ending}" for ending in _KINDS.values() for key in _SCORES.values()]
    histories = page.read_histories(chosen.runs, [*keys, *score_bars.KEYS])
    histories = {run: history for run, history in histories.items() if len(history)}
    if not histories:
        states.no_validation()
        return
    kind = st.segmented_control(
        "Scores",
        list(_KINDS),
        default="Centered",
        key="scores",
        bind="query-params",
        required=True,
        help=_ABOUT_KINDS,
    )
    epochs = sorted({int(epoch) for history in histories.values() for epoch in history["epoch"]})
    if len(epochs) == 1:
        states.one_epoch()
    far = [
        history[key]
        for history in histories.values()
        for key in map(metrics.support_of, keys)
        if key in history
    ]
    page.legend(
        chosen.series, with_crosses=any(support_marks.is_marked(share).any() for share in far)
    )
    plays = len(epochs) > 1 and player.is_playing()
    # A fragment of its own: playing redraws nothing else.
    redrawn = st.fragment(_at_epoch, run_every=player.SECONDS if plays else None)
    redrawn(chosen, histories, epochs, kind or "Centered")
    st.caption(_HOW)


def _at_epoch(
    chosen: Selection, histories: dict[str, pd.DataFrame], epochs: list[int], kind: str
) -> None:
    epoch = player.choose_epoch(epochs)
    sure = intervals.at_epoch([run for run in chosen.runs if run.run_id in histories], epoch)
    path = _with_intervals(_path(chosen, histories, kind, epoch), sure, kind)
    with st.grid(2, min_column_width=420, gap="medium") as grid:
        with grid.cell():
            _plane(chosen, path, kind, epoch)
        with grid.cell():
            score_bars.draw_bars(chosen, histories, epoch, sure)


def _path(
    chosen: Selection, histories: dict[str, pd.DataFrame], kind: str, epoch: int
) -> pd.DataFrame:
    """The means and spreads of all runs at all validations, in their order."""
    parts = []
    for run in chosen.runs:
        if run.run_id not in histories:
            continue
        history = histories[run.run_id]
        values = {name: history.get(key + _KINDS[kind], np.nan) for name, key in _SCORES.items()}
        part = pd.DataFrame({"epoch": history["epoch"].astype("int64"), **values})
        at = part.index[part["epoch"] == epoch][-1:]
        about = {"series": run.run_id, "label": run.label, "order": range(len(part))}
        parts.append(part.assign(**about, is_chosen=part.index.isin(at)))
    return pd.concat(parts, ignore_index=True)


def _with_intervals(path: pd.DataFrame, sure: pd.DataFrame, kind: str) -> pd.DataFrame:
    """With the ends of the intervals of the chosen epoch's means, NaN elsewhere."""
    for name in ("attribute", "image"):
        bounds = sure[sure["metric"] == f"{_SCORES[name]}{_KINDS[kind]}"].set_index("series")
        for end in ("low", "high"):
            known = path["series"].map(bounds[end]).astype("float64")
            path[f"{name}_{end}"] = known.where(path["is_chosen"])
    return path


def _plane(chosen: Selection, path: pd.DataFrame, kind: str, epoch: int) -> None:
    ending = _KINDS[kind]
    columns = ["image", f"attribute_score{ending}", f"image_score{ending}"]
    known = epoch_tables.validations(chosen.runs)
    images = epoch_tables.tables_of_runs(chosen.runs, "images", columns, epoch, known)
    images = images.rename(columns=dict(zip(columns, ("id", "attribute", "image"), strict=True)))
    images = _with_support_shares(chosen, images, ending, epoch, known)
    images = images.dropna(subset=["attribute", "image"]).reset_index(drop=True)
    if images.empty and path[["attribute", "image"]].isna().any(axis=1).all():
        states.no_values(_TITLES[kind])
        return
    outlines = [
        charts.ellipse(of_run["attribute"], of_run["image"]).assign(series=run)
        for run, of_run in images.groupby("series", sort=False)
    ]
    nothing = pd.DataFrame(columns=["attribute", "image", "order", "series"])
    ellipses = pd.concat(outlines, ignore_index=True) if outlines else nothing
    drawn = charts.sample(images)
    attribute, image = charts.ranges(path, pd.concat([drawn, ellipses]))
    around = charts.PlaneLabels(
        title=_TITLES[kind],
        about=f"epoch {epoch} · degrees",
        attribute=attribute,
        image=image,
        caveat=chosen.caveat(f"sing/attribute_score{ending}"),
    )
    what = f"{_TITLES[kind]} of every image at epoch {epoch}, with the path of their mean"
    show_chart(
        charts.plane,
        drawn[["series", "attribute", "image", "outside"]],
        ellipses,
        path.drop(columns=["attribute_std", "image_std"]),
        around,
        chosen.series,
        key="plane",
        alt_text=alt_text(what, chosen.series),
    )
    if far := int(images["outside"].sum()):
        of_all = f"{far:,} of {len(images):,} images"
        st.caption(
            f"{support_marks.MARK} Out of support: {of_all}.", help=support_marks.OUT_OF_SUPPORT
        )
    counts = images.groupby("label", sort=False).size()
    if (many := counts[counts > charts.MOST_POINTS]).size:
        total = listed([f"{plain(name)} ({size:,})" for name, size in many.items()])
        st.caption(
            f"Of {total} images, {charts.MOST_POINTS:,} of each run are drawn as points, always "
            "the same ones. The ellipses stand on all of them."
        )
    with st.container(horizontal=True):
        if len(images):
            csv_button("Images as CSV", "images.csv", images.assign(epoch=epoch))
        csv_button("Paths as CSV", "paths.csv", path.drop(columns=["order", "is_chosen"]))


def _with_support_shares(
    chosen: Selection,
    images: pd.DataFrame,
    ending: str,
    epoch: int,
    known: epoch_tables.Validations,
) -> pd.DataFrame:
    """With ``outside``: whether the score is out of support; False where the run does not tell."""
    marked = pd.Series(False, images.index)
    for run in chosen.runs:
        rows = images["series"] == run.run_id
        if rows.any():
            at = [pair for pair in known[run.run_id] if pair[0] == epoch][-1]
            marked_images = support_tables.shares(run, at, "support", "image", ending)
            if marked_images is not None:
                marked |= rows & images["id"].map(marked_images).eq(1)
    return images.assign(outside=marked)


page.show_page(
    "Trade-off",
    "How much meaning is invisible to the head, and how much of it belongs to the class?",
    body,
)
