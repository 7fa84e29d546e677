"""Score against score: is meaning moved by the head's null space, and is it the class's?"""

from __future__ import annotations

import time
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from sing_monitor.app import at_epoch, intervals, metrics, page, states, support
from sing_monitor.app.charts import tradeoff as charts
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.downloads import csv_button
from sing_monitor.app.drawing import draw
from sing_monitor.app.selection import Selection
from sing_monitor.app.text import listed, plain
from sing_monitor.app.widgets import epoch_slider

_KINDS = {"Raw": "", "Centered": "_centered", "Random pair": "_random"}
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
}
_BARS = {
    "sing/score_ratio": None,
    "sing/score_ratio_centered": "sing/score_ratio_random",
    "sing/image_score_relative": None,
}
_HOW = (
    "**How to read it.** Each faint point is an image, each ellipse covers 95 % of a run's images, "
    "and the line is the way of their mean over the epochs. Right of 0 the head's invisible "
    "directions carry the image toward its class, left away from it; up, more of its meaning "
    "moves. Good is high and narrow around 0: the head ignores much, and none of it is the class."
)
_EPOCH, _PLAYING, _STEPPED = "epoch", "tradeoff playing", "tradeoff stepped"
_SECONDS = 1.2


def body(chosen: Selection) -> None:
    """Controls, then the plane with the bars beside it, redrawn for every epoch."""
    keys = [f"{key}{suffix}" for suffix in _KINDS.values() for key in _SCORES.values()]
    histories = page.histories(chosen.runs, [*keys, *_BARS, *filter(None, _BARS.values())])
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
    page.legend(chosen.series)
    is_playing = len(epochs) > 1 and bool(st.session_state.get(_PLAYING))
    # A fragment of its own: playing redraws nothing else.
    redrawn = st.fragment(_at_epoch, run_every=_SECONDS if is_playing else None)
    redrawn(chosen, histories, epochs, kind or "Centered")
    st.caption(_HOW)


def _at_epoch(
    chosen: Selection, histories: dict[str, pd.DataFrame], epochs: list[int], kind: str
) -> None:
    epoch = _choose(epochs)
    path = _path(chosen, histories, kind, epoch)
    with st.grid(2, min_column_width=420, gap="medium") as grid:
        with grid.cell():
            _plane(chosen, path, kind, epoch)
        with grid.cell():
            _bars(chosen, histories, epoch)


def _choose(epochs: list[int]) -> int:
    """The slider with the button that plays; while it plays, the next epoch after a while."""
    is_playing = bool(st.session_state.get(_PLAYING))
    following = [each for each in epochs if each > st.session_state.get(_EPOCH, epochs[-1])]
    is_due = time.monotonic() - st.session_state.get(_STEPPED, 0.0) > 0.8 * _SECONDS
    if is_playing and is_due:
        if not following:
            st.session_state[_PLAYING] = False
            st.rerun()
        st.session_state[_EPOCH] = following[0]
        st.session_state[_STEPPED] = time.monotonic()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if len(epochs) > 1:
            # Drawn by the page anew, since the fragment's clock starts or stops with it.
            icon = ":material/pause:" if is_playing else ":material/play_arrow:"
            name = "Pause" if is_playing else "Play"
            if st.button(name, icon=icon, key="play", on_click=_toggle, args=(epochs,)):
                st.rerun()
        if not is_playing or st.session_state.get(_EPOCH) not in epochs:
            return epoch_slider(epochs, label="Epoch", key=_EPOCH)
        # Without a default: the epoch was set here.
        return int(st.select_slider("Epoch", epochs, key=_EPOCH, bind="query-params"))


def _toggle(epochs: list[int]) -> None:
    """Start or stop playing; at the end it starts from the first epoch."""
    is_playing = not st.session_state.get(_PLAYING)
    st.session_state[_PLAYING] = is_playing
    st.session_state[_STEPPED] = time.monotonic()
    if is_playing and st.session_state.get(_EPOCH, epochs[-1]) == epochs[-1]:
        st.session_state[_EPOCH] = epochs[0]


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


