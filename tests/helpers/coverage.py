"""A planted world to draw probes from, and how often intervals cover what they are about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sing_monitor.analyses.intervals import (
    analyze_intervals,
    headline,
    image_columns,
    probe_columns,
)
from sing_monitor.observation import Observation
from sing_monitor.scores.bootstrap import bootstrap_means, percentile_interval
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from tests.helpers import generator

HEADLINE = (
    "sing/class_hidden",
    "sing/retention_seen",
    "probe/class_hidden",
    "sing/zero_shot",
    "sing/retention",
    "sing/attribute_score",
    "sing/image_score",
    "sing/score_ratio",
    "sing/attribute_score_centered",
    "sing/image_score_centered",
    "sing/score_ratio_centered",
    "sing/image_score_relative",
)
_NUISANCES = 8


class World:
    """Classes and nuisances in the features; embeddings are a noisy linear map of them.

    Half of the variance between the class means lies in the head's null space.

    Args:
        feature_dim: m.
        embedding_dim: n.
        classes: C, as many directions as the head reads.
        noise: standard deviation of the embeddings' noise.
        seed: of all that the probes of this world have in common.
    """

    def __init__(
        self,
        *,
        feature_dim: int = 24,
        embedding_dim: int = 16,
        classes: int = 4,
        noise: float = 0.5,
        seed: int = 0,
    ) -> None:
        g = generator(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=g, dtype=torch.float64)

        basis = torch.linalg.qr(draw(feature_dim, feature_dim)).Q
        seen, null = basis[:, :classes], basis[:, classes:]
        parts = draw(classes, classes) @ seen.T, draw(classes, feature_dim - classes) @ null.T
        self.means = 2**0.5 * sum(part / part.norm() * classes**0.5 for part in parts)
        self.means = self.means + 0.7 * draw(feature_dim)
        self.weight = draw(classes, classes) @ seen.T
        self.nuisances = 1.5 * draw(_NUISANCES, feature_dim) / feature_dim**0.5
        self.map = draw(feature_dim, embedding_dim) / feature_dim**0.5
        self.bias, self.noise = 0.5 * draw(embedding_dim), noise
        embeddings = self.means @ self.map + self.bias
        texts = embeddings - 0.7 * embeddings.mean(dim=0) + 0.1 * draw(classes, embedding_dim)
        self.names = tuple(f"class {c}" for c in range(classes))
        self.texts = Texts(TextSet(self.names, texts))

    def probe(self, per_class: int, seed: int) -> Snapshot:
        """One validation of a number of images of each class."""
        g = generator(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=g, dtype=torch.float64)

        samples, feature_dim = per_class * len(self.names), len(self.map)
        labels = torch.arange(samples) % len(self.names)
        clean = self.means[labels] + draw(samples, _NUISANCES) @ self.nuisances
        noise = self.noise * draw(samples, self.map.shape[1])
        return Snapshot(
            weight=self.weight,
            bias=None,
            features=clean + draw(samples, feature_dim) / feature_dim**0.5,
            labels=labels,
            embeddings=clean @ self.map + self.bias + noise,
            class_names=self.names,
            image_ids=torch.randint(2**62, (samples,), generator=g),
        )


@dataclass(frozen=True)
class Coverage:
    """How often intervals of a metric cover, over many probes.

    Args:
        mean: of the metric over the probes.
        spread: 1.96 standard deviations of it over the probes.
        of_mean: share of intervals that cover the mean.
        of_next: share that cover the value of the next probe.
        half_width: mean over the probes.
    """

    mean: float
    spread: float
    of_mean: float
    of_next: float
    half_width: float


def coverage(
    world: World, *, per_class: int, probes: int, ridge: float | Literal["auto"]
) -> tuple[dict[str, Coverage], dict[str, Coverage]]:
    """Coverage of the intervals, and of a bootstrap that holds the translators fixed.

    Args:
        world: to draw probes from.
        per_class: images of each class.
        probes: how many are drawn.
        ridge: rho, or ``"auto"``, chosen for every probe anew.

    Returns:
        Both by metric.
    """
    found: list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]] = []
    for seed in range(probes):
        observation = Observation(world.probe(per_class, seed), world.texts, ridge=ridge)
        table = analyze_intervals(observation).tables["intervals"].set_index("key")
        whole = {
            key: torch.tensor([row["value"], row["low"], row["high"]], dtype=torch.float64)
            for key, row in table.iterrows()
        }
        bounds = _held_fixed(observation)
        fixed = {key: torch.cat([whole[key][:1], bounds[key]]) for key in whole}
        found.append((whole, fixed))
    first, second = zip(*found, strict=True)
    return _counted(first), _counted(second)


def _held_fixed(observation: Observation) -> dict[str, Tensor]:
    """Bounds by a bootstrap over scored images, by metric, (2,) each."""
    read, columns = probe_columns(observation), image_columns(observation)
    columns = columns | read
    means = bootstrap_means(torch.stack(list(columns.values()), dim=1), observation.snapshot.labels)
    by_name = dict(zip(columns, means.T, strict=True))
    replicates = headline(by_name, observation) | {key: by_name[key] for key in read}
    return {key: torch.stack(percentile_interval(each)) for key, each in replicates.items()}


def _counted(found: tuple[Mapping[str, Tensor], ...]) -> dict[str, Coverage]:
    counted = {}
    for key in found[0]:
        value, low, high = torch.stack([each[key] for each in found], dim=1)
        mean, following = float(value.nanmean()), value.roll(1)
        counted[key] = Coverage(
            mean,
            1.96 * float(value[~value.isnan()].std()),
            float(((low <= mean) & (mean <= high)).double().mean()),
            float(((low <= following) & (following <= high)).double().mean()),
            float(((high - low) / 2).nanmean()),
        )
    return counted
