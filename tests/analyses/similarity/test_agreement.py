from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import pearsonr

from sing_monitor.analyses.similarity.agreement import (
    by_similarity,
    cka,
    jensen_shannon,
    pair_correlation,
    retrieval,
)
from sing_monitor.analyses.similarity.strongest import strongest
from tests.helpers import normal, orthogonal


def test_the_divergence_is_the_square_of_scipys() -> None:
    p = (3 * normal(6, 5, seed=0)).softmax(dim=1)
    found = jensen_shannon(p)
    for i in range(6):
        for j in range(6):
            expected = jensenshannon(p[i].numpy(), p[j].numpy(), base=2) ** 2
            assert float(found[i, j]) == pytest.approx(expected, abs=1e-12)


def test_the_divergence_of_sure_answers() -> None:
    p = torch.eye(3)[[0, 1, 1]]
    expected = torch.tensor([[0.0, 1, 1], [1, 0, 0], [1, 0, 0]]).double()
    torch.testing.assert_close(jensen_shannon(p), expected)


def test_the_correlation_is_that_of_the_pairs() -> None:
    a, b = (x + x.T for x in normal(2, 7, 7, seed=1))
    rows, columns = np.triu_indices(7, 1)
    expected = pearsonr(a.numpy()[rows, columns], b.numpy()[rows, columns]).statistic
    assert pair_correlation(a, b) == pytest.approx(expected)
    # Images do not count as pairs with themselves.
    assert pair_correlation(a + 100 * torch.eye(7), b) == pytest.approx(expected)


def test_a_constant_correlates_with_nothing() -> None:
    a = normal(5, 5, seed=2)
    assert math.isnan(pair_correlation(a + a.T, torch.full((5, 5), 0.3)))
    assert math.isnan(pair_correlation(torch.ones(1, 1), torch.ones(1, 1)))


def test_cka_word_for_word() -> None:
    a, b = (x + x.T for x in normal(2, 6, 6, seed=3))
    h = torch.eye(6).double() - 1 / 6
    x, y = h @ a @ h, h @ b @ h
    expected = float((x * y).sum() / (x.norm() * y.norm()))
    assert cka(a, b) == pytest.approx(expected)
    assert cka(a, 3 * a + 5) == pytest.approx(1.0)


def test_cka_of_features_does_not_see_a_rotation() -> None:
    features = normal(10, 4, seed=4)
    moved = 2 * features @ orthogonal(4, seed=5) + normal(4, seed=6)
    assert cka(features @ features.T, moved @ moved.T) == pytest.approx(1.0)


def test_cka_of_a_constant_is_undefined() -> None:
    a = normal(5, 5, seed=7)
    assert math.isnan(cka(a @ a.T, torch.full((5, 5), 0.7)))
    # What differs from image to image alone is no similarity.
    assert math.isnan(cka(a @ a.T, torch.arange(5.0)[:, None] + torch.arange(5.0)))


def test_others_by_similarity_with_ties() -> None:
    similarity = torch.tensor(
        [[1.0, 0.5, 0.5, 0.9], [0.5, 1, 2, 0], [0.5, 2, 1, 0], [0.9, 0, 0, 1]]
    )
    assert by_similarity(similarity).tolist() == [[3, 1, 2], [2, 0, 3], [1, 0, 3], [0, 1, 2]]


def test_retrieval_leaves_out_the_image_itself_and_classes_of_one() -> None:
    similarity = torch.tensor(
        [[1.0, 0.9, 0.1, 0.1], [0.9, 1, 0.2, 0.1], [0.1, 0.2, 1, 0.3], [0.1, 0.1, 0.3, 1]]
    )
    assert retrieval(similarity, torch.tensor([0, 0, 1, 1])) == 1
    assert retrieval(similarity, torch.tensor([0, 1, 0, 1])) == 0
    assert retrieval(similarity, torch.tensor([0, 0, 0, 1])) == pytest.approx(2 / 3)
    assert math.isnan(retrieval(similarity, torch.arange(4)))


def test_the_strongest_positions_come_first() -> None:
    permutation = torch.tensor([[2, 0, 1], [1, 2, 0]])
    strengths = torch.tensor([[1.0, 3.0, 4.0], [-1.0, -1.0, 1.0]])
    found = strongest(permutation, strengths, 2)
    assert found.a.tolist() == [[2, 1], [2, 0]]
    assert found.b.tolist() == [[1, 0], [0, 1]]
    assert found.shares[0].tolist() == [0.5, 0.375]
    assert found.shares[1].isnan().all()
    assert strongest(permutation, strengths, 8).a.shape == (2, 3)
