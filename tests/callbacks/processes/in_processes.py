"""Everything that several processes must do alike, in one launch.

Run by the tests: ``python -m tests.callbacks.processes.in_processes <processes> <folder>``. Each
scenario is run on every rank; what the ranks found goes to ``<folder>/results.json``, by scenario,
a list with an entry for each rank. A rank that waits for the others in vain ends the launch after
a while. What one process finds, :func:`run_alone` answers without a launch.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from sing_monitor.inputs.batches import Batch
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor

PATIENCE = timedelta(seconds=90)


class DoubleBlobs(tiny.Blobs):
    """Blobs in double precision, so that the size of a batch leaves no rounding."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = super().__getitem__(index)
        return image.double(), label


def trainer(folder: Path, *callbacks: L.Callback, **changes: Any) -> L.Trainer:
    several = DDPStrategy(process_group_backend="gloo", timeout=PATIENCE)
    strategy = several if PROCESSES > 1 else "auto"
    arguments = {"devices": PROCESSES, "strategy": strategy, "max_epochs": 4}
    return tiny.trainer(folder, *callbacks, **{**arguments, **changes})


def validate(folder: Path, model: L.LightningModule, **changes: Any) -> dict[str, float]:
    """Scores of 47 images: the ranks' shares are uneven, and the sampler repeats one image.

    Of the four classes in turn, each rank of two sees only two.
    """
    run = trainer(folder, tiny.callback(n_maps=10, layers=True, save_snapshots=True), **changes)
    return dict(run.validate(model, tiny.loader(DoubleBlobs(47), batch_size=8), verbose=False)[0])


def plain(folder: Path) -> dict[str, float]:
    """Logged to MLflow, with tables."""
    return validate(folder, tiny.Classifier().double(), logger=tiny.mlflow_logger(folder))


class Sharding(tiny.Classifier):
    """FSDP2: every rank holds a part of each weight."""

    def configure_model(self) -> None:
        mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
        fully_shard(self.network[-1], mesh=mesh)
        fully_shard(self.network, mesh=mesh)


def sharding_strategy() -> ModelParallelStrategy:
    return ModelParallelStrategy(PROCESSES, 1, timeout=PATIENCE)


def sharded(folder: Path) -> dict[str, float]:
    return validate(folder, Sharding().double(), strategy=sharding_strategy())


def deterministic() -> nn.Module:
    """Neither statistics of a batch nor dropout: processes train it as one does."""
    L.seed_everything(7, verbose=False)
    layers = (nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(16, len(tiny.CLASSES))).double()


class Logged(L.Callback):
    """Keeps what a rank logs at the end of every training epoch."""

    def __init__(self) -> None:
        self.epochs: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.epochs.append({key: float(value) for key, value in trainer.callback_metrics.items()})


