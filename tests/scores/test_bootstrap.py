from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from sing_monitor.scores.bootstrap import (
    bootstrap_means,
    difference_bounds,
    percentile_interval,
)
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


def test_an_image_without_a_value_is_left_out_of_its_column_and_no_other() -> None:
    values, strata = normal(50, 3, seed=1), strata_of(SIZES)
    whole = bootstrap_means(values, strata, replicates=30)
    partial = values.clone()
    partial[7, 0] = math.nan
    partial[:, 2] = math.nan
    means = bootstrap_means(partial, strata, replicates=30)
    torch.testing.assert_close(means[:, 1], whole[:, 1])
    assert means[:, 2].isnan().all()
    # Draws do not depend on the values: a constant tells how often the image is missing.
    flat = torch.ones(50, 1).double()
    flat[7] = math.nan
    torch.testing.assert_close(
        bootstrap_means(flat, strata, replicates=30), torch.ones(30, 1).double()
    )
    kept = torch.arange(50) != 7
    assert float(means[:, 0].mean()) == pytest.approx(float(values[kept, 0].mean()), abs=0.15)


def test_groups_of_one_image_are_no_groups() -> None:
    values, strata = normal(50, 2, seed=1), strata_of(SIZES)
    groups = torch.arange(50)
    torch.testing.assert_close(
        bootstrap_means(values, strata, groups), bootstrap_means(values, strata)
    )


@pytest.mark.parametrize("sizes", [(4, 4, 4, 4, 4, 4), (1, 2, 3, 4, 6, 8)])
def test_groups_are_drawn_as_wholes(sizes: tuple[int, ...]) -> None:
    """Images that are alike within a group tell no more than one of them."""
    group = torch.arange(12).repeat_interleave(torch.tensor(sizes * 2))
    strata = group // 6
    order = torch.randperm(len(group), generator=generator(3))
    value = normal(12, 1, seed=1)
    means = bootstrap_means(value[group][order], strata[order], group[order], replicates=20_000)
    n = torch.tensor(sizes).double()
    for_each = []
    for label in (0, 1):
        own = value[6 * label : 6 * label + 6, 0]
        # A ratio of sums, linearised: sum w (y - mean), with the weights of 5 draws out of 6.
        away = n * (own - (n * own).sum() / n.sum()) / n.sum() / 2
        for_each.append(float(away.var() * 6))
    assert float(means.std()) == pytest.approx(math.sqrt(sum(for_each)), rel=0.1)


def test_classes_keep_their_shares_where_groups_differ_in_size() -> None:
    group = torch.arange(8).repeat_interleave(torch.tensor([1, 9, 2, 5, 3, 3, 7, 1]))
    strata = group // 4
    means = bootstrap_means(strata[:, None].double(), strata, group, replicates=20)
    torch.testing.assert_close(means, strata.double().mean().expand(20, 1))


def test_groups_of_several_classes_are_drawn_among_each_other() -> None:
    group = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
    strata = torch.tensor([0, 1, 0, 1, 0, 0, 0, 0, 1, 1])
    values = torch.tensor([5.0, 5, 7, 7, 1, 1, 1, 1, 1, 1]).double()[:, None]
    means = bootstrap_means(values, strata, group, replicates=200)
    # Of groups 0 and 1 one is drawn; the others have no spread.
    assert means[:, 0].unique().tolist() == pytest.approx([(4 * 5 + 6) / 10, (4 * 7 + 6) / 10])


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


def test_intervals_of_grouped_images_cover_the_truth_as_often_as_they_say() -> None:
    """300 probes of 5 classes, each of 12 objects in 4 photographs that hardly differ."""
    group = torch.arange(60).repeat_interleave(4)
    values = normal(60, 300, seed=5)[group] + 0.1 * normal(240, 300, seed=6)
    shares = {}
    for name, groups in {"images": None, "objects": group}.items():
        low, high = percentile_interval(bootstrap_means(values, group // 12, groups))
        shares[name] = float(((low < 0) & (high > 0)).double().mean())
    assert 0.90 < shares["objects"] < 0.99
    # What is wrong without groups: intervals half as wide as they must be.
    assert shares["images"] < 0.75


def test_a_share_that_was_never_seen_may_be_there() -> None:
    low, high = difference_bounds(torch.zeros(60), 60)
    # The exact bound of none in 60: 1 - 0.025^(1/60).
    assert high == pytest.approx(1 - 0.025 ** (1 / 60))
    assert low == -high
    lost = torch.cat([torch.ones(6), torch.zeros(53), torch.tensor([math.nan])])
    assert difference_bounds(lost, 59)[1] == pytest.approx(binomtest(6, 59).proportion_ci().high)
    # Sixty images of six objects tell no more than six images do.
    assert difference_bounds(torch.zeros(60), 6)[1] == pytest.approx(1 - 0.025 ** (1 / 6))
    assert all(map(math.isnan, difference_bounds(torch.zeros(0), 0)))
