"""Small trained models whose answer is known, and what the monitor says of each.

Real digits in coloured ink. Some networks are trained while the ink gives the class away for a
known share of the images, on wrong labels, or on top of a backbone that learns nothing; the heads
of others are changed after the training, so that the right answer is certain. All are probed on
the same 1,436 images with random ink, of digits that none of them has seen:

    python examples/known_answers.py --seeds 5
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Literal

import pandas as pd
import torch
from colored_digits import COLOURS, ColoredDigits
from tiny_clip import load_tiny_clip
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad
from tqdm import tqdm

from sing_monitor.analyses import analyze
from sing_monitor.findings import Findings
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, fingerprint, text_set

FEATURES = 128
CLASSES = len(ColoredDigits.classes)
SHORTCUTS = (0.0, 0.5, 0.8, 0.95, 1.0)
HONEST = "shortcut 0"
# Classes that a head is made blind to.
PLANTED: tuple[tuple[int, ...], ...] = ((7,), (2, 7), (0, 2, 4, 5, 7, 8))
DEAD_INPUTS = 64
RANDOM_OUTPUTS = (30, 60, 90, 110)
COLUMNS = {
    "head/null_dim": "null dim.",
    "monitor/accuracy": "accuracy",
    "sing/class_hidden": "hidden",
    "sing/retention_seen": "digit kept",
    "attribute/colour_retention_seen": "colour kept",
    "probe/class_hidden": "by probes",
    "sing/hidden_classes": "classes",
    "translator/r2": "R2",
    "meaning/unique_null": "null alone",
    "sing/retention": "digit, removal",
    "attribute/colour_retention": "colour, removal",
    "sing/attribute_score_centered": "AS",
    "sing/image_score_centered": "IS",
    "sing/image_score_relative": "relative",
    "collapse/null_share_between": "null share",
    "support/outside_centered": "outside",
}


class DigitNet(nn.Module):
    """Four convolutions, the mean over the map, and a linear head; 32x32 pixels in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64, FEATURES)
        blocks = (
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(),
            )
            for before, after in pairwise(widths)
        )
        self.backbone = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.backbone(images))


