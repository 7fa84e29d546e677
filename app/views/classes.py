"""Which classes lose or keep their meaning, and one class in detail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import streamlit as st

from sing_monitor.app import data, metrics, page, states
from sing_monitor.app.charts import classes as charts
from sing_monitor.app.charts import evolution
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.downloads import csv_button
from sing_monitor.app.drawing import draw
from sing_monitor.app.selection import Run, Selection
from sing_monitor.app.text import plain
from sing_monitor.app.widgets import epoch_slider, run_box

_PAIRS = {"Centered": "_centered", "Raw": "", "Random": "_random"}
_MOST_IMAGES = 16
_TOP = 8
_SCORE = "attribute_score"


@dataclass(frozen=True)
class View:
    """What the user asked to see.

    Args:
        run: whose classes.
        other: the run it stands beside; None with one run.
        suffix: of the pair, in the columns of the tables.
        epoch: of the distribution, and of the comparison.
    """

    run: Run
    other: Run | None
    suffix: str
    epoch: int

    @property
    def column(self) -> str:
        """The score in the tables ``classes`` and ``images``."""
        return f"{_SCORE}{self.suffix}"

    @property
    def what(self) -> str:
        """The score in words."""
        return f"AS, {'raw' if not self.suffix else self.suffix[1:]}"


def body(chosen: Selection) -> None:
    """Controls, distribution and heat map, the comparison, one class, the table."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        pair = st.segmented_control(
            "Null removal",
            list(_PAIRS),
            default="Centered",
            key="pair",
            bind="query-params",
            required=True,
            help="What stands for the image without its null part. The page Guide explains it.",
        )
        words = st.text_input("Find classes", key="find_class", bind="query-params")
        tables = _tables(run)
        if tables:
            epoch = epoch_slider(sorted(tables))
    if not tables:
        _no_tables(run)
        return
    view = View(run, _other(chosen, run), _PAIRS[pair or "Centered"], epoch)
    if not states.has_columns(tables[epoch], [view.column, "accuracy", "n"], "classes"):
        return
    if len(tables) == 1:
        states.one_epoch()
    images = _images(view)
    spread = _spread(view, images, tables[epoch])
    found = charts.matching(spread["name"].tolist(), words or "")
    if not found:
        st.info(f"No class matches {plain(words or '')}.", icon=":material/search_off:")
        return
    shown = spread[spread["name"].isin(found)].head(charts.MOST).reset_index(drop=True)
    if len(found) > len(shown):
        st.caption(
            f"The {len(shown)} classes with the lowest mean AS are drawn; "
            f"{len(found) - len(shown):,} more are in the table below and in its CSV file."
        )
    _charts(chosen, view, shown, tables)
    _one_class(chosen, view, found, tables, images)
    _table(view, spread[spread["name"].isin(found)])


def _other(chosen: Selection, run: Run) -> Run | None:
    """The baseline, or the first other pick."""
    others = [each for each in chosen.runs if each is not run]
    return next((each for each in others if each.is_baseline), next(iter(others), None))


def _validations(run: Run) -> dict[int, tuple[int, int]]:
    """The last validation of each epoch that has tables."""
    found = states.attempt(partial(data.validations, run.source), run) or []
    return {epoch: (epoch, step) for epoch, step in found}


def _tables(run: Run) -> dict[int, pd.DataFrame]:
    """The table of classes of every epoch."""
    tables = {}
    with st.spinner("Reading tables …"):
        for epoch, at in _validations(run).items():
            table = states.quietly(partial(data.table, run.source, "classes", *at))
            if table is not None and not table.empty and "class_name" in table:
                tables[epoch] = charts.named(table)
    return tables


def _images(view: View) -> pd.DataFrame | None:
    """The images of the epoch, if they can be read and hold the score."""
    at = _validations(view.run)[view.epoch]
    images = states.attempt(partial(data.table, view.run.source, "images", *at), view.run)
    wanted = ["image", "label", "prediction", "mover", view.column]
    if images is None or not states.has_columns(images, wanted, "images"):
        return None
    return images


