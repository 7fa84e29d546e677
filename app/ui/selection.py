"""Which runs are looked at: picked runs and baseline, in the page's address, in fixed colors."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
import streamlit as st

from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.read import store
from sing_monitor.app.read.sources import RunSource
from sing_monitor.app.ui.run_names import colors, one_row_a_run, variants
from sing_monitor.app.ui.settings import tracking_uri
from sing_monitor.app.wording import degrees, metrics
from sing_monitor.app.wording.run_reading import NO_REFERENCE
from sing_monitor.app.wording.text import listed

MAX_RUNS = 20
RUNNING = "RUNNING"
_STATE = "selection"
# Of the last validation: one that a resumed run repeats takes another time.
_PROGRESS = ("monitor/global_step", "monitor/seconds")
_START_WITH = 2
# Of more runs a page draws less, until it is asked to.
_FEW = 4


@dataclass(frozen=True)
class Run:
    """One picked run, as every page shows it.

    Args:
        run_id: the MLflow run.
        label: short, and different from every other run's label.
        series: how charts draw the run; its color is the same whatever else is picked.
        source: where `store` reads it.
        row: of `list_runs`.
    """

    run_id: str
    label: str
    series: SeriesStyle
    source: RunSource
    row: pd.Series

    @property
    def is_baseline(self) -> bool:
        """Whether it is drawn dashed, and what the others are compared with."""
        return self.series.is_baseline

    @property
    def is_running(self) -> bool:
        """Whether more is to come."""
        return bool(self.row["status"] == RUNNING)

    @property
    def origin(self) -> str:
        """Where the numbers of a rescored run come from; empty for a run of its own."""
        return str(self.row["origin"])

    @property
    def has_space(self) -> bool:
        """Whether it was watched with a semantic space, without which there are no scores."""
        return self.tag("reference") != NO_REFERENCE

    def tag(self, key: str) -> str:
        """The monitor's tag ``sing.<key>``, empty where there is none."""
        value = self.row.get(f"sing.{key}")
        return value if isinstance(value, str) else ""


@dataclass(frozen=True)
class Selection:
    """What the pages show.

    Args:
        uri: the tracking URI.
        listing: one row for each run of the store, newest first, from `one_row_a_run`.
        runs: the picked ones, in the order they were picked.
        unknown: ids of the address that the store does not hold.
        left_out: how many runs were asked for beyond `MAX_RUNS`.
        pulse: differs as soon as any run of the store begins, validates or ends.
        version: of the listing.
    """

    uri: str
    listing: pd.DataFrame
    runs: tuple[Run, ...]
    unknown: tuple[str, ...] = ()
    left_out: int = 0
    pulse: frozenset[Hashable] = frozenset()
    version: Hashable = None

    @property
    def known_by(self) -> Hashable:
        """Another one as soon as anything of the picked runs or of the listing has changed."""
        return self.version, tuple((run.source, run.series) for run in self.runs)

    @property
    def baseline(self) -> Run | None:
        """The run that the others are compared with."""
        return next((run for run in self.runs if run.is_baseline), None)

    @property
    def is_live(self) -> bool:
        """Whether a picked run still grows."""
        return any(run.is_running for run in self.runs)

    @property
    def series(self) -> list[SeriesStyle]:
        """How charts draw the runs."""
        return [run.series for run in self.runs]

    def caveat(self, key: str) -> str:
        """What to heed of the runs' values of a metric, for the chart itself; may be empty."""
        if not metrics.needs_space(key):
            return ""
        if unlike := listed([noun for noun, _ in differences(self.runs)]):
            return f"different {unlike}: these curves do not compare"
        return degrees.caveat(self.last_values) if degrees.move(key) else ""

    def compares(self, key: str) -> bool:
        """Whether the difference of two runs' values of a metric means something."""
        if not metrics.needs_space(key):
            return True
        is_moved = degrees.move(key) and bool(degrees.unlike(self.last_values))
        return not (differences(self.runs) or is_moved)

    @cached_property
    def last_values(self) -> list[dict[str, object]]:
        """The latest values of each run that has scores, by catalogue key."""
        return [run.row.to_dict() for run in self.runs if run.has_space]


def is_many(runs: Sequence[Run]) -> bool:
    """Whether a page shows at first only what the runs are compared by."""
    return len(runs) > _FEW


# What the scores of a run stand on: its name in the plural, and the value of a run that says none.
_YARDSTICKS = {
    "reference": ("references", "unknown"),
    "space": ("semantic spaces", "unknown"),
    "invariance": ("invariances", "logits"),
}


def differences(runs: Iterable[Run]) -> list[tuple[str, list[str]]]:
    """In what the yardsticks of the runs differ, and their values; empty if scores compare.

    Runs without a semantic space have no scores that could be compared.
    """
    scored = [run for run in runs if run.has_space]
    found = []
    for key, (noun, unsaid) in _YARDSTICKS.items():
        values = sorted({run.tag(key) or unsaid for run in scored})
        if len(values) > 1:
            found.append((noun, values))
    return found


