"""How well the spread of random heads is known: the law beside heads that are drawn.

Planted worlds of several spectra, and the quickstart's two trained models with other heads. For
every dimension of the null space prints the standard deviation of IS over random null spaces, as a
share of its mean: by the law, and of drawn null spaces. Then, for small probes, how many relative
scores of random heads lie outside two `sing/image_score_relative_spread` of 1.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import quickstart
import torch
from torch import Tensor

from sing_monitor.analyses.uncertainty.random_head import head_spread, relative_spread
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import image_score
from sing_monitor.scores.pairs import RANDOM
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from tests.benchmarks.machine import describe
from tests.benchmarks.statistics.bench_steadiness import snapshot_of, trained

RIDGE = 0.01
IMAGES, EMBEDDING_DIM = 1500, 64


def world(
    feature_dim: int, falls: float, told: int, mean: float, seed: int, images: int | None = None
) -> tuple[Snapshot, Texts]:
    """Features whose j-th variance is ``j^-falls``, and noisy embeddings of the first of them.

    Args:
        feature_dim: m.
        falls: 0 for a flat spectrum.
        told: of how many features embeddings tell.
        mean: of every entry of the embeddings, whose variance is 1.
        seed: of everything; 0 is that of the baseline's draws, too.
        images: N, with ids at random, which choose folds and subspaces; None: 1,500 without ids.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    samples = images or IMAGES
    variances = torch.arange(1, feature_dim + 1, dtype=torch.float64) ** -falls
    features = normal(samples, feature_dim) * variances.sqrt() + 0.5
    known = features[:, :told] @ normal(told, EMBEDDING_DIM)
    embeddings = (known - known.mean(dim=0)) / known.std() + 0.5 * normal(samples, EMBEDDING_DIM)
    snapshot = Snapshot(
        weight=normal(2, feature_dim),
        bias=None,
        features=features,
        labels=torch.arange(samples) % 2,
        embeddings=embeddings + mean,
        class_names=("a", "b"),
        image_ids=torch.randint(2**62, (images,), generator=generator) if images else None,
    )
    return snapshot, Texts(TextSet(snapshot.class_names, normal(2, EMBEDDING_DIM)))


def with_random_head(snapshot: Snapshot, null_dim: int) -> Snapshot:
    """The same features under a head of random weights."""
    rank = snapshot.features.shape[1] - null_dim
    generator = torch.Generator().manual_seed(null_dim)
    weight = torch.randn(rank, snapshot.features.shape[1], generator=generator)
    names = tuple(f"class {number}" for number in range(max(rank, len(snapshot.class_names))))
    padded = torch.zeros(len(names), weight.shape[1])
    padded[:rank] = weight
    return replace(snapshot, weight=padded, bias=None, class_names=names)


def with_shape(snapshot: Snapshot, texts: Texts, null_dim: int) -> Observation:
    """The same features under a head of random weights, with a text for each of its classes."""
    changed = with_random_head(snapshot, null_dim)
    padding = len(changed.class_names) - len(snapshot.class_names)
    embeddings = torch.cat(
        [texts.classes.embeddings, texts.classes.embeddings[:1].expand(padding, -1)]
    )
    classes = Texts(TextSet(changed.class_names, embeddings))
    return Observation(replace(changed, attributes={}), classes, ridge=RIDGE)


def drawn(observation: Observation, null_dim: int, draws: int) -> tuple[float, float]:
    """Mean IS in degrees, and its relative standard deviation, over random null spaces."""
    generator = torch.Generator().manual_seed(1)
    away = observation.snapshot.features.double() - observation.center
    dim = away.shape[1]
    found = []
    for _ in range(draws):
        smaller = min(null_dim, dim - null_dim)
        square = torch.randn(dim, smaller, generator=generator, dtype=torch.float64)
        basis = torch.linalg.qr(square).Q
        total = 0.0
        for translator, rows in observation.fit.halves(observation.fit.folds):
            part = (away[rows] @ basis) @ (translator.weight @ basis).T
            whole = away[rows] @ translator.weight.T
            original = translator(observation.center) + whole
            gone = part if smaller == null_dim else whole - part
            total += float(image_score(original, original - gone).sum())
        found.append(total / len(away))
    scores = torch.tensor(found)
    return float(scores.mean()), float(scores.std() / scores.mean())


