"""Cards of images: picture, prediction, scores, and what lies near before and after removal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from sing_monitor.app.charts import images as charts
from sing_monitor.app.read import store
from sing_monitor.app.ui import selection, states
from sing_monitor.app.ui.pictures import png
from sing_monitor.app.ui.selection import Run
from sing_monitor.app.wording import metrics, support_marks
from sing_monitor.app.wording.removals import Removal, suffix
from sing_monitor.app.wording.text import code, one_line, plain, short

# Browsers blur what they enlarge; these pixels are repeated before.
_SIDE, TEXT, _SMALL = 120, 120, 56
_SHARP = 256
OUTSIDE = f"{support_marks.MARK} out of support"

Thumbnails = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class ImageView:
    """What the user asked to see of one validation.

    Args:
        run: which one.
        epoch: of the validation.
        score: AS or IS.
        removal: raw or centered.
        names: class names by index.
        outside: which images are out of support, by id; None where the run does not tell.
    """

    run: Run
    epoch: int
    score: str
    removal: Removal
    names: Mapping[int, str]
    outside: pd.Series[float] | None = None

    @property
    def column(self) -> str:
        """What the images are ranked by."""
        return charts.column(self.score, self.removal)

    @property
    def columns(self) -> dict[str, str]:
        """The columns of both scores."""
        return {score: charts.column(score, self.removal) for score in charts.SCORES}

    @property
    def neighbors(self) -> dict[str, str]:
        """The columns of the nearest images, before and after null removal."""
        after = f"neighbours_after{suffix(self.removal)}"
        return {"before": "neighbours_before", "after": after}

    def is_outside(self, image: str) -> bool:
        """Whether the image's scores are out of support, as far as is known."""
        return self.outside is not None and self.outside.get(image, 0.0) == 1.0

    def name(self, index: int) -> str:
        """The class's name; its number where the run stores none."""
        return self.names.get(index, f"class {index}")


def draw_cards(view: ImageView, top: pd.DataFrame, table: pd.DataFrame) -> None:
    """One card for each row of ``top``.

    Args:
        view: what is shown.
        top: rows of the table ``images``.
        table: all of it, for the classes of the neighbors.
    """
    rows = top.to_dict("records")
    near = [
        image for row in rows for name in view.neighbors.values() for image in ids_of(row, name)
    ]
    read = partial(store.thumbnails, view.run.source, [*top["image"], *near])
    pictures = states.attempt(read, view.run) or {}
    labels = table.drop_duplicates("image").set_index("image")["label"]
    with st.grid(min_column_width=300, gap="small") as grid:
        for row in rows:
            with grid.cell(), st.container(border=True, gap="xsmall"):
                head(view, row, pictures)
                for when, name in view.neighbors.items():
                    neighbors(view, f"Nearest {when}", ids_of(row, name), pictures, labels)
                _link(view, str(row["image"]))


def _link(view: ImageView, image: str) -> None:
    """Opens as any shared link does: `st.page_link` would lose what both pages keep in it."""
    link = {"of": view.run.label, "epoch": view.epoch, "image": image}
    if view.removal == "raw":
        link["removal"] = "Raw"
    address = f"explain?{urlencode({**selection.shared(), **link}, doseq=True)}"
    st.link_button("Explain", address, icon=":material/manage_search:", type="tertiary")


def head(view: ImageView, row: Mapping[str, Any], pictures: Thumbnails) -> None:
    """Picture, label, prediction and scores of one row of the table ``images``."""
    label, predicted = (plain(short(view.name(row[key]), 30)) for key in ("label", "prediction"))
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        stored = pictures.get(row["image"])
        if stored is not None:
            picture(stored, f"Image {row['image']} of class {one_line(view.name(row['label']))}")
        is_right = row["label"] == row["prediction"]
        mark = ":material/check: right" if is_right else f":material/close: wrong: **{predicted}**"
        lines = [f"**{label}**", mark]
        lines += [f"{score} {degrees(score, row[name])}" for score, name in view.columns.items()]
        lines += [OUTSIDE] if view.is_outside(row["image"]) else []
        with st.container(gap=None, width=TEXT):
            st.markdown("  \n".join(lines))
            st.caption(
                f"{'' if stored is not None else 'No picture. '}{code(short(row['image'], 40))}"
            )


def picture(pixels: NDArray[np.uint8], alt: str) -> None:
    """The picture (H, W, 3) of a card."""
    times = max(1, _SHARP // max(pixels.shape[:2]))
    st.image(png(pixels, _SIDE, times), width=_SIDE, output_format="PNG", alt=alt)


def neighbors(
    view: ImageView, what: str, ids: Sequence[str], pictures: Thumbnails, labels: pd.Series
) -> None:
    """Small pictures of images with the classes that ``labels`` gives by id.

    Of those without a stored picture the classes are named.
    """
    if not ids:
        return
    names = {
        image: short(view.name(labels[image]), 30) if image in labels.index else "?"
        for image in ids
    }
    known = [image for image in ids if image in pictures]
    others = ", ".join(plain(names[image]) for image in ids if image not in pictures)
    with st.container(gap=None):
        st.caption(f"{what}{f': {others} (no picture stored)' if others else ''}")
        with st.container(horizontal=True, gap="xsmall"):
            for image in known:
                st.image(
                    png(pictures[image], _SMALL),
                    caption=plain(short(names[image], 9)),
                    width=_SMALL,
                    output_format="PNG",
                    alt=f"{what}: an image of class {names[image]}",
                )


def degrees(score: str, value: float) -> str:
    """A score of an image in Markdown, in degrees."""
    return plain(
        metrics.value_text(f"sing/{charts.SCORES[score]}_centered", value, sign=score == "AS")
    )


def ids_of(row: Mapping[str, Any], name: str) -> list[str]:
    """The ids in a column of neighbors."""
    found = row.get(name)
    return [str(image) for image in found] if isinstance(found, (list, np.ndarray)) else []
