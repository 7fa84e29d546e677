"""Whether one class hides more from the head than the others: the statistics of "class X leaks".

Two questions, and a leak needs a yes to both. Is the class's Attribute Score another than that of
the other images? With a hundred images a class the answer is nearly always yes, for classes differ
a little, and the test sees it. Does it fall out of line with the other classes?
"""

from __future__ import annotations

import torch
from torch import Tensor

# With fewer images a class's own spread is too badly known for a test.
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


def p_values(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """A studentised permutation test of every class's mean against that of all other images.

    The statistic is Welch's ``(mean_c - mean_rest) / sqrt(s_c^2 / n_c + s_rest^2 / n_rest)``:
    with it a permutation test of means stays valid where classes differ in spread (Janssen 1997;
    Chung and Romano 2013). Its distribution over the permutations is approximated by Student's t
    with Welch's degrees of freedom, so that a p-value may be as small as a thousand classes ask
    for; a thousand permutations could say no less than 0.001. Measured on 8 images a class: a
    nominal 0.05 is 0.05 for normal scores, 0.08 for scores as skewed as a gamma distribution of
    shape 2; on 20 images 0.06.

    Args:
        values: a score for every image, (N,); NaN does not count.
        labels: class of every image, (N,) int64.
        classes: C.

    Returns:
        Two-sided, (C,), 0 to 1; NaN for classes with fewer than 8 images, and where no score
        varies.
    """
    from scipy.stats import ttest_ind_from_stats

    known = ~values.isnan()
    values, labels = values[known].double(), labels[known]
    # About their mean, so that the differences of sums below lose no digits.
    values = values - values.mean()
    n, total, squares = (
        values.new_zeros(classes).index_add(0, labels, powers)
        for powers in (torch.ones_like(values), values, values.square())
    )
    own = _moments(n, total, squares)
    rest = _moments(n.sum() - n, total.sum() - total, squares.sum() - squares)
    tested = (n >= MIN_IMAGES) & (n.sum() - n >= MIN_IMAGES) & (own[1] + rest[1] > 0)
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


def _moments(n: Tensor, total: Tensor, squares: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, standard deviation and number, from sums."""
    mean = total / n
    variance = (squares - n * mean.square()) / (n - 1)
    return mean, variance.clamp(min=0).sqrt(), n
