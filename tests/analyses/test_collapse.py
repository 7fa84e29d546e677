from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sing_monitor.analyses.collapse import COLLAPSE_METRICS, analyze_collapse
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from tests.helpers import make_snapshot, normal, orthogonal, reorder

KEYS = {spec.key for spec in COLLAPSE_METRICS}


def collapse(snapshot: Snapshot) -> dict[str, float]:
    scalars = analyze_collapse(Observation(snapshot)).scalars
    assert scalars.keys() == KEYS
    return dict(scalars)


def reference(snapshot: Snapshot) -> dict[str, float]:
    """Word for word, with m x m matrices and loops."""
    features, labels = snapshot.features.double(), snapshot.labels
    classes = labels.unique().tolist()
    count, m = len(classes), features.shape[1]
    means = {c: features[labels == c].mean(dim=0) for c in classes}
    center = sum(means.values()) / count
    within, between = torch.zeros(m, m).double(), torch.zeros(m, m).double()
    for f, label in zip(features, labels.tolist(), strict=True):
        within += torch.outer(f - means[label], f - means[label]) / len(features)
    for mean in means.values():
        between += torch.outer(mean - center, mean - center) / count
    norms = [float((mean - center).norm()) for mean in means.values()]
    cosines = [
        float(torch.cosine_similarity(means[c] - center, means[d] - center, dim=0))
        for c in classes
        for d in classes
        if c < d
    ]
    stacked = torch.stack([means[c] - center for c in classes])
    weight = snapshot.weight.double()[classes]
    nearest = [min(classes, key=lambda c: float((f - means[c]).norm())) for f in features]
    row_space = torch.linalg.pinv(snapshot.weight.double()) @ snapshot.weight.double()
    null = torch.eye(m).double() - row_space
    average = sum(norms) / count
    return {
        "collapse/nc1": float(
            (within @ torch.linalg.pinv(between, hermitian=True, rtol=1e-10)).trace() / count
        ),
        "collapse/nc2_equinorm": math.nan
        if count == 2
        else math.sqrt(sum((n - average) ** 2 for n in norms) / count) / average,
        "collapse/nc2_equiangle": math.nan
        if count == 2
        else sum(abs(c + 1 / (count - 1)) for c in cosines) / len(cosines),
        "collapse/nc3": float((weight / weight.norm() - stacked / stacked.norm()).square().sum()),
        "collapse/nc4": sum(
            n != p for n, p in zip(nearest, snapshot.predictions.tolist(), strict=True)
        )
        / len(features),
        "collapse/null_share_between": float((null @ between).trace() / between.trace()),
        "collapse/null_share_within": float((null @ within).trace() / within.trace()),
    }


def simplex(classes: int, feature_dim: int) -> Tensor:
    """Vertices of a simplex equiangular tight frame, (C, m), turned at random."""
    vertices = torch.eye(classes).double() - 1 / classes
    return vertices @ orthogonal(feature_dim, seed=1)[:classes]


def collapsed(classes: int = 5, feature_dim: int = 9, offset: float = 3.0) -> Snapshot:
    means = simplex(classes, feature_dim)
    labels = torch.arange(6 * classes) % classes
    return Snapshot(
        weight=2.5 * means,
        bias=-2.5 * offset * means.sum(dim=1),
        features=means[labels] + offset,
        labels=labels,
        embeddings=normal(len(labels), 3, seed=2),
        class_names=tuple(map(str, range(classes))),
    )


