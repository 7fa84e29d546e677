"""Whether translated features and their equivalents are still plausible image embeddings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.analyses.columns import CLASS, COUNT, IMAGE, LABEL, columns_of
from sing_monitor.findings import Findings, MetricGroup, MetricSpec, TableSpec
from sing_monitor.observation import Observation
from sing_monitor.scores.angles import text_cosines, to_degrees
from sing_monitor.scores.moments import known_means
from sing_monitor.scores.pairs import CENTERED, EQUIVALENTS, PLAIN, Pair
from sing_monitor.scores.support import (
    OUTSIDE,
    Whitening,
    percentiles,
    split_movement,
    whitened_by_the_others,
)
from sing_monitor.snapshot import Snapshot, hex_ids
from sing_monitor.translate.cross_fit import TranslatedPairs

if TYPE_CHECKING:
    from pandas import DataFrame

_WHITENING = "Betser, Levi, Gilboa 2025; truncation and percentile ours"
_CONFORMITY = "Levi, Gilboa 2025"
SUPPORT = MetricGroup("support", "Support")

_REAL, _TRANSLATED = "_real", "_translated"
# By suffix of the metrics: label, vector and subject.
_KINDS = {
    _TRANSLATED: (", translated", "T f", "A translated feature"),
    **{
        pair.suffix: (pair.label, f"T f~, f~ = {pair.formula}", f"The {whose} equivalent")
        for pair, whose in ((PLAIN, "paper's"), (CENTERED, "centered"))
    },
}


def _support_metrics(suffix: str) -> tuple[MetricSpec, ...]:
    label, vector, subject = _KINDS[suffix]
    return (
        MetricSpec(
            f"support/outside{suffix}",
            f"Out of support{label}",
            "share",
            "lower",
            f"share of images whose support/percentile is above 0.99, for {vector}",
            _WHITENING,
            f"{subject} that lies farther out than 99 % of real images' embeddings is no "
            "plausible image: its score means little. 0.01 is what real images show.",
            group=SUPPORT,
        ),
        MetricSpec(
            f"support/percentile{suffix}",
            f"Percentile among real images{label}",
            "share",
            "none",
            "mean share of held-out images with a smaller norm than "
            f"{vector}; norms whitened in the directions that hold 95 % of the variance",
            _WHITENING,
            f"{subject}'s place among real images, by distance from their mean: 0.5 is typical. "
            "Small: closer to the mean than real images are, as a ridge regression makes it.",
            group=SUPPORT,
        ),
        MetricSpec(
            f"support/conformity{suffix}",
            f"Conformity{label}",
            "cosine",
            "none",
            f"mean of cos(v, mean z), v = {vector}",
            _CONFORMITY,
            f"{subject}'s likeness to the mean image. Compare with the real images': above it, "
            "the meaning is more generic than that of any image.",
            group=SUPPORT,
        ),
    )


def _movement_metrics(pair: Pair) -> tuple[MetricSpec, ...]:
    label, equivalent, _ = _KINDS[pair.suffix]
    return (
        MetricSpec(
            pair.named("support/radial"),
            f"Radial part of IS{label}",
            "deg",
            "none",
            f"mean of angle(T f, mean z) - angle({equivalent.partition(',')[0]}, mean z)",
            "ours",
            "How far the movement leads toward the mean image. Positive: the meaning became more "
            "generic; negative: more special.",
            group=SUPPORT,
        ),
        MetricSpec(
            pair.named("support/rotation"),
            f"Rotation part of IS{label}",
            "deg",
            "none",
            "mean of 2 arcsin sqrt(sin^2(IS/2) - sin^2(radial/2))",
            "ours",
            "How far the meaning turned into another one, its generic-ness apart. Near 0 beside a "
            "large IS: the removal only made the image more or less generic.",
            group=SUPPORT,
        ),
    )


SUPPORT_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "support/dimensions",
        "Dimensions of the support",
        "count",
        "none",
        "fewest eigenvectors of Cov(z) that hold 95 % of the variance; mean of the two folds",
        _WHITENING,
        "In how many directions real images vary enough to be compared with.",
        group=SUPPORT,
    ),
    MetricSpec(
        "support/conformity_real",
        "Conformity, real images",
        "cosine",
        "none",
        "mean of cos(z, mean z)",
        _CONFORMITY,
        "How like the mean image real images are: what the other conformities compare with.",
        group=SUPPORT,
    ),
    *(spec for suffix in _KINDS for spec in _support_metrics(suffix)),
    *(spec for pair in EQUIVALENTS for spec in _movement_metrics(pair)),
)

# Of single images and classes there is no number of dimensions.
_OF_IMAGES = SUPPORT_METRICS[1:]
SUPPORT_TABLE = TableSpec(
    "support",
    "Support",
    "An image of the probe, placed among real images.",
    (IMAGE, LABEL, *columns_of(_OF_IMAGES)),
)
CLASS_SUPPORT = TableSpec(
    "class_support",
    "Support by class",
    "A class of the head: means over its images, NaN without any.",
    (*CLASS, COUNT, *columns_of(_OF_IMAGES)),
)


def analyze_support(observation: Observation) -> Findings:
    """Where ``T f`` and its two equivalents lie among real image embeddings.

    Every image is compared with the real images of its own fold, in directions and about a mean
    that come from the other fold: reference and scored images are distinct.

    Returns:
        Scalars ``support/*``: means over the images. Table ``support``: the same of every image.
        Table ``class_support``: of every class. NaN for the images of a fold where the other holds
        no two different ones.
    """
    distances = {pair: observation.scores[pair].image for pair in EQUIVALENTS}
    return support_of(observation.snapshot, observation.translated, distances)


def support_of(
    snapshot: Snapshot, translated: TranslatedPairs, distances: Mapping[Pair, Tensor]
) -> Findings:
    """The same of any vectors in the place of ``T f`` and its equivalents.

    Args:
        snapshot: N real images.
        translated: the vectors.
        distances: IS of both equivalents, degrees, each (N,).
    """
    embeddings = {
        _REAL: snapshot.known_embeddings.to(translated.original),
        _TRANSLATED: translated.original,
        **{pair.suffix: vectors for pair, vectors in translated.equivalents.items()},
    }
    unknown = torch.full((len(snapshot),), math.nan, dtype=torch.float64)
    columns = {column.name: unknown.clone() for column in columns_of(_OF_IMAGES)}
    dimensions = []
    for fold in (0, 1):
        whitening = whitened_by_the_others(embeddings[_REAL], snapshot.folds, fold)
        if whitening is None:
            continue
        own = (snapshot.folds == fold).nonzero().flatten()
        dimensions.append(whitening.directions.shape[1])
        apart = translated.apart[fold] if translated.apart else None
        for name, values in _of_images(embeddings, distances, own, whitening, apart):
            columns[name][own] = values
    scalars = {name: float(values.mean()) for name, values in columns.items()}
    scalars["dimensions"] = sum(dimensions) / len(dimensions) if dimensions else math.nan
    return Findings(
        {f"support/{name}": value for name, value in scalars.items()}, _tables(snapshot, columns)
    )


def _of_images(
    embeddings: Mapping[str, Tensor],
    distances: Mapping[Pair, Tensor],
    own: Tensor,
    whitening: Whitening,
    apart: Tensor | None,
) -> Iterator[tuple[str, Tensor]]:
    """Everything that is said of single images, of those that are meant, by name."""
    norms, angles = {}, {}
    for suffix, vectors in embeddings.items():
        rows = vectors.index_select(0, own)
        if suffix == CENTERED.suffix and apart is not None:
            # The two equivalents differ by one vector, so one product serves both.
            places = whitening.coordinates(rows)
            norms[suffix] = torch.linalg.vector_norm(places, dim=1)
            places -= apart @ whitening.directions
            norms[PLAIN.suffix] = torch.linalg.vector_norm(places, dim=1)
        elif suffix != PLAIN.suffix or apart is None:
            norms[suffix] = whitening.norm(rows)
        cosines = text_cosines(rows, whitening.mean[None])[:, 0].double()
        angles[suffix] = to_degrees(cosines)
        yield f"conformity{suffix}", cosines
    for suffix in _KINDS:
        place = percentiles(norms[suffix], norms[_REAL])
        yield f"percentile{suffix}", place
        yield f"outside{suffix}", (place > OUTSIDE).double().where(~place.isnan(), math.nan)
    for pair, distance in distances.items():
        parts = split_movement(angles[_TRANSLATED], angles[pair.suffix], distance[own])
        yield from zip((pair.named("radial"), pair.named("rotation")), parts, strict=True)


def _tables(snapshot: Snapshot, columns: Mapping[str, Tensor]) -> dict[str, DataFrame]:
    from pandas import DataFrame

    labels, classes = snapshot.labels, range(len(snapshot.class_names))
    means = known_means(torch.stack(list(columns.values()), dim=1), labels, len(classes))
    of_classes = {
        "class_index": classes,
        "class_name": list(snapshot.class_names),
        "n": labels.bincount(minlength=len(classes)).numpy(),
        **dict(zip(columns, means.T.numpy(), strict=True)),
    }
    of_images = {
        "image": hex_ids(snapshot.ids),
        "label": labels.numpy(),
        **{name: values.numpy() for name, values in columns.items()},
    }
    return {"support": DataFrame(of_images), "class_support": DataFrame(of_classes)}


ANALYSIS = Analysis(
    "support",
    analyze_support,
    SUPPORT_METRICS,
    (SUPPORT_TABLE, CLASS_SUPPORT),
    needs=frozenset({"labels", "embeddings"}),
)
