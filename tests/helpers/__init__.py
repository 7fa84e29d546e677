"""Builders of small planted problems, shared by the tests of the method."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any

import torch
from torch import Tensor

from sing_monitor.analyses import classes, concepts, head, images, invariants, readings, translator
from sing_monitor.analyses.parts import refits
from sing_monitor.feature_maps import FeatureMaps, StageFeatures
from sing_monitor.findings import Findings
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from sing_monitor.translate.cross_fit import CrossFit, TranslatedPairs, cross_fit
from sing_monitor.weights.trajectory import Trajectory

COLOURS = ("red", "green", "blue")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def orthogonal(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(normal(size, size, seed=seed)).Q


def make_snapshot(
    *,
    samples: int = 60,
    classes: int = 4,
    feature_dim: int = 12,
    embedding_dim: int = 8,
    noise: float = 0.3,
    seed: int = 0,
) -> Snapshot:
    """Classes around random means; embeddings are an affine map of the features, plus noise."""
    g = generator(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    labels = torch.arange(samples) % classes
    features = 2 * draw(classes, feature_dim)[labels] + draw(samples, feature_dim) + 1
    embeddings = features @ draw(feature_dim, embedding_dim) + draw(embedding_dim)
    colours = torch.randint(0, len(COLOURS), (samples,), generator=g)
    return Snapshot(
        weight=draw(classes, feature_dim),
        bias=draw(classes),
        features=features,
        labels=labels,
        embeddings=embeddings + noise * draw(samples, embedding_dim),
        class_names=tuple(f"class {c}" for c in range(classes)),
        epoch=3,
        step=70,
        # Distinct, of both signs and both parities, in no order.
        image_ids=(torch.randperm(samples, generator=g) - samples // 2) * 0x12345678B,
        sample_index=torch.randperm(samples, generator=g),
        attributes={"colour": (colours, COLOURS)},
    )


def make_texts(snapshot: Snapshot, *, concepts: int = 5, seed: int = 1) -> Texts:
    """Class texts at the mean embedding of the class, off by noise; the rest at random."""
    dim = snapshot.embeddings.shape[1]
    classes = normal(len(snapshot.class_names), dim, seed=seed)
    for label in snapshot.labels.unique().tolist():
        classes[label] += snapshot.embeddings[snapshot.labels == label].double().mean(dim=0)
    return Texts(
        classes=TextSet(snapshot.class_names, classes),
        concepts=TextSet(
            tuple(f"concept {k}" for k in range(concepts)), normal(concepts, dim, seed=seed + 1)
        ),
        attributes={"colour": TextSet(COLOURS, normal(len(COLOURS), dim, seed=seed + 2))},
    )


def with_maps(snapshot: Snapshot, count: int = 20, grid: tuple[int, int] = (3, 4)) -> Snapshot:
    """Maps of the first images, whose means are their features."""
    noise = normal(len(snapshot), snapshot.features.shape[1], *grid, seed=5)
    noise -= noise.mean(dim=(2, 3), keepdim=True)
    values = snapshot.features[:, :, None, None] + noise
    return replace(snapshot, maps=FeatureMaps(snapshot.image_ids[:count], values[:count], "body"))


def with_stages(snapshot: Snapshot, count: int = 30) -> Snapshot:
    """Stages of the first images: one of 20 channels, one of 6 that holds 3 directions."""
    wide = normal(len(snapshot), 20, seed=6)
    narrow = wide[:, :3] @ normal(3, 6, seed=7)
    values = {"layer1": wide[:count].float(), "layer2": narrow[:count].float()}
    return replace(snapshot, stages=StageFeatures(snapshot.image_ids[:count], values))


def class_texts(embeddings: Tensor) -> Texts:
    return Texts(TextSet(tuple(f"class {c}" for c in range(len(embeddings))), embeddings))


def reorder(snapshot: Snapshot, order: Tensor) -> Snapshot:
    """The same probe with its images in another order, or only some of them."""
    assert snapshot.image_ids is not None
    assert snapshot.sample_index is not None
    return replace(
        snapshot,
        features=snapshot.features[order],
        labels=snapshot.labels[order],
        embeddings=snapshot.embeddings[order],
        image_ids=snapshot.image_ids[order],
        sample_index=snapshot.sample_index[order],
        attributes={
            name: (labels[order], values) for name, (labels, values) in snapshot.attributes.items()
        },
    )


def observe(snapshot: Snapshot, texts: Texts | None = None, **options: Any) -> Observation:
    """The snapshot as it is, not in coordinates; with texts at the classes' own embeddings."""
    return Observation(snapshot, make_texts(snapshot) if texts is None else texts, **options)


def make_trajectory(columns: int = 10, weights: int = 60) -> Trajectory:
    """Random walks of the weights of two layers, the second of which is the head."""
    layer = torch.arange(weights) * 2 // weights
    values = normal(weights, columns, seed=3).cumsum(dim=1)
    return Trajectory(torch.arange(columns), values, ("body", "head"), layer, layer == 1)


def scored(observation: Observation) -> Findings:
    """All that is said of scores, head and translators, without what is derived from it."""
    asked = (refits, invariants, readings, head, translator, classes, images, concepts)
    return reduce(or_, (observation.once(module.ANALYSIS.run) for module in asked))


def scored_of(snapshot: Snapshot, texts: Texts, **options: Any) -> Findings:
    return scored(observe(snapshot, texts, **options))


def direct(snapshot: Snapshot, ridge: float = 0.01) -> tuple[CrossFit, Tensor, TranslatedPairs]:
    """Translators, mean feature and translations, without an observation."""
    features = snapshot.features.double()
    fit = cross_fit(features, snapshot.embeddings, snapshot.folds, ridge)
    center = features.mean(dim=0)
    return fit, center, fit.translate(features, snapshot.geometry, center)


def planted(weight: Tensor, seen: float = 1.0) -> Snapshot:
    """Three features that are translated as they are: class on two axes, 0.5 or 1.5 on the third.

    Every combination stands once in each fold, so the translator is exact.
    """
    features, labels = [], []
    for label in (0, 1):
        for third in (0.5, 1.5):
            for _ in range(2):
                features.append([seen * (label == 0), seen * (label == 1), third])
                labels.append(label)
    return Snapshot(
        weight=weight,
        bias=None,
        features=torch.tensor(features, dtype=torch.float64),
        labels=torch.tensor(labels),
        embeddings=torch.tensor(features, dtype=torch.float64),
        class_names=("first", "second"),
        image_ids=torch.arange(8),
    )