@pytest.mark.parametrize(
    "sizes",
    [
        {"samples": 60, "classes": 4, "feature_dim": 12},
        {"samples": 50, "classes": 7, "feature_dim": 5},
        {"samples": 30, "classes": 2, "feature_dim": 40},
        {"samples": 21, "classes": 10, "feature_dim": 10},
    ],
)
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_it_agrees_with_the_slow_reference(sizes: dict[str, int], offset: float) -> None:
    snapshot = make_snapshot(**sizes, seed=3)
    shift = offset * normal(snapshot.features.shape[1], seed=4)
    assert snapshot.bias is not None
    bias = snapshot.bias - snapshot.weight @ shift  # the logits stay as they were
    shifted = replace(snapshot, features=snapshot.features + shift, bias=bias)
    assert collapse(shifted) == pytest.approx(reference(snapshot), rel=1e-7, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("apart", [0.0, 1e-3, 0.03, 1.0])
def test_means_on_a_line_or_nearly_so_agree_with_the_slow_reference(apart: float) -> None:
    snapshot = make_snapshot(samples=60, classes=4, feature_dim=12)
    first, second, third = (
        snapshot.features[snapshot.labels == label].mean(dim=0) for label in (1, 2, 3)
    )
    step = (1 - apart) * ((first + second) / 2 - third)
    features = snapshot.features + step * (snapshot.labels == 3)[:, None]
    nearly = replace(snapshot, features=features)
    assert collapse(nearly) == pytest.approx(reference(nearly), rel=1e-7, abs=1e-9)


def uneven(classes: int, feature_dim: int, *, condition: float, spread: float) -> Snapshot:
    """Class means whose covariance has this condition, features that spread about them alike."""
    turn = orthogonal(feature_dim, seed=5)
    scale = torch.logspace(0, -math.log10(condition) / 2, min(classes, feature_dim)).double()
    scale = torch.cat([scale, scale[-1:].expand(feature_dim - len(scale))])
    labels = torch.arange(20 * classes) % classes
    means = normal(classes, feature_dim, seed=6) * scale
    features = means[labels] + spread * normal(len(labels), feature_dim, seed=7) * scale
    return Snapshot(
        weight=(normal(classes, feature_dim, seed=8) @ turn).float(),
        bias=None,
        features=(features @ turn + 3).float(),
        labels=labels,
        embeddings=normal(len(labels), 3, seed=9),
        class_names=tuple(map(str, range(classes))),
    )


@pytest.mark.parametrize(("classes", "feature_dim"), [(10, 40), (60, 150), (60, 30)])
@pytest.mark.parametrize(("condition", "spread"), [(1e2, 1.0), (1e8, 1.0), (1e4, 1e-3)])
def test_single_precision_is_enough_for_uneven_means_and_collapsed_features(
    classes: int, feature_dim: int, condition: float, spread: float
) -> None:
    snapshot = uneven(classes, feature_dim, condition=condition, spread=spread)
    exact = collapse(replace(snapshot, features=snapshot.features.double()))
    assert collapse(snapshot) == pytest.approx(exact, rel=1e-5, abs=1e-12)


def test_a_class_without_images_does_not_count() -> None:
    snapshot = make_snapshot(samples=60, classes=5)
    snapshot = reorder(snapshot, (snapshot.labels != 3).nonzero().squeeze(1))
    assert collapse(snapshot) == pytest.approx(reference(snapshot), rel=1e-9)


@pytest.mark.parametrize(("classes", "offset"), [(5, 0.0), (5, 3.0), (600, 3.0)])
def test_a_simplex_is_fully_collapsed(classes: int, offset: float) -> None:
    scalars = collapse(collapsed(classes, classes + 4, offset=offset))
    for key in ("nc1", "nc2_equinorm", "nc2_equiangle", "nc3", "nc4"):
        assert scalars[f"collapse/{key}"] == pytest.approx(0, abs=1e-12)
    assert scalars["collapse/null_share_between"] == pytest.approx(0, abs=1e-12)


def test_two_classes_by_hand() -> None:
    # Means at -1 and 1 on the first axis; each class spreads by 0.5 on the first, 2 on the second.
    spread = torch.tensor([[0.5, 2.0], [-0.5, 2.0], [0.5, -2.0], [-0.5, -2.0]])
    features = torch.cat([spread + torch.tensor([-1.0, 0.0]), spread + torch.tensor([1.0, 0.0])])
    scalars = collapse(
        Snapshot(
            weight=torch.tensor([[1.0, 0.0], [-1.0, 0.0]]),
            bias=None,
            features=features,
            labels=torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]),
            embeddings=torch.ones(8, 2),
            class_names=("left", "right"),
        )
    )
    assert scalars["collapse/nc1"] == pytest.approx(0.25 / 1 / 2)
    # Whatever the features do, the means of two classes lie opposite each other.
    assert math.isnan(scalars["collapse/nc2_equinorm"])
    assert math.isnan(scalars["collapse/nc2_equiangle"])
    assert scalars["collapse/nc3"] == pytest.approx(4)  # rows against the means' direction
    assert scalars["collapse/nc4"] == 1
    assert scalars["collapse/null_share_between"] == 0
    assert scalars["collapse/null_share_within"] == pytest.approx(4 / 4.25)


