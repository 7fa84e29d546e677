"""A server that goes away and a process that is killed lose nothing of a finished epoch."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sing_monitor.commands.cli import main
from sing_monitor.tracking import RunReader
from tests.helpers.servers import MlflowServer

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_sync_delivers_what_a_killed_loop_had_finished_while_the_server_was_away(
    mlflow_server: MlflowServer, tmp_path: Path
) -> None:
    script = [sys.executable, "-m", "tests.monitor.plain.train_and_die"]
    with subprocess.Popen(
        [*script, str(tmp_path), mlflow_server.uri], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None and not (tmp_path / "run_id").exists():
            time.sleep(0.05)
        mlflow_server.kill()
        (tmp_path / "away").touch()
        said = process.communicate(timeout=120)[1]
    assert process.returncode == -signal.SIGKILL
    assert "sing-monitor sync" in said
    assert main(["sync", str(tmp_path)]) == 1
    mlflow_server.start()
    assert main(["sync", str(tmp_path)]) == 0
    reader = RunReader(mlflow_server.uri, (tmp_path / "run_id").read_text())
    curves = reader.scalars(["head/rank"], ["val_loss"])
    assert curves["epoch"].tolist() == [0, 1]
    assert curves["head/rank"].tolist() == [4.0, 4.0]
    assert curves["val_loss"].notna().all()
    assert reader.validations() == [(0, 0), (1, 10)]
    assert not [path for path in tmp_path.rglob(".sing_spool/**/*") if path.is_file()]
