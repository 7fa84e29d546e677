"""An analysis in coordinates gives the numbers of the analysis of the features themselves."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sing_monitor import analyses
from sing_monitor.analyses import analyze
from sing_monitor.findings import Findings
from sing_monitor.head.geometry import HeadGeometry
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate import ridge as ridge_module
from sing_monitor.translate.reduced import ReducedSnapshot, Span, feature_dim, reduced, whole
from sing_monitor.translate.ridge import RidgeStatistics
from tests.helpers import make_snapshot, make_texts, normal


def of_few_images(seed: int = 0, samples: int = 40, m: int = 300) -> Snapshot:
    """So noisy that the search finds a ridge within its grid."""
    return make_snapshot(samples=samples, feature_dim=m, noise=20, seed=seed)


def analyzed(
    snapshot: Snapshot, ridge: float | str, *, dual: bool, in_coordinates: bool
) -> Findings:
    """Every analysis; primal, where not dual, as it is for many images."""
    head = HeadGeometry.from_weight(snapshot.weight + normal(*snapshot.weight.shape, seed=9))
    with pytest.MonkeyPatch.context() as patch:
        if not dual:
            patch.setattr(ridge_module, "form_of", lambda _: RidgeStatistics)
        if not in_coordinates:
            patch.setattr(analyses, "reduced", lambda snapshot: snapshot)
        return analyze(replace(snapshot), make_texts(snapshot), ridge=ridge, previous_head=head)


def noisy(seed: int, invariance: str) -> Snapshot:
    return replace(of_few_images(seed), invariance=invariance)


@cache
def in_primal_form(ridge: float | str, invariance: str, seed: int) -> Findings:
    return analyzed(noisy(seed, invariance), ridge, dual=False, in_coordinates=False)


@pytest.mark.parametrize("ridge", ["auto", 1e-3, 1.0])
@pytest.mark.parametrize("invariance", ["logits", "softmax"])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("dual", "in_coordinates"), [(True, False), (False, True), (True, True)])
def test_every_number_is_that_of_the_primal_form(
    ridge: float | str, invariance: str, seed: int, dual: bool, in_coordinates: bool
) -> None:
    snapshot = noisy(seed, invariance)
    assert isinstance(reduced(snapshot), ReducedSnapshot)
    found = analyzed(snapshot, ridge, dual=dual, in_coordinates=in_coordinates)
    expected = in_primal_form(ridge, invariance, seed)
    assert 1e-6 < expected.scalars["translator/ridge"] < 10
    assert dict(found.scalars) == pytest.approx(
        dict(expected.scalars), rel=1e-8, abs=1e-8, nan_ok=True
    )
    assert found.tables.keys() == expected.tables.keys()
    for name, table in expected.tables.items():
        # Far from the ridge a few steps of Lanczos end at other digits in either form.
        digits = 1e-4 if name == "ridge" else 1e-8
        pd.testing.assert_frame_equal(found.tables[name], table, rtol=digits, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_narrow_features_give_the_same_to_their_rounding(dtype: torch.dtype) -> None:
    snapshot = of_few_images()
    narrow = replace(
        snapshot,
        features=snapshot.features.to(dtype),
        weight=snapshot.weight.float(),
        embeddings=snapshot.embeddings.float(),
    )
    found, expected = (
        analyzed(narrow, 1e-2, dual=True, in_coordinates=each).scalars for each in (True, False)
    )
    assert dict(found) == pytest.approx(dict(expected), rel=1e-3, abs=1e-3, nan_ok=True)


class Largest(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that an operation returned."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, torch.Tensor):
                self.numel = max(self.numel, each.numel())
        return result


# Seven classes and 1,000: in coordinates and, of too many directions, without.
@pytest.mark.parametrize("classes", [7, 1000])
def test_no_tensor_grows_with_the_square_of_the_features(classes: int) -> None:
    m, samples, n = 3000, 40, 8
    snapshot = make_snapshot(
        samples=samples, feature_dim=m, classes=classes, embedding_dim=n, noise=20
    )
    texts = make_texts(snapshot)
    assert isinstance(reduced(snapshot), ReducedSnapshot) == (classes == 7)
    with Largest() as largest:
        analyze(replace(snapshot), texts)
    # The head, the random draws or a half's four equivalents: each a few vectors of m features.
    assert m * max(256, classes) <= largest.numel < m * m / 2


@pytest.mark.parametrize(
    "snapshot",
    [
        pytest.param(of_few_images(m=175), id="hardly fewer directions than features"),
        pytest.param(of_few_images(samples=800, m=4000), id="many images"),
        pytest.param(
            replace(of_few_images(), features=torch.full((40, 300), torch.nan)), id="NaN features"
        ),
        pytest.param(
            replace(of_few_images(), weight=torch.full((4, 300), torch.inf)), id="infinite weight"
        ),
    ],
)
def test_other_snapshots_stay_what_they_are(snapshot: Snapshot) -> None:
    assert reduced(snapshot) is snapshot
    assert whole(snapshot) is snapshot


def test_what_a_reduced_snapshot_stands_for_is_not_lost() -> None:
    snapshot = of_few_images()
    small = reduced(snapshot)
    assert whole(small) is snapshot
    assert feature_dim(small) == feature_dim(snapshot) == 300
    assert small.features.shape == (40, 45)
    torch.testing.assert_close(
        small.features @ small.weight.T, snapshot.features @ snapshot.weight.T
    )
    torch.testing.assert_close(
        small.features @ small.features.T, snapshot.features @ snapshot.features.T
    )
    basis = small.geometry.row_basis
    torch.testing.assert_close(basis.T @ basis, torch.eye(4).double())


def test_coordinates_keep_lengths_and_products_with_the_span() -> None:
    basis = torch.linalg.qr(normal(20, 3, seed=0)).Q
    span, x, inside = Span(basis), normal(2, 5, 20, seed=1), normal(4, 3, seed=2) @ basis.T
    found, own = span.coordinates(x), span.coordinates(inside)
    torch.testing.assert_close(found.norm(dim=-1), x.norm(dim=-1))
    torch.testing.assert_close(found @ own.T, x @ inside.T, atol=1e-6, rtol=1e-6)
    assert own[:, -1].abs().max() < 1e-6
