from __future__ import annotations

import math

import pandas as pd
import pytest

from sing_monitor.app.charts.common import PALETTE, SeriesStyle
from sing_monitor.app.parts.runs_table import (
    ACCURACY,
    DEGREES,
    HEAD,
    HEADLINE,
    HEADLINE_WITHOUT_SPACE,
    PROBES,
    REFIT,
    SCORES,
    card_metrics,
    matching,
    mlflow_links,
    runs_table,
    table_metrics,
)
from sing_monitor.app.read import curves
from sing_monitor.app.wording.support_marks import MARK
from tests.app.stores import plausible, refitted


def listing(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values()))) if columns else 1
    defaults: dict[str, list[object]] = {
        "run_id": [f"id{i}" for i in range(n)],
        "name": [None] * n,
        "run_name": [f"run {i}" for i in range(n)],
        "label": [f"run {i}" for i in range(n)],
        "origin": [""] * n,
        "experiment": ["digits"] * n,
        "experiment_id": ["7"] * n,
        "status": ["FINISHED"] * n,
        "start_time": [pd.Timestamp("2026-01-01", tz="UTC")] * n,
    }
    return pd.DataFrame({**defaults, **columns})


def test_the_figures_that_are_looked_at_first_come_first_with_mark_and_interval() -> None:
    rows = listing(**{"support/outside_centered": [0.4, 0.1], "sing/retention": [0.9, 0.8]})
    intervals = {("id0", "sing/retention"): "0.85 to 0.95"}
    table = runs_table(rows, {}, [], None, intervals)
    last = [f"{key} last" for key in (*SCORES, ACCURACY)]
    assert table.columns.tolist()[: len(last) + 4] == ["color", "run", *last, "mark", "outside"]
    assert table["mark"].tolist() == [MARK, ""]
    assert table["sing/retention interval"].tolist() == ["0.85 to 0.95", ""]


def test_one_number_of_each_further_group_stands_last() -> None:
    rows = listing(**{"layers/effective_rank": [9.5, math.nan], "focus/entropy": [math.nan] * 2})
    table = runs_table(rows, {}, [])
    assert table.columns[-1] == "layers/effective_rank last"
    assert table["layers/effective_rank last"].tolist()[0] == 9.5
    assert not {"focus/entropy last", "dynamics/explained_excess last"} & set(table)
    assert not any(str(name).startswith("layers/") for name in runs_table(listing(), {}, []))


def test_the_table_says_which_way_a_run_came() -> None:
    table = runs_table(listing(**{"sing.way": ["lightning", "plain", math.nan]}), {}, [])
    assert table["way"].tolist() == ["lightning", "plain", ""]
    # Of an earlier version.
    assert runs_table(listing(), {}, [])["way"].tolist() == [""]


def test_the_table_holds_last_best_and_curve() -> None:
    rows = listing(**{"sing/retention": [0.4, 0.5], "sing.model": ["a\nb", math.nan]})
    history = curves.training_history(
        pd.DataFrame(
            {
                "epoch": pd.array([0, 1, 2], "Int64"),
                "global_step": pd.array([1, 2, 3], "Int64"),
                "step": [0, 1, 2],
                "timestamp": pd.Timestamp("2026-01-01", tz="UTC"),
                "sing/retention": [0.9, math.nan, 0.4],
                "sing/image_score_centered": [1.0, math.nan, 3.0],
                "monitor/accuracy": [0.8, math.nan, 0.7],
            }
        )
    )
    table = runs_table(rows, {"id0": history}, [SeriesStyle("id1", "run 1", PALETTE[0])])
    first, second = table.to_dict("records")
    assert (first["sing/retention last"], first["monitor/accuracy best"]) == (0.4, 0.8)
    assert not {"sing/retention best", "sing/image_score_centered best"} & first.keys()
    assert first["sing/image_score_centered curve"] == [1.0, 3.0]
    assert (first["epochs"], first["model"], first["color"]) == (3, "a b", "")
    assert math.isnan(second["monitor/accuracy best"])
    assert second["sing/image_score_centered curve"] == []
    assert second["color"].startswith("data:image/svg+xml;base64,")


