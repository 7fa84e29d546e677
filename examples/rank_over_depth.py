"""How many directions features keep at each depth: deep networks on digits, with known answers.

A linear network, one with ReLU, one with a bottleneck of three units and one with shortcuts learn
the digits of scikit-learn. Before and during training the monitor counts the directions in which
the features of each layer vary:

    python examples/rank_over_depth.py --seeds 5
"""

from __future__ import annotations

import argparse
import itertools
import warnings
from collections.abc import Callable, Sequence

import pandas as pd
import torch
from class_hierarchy import NAMES, digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor import analyze

WIDTH, DEPTH, NARROW, NARROW_AT = 64, 6, 3, 4
EPOCHS = (0, 1, 5, 40)


class Shortcut(nn.Module):
    """A layer whose output is added to its input."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """The sum of both, (N, 64)."""
        return x + self.layer(x)


def deep(
    activation: Callable[[], nn.Module], *, narrow: int | None = None, is_residual: bool = False
) -> nn.Sequential:
    """Six layers of 64 units and a head.

    Args:
        activation: behind each layer.
        narrow: units of the fourth layer; None: as many as of the others.
        is_residual: whether every layer but the first has a shortcut around it.
    """
    widths = [64, *[WIDTH] * DEPTH]
    widths[NARROW_AT] = narrow or WIDTH
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (before, after) in enumerate(itertools.pairwise(widths)):
        layer = nn.Sequential(nn.Linear(before, after), activation())
        layers.append(Shortcut(layer) if is_residual and number else layer)
    return nn.Sequential(*layers, nn.Linear(WIDTH, len(NAMES)))


NETWORKS: dict[str, Callable[[], nn.Sequential]] = {
    "linear": lambda: deep(nn.Identity),
    "ReLU": lambda: deep(nn.ReLU),
    f"ReLU, {NARROW} units in layer {NARROW_AT}": lambda: deep(nn.ReLU, narrow=NARROW),
    "ReLU, shortcuts": lambda: deep(nn.ReLU, is_residual=True),
}


def ranks(network: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Effective rank of each layer, their ratio, and the accuracy."""
    found = analyze(
        network,
        DataLoader(TensorDataset(images, labels), 200),
        space=None,
        class_names=NAMES,
        analyses=["layers"],
        layers=True,
    )
    by_layer = found.tables["layers"].set_index("depth")["rank"]
    numbers = {f"layer {depth}": float(rank) for depth, rank in by_layer.items()}
    scalars = found.scalars
    return {
        **numbers,
        "last / first": scalars["layers/rank_drop"],
        "accuracy": scalars["monitor/accuracy"],
    }


def train_an_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> None:
    """Once over the images, in random batches."""
    network.train()
    for rows in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        cross_entropy(network(images[rows]), labels[rows]).backward()
        optimizer.step()
    network.eval()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train every network for every seed, and print the mean ranks by epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=EPOCHS[-1])
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", module="sing_monitor")
    torch.set_num_threads(1)

    images, labels = digits()
    learned, tested = slice(0, 1200), slice(1200, None)
    rows = {}
    for seed in range(given.seeds):
        for name, make in NETWORKS.items():
            torch.manual_seed(seed)
            network = make()
            optimizer = torch.optim.Adam(network.parameters(), 1e-3)
            for epoch in range(given.epochs + 1):
                if epoch:
                    train_an_epoch(network, optimizer, images[learned], labels[learned])
                if epoch in EPOCHS:
                    rows[name, epoch, seed] = ranks(network, images[tested], labels[tested])
    table = pd.DataFrame(rows).T
    table.index.names = ["network", "epoch", "seed"]
    by_epoch = table.groupby(level=["network", "epoch"], sort=False)
    print("Mean over the seeds:")
    print(by_epoch.mean().to_string(float_format="{:.2f}".format))
    print("\nStandard deviation over the seeds:")
    print(by_epoch.std().to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
