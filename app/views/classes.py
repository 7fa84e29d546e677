"""Which classes lose or keep their meaning, and one class in detail."""

from __future__ import annotations

from collections.abc import Hashable
from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import classes as charts
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.heat import heat_map
from sing_monitor.app.parts import class_tables, epoch_tables
from sing_monitor.app.parts.class_detail import ClassView, draw_class
from sing_monitor.app.parts.class_tables import ClassTables
from sing_monitor.app.read import store
from sing_monitor.app.read.derived import derived
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_known
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.widgets import REMOVED, epoch_slider, mark_column, removal_box, run_box
from sing_monitor.app.wording import hidden_classes, metrics, support_marks
from sing_monitor.app.wording.removals import WITH_RANDOM, suffix
from sing_monitor.app.wording.text import plain, short
from sing_monitor.scores.class_leaks import FALSE_DISCOVERIES, OUT_OF_LINE

_LEAK = (
    "A class leaks if its centered AS is below zero, differs from that of the other images "
    f"(q below {FALSE_DISCOVERIES:g}: the share of false discoveries) and lies more than "
    f"{OUT_OF_LINE:g} robust standard deviations below the other classes."
)

_SPREAD = "Over the images of the class: their spread, not an interval of the mean."
_OUTSIDE = (
    f"Share of the images of the class. {support_marks.OUT_OF_SUPPORT} {support_marks.MARK_RULE}"
)