def _plane(chosen: Selection, path: pd.DataFrame, kind: str, epoch: int) -> None:
    suffix = _KINDS[kind]
    columns = ["image", f"attribute_score{suffix}", f"image_score{suffix}"]
    known = at_epoch.validations(chosen.runs)
    images = at_epoch.tables(chosen.runs, "images", columns, epoch, known)
    images = images.rename(columns=dict(zip(columns, ("id", "attribute", "image"), strict=True)))
    images = _with_outside(chosen, images, suffix, epoch, known)
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
    around = charts.Plane(
        title=_TITLES[kind],
        about=f"epoch {epoch} · degrees · good: high and narrow around 0",
        attribute=attribute,
        image=image,
        caveat=chosen.caveat(f"sing/attribute_score{suffix}"),
    )
    what = f"{_TITLES[kind]} of every image at epoch {epoch}, with the path of their mean"
    draw(
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
        st.caption(f"Hollow: {far:,} of {len(images):,} images. {support.ABOUT}")
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


def _with_outside(
    chosen: Selection,
    images: pd.DataFrame,
    suffix: str,
    epoch: int,
    known: at_epoch.Validations,
) -> pd.DataFrame:
    """With ``outside``: whether the score is out of support; False where the run does not tell."""
    marked = pd.Series(False, images.index)
    for run in chosen.runs:
        rows = images["series"] == run.run_id
        if rows.any():
            at = [pair for pair in known[run.run_id] if pair[0] == epoch][-1]
            outside = support.outside(run, at, "support", "image", suffix)
            if outside is not None:
                marked |= rows & images["id"].map(outside).eq(1)
    return images.assign(outside=marked)


def _bars(chosen: Selection, histories: dict[str, pd.DataFrame], epoch: int) -> None:
    tables = []
    runs = [run for run in chosen.runs if run.run_id in histories]
    sure = intervals.at(runs, epoch)
    for key, random in _BARS.items():
        values, longest = _heights(chosen, histories, key, random, epoch)
        if longest is None:
            states.no_values(metrics.label(key))
            continue
        bounds = sure.loc[sure["metric"] == key, ["series", "low", "high"]]
        values = values.merge(bounds, on="series", how="left")
        spec = metrics.spec_of(key)
        about = [metrics.DIRECTIONS[spec.better], "grey: random subspace" if random else ""]
        around = charts.Bars(
            title=metrics.label(key),
            about=" · ".join(filter(None, [f"epoch {epoch}", *about])),
            longest=float(np.nanmax([longest, *values["high"].astype(float)])),
            caveat=chosen.caveat(key),
        )
        series = [run.series for run in runs]
        what = alt_text(f"{metrics.label(key)} at epoch {epoch}", series)
        with st.container(gap="xxsmall"):
            place = partial(draw, key=f"bars {key}", alt_text=what)
            place(charts.bars, values, around, series)
            st.caption("How to read this", help=metrics.explanation(key))
        tables.append(values.assign(metric=key, epoch=epoch).drop(columns="text"))
    if len(sure):
        intervals.say()
    if tables:
        csv_button("Bars as CSV", "bars.csv", pd.concat(tables, ignore_index=True))


def _heights(
    chosen: Selection,
    histories: dict[str, pd.DataFrame],
    key: str,
    random: str | None,
    epoch: int,
) -> tuple[pd.DataFrame, float | None]:
    """The value of each run at the epoch, and the largest of all epochs; None: there is none."""
    rows: list[dict[str, object]] = []
    seen: list[float] = []
    for run in chosen.runs:
        if run.run_id not in histories:
            continue
        history = histories[run.run_id]
        last = history[history["epoch"] == epoch].tail(1)
        heights = {}
        for name, column in (("value", key), ("random", random)):
            known = column is not None and column in history
            heights[name] = float(last[column].iloc[0]) if known and len(last) else np.nan
            seen += history[column].dropna().tolist() if known else []
        text = metrics.show(key, heights["value"])
        rows.append({"series": run.run_id, "label": run.label, **heights, "text": text})
    longest = max(seen, default=0.0)
    return pd.DataFrame(rows), longest if longest > 0 else None


page.show(
    "Trade-off",
    "How much meaning is invisible to the head, and how much of it belongs to the class?",
    body,
)
