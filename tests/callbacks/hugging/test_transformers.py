"""The Hugging Face Trainer under watch: right numbers, and a training as without the monitor."""

from __future__ import annotations

import json
import math
import multiprocessing
import sys
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.fabric import Fabric
from mlflow import MlflowClient
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import EarlyStoppingCallback, Trainer, TrainerCallback, ViTImageProcessor

from sing_monitor.errors import SetupError
from sing_monitor.tracking import RunReader, list_runs
from tests.callbacks.hugging.fluent import fluent_mlflow
from tests.callbacks.hugging.parts import (
    Answering,
    Dicts,
    Draws,
    Lit,
    accuracy,
    assert_equal_scalars,
    callback,
    evaluate_47_images,
    evaluate_as,
    loop,
    reader_of,
    trainer,
    vit,
)
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor
from tests.helpers.stores.servers import free_port

TIMES = ("runtime", "samples_per_second", "steps_per_second")


def untimed(logs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in each.items() if not k.endswith(TIMES)} for each in logs]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hugging")


@pytest.fixture(scope="module")
def draws() -> tuple[Draws, Draws]:
    return Draws(), Draws()


@pytest.fixture(scope="module")
def plain(folder: Path, draws: tuple[Draws, Draws]) -> Trainer:
    """Without the monitor."""
    done = trainer(folder / "plain", [draws[0]], compute_metrics=accuracy)
    done.train()
    return done


@pytest.fixture(scope="module")
def watched(folder: Path, draws: tuple[Draws, Draws]) -> Trainer:
    """The same with the monitor, its findings in a folder."""
    monitor = callback(tracking=folder / "runs", save_snapshots=True)
    done = trainer(folder / "watched", [monitor, draws[1]], compute_metrics=accuracy)
    done.train()
    return done


def monitor_of(done: Trainer) -> Any:
    (found,) = (each for each in done.callback_handler.callbacks if hasattr(each, "scalars"))
    return found


def test_a_training_is_the_same_with_and_without_the_monitor(
    plain: Trainer, watched: Trainer, draws: tuple[Draws, Draws]
) -> None:
    for one, other in zip(plain.model.parameters(), watched.model.parameters(), strict=True):
        assert torch.equal(one, other)
    moments = [done.optimizer.state_dict()["state"] for done in (plain, watched)]
    for index, state in moments[0].items():
        assert all(torch.equal(value, moments[1][index][name]) for name, value in state.items())
    assert draws[0].states == draws[1].states
    assert len(draws[0].states) == 2
    assert untimed(plain.state.log_history) == untimed(watched.state.log_history)
    assert len(plain.state.log_history) == 9


def test_nothing_stays_on_the_model(watched: Trainer) -> None:
    for module in watched.model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert "prediction_step" not in vars(watched)


def test_scalars_and_tables_of_every_evaluation_are_kept(watched: Trainer, folder: Path) -> None:
    reader = reader_of(folder / "runs")
    history = reader.scalars()
    assert history["epoch"].tolist() == [0, 1]
    assert history["monitor/global_step"].tolist() == [3, 6]
    assert set(history["monitor/samples"]) == {48}
    assert set(history["monitor/stage"]) == {0}
    for key, value in monitor_of(watched).scalars.items():
        assert history[key].iloc[-1] == pytest.approx(value, nan_ok=True), key
    assert [epoch for epoch, _ in reader.validations()] == [0, 1]
    config = reader.config()
    assert list_runs(str(folder / "runs"))["sing.way"].tolist() == ["transformers"]
    assert (config["head"], config["class_names"]) == ("classifier", list(tiny.CLASSES))
    # The data set is in order, so every image has its position.
    assert sorted(reader.table("images", 1, 6)["sample_index"]) == list(range(48))


def test_the_accuracy_is_the_trainers_own(watched: Trainer) -> None:
    logged = [each["eval_accuracy"] for each in watched.state.log_history if "eval_loss" in each]
    assert monitor_of(watched).scalars["monitor/accuracy"] == pytest.approx(logged[-1], abs=1e-9)