def _spread(view: View, images: pd.DataFrame | None, classes: pd.DataFrame) -> pd.DataFrame:
    if images is None:
        images = pd.DataFrame({"label": pd.Series(dtype=int), view.column: pd.Series(dtype=float)})
    spread = charts.spread(images, classes, view.column)
    # The table of classes knows the mean even where that of images cannot be read.
    means = classes.set_index("name")[view.column]
    spread["mean"] = spread["mean"].fillna(spread["name"].map(means))
    return spread.sort_values("mean", kind="stable").reset_index(drop=True)


def _charts(
    chosen: Selection, view: View, shown: pd.DataFrame, tables: dict[int, pd.DataFrame]
) -> None:
    names = shown["name"].tolist()
    series = view.run.series
    with st.grid(min_column_width=360, gap="medium") as grid:
        with grid.cell():
            if shown["mean"].isna().all():
                states.no_values(view.what)
            else:
                said = alt_text(f"{view.what} by class at epoch {view.epoch}", [series])
                draw(charts.distribution, shown, view.what, series, key="spread", alt_text=said)
        with grid.cell():
            history = charts.stacked(tables).rename(columns={view.column: "value"})
            cells = history[["name", "epoch", "value"]]
            said = alt_text(f"Mean {view.what}, class by epoch", [series])
            draw(charts.heat_map, cells, names, f"Mean {view.what}", key="heat", alt_text=said)
        if view.other is not None:
            with grid.cell():
                _paired(chosen, view, view.other, names, tables[view.epoch])


def _paired(
    chosen: Selection, view: View, other: Run, names: list[str], here: pd.DataFrame
) -> None:
    there = _tables(other)
    # The other run may have ended before.
    epoch = max((each for each in there if each <= view.epoch), default=None)
    if epoch is None or view.column not in there[epoch]:
        st.caption(f"{plain(other.label)} has no table of classes for this epoch.")
        return
    both = charts.side_by_side(here, there[epoch], "name", view.column)
    pair = [view.run.series, other.series]
    caveat = chosen.caveat(f"sing/{view.column}")
    said = alt_text(f"Mean {view.what} by class", pair)
    page.legend(pair)
    draw(charts.paired, both, names, view.what, pair, caveat, key="paired", alt_text=said)
    late = f" {plain(other.label)} ended at epoch {epoch}." if epoch != view.epoch else ""
    st.caption(f"At epoch {view.epoch}.{late}")
    csv_button(
        "Both runs as CSV",
        "two_runs_by_class.csv",
        both.rename(columns={"one": view.run.label, "other": other.label}),
    )


def _one_class(
    chosen: Selection,
    view: View,
    names: list[str],
    tables: dict[int, pd.DataFrame],
    images: pd.DataFrame | None,
) -> None:
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
    runs = [each for each in (view.run, view.other) if each is not None]
    by_run = {run.run_id: tables if run is view.run else _tables(run) for run in runs}
    moved = f"image_score{view.suffix}"
    shown = {view.column: view.what, moved: f"I{view.what[1:]}", "accuracy": "Accuracy"}
    x_max = max((epoch for each in by_run.values() for epoch in each), default=0)
    x = evolution.x_domain(pd.Series([min(tables), x_max], dtype=float))
    with st.grid(min_column_width=260, gap="medium") as grid:
        for column, title in shown.items():
            parts = [
                rows.assign(series=run.run_id, label=run.label, difference=np.nan)
                for run in runs
                if not (rows := _curve(by_run[run.run_id], name, column)).empty
            ]
            with grid.cell():
                if not parts or all(part["value"].isna().all() for part in parts):
                    states.no_values(title)
                    continue
                panel = evolution.Panel(
                    title,
                    "share" if column == "accuracy" else "degrees",
                    "",
                    ".3f" if column == "accuracy" else ".2f",
                    "epoch",
                    x,
                    caveat="" if column == "accuracy" else chosen.caveat(f"sing/{column}"),
                )
                series = [run.series for run in runs]
                said = alt_text(f"{title} of the chosen class against epoch", series)
                values = pd.concat(parts, ignore_index=True)
                draw(evolution.curves, values, panel, series, key=f"one {column}", alt_text=said)
    index = tables[view.epoch].set_index("name")["class_index"].get(name)
    if index is not None:
        _concepts(view, int(index))
        if images is not None:
            _movers(view, images, int(index), tables[view.epoch].set_index("class_index")["name"])


