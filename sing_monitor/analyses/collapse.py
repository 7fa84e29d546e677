"""Neural collapse (Papyan, Han, Donoho 2020), and how much of the class means the head misses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.analyses.analysis import Analysis
from sing_monitor.findings import Findings, MetricGroup, MetricSpec
from sing_monitor.head.feature_split import split_energy
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import (
    all_blocks,
    deviations,
    energy,
    gram,
    squared_norms,
    times_lower,
    working,
)
from sing_monitor.scores.derived import ratio
from sing_monitor.snapshot import Snapshot

_SOURCE = "Papyan, Han, Donoho 2020"
# Smallest over largest entry on the diagonal of a Cholesky factor from which it is divided by.
_WELL_CONDITIONED = 1e-2
# Relative rounding of a mean over thousands of numbers, in double precision.
_SUM_ROUNDING = 1e-12

_TWO_CLASSES = "NaN for two classes, whose means lie opposite each other whatever the features do."

COLLAPSE = MetricGroup("collapse", "Neural collapse")

COLLAPSE_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "collapse/nc1",
        "NC1 within over between",
        "ratio",
        "lower",
        "tr(Sigma_W Sigma_B^+) / C",
        _SOURCE,
        "Spread inside the classes over spread between them. Falls to 0 as features collapse. NaN "
        "where no class has two images.",
        group=COLLAPSE,
    ),
    MetricSpec(
        "collapse/nc2_equinorm",
        "NC2 equal norms",
        "ratio",
        "lower",
        "std / mean over classes of |u_c - mean u|",
        _SOURCE,
        f"0: all class means are equally far from their center. {_TWO_CLASSES}",
        group=COLLAPSE,
    ),
    MetricSpec(
        "collapse/nc2_equiangle",
        "NC2 equal angles",
        "cosine",
        "lower",
        "mean over pairs of |cos(u_c - mean u, u_d - mean u) + 1/(C-1)|",
        _SOURCE,
        "0: the class means are as far apart as they can be, all at the same angle. "
        f"{_TWO_CLASSES}",
        group=COLLAPSE,
    ),
    MetricSpec(
        "collapse/nc3",
        "NC3 head against means",
        "1",
        "lower",
        "|W/|W|_F - M/|M|_F|_F^2, M the centered class means",
        _SOURCE,
        "0: the head's rows point at the class means. At most 4.",
        group=COLLAPSE,
    ),
    MetricSpec(
        "collapse/nc4",
        "NC4 nearest mean disagrees",
        "share",
        "lower",
        "share of images whose nearest class mean is not the predicted class",
        _SOURCE,
        "0: the head decides like the nearest class mean. NaN where no class has two images: each "
        "would be its own mean.",
        group=COLLAPSE,
    ),
    MetricSpec(
        "collapse/null_share_between",
        "Null share between classes",
        "share",
        "lower",
        "tr(P_n Sigma_B) / tr(Sigma_B)",
        "ours",
        "Share of what tells the classes apart that the head cannot see.",
        group=COLLAPSE,
    ),
    MetricSpec(
        "collapse/null_share_within",
        "Null share within classes",
        "share",
        "none",
        "tr(P_n Sigma_W) / tr(Sigma_W)",
        "ours",
        "Share of the variation inside the classes that the head cannot see. NaN where there is "
        "none, as with one image a class.",
        group=COLLAPSE,
    ),
)


def analyze_collapse(observation: Observation) -> Findings:
    """Neural collapse of the probe's features, and the null share of class means.

    Class means u_c are taken over the classes present, unweighted; Sigma_B is the covariance of
    the means, Sigma_W the mean over images of the deviation from the own class's mean.

    Returns:
        Scalars ``collapse/*``; NaN where fewer than two classes are present or the means coincide,
        and those that need more (three classes, two images of a class) where it is missing.
    """
    snapshot = observation.snapshot
    undefined = dict.fromkeys((spec.key for spec in COLLAPSE_METRICS), math.nan)
    present, labels = snapshot.labels.unique(return_inverse=True)
    means = _group_means(snapshot.features, labels, len(present))
    center = means.mean(dim=0)
    centered = means - center
    # Means that coincide differ by their rounding.
    if not centered.norm() > _SUM_ROUNDING * means.norm():
        return Findings(undefined)
    # The products of many more class means than features would take more memory than the features.
    products = gram(centered.T) if len(centered) <= centered.shape[1] else None
    energies = squared_norms(centered)
    span = _Span.of(centered, products, working(snapshot.features[:0]).dtype)
    spread = span.spread(snapshot.features, centered, center, labels)
    seen_means = _group_means(snapshot.seen, labels, len(present))
    invisible, _ = split_energy(
        means, energies, seen_means, snapshot.geometry, snapshot.center, about=center
    )
    found = {
        "collapse/nc3": _self_duality(snapshot.weight[present].double(), centered),
        "collapse/null_share_between": ratio(float(invisible.sum()), float(energies.sum())),
    }
    if len(present) > 2:
        norms = energies.sqrt()
        found["collapse/nc2_equinorm"] = _equinorm(norms)
        found["collapse/nc2_equiangle"] = _equiangle(centered, norms, products)
    if len(present) < len(labels):
        disagrees = present[spread.nearest] != snapshot.predictions
        found["collapse/nc1"] = spread.over_between
        found["collapse/nc4"] = float(disagrees.double().mean())
        # Images that are equal lie as far from their mean as it was rounded.
        rounding = _rounding(spread.energy, means, energies, labels, snapshot.features)
        if spread.energy > rounding:
            found["collapse/null_share_within"] = _null_share_within(
                snapshot, labels, seen_means, spread.energy
            )
    return Findings({**undefined, **found})


@dataclass(frozen=True)
class _Spread:
    """How features lie about the class means.

    Args:
        over_between: ``tr(Sigma_W Sigma_B^+) / C``.
        energy: ``N tr(Sigma_W)``.
        nearest: the class whose mean is nearest to each feature, (N,).
    """

    over_between: float
    energy: float
    nearest: Tensor


@dataclass(frozen=True)
class _Span:
    """The directions that the centered class means M, (C, m), span; k = min(C, m) of them.

    Args:
        directions: R, (m, k), with ``R Z Z' R' = (M' M)^+``. Since ``Sigma_B = M' M / C``, NC1 is
            the mean of ``|Z' R' (f - u_c)|^2``.
        places: of the means along them, (C, k): ``M R``, but for what Q takes to 0.
        scales: Z, (k, k), lower triangular; None: I.
        products: Q, (C, k), with ``R Q' = M'``; None: I.
    """

    directions: Tensor
    places: Tensor
    scales: Tensor | None = None
    products: Tensor | None = None

    @classmethod
    def of(cls, centered: Tensor, products: Tensor | None, kind: torch.dtype) -> _Span:
        """From M and, unless there are more classes than features, ``M M'``.

        Well-conditioned products are worked out in the precision of the features.
        """
        if products is not None and (inverse := _inverse(products)) is not None:
            # (M' M)^+ = M' H H M with H the inverse of M M': the means are the directions, and the
            # triangle of H has its lengths.
            triangle = torch.linalg.qr(inverse.to(kind), mode="r").R
            return cls(centered.T, products, triangle.T.contiguous())
        scatter = gram(centered) if products is None else products
        eigenvalues, vectors = torch.linalg.eigh(scatter)
        keep = eigenvalues > eigenvalues[-1] * len(centered) * torch.finfo(eigenvalues.dtype).eps
        # What does not vary stays in as zeros: products of 999 columns take longer than of 1,000.
        vectors, variances = vectors * keep, eigenvalues.where(keep, 1)
        if products is None:
            places, roots = centered @ vectors, variances.sqrt()
            return cls(vectors / roots, places / roots, products=places * roots)
        directions = centered.T @ (vectors / variances)
        return cls(directions, vectors, products=vectors * variances)

    def spread(self, features: Tensor, centered: Tensor, center: Tensor, labels: Tensor) -> _Spread:
        """What one pass over the features tells.

        Each feature is taken from its own class's mean before it is multiplied: where features
        have collapsed, that is little against the means, and would drown in their rounding.
        """
        kind = working(features[:0])
        centered, directions, places = (
            x.to(kind) for x in (centered, self.directions, self.places)
        )
        products = None if self.products is None else self.products.T.to(kind)
        lengths = centered.square().sum(dim=1)
        within, nearest, total = 0.0, torch.empty_like(labels), 0.0
        for rows in all_blocks(features):
            own = labels[rows]
            away = deviations(features[rows], center).sub_(centered.index_select(0, own))
            total += energy(away)
            away = away @ directions
            within += energy(away if self.scales is None else times_lower(away, self.scales))
            away += places.index_select(0, own)
            if products is None:
                distances = torch.sub(lengths, away, alpha=2)
            else:
                distances = torch.addmm(lengths, away, products, alpha=-2)
            nearest[rows] = distances.argmin(dim=1)
        return _Spread(within / len(labels), total, nearest)


def _inverse(products: Tensor) -> Tensor | None:
    """Inverse of ``M M'`` on what it spans, in a third of the time of its eigenvectors.

    It differs from the pseudo-inverse by a multiple of ``1 1'``, which M' takes to 0. None unless
    that one direction, along which centered means never vary, is the only one.
    """
    shifted = products + products.trace() / len(products) ** 2
    factor, failed = torch.linalg.cholesky_ex(shifted)
    diagonal = factor.diagonal()
    if failed or not diagonal.min() > _WELL_CONDITIONED * diagonal.max():
        return None
    return torch.cholesky_inverse(factor)


def _rounding(
    within: float, means: Tensor, energies: Tensor, labels: Tensor, features: Tensor
) -> float:
    """What ``N tr(Sigma_W)`` may come to by rounding alone.

    Args:
        within: ``N tr(Sigma_W)`` as it was worked out.
        means: of the classes, (C, m).
        energies: ``|u_c - mean u|^2``, (C,).
        labels: which of the classes an image is of, (N,).
        features: (N, m).
    """
    sizes = labels.bincount(minlength=len(means))
    deviating = within + float((sizes * energies).sum())
    eps = torch.finfo(working(features[:0]).dtype).eps
    return eps**2 * deviating + _SUM_ROUNDING**2 * float((sizes * squared_norms(means)).sum())


def _null_share_within(
    snapshot: Snapshot, labels: Tensor, seen_means: Tensor, whole: float
) -> float:
    """``tr(P_n Sigma_W) / tr(Sigma_W)``, from what the head sees of images and class means."""
    if snapshot.geometry.null_dim == 0:
        return 0.0
    seen_means = seen_means.to(snapshot.seen)
    visible = sum(
        energy(snapshot.seen[rows] - seen_means.index_select(0, labels[rows]))
        for rows in all_blocks(labels)
    )
    return ratio(max(whole - visible, 0.0), whole)


def _group_means(features: Tensor, groups: Tensor, count: int) -> Tensor:
    """Means of (N, m) features by group, (count, m) float64; every group has members."""
    sums = features.new_zeros(count, features.shape[1], dtype=torch.float64)
    for rows in all_blocks(features):
        sums.index_add_(0, groups[rows], features[rows].double())
    return sums / groups.bincount(minlength=count)[:, None]


def _equinorm(norms: Tensor) -> float:
    return float(norms.std(correction=0) / norms.mean())


def _equiangle(centered: Tensor, norms: Tensor, products: Tensor | None) -> float:
    classes, total = len(centered), 0.0
    # A class at the very center has no direction; its rounding is not to pass for one.
    norms = norms.clamp(min=_SUM_ROUNDING * float(norms.max()))
    for rows in all_blocks(centered):
        among = centered[rows] @ centered.T if products is None else products[rows]
        distances = (among / norms[rows, None] / norms + 1 / (classes - 1)).abs_()
        # A class makes no pair with itself.
        distances.diagonal(rows.start).zero_()
        total += float(distances.sum())
    return total / (classes * (classes - 1))


def _self_duality(weight: Tensor, centered: Tensor) -> float:
    lengths = torch.linalg.matrix_norm(weight) * torch.linalg.matrix_norm(centered)
    # A head or means of zeros have no direction: 0 / 0 is NaN, as it should be.
    products = torch.dot(weight.flatten(), centered.flatten())
    return float((2 - 2 * products / lengths).clamp(min=0))


ANALYSIS = Analysis("collapse", analyze_collapse, COLLAPSE_METRICS, needs=frozenset({"labels"}))
