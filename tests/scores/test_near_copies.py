"""Near copies across the folds are counted, and images that merely look alike are not."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sing_monitor.scores.near_copies import BOUND, SAMPLE, near_copies
from sing_monitor.space.fingerprints import mix64
from tests.helpers import normal


def folds_of(groups: Tensor) -> Tensor:
    return mix64(groups) & 1


def objects(count: int, copies: int, noise: float) -> tuple[Tensor, Tensor]:
    """Embeddings of several pictures of each object, and which object it is."""
    which = torch.arange(count).repeat_interleave(copies)
    pictures = normal(count * copies, 32, seed=1)
    return normal(count, 32, seed=0)[which] + noise * pictures + 5, which


@pytest.mark.parametrize("copies", [2, 4])
def test_the_share_of_images_with_a_copy_in_the_other_fold(copies: int) -> None:
    embeddings, which = objects(400, copies, noise=0.05)
    split = near_copies(embeddings, folds_of(torch.arange(len(which))))
    # None of the others is in the image's own fold by chance alone.
    assert split == pytest.approx(1 - 0.5 ** (copies - 1), abs=0.07)
    assert near_copies(embeddings, folds_of(which)) == 0


def test_images_of_one_class_are_no_copies() -> None:
    embeddings, which = objects(10, 80, noise=0.5)
    assert near_copies(embeddings, folds_of(torch.arange(len(which)))) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_mean_and_the_scale_of_embeddings_do_not_matter(dtype: torch.dtype) -> None:
    embeddings, which = objects(50, 3, noise=0.05)
    folds = folds_of(torch.arange(len(which)))
    expected = near_copies(embeddings, folds)
    assert 0.5 < expected < 0.9
    assert near_copies((embeddings / 7 + 3).to(dtype), folds) == pytest.approx(expected, abs=0.03)


def test_the_bound_is_one_of_the_cosine_about_the_mean() -> None:
    # Two pairs, each across the folds, at a cosine just above and just below the bound.
    wide, near = math.acos(BOUND) + 0.01, math.acos(BOUND) - 0.01
    plane = torch.tensor([[math.cos(a), math.sin(a)] for a in (0, wide)]).double()
    other = torch.tensor([[math.cos(a), math.sin(a)] for a in (0, near)]).double()
    zero = torch.zeros(2, 2).double()
    half = torch.cat([torch.cat([plane, zero], dim=1), torch.cat([zero, other], dim=1)])
    embeddings = torch.cat([half, -half]) + 9
    folds = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    assert near_copies(embeddings, folds) == 0.5


def test_only_some_images_of_many_are_looked_at() -> None:
    embeddings, which = objects(3 * SAMPLE, 2, noise=0.05)
    # A copy of every image in the other fold.
    folds = torch.arange(len(which)) & 1
    assert near_copies(embeddings, folds) == 1


@pytest.mark.parametrize("value", [0.0, 0.3, 1e5])
def test_embeddings_that_are_all_alike_tell_nothing(value: float) -> None:
    embeddings = torch.full((30, 8), value)
    assert math.isnan(near_copies(embeddings, torch.arange(30) & 1))


def test_with_one_fold_there_is_nothing_to_compare() -> None:
    assert math.isnan(near_copies(normal(30, 8, seed=0), torch.zeros(30).long()))
    assert math.isnan(near_copies(normal(1, 8, seed=0), torch.zeros(1).long()))