def _curve(tables: dict[int, pd.DataFrame], name: str, column: str) -> pd.DataFrame:
    rows = charts.stacked({epoch: table for epoch, table in tables.items() if column in table})
    if "name" not in rows:
        return rows
    rows = rows[rows["name"] == name]
    return rows[["epoch", column]].rename(columns={column: "value"}).assign(x=rows["epoch"] * 1.0)


def _concepts(view: View, index: int) -> None:
    at = _validations(view.run)[view.epoch]
    table = states.quietly(partial(data.table, view.run.source, "class_concepts", *at))
    column = _SCORE if not view.suffix else f"{_SCORE}_centered"
    if table is None or not {"class_index", "concept", column} <= set(table.columns):
        return
    rows = table[table["class_index"] == index]
    top = rows.loc[rows[column].abs().sort_values(ascending=False).index].head(_TOP)
    said = [f"{plain(str(row['concept']))} {row[column]:+.2f}°" for _, row in top.iterrows()]
    if said:
        st.markdown(f"**Concepts that moved most**: {' · '.join(said)}")
        st.caption("AS toward each; the page Concepts shows all of them.")


def _movers(view: View, images: pd.DataFrame, index: int, names: pd.Series) -> None:
    rows = images[images["mover"].astype(bool) & (images["label"] == index)]
    rows = rows.loc[rows[view.column].abs().sort_values(ascending=False).index]
    if rows.empty:
        st.caption("None of the images that moved most at this epoch is of this class.")
        return
    st.markdown(f"**Images that moved most** ({len(rows)} of this class)")
    rows = rows.head(_MOST_IMAGES)
    pictures = states.quietly(partial(data.thumbnails, view.run.source, rows["image"])) or {}
    with st.container(horizontal=True, gap="small"):
        for _, row in rows.iterrows():
            predicted = plain(str(names.get(row["prediction"], row["prediction"])))
            with st.container(width=110, gap="xxsmall"):
                if row["image"] in pictures:
                    st.image(pictures[row["image"]], width=96)
                st.caption(
                    f"AS {row[view.column]:+.1f}°  \nseen as {predicted}  \n`{row['image']}`"
                )


def _table(view: View, spread: pd.DataFrame) -> None:
    st.subheader(f"All classes at epoch {view.epoch}", anchor=False)
    config = st.column_config
    score = partial(config.NumberColumn, format="%.2f")
    st.dataframe(
        spread,
        hide_index=True,
        column_order=["name", "n", "accuracy", "mean", "low", "q1", "median", "q3", "high"],
        placeholder=metrics.MISSING,
        alt=f"{view.what} of every class",
        column_config={
            "name": config.TextColumn("Class", width="medium"),
            "n": config.NumberColumn("Images"),
            "accuracy": config.NumberColumn("Accuracy", format="%.3f"),
            "mean": score(f"Mean {view.what}"),
            "low": score("5 %"),
            "q1": score("25 %"),
            "median": score("Median"),
            "q3": score("75 %"),
            "high": score("95 %"),
        },
    )
    csv_button("This table as CSV", "classes.csv", spread)


def _no_tables(run: Run) -> None:
    with st.container(border=True):
        st.subheader(":material/table_chart: No table of classes yet", anchor=False)
        st.markdown(
            f"{plain(run.label)} has no validation with tables: they arrive a little after the "
            "curves of the first monitored epoch. If the run has ended, its artifacts were not "
            "stored or were deleted."
        )


page.show(
    "Classes",
    "Which classes lose their meaning without the null space, and which keep it?",
    body,
)
