from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor

from sing_monitor.scores.class_leaks import q_values
from sing_monitor.scores.hidden_classes import find_hidden, hidden_by_counts, mcnemar_p
from tests.benchmarks.statistics.bench_hidden_classes import false_alarms, power


def counts(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(("lost", "gained"), [(0, 0), (1, 0), (3, 3), (9, 2), (2, 9), (40, 11)])
def test_p_is_that_of_the_exact_binomial_test(lost: int, gained: int) -> None:
    trials = lost + gained
    expected = binomtest(lost, trials).pvalue if trials else 1.0
    assert float(mcnemar_p(counts(lost), counts(gained))) == pytest.approx(expected)


def test_a_class_is_hidden_where_many_of_its_images_are_lost_and_few_are_gained() -> None:
    # Of 30 images: hidden, gained, no difference, too few to be certain, certain but too few.
    lost, gained = counts(18, 0, 4, 3, 40), counts(0, 18, 4, 0, 0)
    found = hidden_by_counts(lost, gained, (lost - gained) / counts(30, 30, 30, 5, 1000))
    assert found.hidden.tolist() == [True, False, False, False, False]
    assert found.count == 1
    torch.testing.assert_close(found.q, q_values(found.p))


def test_classes_of_images_are_those_of_their_counts() -> None:
    labels = torch.arange(200) % 3
    whole, seen = torch.ones(200).double(), torch.ones(200).double()
    seen[(labels == 1) & (torch.arange(200) < 120)] = 0
    whole[labels == 2] = 0
    found = find_hidden(whole, seen, labels, 4)
    assert found.hidden.tolist() == [False, True, False, False]
    assert found.loss[:3].tolist() == pytest.approx([0, 40 / 67, -1])
    assert found.p[3].isnan()
    assert found.q[3].isnan()


def test_images_that_were_not_read_do_not_count() -> None:
    labels = torch.zeros(20, dtype=torch.int64)
    whole, seen = torch.ones(20).double(), torch.zeros(20).double()
    seen[10:] = math.nan
    found = find_hidden(whole, seen, labels, 1)
    assert float(found.p) == pytest.approx(2 / 2**10)
    nothing = find_hidden(whole, torch.full_like(seen, math.nan), labels, 1)
    assert math.isnan(nothing.count)
    assert not nothing.hidden.any()


def test_images_of_one_object_are_one_witness() -> None:
    """Forty images of two objects prove no more than two images do."""
    labels, whole = torch.zeros(80, dtype=torch.int64), torch.ones(80).double()
    seen = (torch.arange(80) >= 40).double()
    assert find_hidden(whole, seen, labels, 1).count == 1
    few = find_hidden(whole, seen, labels, 1, torch.arange(80) // 20)
    assert few.count == 0
    assert float(few.p) == pytest.approx(2 / 2**2)
    assert float(few.loss) == 0.5
    alone = find_hidden(whole, seen, labels, 1, torch.arange(80))
    torch.testing.assert_close(alone.p, find_hidden(whole, seen, labels, 1).p)


def test_two_classes_are_enough_and_many_hidden_ones_do_not_mask_each_other() -> None:
    both = hidden_by_counts(counts(20, 20), counts(0, 0), counts(2 / 3, 2 / 3))
    assert both.count == 2
    most = hidden_by_counts(counts(*[20] * 9, 0), torch.zeros(10).double(), counts(*[2 / 3] * 9, 0))
    assert most.count == 9


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 100])
def test_false_alarms_are_rare_and_a_hidden_class_is_found(classes: int) -> None:
    for images in (30, 100):
        for discordant in (0.1, 0.3, 0.5):
            assert false_alarms(classes, images, discordant, epochs=4_000) <= 0.01
    assert power(classes, 30, hidden=0.6, discordant=0.1, epochs=1_000) >= 0.8
