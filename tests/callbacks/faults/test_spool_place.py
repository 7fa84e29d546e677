"""Where files wait for MLflow if default_root_dir is no folder that can be written."""

from __future__ import annotations

import re
import shlex
import tempfile
from pathlib import Path

import pytest

from sing_monitor.commands.cli import main
from sing_monitor.tracking import RunReader
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("root", ["memory://runs", "file/below"])
def test_what_waits_lies_in_a_temporary_folder_and_sync_is_told_where(
    tmp_path: Path, temporary: Path, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    # An artifact store that takes nothing yet.
    blocked = tmp_path / "blocked"
    blocked.write_text("no folder")
    logger = tiny.mlflow_logger(tmp_path, artifact_location=str(blocked))
    trainer = tiny.trainer(tmp_path, tiny.quick_callback(), logger=logger, default_root_dir=root)
    data = tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs())
    with said_by_the_monitor() as said:
        trainer.fit(tiny.Classifier(), *data)
    assert trainer.current_epoch == 2
    (elsewhere,) = (each for each in said if "not taken yet wait in" in each)
    assert root in elsewhere
    assert str(temporary) in elsewhere
    commands = {found for each in said for found in re.findall("`(sing-monitor sync [^`]+)`", each)}
    (command,) = commands
    assert len(said) == 2, said

    reader = RunReader(f"sqlite:///{tmp_path / 'mlflow.db'}", str(logger.run_id))
    blocked.unlink()
    assert reader.validations() == []
    assert main(shlex.split(command)[1:]) == 0
    assert [epoch for epoch, _ in reader.validations()] == [0, 1]
    assert not (tmp_path / "memory:").exists()


def test_check_keeps_its_picture_where_it_may_write(temporary: Path) -> None:
    # On a machine that is shared, somebody else's picture lies there.
    (temporary / "sing_monitor_check.png").mkdir()
    report = tiny.quick_callback().check(tiny.Classifier(), tiny.loader(tiny.Blobs()))
    (picture,) = temporary.rglob("*/sing_monitor_check.png")
    assert picture.is_file()
    assert "null space" in str(report)
