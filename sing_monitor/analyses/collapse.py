"""Neural collapse (Papyan, Han, Donoho 2020), and how much of the class means the head misses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sing_monitor.blocks import deviations, energy, row_blocks, working
from sing_monitor.findings import Findings, MetricSpec
from sing_monitor.geometry import coordinates, null_energy
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
    spread = _Spread.of(snapshot.features, centred, center)
    nearest = present[spread.nearest(centred)]
    seen_means = coordinates(means, snapshot.geometry, center)
    invisible = null_energy(means, seen_means, snapshot.geometry, center)
    # About the mean feature, as what the head sees of images is.
    seen_means += (center - snapshot.center) @ snapshot.geometry.row_basis
    scalars = {
        "collapse/nc1": spread.within_over_between(labels),
        "collapse/nc2_equinorm": _equinorm(centred),
        "collapse/nc2_equiangle": _equiangle(centred),
        "collapse/nc3": _self_duality(snapshot.weight.double()[present], centred),
        "collapse/nc4": float((nearest != snapshot.predictions).double().mean()),
        "collapse/null_share_between": _share(float(invisible.sum()), energy(centred)),
        "collapse/null_share_within": _null_share_within(snapshot, labels, means, seen_means),
    }
    return Findings(scalars)


@dataclass(frozen=True)
class _Spread:
    """Features in the directions that the class means span.

    With ``M M' / C = U L U'``, M the centred class means, these directions are the columns of
    ``R = M' U (C L)^-1/2``; with more classes than features they come from ``M' M / C = R L R'``.

    Args:
        features: ``(f - center) R``, (N, k).
        means: ``M R``, (C, k).
        variances: L, the eigenvalues of Sigma_B, (k,).
    """

    features: Tensor
    means: Tensor
    variances: Tensor

    @classmethod
    def of(cls, features: Tensor, centred: Tensor, center: Tensor) -> _Spread:
        classes = len(centred)
        is_wide = classes <= centred.shape[1]
        gram = centred @ centred.T if is_wide else centred.T @ centred
        eigenvalues, vectors = torch.linalg.eigh(gram / classes)
        keep = eigenvalues > eigenvalues[-1] * classes * torch.finfo(eigenvalues.dtype).eps
        vectors, scale = vectors[:, keep], (classes * eigenvalues[keep]).sqrt()
        places = vectors * scale if is_wide else centred @ vectors
        directions = centred.T @ (vectors / scale) if is_wide else vectors
        blocks = row_blocks(torch.arange(len(features)))
        directions = directions.to(working(features))
        projected = [deviations(features[rows], center) @ directions for rows in blocks]
        return cls(torch.cat(projected), places.to(directions), eigenvalues[keep])

    def within_over_between(self, labels: Tensor) -> float:
        """``tr(Sigma_W Sigma_B^+) / C``: by direction, variance within over variance between."""
        within = (self.features - self.means[labels]).square().sum(dim=0, dtype=torch.float64)
        return float((within / self.variances).sum() / len(labels) / len(self.means))

    def nearest(self, centred: Tensor) -> Tensor:
        """Which class mean is nearest to each feature, (N,)."""
        lengths = centred.square().sum(dim=1).to(self.means)
        blocks = row_blocks(torch.arange(len(self.features)))
        return torch.cat(
            [(lengths - 2 * self.features[rows] @ self.means.T).argmin(dim=1) for rows in blocks]
        )


def _null_share_within(
    snapshot: Snapshot, labels: Tensor, means: Tensor, seen_means: Tensor
) -> float:
    """``tr(P_n Sigma_W) / tr(Sigma_W)``, from what the head sees of images and class means."""
    if snapshot.geometry.null_dim == 0:
        return 0.0
    seen_means = seen_means.to(snapshot.seen)
    whole = visible = 0.0
    for rows in row_blocks(torch.arange(len(labels))):
        own = labels[rows]
        whole += energy(snapshot.features[rows].double() - means[own])
        visible += energy(snapshot.seen[rows] - seen_means[own])
    return _share(max(whole - visible, 0.0), whole)


def _group_means(features: Tensor, groups: Tensor, count: int) -> Tensor:
    """Means of (N, m) features by group, (count, m) float64; every group has members."""
    sums = features.new_zeros(count, features.shape[1], dtype=torch.float64)
    for rows in row_blocks(torch.arange(len(features))):
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
    # A head or means of zeros have no direction: 0 / 0 is NaN, as it should be.
    distance = weight / torch.linalg.matrix_norm(weight) - centred / torch.linalg.matrix_norm(
        centred
    )
    return float(distance.square().sum())


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
