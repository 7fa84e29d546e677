"""Linear probes of either part: a slow reference, known answers, and runs without a space."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor
from torch.nn.functional import one_hot

from sing_monitor.analyses import analyze
from sing_monitor.analyses.parts.probes import analyze_probes
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.dual_ridge import DualStatistics
from sing_monitor.translate.parts import probes
from sing_monitor.translate.ridge import RidgeStatistics
from sing_monitor.translate.ridge_curve import KeptRidge
from sing_monitor.translate.ridge_search import choose_ridge
from tests.helpers import make_snapshot, normal, observe
from tests.helpers.worlds import texts_of, world

RIDGE = 0.01


def reference(snapshot: Snapshot, part: Tensor, labels: Tensor, choices: int) -> Tensor:
    """Held-out answers of scikit-learn's ridge on explicit features and one-hot targets."""
    folds, f = snapshot.folds, snapshot.features.double()
    targets, right = one_hot(labels, choices).double(), torch.empty(len(f)).double()
    for fold in (0, 1):
        own, other = folds == fold, folds != fold
        away = f[other] - f[other].mean(dim=0)
        alpha = RIDGE * float(away.square().sum()) / f.shape[1]
        fitted = Ridge(alpha=alpha, solver="svd").fit(part[other].numpy(), targets[other].numpy())
        answered = torch.from_numpy(fitted.predict(part[own].numpy())).argmax(dim=1)
        right[own] = (answered == labels[own]).double()
    return right