def test_the_numbers_are_those_of_lightning_on_the_same_seed_and_data(tmp_path: Path) -> None:
    ours, theirs = callback(), tiny.callback()
    model = vit(dropout=0.0)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    same = {"train_sampling_strategy": "sequential", "max_grad_norm": 0}
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    trainer(tmp_path, [ours], model, optimizers=(optimizer, schedule), **same).train()

    lit = Lit(vit(dropout=0.0))
    fit = tiny.trainer(tmp_path, theirs, num_sanity_val_steps=0)
    fit.fit(lit, tiny.loader(Dicts(seed=1)), tiny.loader(Dicts()))
    for one, other in zip(model.parameters(), lit.model.parameters(), strict=True):
        assert torch.equal(one, other)
    logged = {key: float(value) for key, value in fit.callback_metrics.items()}
    assert_equal_scalars(ours.scalars, logged)
    for fabric in (None, Fabric(accelerator="cpu", devices=1)):
        looped, scalars = loop(vit(dropout=0.0), fabric)
        for one, other in zip(model.parameters(), looped.parameters(), strict=True):
            assert torch.equal(one, other)
        assert_equal_scalars(ours.scalars, scalars)


@pytest.fixture(scope="module")
def evaluated(watched: Trainer, folder: Path) -> dict[str, float]:
    """Of the trained model, evaluated by itself."""
    again = callback(tracking=folder / "again")
    trainer(folder, [again], watched.model).evaluate()
    return again.scalars


@pytest.mark.parametrize(
    "changes", [{"label_smoothing_factor": 0.1}, {"prediction_loss_only": True}]
)
def test_labels_that_the_loss_takes_out_of_the_batch_are_read_before(
    changes: dict[str, Any], evaluated: dict[str, float], watched: Trainer, tmp_path: Path
) -> None:
    again = callback()
    metrics = trainer(tmp_path, [again], watched.model, **changes).evaluate()
    assert_equal_scalars(again.scalars, evaluated)
    assert not any(key.startswith("eval_sing") for key in metrics)


def test_an_evaluation_by_itself_has_a_run_of_its_own(
    evaluated: dict[str, float], folder: Path
) -> None:
    history = reader_of(folder / "again").scalars()
    assert history["monitor/stage"].tolist() == [1]
    assert history["monitor/accuracy"].tolist() == [evaluated["monitor/accuracy"]]
    assert list_runs(str(folder / "again"))["status"].tolist() == ["FINISHED"]


class Training(TrainerCallback):
    """Evaluates the training images, too, as many do."""

    trainer: Trainer

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        wanted = copy(control)  # an evaluation takes the wish for another one away
        self.trainer.evaluate(Dicts(16), metric_key_prefix="train")
        return wanted


def test_other_data_is_not_looked_at(tmp_path: Path) -> None:
    monitor, also = callback(tracking=tmp_path / "runs", n_maps=0), Training()
    also.trainer = done = trainer(tmp_path, [monitor, also], num_train_epochs=1)
    done.train()
    done.predict(Dicts(16))
    done.evaluate(Dicts(20))
    assert reader_of(tmp_path / "runs").scalars()["monitor/samples"].tolist() == [48]
    # Without data of its own, what it is given is what is asked about.
    done.eval_dataset = None
    done.evaluate({"one": Dicts(16), "two": Dicts(32)})
    assert monitor.scalars["monitor/samples"] == 16
    done.evaluate(Dicts(20))
    assert monitor.scalars["monitor/samples"] == 20


