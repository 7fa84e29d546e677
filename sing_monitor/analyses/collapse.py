"""Neural collapse (Papyan, Han, Donoho 2020), and how much of the class means the head misses."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sing_monitor.findings import Findings, MetricSpec
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
    features = snapshot.features.double()
    undefined = dict.fromkeys((spec.key for spec in COLLAPSE_METRICS), math.nan)
    present, labels = snapshot.labels.unique(return_inverse=True)
    counts = labels.bincount(minlength=len(present)).double()
    sums = features.new_zeros(len(present), features.shape[1]).index_add(0, labels, features)
    means = sums / counts[:, None]
    center = means.mean(dim=0)
    centred = means - center
    # Means that coincide differ by their rounding.
    if not centred.norm() > 1e-12 * means.norm():
        return Findings(undefined)
    deviations = features - means[labels]
    nearest = present[_nearest(features - center, centred)]
    geometry = snapshot.geometry
    scalars = {
        "collapse/nc1": _within_over_between(deviations, centred),
        "collapse/nc2_equinorm": _equinorm(centred),
        "collapse/nc2_equiangle": _equiangle(centred),
        "collapse/nc3": _self_duality(snapshot.weight.double()[present], centred),
        "collapse/nc4": float((nearest != snapshot.predictions).double().mean()),
        "collapse/null_share_between": _share(geometry.null(centred), centred),
        "collapse/null_share_within": _share(geometry.null(deviations), deviations),
    }
    return Findings(scalars)


def _within_over_between(deviations: Tensor, centred: Tensor) -> float:
    """``tr(Sigma_W Sigma_B^+) / C`` through the C x C Gram matrix of the centred means.

    With ``M M' / C = U L U'`` the pseudo-inverse is ``Sigma_B^+ = M' U L^-2 U' M / C``.
    """
    classes = len(centred)
    eigenvalues, vectors = torch.linalg.eigh(centred @ centred.T / classes)
    keep = eigenvalues > eigenvalues[-1] * classes * torch.finfo(eigenvalues.dtype).eps
    whitening = vectors[:, keep] / eigenvalues[keep]
    coordinates = (deviations @ centred.T) @ whitening / math.sqrt(classes)
    return float(coordinates.square().sum() / len(deviations) / classes)


def _equinorm(centred: Tensor) -> float:
    norms = torch.linalg.vector_norm(centred, dim=1)
    return float(norms.std(correction=0) / norms.mean())


def _equiangle(centred: Tensor) -> float:
    classes = len(centred)
    directions = normalize(centred, dim=1)
    cosines = directions @ directions.T
    pairs = cosines[*torch.triu_indices(classes, classes, offset=1)]
    return float((pairs + 1 / max(classes - 1, 1)).abs().mean())


def _self_duality(weight: Tensor, centred: Tensor) -> float:
    # A head or means of zeros have no direction: 0 / 0 is NaN, as it should be.
    distance = weight / torch.linalg.matrix_norm(weight) - centred / torch.linalg.matrix_norm(
        centred
    )
    return float(distance.square().sum())


def _nearest(features: Tensor, means: Tensor) -> Tensor:
    return (means.square().sum(dim=1) - 2 * features @ means.T).argmin(dim=1)


def _share(part: Tensor, whole: Tensor) -> float:
    total = float(whole.square().sum())
    return float(part.square().sum()) / total if total > 0 else math.nan
