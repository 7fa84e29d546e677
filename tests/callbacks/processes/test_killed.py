"""A process that is killed loses nothing of the epochs it has finished."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.loggers import MLFlowLogger

from sing_monitor.tracking import RunReader
from tests.helpers import tiny

ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
def test_the_next_run_of_the_same_id_delivers_what_a_killed_one_had_finished(
    tmp_path: Path,
) -> None:
    script = [sys.executable, "-m", "tests.callbacks.processes.train_and_die", str(tmp_path)]
    assert subprocess.run(script, cwd=ROOT, check=False, timeout=180).returncode == -signal.SIGKILL
    uri, run_id = f"sqlite:///{tmp_path / 'mlflow.db'}", (tmp_path / "run_id").read_text()
    reader = RunReader(uri, run_id)
    assert [epoch for epoch, _ in reader.validations()] == [0, 1]
    assert len(reader.scalars()) == 0
    spooled = sorted(path.name for path in (tmp_path / ".sing_spool").rglob("epoch=*.json"))
    assert spooled == ["epoch=0000-step=00000003.json", "epoch=0001-step=00000006.json"]

    logger = MLFlowLogger(tracking_uri=uri, run_id=run_id)
    trainer = tiny.trainer(tmp_path, tiny.callback(), logger=logger, max_epochs=3)
    data = tiny.loader(tiny.Blobs())
    trainer.fit(tiny.Classifier(), data, data, ckpt_path=tmp_path / "last.ckpt")
    scalars = reader.scalars()
    assert scalars["epoch"].tolist() == [0, 1, 2]
    assert scalars["step"].tolist() == [2, 5, 8]
    assert scalars["sing/image_score"].map(math.isfinite).all()
    assert [epoch for epoch, _ in reader.validations()] == [0, 1, 2]
    assert not [path for path in tmp_path.rglob(".sing_spool/**/*") if path.is_file()]


@pytest.mark.skipif(sys.platform != "linux", reason="the processor time is read from /proc")
def test_a_kill_at_any_time_costs_no_finished_epoch(tmp_path: Path) -> None:
    script = [sys.executable, "-m", "tests.callbacks.processes.kill_at_random", str(tmp_path)]
    done = subprocess.run(
        [*script, "20", "3"], cwd=ROOT, check=True, timeout=500, stdout=subprocess.PIPE, text=True
    )
    trials = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {trial["kind"] for trial in trials} == {"mlflow", "asynchronous", "folder"}
    assert any(trial["killed"] for trial in trials)
    for trial in trials:
        before, after, resumed = trial["before"], trial["after"], trial["resumed"]
        finished = set(trial["finished"])
        assert finished <= set(after["curves"])
        assert finished <= set(after["tables"])
        # An epoch has both, or is named as incomplete.
        assert set(after["tables"]) <= set(after["curves"])
        assert set(after["incomplete"]) <= set(after["curves"]) - set(after["tables"])
        for epoch in after["incomplete"]:
            assert f"epoch {epoch} (step {3 * epoch + 3})" in trial["said"]
        for each in (before, after, *([resumed] if resumed else [])):
            assert len(each["curves"]) == len(set(each["curves"])), "no epoch comes twice"
        if resumed is not None:
            assert resumed["curves"] == resumed["tables"] == list(range(6))
            assert resumed["incomplete"] == []
