"""Two images of a run: how alike they are, and which of their parts match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.maps import colored
from sing_monitor.app.charts.structure.matches import Places, matched
from sing_monitor.app.parts.image_cards import Thumbnails, ids_of
from sing_monitor.app.read import store
from sing_monitor.app.ui import states
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Run
from sing_monitor.app.wording.similarities import pair_reading
from sing_monitor.app.wording.text import one_line, plain, short

PAIR_COLUMNS = (
    *("image_a", "image_b", "spatial", "semantic", "jsd"),
    *("positions_a", "positions_b", "strengths"),
)
IMAGE_COLUMNS = (
    *("image", "class", "prediction", "height", "width", "nearest_spatial", "nearest_semantic"),
)
_SMALL = 72
_LARGEST_SIDE = 1000
_NEAREST = {"nearest_spatial": "Nearest place by place", "nearest_semantic": "Nearest part by part"}


@dataclass(frozen=True, eq=False)
class ImagesView:
    """The images of one validation.

    Args:
        run: whose.
        epoch: of the validation.
        images: from `matrices.in_order`.
        pairs: ``similarity``.
    """

    run: Run
    epoch: int
    images: pd.DataFrame
    pairs: pd.DataFrame

    def image(self, image: str) -> dict[str, Any]:
        """The row of an image of the view."""
        return dict(self.images.set_index("image", drop=False).loc[image])

    def pair(self, first: str, second: str) -> dict[str, Any] | None:
        """The row of a pair, its places in the order of the two; None for an image and itself."""
        for one, other in (("image_a", "image_b"), ("image_b", "image_a")):
            found = self.pairs[(self.pairs[one] == first) & (self.pairs[other] == second)]
            if len(found):
                row = dict(found.iloc[0])
                if one == "image_b":
                    row["positions_a"], row["positions_b"] = row["positions_b"], row["positions_a"]
                return row
        return None


def draw_pair(view: ImagesView, first: str, second: str) -> None:
    """Both images twice: lines between the same places, and between the parts that match best."""
    row = view.pair(first, second)
    if row is None:
        st.info("Choose two different images.", icon=":material/filter_2:")
        return
    one, other = view.image(first), view.image(second)
    names = [plain(short(each["name"], 50)) for each in (one, other)]
    st.markdown(
        pair_reading(
            row["spatial"],
            row["semantic"],
            float((view.pairs["spatial"] < row["spatial"]).mean()),
            float((view.pairs["semantic"] < row["semantic"]).mean()),
        )
    )
    pictures = _pictures(view, [first, second])
    drawn = tuple(colored(pictures[each]) if each in pictures else "" for each in (first, second))
    grids = [(_side(each["height"]), _side(each["width"])) for each in (one, other)]
    places = Places.of(
        row["positions_a"], row["positions_b"], row["strengths"], (grids[0], grids[1])
    )
    with st.grid(min_column_width=450, gap="medium") as grid:
        for kind, title, about, is_same in (
            ("spatial", "Place by place", "each place meets the same place of the other", True),
            ("semantic", "Part by part", "each place meets its best partner; 1: strongest", False),
        ):
            with grid.cell():
                both = " and ".join(_names(view, first, second))
                said = f"{title}: {row[kind]:.2f} alike; {both}"
                show_chart(
                    matched,
                    places,
                    drawn,
                    f"{title}: {row[kind]:.2f} alike",
                    about,
                    is_same,
                    key=f"matched {kind}",
                    alt_text=alt_text(said, [view.run.series]),
                    width="content",
                )
    verdicts = [_verdict(each) for each in (one, other)]
    stored = (first in pictures, second in pictures)
    missing = [name for name, is_there in zip(names, stored, strict=True) if not is_there]
    st.caption(
        f"Left: {names[0]}, {verdicts[0]}. Right: {names[1]}, {verdicts[1]}. Of {grids[0][0]} by "
        f"{grids[0][1]} places the {len(places.a)} strongest matches are drawn; thicker: more of "
        "the likeness." + (f" No picture is stored of {' and '.join(missing)}." if missing else "")
    )


def draw_nearest(view: ImagesView, image: str) -> None:
    """The three images most like one, place by place and part by part."""
    row = view.image(image)
    ids = [each for name in _NEAREST for each in ids_of(row, name)]
    pictures = _pictures(view, [image, *ids])
    known = view.images.set_index("image")
    st.markdown(f"**What the network finds most like {plain(short(row['name'], 50))}**")
    with st.container(horizontal=True, gap="large", vertical_alignment="top"):
        _strip("The image", [image], pictures, known, row["class"])
        for name, title in _NEAREST.items():
            _strip(title, ids_of(row, name), pictures, known, row["class"])


def _strip(title: str, ids: list[str], pictures: Thumbnails, known: pd.DataFrame, own: str) -> None:
    """Pictures beside each other, each with its class and whether that is the one asked for."""
    with st.container(width="content", gap="xxsmall"):
        st.caption(title)
        with st.container(horizontal=True, gap="xsmall"):
            for image in ids:
                name = known["class"].get(image, "?")
                mark = "" if title == "The image" else " ✓" if name == own else " ✗"
                label = f"{plain(short(name, 9))}{mark}"
                if image not in pictures:
                    st.caption(f"{label} (no picture)")
                    continue
                st.image(
                    pictures[image],
                    caption=label,
                    width=_SMALL,
                    output_format="PNG",
                    alt=f"{title}: an image of class {one_line(name)}",
                )


def _side(number: float) -> int:
    """Rows or columns of a map; one where the table does not tell."""
    return int(number) if 1 <= number < _LARGEST_SIDE else 1


def _names(view: ImagesView, *images: str) -> list[str]:
    return [short(view.image(each)["name"], 50) for each in images]


def _verdict(row: Mapping[str, Any]) -> str:
    if row["class"] == row["prediction"]:
        return "rightly predicted"
    return f"taken for {plain(short(row['prediction'], 30))}"


def _pictures(view: ImagesView, ids: list[str]) -> Thumbnails:
    return states.attempt(partial(store.thumbnails, view.run.source, ids), view.run) or {}
