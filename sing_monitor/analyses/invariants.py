"""SING: what the head's null space hides, as scores by model, class, concept and image.

Yadid, Levi, Betser, Gilboa, "Make it SING: Analyzing Semantic Invariants in Classifiers",
CVPR 2026.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from sing_monitor.analyses import invariants_tables
from sing_monitor.analyses.classes import add_evidence, evidence_scalars
from sing_monitor.findings import Findings
from sing_monitor.head.feature_split import split_energy
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.observation import Translation
from sing_monitor.row_blocks import energy, squared_norms
from sing_monitor.scores.angles import (
    PairScores,
    Reading,
    retention,
)
from sing_monitor.translate.reduced import whole


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
    classes = add_evidence(invariants_tables.class_table(snapshot, translation.scores), translation)
    scalars = (
        _score_scalars(translation.scores)
        | _reading_scalars(translation.readings)
        | _head_scalars(translation, previous_head)
        | _translator_scalars(translation)
        | evidence_scalars(classes)
    )
    return Findings(
        scalars,
        {
            "classes": classes,
            "images": invariants_tables.image_table(snapshot, translation.scores, pairs, n_images),
            "spectrum": invariants_tables.spectrum_table(translation.geometry),
            **invariants_tables.concept_tables(snapshot, pairs, texts.concepts),
        },
    )


def _score_scalars(scores: Mapping[str, PairScores]) -> dict[str, float]:
    summaries = {suffix: _summary(pair) for suffix, pair in scores.items()}
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


def _reading_scalars(readings: Mapping[str, Reading]) -> dict[str, float]:
    """Zero-shot accuracy before and after centered removal, and what is retained of it."""
    scalars: dict[str, float] = {}
    for prefix, reading in readings.items():
        before, after = _mean(reading.before), _mean(reading.after)
        retained = retention(before, after, choices=reading.choices, samples=len(reading.before))
        scalars |= {
            f"{prefix}zero_shot": before,
            f"{prefix}zero_shot_centered": after,
            f"{prefix}retention": retained,
        }
        if prefix.startswith("attribute/"):
            scalars[f"{prefix}score"] = _mean(reading.attribute)
    return scalars


def _head_scalars(translation: Translation, previous_head: HeadGeometry | None) -> dict[str, float]:
    geometry, center, seen = translation.geometry, translation.center, translation.pairs.seen
    features = translation.snapshot.features
    null_mean = geometry.null(center)
    energies, origin = squared_norms(features), torch.zeros_like(center)
    invisible, visible = split_energy(features, energies, seen, geometry, center, about=origin)
    raw, varying = float(invisible.sum()), translation.varying
    centered, _ = split_energy(features, translation.random.energies, seen, geometry, center)
    head = whole(translation.snapshot).geometry
    comparable = previous_head is not None and previous_head.feature_dim == head.feature_dim
    return {
        "head/rank": float(head.rank),
        "head/null_dim": float(head.null_dim),
        "head/null_energy": _ratio(raw, float(energies.sum())),
        "head/null_energy_centered": _ratio(float(centered.sum()), varying),
        "head/null_energy_random": _ratio(translation.random.energy, varying),
        "head/mean_share": _ratio(len(features) * energy(null_mean), raw),
        "head/null_angle": _null_angle(invisible, visible),
        "head/drift": head.drift_from(previous_head)
        if previous_head is not None and comparable
        else math.nan,
        "head/condition": head.condition,
    }


def _null_angle(invisible: Tensor, visible: Tensor) -> float:
    """Mean angle(f, P_p f), from the legs of the right triangle that they span with P_n f.

    90 for a feature that is all null; a zero feature has no direction and does not count.

    Args:
        invisible: ``|P_n f|^2``, (N,).
        visible: ``|P_p f|^2``, (N,).
    """
    angles = torch.rad2deg(torch.atan2(invisible.sqrt(), visible.sqrt()))
    return _mean(angles[(invisible > 0) | (visible > 0)])


def _translator_scalars(translation: Translation) -> dict[str, float]:
    fit = translation.fit
    cosine, error = translation.held_out
    return {
        "translator/cosine": float(cosine.mean()),
        "translator/r2": fit.r2(float(error.sum())),
        "translator/r2_null": fit.r2_null,
        "translator/ridge": fit.ridge,
    }


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator != 0 else math.nan


def _mean(values: Tensor) -> float:
    return float(values.double().mean())


def _std(values: Tensor) -> float:
    return float(values.std()) if len(values) > 1 else math.nan