@pytest.mark.parametrize(("axis", "between"), [(0, 0.0), (2, 1.0)])
def test_a_class_direction_in_the_null_space_is_seen_exactly(axis: int, between: float) -> None:
    labels = torch.arange(8) % 2
    features = torch.zeros(8, 4)
    features[:, axis] = 2.0 * labels - 1
    features[:, 3 - axis] = torch.tensor([1.0, 1, -1, -1, 1, 1, -1, -1])
    scalars = collapse(
        Snapshot(
            weight=torch.eye(4)[:2],
            bias=None,
            features=features,
            labels=labels,
            embeddings=torch.ones(8, 2),
            class_names=("a", "b"),
        )
    )
    assert scalars["collapse/null_share_between"] == pytest.approx(between)
    assert scalars["collapse/null_share_within"] == pytest.approx(1 - between)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20))
def test_nothing_depends_on_the_frame_the_scale_or_the_order(seed: int) -> None:
    snapshot = make_snapshot(seed=seed)
    expected = pytest.approx(collapse(snapshot), rel=1e-9, abs=1e-12)
    turn = orthogonal(12, seed=seed + 1)
    permuted = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    assert snapshot.bias is not None
    for changed in (
        replace(snapshot, features=snapshot.features @ turn, weight=snapshot.weight @ turn),
        replace(snapshot, weight=7 * snapshot.weight, bias=7 * snapshot.bias),
        replace(snapshot, features=7 * snapshot.features, bias=7 * snapshot.bias),
        replace(
            snapshot,
            weight=snapshot.weight[permuted],
            bias=snapshot.bias[permuted],
            labels=permuted.argsort()[snapshot.labels],
        ),
        reorder(snapshot, order),
    ):
        assert collapse(changed) == expected


def test_a_single_class_has_no_geometry() -> None:
    snapshot = make_snapshot(classes=3)
    rows = (snapshot.labels == 1).nonzero().squeeze(1)
    assert all(math.isnan(value) for value in collapse(reorder(snapshot, rows)).values())


# 0.3: its mean over some numbers of images is rounded, over others not.
@pytest.mark.parametrize("value", [0.0, 0.3, 1e5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_means_that_coincide_have_no_geometry(value: float, dtype: torch.dtype) -> None:
    snapshot = make_snapshot(samples=37)
    snapshot = replace(snapshot, features=torch.full((37, 12), value, dtype=dtype))
    assert all(math.isnan(value) for value in collapse(snapshot).values())


def test_a_head_of_zeros_points_nowhere() -> None:
    snapshot = make_snapshot()
    scalars = collapse(replace(snapshot, weight=torch.zeros_like(snapshot.weight)))
    assert math.isnan(scalars["collapse/nc3"])
    assert scalars["collapse/null_share_between"] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_with_one_image_a_class_nothing_is_within(dtype: torch.dtype) -> None:
    """Each image is its class's mean: what would be 0 or 1 by construction is not defined."""
    snapshot = make_snapshot(samples=20, classes=20, feature_dim=40)
    snapshot = replace(snapshot, features=snapshot.features.to(dtype))
    scalars = collapse(snapshot)
    for key in ("nc1", "nc4", "null_share_within"):
        assert math.isnan(scalars[f"collapse/{key}"]), key
    for key in ("nc2_equinorm", "nc2_equiangle", "nc3", "null_share_between"):
        assert math.isfinite(scalars[f"collapse/{key}"]), key
    # A second image of one class is enough to tell.
    more = torch.tensor([*range(20), 0])
    twice = reorder(snapshot, more)
    features = twice.features.clone()
    features[-1] += torch.arange(40).to(dtype)
    assert all(
        math.isfinite(value) for value in collapse(replace(twice, features=features)).values()
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_images_of_a_class_do_not_vary_but_by_rounding(dtype: torch.dtype) -> None:
    means, labels = 3 + 100 * normal(5, 12, seed=3), torch.arange(600) % 5
    snapshot = make_snapshot(samples=600, classes=5)
    snapshot = replace(snapshot, features=means.to(dtype)[labels])
    scalars = collapse(snapshot)
    assert math.isnan(scalars["collapse/null_share_within"])
    assert scalars["collapse/nc1"] == pytest.approx(0, abs=1e-12)
    assert math.isfinite(scalars["collapse/nc4"])


@pytest.mark.parametrize("scale", [1e-15, 1e-9, 1e9])
@pytest.mark.parametrize("classes", [4, 15])
def test_very_small_and_very_large_features_collapse_like_any(classes: int, scale: float) -> None:
    snapshot = make_snapshot(classes=classes)
    assert snapshot.bias is not None
    scaled = replace(snapshot, features=snapshot.features * scale, bias=snapshot.bias * scale)
    assert collapse(scaled) == pytest.approx(collapse(snapshot), rel=1e-7, abs=1e-12)
