"""One process at a time writes to a run, and a dead one blocks nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from sing_monitor.commands.cli import main
from sing_monitor.findings import Findings
from sing_monitor.tracking import RunReader, RunWriter, create_run
from sing_monitor.tracking.disk.whole_files import write_whole
from sing_monitor.tracking.disk.write_lock import LockedError, lock
from sing_monitor.tracking.reader import Listing
from sing_monitor.tracking.spool import BusyError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is locked there")

ROOT = Path(__file__).parents[2]
FOUND = Findings({"sing/x": 1.0}, {"classes": pd.DataFrame({"score": [1.5]})})
_HOLD = """
import os, sys, time
from pathlib import Path
from sing_monitor.tracking.disk.write_lock import lock

lock(Path(sys.argv[1]))
# A worker, as of a data loader, outlives its training by seconds.
worker = os.fork() if len(sys.argv) > 2 else None
if worker != 0:
    print("held", worker, flush=True)
time.sleep(60)
"""


def hold(path: Path, *more: str) -> subprocess.Popen[str]:
    """A process that holds a lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", _HOLD, path, *more], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_another_process_is_refused_and_told_why_until_the_first_one_is_dead(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = str(tmp_path / "runs")
    run = create_run(uri)
    spool = tmp_path / "runs" / ".sing_spool" / run.run_id
    with hold(spool / "sing.lock") as process:
        try:
            assert said(process) == "held None"
            writer = RunWriter(run)
            reason = rf"another process writes to run {run.run_id} \(process {process.pid} on .*own"
            with pytest.raises(BusyError, match=reason) as caught:
                writer.write(FOUND, epoch=0, step=1)
            assert caught.value.is_loss
            with pytest.raises(BusyError, match=reason):
                writer.keep_scalars(FOUND.scalars, epoch=0, step=1, tracker_step=1)
            assert RunReader(uri, run.run_id).listing() == Listing({}, [], [])
            # What a dead process left waits until the one that writes now has ended.
            (spool / "sing" / "artifacts" / "sing").mkdir(parents=True)
            (spool / "sing" / "artifacts" / "sing" / "config.json").write_text("{}")
            (spool / "sing" / "spool.json").write_text(
                f'{{"tracking_uri": "{uri}", "working_directory": "/", "run_id": "{run.run_id}"}}'
            )
            assert main(["sync", uri]) == 1
            assert "0 files delivered, 1 wait. Another process writes" in capsys.readouterr().out
        finally:
            process.send_signal(signal.SIGKILL)
    writer.write(FOUND, epoch=0, step=1)
    writer.close()
    assert RunReader(uri, run.run_id).config() == {}
    assert RunReader(uri, run.run_id).validations() == [(0, 1)]
    assert not spool.exists()


def test_the_workers_of_a_killed_training_hold_nothing(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", "and fork") as process:
        try:
            worker = int(said(process).removeprefix("held "))
            with pytest.raises(LockedError, match=f"process {process.pid} on"):
                lock(tmp_path / "lock")
            process.send_signal(signal.SIGKILL)
            process.wait()
            os.kill(worker, 0)  # it lives
            lock(tmp_path / "lock")()
            os.kill(worker, signal.SIGKILL)
        finally:
            process.kill()
    assert list(tmp_path.iterdir()) == []


def test_one_process_holds_a_lock_several_times(tmp_path: Path) -> None:
    one, two = lock(tmp_path / "lock"), lock(tmp_path / "lock")
    one()
    assert (tmp_path / "lock").exists()
    two()
    assert list(tmp_path.iterdir()) == []


def test_two_that_write_one_file_at_once_leave_it_whole(tmp_path: Path) -> None:
    both = threading.Barrier(2, timeout=30)

    def write(text: str) -> None:
        def fill(half: Path) -> None:
            with half.open("w") as file:
                file.write(text)
                file.flush()
                both.wait()
                file.write(text)
                file.flush()
                both.wait()

        write_whole(tmp_path / "file", fill)

    threads = [threading.Thread(target=write, args=(text,)) for text in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "file").read_text() in ("aa", "bb")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_halves_of_killed_processes_are_removed_after_an_hour(tmp_path: Path) -> None:
    old, new, other = (tmp_path / f".{name}.part" for name in ("file.1", "file.2", "files.1"))
    for path in (old, new, other):
        path.write_text("half")
    for path in (old, other):
        os.utime(path, (1, 1))
    write_whole(tmp_path / "file", lambda path: path.write_text("whole"))
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "file", new, other])
