from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control, permutation_test, ttest_ind
from torch import Tensor

from sing_monitor.scores.class_leaks import deviations, independent, leaks, p_values, q_values
from tests.helpers import generator, normal

NAN = torch.nan


def classes_of(n: int, classes: int) -> Tensor:
    return torch.arange(classes).repeat_interleave(n)


@pytest.mark.parametrize("shift", [0.0, 0.3, -0.6])
def test_p_is_that_of_a_studentised_permutation_test(shift: float) -> None:
    values, labels = normal(90, seed=3), classes_of(30, 3)
    values[labels == 1] = 2 * values[labels == 1] + shift

    def welch(own: np.ndarray, rest: np.ndarray, axis: int) -> np.ndarray:
        return ttest_ind(own, rest, axis=axis, equal_var=False).statistic

    p = p_values(values, labels, 3)
    for label in range(3):
        sides = values[labels == label].numpy(), values[labels != label].numpy()
        exact = permutation_test(
            sides, welch, vectorized=True, n_resamples=4999, rng=np.random.default_rng(0)
        ).pvalue
        # Three standard errors of 5,000 permutations.
        assert float(p[label]) == pytest.approx(exact, abs=3 * 0.5 / 5000**0.5)


@pytest.mark.parametrize("spread", [1.0, 4.0])
def test_a_class_with_the_mean_of_the_others_is_found_as_often_as_p_says(spread: float) -> None:
    labels = classes_of(15, 6)
    scores = normal(600, 90, seed=4)
    scores[:, labels == 0] *= spread
    found = [bool(p_values(row, labels, 6)[0] < 0.05) for row in scores]
    # A share of 600 at 0.05 has a standard error of 0.009.
    assert 0.02 < np.mean(found) < 0.08


def test_a_mean_far_from_zero_loses_no_digits() -> None:
    values, labels = normal(60, seed=3), classes_of(20, 3)
    torch.testing.assert_close(
        p_values(values + 1e7, labels, 3), p_values(values, labels, 3), rtol=1e-5, atol=0
    )


def test_classes_with_too_few_images_have_no_test() -> None:
    values, labels = normal(40, seed=3), torch.tensor([0] * 7 + [1] * 8 + [3] * 25)
    assert p_values(values, labels, 5).isnan().tolist() == [True, False, True, False, True]


def test_images_without_a_score_do_not_count() -> None:
    values, labels = normal(60, seed=3), classes_of(20, 3)
    kept = torch.arange(60) % 5 != 0
    expected = p_values(values[kept], labels[kept], 3)
    assert torch.equal(p_values(values.where(kept, NAN), labels, 3), expected)


@pytest.mark.parametrize("values", [torch.zeros(40), torch.full((40,), NAN), torch.zeros(0)])
def test_scores_that_do_not_vary_have_no_test(values: Tensor) -> None:
    p = p_values(values, torch.arange(len(values)) % 2, 2)
    assert p.isnan().all()
    assert q_values(p).isnan().all()


def shared(labels: Tensor, *, of_class: bool, seed: int) -> tuple[Tensor, Tensor]:
    """Scores that a group shares, and groups of 5 images: of one class, or of several."""
    groups = torch.arange(len(labels)) // 5
    if not of_class:
        groups = groups[torch.randperm(len(labels), generator=generator(99))]
    each = normal(int(groups.max()) + 1, seed=seed)[groups]
    return each + 0.2 * normal(len(labels), seed=seed + 1), groups


@pytest.mark.parametrize("of_class", [True, False])
def test_images_of_a_group_count_once(of_class: bool) -> None:
    labels = classes_of(75, 4)
    found, alone = [], []
    for seed in range(400):
        values, groups = shared(labels, of_class=of_class, seed=1000 + 2 * seed)
        found.append(bool(p_values(values, labels, 4, groups)[0] < 0.05))
        alone.append(bool(p_values(values, labels, 4)[0] < 0.05))
    # A share of 400 at 0.05 has a standard error of 0.011; of groups on both sides it is less.
    assert (0.01 if of_class else 0.0) <= np.mean(found) < 0.08
    if of_class:
        assert np.mean(alone) > 0.3


def test_the_sides_are_the_means_of_groups() -> None:
    labels = classes_of(75, 4)
    values, groups = shared(labels, of_class=False, seed=5)
    sides = [
        [values[side & (groups == group)].mean() for group in groups[side].unique()]
        for side in (labels == 2, labels != 2)
    ]
    expected = ttest_ind(*sides, equal_var=False).pvalue
    assert float(p_values(values, labels, 4, groups)[2]) == pytest.approx(expected, rel=1e-9)
    own = torch.randperm(300, generator=generator(1)) * 7
    torch.testing.assert_close(p_values(values, labels, 4, own), p_values(values, labels, 4))


def test_a_class_of_few_groups_has_no_test() -> None:
    labels = classes_of(40, 3)
    groups = torch.where(labels == 1, torch.arange(120) % 7, 1000 + torch.arange(120))
    assert p_values(normal(120, seed=3), labels, 3, groups).isnan().tolist() == [False, True, False]
    assert independent(labels, 3, groups).tolist() == [40, 7, 40]
    assert independent(labels, 4).tolist() == [40, 40, 40, 0]


def test_q_adjusts_for_the_tests_that_were_made_and_no_others() -> None:
    p = torch.tensor([0.01, NAN, 0.04, 0.03, 0.9]).double()
    expected = false_discovery_control([0.01, 0.04, 0.03, 0.9])
    q = q_values(p)
    assert q[[0, 2, 3, 4]].tolist() == pytest.approx(expected)
    assert q[1].isnan()


def test_of_a_thousand_alike_classes_few_are_discoveries() -> None:
    values, labels = torch.randn(10_000, generator=generator(0)), classes_of(10, 1000)
    values[labels == 17] -= 6
    q = q_values(p_values(values, labels, 1000))
    assert q[17] < 0.01
    assert int((q < 0.05).sum()) <= 3


def test_deviation_is_not_hidden_by_a_second_outlier() -> None:
    means = torch.tensor([-35.0, -30.0, 1.0, -1.0, 2.0, -2.0, 0.0])
    # Median -1, distances from it 34, 29, 2, 0, 3, 1, 1: their median is 2.
    expected = (means + 1) / (1.4826 * 2)
    torch.testing.assert_close(deviations(means), expected)


def test_deviation_needs_three_classes_that_are_not_equal() -> None:
    assert deviations(torch.tensor([1.0, NAN, 3.0])).isnan().all()
    assert deviations(torch.tensor([0.0, 0.0, 0.0, 5.0])).isnan().all()
    assert deviations(torch.tensor([1.0, NAN, 3.0, 9.0])).isnan().tolist() == [0, 1, 0, 0]


def test_a_leak_is_substantial_certain_and_out_of_line() -> None:
    means = torch.tensor([-9.0, -3.0, -9.0, -9.0, NAN])
    q = torch.tensor([0.01, 0.01, 0.2, 0.01, NAN])
    deviation = torch.tensor([-6.0, -6.0, -6.0, -2.0, NAN])
    assert leaks(means, q, deviation).tolist() == [True, False, False, False, False]
