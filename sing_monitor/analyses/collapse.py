"""Neural collapse (Papyan, Han, Donoho 2020), and how much of the class means the head misses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sing_monitor.blocks import all_rows, deviations, energy, row_blocks, working
from sing_monitor.findings import Findings, MetricSpec
from sing_monitor.geometry import coordinates, split_energy
from sing_monitor.snapshot import Snapshot

_SOURCE = "Papyan, Han, Donoho 2020"

COLLAPSE_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "collapse/nc1",
        "NC1 within over between",
        "ratio",
        "lower",
        "tr(Sigma_W Sigma_B^+) / C",
        _SOURCE,
        "Spread inside the classes over spread between them. Falls to 0 as features collapse.",
    ),
    MetricSpec(
        "collapse/nc2_equinorm",
        "NC2 equal norms",
        "ratio",
        "lower",
        "std / mean over classes of |u_c - mean u|",
        _SOURCE,
        "0: all class means are equally far from their centre.",
    ),
    MetricSpec(
        "collapse/nc2_equiangle",
        "NC2 equal angles",
        "cosine",
        "lower",
        "mean over pairs of |cos(u_c - mean u, u_d - mean u) + 1/(C-1)|",
        _SOURCE,
        "0: the class means are as far apart as they can be, all at the same angle.",
    ),
    MetricSpec(
        "collapse/nc3",
        "NC3 head against means",
        "1",
        "lower",
        "|W/|W|_F - M/|M|_F|_F^2, M the centred class means",
        _SOURCE,
        "0: the head's rows point at the class means. At most 4.",
    ),
    MetricSpec(
        "collapse/nc4",
        "NC4 nearest mean disagrees",
        "share",
        "lower",
        "share of images whose nearest class mean is not the predicted class",
        _SOURCE,
        "0: the head decides like the nearest class mean.",
    ),
    MetricSpec(
        "collapse/null_share_between",
        "Null share between classes",
        "share",
        "lower",
        "tr(P_n Sigma_B) / tr(Sigma_B)",
        "ours",
        "Share of what tells the classes apart that the head cannot see.",
    ),
    MetricSpec(
        "collapse/null_share_within",
        "Null share within classes",
        "share",
        "none",
        "tr(P_n Sigma_W) / tr(Sigma_W)",
        "ours",
        "Share of the variation inside the classes that the head cannot see.",
    ),
)


def analyze_collapse(snapshot: Snapshot) -> Findings:
    """Neural collapse of the probe's features, and the null share of class means.

    Class means u_c are taken over the classes present, unweighted; Sigma_B is the covariance of
    the means, Sigma_W the mean over images of the deviation from the own class's mean.

    Args:
        snapshot: features (N, m), labels (N,) and the head's weight (C, m).

    Returns:
        Scalars ``collapse/*``; NaN where fewer than two classes are present or the means coincide.
    """
    undefined = dict.fromkeys((spec.key for spec in COLLAPSE_METRICS), math.nan)
    present, labels = snapshot.labels.unique(return_inverse=True)
    means = _group_means(snapshot.features, labels, len(present))
    center = means.mean(dim=0)
    centred = means - center
    # Means that coincide differ by their rounding.
    if not centred.norm() > 1e-12 * means.norm():
        return Findings(undefined)
    nc1, nearest = _Span.of(centred).spread(snapshot.features, center, labels)
    seen_means = coordinates(means, snapshot.geometry, center)
    invisible, _ = split_energy(means, seen_means, snapshot.geometry, center)
    # About the mean feature, as what the head sees of images is.
    seen_means += (center - snapshot.center) @ snapshot.geometry.row_basis
    scalars = {
        "collapse/nc1": nc1,
        "collapse/nc2_equinorm": _equinorm(centred),
        "collapse/nc2_equiangle": _equiangle(centred),
        "collapse/nc3": _self_duality(snapshot.weight.double()[present], centred),
        "collapse/nc4": float((present[nearest] != snapshot.predictions).double().mean()),
        "collapse/null_share_between": _share(float(invisible.sum()), energy(centred)),
        "collapse/null_share_within": _null_share_within(snapshot, labels, means, seen_means),
    }
    return Findings(scalars)


@dataclass(frozen=True)
class _Span:
    """The directions that the centred class means M span.

    With ``M M' / C = U L U'`` these are the columns of ``R = M' U (C L)^-1/2``; with more classes
    than features they come from ``M' M / C = R L R'``.

    Args:
        directions: R, (m, k).
        means: ``M R``, (C, k).
        variances: L, the eigenvalues of Sigma_B, (k,).
    """

    directions: Tensor
    means: Tensor
    variances: Tensor

    @classmethod
    def of(cls, centred: Tensor) -> _Span:
        classes = len(centred)
        is_wide = classes <= centred.shape[1]
        gram = centred @ centred.T if is_wide else centred.T @ centred
        eigenvalues, vectors = torch.linalg.eigh(gram / classes)
        keep = eigenvalues > eigenvalues[-1] * classes * torch.finfo(eigenvalues.dtype).eps
        vectors, scale = vectors[:, keep], (classes * eigenvalues[keep]).sqrt()
        places = vectors * scale if is_wide else centred @ vectors
        directions = centred.T @ (vectors / scale) if is_wide else vectors
        return cls(directions, places, eigenvalues[keep])

    def spread(self, features: Tensor, center: Tensor, labels: Tensor) -> tuple[float, Tensor]:
        """``tr(Sigma_W Sigma_B^+) / C``, and which class mean is nearest to each feature, (N,).

        The trace, by direction, is variance within over variance between.
        """
        directions, means = self.directions.to(working(features)), self.means.to(working(features))
        lengths = means.square().sum(dim=1)
        within, nearest = torch.zeros_like(self.variances), torch.empty_like(labels)
        for rows in row_blocks(all_rows(features)):
            places = deviations(features[rows], center) @ directions
            within += (places - means[labels[rows]]).square().sum(dim=0, dtype=torch.float64)
            nearest[rows] = (lengths - 2 * places @ means.T).argmin(dim=1)
        return float((within / self.variances).sum() / len(labels) / len(means)), nearest


def _null_share_within(
    snapshot: Snapshot, labels: Tensor, means: Tensor, seen_means: Tensor
) -> float:
    """``tr(P_n Sigma_W) / tr(Sigma_W)``, from what the head sees of images and class means."""
    if snapshot.geometry.null_dim == 0:
        return 0.0
    seen_means = seen_means.to(snapshot.seen)
    whole = visible = 0.0
    for rows in row_blocks(all_rows(labels)):
        own = labels[rows]
        whole += energy(snapshot.features[rows].double() - means[own])
        visible += energy(snapshot.seen[rows] - seen_means[own])
    return _share(max(whole - visible, 0.0), whole)


def _group_means(features: Tensor, groups: Tensor, count: int) -> Tensor:
    """Means of (N, m) features by group, (count, m) float64; every group has members."""
    sums = features.new_zeros(count, features.shape[1], dtype=torch.float64)
    for rows in row_blocks(all_rows(features)):
        sums.index_add_(0, groups[rows], features[rows].double())
    return sums / groups.bincount(minlength=count)[:, None]


def _equinorm(centred: Tensor) -> float:
    norms = torch.linalg.vector_norm(centred, dim=1)
    return float(norms.std(correction=0) / norms.mean())


def _equiangle(centred: Tensor) -> float:
    classes = len(centred)
    directions = normalize(centred, dim=1)
    total = 0.0
    for rows in row_blocks(torch.arange(classes)):
        distances = (directions[rows] @ directions.T + 1 / (classes - 1)).abs_()
        # A class makes no pair with itself.
        distances[torch.arange(len(rows)), rows] = 0
        total += float(distances.sum())
    return total / (classes * (classes - 1))


def _self_duality(weight: Tensor, centred: Tensor) -> float:
    lengths = torch.linalg.matrix_norm(weight) * torch.linalg.matrix_norm(centred)
    # A head or means of zeros have no direction: 0 / 0 is NaN, as it should be.
    return float((2 - 2 * (weight * centred).sum() / lengths).clamp(min=0))


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
