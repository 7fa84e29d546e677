"""What several processes must measure alike without a trainer, in one launch.

Run by the tests: ``python -m tests.monitor.plain.in_processes <processes> <folder>``. What every
process found goes to ``<folder>/results.json``, by scenario. What one process finds,
:func:`run_alone` answers without a launch.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.fabric.strategies import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, Subset

from sing_monitor.errors import SetupError
from tests.helpers import tiny
from tests.helpers.disturbed import said_by_the_monitor
from tests.helpers.loops import monitor, same, validate

PATIENCE = timedelta(seconds=90)


class DoubleBlobs(tiny.Blobs):
    """Blobs in double precision, so that the size of a batch leaves no rounding."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, label = super().__getitem__(index)
        return image.double(), label


def loader() -> DataLoader[Any]:
    """Of 47 images: the processes' shares are uneven, and the sampler repeats one image."""
    return tiny.loader(DoubleBlobs(47), batch_size=8)


def network() -> nn.Module:
    return tiny.Classifier().network.double()


def with_fabric(fabric: L.Fabric, folder: Path) -> dict[str, float]:
    """Two epochs in a loop of one's own, the second with other weights."""
    model, data = fabric.setup(network()), fabric.setup_dataloaders(loader())
    model.eval()
    with monitor(model, loader=data, tracking_uri=folder) as watching:
        for epoch in range(2):
            own = {"rank": fabric.global_rank}
            with watching.epoch(epoch, metrics=own) as watch, torch.no_grad():
                validate(model, data, watch)
            with torch.no_grad():
                model.module[-1].weight.add_(0.1 * torch.eye(4, 16))
    return watch.scalars


def in_a_pass_of_its_own(fabric: L.Fabric, folder: Path) -> dict[str, float]:
    """After a training step, DDP's next pass would wait for that of the other process.

    The first process measures alone, and then both, with unequal numbers of batches.
    """
    model, data = fabric.setup(network()), loader()
    if fabric.world_size > 1:
        rows = range(40, 47) if fabric.global_rank else range(40)
        data = tiny.loader(Subset(data.dataset, rows), batch_size=8)
    for module in model.modules():
        module.train(not isinstance(module, nn.BatchNorm2d))
    fabric.backward(model(next(iter(data))[0]).sum())
    count = model.module[1].num_batches_tracked.fill_(fabric.global_rank)
    if fabric.global_rank == 0:
        watching = monitor(model, class_names=tiny.CLASSES, alone=True)
        found = watching.measure(loader(), epoch=0)
    scalars = monitor(model, class_names=tiny.CLASSES).measure(data, epoch=0)
    assert count == fabric.global_rank
    if fabric.global_rank == 0:
        assert same(found, scalars, rel=1e-9)
    return scalars


def with_ddp(fabric: L.Fabric, folder: Path) -> dict[str, float]:
    """As scripts without Fabric wrap a model."""
    data, model = loader(), network()
    if fabric.world_size > 1:
        sampler = DistributedSampler(data.dataset, shuffle=False)
        data, model = DataLoader(data.dataset, 8, sampler=sampler), DistributedDataParallel(model)
    model.eval()
    with monitor(model, loader=data).epoch(0) as watch, torch.no_grad():
        validate(model, data, watch)
    return watch.scalars


def half_wrong(fabric: L.Fabric, folder: Path) -> dict[str, Any]:
    """One process hands over no labels; every process hears of it, and none waits in vain."""
    model, data = fabric.setup(network()), fabric.setup_dataloaders(loader())
    model.eval()
    said, errors = [], []
    for on_error in ("warn", "raise"):
        watching = monitor(model, loader=data, on_error=on_error)
        try:
            with said_by_the_monitor() as warnings, watching.epoch(0) as watch, torch.no_grad():
                for inputs, labels in data:
                    model(inputs)
                    watch.add(inputs, None if fabric.global_rank else labels)
        except SetupError as error:
            errors.append(str(error))
        said += warnings
    return {"warnings": said, "errors": errors, "rank": watch.scalars.get("head/rank", 0.0)}


SCENARIOS: tuple[Callable[[L.Fabric, Path], Any], ...] = (
    with_fabric,
    in_a_pass_of_its_own,
    with_ddp,
    half_wrong,
)
ALONE = SCENARIOS[:3]
PROCESSES = int(sys.argv[1]) if __name__ == "__main__" else 1


def run_alone(folder: Path) -> dict[str, Any]:
    """What one process, this one, finds in the scenarios that do not need several."""
    fabric = L.Fabric(accelerator="cpu", devices=1)
    return {each.__name__: each(fabric, folder / each.__name__) for each in ALONE}


def main() -> None:
    """Only the first process writes, what all have found."""
    torch.set_num_threads(1)
    folder, results = Path(sys.argv[2]), {}
    strategy = DDPStrategy(process_group_backend="gloo", timeout=PATIENCE)
    fabric = L.Fabric(accelerator="cpu", devices=PROCESSES, strategy=strategy)
    fabric.launch()
    for scenario in SCENARIOS:
        everyone: list[Any] = [None] * PROCESSES
        dist.all_gather_object(everyone, scenario(fabric, folder / scenario.__name__))
        results[scenario.__name__] = everyone
    if fabric.global_rank == 0:
        (folder / "results.json").write_text(json.dumps(results))
    # While the interpreter ends, a thread of gloo's that drops a tensor of the last collective
    # aborts the process, without the monitor as well: github.com/pytorch/pytorch/issues/190489.
    dist.barrier()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
