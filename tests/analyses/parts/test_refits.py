"""Refits on the seen and the null part: known answers, and a slow reference."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from sing_monitor.analyses import analyze
from sing_monitor.analyses.parts import refits
from sing_monitor.analyses.parts.refits import analyze_refits, rereadings
from sing_monitor.observation import Observation
from sing_monitor.row_blocks import all_rows
from sing_monitor.snapshot import Snapshot
from sing_monitor.translate.parts import probes
from tests.helpers import make_snapshot, make_texts, observe, reorder
from tests.helpers.worlds import CLASSES, texts_of, world

RIDGE = 0.01
CHANCE = 1 / CLASSES


def scalars_of(snapshot: Snapshot, ridge: float = RIDGE) -> dict[str, float]:
    return dict(analyze(snapshot, texts_of(snapshot), ridge=ridge).scalars)


def test_a_class_that_stands_in_both_parts_is_not_hidden() -> None:
    # The null copy is longer, so the translator reads that one. Removal leaves a fraction of the
    # class beside all of the nuisance.
    found = scalars_of(world(1.0, 4.0, nuisance=0.2, noise=0.05), ridge=1e-3)
    assert found["sing/zero_shot"] > 0.99
    assert found["sing/retention_seen"] == pytest.approx(1, abs=0.01)
    assert found["sing/class_hidden"] == pytest.approx(0, abs=0.01)
    assert found["sing/retention"] < 0.5
    assert found["meaning/unique_null"] == pytest.approx(0, abs=0.02)
    assert found["meaning/shared"] > 0.3
    assert found["sing/zero_shot_null"] > 0.99
    assert found["probe/class_hidden"] == pytest.approx(0, abs=0.01)
    assert found["sing/hidden_classes"] == found["probe/hidden_classes"] == 0
    assert found["attribute/side_hidden"] == pytest.approx(0, abs=0.01)


def test_a_class_that_stands_in_the_null_part_alone_is_hidden() -> None:
    found = scalars_of(world(0.0, 1.0, samples=1600))
    # Chance on 1,600 images has a standard error of 0.008.
    assert found["sing/zero_shot_seen"] == pytest.approx(CHANCE, abs=0.03)
    assert found["sing/retention_seen"] == pytest.approx(0, abs=0.04)
    assert found["sing/class_hidden"] == pytest.approx(found["sing/zero_shot"] - CHANCE, abs=0.03)
    assert found["meaning/unique_seen"] == pytest.approx(0, abs=0.01)
    assert found["meaning/unique_null"] > 0.7
    assert found["sing/hidden_classes"] == found["probe/hidden_classes"] == CLASSES
    assert found["probe/class_seen"] == pytest.approx(CHANCE, abs=0.03)
    assert found["attribute/side_retention_seen"] == pytest.approx(0, abs=0.1)
    assert found["attribute/side_probe_seen"] == pytest.approx(0.5, abs=0.04)


def test_the_more_of_the_class_is_in_the_null_space_the_more_is_hidden() -> None:
    shares = torch.linspace(0, 1, 6).double()
    found = [scalars_of(world(float(1 - s), float(s), noise=0.25, samples=800)) for s in shares]
    for key, rises in (
        ("sing/class_hidden", True),
        ("probe/class_hidden", True),
        ("meaning/unique_null", True),
        ("sing/retention_seen", False),
        ("meaning/unique_seen", False),
    ):
        values = [each[key] for each in found]
        assert values == sorted(values, reverse=not rises), key
    assert found[0]["sing/class_hidden"] == pytest.approx(0, abs=0.01)


def test_the_classes_that_are_hidden_are_named_and_no_others() -> None:
    hidden = [1, 4, 6]
    length = [0.0 if c in hidden else 1.0 for c in range(CLASSES)]
    snapshot = world(length, 1.0, noise=0.15)
    findings = analyze(snapshot, texts_of(snapshot), ridge=RIDGE)
    for name in ("classes", "probe_classes"):
        assert findings.tables[name]["hidden"].to_numpy().nonzero()[0].tolist() == hidden
    assert findings.scalars["sing/hidden_classes"] == findings.scalars["probe/hidden_classes"] == 3
    classes = findings.tables["classes"]
    assert (classes["zero_shot_seen"][hidden] < classes["zero_shot"][hidden] - 0.2).all()
    assert (classes["hidden_q"][hidden] < 1e-3).all()


def test_the_parts_add_up_to_the_whole() -> None:
    found = scalars_of(world(0.6, 0.8))
    parts = [found[f"meaning/{name}"] for name in ("unique_seen", "shared", "unique_null")]
    assert sum(parts) == pytest.approx(found["translator/r2"])
    assert parts[0] + parts[1] == pytest.approx(found["translator/r2_seen"])
    assert parts[2] + parts[1] == pytest.approx(found["translator/r2_null"])


@pytest.mark.parametrize("feature_dim", [5, 300])
def test_without_a_null_space_the_head_sees_all(feature_dim: int) -> None:
    # 300 features and images in coordinates, under a head of full rank.
    snapshot = make_snapshot(classes=max(12, feature_dim), feature_dim=feature_dim, samples=60)
    found = dict(analyze(snapshot, make_texts(snapshot), ridge=0.1).scalars)
    assert found["head/null_dim"] == 0
    assert found["translator/r2_seen"] == found["translator/r2"]
    assert found["sing/zero_shot_seen"] == found["sing/zero_shot"]
    assert found["probe/class_seen"] == found["probe/class_whole"]
    for key in ("sing/class_hidden", "sing/hidden_classes", "probe/hidden_classes"):
        assert found[key] == 0
    # Of 300 classes of 60 images a probe reads none.
    assert found["probe/class_hidden"] == 0 or feature_dim == 300
    for key in ("sing/zero_shot_null", "probe/class_null", "attribute/colour_probe_null"):
        assert math.isnan(found[key])
    assert found["meaning/unique_null"] == found["meaning/shared"] == 0
    assert found["meaning/unique_seen"] == found["translator/r2"]


def test_a_head_that_sees_nothing_hides_everything() -> None:
    snapshot = world()
    found = scalars_of(replace(snapshot, weight=torch.zeros_like(snapshot.weight)))
    assert found["translator/r2_seen"] == pytest.approx(0, abs=1e-12)
    assert found["meaning/unique_null"] == pytest.approx(found["translator/r2"])
    assert found["sing/zero_shot_null"] == found["sing/zero_shot"]
    assert found["probe/class_null"] == found["probe/class_whole"]
    # The mean embedding is nearest to one and the same text in each fold.
    assert found["sing/zero_shot_seen"] == pytest.approx(CHANCE, abs=0.05)


def test_nothing_is_read_where_a_fold_is_empty() -> None:
    snapshot = world()
    found = scalars_of(replace(snapshot, image_ids=2 * torch.arange(len(snapshot))))
    keys = [spec.key for spec in (*refits.REFIT_METRICS,) if "{" not in spec.key]
    for key in (*keys, "translator/r2_seen", "meaning/shared", "probe/class_whole"):
        assert math.isnan(found[key]), key


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_features_that_do_not_vary_say_nothing(value: float) -> None:
    snapshot = replace(world(), features=torch.full((400, 16), value, dtype=torch.float64))
    found = scalars_of(snapshot)
    for key in ("translator/r2", "translator/r2_seen", "sing/class_hidden", "probe/class_hidden"):
        assert math.isnan(found[key]), key


def reference(observation: Observation, part: Tensor, rho: float = RIDGE) -> tuple[Tensor, Tensor]:
    """Held-out translations and squared errors of scikit-learn's ridge on explicit features."""
    snapshot = observation.snapshot
    z, folds, f = snapshot.embeddings, snapshot.folds, snapshot.features.double()
    translated, error = torch.empty_like(z), torch.empty(len(z)).double()
    for fold in (0, 1):
        own, other = folds == fold, folds != fold
        away = f[other] - f[other].mean(dim=0)
        alpha = rho * float(away.square().sum()) / f.shape[1]
        fitted = Ridge(alpha=alpha, solver="svd").fit(part[other].numpy(), z[other].numpy())
        translated[own] = torch.from_numpy(fitted.predict(part[own].numpy()))
        error[own] = (translated[own] - z[own]).square().sum(dim=1)
    return translated, error


