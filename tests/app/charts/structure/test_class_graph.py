"""Which classes are alike and which are confused: what is drawn of it, and where."""

from __future__ import annotations

import math

import networkx as nx
import pandas as pd
import pytest

from sing_monitor.app.charts.structure import relations
from sing_monitor.app.charts.structure.class_graph import MOST, class_graph
from sing_monitor.app.charts.structure.class_rows import class_rows, columns
from sing_monitor.app.charts.structure.layout import positions
from sing_monitor.app.charts.structure.relations import EXPLAINED, LATENT, UNEXPLAINED
from tests.app import structure


@pytest.fixture
def edges() -> pd.DataFrame:
    return relations.read_edges(structure.class_edges())


@pytest.fixture
def nodes() -> pd.DataFrame:
    return relations.read_nodes(structure.class_graph())


def pairs(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(rows["class_a"], rows["class_b"], strict=True))


def test_an_edge_is_explained_an_unexplained_error_latent_or_none(edges: pd.DataFrame) -> None:
    assert edges["kind"].tolist() == [LATENT, UNEXPLAINED, EXPLAINED, ""]
    assert pairs(relations.drawn(edges)) == [("cat", "lynx"), ("cat", "ship"), ("car", "ship")]


def test_pairs_are_ordered_and_those_never_confused_left_out(edges: pd.DataFrame) -> None:
    assert pairs(relations.closest(edges))[:2] == [("cat", "lynx"), ("car", "ship")]
    assert pairs(relations.most_confused(edges)) == [("car", "ship"), ("cat", "ship")]


def test_clusters_are_called_by_their_central_classes_and_lead_with_errors() -> None:
    # A star of four around the third class, and a class alone with more images wrong.
    star = pd.DataFrame(
        {"class_a": ["a", "b", "c"], "class_b": ["c", "c", "d"], "similarity": [0.1, 0.2, 0.3]}
    ).assign(in_weights=True)
    graph = pd.DataFrame({"class": list("abcde"), "cluster": [0, 0, 0, 0, 1]})
    graph = graph.assign(error=[0.1, math.nan, 0.1, 0.1, 0.9], images=[10, 0, 10, 10, 10])
    found = relations.clusters(graph, star)
    assert found["name"].tolist() == ["e", "c, d, b + 1"]
    assert found["wrong"].tolist() == [9, 3]
    assert found["similarity"].iloc[1] == pytest.approx(0.2)
    assert math.isnan(found["similarity"].iloc[0])


def test_around_a_class_stand_its_neighbors_and_theirs(edges: pd.DataFrame) -> None:
    assert relations.around(edges, "lynx", 4) == ["lynx", "cat", "ship"]
    assert relations.around(edges, "lynx", 2) == ["lynx", "cat"]
    assert relations.around(edges, "unknown", 4) == ["unknown"]
    assert relations.confused_with(edges, ["cat", "lynx"], 9) == ["ship"]


def test_places_keep_names_apart_and_are_the_same_again() -> None:
    graph = nx.star_graph([f"a class with a long name {each}" for each in range(MOST)])
    start = dict.fromkeys(graph, (0.5, 0.5))
    found = positions(graph, start, 0.6)
    assert found == positions(graph, start, 0.6)
    assert all(0 <= each <= 1 for place in found.values() for each in place)
    assert len({(round(x, 3), round(y, 3)) for x, y in found.values()}) == len(graph)


@pytest.mark.parametrize("start", [(math.nan, math.nan), (0.5, 0.5)])
def test_a_class_alone_and_two_without_a_way_have_places(start: tuple[float, float]) -> None:
    assert positions(nx.empty_graph(["a"]), {"a": start}, 0.5) == {"a": (0.5, 0.5)}
    apart = positions(nx.empty_graph(["a", "b"]), dict.fromkeys("ab", start), 0.5)
    assert abs(apart["a"][0] - apart["b"][0]) > 0.5


def test_the_graph_draws_edges_circles_and_every_name(
    nodes: pd.DataFrame, edges: pd.DataFrame
) -> None:
    spec = class_graph(nodes, edges, "title", ["below"], 0.5, ["cat"]).to_dict()
    lines, shares, ring, known, unknown, names = spec["layer"]
    assert lines["encoding"]["color"]["scale"]["domain"] == [-1, 0, 0.5, 1]
    assert [kind["kind"] for kind in rows(spec, lines)] == [LATENT, UNEXPLAINED, EXPLAINED]
    assert [row["confused"] for row in rows(spec, shares)] == ["5 %", "25 %"]
    assert [row["label"] for row in rows(spec, names)] == list(structure.NAMES)
    assert known["encoding"]["size"]["scale"]["domain"] == [0, 0.5]
    assert "!isValid" in unknown["transform"][0]["filter"]
    assert ring["transform"] == [{"filter": "datum.picked"}]
    tooltip = [each["title"] for each in lines["encoding"]["tooltip"]]
    assert {"common ancestor", "taken for each other", "similarity of templates"} <= set(tooltip)


def test_of_many_classes_every_name_stands_in_a_row_of_its_own() -> None:
    found = structure.many_classes(100, 7)
    edges, nodes = relations.read_edges(found[0]), relations.read_nodes(found[1])
    clusters = relations.clusters(nodes, edges)
    parts = columns(clusters, nodes, edges, 2)
    assert len(parts) == 2
    assert sum(len(part.nodes) for part in parts) == 100
    # Within each column no row is taken twice, and chains are joined by one edge fewer than names.
    assert all(part.nodes["row"].is_unique for part in parts)
    assert sum(len(part.edges) for part in parts) == 100 - len(clusters)
    assert abs(len(parts[0].nodes) - len(parts[1].nodes)) <= 7
    spec = class_rows(parts[0], 0.1).to_dict()
    *_, names, partner = spec["layer"]
    assert len(rows(spec, names)) == len(parts[0].nodes)
    ends = [row for row in rows(spec, partner) if row["partner"]]
    assert all(row["unexplained"] for row in ends)
    assert ends[0]["partner"].startswith("25 % class")


def test_trees_begin_at_the_central_class_and_children_are_indented(
    nodes: pd.DataFrame, edges: pd.DataFrame
) -> None:
    clusters = relations.clusters(nodes, edges)
    (part,) = columns(clusters, nodes, edges, 1)
    place = part.nodes.set_index("class")[["x", "row"]]
    for parent, child in (("cat", "lynx"), ("car", "ship")):
        assert place.loc[child, "row"] == place.loc[parent, "row"] + 1
        assert place.loc[child, "x"] > place.loc[parent, "x"]
    about = part.nodes.set_index("class")[["partner", "unexplained"]].to_dict("index")
    assert about["cat"] == {"partner": "5 % ship", "unexplained": True}
    assert about["ship"] == {"partner": "25 % car", "unexplained": False}
    assert about["lynx"] == {"partner": "", "unexplained": False}


def rows(spec: dict, layer: dict) -> list[dict]:  # type: ignore[type-arg]
    found: list[dict] = spec["datasets"][layer["data"]["name"]]  # type: ignore[type-arg]
    return found


@pytest.mark.parametrize("shown", [["lynx"], ["cat", "lynx", "car", "ship"]])
def test_classes_without_any_edge_are_drawn_apart(nodes: pd.DataFrame, shown: list[str]) -> None:
    table = structure.class_edges().assign(in_weights=False, in_errors=False)
    apart = nodes[nodes["class"].isin(shown)]
    chart = class_graph(apart, relations.read_edges(table), "apart", [], 0.5)
    drawn = chart.to_dict()["datasets"].values()
    assert [row["label"] for rows in drawn for row in rows if "label" in row] == shown
