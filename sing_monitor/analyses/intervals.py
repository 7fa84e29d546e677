"""How certain the headline scalars are: bootstrap intervals over images, without any refit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.findings import Findings
from sing_monitor.observation import Translation
from sing_monitor.scores.bootstrap import LEVEL, bootstrap_means, percentile_interval
from sing_monitor.translate.random_subspaces import RANDOM_SEED

if TYPE_CHECKING:
    from pandas import DataFrame

_MEANS = ("attribute_score", "attribute_score_abs", "image_score")


def analyze_intervals(translation: Translation, scalars: Mapping[str, float]) -> Findings:
    """95 % percentile intervals of the headline scalars, from the scores of single images.

    What they cover is the choice of images: how far the scalar could have differed, had other
    images of the same classes been validated on. Head, translators, random subspaces and mean
    feature are held as they are; so another training, or a translator fitted on other images, may
    well lead outside. Images are drawn within their class, 1,000 times, from a fixed seed.

    Args:
        translation: one validation, translated.
        scalars: the values that the intervals are about.

    Returns:
        Table ``intervals``: key, value, low, high, n (images) and level. Bounds are NaN where the
        value is.
    """
    columns = image_columns(translation)
    means = bootstrap_means(
        torch.stack(list(columns.values()), dim=1), translation.snapshot.labels, seed=RANDOM_SEED
    )
    replicates = headline(dict(zip(columns, means.T, strict=True)), translation)
    return Findings(tables={"intervals": _table(replicates, scalars, len(translation.snapshot))})


def headline(means: Mapping[str, Tensor], translation: Translation) -> dict[str, Tensor]:
    """The headline scalars as functions of means over images.

    Args:
        means: of the columns, each of any one shape: of the probe, or of its replicates, (B,).
        translation: says which columns there are.

    Returns:
        By key of the catalogue, of the same shape.
    """
    found: dict[str, Tensor] = {}
    for suffix in translation.scores:
        names = [f"sing/{name}{suffix}" for name in _MEANS]
        found |= {name: means[name] for name in names}
        _, magnitude, distance = (means[name] for name in names)
        found[f"sing/score_ratio{suffix}"] = distance / magnitude
    centered, random = found["sing/image_score_centered"], found["sing/image_score_random"]
    found["sing/image_score_relative"] = centered / random
    found["sing/attribute_share"] = found["sing/attribute_score_centered"] / centered
    found["sing/attribute_share_random"] = found["sing/attribute_score_random"] / random
    for prefix, reading in translation.readings.items():
        before, after = means[f"{prefix}zero_shot"], means[f"{prefix}zero_shot_centered"]
        chance = 1 / max(reading.choices, 1)
        found |= {
            f"{prefix}zero_shot": before,
            f"{prefix}zero_shot_centered": after,
            f"{prefix}retention": (after - chance) / (before - chance),
        }
        if prefix.startswith("attribute/"):
            found[f"{prefix}score"] = means[f"{prefix}score"]
    return found


def image_columns(translation: Translation) -> dict[str, Tensor]:
    """Everything that is averaged over images, each (N,)."""
    columns: dict[str, Tensor] = {}
    for suffix, pair in translation.scores.items():
        values = (pair.attribute, pair.attribute.abs(), pair.image)
        columns |= {f"sing/{name}{suffix}": each for name, each in zip(_MEANS, values, strict=True)}
    for prefix, reading in translation.readings.items():
        columns |= {
            f"{prefix}zero_shot": reading.before,
            f"{prefix}zero_shot_centered": reading.after,
            f"{prefix}score": reading.attribute,
        }
    return columns


def _table(
    replicates: Mapping[str, Tensor], scalars: Mapping[str, float], samples: int
) -> DataFrame:
    from pandas import DataFrame

    value = torch.tensor([scalars[key] for key in replicates], dtype=torch.float64)
    low, high = percentile_interval(torch.stack(list(replicates.values()), dim=1))
    known = ~value.isnan()
    return DataFrame(
        {
            "key": list(replicates),
            "value": value.numpy(),
            "low": low.where(known, torch.nan).numpy(),
            "high": high.where(known, torch.nan).numpy(),
            "n": samples,
            "level": LEVEL,
        }
    )