@pytest.mark.parametrize(("samples", "feature_dim"), [(80, 12), (40, 60)], ids=["primal", "dual"])
@pytest.mark.parametrize("seed", [0, 1])
def test_refits_are_those_of_scikit_learn(samples: int, feature_dim: int, seed: int) -> None:
    snapshot = make_snapshot(samples=samples, feature_dim=feature_dim, noise=25, seed=seed)
    observation = observe(snapshot, ridge=RIDGE)
    geometry, texts = observation.geometry, observation.class_texts
    away = snapshot.features - observation.center
    parts = {"seen": away @ geometry.row_basis, "null": geometry.null(away)}
    reread = observation.once(rereadings)["sing/"]
    for name, part in parts.items():
        translated, error = reference(observation, part)
        r2 = 1 - float(error.sum()) / observation.fit.total
        assert getattr(observation.fit, f"r2_{name}") == pytest.approx(r2, abs=1e-8)
        cosines = torch.cosine_similarity(translated[:, None], texts[None], dim=2)
        right = (cosines.argmax(dim=1) == snapshot.labels).double()
        assert torch.equal(getattr(reread, name), right)
        assert 0 < float(right.mean()) < 1


def test_a_sample_of_the_images_judges_the_null_part(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = world(0.5, 0.5, samples=800)
    whole = observe(snapshot, texts_of(snapshot), ridge=RIDGE)
    everywhere = whole.once(rereadings)["sing/"].null
    monkeypatch.setattr(probes, "JUDGED_PRODUCTS", 200 * 16 * 8)
    monkeypatch.setattr(probes, "FEWEST_JUDGED", 10)
    some = observe(snapshot, texts_of(snapshot), ridge=RIDGE)
    rows = some.judged(8)
    assert len(rows) == 200
    assert int(snapshot.folds[rows].sum()) == 100
    assert torch.equal(some.once(rereadings)["sing/"].null, everywhere[rows])
    # The same images in another order are judged.
    order = torch.randperm(800, generator=torch.Generator().manual_seed(3))
    plain = replace(snapshot, sample_index=all_rows(snapshot.features))
    turned = observe(reorder(plain, order), texts_of(snapshot), ridge=RIDGE)
    assert set(turned.snapshot.ids[turned.judged(8)].tolist()) == set(snapshot.ids[rows].tolist())
    found = analyze_refits(some).scalars
    assert found["sing/class_hidden"] == analyze_refits(whole).scalars["sing/class_hidden"]
