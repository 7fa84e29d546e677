"""Concepts by themselves give what the whole analysis gives, and join its tables."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from torch import Tensor

from sing_monitor.analyses.concepts import analyze_concepts, analyze_vocabulary, with_concepts
from sing_monitor.scores.angles import angle, attribute_score
from sing_monitor.space.text_embeddings import TextSet
from tests.helpers import (
    direct,
    make_snapshot,
    make_texts,
    normal,
    observe,
    reorder,
    scored_of,
)

TABLES = ("concepts", "class_concepts")
RIDGE = 0.01


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


def test_concept_tables_equal_direct_scores() -> None:
    snapshot = make_snapshot(samples=40, classes=5)
    snapshot = reorder(snapshot, (snapshot.labels != 3).nonzero().squeeze(1))
    texts = make_texts(snapshot, concepts=4)
    assert texts.concepts is not None
    findings = scored_of(snapshot, texts, ridge=RIDGE)
    _, _, pairs = direct(snapshot)
    groups: dict[int | None, Tensor] = {None: torch.arange(len(snapshot))}
    groups |= {c: (snapshot.labels == c).nonzero().squeeze(1) for c in (0, 1, 2, 4)}
    by_class = findings.tables["class_concepts"]
    assert len(by_class) == 4 * 4
    for c, rows in groups.items():
        table = findings.tables["concepts"]
        if c is not None:
            table = by_class[by_class["class_index"] == c]
            assert set(table["class_name"]) == {snapshot.class_names[c]}
        table = table.set_index("concept")
        assert table.index.tolist() == list(texts.concepts.names)
        assert set(table["n"]) == {len(rows)}
        for name, text in zip(texts.concepts.names, texts.concepts.embeddings, strict=True):
            before, after = pairs.original[rows], pairs.removed[rows]
            centered = pairs.centered[rows]
            quantities = {
                "angle_before": angle(before, text),
                "angle_after": angle(after, text),
                "attribute_score": attribute_score(before, after, text),
                "angle_after_centered": angle(centered, text),
                "attribute_score_centered": attribute_score(before, centered, text),
            }
            expected = {column: values.mean() for column, values in quantities.items()} | {
                "angle_before_std": quantities["angle_before"].std(),
                "angle_after_std": quantities["angle_after"].std(),
                "attribute_score_std": quantities["attribute_score"].std(),
                "angle_after_std_centered": quantities["angle_after_centered"].std(),
                "attribute_score_std_centered": quantities["attribute_score_centered"].std(),
            }
            for column, value in expected.items():
                assert table.loc[name, column] == pytest.approx(float(value), abs=1e-7), column


def test_without_concepts_there_are_no_concept_tables() -> None:
    snapshot = make_snapshot()
    texts = replace(make_texts(snapshot), concepts=None)
    tables = scored_of(snapshot, texts, ridge=RIDGE).tables
    assert tables.keys() == {"classes", "images", "spectrum"}
