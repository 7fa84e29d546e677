"""Confusions of the classes: how often the model takes one for the other."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sing_monitor.analyses.hierarchy.matrices import Floats, Integers, Matrix, as_matrix


def confusion_similarity(counts: Matrix) -> Tensor:
    """Share of images of two classes that are taken for the other one.

    Rows are divided by their sums, ``R = M / sum over columns``, then ``(R + R') / 2``, with 1 on
    the diagonal (Filus et al., arXiv 2504.09956). Of two classes of which one alone has images,
    the share of its images counts: the other row is not known, and not 0.

    Args:
        counts: images of class a that are predicted as class b, (C, C); numbers or weights, 0 or
            more.

    Returns:
        (C, C) float64, symmetric, 0 to 1; NaN where neither class has images.

    Raises:
        ValueError: if counts are no square matrix, or some of them are negative or NaN.

    Example::

        >>> confusion_similarity([[3, 1], [0, 4]]).tolist()
        [[1.0, 0.125], [0.125, 1.0]]
        >>> confusion_similarity([[3, 1], [0, 0]]).tolist()
        [[1.0, 0.25], [0.25, 1.0]]
    """
    matrix = as_matrix("counts", counts)
    if not (matrix >= 0).all():
        raise ValueError(
            "counts must be 0 or more: numbers of images of class a that are predicted as class b."
        )
    totals = matrix.sum(axis=1)
    shares = np.divide(matrix, totals[:, None], where=totals[:, None] > 0, out=matrix * 0)
    has_images = (totals > 0).astype(float)
    known = has_images[:, None] + has_images
    similarity = np.full_like(matrix, np.nan)
    np.divide(shares + shares.T, known, where=known > 0, out=similarity)
    np.fill_diagonal(similarity, 1.0)
    return torch.from_numpy(similarity)


def confusion_counts(labels: Tensor, predictions: Tensor, classes: int) -> Integers:
    """Images of class a that are predicted as class b, (C, C) int64.

    Args:
        labels: true classes, (N,).
        predictions: (N,).
        classes: C.
    """
    cells = labels * classes + predictions
    counts: Integers = cells.bincount(minlength=classes * classes).numpy()
    return counts.reshape(classes, classes)


def errors_of(counts: Integers) -> Floats:
    """Share of each class's images that are misclassified, (C,); NaN for a class without images."""
    totals = counts.sum(axis=1)
    wrong = (totals - counts.diagonal()).astype(float)
    return np.divide(wrong, totals, where=totals > 0, out=np.full(len(totals), np.nan))
