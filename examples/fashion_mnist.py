"""A ResNet and a ViT of timm on the real Fashion-MNIST, watched while they train.

    python examples/fashion_mnist.py

The images are taken from torchvision's folder, from Debian's package dataset-fashion-mnist, or
from the network. The semantic space is ViT-B-32 (about 600 MB, downloaded once). This is meant for
a GPU: on a processor's core an epoch of the ResNet takes about three minutes, of the ViT twenty.
There, train on fewer images, or two smaller models:

    python examples/fashion_mnist.py --images 10000 --epochs 5
    python examples/fashion_mnist.py --fast

`--space tiny` needs no network: the tiny CLIP of these examples. It knows digits and no clothes,
so class names mean nothing to it, scores refer to class prototypes, and but for those of the
hierarchy, which need no space, the numbers show only that everything runs.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import pandas as pd
import torch
from lightning.pytorch.loggers import MLFlowLogger
from timm_classifier import TimmClassifier
from tiny_clip import load_tiny_clip
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset, default_collate
from torchvision.datasets import FashionMNIST
from torchvision.datasets.utils import extract_archive
from torchvision.transforms import v2

from sing_monitor import SINGCallback
from sing_monitor.space.semantic_space import DEFAULT_SPACE
from sing_monitor.tracking import RunReader, shown_address

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MEAN, STD = 0.2860, 0.3530
TINY = "tiny"
MODELS: dict[str, dict[str, Any]] = {
    "resnet18": {"learning_rate": 2e-3},
    "vit_tiny_patch16_224": {"learning_rate": 1e-3, "img_size": 28, "patch_size": 4},
}
FAST_MODELS: dict[str, dict[str, Any]] = {
    "test_resnet": {},
    "test_vit": {"img_size": 28, "patch_size": 7},
}
# Ancestors of each class, the most general first. Bags are like nothing else.
HIERARCHY: dict[str, tuple[str, ...]] = {
    "T-shirt/top": ("clothes", "tops", "shirts"),
    "Trouser": ("clothes",),
    "Pullover": ("clothes", "tops", "warm tops"),
    "Dress": ("clothes",),
    "Coat": ("clothes", "tops", "warm tops"),
    "Sandal": ("shoes",),
    "Shirt": ("clothes", "tops", "shirts"),
    "Sneaker": ("shoes", "closed shoes"),
    "Bag": (),
    "Ankle boot": ("shoes", "closed shoes"),
}
CURVES = {
    "monitor/accuracy": "accuracy",
    "hierarchy/similarity_depth": "depth",
    "hierarchy/similarity_depth_relative": "relative",
    "hierarchy/agreement": "agreement",
    "hierarchy/compliance_extended": "explained",
    "hierarchy/compliance_extended_chance": "by chance",
}
PROMPTS = ("a photo of a {}, a piece of clothing", "a black and white photo of a {}")
CONCEPTS = (
    *("sleeves", "a collar", "buttons", "laces", "a heel", "a strap", "a handle", "stripes"),
    *("a logo", "dark fabric", "bright fabric", "shiny leather", "knitted wool", "denim"),
)


def fashion_mnist(root: Path, *, train: bool) -> FashionMNIST:
    """The data set, from whichever place has it."""
    raw = root / "FashionMNIST" / "raw"
    if DEBIAN.is_dir() and not raw.is_dir():
        raw.mkdir(parents=True)
        for archive in DEBIAN.glob("*.gz"):
            extract_archive(str(archive), str(raw))
    transform = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([MEAN], [STD])]
    )
    # Downloads only what is not there.
    return FashionMNIST(str(root), train=train, transform=transform, download=True)


def few(images: Dataset[Any], count: int, *, named: bool) -> Dataset[Any]:
    """The first images; without the names of their classes, unless the space can read them."""
    part = Subset(images, range(count))
    return part if named else TensorDataset(*default_collate([part[i] for i in range(count)]))


def train(
    architecture: str,
    options: dict[str, Any],
    data: tuple[Dataset[Any], Dataset[Any]],
    monitor: SINGCallback,
    arguments: argparse.Namespace,
) -> str:
    """Train one model under the monitor; the id of its MLflow run."""
    L.seed_everything(0, verbose=False)
    logger = MLFlowLogger(
        "fashion mnist", run_name=architecture, tracking_uri=arguments.tracking_uri
    )
    trainer = L.Trainer(
        max_epochs=arguments.epochs,
        logger=logger,
        callbacks=[monitor],
        enable_checkpointing=False,
        log_every_n_steps=10,
    )
    workers = {"num_workers": arguments.workers, "persistent_workers": arguments.workers > 0}
    trainer.fit(
        TimmClassifier(architecture, 10, in_chans=1, **options),
        DataLoader(data[0], 128, shuffle=True, drop_last=True, **workers),
        DataLoader(data[1], 256, **workers),
    )
    return str(logger.run_id)


def told(run: RunReader) -> str:
    """How alike the head holds kindred clothes, epoch by epoch, and what it takes for what."""
    curves = run.scalars(list(CURVES)).set_index("epoch")[list(CURVES)].rename(columns=CURVES)
    epoch, step = run.validations()[-1]
    pairs = run.table("class_edges", epoch, step)
    names = dict(zip(run.config()["class_names"], HIERARCHY, strict=True))
    said = most_confused(pairs.loc[pairs["confusion"].idxmax()], names)
    return f"{curves.to_string(float_format='{:.2f}'.format, na_rep='-')}\n{said}"


def most_confused(pair: pd.Series[Any], names: dict[str, str]) -> str:
    """Which classes a network takes for each other, and whether its own templates explain it.

    Args:
        pair: a row of the table ``class_edges``.
        names: of the classes, by how the run calls them.
    """
    first, second = (names[pair[side]] for side in ("class_a", "class_b"))
    kin = "no kin" if pair["depth"] == 1 else f"both of the {pair['ancestor']}"
    verdict = "alike, which explains it" if pair["cluster"] >= 0 else "apart, so it is unexplained"
    return (
        f"Most confused are {first} and {second} ({pair['confusion']:.0%} of their images), {kin}: "
        f"the head holds them {verdict}."
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train both models."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default=DEFAULT_SPACE, help=f"{DEFAULT_SPACE}, or {TINY}")
    parser.add_argument("--data", type=Path, default=Path("data"), help="torchvision's folder")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--images", type=int, help="train on so few and test on as many")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tracking-uri", default="sqlite:///mlflow.db")
    parser.add_argument("--fast", action="store_true", help="two smaller models")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", module="lightning")

    is_tiny = options.space == TINY
    if is_tiny:
        print(
            "The tiny CLIP knows no clothes: but for the hierarchy's, these numbers mean nothing "
            "but that all runs."
        )
    train_images, test_images = (
        fashion_mnist(options.data, train=is_train) for is_train in (True, False)
    )
    data = tuple(
        few(images, min(options.images or len(images), len(images)), named=not is_tiny)
        for images in (train_images, test_images)
    )
    for architecture, settings in (FAST_MODELS if options.fast else MODELS).items():
        monitor = SINGCallback(
            load_tiny_clip() if is_tiny else options.space,
            prompt=PROMPTS,
            concepts=CONCEPTS,
            pixel_stats=(MEAN, STD),
            save_snapshots=True,
            # Without names, classes go by their numbers.
            hierarchy={str(i): path for i, path in enumerate(HIERARCHY.values())}
            if is_tiny
            else HIERARCHY,
        )
        run_id = train(architecture, settings, (data[0], data[1]), monitor, options)
        print(f"\n{architecture}\n{told(RunReader(options.tracking_uri, run_id))}\n")
    print(f"See them: sing-monitor app --tracking-uri {shown_address(options.tracking_uri)}")


if __name__ == "__main__":
    main()
