"""How much the scores hang on the strength of the translator's regularisation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sing_monitor.findings import Findings
from sing_monitor.observation import Translation
from sing_monitor.scores.angles import score_pairs

# Decades to both sides, for a derivative that errs by their square.
_STEP = 1e-3
_SUFFIXES = ("", "_centered", "_random")
KEYS = (
    *(f"sing/attribute_score{suffix}" for suffix in _SUFFIXES),
    *(f"sing/image_score{suffix}" for suffix in _SUFFIXES),
    "sing/image_score_relative",
    "sing/attribute_share",
    "translator/cosine",
)


def analyze_ridge(translation: Translation) -> Findings:
    """How the scores change along the grid of rho: ``d score / d log10 rho`` at the chosen rho.

    How much a score changes for each decade of the ridge, to first order, from the derivative of
    the translators: :meth:`~sing_monitor.translate.ridge.RidgeSolution.slope`. A score whose slope
    is as large as itself says more about the ridge than about the head. Worked out on at most 128
    images, half of each fold; their values differ a little from those of all images.

    Args:
        translation: one validation, translated.

    Returns:
        Table ``ridge``: key, ridge (the chosen rho), value, per_decade, n. NaN where a fold is
        empty.
    """
    from pandas import DataFrame

    fit, sample = translation.fit, translation.sample
    values = dict.fromkeys(("value", "per_decade"), dict.fromkeys(KEYS, math.nan))
    if fit.translators is not None and fit.slopes is not None:
        pairs = zip(fit.translators, sample.vectors, strict=True)
        translated = torch.cat([translator(vectors) for translator, vectors in pairs], dim=1)
        slopes = torch.cat(fit.slopes, dim=1)
        below, value, above = (
            _scored(translation, translated + decades * slopes) for decades in (-_STEP, 0, _STEP)
        )
        slope = {key: (above[key] - below[key]) / (2 * _STEP) for key in KEYS}
        values = {"value": value, "per_decade": slope}
    table = DataFrame(values).rename_axis("key").reset_index()
    table.insert(1, "ridge", fit.ridge)
    table["n"] = len(sample.rows)
    return Findings(tables={"ridge": table})


def _scored(translation: Translation, translated: Tensor) -> dict[str, float]:
    """Means over the sample, and the quality of the translation, of (4, R, n) translations."""
    rows, texts = translation.sample.rows, translation.texts.classes.embeddings
    labels = translation.snapshot.labels[rows]
    original, *equivalents = translated
    found = {}
    for suffix, pair in zip(
        _SUFFIXES, score_pairs(original, equivalents, texts, labels), strict=True
    ):
        found[f"sing/attribute_score{suffix}"] = float(pair.attribute.mean())
        found[f"sing/image_score{suffix}"] = float(pair.image.mean())
    centered, random = found["sing/image_score_centered"], found["sing/image_score_random"]
    found["sing/image_score_relative"] = centered / random if random else math.nan
    share = found["sing/attribute_score_centered"]
    found["sing/attribute_share"] = share / centered if centered else math.nan
    embeddings = translation.snapshot.embeddings[rows].to(original)
    found["translator/cosine"] = float(torch.cosine_similarity(original, embeddings, dim=1).mean())
    return {key: found[key] for key in KEYS}
