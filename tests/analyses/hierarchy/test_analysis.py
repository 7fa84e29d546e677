"""Known answers: heads planted with a hierarchy, and what is undefined."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from sing_monitor.analyses import analyze
from sing_monitor.analyses.hierarchy.analysis import ANALYSIS, analyze_hierarchy
from sing_monitor.analyses.hierarchy.specs import METRICS, TEXT_METRICS
from sing_monitor.analyses.hierarchy.text import analyze_text_hierarchy, soft_depth
from sing_monitor.analyses.hierarchy.wordnet import wordnet
from sing_monitor.findings import Findings, check_tables
from sing_monitor.observation import Observation
from sing_monitor.snapshot import Snapshot
from sing_monitor.space.text_embeddings import Texts, TextSet
from tests.helpers import generator, make_snapshot, make_texts, normal

GROUPS, FAMILIES, KINDS = 2, 3, 4
CLASSES = GROUPS * FAMILIES * KINDS
PATHS = {
    f"class {c}": (f"group {c // (FAMILIES * KINDS)}", f"family {c // KINDS}")
    for c in range(CLASSES)
}


def planted(order: Tensor | None = None, noise: float = 1.0, seed: int = 0) -> Snapshot:
    """A head whose templates are sums of a vector for the group, the family and the class.

    Args:
        order: which template stands in which row; None: each in its own.
        noise: of the features, which stand at the templates.
        seed: of all that is random.
    """
    g = generator(seed)

    def draw(count: int, size: float) -> Tensor:
        return size * torch.nn.functional.normalize(torch.randn(count, 64, generator=g), dim=1)

    c = torch.arange(CLASSES)
    weight = draw(GROUPS, 3)[c // (FAMILIES * KINDS)] + draw(FAMILIES * GROUPS, 2)[c // KINDS]
    weight = weight + draw(CLASSES, 1)
    weight = weight if order is None else weight[order]
    labels = c.repeat(40)
    features = weight[labels] + noise * torch.randn(len(labels), 64, generator=g)
    return Snapshot(
        weight=weight,
        bias=-weight.square().sum(dim=1) / 2,
        features=features,
        labels=labels,
        embeddings=None,
        class_names=tuple(PATHS),
        image_ids=torch.randperm(len(labels), generator=g) * 0x12345678B,
        hierarchy=PATHS,
    )


def hierarchy(snapshot: Snapshot, previous: Findings | None = None) -> Findings:
    kept = previous.kept if previous is not None else {}
    found = analyze_hierarchy(Observation(snapshot, previous=kept))
    check_tables(found.tables, ANALYSIS.tables)
    assert found.scalars.keys() == {spec.key for spec in METRICS}
    return found


def value(found: Findings, name: str) -> float:
    return found.scalars[f"hierarchy/{name}"]


def undefined(found: Findings) -> set[str]:
    return {key.partition("/")[2] for key, number in found.scalars.items() if math.isnan(number)}


def test_a_planted_hierarchy_is_found_at_every_level() -> None:
    found = hierarchy(planted())
    # Of 23 edges 18 join classes of a family (depth 3), 4 families of a group (2), one the groups.
    assert value(found, "similarity_depth") == pytest.approx((18 * 3 + 4 * 2 + 1) / 23)
    assert value(found, "similarity_depth_relative") == pytest.approx(1)
    assert value(found, "clusters") == GROUPS * FAMILIES
    assert value(found, "similarity_depth_clustered") == 3
    assert value(found, "agreement") > 0.8
    edges, graph = found.tables["class_edges"], found.tables["class_graph"]
    family = graph["class"].map(PATHS).map(lambda path: path[-1])
    assert graph.groupby("cluster")["class"].size().tolist() == [KINDS] * GROUPS * FAMILIES
    assert family.groupby(graph["cluster"]).nunique().eq(1).all()
    assert edges[edges["in_weights"]]["ancestor"].str.startswith("family").all()


def test_errors_of_a_planted_hierarchy_stay_in_the_family() -> None:
    found = hierarchy(planted())
    assert value(found, "errors") > 100
    assert value(found, "confusion_depth") > 2.5
    assert value(found, "compliance_extended") > 0.9
    # 15 % of all pairs are of one family.
    assert value(found, "compliance_extended_chance") == pytest.approx(36 / 276)
    assert value(found, "compliance_direct") > 3 * value(found, "compliance_direct_chance")
    assert value(found, "confusion_agreement") > 0.4


def test_shuffled_templates_have_no_more_depth_than_chance() -> None:
    relative = [
        value(hierarchy(planted(torch.randperm(CLASSES, generator=generator(seed)))), name)
        for seed in range(12)
        for name in ("similarity_depth_relative",)
    ]
    assert abs(sum(relative) / len(relative)) < 0.1
    assert max(relative) < 0.4


def test_a_common_vector_changes_the_raw_tree_alone() -> None:
    snapshot = planted()
    shifted = replace(snapshot, weight=snapshot.weight + 20 * normal(64, seed=9).float())
    one, other = hierarchy(snapshot), hierarchy(shifted)
    for name in ("similarity_depth", "similarity_depth_clustered", "clusters", "agreement"):
        assert value(one, name) == pytest.approx(value(other, name), abs=1e-3)


@pytest.mark.parametrize("invariance", ["logits", "softmax"])
def test_the_invariance_does_not_matter(invariance: str) -> None:
    one, other = hierarchy(planted()), hierarchy(replace(planted(), invariance=invariance))
    assert one.scalars == pytest.approx(other.scalars, nan_ok=True)


def test_the_order_of_the_classes_does_not_matter() -> None:
    snapshot = planted()
    order = torch.randperm(CLASSES, generator=generator(3))
    place = order.argsort()
    reordered = replace(
        snapshot,
        weight=snapshot.weight[order],
        bias=snapshot.bias[order],
        labels=place[snapshot.labels],
        class_names=tuple(snapshot.class_names[c] for c in order.tolist()),
    )
    one, other = hierarchy(snapshot).scalars, hierarchy(reordered).scalars
    # Of pairs confused equally often the first is taken, so that trees of errors differ.
    for key in one.keys() - {"hierarchy/confusion_depth", "hierarchy/compliance_direct"}:
        assert one[key] == pytest.approx(other[key], nan_ok=True, abs=0.05), key


def test_change_of_the_tree_is_that_of_its_edges() -> None:
    first = hierarchy(planted())
    assert math.isnan(value(first, "tree_change"))
    assert value(hierarchy(planted(), first), "tree_change") == 0
    other = hierarchy(planted(torch.randperm(CLASSES, generator=generator(1))), first)
    old, new = (set(map(tuple, each.kept["hierarchy/edges"].tolist())) for each in (first, other))
    assert value(other, "tree_change") == 1 - len(old & new) / len(old | new)
    assert value(other, "tree_change") > 0.5


def test_a_tree_of_another_number_of_classes_is_no_change() -> None:
    few = hierarchy(make_snapshot(classes=5))
    assert math.isnan(value(hierarchy(make_snapshot(classes=6), few), "tree_change"))
    assert value(hierarchy(make_snapshot(classes=5), few), "tree_change") == 0


def test_without_a_reference_what_needs_none_is_measured() -> None:
    found = hierarchy(replace(planted(), hierarchy=None))
    assert undefined(found) == {
        *(f"similarity_depth{end}" for end in ("", "_raw", "_clustered", "_clustered_raw")),
        *("similarity_depth_relative", "agreement", "confusion_depth", "tree_change"),
    }
    edges = found.tables["class_edges"]
    assert edges["depth"].isna().all()
    assert edges["ancestor"].eq("").all()


def test_without_errors_what_is_said_of_them_is_undefined() -> None:
    found = hierarchy(planted(noise=0))
    assert value(found, "errors") == 0
    assert undefined(found) == {
        *("error_clusters", "confusion_depth", "confusion_agreement", "tree_change"),
        *("compliance_direct", "compliance_direct_chance"),
        *("compliance_extended", "compliance_extended_chance"),
    }
    assert found.tables["class_graph"]["error"].eq(0).all()
    assert not found.tables["class_edges"]["in_errors"].any()


def test_two_classes_have_one_pair_and_no_tree() -> None:
    found = hierarchy(make_snapshot(classes=2))
    assert value(found, "clusters") == 2
    assert value(found, "errors") > 0
    assert undefined(found) == {spec.key.partition("/")[2] for spec in METRICS} - {
        *("clusters", "errors"),
    }
    edges = found.tables["class_edges"]
    assert edges["similarity"].tolist() == pytest.approx([-1])
    assert edges["confusions"].tolist() == [value(found, "errors")]


def test_a_class_without_images_has_no_errors_but_a_place() -> None:
    snapshot = planted()
    found = hierarchy(snapshot.take((snapshot.labels != 5).nonzero().flatten()))
    row = found.tables["class_graph"].iloc[5]
    assert row["images"] == 0
    assert math.isnan(row["error"])
    assert math.isfinite(row["x"])
    edges = found.tables["class_edges"]
    of_it = edges[(edges["class_a"] == "class 5") | (edges["class_b"] == "class 5")]
    assert of_it["in_tree"].any()
    assert of_it["confusion"].notna().all()


def test_a_head_of_zeros_has_no_templates() -> None:
    snapshot = planted()
    found = hierarchy(replace(snapshot, weight=torch.zeros_like(snapshot.weight)))
    assert value(found, "errors") > 0
    assert undefined(found) == {spec.key.partition("/")[2] for spec in METRICS} - {
        "errors",
        "confusion_depth",
    }
    assert not found.tables["class_edges"][["in_tree", "in_weights"]].any(axis=None)


def test_templates_that_are_all_the_same_but_one_are_no_rounding() -> None:
    snapshot = planted()
    same = snapshot.weight[:1].expand_as(snapshot.weight)
    assert math.isnan(value(hierarchy(replace(snapshot, weight=same)), "similarity_depth"))


def test_the_table_of_pairs_holds_what_is_close_and_what_is_confused() -> None:
    snapshot = planted()
    edges = hierarchy(snapshot).tables["class_edges"]
    names = list(snapshot.class_names)
    first, second = (
        edges[side].map(names.index).to_numpy(copy=True) for side in ("class_a", "class_b")
    )
    assert (first < second).all()
    assert not edges.duplicated(["class_a", "class_b"]).any()
    templates = snapshot.weight.double() - snapshot.weight.double().mean(dim=0)
    cosines = torch.cosine_similarity(templates[first], templates[second])
    np.testing.assert_allclose(edges["similarity"], cosines, atol=1e-12)
    labels, predictions = snapshot.labels, snapshot.predictions
    for a, b, count, share in zip(
        first, second, edges["confusions"], edges["confusion"], strict=True
    ):
        there = int(((labels == a) & (predictions == b)).sum())
        back = int(((labels == b) & (predictions == a)).sum())
        assert count == there + back
        assert share == pytest.approx((there + back) / 80)
    every = torch.cosine_similarity(templates[:, None], templates[None], dim=2)
    closest = every[tuple(torch.triu_indices(CLASSES, CLASSES, 1))].topk(100).values
    assert edges["similarity"].nlargest(100).tolist() == pytest.approx(closest.tolist())
    assert edges["in_tree"].sum() == CLASSES - 1


def test_images_of_a_pair_stand_nearest_to_the_other_class() -> None:
    snapshot = planted()
    found = hierarchy(snapshot)
    edges = found.tables["class_edges"]
    shown = edges[edges["images_a"].str.len() > 0]
    assert len(shown) == 32
    assert shown["confusion"].min() >= edges["confusion"].nlargest(32).min()
    row = shown.iloc[0]
    a, b = (snapshot.class_names.index(row[side]) for side in ("class_a", "class_b"))
    units = torch.nn.functional.normalize(snapshot.weight - snapshot.weight.mean(dim=0), dim=1)
    own = (snapshot.labels == a).nonzero().flatten()
    features = torch.nn.functional.normalize(snapshot.features[own], dim=1)
    nearest = own[(features @ (units[b] - units[a])).topk(2).indices]
    expected = [f"{int(each) & 0xFFFFFFFFFFFFFFFF:016x}" for each in snapshot.image_ids[nearest]]
    assert row["images_a"] == expected
    listed = {image for side in ("images_a", "images_b") for of in edges[side] for image in of}
    assert found.pictured == listed


def test_drawings_put_every_class_inside_and_no_two_at_one_place() -> None:
    graph = hierarchy(planted()).tables["class_graph"]
    places = graph[["x", "y"]]
    assert places.ge(0).all(axis=None)
    assert places.le(1).all(axis=None)
    assert not places.round(3).duplicated().any()
    # A cell for each cluster: no class of another one stands among them.
    boxes = graph.groupby("cluster")[["x", "y"]].agg(["min", "max"])
    for cluster, box in boxes.iterrows():
        inside = graph["x"].between(*box["x"]) & graph["y"].between(*box["y"])
        assert graph[inside]["cluster"].eq(cluster).all()


def test_a_thousand_classes_of_imagenet_take_numbers() -> None:
    ids = list(wordnet().spellings[0])
    weight = normal(1000, 128, seed=0).float()
    labels = torch.arange(2000) % 1000
    features = weight[labels] + 3 * normal(2000, 128, seed=1).float()
    snapshot = Snapshot(weight, None, features, labels, None, tuple(ids))
    found = hierarchy(snapshot)
    assert value(found, "similarity_depth_relative") == pytest.approx(0, abs=0.1)
    # So many classes' errors are one tree; clusters of random templates need not converge.
    assert {"error_clusters", "tree_change"} <= undefined(found)
    assert math.isfinite(value(found, "confusion_depth"))
    graph = found.tables["class_graph"]
    assert graph[["x", "y"]].apply(lambda axis: axis.between(0, 1)).all(axis=None)
    assert len(found.tables["class_edges"]) < 4000


def text_reference(snapshot: Snapshot, texts: Tensor) -> Observation:
    embeddings = torch.zeros(len(snapshot), texts.shape[1])
    known = replace(snapshot, embeddings=embeddings)
    return Observation(known, Texts(TextSet(snapshot.class_names, texts)))


def test_texts_like_the_templates_agree_wholly() -> None:
    snapshot = planted()
    texts = snapshot.weight - snapshot.weight.mean(dim=0)
    found = analyze_text_hierarchy(text_reference(snapshot, texts)).scalars
    assert found == pytest.approx({spec.key: 1.0 for spec in TEXT_METRICS})


def test_texts_without_likeness_to_the_templates_are_chance() -> None:
    snapshot = planted()
    found = [
        analyze_text_hierarchy(text_reference(snapshot, normal(CLASSES, 64, seed=seed))).scalars
        for seed in range(12)
    ]
    for spec in TEXT_METRICS:
        assert abs(sum(each[spec.key] for each in found) / 12) < 0.15


def test_a_class_without_a_text_leaves_the_soft_depth_undefined() -> None:
    edges = torch.tensor([[0, 1]])
    assert math.isnan(soft_depth(edges, np.array([[1, np.nan], [np.nan, 1]])))
    assert math.isnan(soft_depth(edges, np.ones((3, 3))))


def test_the_analysis_runs_with_the_others() -> None:
    snapshot = make_snapshot(classes=6)
    found = analyze(snapshot, make_texts(snapshot))
    keys = {spec.key for spec in (*METRICS, *TEXT_METRICS)}
    assert keys <= found.scalars.keys()
    assert math.isfinite(found.scalars["hierarchy/soft_depth"])
    assert {"class_edges", "class_graph"} <= found.tables.keys()
    assert found.kept["hierarchy/edges"].tolist()
