from __future__ import annotations

import math
import pickle
from pathlib import Path

import pandas as pd
import pytest

from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.charts.curves.evolution import curve_panel
from sing_monitor.app.charts.curves.panel import Panel
from sing_monitor.app.read import run_list
from sing_monitor.app.read import store as reads
from sing_monitor.app.read.derived import derived, size_of
from sing_monitor.app.ui.drawing import made
from tests.app.conftest import copy_of
from tests.app.stores import Store, plausible


def test_what_was_made_is_kept_until_everything_is_forgotten() -> None:
    made = []

    def make() -> pd.DataFrame:
        made.append(1)
        return pd.DataFrame({"a": [1.0]})

    first = derived(("derived test", 1), make)
    assert derived(("derived test", 1), make) is first
    assert derived(("derived test", 2), make) is not first
    assert len(made) == 2
    reads.forget()
    assert derived(("derived test", 1), make) is not first


def test_runs_without_a_number_stay_the_same_when_others_change(
    empty_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else all that is kept by the list of runs would be made anew at each look."""
    monkeypatch.setattr(run_list, "REFRESH_SECONDS", 0)
    store = copy_of(empty_store, tmp_path)
    run = store.run("undefined", [plausible(0) | {"sing/retention": math.nan}])
    first = run_list.listed(store.uri)
    assert math.isnan(first.runs[run].metrics["sing/retention"])
    store.client.create_run("0", run_name="not monitored")
    assert run_list.listed(store.uri) is first
    store.client.log_metric(run, "sing/retention", 0.5, step=100)
    assert run_list.listed(store.uri) is not first


def test_what_fails_is_tried_again() -> None:
    def fail() -> int:
        raise ValueError("not now")

    for _ in range(2):
        with pytest.raises(ValueError, match="not now"):
            derived("fails", fail)
    assert derived("fails", lambda: 1) == 1


def test_what_is_kept_counts_as_much_as_it_takes() -> None:
    """Small charts are words more than numbers."""
    series = [SeriesStyle("run", "a run", "#0078b4")]
    frame = pd.DataFrame({"series": "run", "label": "a run", "epoch": [0, 1], "x": [0.0, 1.0]})
    values = frame.assign(value=1.0, difference=math.nan)
    panel = Panel("a", "", "", ".3f", "epoch", (0.0, 1.0))
    chart = made(curve_panel, values, panel, series, key="a", alt_text="a")
    real = len(pickle.dumps(chart.spec))
    assert real <= chart.size <= 10 * real
    many = pd.concat([values] * 500, ignore_index=True)
    real = int(many.memory_usage(deep=True).sum())
    assert 0.5 * real <= size_of(many) <= 2 * real
