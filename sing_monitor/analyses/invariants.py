"""SING: what the head's null space hides, as scores by model, class, concept and image.

Yadid, Levi, Betser, Gilboa, "Make it SING: Analyzing Semantic Invariants in Classifiers",
CVPR 2026.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sing_monitor.analyses import tables
from sing_monitor.embeddings import TextSet
from sing_monitor.findings import Findings
from sing_monitor.geometry import HeadGeometry
from sing_monitor.pairs import TranslatedPairs, mean_cosine
from sing_monitor.scores import (
    PairScores,
    attribute_score,
    retention,
    text_cosines,
    zero_shot_correct,
)
from sing_monitor.snapshot import Snapshot
from sing_monitor.translation import Translation


def analyze_invariants(
    translation: Translation, *, previous_head: HeadGeometry | None = None, n_images: int = 64
) -> Findings:
    """Scores of the paper's pair, of the centered pair and of a random subspace of the same size.

    Every image is scored by a translator fitted on the other half of the probe.

    Args:
        translation: one validation, translated.
        previous_head: the last analysed head, for ``head/drift``.
        n_images: for how many images, those that moved most, neighbours are looked up.

    Returns:
        Scalars ``sing/*``, ``attribute/*``, ``head/*`` and ``translator/*``; tables ``classes``,
        ``images``, ``spectrum`` and, with concepts, ``concepts`` and ``class_concepts``. Scores
        are NaN where one fold of the probe is empty.
    """
    snapshot, texts, pairs = translation.snapshot, translation.texts, translation.pairs
    scalars = (
        _score_scalars(translation.scores)
        | _zero_shot_scalars("sing/", pairs, texts.classes.embeddings.double(), snapshot.labels)
        | _attribute_scalars(pairs, snapshot, texts.attributes)
        | _head_scalars(translation, previous_head)
        | _translator_scalars(translation)
    )
    return Findings(
        scalars,
        {
            "classes": tables.class_table(snapshot, translation.scores),
            "images": tables.image_table(snapshot, translation.scores, pairs, n_images),
            "spectrum": tables.spectrum_table(translation.geometry),
            **tables.concept_tables(snapshot, pairs, texts.concepts),
        },
    )


def _score_scalars(scores: Mapping[str, Sequence[PairScores]]) -> dict[str, float]:
    # A summary of the baseline is the mean over draws of each draw's summary: averaging the
    # images' scores first would shrink |AS| and the spreads.
    summaries = {}
    for suffix, draws in scores.items():
        by_draw = [_summary(draw) for draw in draws]
        summaries[suffix] = {
            name: sum(draw[name] for draw in by_draw) / len(by_draw) for name in by_draw[0]
        }
    centered, random = summaries["_centered"], summaries["_random"]
    return {
        **{
            f"sing/{name}{suffix}": value
            for suffix, summary in summaries.items()
            for name, value in summary.items()
        },
        "sing/image_score_relative": _ratio(centered["image_score"], random["image_score"]),
        "sing/attribute_share": _ratio(centered["attribute_score"], centered["image_score"]),
        "sing/attribute_share_random": _ratio(random["attribute_score"], random["image_score"]),
    }


def _summary(scores: PairScores) -> dict[str, float]:
    """Mean, spread and ratio, by the name they have in the catalogue."""
    magnitude, distance = _mean(scores.attribute.abs()), _mean(scores.image)
    return {
        "attribute_score": _mean(scores.attribute),
        "attribute_score_abs": magnitude,
        "attribute_score_std": _std(scores.attribute),
        "image_score": distance,
        "image_score_std": _std(scores.image),
        "score_ratio": _ratio(distance, magnitude),
    }


def _zero_shot_scalars(
    prefix: str, pairs: TranslatedPairs, texts: Tensor, labels: Tensor
) -> dict[str, float]:
    """Zero-shot accuracy before and after centered removal, and what is retained of it."""
    before = _mean(zero_shot_correct(text_cosines(pairs.original, texts), labels))
    after = _mean(zero_shot_correct(text_cosines(pairs.centered, texts), labels))
    choices = int((~texts.isnan().any(dim=1)).sum())
    return {
        f"{prefix}zero_shot": before,
        f"{prefix}zero_shot_centered": after,
        f"{prefix}retention": retention(before, after, choices=choices, samples=len(labels)),
    }


def _attribute_scalars(
    pairs: TranslatedPairs, snapshot: Snapshot, attributes: Mapping[str, TextSet]
) -> dict[str, float]:
    scalars: dict[str, float] = {}
    for name, (labels, _) in snapshot.attributes.items():
        if name not in attributes:
            continue
        texts = attributes[name].embeddings.double()
        scores = attribute_score(pairs.original, pairs.centered, texts[labels])
        scalars |= _zero_shot_scalars(f"attribute/{name}_", pairs, texts, labels)
        scalars[f"attribute/{name}_score"] = _mean(scores)
    return scalars


def _head_scalars(translation: Translation, previous_head: HeadGeometry | None) -> dict[str, float]:
    geometry, center = translation.geometry, translation.center
    features, baselines = translation.snapshot.features.double(), translation.baselines
    principal = geometry.principal(features)
    null_energy = _energy(features - principal)
    deviations = features - center
    null_mean = geometry.null(center)
    # The projection is linear, so P_n (f - mu) needs no second product.
    null_deviations = (features - principal) - null_mean
    total = _energy(deviations)
    # By Pythagoras, in half the products; the difference would leave noise in place of a 0.
    random = [
        total - _energy(deviations @ each.row_basis) if each.null_dim > 0 else 0.0
        for each in baselines
    ]
    comparable = previous_head is not None and previous_head.feature_dim == geometry.feature_dim
    return {
        "head/rank": float(geometry.rank),
        "head/null_dim": float(geometry.null_dim),
        "head/null_energy": _ratio(null_energy, _energy(features)),
        "head/null_energy_centered": _ratio(_energy(null_deviations), total),
        "head/null_energy_random": _ratio(sum(random) / len(random), total),
        "head/mean_share": _ratio(len(features) * _energy(null_mean), null_energy),
        "head/null_angle": _null_angle(features, principal),
        "head/drift": geometry.drift_from(previous_head)
        if previous_head is not None and comparable
        else math.nan,
        "head/condition": geometry.condition,
    }


def _null_angle(features: Tensor, principal: Tensor) -> float:
    """Mean angle(f, P_p f), from the legs of the right triangle that they span with P_n f.

    90 for a feature that is all null; a zero feature has no direction and does not count.
    """
    legs = (torch.linalg.vector_norm(part, dim=1) for part in (features - principal, principal))
    return _mean(torch.rad2deg(torch.atan2(*legs))[features.any(dim=1)])


def _translator_scalars(translation: Translation) -> dict[str, float]:
    fit = translation.fit
    return {
        "translator/cosine": mean_cosine(
            translation.pairs.original, translation.snapshot.embeddings
        ),
        "translator/r2": fit.r2(),
        "translator/r2_null": fit.r2_null(translation.geometry),
        "translator/ridge": fit.ridge,
    }


def _energy(x: Tensor) -> float:
    return float(x.square().sum())


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else math.nan


def _mean(values: Tensor) -> float:
    return float(values.mean())


def _std(values: Tensor) -> float:
    return float(values.std()) if len(values) > 1 else math.nan
