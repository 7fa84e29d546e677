from __future__ import annotations

import pytest
import torch
from torch.nn.functional import one_hot

from sing_monitor.head.feature_split import coordinates
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.row_blocks import mean
from sing_monitor.translate.dual_ridge import DualStatistics
from sing_monitor.translate.parts.probes import judged_images
from sing_monitor.translate.parts.scores import Question, answer_shares, answer_sums
from sing_monitor.translate.ridge import RidgeStatistics
from sing_monitor.translate.ridge_parts import NullInverse, factorize, forward
from tests.helpers import generator, normal

close = torch.testing.assert_close


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_sums_by_answer_are_products_with_one_hot_targets(dtype: torch.dtype) -> None:
    x, labels = normal(50, 7, seed=0).to(dtype) + 3, torch.arange(50) % 4
    rows, questions = torch.arange(50)[::3], [Question(labels, 6)]
    targets = one_hot(labels, 6).to(dtype)
    expected = RidgeStatistics.of(x, targets, rows)
    close(answer_shares(rows, questions), expected.mean_z)
    found = answer_sums(x, expected.mean_x, rows, questions, expected.xx.dtype).T
    close(found, expected.xz, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("form", [RidgeStatistics, DualStatistics])
def test_coordinates_in_the_row_space_have_the_statistics_of_a_fit_on_them(form) -> None:
    x, z, rows = normal(50, 7, seed=0) + 3, normal(50, 2, seed=1), torch.arange(50)[::2]
    head = HeadGeometry.from_weight(normal(3, 7, seed=2))
    seen = coordinates(x, head, mean(x, rows) + 1)
    found, expected = form.of(x, z, rows).of_row_space(seen, rows, head), form.of(seen, z, rows)
    translators = [each.solve_at(0.7).translator for each in (found, expected)]
    close(translators[0].weight, translators[1].weight)
    close(translators[0].bias, translators[1].bias)
    assert found.squared_error(translators[0]) == pytest.approx(
        float((z[rows] - translators[1](seen[rows])).square().sum())
    )


@pytest.mark.parametrize("rank", [0, 2, 6])
def test_the_null_inverse_is_the_inverse_on_the_null_space(rank: int) -> None:
    x, basis = normal(40, 7, seed=0), torch.linalg.qr(normal(7, 7, seed=1)).Q
    factor = factorize(x.T @ x, 0.3)
    inverse = NullInverse.of(factor, basis[:, :rank], torch.float64)
    null = basis[:, rank:]
    inner = null.T @ (x.T @ x + 0.3 * torch.eye(7)) @ null
    expected = null @ torch.linalg.inv(inner) @ null.T
    vectors = normal(7, 3, seed=2)
    close(inverse.after_forward(forward(factor, vectors)), expected @ vectors)


def test_all_images_are_judged_where_that_is_cheap() -> None:
    ids, folds = torch.arange(3000), torch.arange(3000) % 2
    assert torch.equal(judged_images(ids, folds, 128 * 10), ids)
    assert torch.equal(judged_images(ids[:400], folds[:400], 10**9), ids[:400])


def test_a_sample_is_the_same_in_any_order_and_takes_its_share_of_either_fold() -> None:
    ids = torch.randint(-(2**62), 2**62, (3000,), generator=generator(0))
    folds = (torch.arange(3000) % 3 == 0).long()
    rows = judged_images(ids, folds, 10**6)
    assert len(rows) == 999  # of 1,000, rounded down in either fold
    assert int(folds[rows].sum()) == 333
    assert torch.equal(rows, rows.unique())
    order = torch.randperm(3000, generator=generator(1))
    turned = judged_images(ids[order], folds[order], 10**6)
    assert set(ids[order][turned].tolist()) == set(ids[rows].tolist())


def test_a_sample_of_classes_in_rotation_holds_all_of_them() -> None:
    positions = torch.arange(10_000)
    rows = judged_images(positions, positions % 2, 10**9)
    counts = (positions[rows] % 10).bincount(minlength=10)
    assert len(rows) == 500
    assert counts.min() >= 40
