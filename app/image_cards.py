"""Cards of images: picture, prediction, scores, and what lies near before and after removal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from sing_monitor.app import data, metrics, states
from sing_monitor.app.charts import images as charts
from sing_monitor.app.charts.images import Pair
from sing_monitor.app.selection import Run
from sing_monitor.app.text import one_line, plain, short

# Browsers blur what they enlarge; these pixels are repeated before.
_ENLARGED, _SIDE, _TEXT, _SMALL = 4, 120, 120, 56

Thumbnails = Mapping[str, NDArray[np.uint8]]


@dataclass(frozen=True)
class View:
    """What the user asked to see of one validation.

    Args:
        run: which one.
        epoch: of the validation.
        score: AS or IS.
        pair: raw or centered.
        names: class names by index.
        outside: which images are out of support, by id; None where the run does not tell.
    """

    run: Run
    epoch: int
    score: str
    pair: Pair
    names: Mapping[int, str]
    outside: pd.Series[float] | None = None

    @property
    def column(self) -> str:
        """What the images are ranked by."""
        return charts.column(self.score, self.pair)

    @property
    def columns(self) -> dict[str, str]:
        """The columns of both scores."""
        return {score: charts.column(score, self.pair) for score in charts.SCORES}

    @property
    def neighbours(self) -> dict[str, str]:
        """The columns of the nearest images, before and after null removal."""
        after = "neighbours_after_centered" if self.pair == "centered" else "neighbours_after"
        return {"before": "neighbours_before", "after": after}

    def is_outside(self, image: str) -> bool:
        """Whether the image's scores are out of support, as far as is known."""
        return self.outside is not None and self.outside.get(image, 0.0) == 1.0

    def name(self, index: int) -> str:
        """The class's name; its number where the run stores none."""
        return self.names.get(index, f"class {index}")


def draw(view: View, top: pd.DataFrame, table: pd.DataFrame) -> None:
    """One card for each row of ``top``.

    Args:
        view: what is shown.
        top: rows of the table ``images``.
        table: all of it, for the classes of the neighbours.
    """
    rows = top.to_dict("records")
    near = [image for row in rows for name in view.neighbours.values() for image in _ids(row, name)]
    read = partial(data.thumbnails, view.run.source, [*top["image"], *near])
    pictures = states.attempt(read, view.run) or {}
    labels = table.drop_duplicates("image").set_index("image")["label"]
    with st.grid(min_column_width=300, gap="small") as grid:
        for row in rows:
            with grid.cell(), st.container(border=True, gap="xsmall"):
                _head(view, row, pictures)
                for when, name in view.neighbours.items():
                    _neighbours(view, f"Nearest {when}", _ids(row, name), pictures, labels)


def _head(view: View, row: Mapping[str, Any], pictures: Thumbnails) -> None:
    label, predicted = (plain(short(view.name(row[key]), 30)) for key in ("label", "prediction"))
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        picture = pictures.get(row["image"])
        if picture is not None:
            large = picture.repeat(_ENLARGED, axis=0).repeat(_ENLARGED, axis=1)
            alt = f"Image {row['image']} of class {one_line(view.name(row['label']))}"
            st.image(large, width=_SIDE, output_format="PNG", alt=alt)
        is_right = row["label"] == row["prediction"]
        mark = ":material/check: right" if is_right else f":material/close: wrong: **{predicted}**"
        lines = [f"**{label}**", mark]
        lines += [f"{score} {_degrees(score, row[name])}" for score, name in view.columns.items()]
        lines += [":orange[out of support]"] if view.is_outside(row["image"]) else []
        with st.container(gap=None, width=_TEXT):
            st.markdown("  \n".join(lines))
            st.caption(f"{'' if picture is not None else 'No picture. '}`{one_line(row['image'])}`")


def _neighbours(
    view: View, what: str, ids: Sequence[str], pictures: Thumbnails, labels: pd.Series
) -> None:
    known = [image for image in ids if image in pictures]
    if not known:
        return
    with st.container(gap=None):
        st.caption(what)
        with st.container(horizontal=True, gap="xsmall"):
            for image in known:
                name = short(view.name(labels[image]), 30) if image in labels.index else "?"
                st.image(
                    pictures[image],
                    caption=plain(short(name, 9)),
                    width=_SMALL,
                    output_format="PNG",
                    alt=f"{what}: an image of class {name}",
                )


def _degrees(score: str, value: float) -> str:
    return plain(metrics.show(f"sing/{charts.SCORES[score]}_centered", value, sign=score == "AS"))


def _ids(row: Mapping[str, Any], name: str) -> list[str]:
    found = row.get(name)
    return [] if found is None else [str(image) for image in found]
