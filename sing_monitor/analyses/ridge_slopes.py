"""How much the scores depend on the strength of the translator's regularization."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import COUNT
from sing_monitor.findings import ColumnSpec, Findings, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import score_pairs
from sing_monitor.scores.derived import relative_scores
from sing_monitor.scores.moments import average
from sing_monitor.scores.pairs import PAIRS

# Decades to both sides, for a derivative that errs by their square.
_STEP = 1e-3
KEYS = (
    *(pair.named("sing/attribute_score") for pair in PAIRS),
    *(pair.named("sing/image_score") for pair in PAIRS),
    "sing/image_score_relative",
    "sing/attribute_share",
    "translator/cosine",
)

RIDGE = TableSpec(
    "ridge",
    "Ridge",
    "A metric and how it changes with the strength of the regularization.",
    (
        ColumnSpec("key", "", "The metric."),
        ColumnSpec("ridge", "1", "The chosen rho."),
        ColumnSpec("value", "", "The metric on some of the images, in its own unit."),
        ColumnSpec("per_decade", "", "Change of the metric for ten times the rho."),
        COUNT,
    ),
)


def analyze_ridge(observation: Observation) -> Findings:
    """How the scores change along the grid of rho: ``d score / d log10 rho`` at the chosen rho.

    How much a score changes for each decade of the ridge, to first order, from the derivative of
    the translators: :meth:`~sing_monitor.translate.ridge.RidgeSolution.slope`. A score whose slope
    is as large as itself says more about the ridge than about the head. Worked out on at most 128
    images, half of each fold; their values differ a little from those of all images.

    Returns:
        Table ``ridge``: key, ridge (the chosen rho), value, per_decade, n. NaN where a fold is
        empty.
    """
    from pandas import DataFrame

    fit, sample = observation.fit, observation.sample
    values = dict.fromkeys(("value", "per_decade"), dict.fromkeys(KEYS, math.nan))
    if fit.translators is not None and fit.slopes is not None:
        pairs = zip(fit.translators, sample.vectors, strict=True)
        translated = torch.cat([translator(vectors) for translator, vectors in pairs], dim=1)
        slopes = torch.cat(fit.slopes, dim=1)
        below, value, above = (
            _scored(observation, translated + decades * slopes) for decades in (-_STEP, 0, _STEP)
        )
        slope = {key: (above[key] - below[key]) / (2 * _STEP) for key in KEYS}
        values = {"value": value, "per_decade": slope}
    table = DataFrame(values).rename_axis("key").reset_index()
    table.insert(1, "ridge", fit.ridge)
    table["n"] = len(sample.rows)
    return Findings(tables={"ridge": table})


def _scored(observation: Observation, translated: Tensor) -> dict[str, float]:
    """Means over the sample, and the quality of the translation, of (4, R, n) translations."""
    rows = observation.sample.rows
    original, *equivalents = translated
    scores = score_pairs(
        original, equivalents, observation.class_texts, observation.snapshot.labels[rows]
    )
    attribute, image = (
        {pair: average(getattr(found, name)) for pair, found in zip(PAIRS, scores, strict=True)}
        for name in ("attribute", "image")
    )
    embeddings = observation.embeddings[rows].to(original)
    cosine = torch.cosine_similarity(original, embeddings, dim=1).mean()
    found = {
        **{pair.named("sing/attribute_score"): value for pair, value in attribute.items()},
        **{pair.named("sing/image_score"): value for pair, value in image.items()},
        **{f"sing/{name}": value for name, value in relative_scores(attribute, image).items()},
        "translator/cosine": float(cosine),
    }
    return {key: found[key] for key in KEYS}


ANALYSIS = Analysis(
    "ridge", analyze_ridge, tables=(RIDGE,), needs=frozenset({"labels", "embeddings"})
)
