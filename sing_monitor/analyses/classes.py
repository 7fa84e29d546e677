"""What a class's scores stand on: the random baseline, a test against the others, its translation.

All columns are about the centered pair, as the derived scores of the whole model are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.analyses.invariants_metrics import SING, TRANSLATOR
from sing_monitor.findings import MetricSpec
from sing_monitor.observation import Translation
from sing_monitor.row_blocks import all_blocks
from sing_monitor.scores.class_leaks import MIN_IMAGES, deviations, leaks, p_values, q_values

if TYPE_CHECKING:
    from pandas import DataFrame, Series

CLASS_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "sing/leaking_classes",
        "Leaking classes",
        "count",
        "lower",
        "classes with AS < -4, q < 0.05 and a deviation below -5, centered pair",
        "test: Chung, Romano 2013; q: Benjamini, Hochberg 1995; rule ours",
        "Classes that hide far more of their meaning from the head than the others do. The table "
        "of classes names them. NaN with fewer than three classes of 8 images.",
        group=SING,
    ),
    MetricSpec(
        "sing/class_deviation",
        "Lowest class's deviation",
        "1",
        "none",
        "min over classes of 8 images or more of (AS_c - median AS) / (1.4826 MAD AS), centered",
        "Iglewicz, Hoaglin 1993",
        "How many standard deviations the class that hides most lies below the others. "
        "Below -5: out of line.",
        group=SING,
    ),
    MetricSpec(
        "translator/poor_classes",
        "Poorly translated classes",
        "count",
        "lower",
        "classes of 8 images or more with 1 - sum |z - T f|^2 / sum |z - mean z|^2 <= 0, held out",
        "ours",
        "Classes whose images the translator predicts no better than one constant vector: their "
        "scores mean nothing.",
        group=TRANSLATOR,
    ),
)


def add_evidence(classes: DataFrame, translation: Translation) -> DataFrame:
    """The table of classes with what its scores stand on.

    Columns, NaN where undefined: ``image_score_relative``, ``attribute_share`` and
    ``attribute_share_random`` as for the whole model; ``attribute_p``, ``attribute_q`` and
    ``attribute_deviation`` as in :mod:`sing_monitor.scores.class_leaks`; ``translator_cosine`` and
    ``translator_r2``, held out.

    Args:
        classes: one row a class, with the scores of every kind of pair.
        translation: one validation, translated.
    """
    labels, count = translation.snapshot.labels, len(classes)
    means = classes["attribute_score_centered"].where(classes["n"] >= MIN_IMAGES)
    p = p_values(translation.scores["_centered"].attribute, labels, count)
    cosine, r2 = _translated(translation, count)
    return classes.assign(
        image_score_relative=classes["image_score_centered"] / classes["image_score_random"],
        attribute_share=classes["attribute_score_centered"] / classes["image_score_centered"],
        attribute_share_random=classes["attribute_score_random"] / classes["image_score_random"],
        attribute_p=p.numpy(),
        attribute_q=q_values(p).numpy(),
        attribute_deviation=deviations(_tensor(means)).numpy(),
        translator_cosine=cosine.numpy(),
        translator_r2=r2.numpy(),
    )


def add_support(classes: DataFrame, class_support: DataFrame) -> DataFrame:
    """The table of classes with the shares of images out of support, for a reader's mark.

    Columns ``outside`` (of the paper's equivalent) and ``outside_centered``, 0 to 1, NaN where
    undefined: with them a reader of all epochs needs no second table of each.

    Args:
        classes: one row a class.
        class_support: the same rows, as :func:`analyze_support` gives them.
    """
    columns = {name: class_support[name].to_numpy() for name in ("outside", "outside_centered")}
    return classes.assign(**columns)


def evidence_scalars(classes: DataFrame) -> dict[str, float]:
    """What the model's curves show of the table of classes."""
    mean, q, deviation = (
        _tensor(classes[column])
        for column in ("attribute_score_centered", "attribute_q", "attribute_deviation")
    )
    is_tested = bool((~(q + deviation).isnan()).any())
    lowest = float(deviation.nan_to_num(nan=math.inf).min())
    is_read = bool((classes["translator_r2"].notna() & (classes["n"] >= MIN_IMAGES)).any())
    return {
        "sing/leaking_classes": float(leaks(mean, q, deviation).sum()) if is_tested else math.nan,
        "sing/class_deviation": lowest if math.isfinite(lowest) else math.nan,
        "translator/poor_classes": float(len(poor_classes(classes))) if is_read else math.nan,
    }


def poor_classes(classes: DataFrame) -> list[str]:
    """Names of the classes that the translator predicts no better than a constant, worst first."""
    poor = classes[(classes["n"] >= MIN_IMAGES) & (classes["translator_r2"] <= 0)]
    return [str(name) for name in poor.sort_values("translator_r2")["class_name"]]


def _tensor(column: Series) -> Tensor:
    return torch.tensor(column.to_numpy(), dtype=torch.float64)


def _translated(translation: Translation, classes: int) -> tuple[Tensor, Tensor]:
    """Held-out cosine and R2 of every class, each (C,).

    The R2 is about the mean embedding of *all* images that the translator was fitted on, so what
    tells the class from the others counts as explained.
    """
    embeddings, labels = translation.snapshot.embeddings, translation.snapshot.labels
    cosines, error = translation.held_out
    centers, total = translation.fit.means.to(translation.pairs.original), torch.zeros_like(error)
    for rows in all_blocks(embeddings):
        about = embeddings[rows].to(centers) - centers[translation.snapshot.folds[rows]]
        total[rows] = about.square().sum(dim=1).double()
    cosine, error, total, n = (
        total.new_zeros(classes).index_add(0, labels, values)
        for values in (cosines, error, total, torch.ones_like(total))
    )
    return cosine / n, 1 - error / total.where(total > 0, torch.nan)
