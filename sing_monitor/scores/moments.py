"""Means and standard deviations of scores: over all images, and by group."""

from __future__ import annotations

import math

from torch import Tensor


def average(values: Tensor) -> float:
    """Mean of the numbers among (N,), in double precision; NaN if all are NaN."""
    return float(values.double().nanmean())


def spread(values: Tensor) -> float:
    """Standard deviation of the numbers among (N,); NaN of fewer than two."""
    known = values[~values.isnan()]
    return float(known.std()) if len(known) > 1 else math.nan


def group_mean(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """Mean of (N, ...) values by group, (count, ...); NaN for an empty group."""
    if count == 1:
        return values.mean(dim=0, keepdim=True)
    sums = values.new_zeros(count, *values.shape[1:]).index_add(0, groups, values)
    sizes = groups.bincount(minlength=count).to(values)
    return sums / sizes.view(-1, *[1] * (values.ndim - 1))


def known_means(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """Mean by group of the numbers among (N, k), (count, k); NaN for a group without any."""
    known = ~values.isnan()
    mean, share = (
        group_mean(each, groups, count) for each in (values.where(known, 0), known.to(values))
    )
    return mean / share


def group_moments(values: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation by group; NaN for groups of fewer than one and two samples."""
    mean = group_mean(values, groups, count)
    sizes = groups.bincount(minlength=count).to(values).view(-1, *[1] * (values.ndim - 1))
    variance = group_mean((values - mean[groups]).square(), groups, count)
    return mean, (variance * (sizes / (sizes - 1))).sqrt()
