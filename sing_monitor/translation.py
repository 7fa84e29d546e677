"""One validation, translated: what all analyses stand on, worked out once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from sing_monitor.blocks import energy, row_blocks
from sing_monitor.embeddings import Texts
from sing_monitor.geometry import (
    RANDOM_DRAWS,
    RANDOM_SEED,
    HeadGeometry,
    coordinates,
    random_geometries,
)
from sing_monitor.pairs import CrossFit, TranslatedPairs, cross_fit
from sing_monitor.scores import (
    PairScores,
    Reading,
    attribute_score,
    score_pairs,
    text_cosines,
    zero_shot_correct,
)
from sing_monitor.snapshot import Snapshot


@dataclass(frozen=True)
class Translation:
    """A snapshot with its features and their equivalents in the semantic space.

    Args:
        snapshot: head, features (N, m), labels (N,) and embeddings (N, n) of one validation.
        texts: embeddings of classes, concepts and attribute values.
        fit: the cross-fitted translators.
        pairs: ``T f`` and its equivalents under the head, each (N, n).
        baselines: random heads of the same rank.
        scores: by suffix of the pair (``""``, ``"_centered"``, ``"_random"``), for every draw (one,
            except of random subspaces): AS toward the true class and IS of every image.
        random_energy: ``sum |R (f - mu)|^2`` of a random subspace, mean over the draws.
    """

    snapshot: Snapshot
    texts: Texts
    fit: CrossFit
    pairs: TranslatedPairs
    baselines: tuple[HeadGeometry, ...]
    scores: Mapping[str, Sequence[PairScores]]
    random_energy: float

    @cached_property
    def readings(self) -> Mapping[str, Reading]:
        """Class and annotated attributes, read before and after; by prefix of their metrics."""
        pairs, texts = self.pairs, self.texts
        class_texts = texts.classes.embeddings
        own = self.scores["_centered"][0].attribute
        readings = {"sing/": self._read(own, class_texts, self.snapshot.labels)}
        for name, (labels, _) in self.snapshot.attributes.items():
            if name in texts.attributes:
                values = texts.attributes[name].embeddings.to(pairs.original)
                toward = attribute_score(pairs.original, pairs.centered, values[labels])
                readings[f"attribute/{name}_"] = self._read(toward, values, labels)
        return readings

    def _read(self, attribute: Tensor, texts: Tensor, labels: Tensor) -> Reading:
        def correct(rows: Tensor, embeddings: Tensor) -> Tensor:
            return zero_shot_correct(text_cosines(embeddings[rows], texts), labels[rows]).double()

        blocks = list(row_blocks(torch.arange(len(labels))))
        before, after = (
            torch.cat([correct(rows, embeddings) for rows in blocks])
            for embeddings in (self.pairs.original, self.pairs.centered)
        )
        choices = int((~texts.isnan().any(dim=1)).sum())
        return Reading(attribute.double(), before, after, choices)

    @property
    def geometry(self) -> HeadGeometry:
        """Row space and null space of the snapshot's head."""
        return self.snapshot.geometry

    @property
    def center(self) -> Tensor:
        """The mean feature mu of the probe, (m,) float64."""
        return self.snapshot.center


def translate(
    snapshot: Snapshot,
    texts: Texts,
    *,
    ridge: float | Literal["auto"] = "auto",
    seed: int = RANDOM_SEED,
) -> Translation:
    """Translate a snapshot; every image by a translator fitted on the other half of the probe.

    Args:
        snapshot: of one validation.
        texts: embeddings of the class texts, in the order of the head's rows, and optionally of
            concepts and of the values of annotated attributes.
        ridge: rho of the translator, or ``"auto"`` to choose it by held-out R2.
        seed: of the random subspaces.

    Raises:
        ValueError: if there is no image, if features or embeddings hold NaN or infinite values,
            or if the texts do not fit the snapshot's classes, attributes or embeddings.
    """
    _check_samples(snapshot)
    _check_texts(snapshot, texts)
    features, geometry = snapshot.features, snapshot.geometry
    center = snapshot.center
    fit = cross_fit(features, snapshot.embeddings, snapshot.folds, ridge)
    pairs = fit.translate(features, geometry, center, snapshot.seen)
    baselines = random_geometries(
        geometry.feature_dim, geometry.rank, draws=RANDOM_DRAWS, seed=seed
    )

    def scores(*equivalents: Tensor) -> list[PairScores]:
        return score_pairs(pairs.original, equivalents, texts.classes.embeddings, snapshot.labels)

    removed, centered = scores(pairs.removed, pairs.centered)
    varying = energy(features) - len(features) * energy(center)
    random, kept = [], []
    for baseline in baselines:
        seen = coordinates(features, baseline, center)
        equivalent = fit.equivalents(seen, baseline, center)
        random += scores(equivalent if baseline.null_dim > 0 else pairs.original)
        kept.append(energy(seen) if baseline.null_dim > 0 else varying)
    return Translation(
        snapshot,
        texts,
        fit,
        pairs,
        baselines,
        {"": [removed], "_centered": [centered], "_random": random},
        max(0.0, varying - sum(kept) / len(kept)),
    )


def _check_samples(snapshot: Snapshot) -> None:
    if len(snapshot) == 0:
        raise ValueError("the probe holds no image; validate on at least two.")
    for name in ("features", "embeddings"):
        rows = getattr(snapshot, name).isfinite().all(dim=1)
        if not rows.all():
            hint = _why_not_finite(snapshot) if name == "features" else ""
            raise ValueError(
                f"{name} of {int((~rows).sum())} of {len(rows)} images hold NaN or infinite "
                f"values; the scores of this epoch are undefined.{hint}"
            )


def _why_not_finite(snapshot: Snapshot) -> str:
    """Why a model has lost its numbers, as far as the snapshot tells."""
    hint = ""
    if not snapshot.weight.isfinite().all():
        hint = " So does the head's weight: the training itself has diverged."
    if snapshot.features.dtype == torch.float16:
        hint += (
            " In float16 values above 65,504 are infinite, and Adam's eps=1e-8 is 0, so that it "
            "divides by 0: take Adam(eps=1e-4), or Trainer(precision='bf16-true')."
        )
    return hint


def _check_texts(snapshot: Snapshot, texts: Texts) -> None:
    expected = {"classes": (texts.classes, snapshot.class_names)} | {
        f"attribute {name!r}": (texts.attributes[name], values)
        for name, (_, values) in snapshot.attributes.items()
        if name in texts.attributes
    }
    for name, (found, names) in expected.items():
        if len(found.names) != len(names):
            raise ValueError(
                f"{name}: the snapshot names {len(names)}, but there are {len(found.names)} texts; "
                "give one text for each, in the same order."
            )
    dims = texts.classes.embeddings.shape[1], snapshot.embeddings.shape[1]
    if dims[0] != dims[1]:
        raise ValueError(
            f"texts have {dims[0]} dimensions, image embeddings {dims[1]}; "
            "embed both with the same semantic space."
        )
