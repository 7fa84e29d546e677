"""What a page shows when there is nothing to chart: why, and the next step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import pandas as pd
import streamlit as st

from sing_monitor.app.read import store
from sing_monitor.app.read.left_out import left_out
from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.ui.settings import DEFAULT_URI
from sing_monitor.app.wording.rescored import ABOUT
from sing_monitor.app.wording.text import code, count, listed, plain, short
from sing_monitor.tracking import (
    ArtifactNotFoundError,
    FolderStore,
    NotFoundError,
    RunNotFoundError,
    StoreError,
    open_store,
    redact,
    shown_address,
)

T = TypeVar("T")

# What reading a store may raise; anything else is a mistake of ours.
_EXPECTED = (NotFoundError, StoreError, ValueError)

_WITH_MLFLOW = """\
trainer = L.Trainer(
    logger=MLFlowLogger(tracking_uri="{uri}"),
    callbacks=[SINGCallback()],
)"""
_IN_A_FOLDER = """\
trainer = L.Trainer(callbacks=[SINGCallback(tracking="{uri}")])"""


def unreachable(error: Exception, uri: str) -> None:
    """The store does not answer, or is no store."""
    with st.container(border=True):
        st.subheader(":material/cloud_off: The store cannot be read", anchor=False)
        st.markdown(plain(_sentence(error)))
        st.caption(f"Tracking URI: {code(shown_address(uri))}")
        st.markdown("To read another store, start the app with its address:")
        st.code(f"sing-monitor app --tracking-uri {DEFAULT_URI}", language="bash")


def wrong_option(error: Exception) -> None:
    """The command line of the app cannot be understood."""
    with st.container(border=True):
        st.subheader(":material/terminal: The app was started with a wrong option", anchor=False)
        st.markdown(plain(_sentence(error)))


def no_runs(uri: str) -> None:
    """The store answers and no monitor wrote to it."""
    with st.container(border=True):
        st.subheader(":material/monitoring: No monitored run yet", anchor=False)
        st.markdown(
            "The store answers, but no run in it was watched by `SINGCallback`. "
            "These lines in your training script are enough:"
        )
        is_folder = isinstance(open_store(uri), FolderStore)
        snippet = _IN_A_FOLDER if is_folder else _WITH_MLFLOW
        st.code(snippet.format(uri=shown_address(uri)), language="python")
        st.markdown("The first validated epoch shows up here by itself.")
        st.caption(f"Tracking URI: {code(shown_address(uri))}")


def nothing_picked() -> None:
    """Runs exist and none is picked."""
    with st.container(border=True):
        st.subheader(":material/checklist: Pick a run", anchor=False)
        st.markdown("Choose one or more runs in the sidebar, or tick them on the page Runs.")


def unknown_runs(ids: Sequence[str], *, others: bool) -> None:
    """The address names runs that the store does not hold, and perhaps others that it holds."""
    names = listed([plain(short(run, 40)) for run in ids])
    st.warning(
        f"The link names {count(len(ids), 'run')} that this store does not hold: {names}. "
        f"Deleted, or from another store.{' The other runs are shown.' if others else ''}",
        icon=":material/link_off:",
    )


def too_many(shown: int, left_out: int) -> None:
    """More runs were picked than a chart can tell apart."""
    st.warning(
        f"{count(shown, 'run')} are shown, the most that fit; {left_out} more were picked and are "
        "left out. Take some out in the sidebar to make room.",
        icon=":material/filter_list:",
    )


def different_yardsticks(unlike: Sequence[tuple[str, list[str]]]) -> None:
    """The picked runs were scored in ways that do not compare."""
    parts = [f"{noun} ({plain(listed([short(v) for v in values]))})" for noun, values in unlike]
    st.warning(
        f"The picked runs were measured with different {listed(parts)}. What is measured in a "
        "semantic space is drawn together and marked, but its values do not compare; those of the "
        "head and of neural collapse do. To compare scores, pick runs that share all of these.",
        icon=":material/straighten:",
    )


def rescored(runs: Sequence[Run]) -> None:
    """Runs that hold the snapshot of another one."""
    said = listed([f"{plain(run.label)} is {plain(run.origin)}" for run in runs])
    st.caption(f"{said}.", help=ABOUT)


def different_degrees(unlike: Sequence[tuple[str, list[str]]]) -> None:
    """The picked runs were measured in ways that move degrees by more than models differ."""
    parts = [f"{noun} ({plain(' to '.join(values))})" for noun, values in unlike]
    st.caption(
        f":material/straighten: The runs were measured with different {listed(parts)}: degrees do "
        "not compare. Compare the refit scores and the probes.",
        help="Degrees, their ratios and the retention without refitting move with the ridge and "
        "the number of images by more than models differ; they are drawn together and marked (⚠). "
        "The refit scores (class hidden, class seen, zero-shot of the seen and of the null part) "
        "and the probes move far less. `sing-monitor rescore` puts runs that stored snapshots on "
        "one ridge and one number of images.",
    )


def degrees_that_grow(runs: Sequence[tuple[str, float]]) -> None:
    """Runs whose translator goes on learning with every further image, by label."""
    names = listed([f"{plain(label)} (saturation {value:.2f})" for label, value in runs])
    st.caption(
        f":material/trending_up: Degrees still grow with the probe: {names}.",
        help="The translator still learns with every further image, so degrees would be larger on "
        "a larger probe. They are marked (⚠). The refit scores move far less. More validation "
        "images mend it.",
    )


def has_space(run: Run) -> bool:
    """Whether a run has what is measured in a semantic space; if not, the page has said so."""
    if not run.has_space:
        _without_space([run])
    return run.has_space


def with_space_only(chosen: Selection) -> Selection:
    """The selection without the runs that have no semantic space; the page has named them."""
    without = [run for run in chosen.runs if not run.has_space]
    if without:
        _without_space(without)
    return replace(chosen, runs=tuple(run for run in chosen.runs if run.has_space))


def _without_space(runs: Sequence[Run]) -> None:
    names = listed([plain(run.label) for run in runs])
    st.info(
        f"{names} {'were' if len(runs) > 1 else 'was'} made without a semantic space "
        "(`space=None`, or `analyses=` without `sing`), and this page shows what is measured in "
        "one: train again with a space to see it, and look at the pages Geometry and Evolution for "
        "what was measured of the head.",
        icon=":material/translate:",
    )


def no_validation() -> None:
    """The picked runs exist, and nothing was validated so far."""
    st.info(
        "No validation of the picked runs has been logged yet.", icon=":material/hourglass_empty:"
    )


def no_metric() -> None:
    """No metric is chosen, so that there is nothing to draw."""
    st.info("No metric is chosen. Choose some in **Metrics** above.", icon=":material/tune:")


def incomplete_validations(run: Run, pairs: Sequence[tuple[int, int]]) -> None:
    """Validations of a run whose tables are not shown, because some are missing."""
    places = listed([f"epoch {epoch} (step {step})" for epoch, step in pairs])
    st.warning(
        f"**{plain(run.label)}**: the tables of {places} have not all arrived, and none of them is "
        "shown. They come while the training delivers them; what a killed training left behind, "
        "`sing-monitor sync` delivers, in the folder where it ran.",
        icon=":material/hourglass_bottom:",
    )


def one_epoch() -> None:
    """There is one validation, so there are points and no lines."""
    st.info(
        "One validation so far: it is drawn as a point. Lines begin with the second.",
        icon=":material/scatter_plot:",
    )


def no_steering(labels: Sequence[str]) -> None:
    """Runs that were monitored before steering was measured."""
    with st.container(border=True):
        st.subheader(":material/history: No steering in older runs", anchor=False)
        st.markdown(
            f"An older version of sing-monitor wrote {plain(listed(list(labels)))}: this "
            "validation has no table of steering. Train again, or analyze a finished model:"
        )
        st.code("sing-monitor analyze --help", language="bash")


def no_snapshot(label: str) -> None:
    """A run without stored features, on the page that explains an image from them."""
    with st.container(border=True):
        st.subheader(":material/inventory_2: No snapshot in this run", anchor=False)
        st.markdown(
            f"Concepts gained and lost, and the logits before and after, are worked out from the "
            f"features, and {plain(label)} did not store them. The next run does with:"
        )
        st.code("SINGCallback(save_snapshots=True)", language="python")


def no_table(run: Run, table: str, title: str, has_others: bool, why: str) -> None:
    """A run without the tables that a page is about.

    Args:
        run: whose.
        table: name of one of them.
        title: what is missing.
        has_others: whether it holds other tables.
        why: what may have kept it from writing these though their analysis ran, as Markdown.
    """
    later = "It holds no tables so far; they are written after each validation."
    not_chosen = _left_out(run, table)
    said = (why if has_others else later) if not_chosen is None else plain(not_chosen)
    with st.container(border=True):
        st.subheader(f":material/table_chart: {title}", anchor=False)
        st.markdown(f"**{plain(run.label)}**: {said}")


def _left_out(run: Run, table: str, epoch: int | None = None) -> str | None:
    return left_out(table, quietly(partial(store.config, run.source)) or {}, epoch)


def no_values(name: str) -> None:
    """A metric without a single number, in place of its chart."""
    st.markdown(f"**{plain(name)}**")
    st.caption(
        "No number so far: the picked runs did not log it, or it was undefined at every "
        "validation. Pick another run, or wait for the next validation."
    )


def problem(error: Exception, run: Run | None = None) -> None:
    """Something of one run cannot be read; the page goes on without it."""
    of_run = f"**{plain(run.label)}**: " if run else ""
    steps = {
        RunNotFoundError: "Take it out of the picks in the sidebar.",
        ArtifactNotFoundError: "It may appear with the next validation.",
        StoreError: "Press Reload to try again.",
    }
    step = next((text for kind, text in steps.items() if isinstance(error, kind)), "")
    st.warning(f"{of_run}{plain(_sentence(error))} {step}", icon=":material/report:")


def attempt(
    read: Callable[[], T],
    run: Run | None = None,
    table: str | None = None,
    epoch: int | None = None,
) -> T | None:
    """What ``read`` returns, or None after the page has said why it cannot be had.

    Args:
        read: asks the store.
        run: that is asked for.
        table: name of the table that is read; one whose analysis was left out is no problem.
        epoch: of the table.
    """
    try:
        return read()
    except _EXPECTED as error:
        not_chosen = None if run is None or table is None else _left_out(run, table, epoch)
        if run is None or not_chosen is None:
            problem(error, run)
        else:
            st.info(f"**{plain(run.label)}**: {plain(not_chosen)}", icon=":material/tune:")
        return None


def quietly(read: Callable[[], T]) -> T | None:
    """What ``read`` returns, or None: for what the page can do without."""
    try:
        return read()
    except _EXPECTED:
        return None


def has_columns(frame: pd.DataFrame, columns: Sequence[str], table: str) -> bool:
    """Whether a table holds what a chart needs; if not, the page has said so."""
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        st.info(
            f"The table {plain(table)} of this run has no {plain(listed(missing))}: another "
            "version of sing-monitor wrote it. Charts that need it are left out; train again, or "
            "analyze the finished model with `sing-monitor analyze`, to see them.",
            icon=":material/history:",
        )
    return not missing


def _sentence(error: Exception) -> str:
    text = redact(str(error)) or type(error).__name__
    return text[0].upper() + text[1:]