def test_the_table_says_where_rescored_runs_come_from() -> None:
    said = "rescored from honest, ridge 0.01"
    assert runs_table(listing(origin=["", said]), {}, [])["origin"].tolist() == ["", said]


@pytest.mark.parametrize(
    ("words", "found"),
    [("", [0, 1]), ("RUN 1", [1]), ("vit finished", [0]), ("id1", [1]), ("a.c", []), ("(", [])],
)
def test_search_is_by_words_and_not_by_pattern(words: str, found: list[int]) -> None:
    rows = listing(**{"sing.model": ["ViT", "abc"], "run_id": ["id0", "id1"]})
    assert matching(rows, words).index.tolist() == found


def test_links_lead_to_a_web_server_without_the_password() -> None:
    rows = listing(run_id=["a/b"])
    assert mlflow_links("http://bob:pw@host:5000/", rows) == {
        "a/b": "http://host:5000/#/experiments/7/runs/a%2Fb"
    }
    assert mlflow_links("sqlite:///mlflow.db", rows) == {}


def rows_of(*runs: dict[str, object]) -> pd.DataFrame:
    """A listing with a row for each run; what a run did not log is NaN."""
    values = pd.DataFrame(list(runs))
    return listing(**{column: values[column].tolist() for column in values})


NEW: dict[str, object] = {**refitted(3), "sing.reference": "text"}
OLD: dict[str, object] = {**plausible(3), "sing.reference": "text"}
ALONE: dict[str, object] = {
    key: value for key, value in refitted(3).items() if key.startswith(("head/", "probe/", "mon"))
} | {"sing.reference": "none"}


@pytest.mark.parametrize(
    ("runs", "keys"),
    [
        ([NEW], (*REFIT, ACCURACY, *DEGREES)),
        ([OLD], (*SCORES, ACCURACY)),
        ([NEW, OLD], (*REFIT, ACCURACY, *SCORES)),
        ([ALONE], (*PROBES, ACCURACY, *HEAD)),
        ([NEW, ALONE], (*REFIT, *PROBES, ACCURACY, *DEGREES, *HEAD)),
    ],
)
def test_the_table_has_the_columns_that_its_runs_fill(
    runs: list[dict[str, object]], keys: tuple[str, ...]
) -> None:
    assert table_metrics(rows_of(*runs)) == keys


def test_the_least_hidden_share_of_a_training_is_not_called_its_best() -> None:
    columns = runs_table(rows_of(NEW, ALONE), {}, []).columns
    best = {column.removesuffix(" best") for column in columns if column.endswith(" best")}
    assert best == {REFIT[1], PROBES[1], ACCURACY, HEAD[2]}


def test_the_interval_stands_beside_what_leads() -> None:
    intervals = {("id0", REFIT[0]): "0.03 to 0.05"}
    columns = runs_table(rows_of(NEW), {}, [], None, intervals).columns.tolist()
    assert columns[2:5] == [f"{REFIT[0]} last", f"{REFIT[0]} interval", f"{REFIT[1]} last"]
    assert len(columns) == len(set(columns))


def test_no_card_is_empty() -> None:
    assert card_metrics(NEW, has_space=True) == (*REFIT, ACCURACY, "sing/hidden_classes")
    assert card_metrics(OLD, has_space=True) == HEADLINE
    unread = {**NEW, REFIT[1]: math.nan, "sing/hidden_classes": math.nan}
    assert card_metrics(unread, has_space=True) == (*PROBES, ACCURACY, HEAD[1])
    assert card_metrics({**NEW, "sing/hidden_classes": math.nan}, has_space=True)[-1] == ACCURACY
    assert card_metrics(ALONE, has_space=False) == (*PROBES, ACCURACY, HEAD[1])
    assert card_metrics({"head/null_dim": 3.0}, has_space=False) == HEADLINE_WITHOUT_SPACE