# Solved for answers, for images (more answers than images), and by products between images.
@pytest.mark.parametrize(
    ("samples", "feature_dim", "classes"),
    [(80, 12, 4), (90, 60, 50), (40, 60, 4)],
    ids=["answers", "images", "dual"],
)
@pytest.mark.parametrize("with_space", [True, False])
def test_probes_are_those_of_scikit_learn(
    samples: int, feature_dim: int, classes: int, with_space: bool
) -> None:
    snapshot = make_snapshot(samples=samples, feature_dim=feature_dim, classes=classes)
    f = snapshot.features + 3 * torch.randn(
        samples, feature_dim, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    snapshot = replace(snapshot, features=f)
    observation = (
        observe(snapshot, ridge=RIDGE)
        if with_space
        else Observation(replace(snapshot, embeddings=None), ridge=RIDGE)
    )
    geometry = observation.geometry
    away = f - observation.center
    parts = {"whole": f, "seen": away @ geometry.row_basis, "null": geometry.null(away)}
    colours, names = snapshot.attributes["colour"]
    for prefix, labels, choices in (
        ("probe/class_", snapshot.labels, classes),
        ("attribute/colour_probe_", colours, len(names)),
    ):
        for name, part in parts.items():
            right = reference(snapshot, part, labels, choices)
            assert torch.equal(getattr(observation.answers[prefix], name), right), name
            scalar = analyze_probes(observation).scalars[f"{prefix}{name}"]
            assert scalar == pytest.approx(float(right.mean()))


@pytest.mark.parametrize(("samples", "feature_dim"), [(80, 12), (40, 60)], ids=["primal", "dual"])
def test_without_a_space_the_ridge_is_the_best_for_the_class(
    samples: int, feature_dim: int
) -> None:
    snapshot = make_snapshot(samples=samples, feature_dim=feature_dim)
    x, targets = snapshot.features, one_hot(snapshot.labels, 4).double()
    form = RidgeStatistics if samples > feature_dim else DualStatistics
    halves = [(snapshot.folds == fold).nonzero().flatten() for fold in (0, 1)]
    expected, _ = choose_ridge([form.of(x, targets, half) for half in halves])
    found = analyze(replace(snapshot, embeddings=None), None)
    assert found.scalars["probe/ridge"] == pytest.approx(expected)
    assert 1e-6 < expected < 10


def test_with_a_space_the_ridge_is_that_of_the_translator() -> None:
    snapshot = world()
    scalars = analyze(snapshot, texts_of(snapshot)).scalars
    assert scalars["probe/ridge"] == scalars["translator/ridge"]


def test_a_probe_may_read_what_the_head_gets_wrong() -> None:
    # The head's weight is random, and the class stands in its row space.
    scalars = analyze(replace(world(noise=0.1), embeddings=None), None).scalars
    assert scalars["probe/class_seen"] > 0.99
    assert scalars["probe/class_hidden"] == pytest.approx(0, abs=0.01)


def test_a_sample_of_the_images_is_judged_where_all_are_dear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snapshot = replace(world(0.5, 0.5, samples=800), embeddings=None)
    everywhere = Observation(snapshot, ridge=RIDGE).answers
    # Eight classes and two sides.
    monkeypatch.setattr(probes, "JUDGED_PRODUCTS", 200 * 16 * 10)
    monkeypatch.setattr(probes, "FEWEST_JUDGED", 10)
    some = Observation(snapshot, ridge=RIDGE)
    rows = some.request.judged
    assert len(rows) == 200
    for prefix, answers in some.answers.items():
        for name in ("whole", "seen", "null"):
            assert torch.equal(getattr(answers, name), getattr(everywhere[prefix], name)[rows])
    found = analyze(snapshot, None, ridge=RIDGE)
    table = found.tables["intervals"].set_index("key").loc["probe/class_hidden"]
    assert table["n"] == 200
    assert found.tables["probe_classes"]["n"].sum() == 200
    assert table["low"] < found.scalars["probe/class_hidden"] < table["high"]


def test_one_fold_without_images_answers_nothing() -> None:
    snapshot = replace(world(), embeddings=None, image_ids=2 * torch.arange(400))
    found = analyze(snapshot, None)
    assert all(math.isnan(found.scalars[f"probe/class_{part}"]) for part in ("whole", "null"))
    assert math.isnan(found.scalars["probe/hidden_classes"])
    assert found.tables["probe_classes"][["whole", "hidden_p"]].isna().all(axis=None)


def test_classes_without_images_are_nan_in_the_table() -> None:
    snapshot = world()
    kept = (snapshot.labels != 3).nonzero().flatten()
    assert snapshot.image_ids is not None
    some = replace(
        snapshot,
        features=snapshot.features[kept],
        labels=snapshot.labels[kept],
        embeddings=None,
        image_ids=snapshot.image_ids[kept],
        attributes={},
    )
    table = analyze(some, None).tables["probe_classes"]
    assert table["n"][3] == 0
    assert table.loc[3, ["whole", "seen", "hidden_p", "hidden_q"]].isna().all()
    assert not bool(table["hidden"][3])
    assert np.isfinite(table["whole"].drop(3)).all()


def test_a_kept_ridge_that_reads_badly_is_chosen_anew_without_a_space() -> None:
    """Of features that knew nothing at first; kept, it would hide a class that is seen."""
    snapshot = replace(world(), embeddings=None, attributes={})
    kept, auto = (
        analyze(snapshot, None, ridge=ridge).scalars for ridge in (KeptRidge(10.0), "auto")
    )
    assert kept["probe/ridge"] == auto["probe/ridge"] < 1
    assert kept["probe/class_hidden"] == auto["probe/class_hidden"] < 0.1
    own = analyze(snapshot, None, ridge=10.0).scalars
    assert own["probe/ridge"] == 10


def test_a_space_that_features_say_nothing_of_does_not_choose_the_ridge_of_probes() -> None:
    known = replace(world(), attributes={})
    unknown = replace(known, embeddings=normal(400, 8, seed=3))
    found = analyze(unknown, texts_of(known)).scalars
    alone = analyze(replace(known, embeddings=None), None).scalars
    assert found["translator/r2"] < 0.05
    for key in ("probe/ridge", "probe/class_hidden", "probe/class_whole"):
        assert found[key] == pytest.approx(alone[key])


def test_nothing_is_hidden_where_probes_read_nothing() -> None:
    snapshot = replace(world(), features=normal(400, 16, seed=9), embeddings=None, attributes={})
    found = analyze(snapshot, None).scalars
    assert math.isnan(found["probe/class_hidden"])
    assert found["probe/class_whole"] < 0.25


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
def test_a_blind_head_keeps_nothing_however_common_a_class_is(share: float) -> None:
    """A reader that always names the commonest class knows nothing."""
    snapshot = world(seen=0.0, noise=0.1, samples=1600)
    common, rare = (snapshot.labels == label for label in (0, 4))
    count = int(share / (1 - share) * 40)
    places = torch.cat([common.nonzero()[:count].flatten(), rare.nonzero()[:40].flatten()])
    found = analyze(snapshot.take(places), texts_of(snapshot), ridge=0.01).scalars
    assert found["sing/zero_shot"] > 0.95
    assert found["sing/retention_seen"] == pytest.approx(0, abs=0.25)
    assert found["sing/hidden_classes"] >= 1