@dataclass
class Picks:
    """What the user has chosen, by id; lives as long as the browser's tab.

    Args:
        runs: picked, in order.
        baseline: one of them.
        experiment: whose runs are offered; None: all.
        monitor: which one, of runs that have several.
        unknown: ids that the store does not hold.
        left_out: how many more runs were asked for than fit.
    """

    runs: list[str] = field(default_factory=list)
    baseline: str | None = None
    experiment: str | None = None
    monitor: str | None = None
    unknown: list[str] = field(default_factory=list)
    left_out: int = 0

    def pick(self, runs: Iterable[str]) -> None:
        """Take these runs, as many as fit a chart; a baseline among them stays."""
        asked = list(dict.fromkeys(runs))
        self.runs = asked[:MAX_RUNS]
        self.left_out = len(asked) - len(self.runs)
        self.unknown = []
        if self.baseline not in self.runs:
            self.baseline = None


def current() -> Selection:
    """The selection of this moment, fresh from the cache.

    Raises:
        StoreError: if the store cannot be reached.
        ValueError: if the app was started with a wrong option.
    """
    uri = tracking_uri()
    shown = _shown(store.listing(uri), _first_value("monitor"))
    chosen = picks(shown.listing)
    _drop_unknown(chosen, shown.colors.keys())
    variant = variants(chosen.runs, shown.colors)
    runs = []
    for run in chosen.runs:
        row = shown.listing.iloc[shown.places[run]]
        is_baseline = run == chosen.baseline
        series = SeriesStyle(run, row["label"], shown.colors[run], is_baseline, variant[run])
        runs.append(Run(run, row["label"], series, run_source(uri, row), row))
    unknown = tuple(chosen.unknown)
    return Selection(
        uri, shown.listing, tuple(runs), unknown, chosen.left_out, shown.pulse, shown.version
    )


@dataclass(frozen=True, eq=False)
class _Shown:
    """The runs of a store with one monitor each; nothing of it hangs on what is picked."""

    # Held, so that no other table can take its place in the memory.
    found: pd.DataFrame
    listing: pd.DataFrame
    colors: dict[str, str]
    places: dict[str, int]
    pulse: frozenset[Hashable]
    # Equal to itself alone; what is kept by it does not hold the tables.
    version: object = field(default_factory=object)


# Of 400 runs, this takes longer than many a page; it is asked for three times a page.
@st.cache_resource(max_entries=16, show_spinner=False, hash_funcs={pd.DataFrame: id})
def _shown(found: pd.DataFrame, monitor: str | None) -> _Shown:
    """Kept by the identity of the list, which `run_list` never changes."""
    listing = one_row_a_run(found, monitor)
    ids = listing["run_id"].tolist()
    changes = ("run_id", "name", "status", "end_time", *_PROGRESS)
    columns = [listing[name] if name in listing else [None] * len(ids) for name in changes]
    pulse = frozenset(zip(*(map(str, column) for column in columns), strict=True))
    places = {run: place for place, run in enumerate(ids)}
    return _Shown(found, listing, colors(ids), places, pulse)


def picks(listing: pd.DataFrame) -> Picks:
    """The picks of this session; at first those of the address, else the newest runs."""
    if listing.empty:
        # The choice waits until there is one.
        return Picks()
    if _STATE not in st.session_state:
        asked = [run for text in st.query_params.get_all("runs") for run in text.split(",") if run]
        runs = asked or listing["run_id"].head(_START_WITH).tolist()
        chosen = Picks(experiment=_first_value("experiment"), monitor=_first_value("monitor"))
        chosen.pick(runs)
        baseline = _first_value("baseline")
        # Without a link the older run is what the newer one is compared with.
        default = runs[-1] if not asked and len(runs) > 1 else None
        chosen.baseline = baseline if baseline in chosen.runs else default
        st.session_state[_STATE] = chosen
    state: Picks = st.session_state[_STATE]
    return state


def write_address() -> None:
    """Put the picks into the page's address, so that it can be shared."""
    for key, values in shared().items():
        if st.query_params.get_all(key) == values:
            continue
        if values:
            st.query_params[key] = values
        elif key in st.query_params:
            del st.query_params[key]


def shared() -> dict[str, list[str]]:
    """What the address of every page holds: the picks, by parameter."""
    chosen: Picks | None = st.session_state.get(_STATE)
    if chosen is None:
        return {}
    single = {key: getattr(chosen, key) for key in ("baseline", "experiment", "monitor")}
    return {
        "runs": chosen.runs,
        **{key: [value] if value else [] for key, value in single.items()},
    }


def _first_value(key: str) -> str | None:
    chosen: Picks | None = st.session_state.get(_STATE)
    if chosen is not None:
        value: str | None = getattr(chosen, key)
        return value
    return next(iter(st.query_params.get_all(key)), None)


def _drop_unknown(chosen: Picks, known: Collection[str]) -> None:
    gone = [run for run in chosen.runs if run not in known]
    chosen.runs = [run for run in chosen.runs if run in known]
    chosen.unknown = list(dict.fromkeys([*chosen.unknown, *gone]))
    if chosen.baseline not in chosen.runs:
        chosen.baseline = None


def run_source(uri: str, row: Mapping[str, Any] | pd.Series) -> RunSource:
    """The address of a run for `store`: another one as soon as the run has changed.

    Args:
        uri: the tracking URI.
        row: of `list_runs`.
    """
    state = f"{row['status']} {row['end_time']}"
    progress = " ".join(str(row.get(key)) for key in _PROGRESS)
    return RunSource(uri, str(row["run_id"]), row["name"], state, progress)
