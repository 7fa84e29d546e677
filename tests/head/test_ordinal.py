"""Thresholds between ordered classes, told from classes by what is certain of each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.head.ordinal import answers_by_thresholds, are_cumulative, is_one_score

CLASSES = 5


def labels(size: int = 200) -> Tensor:
    return torch.arange(size) % CLASSES


def thresholds(of: Tensor, noise: float = 0.1) -> Tensor:
    """Outputs of a trained ordinal head: how far each label is above each threshold."""
    generator = torch.Generator().manual_seed(0)
    scores = of + noise * torch.randn(len(of), generator=generator)
    return 4 * (scores[:, None] - torch.arange(CLASSES - 1) - 0.5)


@pytest.mark.parametrize("merged", [lambda y: (y - 1).clamp(min=0), lambda y: y])
def test_thresholds_are_known_though_every_label_has_an_output(merged: object) -> None:
    """Merged by an adapter, or without an image of the last class."""
    known = labels()[labels() < CLASSES - 1]
    given_labels = merged(known)  # type: ignore[operator]
    evidence = answers_by_thresholds(thresholds(known), given_labels)
    assert evidence is not None
    assert "fall from the first to the last for 100 %" in evidence


@given(seed=st.integers(0, 10**6), classes=st.integers(2, 6), skew=st.floats(0, 4))
def test_no_classifier_is_taken_for_thresholds(seed: int, classes: int, skew: float) -> None:
    """Whatever its labels: right ones, those of a collapsed head, those of rare classes."""
    generator = torch.Generator().manual_seed(seed)
    bias = -skew * torch.arange(classes)  # the first class is by far the commonest
    logits = torch.randn(64, classes, generator=generator) + bias
    constant = torch.randn(classes, generator=generator).sort(descending=True).values
    drawn = torch.randint(classes, (64,), generator=generator)
    for answer in (logits, constant.expand(64, classes)):
        for truth in (answer.argmax(dim=1), drawn, drawn.sort().values):
            assert answers_by_thresholds(answer, truth) is None


def test_a_head_of_two_classes_that_knows_the_first_as_the_commoner_is_a_classifier() -> None:
    """Trained where nearly all images are of the first class, and validated where half are."""
    truth = torch.arange(200) % 2
    logits = torch.stack([2.0 + 0 * truth, truth - 0.5], dim=1)
    assert answers_by_thresholds(logits, truth) is None


def test_nothing_is_said_of_no_image() -> None:
    assert answers_by_thresholds(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool])
def test_targets_of_thresholds(dtype: torch.dtype) -> None:
    above = labels()[:, None] > torch.arange(CLASSES - 1)
    assert are_cumulative(above.to(dtype))
    assert not are_cumulative(torch.eye(CLASSES)[labels()].to(dtype))
    assert not are_cumulative(above.flip(1).to(dtype))


def test_soft_labels_and_those_of_one_class_are_no_targets_of_thresholds() -> None:
    assert not are_cumulative(torch.tensor([[0.9, 0.1], [0.6, 0.4]]))
    assert not are_cumulative(torch.eye(3)[[0, 0]])
    assert not are_cumulative(torch.ones(4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_score_for_all_outputs(dtype: torch.dtype) -> None:
    score = torch.randn(20, 1, generator=torch.Generator().manual_seed(0)).to(dtype)
    shifts = torch.tensor([1.5, 0.2, -3.0], dtype=dtype)
    assert is_one_score(score + shifts)
    assert is_one_score(1000 * score + shifts)
    assert not is_one_score(score + shifts * score)
    assert not is_one_score(shifts.expand(20, 3))  # no image differs
    assert not is_one_score((score + shifts)[:1])
