"""One class in detail: its curves, the concepts and the images that moved most, and where to go."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.curves import evolution
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.parts import epoch_tables
from sing_monitor.app.parts.class_tables import ClassTables
from sing_monitor.app.read import store
from sing_monitor.app.read.derived import derived
from sing_monitor.app.ui import selection, states
from sing_monitor.app.ui.drawing import show_known
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.wording.removals import suffix
from sing_monitor.app.wording.text import plain, short

_MOST_IMAGES = 16
_TOP = 8


@dataclass(frozen=True)
class ClassView:
    """What the user asked to see.

    Args:
        run: whose classes.
        other: the run it stands beside; None with one run.
        removal: of the null part, one of `WITH_RANDOM`.
        epoch: of the distribution, and of the comparison.
    """

    run: Run
    other: Run | None
    removal: str
    epoch: int

    @property
    def runs(self) -> list[Run]:
        """Both."""
        return [run for run in (self.run, self.other) if run is not None]

    @property
    def column(self) -> str:
        """AS in the tables ``classes`` and ``images``."""
        return f"attribute_score{suffix(self.removal)}"

    @property
    def moved(self) -> str:
        """IS in the same tables."""
        return f"image_score{suffix(self.removal)}"

    @property
    def what(self) -> str:
        """AS in words."""
        return f"AS, {self.removal.lower()}"


def draw_class(
    chosen: Selection,
    view: ClassView,
    names: list[str],
    by_run: Mapping[str, ClassTables],
    images: pd.DataFrame | None,
    known_by: Hashable,
) -> None:
    """A box to choose a class, and all about it.

    Args:
        chosen: the selection.
        view: what is shown.
        names: of the classes to choose from.
        by_run: tables of classes by run id.
        images: of the epoch; None where they cannot be read.
        known_by: names the tables and the runs.
    """
    st.subheader("One class", anchor=False)
    # A default among the options would stay while the epoch moves on, and be lost to the link.
    first = names[0]
    asked = st.selectbox(
        "Class",
        names,
        index=None,
        key="class",
        bind="query-params",
        placeholder=f"{first} (first of the list)",
        width=320,
    )
    name = asked or first
    _curves(chosen, view, name, by_run, known_by)
    here = by_run[view.run.run_id].by_epoch[view.epoch].set_index("name")["class_index"]
    if name not in here:
        return
    index = int(here[name])
    _concepts(view, index)
    if images is not None:
        _movers(view, images, index, dict(zip(here, here.index, strict=True)))
    _links(view, name)


def _curves(
    chosen: Selection,
    view: ClassView,
    name: str,
    by_run: Mapping[str, ClassTables],
    known_by: Hashable,
) -> None:
    shown = {
        view.column: view.what,
        view.moved: f"IS, {view.removal.lower()}",
        "accuracy": "Accuracy",
    }
    make = partial(_rows, view, name, by_run, list(shown))
    curves = derived(("one class", known_by, name), make)
    x = evolution.x_domain(pd.Series([float(e) for t in by_run.values() for e in t.by_epoch]))
    with st.grid(min_column_width=260, gap="medium") as grid:
        for column, title in shown.items():
            values = curves[column]
            is_share = column == "accuracy"
            with grid.cell():
                if values["value"].isna().all():
                    states.no_values(title)
                    continue
                panel = Panel(
                    title=title,
                    unit="share" if is_share else "degrees",
                    direction="",
                    number_format=".3f" if is_share else ".2f",
                    x_title="epoch",
                    x_domain=x,
                    caveat="" if is_share else chosen.caveat(f"sing/{column}"),
                )
                series = [run.series for run in view.runs]
                said = alt_text(f"{title} of the chosen class against epoch", series)
                show_known(
                    (known_by, name),
                    evolution.curve_panel,
                    partial(tuple, (values, panel, series)),
                    key=f"one {column}",
                    alt_text=said,
                )


def _rows(
    view: ClassView, name: str, by_run: Mapping[str, ClassTables], columns: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """The curves of the class by column, for `evolution.curve_panel`.

    Scores also have spread and outside, NaN where unknown.
    """
    spreads = {
        f"{score}{suffix(view.removal)}": f"{score}_std{suffix(view.removal)}"
        for score in ("attribute_score", "image_score")
    }
    parts = []
    for run in view.runs:
        history = by_run[run.run_id].history
        if "name" in history:
            own = history[history["name"] == name]
            parts.append(own.assign(series=run.run_id, label=run.label, x=own["epoch"] * 1.0))
    every = pd.concat(parts, ignore_index=True)
    found = {}
    for column in columns:
        names = {column: "value"}
        if column in spreads:
            names |= {spreads[column]: "spread", "outside": "outside"}
        rows = every.reindex(columns=["series", "label", "epoch", "x", *names])
        found[column] = rows.rename(columns=names).assign(difference=np.nan)
    return found


def _concepts(view: ClassView, index: int) -> None:
    # Concepts are not measured for a random subspace; the centered removal stands in for it.
    kind = "raw" if view.removal == "Raw" else "centered"
    column = f"attribute_score{suffix(kind)}"
    at = {view.epoch: epoch_tables.last_validations(view.run)[view.epoch]}
    wanted = ("concept", column)
    found = epoch_tables.tables_by_epoch(
        view.run, "class_concepts", at, columns=wanted, where=("class_index", index)
    )
    table = found.get(view.epoch)
    if table is None or not set(wanted) <= set(table.columns):
        return
    known = table.dropna(subset=column)
    top = known.loc[known[column].abs().sort_values(ascending=False, kind="stable").index]
    rows = top.head(_TOP).to_dict("records")
    if rows:
        said = [f"{plain(short(str(row['concept']), 40))} {row[column]:+.2f}°" for row in rows]
        st.markdown(f"**Concepts that moved most** ({kind} AS toward each): {' · '.join(said)}")


def _movers(view: ClassView, images: pd.DataFrame, index: int, names: Mapping[int, str]) -> None:
    rows = images[images["mover"].astype(bool) & (images["label"] == index)]
    rows = rows.loc[rows[view.column].abs().sort_values(ascending=False).index]
    if rows.empty:
        st.caption("None of the images that moved most at this epoch is of this class.")
        return
    st.markdown(f"**Images that moved most** ({len(rows)} of this class)")
    shown = rows.head(_MOST_IMAGES)
    pictures = states.quietly(partial(store.thumbnails, view.run.source, shown["image"])) or {}
    with st.container(horizontal=True, gap="small"):
        for row in shown.to_dict("records"):
            is_right = row["prediction"] == index
            seen = names.get(row["prediction"], f"class {row['prediction']}")
            said = "right" if is_right else f"taken for **{plain(short(seen, 20))}**"
            with st.container(width=110, gap="xxsmall"):
                if row["image"] in pictures:
                    alt = f"Image {row['image']}, {'right' if is_right else f'taken for {seen}'}"
                    st.image(pictures[row["image"]], width=96, alt=alt)
                st.caption(f"AS {row[view.column]:+.1f}°  \n{said}")


def _links(view: ClassView, name: str) -> None:
    """To the pages that show the class at greater length.

    They open as any shared link does: on a change of page Streamlit drops the parameters that both
    pages know.
    """
    link = {"class": name, "epoch": view.epoch, "of": view.run.label}
    if view.removal == "Raw":
        link["removal"] = "Raw"
    with st.container(horizontal=True, gap="small"):
        for page, label, icon in (
            ("images", "All its images", "image"),
            ("concepts", "All its concepts", "translate"),
        ):
            address = f"{page}?{urlencode({**selection.shared(), **link}, doseq=True)}"
            st.link_button(label, address, icon=f":material/{icon}:")