def body(chosen: Selection) -> None:
    """Controls, distribution and heat map, the comparison, one class, the table."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        if not states.has_space(run):
            return
        removal = removal_box(WITH_RANDOM, REMOVED)
        words = st.text_input("Find classes", key="find_class", bind="query-params")
        ending = suffix(removal)
        tables = class_tables.read(run, ending)
        if tables.by_epoch:
            epoch = epoch_slider(sorted(tables.by_epoch))
    if not tables.by_epoch:
        _no_tables(run)
        return
    tables = class_tables.with_support(run, tables, epoch, ending)
    view = ClassView(run, _other(chosen, run), removal, epoch)
    if not states.has_columns(tables.by_epoch[epoch], [view.column, "accuracy", "n"], "classes"):
        return
    if len(tables.by_epoch) == 1:
        states.one_epoch()
    images = _images(view)
    known_by = tables.known_by, epoch, view.column, images is None
    classes = tables.by_epoch[epoch]
    spread = derived(("spread", known_by), partial(_spread, view, images, classes))
    if said := hidden_classes.sentence(spread, epoch):
        st.markdown(said, help=hidden_classes.ABOUT)
    found = charts.matching(spread["name"].tolist(), words or "")
    if not found:
        st.info(f"No class matches {plain(words or '')}.", icon=":material/search_off:")
        return
    wanted = set(found)
    is_found = [name in wanted for name in spread["name"]]
    shown = spread[is_found].head(charts.MOST).reset_index(drop=True)
    if len(found) > len(shown):
        st.caption(
            f"The {len(shown)} classes {hidden_classes.order(spread)} are drawn; "
            f"{len(found) - len(shown):,} more are in the table below and in its CSV file."
        )
    by_run = {run.run_id: tables}
    if view.other is not None:
        others = class_tables.read(view.other, ending)
        # It may have ended before.
        last = max((each for each in others.by_epoch if each <= epoch), default=epoch)
        others = class_tables.with_support(view.other, others, last, ending)
        by_run[view.other.run_id] = others
    drawn_by = chosen.known_by, words, known_by, *(each.known_by for each in by_run.values())
    _charts(chosen, view, shown, by_run, drawn_by)
    draw_class(chosen, view, found, by_run, images, drawn_by)
    spread = derived(("trust", known_by), partial(_trust, view, spread, classes))
    _table(view, spread[is_found])


def _other(chosen: Selection, run: Run) -> Run | None:
    """The baseline, or the first other pick."""
    others = [each for each in chosen.runs if each is not run and each.has_space]
    return next((each for each in others if each.is_baseline), next(iter(others), None))


def _images(view: ClassView) -> pd.DataFrame | None:
    """The images of the epoch, if they can be read and hold the score."""
    at = epoch_tables.last_validations(view.run)[view.epoch]
    wanted = ["image", "label", "prediction", "mover", view.column]
    images = states.attempt(partial(store.table, view.run.source, "images", *at, wanted), view.run)
    if images is None or not states.has_columns(images, wanted, "images"):
        return None
    return images


def _spread(view: ClassView, images: pd.DataFrame | None, classes: pd.DataFrame) -> pd.DataFrame:
    if images is None:
        images = pd.DataFrame({"label": pd.Series(dtype=int), view.column: pd.Series(dtype=float)})
    spread = charts.spread(images, classes, view.column)
    # The table of classes knows the mean even where that of images cannot be read.
    means = classes.set_index("name")[view.column]
    spread["mean"] = spread["mean"].fillna(spread["name"].map(means))
    spread = spread.sort_values("mean", kind="stable").reset_index(drop=True)
    return charts.hidden_first(spread, classes)


def _charts(
    chosen: Selection,
    view: ClassView,
    shown: pd.DataFrame,
    by_run: dict[str, ClassTables],
    known_by: Hashable,
) -> None:
    names = shown["name"].tolist()
    page.legend(
        [run.series for run in (view.run, view.other) if run is not None],
        with_crosses=any(
            support_marks.is_marked(tables.history["outside"]).any()
            for tables in by_run.values()
            if tables.by_epoch
        ),
    )
    with st.grid(min_column_width=360, gap="medium") as grid:
        with grid.cell():
            _distribution(view, shown, known_by)
        with grid.cell():
            if view.other is None:
                _heat_map(view, names, by_run, known_by)
            else:
                both = _paired(chosen, view, view.other, names, by_run, known_by)
    if view.other is not None:
        _below(view, view.other, both)
        _heat_map(view, names, by_run, known_by)


def _distribution(view: ClassView, shown: pd.DataFrame, known_by: Hashable) -> None:
    if shown["mean"].isna().all():
        states.no_values(view.what)
        return
    series = view.run.series
    said = alt_text(f"{view.what} by class at epoch {view.epoch}", [series])
    show_known(
        known_by,
        charts.distribution,
        lambda: (shown, view.what, series),
        key="spread",
        alt_text=said,
    )


def _heat_map(
    view: ClassView, names: list[str], by_run: dict[str, ClassTables], known_by: Hashable
) -> None:
    def arguments() -> tuple[pd.DataFrame, list[str], str, str]:
        history = by_run[view.run.run_id].history.rename(columns={view.column: "value"})
        cells = history[["name", "epoch", "value", "outside"]]
        return cells, names, f"Mean {view.what}", about

    said = alt_text(f"Mean {view.what}, class by epoch", [view.run.series])
    about = f"{short(view.run.label)} · blue: toward the class, orange: away from it"
    show_known(known_by, heat_map, arguments, key="heat", alt_text=said)


def _paired(
    chosen: Selection,
    view: ClassView,
    other: Run,
    names: list[str],
    by_run: dict[str, ClassTables],
    known_by: Hashable,
) -> tuple[int, pd.DataFrame] | None:
    """The other run's epoch, and what is drawn; None if it has no such table."""
    here, there = by_run[view.run.run_id].by_epoch[view.epoch], by_run[other.run_id].by_epoch
    # The other run may have ended before.
    epoch = max((each for each in there if each <= view.epoch), default=None)
    if epoch is None or view.column not in there[epoch]:
        st.caption(f"{plain(other.label)} has no table of classes for this epoch.")
        return None
    compared = partial(charts.side_by_side, here, there[epoch], "name", view.column)
    both = derived(("paired", known_by), compared)
    pair = [view.run.series, other.series]
    caveat = chosen.caveat(f"sing/{view.column}")
    said = alt_text(f"Mean {view.what} by class", pair)
    show_known(
        known_by,
        charts.paired,
        lambda: (both, names, view.what, pair, caveat),
        key="paired",
        alt_text=said,
    )
    return epoch, both


