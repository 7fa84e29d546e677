"""Trainings that import ``pytorch_lightning``, as much older code does."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning as pl
import torch
from lightning.pytorch.trainer.states import RunningStage, TrainerFn
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sing_monitor import analyze
from sing_monitor.lightning_types import is_lightning, is_setup_fault, overrides
from sing_monitor.tracking import RunReader
from tests.helpers import tiny
from tests.helpers.stores.databases import empty_database


class Steps(pl.LightningModule):
    """No forward."""

    def __init__(self) -> None:
        super().__init__()
        self.network = tiny.Classifier().network

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", cross_entropy(self.network(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01)


class Forward(Steps):
    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)


def trainer(folder: Path, *callbacks: Any, **changes: Any) -> pl.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    options = {"max_epochs": 2, "logger": False, "enable_checkpointing": False, **changes}
    return pl.Trainer(default_root_dir=folder, callbacks=list(callbacks), **quiet, **options)


def data() -> tuple[Any, Any]:
    return tiny.loader(tiny.Blobs(seed=1)), tiny.loader(tiny.Blobs())


@pytest.mark.parametrize("own_probe", [False, True])
def test_a_training_under_the_other_name_leaves_scalars_and_tables(
    tmp_path: Path, own_probe: bool
) -> None:
    logger = MLFlowLogger(
        tracking_uri=empty_database(tmp_path / "mlflow.db"),
        artifact_location=str(tmp_path / "artifacts"),
    )
    stop = EarlyStopping("sing/image_score", patience=5, mode="max")
    keep = ModelCheckpoint(tmp_path, monitor="sing/image_score", mode="max")
    probe = {"probe": tiny.loader(tiny.Blobs())} if own_probe else {}
    done = trainer(
        tmp_path, tiny.callback(**probe), stop, keep, logger=logger, enable_checkpointing=True
    )
    with pytest.warns(UserWarning, match="check_finite=False to go on"):
        done.fit(Forward(), *data())
    reader = RunReader(str(logger._tracking_uri), str(logger.run_id))
    assert reader.scalars()["epoch"].tolist() == [0, 1]
    assert [epoch for epoch, _ in reader.validations()] == [0, 1]
    assert len(reader.table("images", *reader.validations()[-1])) == 48
    assert keep.best_model_score is not None
    assert math.isfinite(float(keep.best_model_score))
    assert not list((tmp_path / ".sing_spool").rglob("*"))


def test_a_wrong_setup_is_named_before_the_first_step(tmp_path: Path) -> None:
    done = trainer(tmp_path, tiny.callback(class_names=["cat"]))
    with pytest.raises(MisconfigurationException, match="C=4"):
        done.fit(Steps(), *data())
    assert done.global_step == 0
    with pytest.raises(MisconfigurationException, match="Steps has no forward"):
        trainer(tmp_path, tiny.callback(probe=data()[1])).fit(Steps(), *data())


def test_check_and_analyze_take_a_module_of_the_other_name_before_and_after_a_fit(
    tmp_path: Path,
) -> None:
    model = Steps()
    expected = analyze(model, data()[1], tiny.HashSpace(), cache_dir=None)
    trainer(tmp_path, max_epochs=1, limit_train_batches=0).fit(model, *data())
    found = analyze(model, data()[1], tiny.HashSpace(), cache_dir=None)
    assert torch.equal(found.snapshot.features, expected.snapshot.features)
    assert "network.6" in str(tiny.callback().check(model, data()[1]))


def test_classes_count_by_name_and_package() -> None:
    class Net(nn.Module):
        """Called like one of Lightning's, and none of them."""

    class LightningModule(nn.Module):
        """Another one's."""

    for module in (Steps(), tiny.Classifier()):
        assert is_lightning(module, "LightningModule")
        assert overrides(module, "validation_step")
        assert not overrides(module, "configure_model")
    assert overrides(tiny.Classifier(), "forward")
    assert not overrides(Steps(), "forward")
    for module in (Net(), LightningModule()):
        assert not is_lightning(module, "LightningModule")
        assert not overrides(module, "forward")
    assert is_setup_fault(pl.utilities.exceptions.MisconfigurationException("x"))
    assert is_setup_fault(lightning.pytorch.utilities.exceptions.MisconfigurationException("x"))
    assert not is_setup_fault(ValueError("x"))


def test_states_of_both_names_are_equal() -> None:
    """MonitoredRun compares them, and run_own_probe sets one."""
    from pytorch_lightning.trainer import states

    assert all(state == getattr(states.TrainerFn, state.name) for state in TrainerFn)
    assert all(stage == getattr(states.RunningStage, stage.name) for stage in RunningStage)


def test_the_other_package_is_not_imported_where_nobody_uses_it() -> None:
    code = "import sys, sing_monitor.callbacks.sing, sing_monitor.offline.analyze\n"
    code += "sys.exit('pytorch_lightning' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
