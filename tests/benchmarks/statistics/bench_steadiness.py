"""How far scores move with the ridge and the probe size, on the quickstart's two models.

Both are trained as `examples/quickstart.py` trains them; the probe is that of the quickstart. The
ridge goes over [0.001, 0.1] at all images; the number of images over subsets of whole digits, each
drawn several times, with the ridge chosen anew. Prints every score and how far it moves.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import quickstart
import torch
from colored_digits import COLOURS, ColoredDigits
from tiny_clip import load_tiny_clip
from torch import Tensor, nn

from sing_monitor.analyses import analyze
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, fingerprint, text_set
from tests.benchmarks.machine import describe
from tests.helpers import tiny

KEYS = (
    "sing/class_hidden",
    "sing/retention_seen",
    "probe/class_hidden",
    "sing/retention",
    "sing/image_score_centered",
    "sing/image_score_relative",
    "attribute/colour_retention_seen",
    "translator/r2",
    "translator/saturation",
)
RIDGES = (0.001, 0.01, 0.03, 0.1)
# Digits of the probe, each of which comes four times.
DIGITS = (50, 100, 200, 359)


def trained(shortcut: float, epochs: int, folder: Path) -> nn.Module:
    """The network that the quickstart trains for a shortcut."""
    kept: list[nn.Module] = []

    def build() -> nn.Module:
        kept.append(quickstart.small_resnet())
        return kept[0]

    logger = tiny.mlflow_logger(folder)
    quickstart.train(logger, shortcut, epochs, build=build)
    return kept[0].eval()


@torch.no_grad()
def snapshot_of(network: nn.Module) -> tuple[Snapshot, Texts]:
    """What a validation on the quickstart's probe captures."""
    space, data = load_tiny_clip(), ColoredDigits("val", seed=2, copies=4)
    images = data.images.float() / 255
    features = network.forward_head(network.forward_features(images), pre_logits=True)
    head = network.get_classifier()
    snapshot = Snapshot(
        weight=head.weight.detach(),
        bias=head.bias.detach(),
        features=features,
        labels=data.labels,
        embeddings=space.encode_images(images),
        class_names=data.classes,
        image_ids=fingerprint(data.images),
        attributes={"colour": (data.colour_ids, COLOURS)},
        groups=data.digit_ids,
    )
    texts = Texts(
        text_set(space, data.classes, "an image of a {}"),
        attributes={"colour": text_set(space, COLOURS, "an image of a {} digit")},
    )
    return snapshot, texts


def subset(snapshot: Snapshot, rows: Tensor) -> Snapshot:
    """Some images of a snapshot."""
    names = ("features", "labels", "embeddings", "image_ids", "groups")
    attributes = {name: (ids[rows], values) for name, (ids, values) in snapshot.attributes.items()}
    chosen = {name: getattr(snapshot, name)[rows] for name in names}
    return replace(snapshot, **chosen, attributes=attributes)


def line(name: str, rows: Sequence[dict[str, float]]) -> str:
    """Mean and standard deviation of every score over some draws."""
    cells = []
    for key in KEYS:
        values = [row[key] for row in rows]
        spread = f" ±{statistics.stdev(values):.2f}" if len(values) > 1 else ""
        cells.append(f"{statistics.fmean(values):.3g}{spread}")
    return f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Train both models and print a table of each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--draws", type=int, default=6)
    arguments = parser.parse_args()
    quickstart.keep_quiet()
    print(describe())
    for name, shortcut in quickstart.RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            snapshot, texts = snapshot_of(trained(shortcut, arguments.epochs, Path(folder)))
        print(f"\n{name}: accuracy {snapshot.accuracy:.3f}")
        print(f"| | {' | '.join(KEYS)} |\n|{'---|' * (len(KEYS) + 1)}")
        by_ridge = [dict(analyze(snapshot, texts, ridge=rho).scalars) for rho in RIDGES]
        for rho, row in zip(RIDGES, by_ridge, strict=True):
            print(line(f"ridge {rho:g}", [row]), flush=True)
        moved = [max(r[key] for r in by_ridge) - min(r[key] for r in by_ridge) for key in KEYS]
        print("| moves by | " + " | ".join(f"{each:.3g}" for each in moved) + " |")
        generator = torch.Generator().manual_seed(0)
        digits = snapshot.groups.unique()
        for count in DIGITS:
            found = []
            for _ in range(arguments.draws if count < len(digits) else 1):
                drawn = digits[torch.randperm(len(digits), generator=generator)[:count]]
                rows = torch.isin(snapshot.groups, drawn).nonzero().flatten()
                found.append(dict(analyze(subset(snapshot, rows), texts).scalars))
            print(line(f"{4 * count} images", found), flush=True)


if __name__ == "__main__":
    main()
