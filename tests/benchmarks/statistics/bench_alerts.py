"""False alarms of the default alerts, and how soon a head that goes blind is reported.

Healthy: the quickstart's honest model, of several seeds, with and without a semantic space. Blind:
the same, but from one epoch on the head loses what sets six classes apart, before every validation.
Prints which alerts fired and when.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import quickstart
import torch
from colored_digits import ColoredDigits
from tiny_clip import load_tiny_clip
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from sing_monitor import SINGCallback
from sing_monitor.alerts import parse_fired
from sing_monitor.tracking import list_runs
from tests.benchmarks.machine import describe

BLIND = (0, 2, 3, 5, 7, 9)


class Blinding(L.Callback):
    """Take what sets some classes apart out of the head's weight, before every validation."""

    def __init__(self, from_epoch: int, labels: Sequence[int] = BLIND) -> None:
        self.from_epoch, self.labels = from_epoch, list(labels)
        data = ColoredDigits("train", seed=5)
        self.images, self.classes = data.images.float() / 255, data.labels

    @torch.no_grad()
    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or trainer.current_epoch < self.from_epoch:
            return
        network: nn.Module = pl_module.network
        network.eval()
        features = network.forward_head(network.forward_features(self.images), pre_logits=True)
        others = features[~torch.isin(self.classes, torch.tensor(self.labels))].mean(dim=0)
        means = torch.stack([features[self.classes == label].mean(dim=0) for label in self.labels])
        apart, _ = torch.linalg.qr((means - others).T)
        weight = network.get_classifier().weight
        weight -= weight @ apart @ apart.T


def fired(seed: int, epochs: int, blind_from: int | None, folder: Path, *, space: bool) -> str:
    """Train one model and say which alerts fired, and when."""
    L.seed_everything(seed, verbose=False)
    training = DataLoader(ColoredDigits("train", seed=seed, copies=4), 64, shuffle=True)
    validation = DataLoader(ColoredDigits("val", seed=2, copies=4), 256)
    monitor = SINGCallback(
        load_tiny_clip() if space else None,
        concepts=[],
        batch_adapter=quickstart.with_attributes,
        tracking=str(folder),
    )
    callbacks: list[L.Callback] = [monitor]
    if blind_from is not None:
        callbacks.insert(0, Blinding(blind_from))
    L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    ).fit(quickstart.DigitClassifier(quickstart.small_resnet()), training, validation)
    alerts = parse_fired(list_runs(str(folder)).get("sing.alerts", [None])[0])
    return ", ".join(f"{name} at {epoch}" for name, epoch in alerts.items())


def main() -> None:
    """Train the healthy and the blind models and print what fired."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--blind-from", type=int, default=6)
    arguments = parser.parse_args()
    quickstart.keep_quiet()
    print(describe())
    plan = [(seed, None, space) for seed in range(arguments.seeds) for space in (True, False)]
    plan += [(0, arguments.blind_from, True), (0, arguments.blind_from, False)]
    for seed, blind_from, space in tqdm(plan, unit="training"):
        with tempfile.TemporaryDirectory() as folder:
            found = fired(seed, arguments.epochs, blind_from, Path(folder), space=space)
        kind = "healthy" if blind_from is None else f"blind from epoch {blind_from}"
        tqdm.write(f"seed {seed}, {'with' if space else 'no'} space, {kind}: {found or '-'}")


if __name__ == "__main__":
    main()
