"""Widgets and columns that several pages share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from sing_monitor.app.ui.selection import Run, Selection
from sing_monitor.app.wording import support_marks


def epoch_slider(epochs: Sequence[int], *, label: str = "At epoch", key: str = "epoch") -> int:
    """Choose one of the epochs; part of the address, and absent where there is no choice.

    It stands at the last epoch, and follows it while a run grows, until somebody moves it.

    Args:
        epochs: sorted, at least one.
        label: of the slider.
        key: its name in the address; pages that share one share the choice.
    """
    last = epochs[-1]
    chosen, seen = st.session_state.get(key), f"{key} last"
    must_move = (
        chosen is not None
        and chosen != last
        and (chosen not in epochs or chosen == st.session_state.get(seen))
    )
    if must_move:
        st.session_state[key] = last
    st.session_state[seen] = last
    if len(epochs) < 2:
        return last
    # Streamlit takes a default and a set value for a mistake.
    default: dict[str, Any] = {} if must_move else {"value": last}
    return int(st.select_slider(label, epochs, key=key, bind="query-params", **default))


# What the choice is about, on pages of many images.
REMOVED = "What stands for the image without its null part. The page Guide explains it."


def removal_box(kinds: Sequence[str], about: str) -> str:
    """Choose what is removed from an image; pages share the choice through the address.

    Args:
        kinds: what there is to choose from; ``"Centered"``, where it begins, among them.
        about: a help text.
    """
    kind = st.segmented_control(
        "Null removal",
        kinds,
        default="Centered",
        key="removal",
        bind="query-params",
        required=True,
        help=about,
    )
    return kind or "Centered"


def mark_column() -> Any:
    """A narrow column of crosses, beside the scores that they are about."""
    about = f"{support_marks.MARK}: {support_marks.OUT_OF_SUPPORT} {support_marks.MARK_RULE}"
    return st.column_config.TextColumn(support_marks.MARK, width=36, help=about)


def run_box(chosen: Selection) -> Run:
    """Choose one of the picked runs; at first the newest that is not the baseline."""
    labels = {run.label: run for run in chosen.runs}
    if len(labels) == 1:
        return chosen.runs[0]
    first = next(run for run in chosen.runs if not run.is_baseline)
    names = list(labels)
    name = st.selectbox("Run", names, index=names.index(first.label), key="of", bind="query-params")
    return labels.get(name or "", first)
