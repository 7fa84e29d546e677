"""One image of the probe must get the scores that the analysis of the whole probe gives it."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
import torch

from sing_monitor.analyses.images import analyze_images
from sing_monitor.explain.image import explain_image
from sing_monitor.explain.model_image import explain_model_image
from sing_monitor.head.forward import run_head
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot, hex_id
from sing_monitor.space.fingerprints import fingerprint, to_uint8
from sing_monitor.space.text_embeddings import Texts, concept_set, text_set
from tests.helpers import tiny

CONCEPTS = ["red", "striped", "a beach", "wood", "night", "sand"]
RIDGE = 1e-3


@pytest.fixture(scope="module")
def model() -> tiny.Classifier:
    return tiny.Classifier()


@pytest.fixture(scope="module", params=[None, torch.arange(48) // 3], ids=["images", "groups"])
def snapshot(model: tiny.Classifier, request: pytest.FixtureRequest) -> Snapshot:
    data, space = tiny.Blobs(), tiny.HashSpace()
    seen = run_head(model, data.images)
    return Snapshot(
        weight=seen.weight,
        bias=seen.bias,
        features=seen.features,
        labels=data.labels,
        embeddings=space.encode_images(data.images),
        class_names=tiny.CLASSES,
        image_ids=fingerprint(to_uint8(data.images)),
        groups=request.param,
    )


@pytest.fixture(scope="module")
def table(snapshot: Snapshot) -> pd.DataFrame:
    space = tiny.HashSpace()
    texts = Texts(text_set(space, tiny.CLASSES, "an image of a {}"), concept_set(space, CONCEPTS))
    return analyze_images(Observation(snapshot, texts, ridge=RIDGE)).tables["images"]


def explained(model: tiny.Classifier, row: int = 0, **changes: Any) -> Any:
    arguments = {"concepts": CONCEPTS, "ridge": RIDGE, "dataset": tiny.Blobs(), **changes}
    return explain_image(model, tiny.Blobs().images[row], tiny.HashSpace(), **arguments)


@pytest.mark.parametrize("row", range(6))
def test_scores_and_neighbours_are_those_of_the_images_table(
    model: tiny.Classifier, snapshot: Snapshot, table: pd.DataFrame, row: int
) -> None:
    # The table is worked out in single precision, one image in double.
    found = explained(model, row, snapshot=snapshot, label=int(snapshot.labels[row]))
    expected = table.iloc[row]
    for suffix, shift in (("", found.removed), ("_centered", found.centered)):
        assert shift.attribute_score == pytest.approx(
            expected[f"attribute_score{suffix}"], abs=1e-3
        )
        assert shift.image_score == pytest.approx(expected[f"image_score{suffix}"], abs=1e-3)
    assert tiny.CLASSES.index(found.prediction) == expected["prediction"]
    if expected["mover"]:
        ids = [hex_id(value) for value in snapshot.image_ids.tolist()]
        for rows, column in (
            (found.nearest, "neighbours_before"),
            (found.removed.nearest, "neighbours_after"),
            (found.centered.nearest, "neighbours_after_centered"),
        ):
            assert [ids[other] for other in rows] == list(expected[column])


def test_random_subspaces_are_those_of_the_images_table(
    model: tiny.Classifier, snapshot: Snapshot, table: pd.DataFrame
) -> None:
    found = explained(model, 4, snapshot=snapshot, label=int(snapshot.labels[4]))
    expected = table.loc[4, ["attribute_score_random", "image_score_random"]].tolist()
    assert found.random == pytest.approx(expected, abs=1e-3)


def test_texts_of_the_snapshot_make_the_space_superfluous(
    model: tiny.Classifier, snapshot: Snapshot
) -> None:
    space = tiny.HashSpace()
    texts = Texts(text_set(space, tiny.CLASSES, "a {}"), concept_set(space, CONCEPTS[:3]))
    held, image = replace(snapshot, texts=texts), tiny.Blobs().images[0]
    found = explain_image(model, image, None, snapshot=held, ridge=RIDGE)
    expected = explained(model, snapshot=snapshot, prompt="a {}", concepts=CONCEPTS[:3])
    assert found.removed.attribute_score == pytest.approx(expected.removed.attribute_score)
    assert found.removed.gained == expected.removed.gained
    assert math.isnan(found.cosine)
    # Words of one's own still go before those of the snapshot.
    other = explained(model, snapshot=held, concepts=["wood"])
    assert [name for name, _ in other.removed.gained + other.removed.lost] == ["wood"]
    for given in ({"snapshot": snapshot}, {"snapshot": held, "concepts": ["wood"]}):
        with pytest.raises(ValueError, match="no semantic space"):
            explain_image(model, image, None, ridge=RIDGE, **given)


def test_no_equivalent_moves_a_logit(model: tiny.Classifier, snapshot: Snapshot) -> None:
    found = explained(model, snapshot=snapshot)
    torch.testing.assert_close(found.logits, snapshot.logits[0].double(), atol=1e-5, rtol=1e-5)
    for shift in (found.removed, found.centered):
        assert shift.image_score > 1
        torch.testing.assert_close(shift.logits, found.logits, atol=1e-10, rtol=0)


def test_under_the_softmax_all_logits_move_alike(
    model: tiny.Classifier, snapshot: Snapshot
) -> None:
    found = explained(model, snapshot=replace(snapshot, invariance="softmax"))
    moved = found.removed.logits - found.logits
    assert moved.abs().min() > 1e-6
    torch.testing.assert_close(moved, moved.mean().expand_as(moved), atol=1e-10, rtol=0)


def test_concepts_are_those_that_move_most(model: tiny.Classifier, snapshot: Snapshot) -> None:
    shift = explained(model, snapshot=snapshot, top=len(CONCEPTS)).removed
    scores = [score for _, score in shift.gained]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0 > max(score for _, score in shift.lost)
    assert {name for name, _ in shift.gained + shift.lost} == set(CONCEPTS)
    short = explained(model, snapshot=snapshot, top=1).removed
    assert (short.gained, short.lost) == (shift.gained[:1], shift.lost[:1])
    assert all(abs(score) <= shift.image_score for score in scores)


def test_a_translator_of_ones_own_needs_no_snapshot(
    model: tiny.Classifier, snapshot: Snapshot
) -> None:
    translator = torch.nn.Linear(16, 10)
    image, space = tiny.Blobs().images[3], tiny.HashSpace()
    found = explain_model_image(
        model, image, space, translator, class_names=tiny.CLASSES, concepts=[]
    )
    assert found.centered is None
    assert math.isnan(found.cosine)
    assert (found.nearest, found.removed.gained, found.removed.lost) == ((), (), ())
    assert found.target == found.prediction
    torch.testing.assert_close(
        found.embedding, translator.double()(snapshot.features[3].double()).detach()
    )
    named = explain_image(model, image, space, translator, dataset=tiny.Blobs(), concepts=[])
    assert named.removed.image_score == found.removed.image_score
    assert -1 <= named.cosine <= 1


def test_it_reads_as_a_sentence(model: tiny.Classifier, snapshot: Snapshot) -> None:
    found = explained(model, snapshot=snapshot, label=2)
    text = str(found)
    assert f"predicted {found.prediction}; scores toward ship" in text
    assert f"IS {found.removed.image_score:.2f} degrees" in text
    assert found.removed.gained[0][0] in text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "a translator is needed, or a snapshot"),
        ({"label": 4, "translator": torch.nn.Linear(16, 10)}, "none of the 4 classes"),
        ({"class_names": ["a"], "translator": torch.nn.Linear(16, 10)}, "gives 1 names"),
    ],
)
def test_what_does_not_fit_is_named(
    model: tiny.Classifier, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        explained(model, **changes)


def test_a_batch_is_refused(model: tiny.Classifier, snapshot: Snapshot) -> None:
    with pytest.raises(ValueError, match="a batch of 2"):
        explain_model_image(model, tiny.Blobs().images[:2], tiny.HashSpace(), snapshot=snapshot)


def test_a_snapshot_of_another_head_is_refused_and_of_another_epoch_named(
    model: tiny.Classifier, snapshot: Snapshot, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="give a snapshot of this model"):
        explained(
            model,
            snapshot=replace(
                snapshot, weight=snapshot.weight[:, :9], features=snapshot.features[:, :9]
            ),
        )
    with caplog.at_level(logging.WARNING, logger="sing_monitor.explain.model_image"):
        explained(model, snapshot=snapshot)
        assert not caplog.records
        explained(model, snapshot=replace(snapshot, weight=2 * snapshot.weight))
    assert "another state of the training" in caplog.text
