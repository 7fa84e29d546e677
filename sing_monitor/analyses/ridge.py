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
MAX_IMAGES = 1000
# To the next value of the grid.
STEP = 10**0.5
_SUFFIXES = ("", "_centered", "_random")
KEYS = (
    *(f"sing/attribute_score{suffix}" for suffix in _SUFFIXES),
    *(f"sing/image_score{suffix}" for suffix in _SUFFIXES),
    "sing/image_score_relative",
    "sing/attribute_share",
    "translator/cosine",
)


def analyze_ridge(translation: Translation) -> Findings:
    """Scores at the chosen rho and at its two neighbours on the grid, half a decade away.

    The neighbours are a decade apart, so ``above - below`` is the slope per decade,
    ``d score / d log10 rho``, by central difference. A score whose slope is as large as itself says
    more about the ridge than about the head. Worked out on at most 1,000 images, half of each fold;
    their values at the chosen rho differ a little from those of all images.

    Args:
        translation: one validation, translated.

    Returns:
        Table ``ridge``: key, ridge (the chosen rho), value, below (at rho / sqrt 10), above
        (at rho sqrt 10), per_decade, n. NaN where a fold is empty.
    """
    from pandas import DataFrame

    fit, folds = translation.fit, translation.snapshot.folds
    rows = [_some((folds == fold).nonzero().flatten()) for fold in (0, 1)]
    parts = [_equivalents(translation, own) for own in rows]
    values = dict.fromkeys(("value", "below", "above"), dict.fromkeys(KEYS, math.nan))
    if fit.translators is not None:
        below, above = (
            [statistics.solve(fit.ridge * factor) for statistics in reversed(fit.statistics)]
            for factor in (1 / STEP, STEP)
        )
        for name, fitted in (("value", fit.translators), ("below", below), ("above", above)):
            values[name] = _summary(translation, rows, parts, fitted)
    table = DataFrame(values).rename_axis("key").reset_index()
    table.insert(1, "ridge", fit.ridge)
    table["per_decade"] = table["above"] - table["below"]
    table["n"] = sum(map(len, rows))
    return Findings(tables={"ridge": table})


def _some(rows: Tensor) -> Tensor:
    """At most half of the images to take, evenly spread over the rows."""
    wanted = min(len(rows), MAX_IMAGES // 2)
    return rows[torch.arange(wanted) * len(rows) // max(wanted, 1)]


def _equivalents(translation: Translation, rows: Tensor) -> dict[str, Tensor]:
    """Features and their equivalents, each (R, m); of the baseline's draws the first."""
    features, center = translation.snapshot.features[rows].double(), translation.center
    geometry, random = translation.geometry, translation.baselines[0]
    return {
        "original": features,
        "": geometry.remove_null(features),
        "_centered": geometry.remove_null(features, center),
        "_random": random.remove_null(features, center),
    }


def _summary(
    translation: Translation,
    rows: Sequence[Tensor],
    parts: Sequence[Mapping[str, Tensor]],
    translators: Sequence[LinearTranslator],
) -> dict[str, float]:
    """The scores and the quality of two translators, each on the images it was not fitted on."""
    translated = {
        name: torch.cat(
            [translate(part[name]) for translate, part in zip(translators, parts, strict=True)]
        )
        for name in parts[0]
    }
    chosen = torch.cat(list(rows))
    labels = translation.snapshot.labels[chosen]
    by_suffix = score_pairs(
        translated["original"],
        [translated[suffix] for suffix in _SUFFIXES],
        translation.texts.classes.embeddings,
        labels,
    )
    found = {}
    for suffix, scores in zip(_SUFFIXES, by_suffix, strict=True):
        found[f"sing/attribute_score{suffix}"] = float(scores.attribute.mean())
        found[f"sing/image_score{suffix}"] = float(scores.image.mean())
    centered, random = found["sing/image_score_centered"], found["sing/image_score_random"]
    found["sing/image_score_relative"] = centered / random if random else math.nan
    share = found["sing/attribute_score_centered"]
    found["sing/attribute_share"] = share / centered if centered else math.nan
    embeddings = translation.snapshot.embeddings[chosen].to(translated["original"])
    cosines = torch.cosine_similarity(translated["original"], embeddings, dim=1)
    found["translator/cosine"] = float(cosines.mean())
    return {key: found[key] for key in KEYS}