def test_steps_start_and_several_sets(tmp_path: Path) -> None:
    several = {"small": Dicts(16), "large": Dicts(48)}
    monitor = callback(tracking=tmp_path / "runs", dataloader_idx=1, n_maps=0)
    done = trainer(
        tmp_path,
        [monitor],
        evaluation=several,
        eval_strategy="steps",
        eval_steps=2,
        eval_on_start=True,
    )
    done.train()
    history = reader_of(tmp_path / "runs").scalars()
    assert history["monitor/global_step"].tolist() == [0, 2, 4, 6]
    assert history["epoch"].tolist() == [0, 0, 1, 1]
    assert set(history["monitor/samples"]) == {48}
    with pytest.raises(SetupError, match=r"dataloader_idx=2\) .* among 2 evaluation sets \(small"):
        trainer(tmp_path, [callback(dataloader_idx=2)], evaluation=several).train()


def test_the_best_model_and_early_stopping_go_by_a_metric_of_ours(tmp_path: Path) -> None:
    class Kept(TrainerCallback):
        metrics: list[dict[str, float]] = []  # noqa: RUF012 - one training reads it

        def on_evaluate(self, *_: Any, metrics: dict[str, float], **__: Any) -> None:
            self.metrics.append(dict(metrics))

    kept = Kept()
    done = trainer(
        tmp_path,
        [kept, EarlyStoppingCallback(1, early_stopping_threshold=1e9), callback()],
        num_train_epochs=9,
        metric_for_best_model="sing/image_score",
        load_best_model_at_end=True,
        save_strategy="epoch",
        save_total_limit=1,
    )
    done.train()
    values = [each["eval_sing/image_score"] for each in kept.metrics]
    assert len(values) == 2, "the patience is one evaluation"
    assert done.state.best_metric == max(values)
    assert [k for k in kept.metrics[0] if "sing" in k] == ["eval_sing/image_score"]


def network() -> Answering:
    return Answering(tiny.Classifier().network)


def test_a_resumed_training_goes_on_with_the_monitors_state(tmp_path: Path) -> None:
    one, again = callback(tracking=tmp_path / "runs"), callback(tracking=tmp_path / "runs")
    saving = {"save_strategy": "epoch", "num_train_epochs": 3}
    # A ViT that transformers 5.24 resumes has lost its blocks: they are saved under other names.
    trainer(tmp_path, [one], network(), **saving).train()
    later = trainer(tmp_path, [again], network(), **saving)
    with said_by_the_monitor() as said:
        later.train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    assert said == []
    assert_equal_scalars(one.scalars, again.scalars)
    assert math.isfinite(again.scalars["head/drift"])
    assert reader_of(tmp_path / "runs").scalars()["epoch"].tolist() == [0, 1, 2]

    (tmp_path / "checkpoint-6" / "sing_monitor.pt").write_bytes(b"cut off")
    with said_by_the_monitor() as said:
        trainer(tmp_path, [callback()], network(), **saving).train(str(tmp_path / "checkpoint-6"))
    assert "goes on from step 6, and the monitor's state cannot be read" in said[0]


def test_findings_go_to_the_run_of_the_trainers_own_mlflow(tmp_path: Path) -> None:
    tiny.mlflow_logger(tmp_path)  # the database
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with fluent_mlflow(uri):
        monitor = callback()
        done = trainer(tmp_path, [monitor], report_to="mlflow")
        done.train()
        done.evaluate()
        (run_id,) = list_runs(uri)["run_id"]
        done.train()
    (again,) = set(list_runs(uri)["run_id"]) - {run_id}
    assert RunReader(uri, again).scalars()["epoch"].tolist() == [0, 1]
    assert set(list_runs(uri)["status"]) == {"FINISHED"}
    history = RunReader(uri, run_id).scalars()
    # That of the training's last step is replaced by the one that has the same weights.
    assert history["monitor/stage"].tolist() == [0, 1]
    # The Trainer logs an epoch, too, and counts from 1.
    assert history["epoch"].tolist() == [0, 1]
    assert history["sing/image_score"].map(math.isfinite).all()
    metrics = MlflowClient(uri).get_run(run_id).data.metrics
    assert {"eval_loss", "train_loss", "sing/image_score"} <= metrics.keys()


