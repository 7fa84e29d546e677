"""A run whose monitor nobody closes ends with the program, if nothing has failed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.monitor.plain.leave_unclosed import status_of

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_run_of_our_own_ends_with_a_program_that_did_not_fail(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "tests.monitor.plain.leave_unclosed", str(tmp_path)]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "ZeroDivisionError" in done.stderr
    for end, status in (("return", "FINISHED"), ("raise", "RUNNING")):
        folder = tmp_path / end
        runs = json.loads(folder.with_suffix(".runs").read_text())
        before = json.loads(folder.with_suffix(".before").read_text())
        others = {"joined": "RUNNING", "closed": "KILLED"}
        assert {name: before[run] for name, run in runs.items()} == {"own": "RUNNING", **others}
        ended = status_of(folder)
        assert {name: ended[run] for name, run in runs.items()} == {"own": status, **others}
