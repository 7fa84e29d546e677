"""About what the null space speaks: angles to concepts before and after its removal."""

from __future__ import annotations

from functools import partial

import pandas as pd
import streamlit as st

from sing_monitor.app.charts import concepts as charts
from sing_monitor.app.charts.common import alt_text
from sing_monitor.app.charts.heat import heat_map
from sing_monitor.app.charts.vega import Part
from sing_monitor.app.parts import epoch_tables, support_tables
from sing_monitor.app.read import store
from sing_monitor.app.ui import page, states
from sing_monitor.app.ui.downloads import csv_button
from sing_monitor.app.ui.drawing import show_chart
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.widgets import REMOVED, epoch_slider, removal_box, run_box
from sing_monitor.app.wording import metrics, support_marks
from sing_monitor.app.wording.removals import EQUIVALENTS
from sing_monitor.app.wording.removals import suffix as suffix_of
from sing_monitor.app.wording.text import plain

_SPREAD = "Standard deviation over the images; no interval of the mean."
_EPOCHS, _RUNS = "Two epochs", "Two runs"
Steps = dict[int, tuple[int, int]]
Tables = dict[int, pd.DataFrame]


def body(chosen: Selection) -> None:
    """Controls, arrows and heat map, then what moved most."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        run = run_box(chosen)
        if not states.has_space(run):
            return
        steps = epoch_tables.last_validations(run)
        name = _class(run, steps)
        removal = removal_box(EQUIVALENTS, REMOVED)
        tables = _tables(run, steps, name)
        if tables:
            epoch = epoch_slider(sorted(tables))
    if not tables:
        _no_tables(run)
        return
    suffix = suffix_of(removal)
    wanted = ["concept", "n", "angle_before", f"angle_after{suffix}", f"attribute_score{suffix}"]
    if not states.has_columns(tables[epoch], wanted, "concepts"):
        return
    if len(tables) == 1:
        states.one_epoch()
    rows = charts.ordered(tables[epoch], suffix)
    if rows["value"].isna().all():
        states.no_values("AS toward the concepts")
        return
    shown = rows.head(charts.MOST)
    if len(rows) > len(shown):
        st.caption(
            f"The {len(shown)} concepts with the largest |AS| are drawn; "
            f"{len(rows) - len(shown):,} more are in the tables below and in the CSV file."
        )
    far = _outside(run, steps[epoch], name, suffix)
    _charts(run, shown, charts.history(_readable(tables, wanted), suffix), name, far)
    _movers(chosen, run, name, _readable(tables, wanted), epoch, suffix)
    st.subheader(f"All concepts at epoch {epoch}", anchor=False)
    columns = {"before": "Angle before", "after": "Angle after", "value": "AS"}
    if rows["spread"].notna().any():
        columns["spread"] = "Spread of AS"
    _table(
        rows,
        columns,
        "Angles to every concept before and after null removal, and AS",
    )
    csv_button("This table as CSV", "concepts.csv", rows.rename(columns={"value": "AS"}))


def _class(run: Run, steps: Steps) -> str | None:
    """The chosen class, None for all."""
    names = list(epoch_tables.class_names(run, steps[max(steps)]).values()) if steps else []
    return st.selectbox(
        "Class",
        names,
        index=None,
        key="class",
        bind="query-params",
        placeholder="All classes",
        disabled=not names,
    )


def _tables(run: Run, steps: Steps, name: str | None) -> Tables:
    """The concepts of one class, or of all images, at every epoch."""
    if name is None:
        return epoch_tables.tables_by_epoch(run, "concepts", steps)
    names = epoch_tables.class_names(run, steps[max(steps)]) if steps else {}
    index = next((index for index, each in names.items() if each == name), None)
    if index is None:
        return {}
    return epoch_tables.tables_by_epoch(run, "class_concepts", steps, where=("class_index", index))


def _readable(tables: Tables, wanted: list[str]) -> list[tuple[int, pd.DataFrame]]:
    return [(epoch, table) for epoch, table in tables.items() if set(wanted) <= set(table)]


def _outside(run: Run, at: tuple[int, int], name: str | None, suffix: str) -> str:
    """What share of the images that the concepts are about is out of support; mostly empty."""
    if name is None:
        shares = support_tables.shares(run, at, "support", "image", suffix)
    else:
        shares = support_tables.shares(run, at, "class_support", "class_index", suffix)
        indices = [
            index for index, each in epoch_tables.class_names(run, at).items() if each == name
        ]
        shares = None if shares is None else shares.reindex(indices)
    return "" if shares is None else support_marks.support_text(pd.Series([shares.mean()]))[0]


def _charts(
    run: Run, shown: pd.DataFrame, history: pd.DataFrame, name: str | None, far: str
) -> None:
    whose = name or "all classes"
    if far:
        page.legend([], with_crosses=True)
    line = f"{far} are out of support" if far else ""
    with st.grid(min_column_width=400, gap="medium") as grid:
        with grid.cell():
            said = alt_text("Angle to each concept before and after null removal", [run.series])
            show_chart(
                charts.arrows, shown, f"Concepts of {whose}", line, key="arrows", alt_text=said
            )
        with grid.cell():
            said = alt_text("AS toward each concept, concept by epoch", [run.series])
            cells, names = history[["name", "epoch", "value"]], shown["name"].tolist()
            show_chart(_heat_map, cells, names, key="heat", alt_text=said)


def _heat_map(cells: pd.DataFrame, names: list[str]) -> Part:
    return heat_map(
        cells, names, "AS", "blue: nearer after null removal, orange: farther", kind="concept"
    )


def _movers(
    chosen: Selection,
    run: Run,
    name: str | None,
    tables: list[tuple[int, pd.DataFrame]],
    epoch: int,
    suffix: str,
) -> None:
    """What changed most, between two epochs or two runs."""
    st.subheader("Biggest movers", anchor=False)
    by_epoch = dict(tables)
    others = [each for each in chosen.runs if each is not run and each.has_space]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        between = _EPOCHS
        if others:
            kinds = [_EPOCHS, _RUNS]
            between = (
                st.segmented_control(
                    "Between",
                    kinds,
                    default=_EPOCHS,
                    key="between",
                    bind="query-params",
                    required=True,
                )
                or _EPOCHS
            )
        if between == _EPOCHS:
            earlier = [each for each in by_epoch if each != epoch]
            if not earlier:
                st.caption("A second validated epoch is needed to compare with.")
                return
            start = st.selectbox(
                "Epoch to compare with", earlier, key="from", bind="query-params", width=220
            )
            base, label = by_epoch[start], f"epoch {start}"
            here = f"epoch {epoch}"
        else:
            other = next((each for each in others if each.is_baseline), others[0])
            there = _tables(other, epoch_tables.last_validations(other), name)
            if epoch not in there or f"attribute_score{suffix}" not in there[epoch]:
                st.caption(f"{plain(other.label)} has no concepts at epoch {epoch}.")
                return
            base, label, here = there[epoch], other.label, run.label
    if between == _RUNS and (caveat := chosen.caveat(f"sing/attribute_score{suffix}")):
        st.caption(f"⚠ {plain(caveat)}")
    moved = charts.movers(charts.ordered(base, suffix), charts.ordered(by_epoch[epoch], suffix))
    _table(
        moved,
        {"before": f"AS, {label}", "after": f"AS, {here}", "difference": "Difference"},
        "Concepts whose AS differs most",
    )
    csv_button(
        "The differences as CSV",
        "concept_movers.csv",
        moved.rename(columns={"before": f"AS {label}", "after": f"AS {here}"}),
    )


def _table(rows: pd.DataFrame, columns: dict[str, str], said: str) -> None:
    config = st.column_config
    signed = ("difference", "value")
    st.dataframe(
        rows,
        hide_index=True,
        column_order=["name", *columns],
        placeholder=metrics.MISSING,
        alt=said,
        column_config={
            "name": config.TextColumn("Concept", width="medium"),
            **{
                key: config.NumberColumn(
                    title,
                    format="%+.2f" if key in signed else "%.2f",
                    help=_SPREAD if key == "spread" else None,
                )
                for key, title in columns.items()
            },
        },
    )


def _no_tables(run: Run) -> None:
    """Either nobody asked for concepts, or nothing was validated."""
    config = states.quietly(partial(store.config, run.source)) or {}
    with st.container(border=True):
        if config.get("concepts"):
            st.subheader(":material/table_chart: No table of concepts yet", anchor=False)
            st.markdown(
                f"{plain(run.label)} watches concepts, but no validation has stored a table of "
                "them. The first monitored epoch writes one."
            )
            return
        st.subheader(":material/sell: This run watches no concepts", anchor=False)
        st.markdown(
            f"{plain(run.label)} was monitored without concepts. Name those that matter for your "
            "images, in plain words; the next run shows how null removal moves images to them:"
        )
        st.code('SINGCallback(concepts=["red", "striped", "in the snow"])', language="python")


page.show_page(
    "Concepts",
    "Which words does the null space speak of: toward which do images move when it is removed?",
    body,
)
