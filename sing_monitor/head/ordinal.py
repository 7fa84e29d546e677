"""Ordinal heads: K-1 outputs that are thresholds between K ordered classes, with no row for each.

CORAL (Cao, Mirjalili, Raschka 2020) and cumulative links (McCullagh 1980) shift one score by a
constant for each output; CORN (Shi, Cao, Raschka 2023) has a linear layer of K-1 outputs. The class
is the number of outputs above 0, and not the largest one.
"""

from __future__ import annotations

import torch
from torch import Tensor

NO_ROWS = (
    "An ordinal head (K-1 outputs for K classes, as in CORAL and CORN) has no row for each class"
)
# Rounding of the differences between outputs, over the largest output.
_ROUNDING = 1e-5
# Share of the images whose outputs fall from the first to the last.
_FALLING = 0.95
# By so much more labels the thresholds must tell than the largest output, or any one class.
_BETTER = 0.2


def are_cumulative(targets: Tensor) -> bool:
    """Whether targets, (B, K-1), say which thresholds a class is above: rows 1..1 0..0.

    Example::

        >>> are_cumulative(torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]]))
        True
        >>> are_cumulative(torch.eye(3))
        False
    """
    if targets.ndim != 2 or targets.shape[1] < 2 or targets.is_complex():
        return False
    values = targets.to(torch.float64)
    is_binary = bool(((values == 0) | (values == 1)).all())
    # One-hot rows of the first class alone fall, too.
    return is_binary and bool((values.diff(dim=1) <= 0).all() and (values.sum(dim=1) > 1).any())


def is_one_score(answer: Tensor) -> bool:
    """Whether an answer, (N, K-1), is one score for each image and a constant for each output.

    Example::

        >>> is_one_score(torch.tensor([[0.5], [2.0], [-1.0]]) + torch.tensor([1.0, 0.0, -1.0]))
        True
        >>> is_one_score(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        False
    """
    values = answer.detach().cpu().double()
    if len(values) < 2 or values.shape[1] < 2 or not bool(values.isfinite().all()):
        return False
    largest = values.abs().max()
    steps = values.diff(dim=1)
    varies = (values[:, 0].max() - values[:, 0].min()) > _ROUNDING * largest
    return bool(varies and ((steps - steps[0]).abs() <= _ROUNDING * largest).all())


def answers_by_thresholds(logits: Tensor, labels: Tensor) -> str | None:
    """How it shows that a head's outputs are thresholds between ordered classes; None without.

    Nearly always the outputs fall from the first to the last, so that the largest is always the
    first; and how many of them are above 0 tells the labels, or these counted from 1, by far
    better than the largest output or any one class does. No classifier that answers with its
    largest output looks like that, but one of two classes may: a model that learned that the first
    is by far the commoner, on data where it is not. So nothing is said of two outputs.

    Args:
        logits: outputs of the head, (N, C).
        labels: class indices, (N,).

    Example::

        >>> labels = torch.arange(40) % 4
        >>> above = labels[:, None] - torch.tensor([0.5, 1.5, 2.5])
        >>> print(answers_by_thresholds(above, labels))
        they fall from the first to the last for 100 % of the images, and how many are above 0 \
tells the label of 100 %, the largest one of 25 %
        >>> answers_by_thresholds(torch.eye(4)[labels], labels)
    """
    if len(labels) == 0 or logits.shape[1] < 3:
        return None
    falling = _share((logits.diff(dim=1) <= 0).all(dim=1))
    if falling < _FALLING:
        return None
    above = (logits > 0).sum(dim=1)
    told = max(_share(above == labels), _share((above - 1).clamp(min=0) == labels))
    right = _share(logits.argmax(dim=1) == labels)
    commonest = _share(labels == labels.mode().values)
    if told < max(right, commonest) + _BETTER:
        return None
    return (
        f"they fall from the first to the last for {falling:.0%} of the images, and how many are "
        f"above 0 tells the label of {told:.0%}, the largest one of {right:.0%}"
    ).replace("%", " %")


def _share(values: Tensor) -> float:
    return float(values.double().mean())
