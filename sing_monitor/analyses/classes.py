"""The classes one by one: scores, and what they stand on.

The random baseline, a test against the other classes and the quality of the translation; like the
derived scores of the whole model, they are about the centered pair.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import CLASS, COUNT, HIDDEN, columns_of
from sing_monitor.analyses.invariants import RELATIVE_METRICS, SING
from sing_monitor.analyses.parts.refits import hidden_classes, rereadings
from sing_monitor.analyses.support import analyze_support
from sing_monitor.analyses.translator import TRANSLATOR
from sing_monitor.findings import ColumnSpec, Findings, MetricSpec, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import all_blocks
from sing_monitor.scores.angles import PairScores
from sing_monitor.scores.class_leaks import (
    MIN_IMAGES,
    deviations,
    independent,
    leaks,
    p_values,
    q_values,
)
from sing_monitor.scores.derived import relative_scores
from sing_monitor.scores.moments import group_mean, group_moments
from sing_monitor.scores.pairs import CENTERED, EQUIVALENTS, PAIRS, Pair

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
        "Classes whose AS lies far below that of the others. Few classes give false ones in 3 to "
        "10 % of epochs, and several hidden classes mask each other: trust hidden_classes "
        "instead. NaN with fewer than three classes of 8 images, or groups.",
        group=SING,
    ),
    MetricSpec(
        "sing/class_deviation",
        "Lowest class's deviation",
        "1",
        "none",
        "min over classes of 8 images or groups of (AS_c - median AS) / (1.4826 MAD AS), centered",
        "Iglewicz, Hoaglin 1993",
        "How many standard deviations the lowest AS of a class lies below the others. Below -5: "
        "out of line. It depends on the other classes, and says little with fewer than ten.",
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


def _score_columns(pair: Pair) -> tuple[ColumnSpec, ...]:
    meaning = {
        "attribute_score": "Mean AS toward the class",
        "attribute_score_std": "Standard deviation of AS over the images",
        "attribute_score_abs": "Mean |AS|",
        "image_score": "Mean IS",
        "image_score_std": "Standard deviation of IS over the images",
    }
    return tuple(
        ColumnSpec(pair.named(name), "deg", f"{plain} when {pair.removal}.")
        for name, plain in meaning.items()
    )


CLASSES = TableSpec(
    "classes",
    "Classes",
    "A class of the head: means over its images, NaN without any.",
    (
        *CLASS,
        COUNT,
        ColumnSpec("accuracy", "share", "Share of the images that are classified correctly."),
        *(column for pair in PAIRS for column in _score_columns(pair)),
        *columns_of(RELATIVE_METRICS),
        ColumnSpec(
            "attribute_p", "share", "p-value of the centered AS against all other images, by group."
        ),
        ColumnSpec("attribute_q", "share", "The p-value adjusted for the number of classes."),
        ColumnSpec(
            "attribute_deviation",
            "1",
            "Robust standard deviations between the centered AS and the median of the classes.",
        ),
        ColumnSpec("translator_cosine", "cosine", "Mean cosine of the translation, held out."),
        ColumnSpec("translator_r2", "share", "R2 of the translation, held out."),
        *(
            ColumnSpec(
                pair.named("outside"),
                "share",
                f"Share of T f~ out of support, f~ = {pair.formula}.",
            )
            for pair in EQUIVALENTS
        ),
        # Stores of earlier versions lack what follows.
        ColumnSpec("zero_shot", "share", "Share of the images read rightly from whole features."),
        ColumnSpec("zero_shot_seen", "share", "Share read rightly by the refit on the seen part."),
        *HIDDEN,
    ),
    is_followed=True,
)


def analyze_classes(observation: Observation) -> Findings:
    """Scores of every class, and which of them stand out.

    Returns:
        Scalars ``sing/leaking_classes``, ``sing/class_deviation`` and ``translator/poor_classes``;
        table ``classes``, whose tests are those of :mod:`sing_monitor.scores.class_leaks`.
    """
    classes = _table(observation)
    return Findings(evidence_scalars(classes), {"classes": classes})


def _table(observation: Observation) -> DataFrame:
    from pandas import DataFrame

    snapshot, labels = observation.snapshot, observation.snapshot.labels
    names, count = snapshot.class_names, len(snapshot.class_names)
    n = labels.bincount(minlength=count)
    correct = (snapshot.predictions == labels).double()
    scores = {
        pair: _class_scores(found, labels, count) for pair, found in observation.scores.items()
    }
    attribute, image = (
        {pair: found[name] for pair, found in scores.items()}
        for name in ("attribute_score", "image_score")
    )
    p = p_values(observation.scores[CENTERED].attribute, labels, count, snapshot.groups)
    is_known = independent(labels, count, snapshot.groups) >= MIN_IMAGES
    cosine, r2 = _translated(observation, count)
    support = observation.once(analyze_support).tables["class_support"]
    reread, hidden = observation.once(rereadings)["sing/"], observation.once(hidden_classes)
    columns: dict[str, Tensor] = {
        "n": n,
        "accuracy": group_mean(correct, labels, count),
        **{
            pair.named(name): values
            for pair, found in scores.items()
            for name, values in found.items()
        },
        **relative_scores(attribute, image),
        "attribute_p": p,
        "attribute_q": q_values(p),
        "attribute_deviation": deviations(attribute[CENTERED].where(is_known, torch.nan)),
        "translator_cosine": cosine,
        "translator_r2": r2,
        # With these a reader of all epochs needs no second table of each.
        **{
            name: _tensor(support[name]) for name in (pair.named("outside") for pair in EQUIVALENTS)
        },
        "zero_shot": group_mean(reread.first.before, labels, count),
        "zero_shot_seen": group_mean(reread.seen, labels, count),
        "hidden": hidden.hidden,
        "hidden_p": hidden.p,
        "hidden_q": hidden.q,
    }
    first = {"class_index": range(count), "class_name": list(names)}
    return DataFrame({**first, **{name: values.numpy() for name, values in columns.items()}})


def _class_scores(scores: PairScores, labels: Tensor, classes: int) -> dict[str, Tensor]:
    attribute_mean, attribute_std = group_moments(scores.attribute, labels, classes)
    image_mean, image_std = group_moments(scores.image, labels, classes)
    return {
        "attribute_score": attribute_mean,
        "attribute_score_std": attribute_std,
        "attribute_score_abs": group_mean(scores.attribute.abs(), labels, classes),
        "image_score": image_mean,
        "image_score_std": image_std,
    }


def evidence_scalars(classes: DataFrame) -> dict[str, float]:
    """What the model's curves show of the table of classes."""
    mean, q, deviation = (
        _tensor(classes[column])
        for column in (CENTERED.named("attribute_score"), "attribute_q", "attribute_deviation")
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


def _translated(observation: Observation, classes: int) -> tuple[Tensor, Tensor]:
    """Held-out cosine and R2 of every class, each (C,).

    The R2 is about the mean embedding of *all* images that the translator was fitted on, so what
    tells the class from the others counts as explained.
    """
    embeddings, labels = observation.embeddings, observation.snapshot.labels
    cosines, error = observation.held_out
    centers, total = (
        observation.fit.means.to(observation.translated.original),
        torch.zeros_like(error),
    )
    for rows in all_blocks(embeddings):
        about = embeddings[rows].to(centers) - centers[observation.snapshot.folds[rows]]
        total[rows] = about.square().sum(dim=1).double()
    cosine, error, total, n = (
        total.new_zeros(classes).index_add(0, labels, values)
        for values in (cosines, error, total, torch.ones_like(total))
    )
    return cosine / n, 1 - error / total.where(total > 0, torch.nan)


ANALYSIS = Analysis(
    "classes",
    analyze_classes,
    CLASS_METRICS,
    (CLASSES,),
    needs=frozenset({"labels", "embeddings"}),
    part_of="sing",
)
