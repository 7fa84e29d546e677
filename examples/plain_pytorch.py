"""The quickstart in plain PyTorch, in the style of timm's training script.

    python examples/plain_pytorch.py               # two models: about two minutes
    python examples/plain_pytorch.py --ema 0.99    # an averaged copy of each is validated

The training loop and `validate` are those of any script; what the monitor adds are the lines with
`monitor` and `watch` in them. Without `--ema` the numbers are those of the quickstart.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from colored_digits import ColoredDigits
from quickstart import CONCEPTS, RUNS, TRACKING_URI, keep_quiet, small_resnet, table
from quickstart import with_attributes as as_batch
from timm.utils import AverageMeter, ModelEmaV3, accuracy
from tiny_clip import load_tiny_clip
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from sing_monitor import Monitor
from sing_monitor.monitor import Watch

Loader = DataLoader[dict[str, Tensor]]
PROMPTS = {
    "colour": "an image of a {} digit",
    "background": "an image of a digit on a {} background",
}


def train_one_epoch(
    model: nn.Module, loader: Loader, optimizer: torch.optim.Optimizer, ema: ModelEmaV3 | None
) -> float:
    """One pass over the training images; the mean loss."""
    losses = AverageMeter()
    model.train()
    for batch in loader:
        loss = cross_entropy(model(batch["image"]), batch["label"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if ema is not None:
            ema.update(model)
        losses.update(loss.item(), len(batch["label"]))
    return float(losses.avg)


def validate(model: nn.Module, loader: Loader, watch: Watch | None = None) -> dict[str, float]:
    """Loss and accuracy over the validation images."""
    losses, top1 = AverageMeter(), AverageMeter()
    model.eval()
    with torch.inference_mode():
        for batch in loader:
            logits = model(batch["image"])
            if watch is not None:
                watch.add(batch)  # a loader of pairs: watch.add(images, labels)
            losses.update(cross_entropy(logits, batch["label"]).item(), len(logits))
            top1.update(accuracy(logits, batch["label"])[0].item(), len(logits))
    return {"val_loss": losses.avg, "val_top1": top1.avg}


def loaders(shortcut: float, copies: int) -> tuple[Loader, Loader]:
    """Digits to learn from, for a share of which the ink gives the class away, and others."""
    training = ColoredDigits("train", shortcut, seed=1, copies=copies)
    return (
        DataLoader(training, 64, shuffle=True),
        DataLoader(ColoredDigits("val", seed=2, copies=copies), 256),
    )


def monitor_options() -> dict[str, Any]:
    """What the quickstart's monitor is told of the digits."""
    return {
        "space": load_tiny_clip(),
        "concepts": CONCEPTS,
        "attribute_prompts": PROMPTS,
        "batch_adapter": as_batch,
    }


def train(
    name: str,
    shortcut: float,
    epochs: int,
    *,
    copies: int = 4,
    ema_decay: float = 0.0,
    watched: bool = True,
) -> tuple[nn.Module, str | None]:
    """Train one classifier; the model, and the id of its run if it was watched."""
    torch.manual_seed(0)
    train_loader, val_loader = loaders(shortcut, copies)
    options = monitor_options()
    model = small_resnet()
    ema = ModelEmaV3(model, ema_decay) if ema_decay else None
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    validated = model if ema is None else ema.module
    if not watched:
        for _ in range(epochs):
            train_one_epoch(model, train_loader, optimizer, ema)
            validate(validated, val_loader)
        return model, None

    monitor = Monitor(
        validated,
        tracking_uri=TRACKING_URI,
        experiment="sing plain pytorch",
        run_name=name,
        loader=val_loader,
        **options,
    )
    for epoch in range(epochs):
        train_loss = train_one_epoch(model, train_loader, optimizer, ema)
        steps = (epoch + 1) * len(train_loader)
        with monitor.epoch(epoch, step=steps, metrics={"train_loss": train_loss}) as watch:
            watch.log(validate(validated, val_loader, watch))
    monitor.close()
    return model, monitor.run_id


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both models and print the quickstart's table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--copies", type=int, default=4, help="of each digit, in other colours")
    parser.add_argument("--ema", type=float, default=0.0, help="decay of an averaged copy; 0: none")
    options = parser.parse_args(arguments)
    keep_quiet()

    run_ids = {}
    for name, shortcut in RUNS.items():
        print(f"\n=== {name}: ink gives the class away for {shortcut:.0%} of the training images")
        _, run_id = train(
            name, shortcut, options.epochs, copies=options.copies, ema_decay=options.ema
        )
        run_ids[name] = str(run_id)
    print(f"\n{table(run_ids)}\n")


if __name__ == "__main__":
    main()
