"""The store that shows the whole app: every run is there, and the second call trains nothing."""

from __future__ import annotations

import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest

from sing_monitor.app.read.curves import configurations
from sing_monitor.tracking import RunReader, list_runs

# The examples are scripts and import each other by bare name.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import app_demo


def test_the_demo_fills_its_own_store_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    elsewhere.mkdir()
    store = place / "demo"
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("XDG_CACHE_HOME", str(elsewhere))
    monkeypatch.setattr(sys, "argv", ["app_demo.py", "--store", str(store), "--epochs", "1"])

    def fill() -> str:
        with warnings.catch_warnings():
            app_demo.main()
        return capsys.readouterr().out

    assert "=== shortcut (4 of 4)" in fill()
    uri = f"sqlite:///{store / 'mlflow.db'}"
    runs = list_runs(uri)
    assert runs["run_name"].tolist()[:2] == ["shortcut", "honest seed=0"]
    assert runs["sing.model"].nunique() == 2
    # Two of them differ in nothing but the seed.
    assert sorted(Counter(configurations(runs).values()).values()) == [1, 1, 2]
    newest = RunReader(uri, runs["run_id"][0])
    (validation,) = newest.validations()
    assert len(newest.table("classes", *validation)) == 10
    assert len(newest.table("concepts", *validation)) >= 60
    assert {path.name for path in place.iterdir()} == {"demo"}

    assert "===" not in fill()
    assert list_runs(uri)["run_id"].tolist() == runs["run_id"].tolist()
