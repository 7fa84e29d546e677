from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch

from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.cross_fit import cross_fit, mean_cosine
from sing_monitor.translate.nonlinear import KINDS, TranslatorKind
from sing_monitor.translate.translator_check import compare_translators, fit_nonlinear
from tests.helpers import make_snapshot, normal, reorder


def problem(*, is_linear: bool) -> Snapshot:
    """Embeddings that are a linear map of the features, or of their absolute values."""
    snapshot = make_snapshot(samples=600, feature_dim=8, embedding_dim=4)
    features = normal(600, 8, seed=5)
    read = features if is_linear else features.abs()
    return replace(snapshot, features=features, embeddings=read @ normal(8, 4, seed=6))


def compared(snapshot: Snapshot, *kinds: TranslatorKind) -> pd.DataFrame:
    """A larger learning rate than the paper's learns in fewer steps."""
    return compare_translators(
        snapshot, kinds, ridge=1e-6, hidden_dim=32, steps=200, learning_rate=3e-3
    ).set_index("kind")


def test_nothing_beats_the_linear_translator_on_a_linear_map() -> None:
    table = compared(problem(is_linear=True), "linear", "3layer")
    assert table.index.tolist() == ["linear", "3layer"]
    assert table["r2"]["linear"] > 0.999
    # The other learns it too, which tells that it is trained at all.
    assert 0.7 < table["r2"]["3layer"] < table["r2"]["linear"]
    assert table["image_score"]["3layer"] == pytest.approx(table["image_score"]["linear"], abs=10)


def test_every_nonlinear_translator_beats_it_on_a_map_that_is_none() -> None:
    table = compared(problem(is_linear=False), *KINDS)
    assert table["r2"]["linear"] < 0.1
    for kind in ("3layer", "4layer", "residual"):
        assert table["r2"][kind] > 0.3
        assert table["mse"][kind] < table["mse"]["linear"]
        assert table["cosine"][kind] > table["cosine"]["linear"]


def test_the_linear_row_is_that_of_the_analysis() -> None:
    snapshot = make_snapshot()
    row = compare_translators(snapshot, ["linear"], ridge=0.01).iloc[0]
    fit = cross_fit(snapshot.features, snapshot.embeddings, snapshot.folds, 0.01)
    pairs = fit.translate(snapshot.features, snapshot.geometry, snapshot.features.mean(dim=0))
    assert row["r2"] == pytest.approx(
        fit.r2(float((pairs.original - snapshot.embeddings).square().sum()))
    )
    assert row["cosine"] == pytest.approx(mean_cosine(pairs.original, snapshot.embeddings))


def test_a_fit_depends_on_its_seed_alone_and_moves_no_generator() -> None:
    x, z = normal(40, 6, seed=0), normal(40, 3, seed=1)
    state = torch.get_rng_state()
    with torch.no_grad():
        first = fit_nonlinear("3layer", x, z, steps=2)
    torch.manual_seed(5)
    again = fit_nonlinear("3layer", x, z, steps=2)
    other = fit_nonlinear("3layer", x, z, steps=2, seed=1)
    torch.set_rng_state(state)
    fit_nonlinear("3layer", x, z, steps=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first(x.float()), again(x.float()))
    assert not torch.equal(first(x.float()), other(x.float()))
    assert not any(parameter.requires_grad for parameter in first.parameters())


def test_features_without_embeddings_are_refused() -> None:
    with pytest.raises(ValueError, match="got 3 features and 2 embeddings"):
        fit_nonlinear("3layer", torch.zeros(3, 4), torch.zeros(2, 4))


def test_an_empty_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="give a snapshot of more images"):
        compare_translators(reorder(make_snapshot(), torch.tensor([4])))
