"""Ranks of features about their mean: effective rank, and principal components that are needed."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import linear

from sing_monitor.row_blocks import gram, is_finite

# Sums in double precision err by so many roundings.
_ROUNDINGS = 16
_EPS = torch.finfo(torch.float64).eps
# Components whose scores are worked out at a time; a head rarely needs more than it has classes.
_AT_A_TIME = 32


def effective_rank(features: Tensor | ArrayLike) -> float:
    """Effective rank ``exp(-sum p log p)``, p the normalized singular values of ``f - mu``.

    The entropy of singular values as in Roy and Vetterli 2007 and RankMe (Garrido et al., ICML
    2023, eq. 1), here of features about their mean, and without RankMe's 1e-7.

    Args:
        features: (N, m), of any floating dtype.

    Returns:
        1 to min(N - 1, m); NaN where the features do not vary.

    Raises:
        ValueError: if features are no floating-point matrix, or hold NaN or infinite values.

    Example::

        >>> effective_rank(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
        2.0
    """
    return rank_of(principal_variances(torch.as_tensor(features).detach()))


def pca_dimension(features: Tensor | ArrayLike, share: float = 0.95) -> int:
    """Fewest principal components that hold a share of the variance.

    The PCA dimension of Feng et al. (Rank Diminishing, NeurIPS 2022).

    Args:
        features: (N, m), of any floating dtype.
        share: above 0, at most 1.

    Returns:
        1 to min(N - 1, m); 0 where the features do not vary.

    Raises:
        ValueError: for another share; and if features are no floating-point matrix, or hold NaN or
            infinite values.

    Example::

        >>> features = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        >>> pca_dimension(features, 0.9), pca_dimension(features)
        (1, 2)
    """
    return dimension_of(principal_variances(torch.as_tensor(features).detach()), share)


class PrincipalComponents(NamedTuple):
    """Features about their mean, ``X = U S V'``, and the directions in which they vary.

    Args:
        away: X, (N, m) float64.
        variances: squares of the singular values above rounding, (R,), the largest first.
        vectors: columns of U, (N, R), where N is at most m; else those of V, (m, R).
    """

    away: Tensor
    variances: Tensor
    vectors: Tensor


def principal_components(features: Tensor) -> PrincipalComponents:
    """The directions in which features (N, m) vary, by the smaller of ``X X'`` and ``X' X``.

    Raises:
        ValueError: as :func:`effective_rank` does.
    """
    away = _about_mean(features)
    values, vectors = torch.linalg.eigh(_smaller_gram(away))
    values, vectors = values.flip(0), vectors.flip(1)
    varies = values > _rounding(features, values)
    return PrincipalComponents(away, values[varies], vectors[:, varies])


def principal_variances(features: Tensor) -> Tensor:
    """The variances of :func:`principal_components` alone, in half of the time."""
    values = torch.linalg.eigvalsh(_smaller_gram(_about_mean(features))).flip(0)
    return values[values > _rounding(features, values)]


def rank_of(variances: Tensor) -> float:
    """Effective rank of principal variances; NaN without any."""
    if not len(variances):
        return math.nan
    singular_values = variances.sqrt()
    p = singular_values / singular_values.sum()
    return float(torch.special.entr(p).sum().exp())


def dimension_of(variances: Tensor, share: float) -> int:
    """Fewest of the principal variances, the largest first, that add up to the share of all.

    Raises:
        ValueError: if the share is not above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share={share}: expected a share of the variance, above 0 to 1.")
    if not len(variances):
        return 0
    sums = variances.cumsum(dim=0)
    wanted = share * (1 - _ROUNDINGS * _EPS) * sums[-1]
    return int((sums < wanted).sum()) + 1


def classification_dimension(
    components: PrincipalComponents, weight: Tensor, at_mean: Tensor, labels: Tensor, fewest: int
) -> int:
    """Fewest principal components on which a head answers so many images right.

    Features are projected onto their first k principal components about their mean, and the head
    answers, k = 0, 1, 2, ... (classification dimension, Feng et al., NeurIPS 2022).

    Args:
        components: of N features.
        weight: of the head, (C, m).
        at_mean: the head's logits at the mean of the features, (C,).
        labels: true classes, (N,).
        fewest: how many images must be right.

    Returns:
        0 (the mean alone answers as well) to R, the directions in which features vary.
    """
    away, vectors, weight = components.away, components.vectors, weight.double()
    is_tall = len(away) > away.shape[1]
    logits = at_mean.double().repeat(len(away), 1)
    for start in range(0, vectors.shape[1], _AT_A_TIME):
        some = vectors[:, start : start + _AT_A_TIME]
        # The first k components of X are U_k U_k' X, and X V_k V_k'.
        scores = away @ some if is_tall else some
        answers = some.T @ weight.T if is_tall else linear(some.T @ away, weight)
        for k, answer in enumerate(answers):
            if int((logits.argmax(dim=1) == labels).sum()) >= fewest:
                return start + k
            logits.addr_(scores[:, k], answer)
    return vectors.shape[1]


def _about_mean(features: Tensor) -> Tensor:
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(
            "features must be (N, m) floating point, one row an image; got "
            f"{tuple(features.shape)} {features.dtype}."
        )
    if not is_finite(features):
        raise ValueError(
            "features hold NaN or infinite values, and no directions follow from them; leave those "
            "images out."
        )
    away = features.to(torch.float64, copy=True)
    return away.sub_(away.mean(dim=0)) if len(features) else away


def _smaller_gram(away: Tensor) -> Tensor:
    """``X X'`` or ``X' X``, whichever is smaller."""
    return gram(away.T if len(away) <= away.shape[1] else away)


def _rounding(features: Tensor, values: Tensor) -> float:
    """Below this an eigenvalue is rounding: of the Gram matrix, or of the mean taken off."""
    if not features.numel():
        return 0.0
    of_the_mean = features.numel() * (_EPS * float(features.abs().max())) ** 2
    return _ROUNDINGS * max(len(values) * _EPS * float(values[0]), of_the_mean)