def train(
    seed: int, *, shortcut: float = 0.0, label_noise: float = 0.0, frozen: bool = False
) -> DigitNet:
    """Train one network; seconds on one core.

    Args:
        seed: of the weights, the images and their order.
        shortcut: share of the images whose ink gives the class away.
        label_noise: share of the labels that are drawn anew, whatever the image shows.
        frozen: leave the backbone as it was drawn, and train the head alone.
    """
    torch.manual_seed(seed)
    data = ColoredDigits("train", shortcut, seed=seed, copies=4)
    images, labels = data.images.float() / 255, data.labels.clone()
    wrong = torch.rand(len(labels)) < label_noise
    labels[wrong] = torch.randint(CLASSES, (int(wrong.sum()),))
    model, epochs, batch_size = DigitNet(), 6, 64
    model.backbone.requires_grad_(not frozen)
    trained = model.head if frozen else model
    optimizer = torch.optim.AdamW(trained.parameters())
    steps = epochs * -(-len(images) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(batch_size):
            loss = cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@cache
def probe() -> tuple[ColoredDigits, Tensor, Texts]:
    """The images on which every model is judged, their embeddings, and the texts."""
    data, space = ColoredDigits("val", seed=1000, copies=4), load_tiny_clip()
    texts = Texts(
        text_set(space, data.classes, "an image of a {}"),
        attributes={"colour": text_set(space, COLOURS, "an image of a {} digit")},
    )
    return data, space.encode_images(data.images.float() / 255), texts


@torch.no_grad()
def snapshot_of(model: DigitNet) -> Snapshot:
    """What the monitor would capture of a validation on the probe."""
    data, embeddings, _ = probe()
    return Snapshot(
        weight=model.head.weight.detach(),
        bias=model.head.bias.detach(),
        features=model.backbone(data.images.float() / 255),
        labels=data.labels,
        embeddings=embeddings,
        class_names=data.classes,
        image_ids=fingerprint(data.images),
        groups=data.digit_ids,
        attributes={"colour": (data.colour_ids, COLOURS)},
    )


def with_dead_inputs(snapshot: Snapshot, count: int) -> Snapshot:
    """The same head on features that have further entries, all 0: it ignores more, of nothing."""
    return replace(
        snapshot,
        weight=pad(snapshot.weight, (0, count)),
        features=pad(snapshot.features, (0, count)),
    )


def with_random_outputs(snapshot: Snapshot, count: int) -> Snapshot:
    """The same features under a head with further outputs, drawn at random: it ignores less."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, FEATURES, generator=generator)
    return replace(
        snapshot,
        weight=torch.cat([snapshot.weight, rows * snapshot.weight.std()]),
        bias=None,
        class_names=(*snapshot.class_names, *(f"random {k}" for k in range(count))),
    )


def blind_to(snapshot: Snapshot, labels: Sequence[int]) -> Snapshot:
    """The same features under a head that cannot see what sets some classes apart."""
    directions = []
    for label in labels:
        own = snapshot.labels == label
        directions.append(snapshot.features[own].mean(dim=0) - snapshot.features[~own].mean(dim=0))
    apart, _ = torch.linalg.qr(torch.stack(directions, dim=1))
    weight = snapshot.weight - snapshot.weight @ apart @ apart.T
    return replace(snapshot, weight=weight)


def blind_name(labels: Sequence[int]) -> str:
    """Name of the model whose head cannot see some classes."""
    return f"{HONEST}, blind to {', '.join(map(str, labels))}"


def answers(seed: int) -> Iterator[tuple[str, Findings]]:
    """What the monitor says of every model with a known answer, by name.

    Those whose head was changed are translated as the honest model is.
    """
    honest = snapshot_of(train(seed))
    found = answer(honest)
    rho = found.scalars["translator/ridge"]
    yield HONEST, found
    for share in SHORTCUTS[1:]:
        yield f"shortcut {share:g}", answer(snapshot_of(train(seed, shortcut=share)))
    yield "half of the labels wrong", answer(snapshot_of(train(seed, label_noise=0.5)))
    yield "frozen random backbone", answer(snapshot_of(train(seed, frozen=True)))
    # The ridge is relative to the mean variance of the features, and dead ones have none.
    same_ridge = rho * (FEATURES + DEAD_INPUTS) / FEATURES
    yield (
        f"{HONEST}, {DEAD_INPUTS} dead inputs",
        answer(with_dead_inputs(honest, DEAD_INPUTS), same_ridge),
    )
    for labels in PLANTED:
        yield blind_name(labels), answer(blind_to(honest, labels), rho)
    for count in RANDOM_OUTPUTS:
        widened = with_random_outputs(honest, count)
        yield f"{HONEST}, {count} random outputs", answer(widened, rho)


def answer(snapshot: Snapshot, ridge: float | Literal["auto"] = "auto") -> Findings:
    """What the monitor says of a model."""
    _, _, texts = probe()
    further = len(snapshot.class_names) - CLASSES
    # Outputs that mean nothing have no text, and are never the nearest.
    embeddings = pad(texts.classes.embeddings, (0, 0, 0, further), value=torch.nan)
    classes = replace(texts.classes, names=snapshot.class_names, embeddings=embeddings)
    findings = analyze(snapshot, replace(texts, classes=classes), ridge=ridge)
    return findings | Findings({"monitor/accuracy": snapshot.accuracy})


def main() -> None:
    """Train all models for several seeds and print what the monitor says of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    seeds = range(parser.parse_args().seeds)
    logging.getLogger("sing_monitor").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    rows = []
    per_seed = len(SHORTCUTS) + len(RANDOM_OUTPUTS) + len(PLANTED) + 3
    with tqdm(total=len(seeds) * per_seed, unit="model") as bar:
        for seed in seeds:
            for name, findings in answers(seed):
                found = {label: findings.scalars[key] for key, label in COLUMNS.items()}
                rows.append({"model": name, "seed": seed, **found})
                bar.update()
    table = pd.DataFrame(rows)
    by_model = [part for _, part in table.groupby("model", sort=False)]
    print(markdown(pd.concat(by_model)))


def markdown(table: pd.DataFrame) -> str:
    """One row a model and seed."""
    lines = [" | ".join(table.columns), " | ".join("---" for _ in table.columns)]
    lines += [
        " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row)
        for row in table.itertuples(index=False)
    ]
    return "\n".join(f"| {line} |" for line in lines)


if __name__ == "__main__":
    main()