def _below(view: ClassView, other: Run, paired: tuple[int, pd.DataFrame] | None) -> None:
    """Below both charts, so that neither is higher than the other."""
    if paired is None:
        return
    epoch, both = paired
    late = f" {plain(other.label)} ended at epoch {epoch}." if epoch != view.epoch else ""
    with st.container(horizontal=True, vertical_alignment="center"):
        csv_button(
            "Both runs as CSV",
            "two_runs_by_class.csv",
            both.rename(columns={"one": view.run.label, "other": other.label}),
        )
        st.caption(f"At epoch {view.epoch}.{late}", width="content")


def _trust(view: ClassView, spread: pd.DataFrame, classes: pd.DataFrame) -> pd.DataFrame:
    """With a mark for hidden classes, of earlier versions for leaking ones, and ``outside``."""
    if "hidden" in spread:
        words = spread["hidden"].map({True: "hidden", False: ""})
        spread = spread.assign(hidden=words, q=spread["hidden_q"])
    elif {"attribute_q", "attribute_deviation"} <= set(classes.columns):
        known = classes.set_index("class_index")
        known = known.assign(leak=charts.leaking(known).map({True: "leaks", False: ""}))
        spread = spread.assign(
            q=spread["class_index"].map(known["attribute_q"]),
            leak=spread["class_index"].map(known["leak"]),
        )
    if spread["outside"].isna().all():
        return spread.drop(columns="outside")
    mark = support_marks.is_marked(spread["outside"]).map({True: support_marks.MARK, False: ""})
    return spread.assign(mark=mark)


def _table(view: ClassView, spread: pd.DataFrame) -> None:
    st.subheader(f"All classes at epoch {view.epoch}", anchor=False)
    config = st.column_config
    score = partial(config.NumberColumn, format="%.2f")
    trust = [column for column in ("mark", "outside", "leak", "q") if column in spread]
    hidden = ["hidden", "zero_shot", "zero_shot_seen", "q"] if "hidden" in spread else []
    trust = [column for column in trust if column not in hidden]
    about = hidden_classes.ABOUT if hidden else _LEAK
    st.dataframe(
        spread,
        hide_index=True,
        column_order=[
            *("name", *hidden, "n", "accuracy", "mean", *trust),
            *("low", "q1", "median", "q3", "high"),
        ],
        placeholder=metrics.MISSING,
        alt=f"{view.what} of every class",
        column_config={
            "name": config.TextColumn("Class", width="medium"),
            "n": config.NumberColumn("Images"),
            "accuracy": config.NumberColumn("Accuracy", format="%.3f"),
            "mean": score(f"Mean {view.what}"),
            "mark": mark_column(),
            "leak": config.TextColumn("Leak", help=_LEAK),
            "hidden": config.TextColumn("Hidden", help=hidden_classes.ABOUT),
            "zero_shot": config.NumberColumn("Right: all", format="%.3f", help=hidden_classes.READ),
            "zero_shot_seen": config.NumberColumn(
                "Right: seen", format="%.3f", help=hidden_classes.READ_SEEN
            ),
            "q": config.NumberColumn(
                "q" if hidden else "q, AS centered", format="%.2g", help=about
            ),
            "outside": config.NumberColumn("Out of support", format="percent", help=_OUTSIDE),
            "low": score("5 %", help=_SPREAD),
            "q1": score("25 %", help=_SPREAD),
            "median": score("Median", help=_SPREAD),
            "q3": score("75 %", help=_SPREAD),
            "high": score("95 %", help=_SPREAD),
        },
    )
    if hidden or "leak" in spread:
        st.caption(about)
    csv_button("This table as CSV", "classes.csv", spread)


def _no_tables(run: Run) -> None:
    with st.container(border=True):
        st.subheader(":material/table_chart: No table of classes yet", anchor=False)
        st.markdown(
            f"{plain(run.label)} has no validation with tables: they arrive a little after the "
            "curves of the first monitored epoch. If the run has ended, its artifacts were not "
            "stored or were deleted."
        )


page.show_page(
    "Classes",
    "Which classes lose their meaning without the null space, and which keep it?",
    body,
)
