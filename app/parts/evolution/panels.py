"""The panels of the page Evolution, made from the curves of the picked runs; nothing is drawn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from sing_monitor.app.charts.common import SeriesStyle, alt_text, swatch
from sing_monitor.app.charts.curves import evolution as charts
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.parts.evolution.controls import CurveView
from sing_monitor.app.read import alerts, curves
from sing_monitor.app.read.derived import CELL
from sing_monitor.app.ui import hierarchies
from sing_monitor.app.ui.drawing import MadeChart, made
from sing_monitor.app.ui.selection import Selection
from sing_monitor.app.wording import metrics, random_heads, support_marks
from sing_monitor.app.wording.text import count, plain

_X_TITLES = {"Epoch": "epoch", "Step": "global step"}
# More would take as much room as the panel above; the table of numbers has them all.
_MOST_CHANGES = 4


@dataclass(frozen=True)
class Cell:
    """One metric.

    Args:
        label: its name.
        charts: one, or one for each tree of classes; none where no run has a number.
        below: the line below them; may be empty.
        about: its help text.
    """

    label: str
    charts: tuple[MadeChart, ...] = ()
    below: str = ""
    about: str | None = None


@dataclass(frozen=True)
class Curves:
    """What the page shows of the curves.

    Args:
        long: from `curves.long_table`, with ``difference`` and ``outside``.
        table: the same of the metrics that have a panel.
        has_one_epoch: of every run.
        x_title: what the axis counts.
        x_domain: of the axis of all panels.
        series: what the legend names, like the rest.
        with_random: whether a panel shows random subspaces.
        with_chance: whether one shows what chance gives.
        with_walks: whether one shows random walks.
        with_crosses: whether a score is out of support.
        sections: the panels by the heading above them.
        more: those of the section that stays closed at first.
    """

    long: pd.DataFrame
    table: pd.DataFrame
    has_one_epoch: bool
    x_title: str
    x_domain: tuple[float, float]
    series: list[SeriesStyle]
    with_random: bool
    with_chance: bool
    with_walks: bool
    with_crosses: bool
    sections: list[tuple[str, list[Cell]]]
    more: list[Cell]

    @property
    def size(self) -> int:
        """Bytes, about."""
        cells = itertools.chain(self.more, *(cells for _, cells in self.sections))
        drawn = (chart for cell in cells for chart in cell.charts)
        return CELL * (self.long.size + self.table.size) + sum(chart.size for chart in drawn)


def epochs_of(histories: Mapping[str, pd.DataFrame]) -> list[int]:
    """All epochs of the runs, in order.

    Args:
        histories: by run id, from `page.read_histories`.
    """
    parts = [history["epoch"].to_numpy() for history in histories.values()]
    return np.unique(np.concatenate(parts)).tolist() if parts else []


def curves_of(
    chosen: Selection,
    view: CurveView,
    read: Sequence[str],
    histories: Mapping[str, pd.DataFrame],
    sure: Mapping[str, pd.DataFrame],
    alerted: pd.DataFrame,
) -> Curves:
    """All panels.

    Args:
        chosen: whose curves.
        view: what the user asked to see.
        read: keys of the catalogue that were read.
        histories: of at least one validation, by run id.
        sure: intervals by run id, from `intervals.by_run`.
        alerted: from `alert_list.of_runs`.
    """
    long = curves.long_table(
        histories,
        [*read, *view.own],
        axis=view.axis,
        labels={run.run_id: run.label for run in chosen.runs},
        started={run.run_id: run.row["start_time"] for run in chosen.runs},
    )
    x_title = _X_TITLES.get(view.axis, "")
    if view.axis == "Time":
        unit, seconds = curves.time_unit(long["x"])
        long, x_title = long.assign(x=long["x"] / seconds), f"{unit} since the start"
    long = curves.add_difference(long, chosen.baseline.run_id if chosen.baseline else None)
    long = hierarchies.comparable_differences(chosen, long)
    supports = {key: metrics.support_of(key) for key in long["metric"].unique()}
    long = long.assign(outside=curves.beside(long, supports))
    maker = _Maker(chosen, view, long, sure, alerted, x_title)
    compared = view.shown if view.shows_random else []
    chance, walks = (
        set(filter(is_against, compared))
        for is_against in (metrics.is_against_chance, metrics.is_against_walks)
    )
    beside = set(filter(_beside, compared))
    return Curves(
        long,
        long[long["metric"].isin(view.shown)],
        has_one_epoch=all(history["epoch"].nunique() == 1 for history in histories.values()),
        x_title=x_title,
        x_domain=maker.x_domain,
        series=maker.series,
        with_random=bool(beside - chance - walks),
        with_chance=bool(chance),
        with_walks=bool(walks),
        with_crosses=bool(support_marks.is_marked(long["outside"]).any()),
        sections=[(title, [maker.cell(key) for key in keys]) for title, keys in view.sections],
        more=[maker.cell(key) for key in view.more],
    )


class _Maker:
    """Makes the panel of one metric after the other."""

    def __init__(
        self,
        chosen: Selection,
        view: CurveView,
        long: pd.DataFrame,
        sure: Mapping[str, pd.DataFrame],
        alerted: pd.DataFrame,
        x_title: str,
    ) -> None:
        self._chosen, self._view, self._alerted, self._x_title = chosen, view, alerted, x_title
        self.x_domain = charts.x_domain(long["x"])
        self._rows = curves.by_metric(long)
        self._sure = _ends_by_metric(sure)
        self._groups, self.series = (
            _configurations(chosen) if view.by_seeds else ({}, chosen.series)
        )

    def cell(self, key: str) -> Cell:
        """The metric's."""
        label = key if key in self._view.own else metrics.label(key)
        values = self._rows.get(key)
        if values is None or values["value"].isna().all():
            return Cell(label)
        if ends := self._sure.get(key):
            values = _with_ends(values, ends)
        random = self._random(key) if self._view.shows_random else None
        panel = self._panel(key, label)
        parts = hierarchies.parts(self._chosen, key, values)
        drawn: tuple[MadeChart, ...]
        if self._view.by_seeds and len(parts) == 1:
            drawn = (self._seeds(key, values, random, panel),)
        else:
            drawn = tuple(self._runs(key, part, random, panel) for part in parts)
        is_own = key in self._view.own
        below = self._below(key, values) or ("" if is_own else "How to read this")
        return Cell(label, drawn, below, None if is_own else metrics.explanation(key))

    def _random(self, key: str) -> pd.DataFrame | None:
        """What random subspaces show: a curve for each run, or the two ends of a band."""
        found = self._rows.get(_beside(key) or "")
        if found is None:
            return None
        return random_heads.band_lines(found) if metrics.spread_of(key) else found

    def _panel(self, key: str, label: str) -> Panel:
        is_own = key in self._view.own
        return Panel(
            title=label,
            unit="" if is_own else metrics.unit(key),
            direction=metrics.DIRECTIONS[metrics.better(key)],
            number_format=".4g" if is_own else metrics.number_format(key),
            x_title=self._x_title,
            x_domain=self.x_domain,
            caveat="" if is_own else self._chosen.caveat(key),
            is_difference=self._view.is_difference,
        )

    def _runs(
        self, key: str, part: hierarchies.Part, random: pd.DataFrame | None, panel: Panel
    ) -> MadeChart:
        """A line for each run of one tree of classes, where depths are counted in several."""
        values, said = part.values, replace(panel, caveat=part.caveat or panel.caveat)
        if self._view.is_difference:
            values = values.assign(value=values["difference"])
        fired = len(self._alerted) > 0
        marks = alerts.alert_marks(self._alerted, key, values) if fired else None
        what = alt_text(f"{panel.title} against {panel.x_title}", part.series)
        name = f"panel {key} {part.caveat}"
        arguments = (values, said, part.series, random, marks)
        return made(charts.curve_panel, *arguments, key=name, alt_text=what)

    def _seeds(
        self, key: str, values: pd.DataFrame, random: pd.DataFrame | None, panel: Panel
    ) -> MadeChart:
        """A line in a band for each configuration."""
        labels = {each.key: each.label for each in self.series}
        bands = curves.over_seeds(values, self._groups)
        bands = bands.assign(label=bands["series"].map(labels))
        if random is not None:
            random = random.assign(series=random["series"].map(self._groups))
        what = alt_text(f"{panel.title} against {panel.x_title}", self.series)
        arguments = (bands, panel, self.series, random)
        return made(charts.band_panel, *arguments, key=f"panel {key}", alt_text=what)

    def _below(self, key: str, values: pd.DataFrame) -> str:
        """The last difference of each run to the baseline, of many runs the smallest and largest.

        Empty where there is none.
        """
        if self._view.by_seeds or not self._chosen.compares(key):
            return ""
        columns = (values[name].tolist() for name in ("series", "epoch", "difference"))
        rows = zip(*columns, strict=True)
        # Of each run the last one stays.
        last = {run: (epoch, change) for run, epoch, change in rows if np.isfinite(change)}
        is_own, found = key in self._view.own, []
        for run in self._chosen.runs:
            if run.is_baseline or run.run_id not in last:
                continue
            epoch, value = last[run.run_id]
            change = format(value, "+.4g") if is_own else metrics.value_text(key, value, sign=True)
            stroke = f"![{plain(run.label)}]({swatch(run.series)})"
            found.append((value, f"{stroke} {plain(change)} at epoch {epoch}"))
        parts = [said for _, said in found]
        if len(found) > _MOST_CHANGES:
            (_, least), (_, most) = min(found), max(found)
            return f"To the baseline, of {len(found)} runs: {least} to {most}"
        return f"To the baseline: {' · '.join(parts)}" if parts else ""


