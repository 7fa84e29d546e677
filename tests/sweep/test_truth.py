"""The sweep's own yardstick: which layer gives an answer, and what counts as a fault."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from tests.sweep.truth import Truth, find_truth
from tests.sweep.verdict import WAYS, Verdict, judge
from tests.sweep.vision import random_images

IMAGES = random_images(4)


class Features(nn.Module):
    """Anything before a head: 6 features."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.ReLU())
            self.fc, self.other = nn.Linear(6, 5), nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.body(images))


class Averaged(Features):
    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        return (self.fc(features) + self.other(features)) / 2


class Cosine(nn.Linear):
    def forward(self, features: Tensor) -> Tensor:
        return linear(normalize(features), normalize(self.weight))


class Hidden(Features):
    """The layer named like a head is not the one that answers."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        self.fc(features)
        return self.other(features)


class Tokens(Features):
    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.body(images)[:, None])[:, 0]


class Convolution(Features):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Conv2d(6, 5, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.body(images)[..., None, None]).flatten(1)


class Named(Features):
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": super().forward(images)}


@pytest.mark.parametrize(
    ("kind", "heads"),
    [
        (Features, ("fc",)),
        (Averaged, ()),
        (Hidden, ("other",)),
        (Tokens, ("fc",)),
        (Convolution, ("fc",)),
        (Named, ("fc",)),
    ],
)
def test_the_layer_that_answers(kind: type[nn.Module], heads: tuple[str, ...]) -> None:
    truth = find_truth(kind(), IMAGES)
    assert truth.heads == heads
    assert truth.answer.shape == (len(IMAGES), 5)


def test_a_layer_that_normalizes_is_no_head() -> None:
    model = Features()
    model.fc = Cosine(6, 5)
    assert find_truth(model, IMAGES).heads == ()


def test_a_head_of_zeros_is_found_and_left_as_it_is() -> None:
    model = Features()
    for layer in (model.fc, model.other):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    truth = find_truth(model, IMAGES)
    assert truth.heads == ("fc",)
    assert truth.is_zero
    assert not truth.answer.any()
    assert not model.fc.weight.any()
    assert not model.other.weight.any()


@pytest.mark.parametrize("way", WAYS)
def test_what_is_watched_is_held_against_the_truth(way: str) -> None:
    model = Features()
    truth = find_truth(model, IMAGES)
    assert judge(way, model, IMAGES, truth).verdict is Verdict.RIGHT
    elsewhere = Truth(truth.answer + torch.eye(len(IMAGES), 5), ("other",), False)
    assert judge(way, model, IMAGES, elsewhere).verdict is Verdict.WRONG


def test_numbers_count_where_no_one_layer_answers() -> None:
    model = Features()
    truth = find_truth(model, IMAGES)
    right = judge("analyze", model, IMAGES, Truth(truth.answer, (), False))
    wrong = judge("analyze", model, IMAGES, Truth(2 * truth.answer, (), False))
    assert (right.verdict, wrong.verdict) == (Verdict.RIGHT, Verdict.WRONG)
