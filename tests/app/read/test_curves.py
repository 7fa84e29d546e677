from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sing_monitor.app.read import curves

LABELS = {"a": "run a", "b": "run b"}


def scalars(*rows: tuple[Any, ...], stage: list[float] | None = None) -> pd.DataFrame:
    """As `RunReader.scalars` gives them: (epoch, global_step, step, minute, value) a row."""
    frame = pd.DataFrame(rows, columns=["epoch", "global_step", "step", "minute", "m"])
    frame["timestamp"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(
        frame.pop("minute"), unit="min"
    )
    frame = frame.astype({"epoch": "Int64", "global_step": "Int64", "m": "float64"})
    return frame if stage is None else frame.assign(**{curves.STAGE: stage})


def simple(*values: float) -> pd.DataFrame:
    rows = [(epoch, 10 * epoch + 10, epoch, epoch, value) for epoch, value in enumerate(values)]
    return curves.training_history(scalars(*rows))


def long(**runs: pd.DataFrame) -> pd.DataFrame:
    return curves.long_table(runs, ["m"], labels=LABELS)


@pytest.mark.parametrize("name", ["x", "label", "series", "metric", "value", "outside"])
def test_a_training_may_call_its_metric_like_a_column(name: str) -> None:
    runs = {"a": simple(1.0, 2.0).assign(**{name: [7.0, 8.0]})}
    table = curves.long_table(runs, ["m", name, "absent"], labels=LABELS)
    assert table["metric"].tolist() == ["m", "m", name, name]
    assert table["value"].tolist() == [1.0, 2.0, 7.0, 8.0]
    assert table["x"].tolist() == [0.0, 1.0] * 2
    assert set(table["label"]) == {"run a"}
    assert curves.long_table(runs, ["absent"], labels=LABELS).empty


def test_another_metric_of_the_same_validation_stands_beside() -> None:
    runs = {"a": simple(1.0, 2.0), "b": simple(3.0)}
    both = {run: history.assign(other=10 * history["m"]) for run, history in runs.items()}
    table = curves.long_table(both, ["m", "other"], labels=LABELS)
    parts = curves.by_metric(table)
    assert list(parts) == ["m", "other"]
    assert parts["other"]["value"].tolist() == [10.0, 20.0, 30.0]
    beside = curves.beside(table, {"m": "other", "other": None})
    assert beside[:3].tolist() == [10.0, 20.0, 30.0]
    assert np.isnan(beside[3:]).all()
    assert curves.by_metric(table.iloc[:0]) == {}


def test_a_repeated_validation_counts_once_with_its_newest_value() -> None:
    frame = scalars(
        (0, 10, 9, 0, 1.0), (1, 20, 19, 1, 2.0), (1, 20, 18, 60, 3.0), (2, 30, 28, 61, 4.0)
    )
    history = curves.training_history(frame)
    assert history["m"].tolist() == [1.0, 3.0, 4.0]
    assert history["epoch"].tolist() == [0, 1, 2]


def test_history_is_in_the_order_of_training_not_of_mlflow() -> None:
    frame = scalars((1, 20, 5, 1, 2.0), (0, 10, 9, 0, 1.0))
    assert curves.training_history(frame)["m"].tolist() == [1.0, 2.0]


def test_validations_outside_fit_are_left_out_unless_there_is_nothing_else() -> None:
    rows = ((0, 10, 9, 0, 1.0), (1, 20, 19, 1, 2.0), (1, 21, 1, 2, 9.0))
    kept = curves.training_history(scalars(*rows, stage=[0.0, math.nan, 1.0]))
    assert kept["m"].tolist() == [1.0, 2.0]
    alone = curves.training_history(scalars(*rows, stage=[1.0, 1.0, 1.0]))
    assert alone["m"].tolist() == [1.0, 2.0, 9.0]


def test_a_run_without_epochs_is_counted_by_step() -> None:
    frame = scalars((pd.NA, pd.NA, 4, 0, 1.0), (pd.NA, pd.NA, 7, 1, 2.0))
    assert curves.training_history(frame)["epoch"].tolist() == [4, 7]


def test_a_run_without_validations_stays_empty() -> None:
    history = curves.training_history(scalars(stage=[]))
    assert history.empty
    assert long(a=history).empty


def test_validations_of_one_epoch_are_spread_over_it() -> None:
    frame = scalars((0, 5, 4, 0, 1.0), (0, 10, 9, 1, 2.0), (1, 20, 19, 2, 3.0))
    history = curves.training_history(frame)
    assert curves.x_positions(history, "Epoch", None).tolist() == [-0.5, 0.0, 1.0]
    assert curves.x_positions(history, "Step", None).tolist() == [5.0, 10.0, 20.0]
    start = pd.Timestamp("2025-12-31T23:59", tz="UTC")
    assert curves.x_positions(history, "Time", start).tolist() == [60.0, 120.0, 180.0]
    assert curves.x_positions(history, "Time", pd.NaT).tolist() == [0.0, 60.0, 120.0]


def test_the_difference_is_to_the_baseline_at_the_same_epoch() -> None:
    table = curves.add_difference(long(a=simple(1, 2), b=simple(10, math.nan, 30)), "a")
    assert table["series"].tolist() == [*"aabbb"]
    np.testing.assert_array_equal(table["difference"], [0, 0, 9, math.nan, math.nan])
    assert curves.add_difference(table, None)["difference"].isna().all()


def test_the_end_of_the_baselines_epoch_counts() -> None:
    frame = scalars((0, 5, 4, 0, 1.0), (0, 10, 9, 1, 2.0))
    table = curves.add_difference(long(a=curves.training_history(frame), b=simple(5.0)), "a")
    assert table["difference"].tolist() == [-1.0, 0.0, 3.0]


def test_last_best_and_at_epoch() -> None:
    runs = {"a": simple(1, 5, 3, math.nan), "b": simple(2)}
    table = curves.add_difference(
        curves.long_table(
            {run: frame.rename(columns={"m": "val_acc"}) for run, frame in runs.items()},
            ["val_acc"],
            labels=LABELS,
        ),
        "b",
    )
    first, second = curves.last_and_best(table, 1, "b").to_dict("records")
    assert (first["last"], first["last_epoch"]) == (3, 2)
    assert (first["best"], first["best_epoch"]) == (5, 1)
    assert first["at_epoch"] == 5
    assert math.isnan(second["at_epoch"])
    assert math.isnan(second["difference"])


def test_lower_and_undirected_metrics() -> None:
    known = pd.DataFrame({"value": [3.0, 1.0, 1.0], "epoch": [0, 1, 2]}).assign(series="a")
    (best,) = curves.best_values(known.assign(metric="val_loss")).to_dict("records")
    assert best["epoch"] == 1
    assert curves.best_values(known.assign(metric="head/rank")).empty
    assert curves.best_values(known.iloc[:0].assign(metric="val_acc")).empty


def test_a_metric_without_numbers_has_a_row_of_nothing() -> None:
    (row,) = curves.last_and_best(curves.add_difference(long(a=simple(math.nan)), None)).to_dict(
        "records"
    )
    assert math.isnan(row["last"])
    assert pd.isna(row["last_epoch"])


def run_rows(*rows: dict[str, str]) -> pd.DataFrame:
    frame = pd.DataFrame(
        [{"run_id": f"r{i}", "run_name": None, **row} for i, row in enumerate(rows)]
    )
    return frame.astype(object).where(frame.notna(), None)


def grouped(*rows: dict[str, str]) -> list[int]:
    """For each run the first run of its configuration."""
    groups = list(curves.configurations(run_rows(*rows)).values())
    return [groups.index(group) for group in groups]


def test_runs_that_differ_in_the_seed_alone_are_one_configuration() -> None:
    same = {"sing.model": "resnet", "param.lr": "0.1"}
    rows = [
        {**same, "param.seed": "1"},
        {**same, "param.data/random_seed": "2"},
        {**same, "param.lr": "0.2"},
        {**same, "sing.model": "vit"},
        {**same, "param.seed_words": "x"},
    ]
    assert grouped(*rows) == [0, 0, 2, 3, 4]


def test_runs_without_parameters_go_by_their_name() -> None:
    names = [
        "vit seed=1",
        "vit seed=2",
        "vit",
        "resnet_seed_3",
        "resnet (random seed 4)",
        "seedling 5",
    ]
    assert grouped(*({"run_name": name} for name in names)) == [0, 0, 0, 3, 3, 5]


def test_a_name_that_is_nothing_but_a_seed() -> None:
    assert curves.without_seed("seed=3") == "any seed"
    assert curves.without_seed("reseed1") == "reseed1"


def test_runs_without_name_and_parameters_stay_apart() -> None:
    assert grouped({}, {}) == [0, 1]


def test_bands_hold_mean_and_range_of_the_runs_that_got_there() -> None:
    bands = curves.over_seeds(long(a=simple(1, 2), b=simple(3, math.nan, 5)), {"a": "g", "b": "g"})
    assert bands["value"].tolist() == [2, 2, 5]
    assert bands["low"].tolist() == [1, 2, 5]
    assert bands["high"].tolist() == [3, 2, 5]
    assert bands["n"].tolist() == [2, 1, 1]


@pytest.mark.parametrize(
    ("seconds", "unit"),
    [([], "seconds"), ([100.0], "seconds"), ([600.0, math.nan], "minutes"), ([9e3], "hours")],
)
def test_time_is_told_in_handy_numbers(seconds: list[float], unit: str) -> None:
    assert curves.time_unit(seconds)[0] == unit