def _beside(key: str) -> str | None:
    """What tells what random subspaces show."""
    return metrics.baseline_of(key) or metrics.spread_of(key)


# Run, epoch, low and high.
_Ends = list[tuple[str, int, float, float]]


def _ends_by_metric(sure: Mapping[str, pd.DataFrame]) -> dict[str, _Ends]:
    found: dict[str, _Ends] = {}
    for run, table in sure.items():
        columns = (table[name].tolist() for name in ("metric", "epoch", "low", "high"))
        for metric, *rest in zip(*columns, strict=True):
            found.setdefault(metric, []).append((run, *rest))
    return found


def _with_ends(values: pd.DataFrame, ends: _Ends) -> pd.DataFrame:
    """With ``low`` and ``high`` at the last validation of each epoch that has an interval."""
    at_epoch = zip(values["series"].tolist(), values["epoch"].tolist(), strict=True)
    places = {at: place for place, at in enumerate(at_epoch)}
    both = np.full((2, len(values)), np.nan)
    for run, epoch, low, high in ends:
        if (place := places.get((run, epoch))) is not None:
            both[:, place] = low, high
    return values.assign(low=both[0], high=both[1])


def _configurations(chosen: Selection) -> tuple[dict[str, str], list[SeriesStyle]]:
    """Run id -> configuration, and how charts draw the configurations."""
    groups = curves.configurations(pd.DataFrame([run.row for run in chosen.runs]))
    series = []
    for group in dict.fromkeys(groups.values()):
        runs = [run for run in chosen.runs if groups[run.run_id] == group]
        name = curves.without_seed(runs[0].label)
        label = f"{name} ({count(len(runs), 'run')})" if len(runs) > 1 else runs[0].label
        is_baseline = any(run.is_baseline for run in runs)
        look = replace(runs[0].series, key=group, label=label, is_baseline=is_baseline)
        series.append(look)
    return groups, series
