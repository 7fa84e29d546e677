"""One validation, translated: what all analyses stand on, worked out once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import all_blocks, row_blocks, working
from sing_monitor.scores.angles import (
    PairScores,
    Reading,
    attribute_score,
    score_pairs,
    unit,
    zero_shot_correct,
)
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts
from sing_monitor.translate.cross_fit import CrossFit, TranslatedPairs, cross_fit
from sing_monitor.translate.random_subspaces import RANDOM_SEED, RandomRemoval, remove_at_random
from sing_monitor.translate.reduced import ReducedSnapshot, feature_dim
from sing_monitor.translate.ridge_sample import RidgeSample


@dataclass(frozen=True)
class Translation:
    """A snapshot with its features and their equivalents in the semantic space.

    Args:
        snapshot: head, features (N, m), labels (N,) and embeddings (N, n) of one validation.
        texts: embeddings of classes, concepts and attribute values.
        fit: the cross-fitted translators.
        pairs: ``T f`` and its equivalents under the head, each (N, n).
        random: what is left when a random subspace as large as the null space is removed.
        sample: images whose scores are derived along the ridge.
        scores: by suffix of the pair (``""``, ``"_centered"``, ``"_random"``): AS toward the true
            class and IS of every image.
    """

    snapshot: Snapshot
    texts: Texts
    fit: CrossFit
    pairs: TranslatedPairs
    random: RandomRemoval
    sample: RidgeSample
    scores: Mapping[str, PairScores]

    @cached_property
    def readings(self) -> Mapping[str, Reading]:
        """Class and annotated attributes, read before and after; by prefix of their metrics."""
        pairs, texts = self.pairs, self.texts
        class_texts = texts.classes.embeddings
        own = self.scores["_centered"].attribute
        readings = {"sing/": self._read(own, class_texts, self.snapshot.labels)}
        for name, (labels, _) in self.snapshot.attributes.items():
            if name in texts.attributes:
                values = texts.attributes[name].embeddings.to(pairs.original)
                toward = attribute_score(pairs.original, pairs.centered, values[labels])
                readings[f"attribute/{name}_"] = self._read(toward, values, labels)
        return readings

    def _read(self, attribute: Tensor, texts: Tensor, labels: Tensor) -> Reading:
        directions = unit(texts.to(self.pairs.original)).T

        def correct(embeddings: Tensor) -> Tensor:
            # A block at a time: cosines with many texts are larger than the embeddings.
            return torch.cat(
                [
                    zero_shot_correct(unit(embeddings[some]) @ directions, labels[some])
                    for some in all_blocks(embeddings)
                ]
            )

        before, after = (
            correct(each).double() for each in (self.pairs.original, self.pairs.centered)
        )
        choices = int((~texts.isnan().any(dim=1)).sum())
        return Reading(attribute.double(), before, after, choices)

    @cached_property
    def held_out(self) -> tuple[Tensor, Tensor]:
        """``cos(T f, z)`` and ``|z - T f|^2`` of every image, each (N,) float64."""
        translated = self.pairs.original
        cosine, error = torch.empty(2, len(translated), dtype=torch.float64)
        for rows in all_blocks(translated):
            found, true = translated[rows], self.snapshot.embeddings[rows].to(translated)
            cosine[rows] = torch.cosine_similarity(found, true, dim=1).double()
            error[rows] = (true - found).square().sum(dim=1).double()
        return cosine, error

    @property
    def geometry(self) -> HeadGeometry:
        """Row space and null space of the snapshot's head."""
        return self.snapshot.geometry

    @property
    def center(self) -> Tensor:
        """The mean feature mu of the probe, (m,) float64."""
        return self.snapshot.center

    @property
    def varying(self) -> float:
        """``sum |f - mu|^2``."""
        return float(self.random.energies.sum())


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
    random = remove_at_random(
        features,
        center,
        geometry.rank,
        snapshot.draws,
        seed=seed,
        span=snapshot.span if isinstance(snapshot, ReducedSnapshot) else None,
    )
    sample = RidgeSample.of(snapshot, random)
    fit = cross_fit(
        features,
        snapshot.embeddings,
        snapshot.folds,
        ridge,
        geometry,
        sample.vectors,
        feature_dim=feature_dim(snapshot),
    )
    pairs = fit.translate(features, geometry, center, snapshot.seen)
    kinds = {
        "": pairs.removed,
        "_centered": pairs.centered,
        "_random": _translated(random, fit, pairs.original, center),
    }
    scores = score_pairs(
        pairs.original, tuple(kinds.values()), texts.classes.embeddings, snapshot.labels
    )
    by_kind = dict(zip(kinds, scores, strict=True))
    return Translation(snapshot, texts, fit, pairs, random, sample, by_kind)


def _translated(removal: RandomRemoval, fit: CrossFit, original: Tensor, center: Tensor) -> Tensor:
    """``T mu + keep (T f - T mu) + add A g``, (N, n): only the few g are multiplied with A.

    Args:
        removal: of a random subspace from every image.
        fit: the translators.
        original: ``T f``, (N, n).
        center: mu, (m,).
    """
    translated = torch.full_like(original, math.nan)
    for translator, half in fit.halves(fit.folds):
        base = translator(center).to(original)
        steps = removal.directions.to(original) @ translator.weight.T.to(original)
        for rows in row_blocks(half):
            keep, add = (each[rows, None].to(original) for each in (removal.keep, removal.add))
            kept = torch.lerp(base, original.index_select(0, rows), keep)
            translated[rows] = kept.addcmul_(add, steps.index_select(0, removal.draws[rows]))
    return translated


def _check_samples(snapshot: Snapshot) -> None:
    if len(snapshot) == 0:
        raise ValueError("the probe holds no image; validate on at least two.")
    for name in ("features", "embeddings"):
        values = getattr(snapshot, name)
        # A finite sum has finite terms; these are looked at, at ten times the cost, if it is not.
        if all(working(values[some]).sum().isfinite() for some in all_blocks(values)):
            continue
        rows = torch.cat([values[some].isfinite().all(dim=1) for some in all_blocks(values)])
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
