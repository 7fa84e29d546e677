"""Trainers with methods of their own, and callbacks that come late, leave early or serve two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Trainer

from sing_monitor.tracking import list_runs
from tests.callbacks.hugging import parts
from tests.callbacks.hugging.parts import callback, trainer, vit
from tests.helpers.disturbed import said_by_the_monitor

LIGHT = {"n_maps": 0, "n_weights": 0, "space": None}


class HandingOn(Trainer):
    """Overrides what it may, with the signature that takes everything."""

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        return super().evaluate(*args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        return super().evaluation_loop(*args, **kwargs)

    def prediction_step(self, model: Any, *rest: Any, **kwargs: Any) -> Any:
        return super().prediction_step(model, *rest, **kwargs)


class OwnLoop(Trainer):
    """Evaluates by itself."""

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        self.model.eval()
        right = 0
        with torch.no_grad():
            for batch in self.get_eval_dataloader():
                right += int((self.model(**batch).logits.argmax(1) == batch["labels"]).sum())
        self.model.train()
        return {"eval_accuracy": right / 48}


def test_methods_that_hand_on_what_they_get_are_looked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, own = callback(**LIGHT), callback(**LIGHT)
    trainer(tmp_path, [plain]).evaluate()
    monkeypatch.setattr(parts, "Trainer", HandingOn)
    trainer(tmp_path, [own]).evaluate()
    assert own.scalars["monitor/samples"] == 48
    assert own.scalars["probe/class_hidden"] == plain.scalars["probe/class_hidden"]


def test_an_evaluation_in_a_loop_of_ones_own_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "Trainer", OwnLoop)
    monitor = callback(**LIGHT)
    with said_by_the_monitor() as said:
        trainer(tmp_path, [monitor]).train()
    assert ["ran a loop of its own" in line for line in said] == [True]
    assert monitor.scalars == {}


def test_a_callback_that_is_added_late_hears_the_next_evaluation(tmp_path: Path) -> None:
    monitor, done = callback(**LIGHT), trainer(tmp_path)
    done.add_callback(monitor)
    with said_by_the_monitor() as said:
        done.evaluate()
    assert monitor.scalars == {}
    assert ["call callback.watch(trainer)" in line for line in said] == [True]
    done.evaluate()
    assert monitor.scalars["monitor/samples"] == 48


def test_a_callback_that_is_removed_listens_no_longer(tmp_path: Path) -> None:
    monitor = callback(**LIGHT, tracking=tmp_path / "runs")
    done = trainer(tmp_path, [monitor])
    done.remove_callback(monitor)
    done.evaluate()
    assert monitor.scalars == {}
    done.add_callback(monitor)
    done.evaluate()
    assert monitor.scalars["monitor/samples"] == 48


def test_two_trainers_of_one_callback_share_no_run(tmp_path: Path) -> None:
    monitor = callback(**LIGHT, tracking=tmp_path / "runs")
    first, second = (trainer(tmp_path, [monitor], vit(seed=seed)) for seed in (3, 8))
    first.evaluate()
    second.evaluate()
    first.evaluate()
    runs = list_runs(str(tmp_path / "runs"))
    assert len(runs) == 2
