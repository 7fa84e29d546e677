"""The first thing that a newcomer runs, in full: the known answer must be visible."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from sing_monitor.tracking import RunReader, list_runs


@pytest.fixture(scope="module")
def histories(quickstart_folder: Path) -> dict[str, pd.DataFrame]:
    uri = f"sqlite:///{quickstart_folder / 'mlflow.db'}"
    runs = list_runs(uri, "sing quickstart").set_index("run_name")["run_id"]
    return {str(name): RunReader(uri, run_id).scalars() for name, run_id in runs.items()}


def test_both_models_reach_mlflow_with_every_epoch(histories: dict[str, pd.DataFrame]) -> None:
    assert set(histories) == {"honest", "shortcut"}
    for history in histories.values():
        assert history["epoch"].tolist() == list(range(5))
        assert set(history["monitor/samples"]) == {1436}


def test_the_honest_head_keeps_the_digit_and_ignores_the_colour(
    histories: dict[str, pd.DataFrame],
) -> None:
    last = histories["honest"].iloc[-1]
    assert last["monitor/accuracy"] > 0.8
    assert last["sing/class_hidden"] < 0.1
    assert last["sing/retention_seen"] > 0.9
    assert last["attribute/colour_retention_seen"] < 0.3


def test_the_shortcut_head_keeps_the_colour_and_loses_much_of_the_digit(
    histories: dict[str, pd.DataFrame],
) -> None:
    honest, shortcut = (histories[name].iloc[-1] for name in ("honest", "shortcut"))
    assert shortcut["monitor/accuracy"] < honest["monitor/accuracy"] - 0.3
    assert shortcut["sing/class_hidden"] > honest["sing/class_hidden"] + 0.05
    assert shortcut["sing/retention_seen"] < honest["sing/retention_seen"] - 0.2
    colour = "attribute/colour_retention_seen"
    assert shortcut[colour] > honest[colour] + 0.4


def test_it_ends_with_a_table_and_the_commands_that_show_more(quickstart_folder: Path) -> None:
    output = (quickstart_folder / "output.txt").read_text()
    for part in ("honest", "shortcut", "hidden", "digit kept", "colour kept", "accuracy"):
        assert part in output
    assert "mlflow ui --backend-store-uri sqlite:///mlflow.db" in output
    assert "streamlit run app/main.py -- --tracking-uri sqlite:///mlflow.db" in output
