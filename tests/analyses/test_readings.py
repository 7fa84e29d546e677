from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sing_monitor.scores.angles import attribute_score
from sing_monitor.space.text_embeddings import Texts, TextSet
from tests.helpers import (
    make_snapshot,
    make_texts,
    planted,
    scored_of,
)

RIDGE = 0.01


def test_attributes_by_hand() -> None:
    # The head reads the class; the colour, on the third feature, is all in the null space.
    snapshot = planted(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    snapshot = replace(
        snapshot,
        features=snapshot.features.repeat(5, 1),
        embeddings=snapshot.embeddings.repeat(5, 1),
        labels=snapshot.labels.repeat(5),
        image_ids=torch.arange(40),
    )
    bright = (snapshot.features[:, 2] > 1).long()
    snapshot = replace(snapshot, attributes={"ink": (bright, ("dark", "bright"))})
    values = torch.tensor([[1.0, 1.0, 0.9], [0.1, 0.1, 2.0]])
    texts = Texts(
        TextSet(snapshot.class_names, torch.eye(3)[:2]),
        attributes={"ink": TextSet(("dark", "bright"), values)},
    )
    scalars = scored_of(snapshot, texts, ridge=1e-11).scalars
    before = snapshot.features
    after = torch.cat([before[:, :2], torch.ones(40, 1)], dim=1)
    expected = attribute_score(before, after, values.double()[bright])
    assert scalars["attribute/ink_score"] == pytest.approx(float(expected.mean()), abs=1e-6)
    assert float(expected.mean()) < -4
    assert scalars["attribute/ink_zero_shot"] == 1
    # With the third feature at 1, every image looks alike: one of the two values is right.
    assert scalars["attribute/ink_zero_shot_centered"] == 0.5
    assert scalars["attribute/ink_retention"] == pytest.approx(0)


def test_an_attribute_without_texts_is_left_to_the_catalogue() -> None:
    snapshot = make_snapshot()
    texts = replace(make_texts(snapshot), attributes={})
    scalars = scored_of(snapshot, texts, ridge=RIDGE).scalars
    assert not any(key.startswith("attribute/") for key in scalars)
