from __future__ import annotations

import pandas as pd
import pytest

from sing_monitor.app.charts.common import SeriesStyle
from sing_monitor.app.read.sources import RunSource
from sing_monitor.app.ui.selection import MAX_RUNS, Picks, Run, Selection, differences, run_source


def row(**changes: object) -> pd.Series:
    usual = {
        "run_id": "r",
        "name": None,
        "status": "RUNNING",
        "end_time": pd.NaT,
        "monitor/global_step": 100.0,
        "sing.space": "clip",
        "sing.reference": "text",
    }
    return pd.Series({**usual, **changes}, dtype=object)


def run(run_id: str = "r", **changes: object) -> Run:
    about = row(run_id=run_id, **changes)
    return Run(
        run_id, run_id, SeriesStyle(run_id, run_id, "#000000"), run_source("uri", about), about
    )


def test_picking_keeps_the_order_and_the_baseline_among_the_picked() -> None:
    picks = Picks(runs=["a", "b"], baseline="b", unknown=["x"])
    picks.pick(["c", "b", "c"])
    assert (picks.runs, picks.baseline, picks.unknown) == (["c", "b"], "b", [])
    picks.pick(["c"])
    assert picks.baseline is None


def test_more_runs_than_fit_are_counted() -> None:
    picks = Picks()
    picks.pick(f"r{i}" for i in range(MAX_RUNS + 3))
    assert (len(picks.runs), picks.left_out) == (MAX_RUNS, 3)
    picks.pick(["a"])
    assert picks.left_out == 0


@pytest.mark.parametrize(
    "change",
    [
        {"run_id": "other"},
        {"name": "aux"},
        {"status": "FINISHED"},
        {"end_time": pd.Timestamp("2026-01-01", tz="UTC")},
        {"monitor/global_step": 200.0},
        # Killed after a validation that was not in the checkpoint, and resumed.
        {"monitor/seconds": 0.31},
    ],
)
def test_the_source_of_a_run_changes_with_it(change: dict[str, object]) -> None:
    assert run_source("uri", row(**change)) != run_source("uri", row())
    assert run_source("uri", row()) == run_source("uri", row())
    assert run_source("elsewhere", row()) != run_source("uri", row())


def test_progress_does_not_change_what_tables_are_kept_under() -> None:
    early, late = (run_source("uri", row(**{"monitor/global_step": step})) for step in (1.0, 2.0))
    assert early.state == late.state
    assert isinstance(early, RunSource)


def test_yardsticks() -> None:
    assert differences([run(), run("q")]) == []
    other = run("q", **{"sing.reference": "prototype", "sing.space": float("nan")})
    assert differences([run(), other]) == [
        ("references", ["prototype", "text"]),
        ("semantic spaces", ["clip", "unknown"]),
    ]
    # Runs of before there was a choice stand on the logits.
    assert differences([run(), run("q", **{"sing.invariance": "logits"})]) == []
    assert differences([run(), run("q", **{"sing.invariance": "softmax"})]) == [
        ("invariances", ["logits", "softmax"])
    ]


def test_only_what_depends_on_the_space_has_a_caveat() -> None:
    chosen = Selection("uri", pd.DataFrame(), (run(), run("q", **{"sing.space": "other"})))
    for key in ("sing/retention", "attribute/ink_score", "translator/r2"):
        assert "semantic spaces" in chosen.caveat(key)
    for key in ("head/null_energy", "collapse/nc1", "monitor/accuracy"):
        assert chosen.caveat(key) == ""
    assert Selection("uri", pd.DataFrame(), (run(),)).caveat("sing/retention") == ""
