from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.scores.angles import angle, image_score
from sing_monitor.translate.steering import null_direction, steer, steer_image
from sing_monitor.translate.translator import LinearTranslator
from tests.helpers import normal
from tests.test_golden import load

SEES_FIRST = HeadGeometry.from_weight(torch.tensor([[1.0, 0.0, 0.0]]))
SAME = LinearTranslator(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))


def problem(
    seed: int, *, classes: int = 4, samples: int = 6
) -> tuple[Tensor, LinearTranslator, Tensor, Tensor]:
    """A head's weight (classes, 12), a translator to 8 dimensions, features and a text each."""
    return (
        normal(classes, 12, seed=seed),
        LinearTranslator(normal(8, 12, seed=seed + 1), normal(8, seed=seed + 2)),
        normal(samples, 12, seed=seed + 3),
        normal(samples, 8, seed=seed + 4),
    )


def test_by_hand() -> None:
    """A head that sees the first axis; the text lies between the first and the second."""
    moved = steer_image(
        torch.tensor([2.0, 0.0, 0.0]), SAME, SEES_FIRST, torch.tensor([1.0, 1.0, 0.0]), wanted=60
    )
    torch.testing.assert_close(moved.direction, torch.tensor([0.0, 1.0, 0.0]).double())
    assert float(moved.limit) == pytest.approx(90)
    assert float(moved.step) == pytest.approx(2 * math.sqrt(3))
    torch.testing.assert_close(moved.features, torch.tensor([2.0, 2 * math.sqrt(3), 0.0]).double())
    # From 45 degrees on one side of the text to 15 on the other.
    assert float(moved.attribute_score) == pytest.approx(30)
    assert float(moved.image_score) == pytest.approx(60)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), wanted=st.floats(0.01, 85))
def test_the_wanted_score_is_hit_and_no_logit_moves(seed: int, wanted: float) -> None:
    weight, translator, features, text = problem(seed)
    moved = steer(features, translator, HeadGeometry.from_weight(weight), text, wanted=wanted)
    reached = moved.limit > wanted + 0.1
    assert not moved.step[moved.limit <= wanted].isfinite().any()
    torch.testing.assert_close(
        image_score(translator(features), translator(moved.features))[reached],
        torch.full_like(moved.limit, wanted)[reached],
        atol=1e-9,
        rtol=1e-9,
    )
    torch.testing.assert_close(
        moved.image_score[reached], torch.full_like(moved.limit, wanted)[reached]
    )
    logits, after = features @ weight.T, moved.features @ weight.T
    size = moved.features.norm(dim=1, keepdim=True) * weight.norm()
    assert ((after - logits).abs() <= 1e-14 * size)[reached].all()


def test_the_direction_is_the_projected_gradient_of_autograd() -> None:
    weight, translator, features, text = problem(0)
    head = HeadGeometry.from_weight(weight)
    leaf = features.clone().requires_grad_()
    torch.cosine_similarity(translator(leaf), text, dim=1).sum().backward()
    gradient = leaf.grad
    assert gradient is not None
    expected = torch.nn.functional.normalize(head.null(gradient), dim=1)
    torch.testing.assert_close(null_direction(features, translator, head, text), expected)


def test_no_null_direction_raises_the_cosine_faster() -> None:
    weight, translator, features, text = problem(1)
    head = HeadGeometry.from_weight(weight)

    def cosine_after(direction: Tensor) -> Tensor:
        return torch.cosine_similarity(translator(features + 1e-4 * direction), text, dim=1)

    best = cosine_after(null_direction(features, translator, head, text))
    for seed in range(20):
        other = torch.nn.functional.normalize(head.null(normal(6, 12, seed=seed)), dim=1)
        assert (cosine_after(other) < best).all()


def test_the_limit_is_where_a_long_ray_ends() -> None:
    weight, translator, features, text = problem(2)
    moved = steer(features, translator, HeadGeometry.from_weight(weight), text)
    scores = [
        angle(translator(features), translator(features + eps * moved.direction))
        for eps in (0.1, 1.0, 10.0, 1e3, 1e12)
    ]
    for nearer, farther in pairwise(scores):
        assert (nearer < farther).all()
    torch.testing.assert_close(scores[-1], moved.limit, atol=1e-6, rtol=0)


def test_what_cannot_be_reached_is_undefined_in_a_batch_and_an_error_for_one_image() -> None:
    weight, translator, features, text = problem(3)
    head = HeadGeometry.from_weight(weight)
    moved = steer(features, translator, head, text, wanted=178)
    assert (moved.limit < 178).all()
    for undefined in (moved.step, moved.features, moved.attribute_score, moved.image_score):
        assert undefined.isnan().all()
    limit = f"stays below {float(moved.limit[0]):.4g}"
    with pytest.raises(ValueError, match=limit):
        steer_image(features[0], translator, head, text[0], wanted=178)


def test_a_head_that_sees_everything_leaves_no_direction() -> None:
    _, translator, features, text = problem(4)
    head = HeadGeometry.from_weight(torch.eye(12))
    moved = steer(features, translator, head, text)
    assert moved.direction.isnan().all()
    assert moved.limit.isnan().all()
    with pytest.raises(ValueError, match="0 dimensions"):
        steer_image(features[0], translator, head, text[0])


def test_a_translator_that_reads_only_what_the_head_sees_leaves_no_direction() -> None:
    weight, translator, features, text = problem(5)
    head = HeadGeometry.from_weight(weight)
    blind = LinearTranslator(head.principal(translator.weight), translator.bias)
    assert null_direction(features, blind, head, text).isnan().all()


@pytest.mark.parametrize("wanted", [0, 180, -1, math.nan])
def test_a_wanted_score_outside_its_range_is_refused(wanted: float) -> None:
    weight, translator, features, text = problem(6)
    with pytest.raises(ValueError, match="between 0 and 180"):
        steer(features, translator, HeadGeometry.from_weight(weight), text, wanted=wanted)


@pytest.mark.parametrize("case", ["wide", "rank_deficient", "resnet_like"])
def test_on_the_heads_of_the_reference(case: str) -> None:
    data = load(case)
    head = HeadGeometry.from_weight(data["weight"])
    translator = LinearTranslator(data["translator_weight"], data["translator_bias"])
    moved = steer(data["features"], translator, head, data["text"])
    reached = ~moved.step.isnan()
    assert reached.any()
    scores = image_score(translator(data["features"]), translator(moved.features))[reached]
    torch.testing.assert_close(scores, torch.full_like(scores, 40), atol=1e-9, rtol=0)
    assert (moved.attribute_score[reached] > 0).all()
