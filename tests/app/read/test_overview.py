from __future__ import annotations

import math

import pandas as pd
import pytest

from sing_monitor.app.charts.common import PALETTE, Series
from sing_monitor.app.read import curves
from sing_monitor.app.read.overview import KEY_METRICS, matching, mlflow_links, reading, runs_table
from sing_monitor.app.read.support_marks import MARK
from tests.app.stores import plausible


def listing(**columns: list[object]) -> pd.DataFrame:
    n = len(next(iter(columns.values()))) if columns else 1
    defaults: dict[str, list[object]] = {
        "run_id": [f"id{i}" for i in range(n)],
        "name": [None] * n,
        "run_name": [f"run {i}" for i in range(n)],
        "label": [f"run {i}" for i in range(n)],
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
    last = [f"{key} last" for key in KEY_METRICS]
    assert table.columns.tolist()[: len(last) + 4] == ["colour", "run", *last, "mark", "outside"]
    assert table["mark"].tolist() == [MARK, ""]
    assert table["sing/retention interval"].tolist() == ["0.85 to 0.95", ""]


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
            }
        )
    )
    table = runs_table(rows, {"id0": history}, [Series("id1", "run 1", PALETTE[0])])
    first, second = table.to_dict("records")
    assert (first["sing/retention last"], first["sing/retention best"]) == (0.4, 0.9)
    assert first["sing/image_score_centered curve"] == [1.0, 3.0]
    assert (first["epochs"], first["model"], first["colour"]) == (3, "a b", "")
    assert math.isnan(second["sing/retention best"])
    assert second["sing/image_score_centered curve"] == []
    assert second["colour"].startswith("data:image/svg+xml;base64,")


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


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sing/attribute_score_centered": -4.2}, ["4.20° of class meaning are lost", "hidden"]),
        ({"sing/attribute_score_centered": 5.0}, ["5.00° nearer to their class"]),
        ({"sing/attribute_score_centered": -2.9}, ["barely changes (-2.90°)"]),
        ({"head/null_dim": 0.0}, ["no null space"]),
        ({"sing/attribute_score_centered": math.nan}, ["undefined"]),
        ({"translator/r2": 0.05}, ["translation is poor", "trust no score"]),
        (
            {"sing/attribute_score_centered": -0.4, "sing/retention": 0.71},
            [
                "on average the class barely moves (-0.40°)",
                "taken for other classes",
                "0.71 remains",
            ],
        ),
        ({"support/outside_centered": 0.4}, [f"{MARK} 40 % of the images are out of support"]),
    ],
)
def test_a_reading_says_what_the_numbers_mean(changes: dict[str, float], words: list[str]) -> None:
    text = reading({**plausible(9), **changes, "status": "FINISHED"})
    assert all(word in text for word in words), text


def test_a_reading_leaves_out_what_is_unknown() -> None:
    values = plausible(9) | {"support/outside_centered": 0.1}
    text = reading({"sing/attribute_score_centered": 1.0, "sing/image_score_centered": 30.0})
    assert text == (
        "What the head cannot see moves the meaning by 30.00°; the class barely changes (+1.00°)."
    )
    assert "trust no score" not in reading(values)
    assert "out of support" not in reading(values)
    assert "random subspace" in reading(values)
    assert reading({}) == "The scores of the last validation are undefined."
