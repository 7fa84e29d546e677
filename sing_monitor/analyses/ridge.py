"""How much the scores hang on the strength of the translator's regularisation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sing_monitor.findings import Findings
from sing_monitor.scores import score_pairs
from sing_monitor.translation import Translation
from sing_monitor.translator import LinearTranslator

# Images that are translated anew; differences of means over the same images need no more.
MAX_IMAGES = 256
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

    How much a score changes for each decade of the ridge, to first order: from the translators'
    derivative, :attr:`~sing_monitor.ridge.RidgeSolution.slope`. A score whose slope is as large as
    itself says more about the ridge than about the head. Worked out on at most 256 images, half of
    each fold; their values differ a little from those of all images.

    Args:
        translation: one validation, translated.

    Returns:
        Table ``ridge``: key, ridge (the chosen rho), value, per_decade, n. NaN where a fold is
        empty.
    """
    from pandas import DataFrame

    fit, folds = translation.fit, translation.snapshot.folds
    rows = torch.cat([_some((folds == fold).nonzero().flatten()) for fold in (0, 1)])
    values = dict.fromkeys(("value", "per_decade"), dict.fromkeys(KEYS, math.nan))
    if fit.translators is not None and fit.slopes is not None:
        vectors = _equivalents(translation, rows)
        translated = _mapped(fit.translators, vectors, folds[rows])
        slopes = _mapped(fit.slopes, vectors, folds[rows])
        below, value, above = (
            _scored(
                translation,
                rows,
                {name: translated[name] + decades * slopes[name] for name in vectors},
            )
            for decades in (-_STEP, 0, _STEP)
        )
        slope = {key: (above[key] - below[key]) / (2 * _STEP) for key in KEYS}
        values = {"value": value, "per_decade": slope}
    table = DataFrame(values).rename_axis("key").reset_index()
    table.insert(1, "ridge", fit.ridge)
    table["n"] = len(rows)
    return Findings(tables={"ridge": table})


def _some(rows: Tensor) -> Tensor:
    """At most half of the images to take, evenly spread over the rows."""
    wanted = min(len(rows), MAX_IMAGES // 2)
    return rows[torch.arange(wanted) * len(rows) // max(wanted, 1)]


def _equivalents(translation: Translation, rows: Tensor) -> dict[str, Tensor]:
    """Features and their equivalents, each (R, m)."""
    snapshot, center, geometry = translation.snapshot, translation.center, translation.geometry
    features = snapshot.features[rows].double()
    centered = geometry.remove_null(features, center)
    return {
        "original": features,
        "": centered - geometry.null(center),
        "_centered": centered,
        "_random": translation.random.equivalents(snapshot.features, center, rows),
    }


def _mapped(
    maps: Sequence[LinearTranslator], vectors: Mapping[str, Tensor], folds: Tensor
) -> dict[str, Tensor]:
    """All vectors (R, m), each by its fold's map, (R, n)."""
    mapped = {name: each.new_empty(len(each), len(maps[0].bias)) for name, each in vectors.items()}
    for fold, affine in enumerate(maps):
        for name, each in vectors.items():
            mapped[name][folds == fold] = affine(each[folds == fold])
    return mapped


def _scored(
    translation: Translation, rows: Tensor, translated: Mapping[str, Tensor]
) -> dict[str, float]:
    """Means over the images, and the quality of the translation."""
    texts, labels = translation.texts.classes.embeddings, translation.snapshot.labels[rows]
    original = translated["original"]
    equivalents = [translated[suffix] for suffix in _SUFFIXES]
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
