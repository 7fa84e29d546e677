from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sing_monitor.scores.bootstrap import bootstrap_means, percentile_interval
from tests.helpers import generator, normal

SIZES = (2, 3, 5, 40)


def strata_of(sizes: tuple[int, ...], seed: int = 0) -> Tensor:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return labels[torch.randperm(len(labels), generator=generator(seed))]


def test_the_spread_is_that_of_a_stratified_mean() -> None:
    strata = strata_of(SIZES)
    values = normal(50, 3, seed=1) + 4 * strata[:, None]
    means = bootstrap_means(values, strata, replicates=20_000)
    # Var = sum_c (n_c / N)^2 s_c^2 / n_c, s^2 the unbiased variance within the class.
    variance = sum(
        (size / 50) ** 2 * values[strata == c].var(dim=0) / size for c, size in enumerate(SIZES)
    )
    torch.testing.assert_close(means.var(dim=0), variance, rtol=0.05, atol=0)
    error = (variance / 20_000).sqrt()
    assert ((means.mean(dim=0) - values.mean(dim=0)).abs() < 4 * error).all()


def test_what_differs_only_between_classes_has_no_spread() -> None:
    strata = strata_of(SIZES)
    means = bootstrap_means(strata[:, None].double(), strata, replicates=20)
    torch.testing.assert_close(means, strata.double().mean().expand(20, 1))


def test_classes_of_one_image_are_drawn_together() -> None:
    strata = torch.tensor([0, 1, 2, 3, 4, 4])
    values = torch.tensor([1.0, 2, 3, 4, 7, 7]).double()[:, None]
    means = bootstrap_means(values, strata, replicates=20_000)
    expected = 4 / 6**2 * torch.arange(4.0).var()
    assert float(means.var()) == pytest.approx(float(expected), rel=0.05)


def test_a_single_image_that_none_can_join_always_counts() -> None:
    values = torch.tensor([1.0, 1.0, 10.0]).double()[:, None]
    means = bootstrap_means(values, torch.tensor([0, 0, 2]), replicates=10)
    torch.testing.assert_close(means, torch.full((10, 1), 4.0).double())


def test_the_order_of_columns_and_the_global_random_state_do_not_matter() -> None:
    values, strata = normal(50, 2, seed=1), strata_of(SIZES)
    torch.manual_seed(1)
    first = bootstrap_means(values, strata, replicates=30)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    torch.testing.assert_close(
        bootstrap_means(values.flip(1), strata, replicates=30).flip(1), first
    )
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(bootstrap_means(values, strata, replicates=30, seed=9), first)


def test_a_column_with_an_undefined_value_is_undefined_and_no_other() -> None:
    values = normal(50, 2, seed=1)
    values[7, 0] = math.nan
    means = bootstrap_means(values, strata_of(SIZES), replicates=30)
    assert means[:, 0].isnan().all()
    assert means[:, 1].isfinite().all()


@pytest.mark.parametrize("size", [2, 8])
def test_intervals_cover_the_truth_as_often_as_they_say(size: int) -> None:
    """300 probes of 40 classes whose images scatter about a mean of 0."""
    strata = torch.arange(40).repeat_interleave(size)
    values = normal(40 * size, 300, seed=5)
    low, high = percentile_interval(bootstrap_means(values, strata))
    covered = ((low < 0) & (high > 0)).double().mean()
    # A binomial share of 300 at 0.95 has a standard error of 0.013.
    assert 0.90 < float(covered) < 0.99


def test_an_interval_leaves_out_as_much_on_either_side() -> None:
    low, high = percentile_interval(torch.arange(101.0).double()[:, None], level=0.9)
    assert (float(low), float(high)) == pytest.approx((5, 95))


def test_replicates_that_are_not_finite_do_not_count() -> None:
    replicates = torch.tensor([[1.0, math.inf], [math.nan, math.nan], [3.0, -math.inf]])
    low, high = percentile_interval(replicates, level=0.5)
    assert (float(low[0]), float(high[0])) == (1.5, 2.5)
    assert low[1].isnan()
    assert high[1].isnan()
