"""A sweep with Optuna: each trial is a run of its own, and the best head keeps most of the digit.

    python examples/optuna_sweep.py

Each trial trains the quickstart's shortcut model with another learning rate, in one process, with a
Trainer, a logger and a SINGCallback of its own: three things that belong to one training. What a
trial reports is not the accuracy but what the head still sees of the digit. About two minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import lightning as L
import optuna
from lightning.pytorch.loggers import MLFlowLogger
from quickstart import TRACKING_URI, DigitClassifier, keep_quiet, small_resnet, table
from watched_digits import Digits, monitor_options

from sing_monitor import SINGCallback

RATES = (5e-4, 2e-3, 8e-3)
WATCHED = "sing/zero_shot_seen"


def train(rate: float, epochs: int, copies: int) -> tuple[str, float]:
    """One training; its MLflow run, and how often the digit is read from what the head sees."""
    L.seed_everything(0, verbose=False)
    logger = MLFlowLogger("sing optuna", run_name=f"rate {rate:g}", tracking_uri=TRACKING_URI)
    logger.log_hyperparams({"learning_rate": rate})
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=logger,
        callbacks=[SINGCallback(**monitor_options())],
        enable_checkpointing=False,
        enable_model_summary=False,
    )
    trainer.fit(DigitClassifier(small_resnet(), rate), datamodule=Digits(0.95, copies))
    return str(logger.run_id), float(trainer.callback_metrics[WATCHED])


def main(arguments: Sequence[str] | None = None) -> dict[str, str]:
    """Run the sweep, print the quickstart's table, and return the runs by their learning rate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--copies", type=int, default=4, help="of each digit, in other colours")
    parser.add_argument("--rates", type=float, nargs="+", default=RATES)
    options = parser.parse_args(arguments)
    keep_quiet()
    run_ids: dict[str, str] = {}

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_categorical("learning_rate", options.rates)
        run_ids[f"rate {rate:g}"], seen = train(rate, options.epochs, options.copies)
        return seen

    sampler = optuna.samplers.GridSampler({"learning_rate": options.rates}, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=len(options.rates))
    print(f"\n{table(run_ids)}\n")
    print(f"The digit is read best at {study.best_params}: {WATCHED} = {study.best_value:.2f}")
    return run_ids


if __name__ == "__main__":
    main()
