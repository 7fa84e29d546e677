"""One image explained from a snapshot alone."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from sing_monitor.analyses import analyze
from sing_monitor.explain.stored_image import explain_stored_image
from sing_monitor.snapshot import Snapshot, hex_id
from sing_monitor.space.text_embeddings import Texts, TextSet
from sing_monitor.translate.cross_fit import CrossFit, cross_fit


@pytest.fixture
def snapshot() -> Snapshot:
    """40 images, of which the head sees the first two of four features."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    return Snapshot(
        weight=torch.eye(2, 4),
        bias=torch.ones(2),
        features=features,
        labels=torch.arange(40) % 2,
        embeddings=features + 5 * torch.eye(4)[0],
        class_names=("a", "b"),
        epoch=3,
        step=7,
        image_ids=torch.arange(40) + 100,
    )


def fit(snapshot: Snapshot) -> CrossFit:
    return cross_fit(snapshot.features, snapshot.embeddings, snapshot.folds, 1e-6)


def test_null_concepts_are_lost_and_logits_stay(snapshot: Snapshot) -> None:
    row = int(snapshot.features[:, 3].argmax())
    seen_and_ignored = torch.eye(4)[[0, 3]]
    texts = Texts(
        TextSet(("a", "b"), seen_and_ignored), TextSet(("seen", "ignored"), seen_and_ignored)
    )
    found = explain_stored_image(replace(snapshot, texts=texts), fit(snapshot), hex_id(row + 100))
    assert found.target == "ab"[row % 2]
    assert found.cosine == pytest.approx(1)
    toward = 1 if row % 2 == 0 else -1
    for shift in (found.removed, found.centered):
        assert shift.attribute_score * toward > 0
        assert [name for name, _ in shift.lost] == ["ignored"]
        assert [name for name, _ in shift.gained] == ["seen"]
        torch.testing.assert_close(shift.logits, found.logits)
        assert row not in shift.nearest
    torch.testing.assert_close(found.logits, snapshot.features[row, :2] + 1)


def test_without_texts_there_is_no_as_and_no_concept(snapshot: Snapshot) -> None:
    found = explain_stored_image(snapshot, fit(snapshot), hex_id(100))
    assert math.isnan(found.removed.attribute_score)
    assert (found.removed.gained, found.removed.lost) == ((), ())
    assert found.removed.image_score > 0


def test_an_unknown_image_and_an_empty_fold_are_refused(snapshot: Snapshot) -> None:
    with pytest.raises(ValueError, match="snapshot of epoch 3 does not hold the image ff"):
        explain_stored_image(snapshot, fit(snapshot), "ff")
    one_fold = cross_fit(
        snapshot.features, snapshot.embeddings, torch.zeros(40, dtype=torch.long), 0.1
    )
    with pytest.raises(ValueError, match="one fold"):
        explain_stored_image(snapshot, one_fold, hex_id(100))


@pytest.mark.parametrize("has_ids", [True, False])
def test_the_random_subspace_is_that_of_the_run_s_tables(snapshot: Snapshot, has_ids: bool) -> None:
    texts = Texts(TextSet(("a", "b"), torch.eye(4)[:2]))
    snapshot = replace(snapshot, texts=texts)
    if not has_ids:
        snapshot = replace(snapshot, image_ids=None)
    table = analyze(snapshot, texts, ridge=1e-6).tables["images"]
    for row in (0, 17):
        found = explain_stored_image(snapshot, fit(snapshot), table["image"][row])
        assert found.random is not None
        attribute, image = found.random
        assert attribute == pytest.approx(table["attribute_score_random"][row], abs=1e-4)
        assert image == pytest.approx(table["image_score_random"][row], abs=1e-4)


def test_logits_that_are_no_numbers_name_no_class(snapshot: Snapshot) -> None:
    broken = replace(snapshot, bias=torch.tensor([math.nan, 1.0]))
    with pytest.raises(ValueError, match="so the head predicts no class"):
        explain_stored_image(broken, fit(broken), hex_id(100))
