"""The sixth law: one process and many give the same numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def validate(processes: int, folder: Path) -> list[dict[str, Any]]:
    folder.mkdir()
    script = [sys.executable, "-m", "tests.callbacks.validate_in_processes"]
    subprocess.run(
        [*script, str(processes), str(folder)], cwd=ROOT, check=True, timeout=180, text=True
    )
    results: list[dict[str, Any]] = json.loads((folder / "results.json").read_text())
    return results


def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    (alone,) = validate(1, tmp_path / "one")
    together = validate(2, tmp_path / "two")
    assert alone["monitor/samples"] == 47
    for rank in together:
        assert rank.keys() == alone.keys()
        for key, value in alone.items():
            # The sampler gives the repeated image to Lightning's own metric twice.
            if key not in ("monitor/seconds", "val_loss"):
                assert rank[key] == pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True), key
