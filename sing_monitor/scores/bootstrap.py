"""How else a mean over images could have come out: a bootstrap of groups, stratified by class."""

from __future__ import annotations

import math

import torch
from torch import Tensor

REPLICATES = 1000
LEVEL = 0.95
# Of fewer groups the spread between groups is too badly known.
FEWEST_GROUPS = 8
# Weights at a time: few enough to stay in a processor's cache.
_CHUNK = 2**16


def bootstrap_means(
    values: Tensor,
    strata: Tensor,
    groups: Tensor | None = None,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Tensor:
    """Means of columns over resampled groups of images; no statistic is fitted again.

    Of every stratum of n groups ``n - 1`` are drawn with replacement, each with weight
    ``n / (n - 1)`` (Rao and Wu 1988). Drawing n would make the intervals too narrow by
    ``sqrt((n - 1) / n)``, a third at two images a class. Strata of a single group are drawn as
    one stratum, and so are the groups whose images are of several classes. Where groups differ in
    size, weights are brought to the number of images of their stratum, so that classes keep their
    shares.

    Args:
        values: (N, k), float64; NaN: the image is left out of this column.
        strata: class of every image, (N,) int64, at least 0.
        groups: number of the group that an image belongs to, (N,) int64; None: its own.
        replicates: B.
        seed: of a generator of its own, so that the same images give the same draws.

    Returns:
        (B, k); NaN in the columns that hold nothing else.

    Example::

        >>> values = torch.arange(100.0, dtype=torch.float64)[:, None]
        >>> means = bootstrap_means(values, torch.arange(100) % 2)
        >>> means.shape, bool(2.5 < means.std() < 3.3)  # 100 / sqrt(12) / sqrt(100) = 2.9
        (torch.Size([1000, 1]), True)
    """
    sums, counts, images, stratum = _by_group(values, strata, groups)
    stratum = _without_singles(stratum)
    order = stratum.argsort(stable=True)
    sums, counts, images, stratum = (x[order] for x in (sums, counts, images, stratum))
    generator = torch.Generator().manual_seed(seed)
    sizes = stratum.bincount()
    starts = sizes.cumsum(0) - sizes
    # A stratum of one, where no other is left to join it, is drawn once, and always.
    draws = (sizes - 1).clamp(min=1) * (sizes > 0)
    drawn = torch.arange(len(sizes)).repeat_interleave(draws)
    size, start = sizes[drawn].double(), starts[drawn]
    weight = size / draws[drawn] / len(values)
    is_uneven, is_partial = (
        bool((images != images[0]).any()),
        bool((counts != images[:, None]).any()),
    )
    means = values.new_empty(replicates, values.shape[1])
    for part in means.split(max(1, _CHUNK // len(sums))):
        uniform = torch.rand(len(part), len(drawn), generator=generator, dtype=torch.float64)
        rows = uniform.mul_(size).long().add_(start)
        weights = values.new_zeros(len(part), len(sums))
        weights.scatter_add_(1, rows, weight.expand_as(rows))
        if is_uneven:
            weights *= _to_shares(weights, images, stratum, len(values))
        part[:] = weights @ sums
        if is_partial:
            part /= weights @ counts
    return means


def _by_group(
    values: Tensor, strata: Tensor, groups: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums of values by group (G, k), how many numbers they are of, (G, k), images and stratum.

    Groups of several classes make up a stratum of their own, behind the classes.
    """
    known = ~values.isnan()
    sums, counts = values.where(known, 0.0), known.to(values)
    if groups is None:
        return sums, counts, torch.ones_like(strata), strata
    numbers, group = groups.unique(return_inverse=True)
    images = group.bincount()
    sums, counts = (
        x.new_zeros(len(numbers), x.shape[1]).index_add_(0, group, x) for x in (sums, counts)
    )
    first = strata.new_zeros(len(numbers)).scatter_reduce_(
        0, group, strata, "amin", include_self=False
    )
    last = strata.new_zeros(len(numbers)).scatter_reduce_(
        0, group, strata, "amax", include_self=False
    )
    return sums, counts, images, first.where(first == last, int(strata.max()) + 1)


def _to_shares(weights: Tensor, images: Tensor, stratum: Tensor, total: int) -> Tensor:
    """Factors (B, G) that bring each stratum's weighted images to its own number over the total."""
    count = int(stratum.max()) + 1
    drawn = weights.new_zeros(len(weights), count).index_add_(1, stratum, weights * images)
    own = weights.new_zeros(count).index_add_(0, stratum, images.to(weights)) / total
    return (own / drawn)[:, stratum]


def percentile_interval(replicates: Tensor, level: float = LEVEL) -> tuple[Tensor, Tensor]:
    """Bounds that hold the middle ``level`` of the replicates.

    Args:
        replicates: (B, ...); those that are not finite do not count.
        level: coverage, between 0 and 1.

    Returns:
        Lower and upper bounds, each (...); NaN where no replicate is finite.
    """
    finite = replicates.where(replicates.isfinite(), torch.nan)
    tail = (1 - level) / 2
    low, high = (finite.nanquantile(share, dim=0) for share in (tail, 1 - tail))
    return low, high


def difference_bounds(differences: Tensor, units: int) -> tuple[float, float]:
    """Bounds of a share of losses less a share of gains that hold where either is rare.

    Of images none of which is lost, a bootstrap draws none that is; up to ``1 - 0.025^(1/n)`` of
    all may be, all the same. Each share has the exact upper bound of Clopper and Pearson (1934),
    and the other one is taken as it is.

    Args:
        differences: 1 for a loss, -1 for a gain, else 0, (N,); NaN does not count.
        units: number of independent images, or of groups.

    Example::

        >>> low, high = difference_bounds(torch.zeros(60), 60)
        >>> round(low, 3), round(high, 3)
        (-0.06, 0.06)
    """
    from scipy.stats import beta

    known = differences[~differences.isnan()]
    if units < 1 or len(known) == 0:
        return math.nan, math.nan
    lost, gained = (float((known == sign).double().mean()) for sign in (1, -1))
    most_lost, most_gained = (
        float(beta.ppf(1 - (1 - LEVEL) / 2, share * units + 1, (1 - share) * units or 1e-9))
        for share in (lost, gained)
    )
    return lost - most_gained, most_lost - gained


def _without_singles(strata: Tensor) -> Tensor:
    """The strata, those of a single group joined into one new stratum."""
    sizes = strata.bincount()
    return strata.where(sizes[strata] > 1, len(sizes))
