"""How else a mean over images could have come out: a bootstrap, stratified by class."""

from __future__ import annotations

import torch
from torch import Tensor

REPLICATES = 1000
LEVEL = 0.95
# Weights at a time: few enough to stay in a processor's cache.
_CHUNK = 2**20


def bootstrap_means(
    values: Tensor, strata: Tensor, *, replicates: int = REPLICATES, seed: int = 0
) -> Tensor:
    """Means of columns over resampled images; no statistic is fitted again.

    Of every stratum of n images ``n - 1`` are drawn with replacement, each with weight
    ``n / (n - 1)`` (Rao and Wu 1988). Drawing n would make the intervals too narrow by
    ``sqrt((n - 1) / n)``, a third at two images a class. Strata of a single image are drawn as
    one stratum.

    Args:
        values: (N, k), float64.
        strata: class of every image, (N,) int64, at least 0.
        replicates: B.
        seed: of a generator of its own, so that the same images give the same draws.

    Returns:
        (B, k); NaN in the columns that hold one.

    Example::

        >>> values = torch.arange(100.0, dtype=torch.float64)[:, None]
        >>> means = bootstrap_means(values, torch.arange(100) % 2)
        >>> means.shape, bool(2.5 < means.std() < 3.3)  # 100 / sqrt(12) / sqrt(100) = 2.9
        (torch.Size([1000, 1]), True)
    """
    generator = torch.Generator().manual_seed(seed)
    stratum = _without_singles(strata)
    order = stratum.argsort(stable=True)
    sizes = stratum.bincount()
    starts = sizes.cumsum(0) - sizes
    # A stratum of one, where no other is left to join it, is drawn once, and always.
    draws = (sizes - 1).clamp(min=1) * (sizes > 0)
    drawn = torch.arange(len(sizes)).repeat_interleave(draws)
    size, start = sizes[drawn].double(), starts[drawn]
    weight = size / draws[drawn] / len(values)
    columns = values[order]
    means = values.new_empty(replicates, values.shape[1])
    for part in means.split(max(1, _CHUNK // len(values))):
        uniform = torch.rand(len(part), len(drawn), generator=generator, dtype=torch.float64)
        rows = start + (uniform * size).long()
        weights = values.new_zeros(len(part), len(values))
        part[:] = weights.scatter_add_(1, rows, weight.expand_as(rows)) @ columns
    return means


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


def _without_singles(strata: Tensor) -> Tensor:
    """The strata, those of a single image joined into one new stratum."""
    sizes = strata.bincount()
    return strata.where(sizes[strata] > 1, len(sizes))
