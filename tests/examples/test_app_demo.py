"""The store that shows the whole app: every run is there, and the second call trains nothing."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from sing_monitor.app.read.curves import configurations
from sing_monitor.tracking import RunReader, list_runs

SCRIPT = Path(__file__).parents[2] / "examples" / "app_demo.py"


def fill(store: Path) -> str:
    command = [sys.executable, SCRIPT, "--store", store, "--epochs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_demo_fills_its_own_store_once(tmp_path: Path) -> None:
    store = tmp_path / "demo"
    assert "=== shortcut (4 of 4)" in fill(store)
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
    assert {path.name for path in tmp_path.iterdir()} == {"demo"}

    assert "===" not in fill(store)
    assert list_runs(uri)["run_id"].tolist() == runs["run_id"].tolist()
