"""Concepts by themselves give what the whole analysis gives, and join its tables."""

from __future__ import annotations

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from sing_monitor.analyses.concepts import analyze_concepts, analyze_vocabulary, with_concepts
from sing_monitor.space.text_embeddings import TextSet
from tests.helpers import make_snapshot, make_texts, normal, observe

TABLES = ("concepts", "class_concepts")


def test_concepts_alone_are_scored_as_within_the_whole_analysis() -> None:
    snapshot = make_snapshot()
    texts = make_texts(snapshot)
    assert texts.concepts is not None
    whole = analyze_vocabulary(observe(snapshot, texts, ridge=1e-2))
    alone = analyze_concepts(snapshot, texts.concepts, ridge=1e-2)
    assert not alone.scalars
    assert alone.tables.keys() == set(TABLES)
    for name in TABLES:
        assert_frame_equal(alone.tables[name], whole.tables[name])


def test_concepts_added_in_two_parts_equal_those_added_at_once() -> None:
    snapshot = make_snapshot(classes=3)
    concepts = make_texts(snapshot, concepts=5).concepts
    assert concepts is not None
    parts = [
        analyze_concepts(snapshot, TextSet(concepts.names[rows], concepts.embeddings[rows])).tables
        for rows in (slice(0, 2), slice(2, 5))
    ]
    whole = analyze_concepts(snapshot, concepts).tables
    for name in TABLES:
        assert_frame_equal(with_concepts(parts[0][name], parts[1][name]), whole[name])


def test_a_concept_that_comes_again_takes_the_place_of_the_old_one() -> None:
    old = pd.DataFrame({"concept": ["red", "sea"], "attribute_score": [1.0, 2.0]})
    new = pd.DataFrame({"concept": ["red", "sky"], "attribute_score": [3.0, 4.0]})
    both = with_concepts(old, new)
    assert both.set_index("concept")["attribute_score"].to_dict() == {
        "sea": 2.0,
        "red": 3.0,
        "sky": 4.0,
    }
    assert_frame_equal(with_concepts(None, new), new)


def test_concepts_of_another_space_are_refused() -> None:
    snapshot = make_snapshot(embedding_dim=8)
    with pytest.raises(ValueError, match="concepts have 9 dimensions, image embeddings 8"):
        analyze_concepts(snapshot, TextSet(("red",), normal(1, 9, seed=0)))
