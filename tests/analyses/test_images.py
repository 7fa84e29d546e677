from __future__ import annotations

import pytest
import torch

from tests.helpers import (
    direct,
    make_snapshot,
    make_texts,
    reorder,
    scored_of,
)

RIDGE = 0.01


def test_neighbours_are_the_nearest_other_images() -> None:
    snapshot = make_snapshot()
    findings = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE, n_images=12)
    images = findings.tables["images"]
    _, _, pairs = direct(snapshot)
    unit = torch.nn.functional.normalize(snapshot.embeddings, dim=1)
    queries = {
        "before": pairs.original,
        "after": pairs.removed,
        "after_centered": pairs.centered,
    }
    assert images["mover"].sum() == 12
    for row, mover in enumerate(images["mover"]):
        for name, query in queries.items():
            others = (unit @ query[row]).argsort(descending=True).tolist()
            others.remove(row)
            expected = [images["image"][other] for other in others[:3]] if mover else []
            assert images[f"neighbours_{name}"][row] == expected


def test_a_copy_of_an_image_is_not_its_neighbour() -> None:
    snapshot = make_snapshot(samples=20)
    twice = reorder(snapshot, torch.arange(20).repeat(2))
    images = scored_of(twice, make_texts(twice), ridge=RIDGE, n_images=40).tables["images"]
    for own, found in zip(images["image"], images["neighbours_before"], strict=True):
        assert len(found) == 3
        assert own not in found


def test_movers_are_half_by_attribute_and_half_by_image_score() -> None:
    snapshot = make_snapshot()
    images = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE, n_images=9).tables["images"]
    by_attribute = images["attribute_score_centered"].abs().nlargest(4).index
    by_image = images["image_score_centered"].drop(by_attribute).nlargest(5).index
    assert set(images.index[images["mover"]]) == {*by_attribute, *by_image}


@pytest.mark.parametrize(("n_images", "movers"), [(0, 0), (1, 1), (7, 7), (60, 60), (1000, 60)])
def test_there_are_as_many_movers_as_asked_for(n_images: int, movers: int) -> None:
    snapshot = make_snapshot()
    findings = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE, n_images=n_images)
    assert findings.tables["images"]["mover"].sum() == movers


def test_the_image_table_says_what_is_known_of_an_image() -> None:
    snapshot = make_snapshot()
    images = scored_of(snapshot, make_texts(snapshot), ridge=RIDGE).tables["images"]
    assert snapshot.image_ids is not None
    assert snapshot.sample_index is not None
    colours, names = snapshot.attributes["colour"]
    # Two's complement, sixteen digits.
    assert [int(each, 16) for each in images["image"]] == [
        each % 2**64 for each in snapshot.image_ids.tolist()
    ]
    assert set(images["image"].str.len()) == {16}
    assert images["label"].tolist() == snapshot.labels.tolist()
    assert images["prediction"].tolist() == snapshot.predictions.tolist()
    assert images["fold"].tolist() == snapshot.folds.tolist()
    assert images["sample_index"].tolist() == snapshot.sample_index.tolist()
    assert images["attribute:colour"].tolist() == [names[c] for c in colours.tolist()]