def train_on_probe(
    folder: Path, model: L.LightningModule, space: tiny.HashSpace | None = None, **changes: Any
) -> dict[str, Any]:
    """Train without a validation loop, and measure every second epoch on a probe of 47 images."""
    probe, logged = tiny.loader(DoubleBlobs(47), batch_size=8), Logged()
    callback = tiny.callback(
        space=space or tiny.HashSpace(), probe=probe, every_n_epochs=2, on_error="warn"
    )
    run = trainer(folder, callback, logged, **{"max_epochs": 3, **changes})
    with said_by_the_monitor() as said:
        # Whole: the processes' sampler shuffles.
        run.fit(model, tiny.loader(DoubleBlobs(64, seed=1), batch_size=64 // PROCESSES), [])
    return {"epochs": logged.epochs, "warnings": said}


def own_probe(folder: Path) -> dict[str, Any]:
    return train_on_probe(folder, tiny.Classifier(deterministic()))


def own_probe_sharded(folder: Path) -> dict[str, Any]:
    return train_on_probe(folder, Sharding(deterministic()), strategy=sharding_strategy())


def own_probe_disturbed(folder: Path) -> dict[str, Any]:
    """One rank cannot embed the probe; the other must not wait for it in a forward pass."""
    model, space = Sharding(deterministic()), FailingSpace()
    return train_on_probe(folder, model, space, strategy=sharding_strategy())


def shuffled(folder: Path) -> dict[str, Any]:
    """A sampler that does not tell what it repeats."""
    data = DoubleBlobs(47)
    sampler = DistributedSampler(data, PROCESSES, rank(), shuffle=True)
    run = trainer(folder, tiny.callback(), use_distributed_sampler=False)
    with said_by_the_monitor() as said:
        loader = DataLoader(data, 8, sampler=sampler)
        found = run.validate(tiny.Classifier().double(), loader, verbose=False)[0]
    return {"logged": dict(found), "warnings": said}


class Photographs(DoubleBlobs):
    """Three images in a row are of one object, which is told beside them."""

    def __getitem__(self, index: int) -> Any:
        return *super().__getitem__(index), f"object {index // 3}"


def grouped(folder: Path) -> dict[str, float]:
    """Objects whose images go to different ranks."""
    callback = tiny.callback(batch_adapter=lambda b: Batch(b[0], b[1], group=b[2]))
    loader = tiny.loader(Photographs(47), batch_size=8)
    run = trainer(folder, callback, logger=tiny.mlflow_logger(folder))
    return dict(run.validate(tiny.Classifier().double(), loader, verbose=False)[0])


def rank() -> int:
    return dist.get_rank() if PROCESSES > 1 else 0


class Shared(IterableDataset[Any]):
    """Batches of which every rank takes its own; some images come twice."""

    def __iter__(self) -> Any:
        data = DoubleBlobs(80)
        for start in range(0, 96, 8):
            if start // 8 % PROCESSES == rank():
                rows = torch.arange(start, start + 8) % 80
                yield data.images[rows].double(), data.labels[rows]


def streamed(folder: Path) -> dict[str, Any]:
    """Of a stream, which tells neither its length nor its order, the probe is a part."""
    callback = tiny.callback(probe_size=20, class_names=tiny.CLASSES, alerts=None)
    logged, logger = Logged(), tiny.mlflow_logger(folder)
    if PROCESSES > 1:
        dist.barrier()  # a copy of the empty database must not come after the first entry
    run = trainer(folder, callback, logged, max_epochs=2, logger=logger)
    model = tiny.Classifier(deterministic())
    train = tiny.loader(DoubleBlobs(64, seed=1), batch_size=64 // PROCESSES)
    with said_by_the_monitor() as said:
        run.fit(model, train, DataLoader(Shared(), batch_size=None))
    return {"epochs": logged.epochs, "warnings": said}


class HalfDeaf(tiny.Classifier):
    """The head is not called on rank 1."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if self.global_rank == 0:
            self(batch[0])


def half_deaf(folder: Path) -> dict[str, Any]:
    run = trainer(folder, tiny.callback(on_error="warn"))
    with said_by_the_monitor() as said:
        loader = tiny.loader(tiny.Blobs(), batch_size=8)
        found = run.validate(HalfDeaf(), loader, verbose=False)[0]
    return {"logged": dict(found), "warnings": said}


class FailingSpace(tiny.HashSpace):
    """Cannot embed the images of rank 1 that come after the sanity check, at first."""

    def encode_images(self, images: Tensor) -> Tensor:
        if dist.get_rank() == 1 and self.images == 16 and not self.has_failed:
            self.has_failed = True
            raise RuntimeError("rank 1 is out of memory")
        return super().encode_images(images)

    has_failed = False


class NotANumber(tiny.Classifier):
    """The features of rank 1 are no numbers at epoch 1."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.network[:-1](images)
        if not self.training and self.current_epoch == 1 and self.global_rank == 1:
            features = features * torch.nan
        return self.network[-1](features)


class Obstacle(L.Callback):
    """The spool of rank 0 cannot be written at epoch 2; and what every rank logs, by epoch."""

    def __init__(self, folder: Path) -> None:
        self.spool = folder / ".sing_spool"
        self.logged: list[dict[str, float]] = []

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and trainer.current_epoch == 2:
            self.spool.rename(self.spool.with_name("aside"))
            self.spool.write_text("in the way")
        if trainer.is_global_zero and trainer.current_epoch == 3:
            self.spool.unlink()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
            self.logged.append(logged)


def halves(batch: Any) -> Batch:
    """A rank knows of the attribute, and of the metrics it brings, once it has seen a batch."""
    images, labels = batch
    return Batch(images, labels, {"half": (labels // 2, ("animal", "thing"))})


def halves_on_rank_0(batch: Any) -> Batch:
    if dist.get_rank() == 1:
        raise ValueError("rank 1 cannot read its batch")
    return halves(batch)


def lopsided(folder: Path) -> list[str]:
    """One rank never learns which metrics there are; all must log the same."""
    run = trainer(folder, tiny.callback(on_error="warn", batch_adapter=halves_on_rank_0))
    found = run.validate(tiny.Classifier(), tiny.loader(tiny.Blobs(), batch_size=8), verbose=False)
    return sorted(found[0])


def fit(folder: Path, *callbacks: L.Callback, **changes: Any) -> list[float]:
    L.seed_everything(7, verbose=False)
    model = NotANumber()
    run = trainer(folder, *callbacks, **changes)
    run.fit(
        model,
        tiny.loader(tiny.Blobs(seed=1), batch_size=8),
        tiny.loader(tiny.Blobs(), batch_size=8),
    )
    return [value for part in model.state_dict().values() for value in part.flatten().tolist()]


def disturbed(folder: Path) -> dict[str, Any]:
    """Faults on one rank: the embeddings at epoch 0, the features at 1, the disk at 2."""
    obstacle = Obstacle(folder)
    callback = tiny.callback(space=FailingSpace(), on_error="warn", batch_adapter=halves)
    with said_by_the_monitor() as said:
        watched = fit(folder, callback, obstacle, logger=tiny.mlflow_logger(folder))
    alone = fit(folder)
    return {"logged": obstacle.logged, "warnings": said, "is_undisturbed": watched == alone}


def lame(folder: Path) -> str:
    """The space cannot be loaded on one rank."""
    space = tiny.HashSpace() if dist.get_rank() == 0 else "ViT-B-32/no-such-weights"
    run = trainer(folder, tiny.callback(space=space))
    try:
        run.validate(tiny.Classifier(), tiny.loader(tiny.Blobs()), verbose=False)
    except MisconfigurationException as error:
        return str(error)
    return ""


SCENARIOS: tuple[Callable[[Path], Any], ...] = (
    plain,
    grouped,
    sharded,
    own_probe,
    own_probe_sharded,
    own_probe_disturbed,
    shuffled,
    streamed,
    half_deaf,
    disturbed,
    lopsided,
    lame,
)
ALONE = (plain, grouped, own_probe, shuffled, streamed)
PROCESSES = int(sys.argv[1]) if __name__ == "__main__" else 1


def run_alone(folder: Path) -> dict[str, Any]:
    """What one process, this one, finds in the scenarios that do not need several."""
    return {scenario.__name__: scenario(place_of(scenario, folder)) for scenario in ALONE}


def place_of(scenario: Callable[[Path], Any], folder: Path) -> Path:
    """A folder of a scenario's own."""
    place = folder / scenario.__name__
    place.mkdir(exist_ok=True)
    return place


def main() -> None:
    """Only rank 0 writes, what all have found."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[2])
    results = {}
    for scenario in SCENARIOS:
        everyone: list[Any] = [None] * PROCESSES
        found = scenario(place_of(scenario, folder))
        dist.all_gather_object(everyone, found)
        results[scenario.__name__] = everyone
    if dist.get_rank() == 0:
        (folder / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
