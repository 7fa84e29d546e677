"""Two crops of one picture, shifted against each other: does a network still find them alike?

    python examples/shifted_images.py

Trains a small network on crops of Fashion-MNIST (from torchvision's folder, Debian's package
dataset-fashion-mnist, or the network), two minutes on a core. Then it takes two crops of
each of 64 other pictures, one shifted by 0 to 16 of 72 pixels, and ranks all pairs of a crop and a
shifted crop by their similarity. AUROC is the chance that two crops of one picture are more alike
than crops of two: 1 is perfect, 0.5 is guessing.

Compared place by place, shifted crops soon resemble each other no more than strangers do. With
their positions matched by content they stay alike.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path

import torch
from fashion_mnist import fashion_mnist
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from tqdm import tqdm

from sing_monitor.analyses.similarity import similarity_matrices
from sing_monitor.analyses.similarity.analysis import analyze_similarity
from sing_monitor.feature_maps import FeatureMaps
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot

PICTURE, CROP = 72, 56
SHIFTS = (0, 4, 8, 16)
GROUPS = 8
TOLD = (
    *("jsd_spatial", "jsd_semantic", "gain", "cka"),
    *("retrieval_spatial", "retrieval_semantic"),
)


class SmallNetwork(nn.Module):
    """Four convolutions; maps of 28 x 28, 14 x 14 and 7 x 7 positions from crops of 56 pixels.

    Args:
        classes: C.
        width: channels of the last map.
    """

    def __init__(self, classes: int = 10, width: int = 128) -> None:
        super().__init__()
        channels = (1, width // 4, width // 4, width // 2, width)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU())
            for a, b, stride in zip(channels[:-1], channels[1:], (2, 1, 2, 2), strict=True)
        )
        self.fc = nn.Linear(width, classes)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Maps behind every stage, the last one at the end."""
        found = []
        for stage in self.stages:
            images = stage(images)
            found.append(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (N, C)."""
        return self.fc(self.maps(images)[-1].mean(dim=(2, 3)))


def enlarged(images: Tensor, size: int = PICTURE) -> Tensor:
    """Pictures (N, 1, h, w) at another size."""
    return interpolate(images, size, mode="bilinear", align_corners=False)


def crop(pictures: Tensor, top: int, left: int, size: int = CROP) -> Tensor:
    """One window of all pictures."""
    return pictures[..., top : top + size, left : left + size]


def trained(
    network: SmallNetwork, pictures: Tensor, labels: Tensor, epochs: int = 3
) -> SmallNetwork:
    """Train a network on windows of pictures, each batch elsewhere."""
    torch.manual_seed(0)
    room = pictures.shape[-1] - CROP + 1
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    for epoch in range(epochs):
        for rows in tqdm(torch.randperm(len(labels)).split(64), f"epoch {epoch}", leave=False):
            top, left = torch.randint(room, (2,)).tolist()
            optimizer.zero_grad()
            cross_entropy(network(crop(pictures[rows], top, left)), labels[rows]).backward()
            optimizer.step()
    return network.eval()


def aurocs(network: SmallNetwork, pictures: Tensor, shift: int) -> dict[str, float]:
    """AUROC of two crops of one picture against crops of two, by kernel and comparison.

    Args:
        network: whose last maps are compared.
        pictures: (N, 1, H, W), none of which it was trained on.
        shift: pixels between the crops, down and to the right.
    """
    with torch.no_grad():
        both = [network.maps(crop(pictures, k, k))[-1] for k in (0, shift)]
    matrices = similarity_matrices(torch.cat(both))
    kernels = {
        "inner product": (matrices.spatial_inner, matrices.semantic_inner),
        "cosine": matrices.cosine(),
        "RBF": matrices.rbf(),
    }
    count = len(pictures)
    is_same = torch.eye(count, dtype=torch.bool).flatten()
    return {
        f"{kernel}, {comparison}": float(roc_auc_score(is_same, values[:count, count:].flatten()))
        for kernel, both_values in kernels.items()
        for comparison, values in zip(("spatial", "semantic"), both_values, strict=True)
    }


def monitored(network: SmallNetwork, pictures: Tensor, labels: Tensor) -> Mapping[str, float]:
    """Scalars ``similarity/*`` of a network on pictures that are each cropped at another place."""
    generator = torch.Generator().manual_seed(int(labels.sum()))
    places = torch.randint(PICTURE - CROP + 1, (len(pictures), 2), generator=generator).tolist()
    crops = torch.stack([crop(each, *place) for each, place in zip(pictures, places, strict=True)])
    with torch.no_grad():
        maps = network.maps(crops)[-1]
    ids = torch.arange(len(crops))
    snapshot = Snapshot(
        weight=network.fc.weight.detach(),
        bias=network.fc.bias.detach(),
        features=maps.mean(dim=(2, 3)),
        labels=labels,
        embeddings=None,
        class_names=tuple(map(str, range(network.fc.out_features))),
        image_ids=ids,
        maps=FeatureMaps(ids, maps),
    )
    return analyze_similarity(Observation(snapshot)).scalars


def fashion(count: int, *, train: bool, data: Path) -> tuple[Tensor, Tensor]:
    """The first pictures of Fashion-MNIST, enlarged, and their labels."""
    images = fashion_mnist(data, train=train)
    pixels = images.data[:count, None].float() / 255
    return enlarged(pixels), images.targets[:count]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and print a line for each kernel and comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=6000, help="train on so many")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--test-images", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=64, help="take crops of so many")
    parser.add_argument("--data", type=Path, default=Path("data"), help="torchvision's folder")
    options = parser.parse_args(arguments)
    torch.manual_seed(0)
    network = SmallNetwork().eval()
    untrained = deepcopy(network)
    trained(network, *fashion(options.images, train=True, data=options.data), options.epochs)
    pictures, labels = fashion(options.test_images, train=False, data=options.data)
    with torch.no_grad():
        answers = network(crop(pictures, 8, 8)).argmax(dim=1)
    accuracy = float((answers == labels).float().mean())
    print(f"accuracy on {len(labels):,} test pictures: {accuracy:.2f}")
    print(f"{'AUROC, crops shifted by':27}" + "".join(f"{shift:6} px" for shift in SHIFTS))
    table = [aurocs(network, pictures[: options.pictures], shift) for shift in SHIFTS]
    for name in table[0]:
        print(f"  {name:25}" + "".join(f"{each[name]:9.3f}" for each in table))
    print(f"\nWhat the monitor says of as many pictures, each cropped elsewhere; {GROUPS} times:")
    print(f"{'':10}" + "".join(f"{name:>20}" for name in TOLD))
    groups = torch.arange(len(labels)).split(options.pictures)[:GROUPS]
    for name, each in {"untrained": untrained, "trained": network}.items():
        found = [monitored(each, pictures[rows], labels[rows]) for rows in groups]
        told = torch.tensor([[one[f"similarity/{key}"] for key in TOLD] for one in found])
        mean, spread = told.mean(dim=0).tolist(), told.std(dim=0).tolist()
        shown = [f"{m:.2f}±{sd:.2f}" for m, sd in zip(mean, spread, strict=True)]
        print(f"{name:10}" + "".join(f"{value:>20}" for value in shown))


if __name__ == "__main__":
    main()
