"""What goes wrong around a Hugging Face Trainer is said, and costs no more than it must."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from sing_monitor.commands.cli import main
from sing_monitor.errors import SetupError
from sing_monitor.tracking import RunReader, list_runs
from tests.callbacks.hugging.parts import Dicts, callback, trainer
from tests.helpers.disturbed import said_by_the_monitor
from tests.helpers.stores.servers import MlflowServer


class At(TrainerCallback):
    """Raises when a training step of an epoch begins."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 4:
            raise self.error


@pytest.mark.parametrize(
    ("error", "status"), [(RuntimeError("no more"), "FAILED"), (KeyboardInterrupt(), "KILLED")]
)
def test_a_training_that_ends_early_leaves_its_run_and_its_model_in_order(
    error: BaseException, status: str, tmp_path: Path
) -> None:
    monitor = callback(tracking=tmp_path / "runs", n_maps=0)
    done = trainer(tmp_path, [monitor, At(error)])
    with pytest.raises(type(error)):
        done.train()
    assert list_runs(str(tmp_path / "runs"))["status"].tolist() == [status]
    assert not any(module._forward_hooks for module in done.model.modules())
    done.evaluate()
    assert monitor.scalars["monitor/samples"] == 48


@pytest.mark.parametrize(
    ("label", "smoothing"), [("truth", 0.0), ("truth", 0.1)], ids=["no labels", "with smoothing"]
)
def test_missing_labels_are_said_once_and_cost_nothing_else(
    label: str, smoothing: float, tmp_path: Path
) -> None:
    monitor = callback(on_error="warn")
    with said_by_the_monitor() as said:
        done = trainer(
            tmp_path,
            [monitor],
            evaluation=Dicts(label=label),
            label_smoothing_factor=smoothing,
            remove_unused_columns=True,
        )
        done.train()
    (warning,) = said
    assert warning.startswith("sing-monitor: turned off for this run: The batch is dict with")
    assert "SINGTrainerCallback(batch_adapter=" in warning
    assert math.isnan(monitor.scalars["sing/image_score"])
    assert done.state.global_step == 6


def test_what_is_wrong_is_said_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"SINGTrainerCallback\(every_n_epochs=0\)"):
        callback(every_n_epochs=0)
    with said_by_the_monitor() as said:
        trainer(tmp_path, [callback()], eval_strategy="no").train()
    assert "listens to evaluations, and none will run" in said[0]
    with pytest.raises(SetupError, match=r'SINGTrainerCallback\(head="..."\)'):
        trainer(tmp_path, [callback(head="fc")]).train()


class Disaster(TrainerCallback):
    """Ends the server after the first evaluation, and this process after the second."""

    def __init__(self, server: int) -> None:
        self.server = server

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 4:
            os.killpg(self.server, signal.SIGKILL)
        if state.global_step == 7:
            os.kill(os.getpid(), signal.SIGKILL)


def train_until(folder: Path, uri: str, server: int) -> None:
    monitor = callback(tracking=uri, on_error="warn", n_maps=0)
    trainer(folder, [monitor, Disaster(server)], num_train_epochs=3).train()


@pytest.mark.skipif(sys.platform != "linux", reason="a copy of this process needs fork")
def test_sync_delivers_what_a_killed_training_kept_while_the_server_was_away(
    mlflow_server: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    known = set(list_runs(mlflow_server.uri)["run_id"])
    # A copy of this process needs no second import of transformers.
    doomed = multiprocessing.get_context("fork").Process(
        target=train_until, args=(tmp_path, mlflow_server.uri, mlflow_server.group)
    )
    doomed.start()
    doomed.join(120)
    assert doomed.exitcode == -signal.SIGKILL
    mlflow_server.start()
    (run_id,) = set(list_runs(mlflow_server.uri)["run_id"]) - known
    reader = RunReader(mlflow_server.uri, run_id)
    assert reader.scalars()["epoch"].tolist() == [0]
    assert main(["sync", str(tmp_path)]) == 0
    assert reader.scalars()["epoch"].tolist() == [0, 1]
    assert [epoch for epoch, _ in reader.validations()] == [0, 1]
