from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.snapshot import Snapshot
from tests.helpers import (
    class_texts,
    make_snapshot,
    make_texts,
    normal,
    planted,
    scored_of,
)

RIDGE = 0.01


def test_the_spectrum_tells_what_counts_toward_the_rank() -> None:
    snapshot = replace(make_snapshot(), weight=normal(4, 2, seed=0) @ normal(2, 12, seed=1))
    spectrum = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE).tables["spectrum"]
    assert spectrum["in_row_space"].tolist() == [True, True, False, False]
    np.testing.assert_allclose(
        spectrum["singular_value"], torch.linalg.svdvals(snapshot.weight), atol=1e-12
    )


def test_drift_is_that_of_the_heads() -> None:
    snapshot = make_snapshot()
    texts = make_texts(snapshot)
    previous = HeadGeometry.from_weight(normal(4, 12, seed=9))
    findings = scored_of(snapshot, texts, ridge=RIDGE, previous_head=previous)
    assert findings.scalars["head/drift"] == snapshot.geometry.drift_from(previous) > 0.1
    other = HeadGeometry.from_weight(normal(4, 13, seed=9))
    findings = scored_of(snapshot, texts, ridge=RIDGE, previous_head=other)
    assert math.isnan(findings.scalars["head/drift"])


def test_a_zero_feature_has_no_null_angle() -> None:
    snapshot = planted(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]))
    texts = class_texts(torch.eye(3)[:2])
    expected = scored_of(snapshot, texts, ridge=RIDGE).scalars["head/null_angle"]
    more = Snapshot(
        weight=snapshot.weight,
        bias=None,
        features=torch.cat([snapshot.features, torch.zeros(2, 3)]),
        labels=torch.cat([snapshot.labels, torch.tensor([0, 1])]),
        embeddings=torch.cat([snapshot.embeddings, torch.ones(2, 3)]),
        class_names=snapshot.class_names,
    )
    scalars = scored_of(more, texts, ridge=RIDGE).scalars
    assert scalars["head/null_angle"] == pytest.approx(expected)
