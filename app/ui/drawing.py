"""Put a chart on the page; making it again for the same data costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import altair as alt
import pandas as pd
import streamlit as st
from altair.utils.schemapi import debug_mode
from streamlit.dataframe_util import convert_anything_to_arrow_bytes

from sing_monitor.app.charts.vega import Part
from sing_monitor.app.read.derived import derived

# Streamlit knows a frame of up to 50,000 rows by all its values, a larger one by a sample.
_MOST_ROWS = 50_000
# Of larger data sets a chart has thousands of marks, hidden ones under the pointer among them.
_FEW_ROWS = 500
# Bytes.
_WORDS = 20_000

# A chart of Altair, or one in Vega-Lite's own words, from `charts.vega.layered`.
Chart = alt.TopLevelMixin | Part

_lock = Lock()


@dataclass(frozen=True, eq=False)
class MadeChart:
    """A chart that only has to be sent.

    Args:
        spec: in Vega-Lite's words, with the bytes of its data sets as Arrow.
        key: unique on the page.
        alt_text: what the chart shows, for those who cannot see it.
    """

    spec: dict[str, Any]
    key: str
    alt_text: str

    @property
    def size(self) -> int:
        """Bytes, about: of its data, and of its words, which take as much whatever it draws."""
        return _WORDS + sum(map(len, self.spec["datasets"].values()))


def made(build: Callable[..., Chart], *arguments: Any, key: str, alt_text: str) -> MadeChart:
    """``build(*arguments)``, for those who keep it until what they read has changed."""
    return MadeChart(_made(build, arguments), key, alt_text)


def show_made(chart: MadeChart) -> None:
    """Draw a chart that was kept."""
    st.vega_lite_chart(spec=chart.spec, key=chart.key, alt=chart.alt_text, width="stretch")


def show_known(
    known_by: Hashable,
    build: Callable[..., Chart],
    arguments: Callable[[], tuple[Any, ...]],
    *,
    key: str,
    alt_text: str,
) -> None:
    """Draw ``build(*arguments())``, made once for all that it is known by.

    Args:
        known_by: names the arguments; another one as soon as one of them has changed.
        build: see `show_chart`.
        arguments: makes them, which costs nothing where the chart is known.
        key: see there.
        alt_text: see there.
    """
    name = f"{build.__module__}.{build.__qualname__}"
    show_made(
        derived(
            (name, key, alt_text, known_by),
            lambda: made(build, *arguments(), key=key, alt_text=alt_text),
        )
    )


def show_chart(
    build: Callable[..., Chart],
    *arguments: Any,
    key: str,
    alt_text: str,
    width: Literal["stretch", "content"] = "stretch",
) -> None:
    """Draw ``build(*arguments)``.

    What was made is kept as long as the arguments are the same.

    Args:
        build: a pure function of this project, known by its name.
        arguments: data frames, frozen dataclasses, plain values and sequences of them.
        key: unique on the page.
        alt_text: what the chart shows, for those who cannot see it.
        width: the full one, or the chart's own.
    """
    st.vega_lite_chart(spec=_spec(build, arguments), key=key, alt=alt_text, width=width)


def show_chart_to_pick(
    build: Callable[..., Chart],
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


def _spec(build: Callable[..., Chart], arguments: tuple[Any, ...]) -> dict[str, Any]:
    if any(isinstance(a, pd.DataFrame) and len(a) > _MOST_ROWS for a in arguments):
        return _made(build, arguments)
    return _kept(f"{build.__module__}.{build.__qualname__}", arguments, build)


# Streamlit reads a chart and never writes to it: a copy for each page would only cost time.
@st.cache_resource(ttl="1h", max_entries=512, show_spinner=False)
def _kept(name: str, arguments: tuple[Any, ...], _build: Callable[..., Chart]) -> dict[str, Any]:
    return _made(_build, arguments)


def _made(build: Callable[..., Chart], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The chart as Vega-Lite, its data by name beside it, as the bytes that Streamlit sends."""
    frames: dict[str, pd.DataFrame] = {}
    # These settings of Altair belong to the whole process, and sessions are threads. It would write
    # every row as JSON and check every part against its schema, which takes longer than all the
    # rest; the tests of the charts do that.
    with _lock, alt.data_transformers.enable("frames", frames=frames), debug_mode(False):
        chart = build(*arguments)
        spec: dict[str, Any] = (
            _named(chart, frames) if isinstance(chart, dict) else chart.to_dict(validate=False)
        )
    # Altair's own theme fixes the size of every chart, and Streamlit's moves the first and the last
    # label away from what they name, and leaves a gap below.
    config = {key: value for key, value in spec.get("config", {}).items() if key != "view"}
    config |= {"axis": {"labelFlush": False}, "padding": {"right": 10, "bottom": 4}}
    data = {
        name: convert_anything_to_arrow_bytes(frame.reset_index(drop=True))
        for name, frame in frames.items()
    }
    if any(len(frame) > _FEW_ROWS for frame in frames.values()):
        # Else each mark is an element of the page, and says of itself what the alt text sums up.
        spec["usermeta"] = {"embedOptions": {"renderer": "canvas"}}
        config["mark"] = {**config.get("mark", {}), "aria": False}
    return {"$schema": alt.SCHEMA_URL, **spec, "config": config, "datasets": data}


def _named(chart: Part, frames: dict[str, pd.DataFrame]) -> Part:
    """With a name in the place of each data frame."""
    found = dict(chart)
    if "data" in chart:
        found["data"] = _by_name(chart["data"], frames)
    if "layer" in chart:
        found["layer"] = [_named(each, frames) for each in chart["layer"]]
    return found


def _by_name(data: pd.DataFrame, frames: dict[str, pd.DataFrame]) -> dict[str, str]:
    known = next((name for name, frame in frames.items() if frame is data), None)
    name = known or f"data {len(frames)}"
    frames[name] = data
    return {"name": name}


alt.data_transformers.register("frames", _by_name)
