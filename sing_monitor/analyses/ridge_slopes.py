"""How much the scores depend on the strength of the translator's regularization."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import COUNT
from sing_monitor.findings import ColumnSpec, Findings, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import score_pairs, text_cosines, zero_shot_correct
from sing_monitor.scores.derived import ratio, relative_scores, retention
from sing_monitor.scores.moments import average
from sing_monitor.scores.pairs import CENTERED, PAIRS, PLAIN

# Decades to both sides, for a derivative that errs by their square.
_STEP = 1e-3
# Its images are counted: it changes in jumps and has no slope.
_RETENTION = "sing/retention"
KEYS = (
    *(pair.named("sing/attribute_score") for pair in PAIRS),
    *(pair.named("sing/image_score") for pair in PAIRS),
    *(pair.named("sing/score_ratio") for pair in (PLAIN, CENTERED)),
    "sing/image_score_relative",
    "sing/attribute_share",
    "translator/cosine",
    _RETENTION,
)

RIDGE = TableSpec(
    "ridge",
    "Ridge",
    "A metric, and how it changes with the strength of the regularization.",
    (
        ColumnSpec("key", "", "The metric."),
        ColumnSpec("ridge", "1", "The rho that is used."),
        ColumnSpec("value", "", "The metric on some of the images, in its own unit."),
        ColumnSpec("per_decade", "", "Change of the metric for ten times the rho."),
        ColumnSpec(
            "ridge_low", "1", "Smallest rho whose R2 is within one standard error of the best."
        ),
        ColumnSpec("ridge_high", "1", "Largest such rho; looked for up to a decade away."),
        ColumnSpec("value_low", "", "The metric on the same images at ridge_low."),
        ColumnSpec("value_high", "", "The metric on the same images at ridge_high."),
        COUNT,
    ),
)


def analyze_ridge(observation: Observation) -> Findings:
    """How the scores change along rho: the slope, and the values that serve the data as well.

    The slope is ``d score / d log10 rho`` at the rho that is used, from the derivative of the
    translators: :meth:`~sing_monitor.translate.ridge.RidgeSolution.slope`. Every rho whose held-out
    R2 is within one standard error of the best translates as well as the chosen one; a score that
    differs much between the ends of that range says more about the ridge than about the head. At
    the ends, images are translated to first order in log rho. Worked out on at most 128 images,
    half of each fold; their values differ a little from those of all images.

    Returns:
        Table ``ridge``. NaN where a fold is empty; the slope also where a metric counts images.
    """
    from pandas import DataFrame

    fit, sample = observation.fit, observation.sample
    columns = ("value", "per_decade", "value_low", "value_high")
    values: dict[str, dict[str, float]] = {
        column: dict.fromkeys(KEYS, math.nan) for column in columns
    }
    low = high = math.nan
    if fit.translators is not None and fit.slopes is not None and fit.curve is not None:
        (low, high), steps = fit.curve.ends, fit.curve.steps_to_ends
        pairs = zip(fit.translators, sample.vectors, strict=True)
        translated = torch.cat([translator(vectors) for translator, vectors in pairs], dim=1)
        slopes = torch.cat(fit.slopes, dim=1)
        if observation.geometry.null_dim == 0:
            # Nothing is removed, and rounding is not to pass for it.
            translated, slopes = (x[:1].expand_as(x) for x in (translated, slopes))

        def at(decades: float) -> Tensor:
            return translated + decades * slopes

        below, above = (_means(observation, at(decades)) for decades in (-_STEP, _STEP))
        slope = {key: (above[key] - below[key]) / (2 * _STEP) for key in below}
        values = {
            "value": _scored(observation, translated),
            "per_decade": {**slope, _RETENTION: math.nan},
            "value_low": _scored(observation, at(steps[0])),
            "value_high": _scored(observation, at(steps[1])),
        }
    ridges = {"ridge": fit.ridge, "ridge_low": low, "ridge_high": high, "n": len(sample.rows)}
    numbers = {column: [found[key] for key in KEYS] for column, found in values.items()}
    table = {"key": KEYS, **ridges, **numbers}
    return Findings(tables={"ridge": DataFrame({c.name: table[c.name] for c in RIDGE.columns})})


def _scored(observation: Observation, translated: Tensor) -> dict[str, float]:
    """Every metric of (4, R, n) translations of the sample."""
    rows, texts = observation.sample.rows, observation.class_texts
    labels = observation.snapshot.labels[rows]
    before, after = (
        float(zero_shot_correct(text_cosines(each, texts), labels).mean())
        for each in (translated[0], translated[1 + PAIRS.index(CENTERED)])
    )
    kept = retention(before, after, chance=1 / max(len(texts), 1), samples=len(rows))
    return {**_means(observation, translated), _RETENTION: kept}


def _means(observation: Observation, translated: Tensor) -> dict[str, float]:
    """Means over the sample, and the quality of the translation, of (4, R, n) translations."""
    rows = observation.sample.rows
    original, *equivalents = translated
    scores = score_pairs(
        original, equivalents, observation.class_texts, observation.snapshot.labels[rows]
    )
    by_pair = dict(zip(PAIRS, scores, strict=True))
    attribute = {pair: average(found.attribute) for pair, found in by_pair.items()}
    magnitude = {pair: average(found.attribute.abs()) for pair, found in by_pair.items()}
    image = {pair: average(found.image) for pair, found in by_pair.items()}
    embeddings = observation.embeddings[rows].to(original)
    cosine = torch.cosine_similarity(original, embeddings, dim=1).mean()
    found = {
        **{pair.named("sing/attribute_score"): value for pair, value in attribute.items()},
        **{pair.named("sing/image_score"): value for pair, value in image.items()},
        **{
            pair.named("sing/score_ratio"): ratio(image[pair], magnitude[pair])
            for pair in (PLAIN, CENTERED)
        },
        **{f"sing/{name}": value for name, value in relative_scores(attribute, image).items()},
        "translator/cosine": float(cosine),
    }
    return {key: found[key] for key in KEYS if key != _RETENTION}


ANALYSIS = Analysis(
    "ridge",
    analyze_ridge,
    tables=(RIDGE,),
    needs=frozenset({"labels", "embeddings"}),
    part_of="sing",
)
