"""Which classes are hidden: an exact McNemar test for each class on its own images.

A class is hidden if its images are read from whole features and no longer from what the head sees
of them. Every class is its own control, so no class is judged by the others: two classes are
enough, and many hidden classes cannot mask each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sing_monitor.scores.class_leaks import q_values

# Where nothing is hidden, Benjamini and Hochberg's rule finds a difference in at most this share
# of epochs, and a loss in half of them: false alarms in at most 1 %, however often the readings
# differ.
FALSE_DISCOVERIES = 0.02
# Share of a class's images that must be lost on balance.
SUBSTANTIAL_LOSS = 0.2


@dataclass(frozen=True)
class HiddenClasses:
    """The test of every class, each (C,).

    Args:
        p: two-sided p-value, 0 to 1; NaN for a class without images that were read.
        q: p adjusted for the number of classes; NaN where p is.
        loss: share of the images that are lost on balance, -1 to 1; NaN where p is.
        hidden: whether the class is hidden, bool.
    """

    p: Tensor
    q: Tensor
    loss: Tensor
    hidden: Tensor

    @property
    def count(self) -> float:
        """Number of hidden classes; NaN where none was tested."""
        is_tested = bool((~self.p.isnan()).any())
        return float(self.hidden.sum()) if is_tested else torch.nan


def find_hidden(
    whole: Tensor, seen: Tensor, labels: Tensor, classes: int, groups: Tensor | None = None
) -> HiddenClasses:
    """Test every class for images that the whole reads rightly and the seen part does not.

    Images of one group are no independent witnesses: the images of a class in a group count once
    in the test, as lost or gained on balance.

    Args:
        whole: whether each image is read rightly from the whole feature, (N,) of 1 and 0; NaN
            does not count.
        seen: the same, read from the seen part, (N,).
        labels: class of every image, (N,) int64.
        classes: C.
        groups: number of the group that an image belongs to, (N,) int64; None: its own.
    """
    known = ~(whole + seen).isnan()
    net, labels = (whole - seen)[known].double(), labels[known]
    images, loss = (
        net.new_zeros(classes).index_add(0, labels, each) for each in (torch.ones_like(net), net)
    )
    if groups is not None:
        pairs, place = torch.stack([labels, groups[known]]).unique(dim=1, return_inverse=True)
        net, labels = net.new_zeros(pairs.shape[1]).index_add(0, place, net), pairs[0]
    lost, gained = (
        net.new_zeros(classes).index_add(0, labels, found.double()) for found in (net > 0, net < 0)
    )
    return hidden_by_counts(lost, gained, loss / images.where(images > 0, torch.nan))


def hidden_by_counts(lost: Tensor, gained: Tensor, loss: Tensor) -> HiddenClasses:
    """The same from numbers of images, or groups, and the share of images lost, each (C,)."""
    p = mcnemar_p(lost, gained).where(~loss.isnan(), torch.nan)
    q = q_values(p)
    return HiddenClasses(p, q, loss, (q < FALSE_DISCOVERIES) & (loss >= SUBSTANTIAL_LOSS))


def mcnemar_p(lost: Tensor, gained: Tensor) -> Tensor:
    """Exact two-sided p-value of McNemar's test (McNemar 1947; binomial, not chi-squared).

    Of images that two readers judge differently, each is right in half of the cases under the null
    hypothesis: ``min(1, 2 P(X >= max(lost, gained)))``, X binomial with ``lost + gained`` trials.

    Args:
        lost: images that only the first reads rightly, (...).
        gained: images that only the second reads rightly, (...).

    Returns:
        (...), float64, above 0 and at most 1; 1 where the two never differ.

    Example::

        >>> float(mcnemar_p(torch.tensor(10.0), torch.tensor(0.0))) == 2 / 2**10
        True
    """
    from scipy.stats import binom

    trials, most = lost + gained, torch.maximum(lost, gained)
    tail = torch.as_tensor(binom.sf((most - 1).numpy(), trials.numpy(), 0.5), dtype=torch.float64)
    return (2 * tail).clamp(max=1)
