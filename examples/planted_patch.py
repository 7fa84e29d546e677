"""A small patch alone decides the class: does the head look at it, and does the map find it?

    python examples/planted_patch.py --seeds 5

Draws pictures of random texture with a patch of 8 of 48 pixels at a random place, whose stripes are
the class, and trains a small network with a global average under the monitor; about a minute a seed
on a core. `focus/entropy_seen` tells how evenly what the head sees is spread over the places of the
map, `focus/entropy_null` the same of what it ignores. At the end a mask is taken of other pictures:
all places but the H P that count least, H the entropy, P the number of places. It finds the patch
if it holds more of the patch's places than of all.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.loggers import MLFlowLogger
from quickstart import keep_quiet
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor import SINGCallback
from sing_monitor.analyses.focus import importance, normalized_entropy, uncritical
from sing_monitor.analyses.focus.locations import split_norms
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.tracking import RunReader

CLASSES = ("upright", "level", "falling", "rising")
SIDE, PATCH, CELL = 48, 8, 4
TOLD = {
    "monitor/accuracy": "accuracy",
    "focus/entropy": "all",
    "focus/entropy_seen": "seen",
    "focus/entropy_null": "null",
    "focus/overlap": "overlap",
}


def stripes() -> Tensor:
    """The patch of every class, (C, PATCH, PATCH) of 0 and 1: lines two pixels wide."""
    row, column = torch.meshgrid(torch.arange(PATCH), torch.arange(PATCH), indexing="ij")
    return torch.stack([column, row, column - row, column + row]).div(2).floor().remainder(2)


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Textures with a patch.

    Returns:
        Pictures (N, 3, SIDE, SIDE) in [0, 1] and of 256 levels, labels (N,), and the share of each
        place of the map that the patch covers, (N, SIDE / CELL, SIDE / CELL).
    """
    g = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CLASSES)
    # Of several sizes, so that a texture is no sign of where the patch stands.
    layers = [torch.rand(count, 3, side, side, generator=g) for side in (6, 12, 24, SIDE)]
    layers = [interpolate(each, SIDE, mode="bilinear") for each in layers]
    images = torch.stack(layers).mean(dim=0)
    colors = torch.rand(count, 2, 3, generator=g)
    covered = torch.zeros(count, 1, SIDE, SIDE)
    corners = torch.randint(SIDE - PATCH + 1, (count, 2), generator=g).tolist()
    for number, (top, left) in enumerate(corners):
        inside = (..., slice(top, top + PATCH), slice(left, left + PATCH))
        light, dark = colors[number, :, :, None, None]
        lines = stripes()[labels[number]]
        images[number][inside] = (0.5 + light / 2) * lines + dark / 2 * (1 - lines)
        covered[number][inside] = 1
    places = nn.functional.avg_pool2d(covered, CELL)[:, 0]
    return (images * 255).round() / 255, labels, places


class PatchNetwork(L.LightningModule):
    """Four convolutions, a global average and a head; a place of the map sees 17 pixels."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        channels = (3, width // 4, width // 2, width, width)
        self.body = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()
                )
                for a, b, stride in zip(channels[:-1], channels[1:], (1, 2, 2, 1), strict=True)
            )
        )
        self.fc = nn.Linear(width, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.body(images).mean(dim=(2, 3)))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        self.log("val_loss", cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        optimizer = torch.optim.AdamW(self.parameters(), 1e-3)
        epochs = self.trainer.max_epochs or 1
        return [optimizer], [CosineAnnealingLR(optimizer, epochs)]


def train(
    folder: Path, seed: int, *, epochs: int, images: int, probe: int = 512, width: int = 64
) -> tuple[PatchNetwork, pd.DataFrame]:
    """Train a network under the monitor.

    Returns:
        The network, and what the monitor says of it before training and after each epoch.
    """
    L.seed_everything(seed, verbose=False)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    logger = MLFlowLogger("planted patch", tracking_uri=uri)
    training, validation = (
        DataLoader(TensorDataset(*pictures(count, number)[:2]), 64, shuffle=number % 2 == 0)
        for count, number in ((images, 2 * seed), (probe, 2 * seed + 1))
    )
    trainer = L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=logger,
        callbacks=[SINGCallback(space=None, class_names=CLASSES, analyses=["focus"])],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        default_root_dir=folder,
    )
    network = PatchNetwork(width)
    trainer.validate(network, validation, verbose=False)
    trainer.fit(network, training, validation)
    told = RunReader(uri, str(logger.run_id)).scalars(list(TOLD))
    return network.eval(), told[list(TOLD)].rename(columns=TOLD).rename_axis("epochs")


def found_patches(network: PatchNetwork, seed: int, count: int = 512) -> pd.DataFrame:
    """Entropy of each part of the features, and how much of the patch lies in its mask.

    Fewer directions vary more from place to place: ``random`` has as many as the head sees.

    Returns:
        By part: entropy; share of all places in the mask, which chance would find; and of those
        places that the patch covers at least by half.
    """
    images, _, covered = pictures(count, 10_000 + seed)
    with torch.no_grad():
        maps = network.body(images)
    away = maps - maps.mean(dim=(0, 2, 3), keepdim=True)
    weight = network.fc.weight.detach()
    seen, null = split_norms(away, HeadGeometry.from_weight(weight))
    other = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
    random, _ = split_norms(away, HeadGeometry.from_weight(other))
    found = {}
    parts = {"all": importance(away), "seen": seen, "null": null, "random": random}
    for name, each in parts.items():
        mask = ~uncritical(each)
        shares = (float(part.double().mean()) for part in (mask, mask[covered >= 0.5]))
        found[name] = (float(normalized_entropy(each).mean()), *shares)
    return pd.DataFrame.from_dict(found, "index", columns=["entropy", "chance", "patch"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on several seeds; print the entropies by epoch and what the masks find."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, default=2048, help="train on so many")
    parser.add_argument("--probe", type=int, default=512, help="validate on so many")
    parser.add_argument("--width", type=int, default=64, help="features before the head")
    options = parser.parse_args(arguments)
    keep_quiet()
    curves, masks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.seeds):
            network, told = train(
                Path(folder),
                seed,
                epochs=options.epochs,
                images=options.images,
                probe=options.probe,
                width=options.width,
            )
            curves.append(told)
            masks.append(found_patches(network, seed, options.probe))
    print(f"\nEntropy of the maps of 48 pictures, mean of {options.seeds} seeds:")
    print(pd.concat(curves).groupby("epochs").mean().to_string(float_format="{:.3f}".format))
    print("\nOther pictures: entropy, share of all places in the mask, and of those of the patch:")
    found = pd.concat(masks, keys=range(options.seeds), names=["seed", "part"])
    print(found.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
