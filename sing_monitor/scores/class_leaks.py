"""Whether one class hides more from the head than the others: the statistics of "class X leaks".

Two questions, and a leak needs a yes to both. Is the class's Attribute Score another than that of
the other images? With a hundred images a class the answer is nearly always yes, for classes differ
a little, and the test sees it. Does it fall out of line with the other classes?
"""

from __future__ import annotations

import torch
from torch import Tensor

# With fewer images, or groups, a class's own spread is too badly known for a test.
MIN_IMAGES = 8
MIN_CLASSES = 3
# A leak: the share of false discoveries that is accepted, how many (robust) standard deviations a
# class must lie below the others, and by how much its meaning must move, in degrees: what SING's
# authors call substantial.
FALSE_DISCOVERIES = 0.05
OUT_OF_LINE = 5.0
SUBSTANTIAL = 4.0
# From the median absolute deviation to the standard deviation of a normal distribution.
_TO_SIGMA = 1.4826


def p_values(values: Tensor, labels: Tensor, classes: int, groups: Tensor | None = None) -> Tensor:
    """A studentised permutation test of every class's mean against that of all other images.

    The statistic is Welch's ``(mean_c - mean_rest) / sqrt(s_c^2 / n_c + s_rest^2 / n_rest)``:
    with it a permutation test of means stays valid where classes differ in spread (Janssen 1997;
    Chung and Romano 2013). Its distribution over the permutations is approximated by Student's t
    with Welch's degrees of freedom, so that a p-value may be as small as a thousand classes ask
    for; a thousand permutations could say no less than 0.001. Measured on 8 images a class: a
    nominal 0.05 is 0.05 for normal scores, 0.08 for scores as skewed as a gamma distribution of
    shape 2; on 20 images 0.06.

    Images of one group are no independent witnesses: on either side a group counts once, with the
    mean of its images there.

    Args:
        values: a score for every image, (N,); NaN does not count.
        labels: class of every image, (N,) int64.
        classes: C.
        groups: number of the group that an image belongs to, (N,) int64; None: its own.

    Returns:
        Two-sided, (C,), 0 to 1; NaN for classes with fewer than 8 images, or groups, and where no
        score varies.
    """
    from scipy.stats import ttest_ind_from_stats

    known = ~values.isnan()
    values, labels = values[known].double(), labels[known]
    # About their mean, so that the differences of sums below lose no digits.
    values = values - values.mean()
    if groups is None:
        inside = _sums(values, labels, classes)
        outside = inside[0].sum() - inside[0], *(each.sum() - each for each in inside[1:])
    else:
        inside, outside = _sums_by_group(values, labels, classes, groups[known])
    own, rest = _moments(*inside), _moments(*outside)
    tested = (inside[0] >= MIN_IMAGES) & (outside[0] >= MIN_IMAGES) & (own[1] + rest[1] > 0)
    p = torch.full((classes,), torch.nan, dtype=torch.float64)
    sides = (part[tested].numpy() for part in (*own, *rest))
    p[tested] = torch.from_numpy(ttest_ind_from_stats(*sides, equal_var=False).pvalue)
    return p


def q_values(p: Tensor) -> Tensor:
    """P-values adjusted for their number (Benjamini and Hochberg 1995).

    Among all with ``q < a`` the expected share of false discoveries is at most a.

    Args:
        p: (C,), NaN where there was no test.

    Returns:
        (C,), 0 to 1, NaN where p is.
    """
    from scipy.stats import false_discovery_control

    q, tested = p.clone(), ~p.isnan()
    if bool(tested.any()):
        q[tested] = torch.from_numpy(false_discovery_control(p[tested].numpy()))
    return q


def deviations(means: Tensor) -> Tensor:
    """How far each class lies from the others: ``(a_c - median a) / (1.4826 MAD a)``.

    A modified z-score (Iglewicz and Hoaglin 1993): unlike the standard deviation, the median
    absolute deviation does not grow with the outliers that are looked for.

    Args:
        means: mean score of every class, (C,), NaN where there is none.

    Returns:
        (C,), in standard deviations; NaN with fewer than three classes, and where most are equal.
    """
    known = means[~means.isnan()]
    if len(known) < MIN_CLASSES:
        return torch.full_like(means, torch.nan)
    apart = means - known.quantile(0.5)
    scale = _TO_SIGMA * apart[~apart.isnan()].abs().quantile(0.5)
    return apart / scale.where(scale > 0, torch.nan)


def leaks(means: Tensor, q: Tensor, deviation: Tensor) -> Tensor:
    """Which classes leak: ``AS < -4``, ``q < 0.05`` and more than 5 deviations below the others.

    Args:
        means: mean AS of every class, (C,).
        q: (C,), of :func:`q_values`.
        deviation: (C,), of :func:`deviations`.

    Returns:
        (C,) bool; False where a number is missing.
    """
    return (means < -SUBSTANTIAL) & (q < FALSE_DISCOVERIES) & (deviation < -OUT_OF_LINE)


def independent(labels: Tensor, classes: int, groups: Tensor | None = None) -> Tensor:
    """Number of independent witnesses of every class: its images, or their groups, (C,) int64.

    Args:
        labels: class of every image, (N,) int64.
        classes: C.
        groups: as for :func:`p_values`.
    """
    if groups is not None:
        labels = torch.stack([labels, groups]).unique(dim=1)[0]
    return labels.bincount(minlength=classes)


Sums = tuple[Tensor, Tensor, Tensor]


def _sums(values: Tensor, labels: Tensor, classes: int) -> Sums:
    """Number, sum and sum of squares by class, each (C,)."""
    ones, squares = torch.ones_like(values), values.square()
    n, total, squared = (
        values.new_zeros(classes).index_add(0, labels, each) for each in (ones, values, squares)
    )
    return n, total, squared


def _sums_by_group(
    values: Tensor, labels: Tensor, classes: int, groups: Tensor
) -> tuple[Sums, Sums]:
    """The same of the means of groups: over images of the class, and over all other images."""
    pairs, place = torch.stack([labels, groups]).unique(dim=1, return_inverse=True)
    names, group = pairs[1].unique(return_inverse=True)
    n, total, _ = _sums(values, place, pairs.shape[1])
    all_n, all_total = (n.new_zeros(len(names)).index_add(0, group, each) for each in (n, total))
    mean = all_total / all_n
    # Of a group with images of the class, the other images alone stand on the other side.
    left, label = all_n[group] - n, pairs[0]
    has_others = left > 0
    others = ((all_total[group] - total) / left)[has_others]
    every = torch.ones_like(mean), mean, mean.square()
    without = _sums(mean[group], label, classes)
    added = _sums(others, label[has_others], classes)
    outside = [x.sum() - y + z for x, y, z in zip(every, without, added, strict=True)]
    return _sums(total / n, label, classes), (outside[0], outside[1], outside[2])


def _moments(n: Tensor, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and number, from sums."""
    mean = total / n
    variance = (squares - n * mean.square()) / (n - 1)
    return mean, variance.clamp(min=0).sqrt(), n
