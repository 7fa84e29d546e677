"""Put a chart on the page; building it again for the same data costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Literal

import altair as alt
import pandas as pd
import streamlit as st
from altair.utils.schemapi import debug_mode

# Streamlit knows a frame of up to 50,000 rows by all its values, a larger one by a sample.
_MOST_ROWS = 50_000

_lock = Lock()


def show_chart(
    build: Callable[..., alt.TopLevelMixin],
    *arguments: Any,
    key: str,
    alt_text: str,
    width: Literal["stretch", "content"] = "stretch",
) -> None:
    """Draw ``build(*arguments)``.

    Altair takes a good part of a second to make and check one chart, so what it made is kept as
    long as the arguments are the same.

    Args:
        build: a pure function of this project, known by its name.
        arguments: data frames, frozen dataclasses, plain values and sequences of them.
        key: unique on the page.
        alt_text: what the chart shows, for those who cannot see it.
        width: the full one, or the chart's own.
    """
    st.vega_lite_chart(spec=_spec(build, arguments), key=key, alt=alt_text, width=width)


def show_chart_to_pick(
    build: Callable[..., alt.TopLevelMixin],
    *arguments: Any,
    key: str,
    alt_text: str,
    selection: str,
    on_pick: Callable[[Mapping[str, Any]], None],
) -> None:
    """The same for a chart in which something can be picked.

    Args:
        build: see `show_chart`, like all that is not named here.
        arguments: see there.
        key: see there.
        alt_text: see there.
        selection: name of the chart's point selection.
        on_pick: gets the fields of the mark that was pressed, before the page runs again.
    """

    def picked() -> None:
        marks: Sequence[Mapping[str, Any]] = st.session_state[key]["selection"][selection]
        if marks:
            on_pick(marks[0])

    st.vega_lite_chart(
        spec=_spec(build, arguments),
        key=key,
        alt=alt_text,
        width="stretch",
        on_select=picked,
        selection_mode=selection,
    )


def _spec(build: Callable[..., alt.TopLevelMixin], arguments: tuple[Any, ...]) -> dict[str, Any]:
    if any(isinstance(a, pd.DataFrame) and len(a) > _MOST_ROWS for a in arguments):
        return _build(build, arguments)
    return _kept(f"{build.__module__}.{build.__qualname__}", arguments, build)


# Streamlit reads a chart and never writes to it: a copy for each page would only cost time.
@st.cache_resource(ttl="1h", max_entries=512, show_spinner=False)
def _kept(
    name: str, arguments: tuple[Any, ...], _build_chart: Callable[..., alt.TopLevelMixin]
) -> dict[str, Any]:
    return _build(_build_chart, arguments)


def _build(build: Callable[..., alt.TopLevelMixin], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The chart as Vega-Lite, its data frames by name beside it: Streamlit sends them as Arrow.

    Altair would write every row as JSON and check every part against its schema, which takes longer
    than all the rest; the tests of the charts do that.
    """
    frames: dict[str, pd.DataFrame] = {}
    # These settings of Altair belong to the whole process, and sessions are threads.
    with _lock, alt.data_transformers.enable("frames", frames=frames), debug_mode(False):
        spec: dict[str, Any] = build(*arguments).to_dict(validate=False)
    # Altair's own theme fixes the size of every chart, and Streamlit's moves the first and the last
    # label away from what they name, and leaves a gap below.
    config = {key: value for key, value in spec.get("config", {}).items() if key != "view"}
    config |= {"axis": {"labelFlush": False}, "padding": {"right": 10, "bottom": 4}}
    return {**spec, "config": config, "datasets": frames}


def _by_name(data: pd.DataFrame, frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    known = next((name for name, frame in frames.items() if frame is data), None)
    name = known or f"data {len(frames)}"
    frames[name] = data
    return {"name": name}


alt.data_transformers.register("frames", _by_name)
