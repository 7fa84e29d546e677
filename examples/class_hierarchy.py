"""A hierarchy that one network was taught and another was not: even and odd digits.

One network learns the ten digits, the other only whether a digit is even. Then its features are
frozen and a head of ten classes is fitted to them. Whether a digit is even cannot be seen in its
shape, so the first head has no reason to hold even digits alike; the second has no other choice:

    python examples/class_hierarchy.py --seeds 5
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from sing_monitor import analyze

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PARITY = {name: "odd" if number % 2 else "even" for number, name in enumerate(NAMES)}
COLUMNS = {
    "accuracy": "accuracy",
    "hierarchy/similarity_depth": "depth",
    "hierarchy/similarity_depth_relative": "relative",
    "hierarchy/agreement": "agreement",
    "hierarchy/confusion_depth": "errors' depth",
    "hierarchy/compliance_extended": "explained",
    "hierarchy/compliance_extended_chance": "by chance",
}


def digits() -> tuple[Tensor, Tensor]:
    """The 1,797 digits of scikit-learn, (N, 1, 8, 8) in 0 to 1, with their labels."""
    data = load_digits()
    images = torch.from_numpy(data.images / 16).float()[:, None]
    return images, torch.from_numpy(data.target)


def fit(
    network: nn.Module, inputs: Tensor, labels: Tensor, parameters: Iterable[Tensor], steps: int
) -> None:
    """Train some parameters on random batches."""
    optimizer = torch.optim.AdamW(parameters, 3e-3, weight_decay=1e-2)
    for _ in range(steps):
        rows = torch.randint(len(inputs), (128,))
        optimizer.zero_grad()
        cross_entropy(network(inputs[rows]), labels[rows]).backward()
        optimizer.step()


def trained(taught: Sequence[int], seed: int, images: Tensor, labels: Tensor) -> nn.Module:
    """A network of ten outputs on features that were taught other labels.

    Args:
        taught: by digit, the label that the features learn to tell.
        seed: of weights and batches.
        images: to learn from.
        labels: digits.
    """
    torch.manual_seed(seed)
    backbone = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()
    )
    learning = nn.Sequential(backbone, nn.Linear(64, max(taught) + 1))
    fit(learning, images, torch.tensor(taught)[labels], learning.parameters(), steps=600)
    network = nn.Sequential(backbone, nn.Linear(64, 10))
    fit(network, images, labels, network[1].parameters(), steps=600)
    return network.eval()


def measured(network: nn.Module, images: Tensor, labels: Tensor) -> Mapping[str, float]:
    """What the monitor says of a network, with even and odd for a hierarchy."""
    found = analyze(
        network,
        DataLoader(TensorDataset(images, labels), 256),
        space=None,
        class_names=NAMES,
        hierarchy=PARITY,
        n_maps=0,
    )
    with torch.no_grad():
        accuracy = float((network(images).argmax(dim=1) == labels).float().mean())
    return {**found.findings.scalars, "accuracy": accuracy}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both networks for every seed, and print what the monitor says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args(arguments).seeds
    warnings.filterwarnings("ignore", module="sing_monitor")
    torch.set_num_threads(1)

    images, labels = digits()
    learned, tested = slice(0, 1200), slice(1200, None)
    rows = {}
    for seed in range(seeds):
        for name, taught in (("ten digits", range(10)), ("even or odd", [0, 1] * 5)):
            network = trained(taught, seed, images[learned], labels[learned])
            rows[name, seed] = measured(network, images[tested], labels[tested])
    table = pd.DataFrame(rows, index=list(COLUMNS)).T.rename(columns=COLUMNS)
    table.index.names = ["taught", "seed"]
    print(table.sort_index().to_string(float_format="{:.2f}".format))
    print(
        "\ndepth: 1 for an edge between an even and an odd digit, 2 inside one of both.\n"
        "relative: 0 for what chance gives, 1 for the hierarchy itself.\n"
        "explained: share of the main confusions inside a group that the head holds alike.\n"
    )
    means = table.groupby("taught")["relative"].mean()
    print(
        f"The head over features of even or odd holds digits of one kind alike "
        f"({means['even or odd']:.2f} of the way from chance to the hierarchy); "
        f"that of the ten digits does not ({means['ten digits']:.2f})."
    )


if __name__ == "__main__":
    main()
