from __future__ import annotations

import math

import torch

from sing_monitor.scores.angles import zero_shot_correct
from sing_monitor.scores.choices import Choice
from tests.helpers import generator, normal


def test_the_margin_is_that_to_the_best_other_answer() -> None:
    scores = torch.tensor([[0.75, 0.5, 0.25], [0.75, 0.5, 1.0]], dtype=torch.float64)
    choice = Choice.of(scores, torch.tensor([0, 1]))
    assert choice.right.tolist() == [1, 0]
    assert choice.margin.tolist() == [0.25, -0.5]
    assert choice.rival.tolist() == [1, 2]


def test_choices_are_right_where_the_nearest_text_is_the_true_one() -> None:
    scores, labels = normal(200, 4, seed=0), torch.randint(4, (200,), generator=generator(1))
    scores[:20, 2] = scores[:20, 1]
    scores[:, 3] = math.nan
    choice = Choice.of(scores, labels)
    assert torch.equal(choice.right, zero_shot_correct(scores, labels))
    assert (choice.rival != 3).all()
    assert (choice.margin[labels == 3] == -math.inf).all()


def test_scores_stay_as_they_are() -> None:
    scores = normal(5, 3, seed=0)
    kept = scores.clone()
    Choice.of(scores, torch.zeros(5, dtype=torch.int64))
    assert torch.equal(scores, kept)


def test_without_any_score_nothing_is_right_or_wrong() -> None:
    choice = Choice.of(torch.full((2, 3), math.nan), torch.tensor([0, 1]))
    assert choice.right.isnan().all()


def test_an_only_answer_has_no_rival_to_lose_to() -> None:
    choice = Choice.of(torch.tensor([[-0.5]]), torch.tensor([0]))
    assert (choice.right.tolist(), choice.margin.tolist()) == ([1], [math.inf])


def test_choices_of_either_fold_are_woven_in_order() -> None:
    scores, labels = normal(9, 4, seed=0), torch.arange(9) % 4
    is_odd = torch.arange(9) % 3 == 0
    whole = Choice.of(scores, labels)
    found = Choice.woven(
        is_odd,
        Choice.of(scores[~is_odd], labels[~is_odd]),
        Choice.of(scores[is_odd], labels[is_odd]),
    )
    for name in ("right", "margin", "rival"):
        assert torch.equal(getattr(found, name), getattr(whole, name))
