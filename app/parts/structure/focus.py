"""Where in an image its features stand: all of them, what the head sees, and what it ignores."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from sing_monitor.analyses.focus.locations import Part
from sing_monitor.app.charts import maps as charts
from sing_monitor.app.charts.maps import MapLabels
from sing_monitor.app.charts.structure.focus_rows import ImageFocus, focus_of, spread_history
from sing_monitor.app.charts.structure.spread_chart import spreads
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.parts.image_cards import ImageView
from sing_monitor.app.read import store
from sing_monitor.app.read.left_out import left_out
from sing_monitor.app.ui import states
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.wording import focus as wording
from sing_monitor.app.wording.text import plain

TABLE = "focus_maps"
_TITLES: Mapping[Part, str] = {
    "all": "All features",
    "seen": "What the head sees",
    "null": "What the head ignores",
}
# Under a map whose picture is not at hand.
_BLANK = np.full((8, 8, 3), 160, np.uint8)


def mapped_images(view: ImageView, at: tuple[int, int]) -> frozenset[str]:
    """Ids of the images whose maps a validation stores; none where it has no such table.

    Args:
        view: what is shown.
        at: epoch and global step of the validation.
    """
    read = partial(store.table, view.run.source, TABLE, *at, ("image",))
    table = states.quietly(read)
    return frozenset() if table is None or "image" not in table else frozenset(table["image"])


def draw_stored_focus(
    view: ImageView, image: str, steps: Mapping[int, tuple[int, int]], mapped: frozenset[str]
) -> None:
    """The maps of a probe image and their entropies over training, or why there are none.

    Args:
        view: what is shown.
        image: its id.
        steps: from `epoch_tables.last_validations`.
        mapped: from `mapped_images`.
    """
    st.subheader("Where its features stand", anchor=False)
    if not mapped:
        config = states.quietly(partial(store.config, view.run.source)) or {}
        st.caption(wording.no_maps(config, plain(left_out(TABLE, config, view.epoch) or "")))
        return
    if image not in mapped:
        st.caption(
            f"No map of this image: maps are stored for {len(mapped)} images of the probe. Switch "
            "on *Only with maps* above the cards and choose one of them."
        )
        return
    here = {view.epoch: steps[view.epoch]}
    rows = epoch_tables.tables_by_epoch(view.run, TABLE, here, where=("image", image))
    needed = {"part", "height", "width", "levels"}
    found = next((focus_of(each) for each in rows.values() if needed <= set(each.columns)), None)
    if found is None:
        st.caption("The maps of this image are damaged, or 0 everywhere.")
        return
    pictures = states.attempt(partial(store.thumbnails, view.run.source, [image]), view.run) or {}
    draw_focus(view, found, pictures.get(image))
    counted = epoch_tables.tables_by_epoch(view.run, "focus", steps, where=("image", image))
    history = spread_history(counted)
    if history["epoch"].nunique() > 1:
        show_chart(
            spreads,
            history,
            {str(part): title for part, title in _TITLES.items()},
            view.epoch,
            key="spreads",
            alt_text=f"Entropy of the maps of this image, against epoch; run {view.run.label}",
        )


def draw_focus(view: ImageView, found: ImageFocus, picture: NDArray[np.uint8] | None) -> None:
    """The image and its maps beside each other, with what they say in words.

    Args:
        view: what is shown.
        found: the maps.
        picture: the image (H, W, 3); None where it is not at hand.
    """
    height, width = found.grid
    seen, null = "seen" in found.shares, "null" in found.shares
    st.caption(
        f"How long the features are at each of {height} by {width} places, as a share of the whole "
        "image; one scale for all maps."
    )
    if not seen:
        st.caption(wording.NOTHING_SEEN if null else wording.HEURISTIC)
    elif not null:
        st.caption(wording.NO_NULL_SPACE)
    if math.isfinite(found.overlap):
        st.markdown(wording.together(found.overlap))
    most = max(float(each.max()) for each in found.shares.values())
    under = charts.gray(_BLANK if picture is None else picture)
    with st.grid(min_column_width=charts.SIZE + 8, gap="small") as grid:
        if picture is not None:
            with grid.cell(), st.container(gap=None):
                st.markdown("**The image**")
                st.caption("as the model sees it")
                st.image(
                    charts.enlarged(picture),
                    width=charts.SIZE,
                    output_format="PNG",
                    alt="The image",
                )
        for part, shares in found.shares.items():
            lines = wording.spread(found.entropies[part], height * width)
            title = _TITLES[part] if seen or null else "All features (heuristic)"
            with grid.cell():
                show_chart(
                    charts.overlay,
                    charts.locations(shares),
                    under,
                    MapLabels(title, lines, "share of the image", most=most, number=".1%"),
                    key=f"focus {part}",
                    alt_text=f"{title}: {', '.join(lines)} places; run {view.run.label}",
                    width="content",
                )
