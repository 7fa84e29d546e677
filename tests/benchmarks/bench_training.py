"""What a training pays for the monitor: seconds inside our hooks over seconds of fit.

A timm ResNet-18 at 96 x 96 on Fashion-MNIST (digits where Debian's `dataset-fashion-mnist` is not
installed): 4,000 training and 1,000 validation images, batches of 64, on the CPU, logged to MLflow.
Every callback hook and every forward hook of the monitor counts, fingerprints, copies and MLflow's
writes too. All analyses run, and the stages of the network are looked at. The first epoch also
embeds the probe, once; the ratios are medians of the others, those from the eighth validation on
apart, at which modes of the weights are looked for.
"""

from __future__ import annotations

import argparse
import functools
import gzip
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import timm
import torch
from tiny_clip import load_tiny_clip
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate
from torch.utils.data import DataLoader, Dataset

from sing_monitor import SINGCallback
from sing_monitor.analyses.dynamics.specs import FEWEST
from sing_monitor.head.weak_hook import WeakHook
from tests.benchmarks.machine import describe
from tests.helpers import tiny

FASHION = Path("/usr/share/datasets/fashion-mnist")
NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag",
         "ankle boot")  # fmt: skip
SIZE = 96
BATCH = 64


class Images(Dataset[tuple[Tensor, int]]):
    """Small grey images, enlarged as they are asked for."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels, self.labels = pixels, labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        pixels = self.pixels[row].float()[None, None] / 255
        image = interpolate(pixels, (SIZE, SIZE), mode="bilinear", antialias=False)[0]
        return image.expand(3, -1, -1).contiguous(), self.labels[row]


def images(count: int, *, training: bool) -> Images:
    """The first images of a part of Fashion-MNIST, or digits."""
    if FASHION.is_dir():
        part = "train" if training else "t10k"
        raw = gzip.decompress((FASHION / f"{part}-images-idx3-ubyte.gz").read_bytes())
        labels = gzip.decompress((FASHION / f"{part}-labels-idx1-ubyte.gz").read_bytes())
        pixels = torch.frombuffer(bytearray(raw[16:]), dtype=torch.uint8).view(-1, 28, 28)
        return Images(pixels[:count], torch.tensor(list(labels[8 : 8 + count])))
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    rows = (order[:1500] if training else order[1500:]).repeat(count // 297 + 1)[:count]
    noise = torch.randint(0, 12, (count, 8, 8), generator=torch.Generator().manual_seed(1))
    pixels = torch.from_numpy(digits.images)[rows] * 15 + noise
    return Images(pixels.to(torch.uint8), torch.from_numpy(digits.target)[rows].long())


class Classifier(L.LightningModule):
    """ResNet-18."""

    def __init__(self) -> None:
        super().__init__()
        self.model = timm.create_model("resnet18", num_classes=10)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val_loss", cross_entropy(self.model(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.01, momentum=0.9)


class Stopwatch:
    """Wall and processor seconds spent inside what it wraps."""

    def __init__(self) -> None:
        self.wall = self.processor = 0.0
        self._depth = 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            # Wall time last: to ask for the processor's takes a while itself.
            processor, wall = time.process_time(), time.perf_counter()
            self._depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self.wall += time.perf_counter() - wall
                    self.processor += time.process_time() - processor

        return timed


class Laps(L.Callback):
    """The stopwatch's and the clocks' readings at the start of every epoch and at the end."""

    def __init__(self, stopwatch: Stopwatch) -> None:
        self.readings: list[tuple[float, float, float, float]] = []
        self._stopwatch = stopwatch

    def read(self) -> None:
        inside = self._stopwatch
        self.readings.append(
            (time.perf_counter(), time.process_time(), inside.wall, inside.processor)
        )

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.read()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.read()

    def epochs(self) -> list[tuple[float, float, float, float]]:
        """Wall, processor, wall inside, processor inside: seconds of every epoch."""
        pairs = zip(self.readings, self.readings[1:], strict=False)
        return [tuple(b - a for a, b in zip(*pair, strict=True)) for pair in pairs]  # type: ignore[misc]


def monitored(stopwatch: Stopwatch, callback: SINGCallback, prefix: str = "") -> SINGCallback:
    """The callback, every hook of it timed (of this prefix), those on the model too."""
    WeakHook.__call__ = stopwatch.wrap(WeakHook.__call__)  # type: ignore[method-assign]
    for name in dir(L.Callback):
        if name.startswith(("on_", "setup", "teardown")) and name.startswith(prefix):
            setattr(callback, name, stopwatch.wrap(getattr(callback, name)))
    return callback


def main() -> None:
    """Train once and print a line an epoch and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, nargs=2, default=(4_000, 1_000))
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")
    for name in ("mlflow", "alembic", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.ERROR)
    print(describe())
    stopwatch = Stopwatch()
    callback = SINGCallback(load_tiny_clip(), class_names=NAMES, cache_dir=None, layers=True)
    laps = Laps(stopwatch)
    L.seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            max_epochs=arguments.epochs,
            accelerator="cpu",
            logger=tiny.mlflow_logger(Path(folder)),
            callbacks=[laps, monitored(stopwatch, callback)],
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        training, validation = (
            images(count, training=part == 0) for part, count in enumerate(arguments.images)
        )
        trainer.fit(
            Classifier(),
            DataLoader(training, BATCH, shuffle=True),
            DataLoader(validation, BATCH),
        )
    for epoch, (wall, processor, inside, inside_processor) in enumerate(laps.epochs()):
        print(
            f"epoch {epoch}: fit {wall:.1f} s, monitor {inside:.2f} s ({inside / wall:.2%}); "
            f"processor {processor:.1f} s, monitor {inside_processor:.2f} s "
            f"({inside_processor / processor:.2%})"
        )
    found = laps.epochs()
    for first, last in ((1, FEWEST - 1), (FEWEST - 1, len(found))):
        some = found[first:last]
        if some:
            print(
                f"median of epochs {first} to {first + len(some) - 1}: monitor "
                f"{statistics.median(lap[2] / lap[0] for lap in some):.2%} of wall time, "
                f"{statistics.median(lap[3] / lap[1] for lap in some):.2%} of processor time"
            )


if __name__ == "__main__":
    main()