def test_a_probe_takes_the_place_of_evaluations(tmp_path: Path) -> None:
    monitor, alone = callback(probe=DataLoader(Dicts(), 16)), callback()
    short = {"num_train_epochs": 1, "eval_strategy": "no"}
    without = trainer(tmp_path, **short)
    without.train()
    done = trainer(tmp_path, [monitor], **short)
    with said_by_the_monitor() as said:
        done.train()
    assert said == []
    for one, other in zip(done.model.parameters(), without.model.parameters(), strict=True):
        assert torch.equal(one, other)
    trainer(tmp_path, [alone], done.model).evaluate()
    # An evaluation by itself follows no weights.
    ours, theirs = (
        {key: value for key, value in each.scalars.items() if not key.startswith("dynamics/")}
        for each in (monitor, alone)
    )
    assert_equal_scalars(ours, theirs)


@pytest.mark.parametrize(
    "changes",
    [
        {"bf16": True, "gradient_accumulation_steps": 2},
        {"activation_checkpointing": True, "bf16_full_eval": True},
    ],
    ids=["bf16", "checkpointing"],
)
def test_precision_and_memory_saving_change_nothing_of_it(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    monitor = callback(on_error="raise", n_maps=0)
    weights = []
    for each in ([], [monitor]):
        done = trainer(tmp_path, each, num_train_epochs=1, **changes)
        done.train()
        weights.append([p.detach().clone() for p in done.model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
    assert monitor.scalars["monitor/samples"] == 48
    assert math.isfinite(monitor.scalars["sing/image_score"])


@pytest.mark.skipif(sys.platform != "linux", reason="copies of this process need fork")
def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    alone = evaluate_47_images(tmp_path / "one")
    assert alone["monitor/samples"] == 47
    # Copies of this process need no second import of transformers.
    copies, port = multiprocessing.get_context("fork"), free_port()
    started = [copies.Process(target=evaluate_as, args=(rank, port, tmp_path)) for rank in (0, 1)]
    for each in started:
        each.start()
    for each in started:
        each.join(120)
    assert [each.exitcode for each in started] == [0, 0]
    for rank in (0, 1):
        assert_equal_scalars(alone, json.loads((tmp_path / f"{rank}.json").read_text()))
    one, two = (reader_of(tmp_path / name).table("images", 0, 0) for name in ("one/runs", "runs"))
    assert sorted(one["image"]) == sorted(two["image"])
    assert len(two) == 47


class Normalized(Dicts):
    """As an image processor gives them."""

    def __init__(self, processor: ViTImageProcessor) -> None:
        super().__init__()
        mean, std = (torch.tensor(each) for each in (processor.image_mean, processor.image_std))
        self.mean, self.std = mean[:, None, None], std[:, None, None]

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        item = super().__getitem__(index)
        return {**item, "pixel_values": (item["pixel_values"] - self.mean) / self.std}


def test_pixels_come_from_the_trainers_image_processor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    processor = ViTImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.25, 0.3])
    data, found = Normalized(processor), {}
    for stats in (None, (processor.image_mean, processor.image_std)):
        monitor = callback(tracking=tmp_path / "runs", pixel_stats=stats, n_maps=0)
        done = trainer(tmp_path, [monitor], evaluation=data, processing_class=processor)
        with caplog.at_level("INFO"):
            done.evaluate()
            done.evaluate()
        found[stats is None] = monitor.scalars
    assert_equal_scalars(found[True], found[False])
    told = [record.getMessage() for record in caplog.records]
    reports = [each for each in told if "this set-up will be used" in each]
    sources = ["the image processor (ViTImageProcessor)", "pixel_stats"]
    for source, report in zip(sources, reports, strict=True):
        assert f"pixels      {source}; mean 0.4 0.5 0.6, std 0.2 0.25 0.3" in report