def lines(name: str, snapshot: Snapshot, texts: Texts, draws: int) -> Iterator[str]:
    """A row of the table for each dimension of the null space."""
    dim = snapshot.features.shape[1]
    for null_dim in sorted({1, 2, 8, dim // 2, dim - 8, dim - 1}):
        observation = with_shape(snapshot, texts, null_dim)
        law = head_spread(observation)
        degrees, spread = drawn(observation, null_dim, draws)
        cells = f"{degrees:.1f} | {spread:.4f} | {law:.4f} | {law / spread:.2f}"
        yield f"| {name} | {null_dim} | {cells} |"


def scores_of_heads(observation: Observation, null_dim: int, draws: int, seed: int) -> Tensor:
    """Mean IS, in degrees, over random null spaces of few images, (draws,).

    The images span few directions. A fixed null space in a random frame of these is as random as a
    random one, and costs less.
    """
    generator = torch.Generator().manual_seed(seed)
    features, center = observation.snapshot.features, observation.center
    away = features - center
    span = torch.linalg.svd(away, full_matrices=False).Vh.T
    halves = [
        (away[rows] @ span, translator.weight @ span, translator(features[rows]))
        for translator, rows in observation.fit.halves(observation.fit.folds)
    ]
    found = []
    for _ in range(draws):
        square = torch.randn(*span.shape, generator=generator, dtype=torch.float64)
        null = torch.linalg.qr(square).Q[:null_dim]
        scores = [
            image_score(original, original - (inside @ null.T) @ (weight @ null.T).T)
            for inside, weight, original in halves
        ]
        found.append(float(torch.cat(scores).mean()))
    return torch.tensor(found, dtype=torch.float64)


def small_probes(images: int, feature_dim: int, worlds: int, draws: int) -> Iterator[str]:
    """Rows of the table of small probes, for a flat and a steep spectrum and two shapes of head."""
    for spectrum, falls, mean in (("flat", 0.0, 2.0), ("steep", 1.5, 0.0)):
        for rank in (10, feature_dim // 2):
            outside, laws, bands = [], [], []
            for seed in range(1000, 1000 + worlds):
                planted = world(feature_dim, falls, feature_dim, mean, seed, images)
                observation = with_shape(*planted, feature_dim - rank)
                scores = scores_of_heads(observation, feature_dim - rank, draws, 1000 + seed)
                relative = scores / observation.scores[RANDOM].image.mean()
                law, band = head_spread(observation), relative_spread(observation)
                outside.append(
                    [
                        float(((relative - 1).abs() > 2 * each).double().mean())
                        for each in (law, band)
                    ]
                )
                laws.append(law)
                bands.append(band)
            alone, both = torch.tensor(outside).mean(dim=0).tolist()
            cells = f"{mean_of(laws):.4f} | {mean_of(bands):.4f} | {alone:.1%} | {both:.1%}"
            yield f"| {images} | {feature_dim} | {spectrum} | {rank} | {cells} |"


def mean_of(values: list[float]) -> float:
    """Mean of some numbers."""
    return sum(values) / len(values)


def large_probes(draws: int, epochs: int) -> None:
    """Print the table of the law beside heads that are drawn."""
    print("| features | null dim. | IS random, deg | drawn | law | law / drawn |")
    print("|---|---|---|---|---|---|")
    for feature_dim in (16, 64, 512):
        for spectrum, falls, told in (
            ("flat", 0.0, feature_dim),
            ("steep", 1.5, feature_dim),
            ("flat, two directions told", 0.0, 2),
        ):
            for mean in (0.0, 2.0):
                name = f"m = {feature_dim}, {spectrum}, embeddings about {mean:g}"
                planted = world(feature_dim, falls, told, mean, 0)
                for line in lines(name, *planted, draws):
                    print(line, flush=True)
    for name, shortcut in quickstart.RUNS.items() if epochs else ():
        with tempfile.TemporaryDirectory() as folder:
            snapshot, texts = snapshot_of(trained(shortcut, epochs, Path(folder)))
        for line in lines(name, snapshot, texts, draws):
            print(line, flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=5, help="of the quickstart; 0 leaves it out")
    parser.add_argument("--worlds", type=int, default=40, help="of small probes, of each shape")
    parser.add_argument("--small-only", action="store_true", help="small probes alone")
    arguments = parser.parse_args()
    quickstart.keep_quiet()
    print(describe())
    if not arguments.small_only:
        large_probes(arguments.draws, arguments.epochs)
    print("| images | features | spectrum | rank | law | band | outside 2 laws | outside 2 bands |")
    print("|---|---|---|---|---|---|---|---|")
    for images in (40, 100, 400):
        for feature_dim in (64, 512, 2048):
            for line in small_probes(images, feature_dim, arguments.worlds, 25):
                print(line, flush=True)


if __name__ == "__main__":
    main()
