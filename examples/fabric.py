"""The quickstart with Lightning Fabric, in one process or several.

    python examples/fabric.py                # two models: about two minutes
    python examples/fabric.py --devices 2    # two processes, whose monitor gives the same numbers

`Fabric.setup` wraps the model and `Fabric.setup_dataloaders` the loaders; the monitor takes them as
they are. With one process the numbers are those of the quickstart.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from plain_pytorch import loaders, monitor_options, validate
from quickstart import RUNS, TRACKING_URI, keep_quiet, small_resnet, table
from torch import nn
from torch.nn.functional import cross_entropy

from sing_monitor import Monitor


def train(
    fabric: L.Fabric,
    name: str,
    shortcut: float,
    epochs: int,
    *,
    copies: int = 4,
    watched: bool = True,
) -> tuple[nn.Module, str | None]:
    """Train one classifier; the model, and the id of its run if it was watched."""
    fabric.seed_everything(0, verbose=False)
    train_loader, val_loader = fabric.setup_dataloaders(*loaders(shortcut, copies))
    options: dict[str, Any] = monitor_options()
    network = small_resnet()
    model, optimizer = fabric.setup(network, torch.optim.AdamW(network.parameters(), 2e-3))
    monitor = None
    if watched:
        monitor = Monitor(
            model,
            tracking_uri=TRACKING_URI,
            experiment="sing fabric",
            run_name=name,
            loader=val_loader,
            **options,
        )
    for epoch in range(epochs):
        model.train()
        for batch in train_loader:
            loss = cross_entropy(model(batch["image"]), batch["label"])
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
        if monitor is None:
            validate(model, val_loader)
            continue
        with monitor.epoch(epoch, step=(epoch + 1) * len(train_loader)) as watch:
            watch.log(validate(model, val_loader, watch))
    if monitor is None:
        return network, None
    monitor.close()
    return network, monitor.run_id


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both models and print the quickstart's table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--copies", type=int, default=4, help="of each digit, in other colours")
    parser.add_argument("--devices", type=int, default=1, help="processes on the CPU")
    options = parser.parse_args(arguments)
    keep_quiet()
    fabric = L.Fabric(accelerator="cpu", devices=options.devices)
    fabric.launch()

    run_ids = {}
    for name, shortcut in RUNS.items():
        fabric.print(f"\n=== {name}: ink gives the class away for {shortcut:.0%} of the images")
        _, run_id = train(fabric, name, shortcut, options.epochs, copies=options.copies)
        run_ids[name] = str(run_id)
    if fabric.is_global_zero:
        print(f"\n{table(run_ids)}\n")


if __name__ == "__main__":
    main()
