"""The ways to a monitored training besides Lightning's Trainer by hand, in a short form.

Each ends in the quickstart's table, and the numbers in it are those of a training alone.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import MLFlowLogger
from torch.utils.data import DataLoader

from sing_monitor import SINGCallback
from sing_monitor.tracking import RunReader, list_runs
from tests.callbacks.hugging.fluent import fluent_mlflow
from tests.helpers import tiny

# The examples are scripts and import each other by bare name.
sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import hydra_train
import lightning_cli
import optuna_sweep
import quickstart
import transformers_trainer
import watched_digits

CONFIGS = Path(__file__).parents[2] / "examples" / "configs"
SHORT = ["--epochs", "1", "--copies", "1"]
# Numbers that tell of time, and of the place in a training.
APART = ("monitor/seconds", "monitor/stage", "monitor/global_step", "dynamics/")


@pytest.fixture(autouse=True)
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new store in a folder of its own, where the example runs."""
    tiny.mlflow_logger(tmp_path)
    # In one process, MLflow takes equal addresses for one store, whatever the folder.
    where, threads = f"sqlite:///{tmp_path / 'mlflow.db'}", torch.get_num_threads()
    for module in (quickstart, transformers_trainer, optuna_sweep):
        monkeypatch.setattr(module, "TRACKING_URI", where)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with fluent_mlflow(where):
        yield where
    torch.set_num_threads(threads)


def last_scalars(uri: str, run_id: str) -> dict[str, float]:
    return dict(RunReader(uri, run_id).scalars().iloc[-1])


def quickstart_scalars(uri: str) -> dict[str, float]:
    """Of the quickstart's shortcut model, alone."""
    logger = MLFlowLogger("alone", tracking_uri=uri)
    return last_scalars(uri, quickstart.train(logger, 0.95, epochs=1, copies=1))


def runs_of(uri: str, experiment: str) -> dict[str, str]:
    runs = list_runs(uri, experiment)
    assert set(runs["status"]) == {"FINISHED"}
    return dict(zip(runs["run_name"], runs["run_id"], strict=True))


def assert_equal_scalars(
    one: Mapping[str, float], other: Mapping[str, float], exact: bool = True
) -> None:
    shared = [key for key in one if "/" in key and not key.startswith(APART)]
    assert set(shared) <= set(other)
    assert sum(math.isfinite(one[key]) for key in shared) > 90
    tolerance = 0 if exact else 1e-6
    for key in shared:
        expected = pytest.approx(other[key], abs=tolerance, rel=tolerance, nan_ok=True)
        assert one[key] == expected, key


def assert_table(said: str, scalars: Mapping[str, Mapping[str, float]]) -> None:
    """The quickstart's table holds a row for each run, with what MLflow has of it."""
    header = said[said.index(" hidden ") :].splitlines()[0]
    assert header.split() == ["hidden", "digit", "kept", "colour", "kept", "accuracy"]
    for name, values in scalars.items():
        (row,) = re.findall(rf"^{re.escape(name)} +0 +(.*)$", said, re.MULTILINE)
        shown = [f"{values[key]:.2f}".replace("nan", "-") for key in quickstart.COLUMNS]
        assert row.split() == shown


@pytest.mark.parametrize("arguments", [[], ["--vit"]], ids=["resnet", "vit"])
def test_the_hugging_face_trainer_gives_the_numbers_of_lightning(
    arguments: list[str],
    uri: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if arguments:  # one model is enough the second time
        monkeypatch.setattr(transformers_trainer, "RUNS", {"shortcut": 0.95})
    trainers = transformers_trainer.main([*SHORT, *arguments])
    runs = runs_of(uri, "sing transformers")
    scalars = {name: last_scalars(uri, run_id) for name, run_id in runs.items()}
    assert scalars.keys() == transformers_trainer.RUNS.keys() == trainers.keys()
    assert_table(capsys.readouterr().out, scalars)

    class Answer(torch.nn.Module):
        def __init__(self, model: torch.nn.Module) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.model(images)["logits"]

    module = quickstart.DigitClassifier(Answer(trainers["shortcut"].model))
    lightning = tiny.trainer(Path(), SINGCallback(**watched_digits.monitor_options()))
    loader = DataLoader(watched_digits.validation_digits(copies=1), 256)
    (found,) = lightning.validate(module, loader, verbose=False)
    assert_equal_scalars(scalars["shortcut"], found, exact=False)


def test_lightning_cli_trains_what_the_file_says(
    uri: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["lightning_cli.py"])
    config = tmp_path / "here.yaml"
    text = (CONFIGS / "lightning_cli.yaml").read_text()
    config.write_text(text.replace("sqlite:///mlflow.db", uri))
    changes = ["--trainer.max_epochs=1", "--data.init_args.copies=1"]
    lightning_cli.main(["fit", f"--config={config}", *changes])
    (run_id,) = runs_of(uri, "sing lightning cli").values()
    assert list(tmp_path.glob("lightning_logs/*/config.yaml"))
    found = last_scalars(uri, run_id)
    assert_table(capsys.readouterr().out, {"shortcut": found})
    assert sorted(RunReader(uri, run_id).config()["concepts"]) == ["gray", "red"]
    assert found["monitor/samples"] == 359


def test_trials_of_a_sweep_give_the_numbers_of_the_quickstart(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = optuna_sweep.main([*SHORT, "--rates", "0.001", "0.002"])
    assert runs == runs_of(uri, "sing optuna")
    scalars = {name: last_scalars(uri, run_id) for name, run_id in runs.items()}
    assert_table(capsys.readouterr().out, scalars)
    assert len({values["sing/image_score"] for values in scalars.values()}) == 2
    assert not [path for path in tmp_path.rglob(".sing_spool/**/*") if path.is_file()]
    # The last one gives the numbers of the quickstart, which has known no trial before.
    assert_equal_scalars(scalars["rate 0.002"], quickstart_scalars(uri))


def test_jobs_of_a_multirun_give_the_numbers_of_the_quickstart(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["trainer.max_epochs=1", "data.copies=1", f"logger.tracking_uri={uri}"]
    multirun = ["hydra_train.py", "--multirun", "data.shortcut=0,0.95"]
    # Hydra would set up the root logger, which the tests after this one share.
    silent = ["hydra/hydra_logging=none", "hydra/job_logging=none"]
    monkeypatch.setattr("sys.argv", [*multirun, *silent, *short])
    hydra_train.main()
    runs = runs_of(uri, "sing hydra")
    scalars = {name: last_scalars(uri, run_id) for name, run_id in runs.items()}
    assert scalars.keys() == {"shortcut 0", "shortcut 0.95"}
    said = capsys.readouterr().out
    assert_table(said, scalars)
    # The second job gives the numbers of the quickstart, which has known no job before.
    assert_equal_scalars(scalars["shortcut 0.95"], quickstart_scalars(uri))
