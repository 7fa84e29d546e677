"""Matrices of images ordered by class, and lines between the places of two of them."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sing_monitor.app.charts.structure import matrices, suggestions
from sing_monitor.app.charts.structure.matches import SIDE, Places, matched
from tests.app import structure
from tests.app.structure import IDS


def ordered() -> pd.DataFrame:
    return matrices.in_order(structure.similarity_images(), ["car", "cat", "ship"])


def test_images_stand_by_class_and_have_names_of_their_own() -> None:
    found = ordered()
    assert found["image"].tolist() == [IDS[3], IDS[0], IDS[1], IDS[2]]
    assert found["name"].tolist() == [
        "car, image 1",
        "cat, image 1",
        "cat, image 2",
        "ship, image 1",
    ]
    assert found["place"].tolist() == [0, 1, 2, 3]
    long = structure.similarity_images(names=["x" * 50 + "a", "x" * 50 + "b", "x", "x"])
    assert matrices.in_order(long, [])["name"].is_unique


def test_both_triangles_hold_the_value_of_the_pair() -> None:
    rows = matrices.cells(structure.similarity(), ordered())
    grid = np.full((4, 4), np.nan)
    grid[rows["row"], rows["column"]] = rows["semantic"]
    assert np.isnan(np.diag(grid)).all()
    np.testing.assert_allclose(grid, grid.T)
    # The two cats.
    assert grid[1, 2] == 0.9


def test_pairs_of_unknown_images_are_left_out() -> None:
    images = ordered().query("image != @IDS[0]")
    assert len(matrices.cells(structure.similarity(), images)) == 6


def test_classes_are_named_once_and_where_there_is_room() -> None:
    found = matrices.blocks(ordered())
    assert found[["class", "start", "end"]].to_numpy().tolist() == [
        ["car", 0, 1],
        ["cat", 1, 3],
        ["ship", 3, 4],
    ]
    assert found["named"].all()
    many = pd.DataFrame({"class": [f"class {each}" for each in range(64)], "place": range(64)})
    named = matrices.blocks(many)["named"]
    assert named.iloc[0]
    assert 15 < named.sum() < 40


def test_both_matrices_share_their_colors_and_mark_the_pair() -> None:
    pairs, images = structure.similarity(), ordered()
    domain = matrices.domain_of(pairs)
    assert domain == (0.1, 0.9)
    assert matrices.domain_of(pairs, ["spatial"]) == (0.1, 0.6)
    arguments = matrices.cells(pairs, images), matrices.blocks(images), domain, (1, 2)
    for kind in matrices.KINDS:
        spec = matrices.matrix(kind, *arguments, "title", "about").to_dict()
        squares = spec["layer"][0]
        assert squares["encoding"]["color"]["field"] == kind
        assert squares["encoding"]["color"]["scale"]["domain"] == [0.1, 0.9]
        (press,) = spec["params"]
        assert (press["name"], press["select"]["fields"]) == ("pair", ["image_a", "image_b"])
        marked = spec["datasets"][spec["layer"][-1]["data"]["name"]]
        assert [(row["row"], row["column"]) for row in marked] == [(1, 2), (2, 1)]
        without = matrices.matrix(kind, *arguments[:3], (), "title", "about").to_dict()
        assert len(without["layer"]) == len(spec["layer"]) - 2


def test_one_pair_has_a_scale() -> None:
    one = structure.similarity().head(1).assign(spatial=0.4, semantic=0.4)
    low, high = matrices.domain_of(one)
    assert low < 0.4 < high


def test_suggestions_name_the_pairs_that_their_words_say() -> None:
    found = suggestions.suggested(structure.similarity(), structure.similarity_images())
    assert found[suggestions.MOVED] == (IDS[0], IDS[1])
    assert found[suggestions.OTHER] == (IDS[2], IDS[3])
    assert found[suggestions.APART] == (IDS[0], IDS[1])


def test_without_two_images_of_a_class_any_pair_may_gain_most() -> None:
    images = structure.similarity_images(names=["a", "b", "c", "d"])
    found = suggestions.suggested(structure.similarity(), images)
    assert found[suggestions.MOVED] == (IDS[0], IDS[1])
    assert suggestions.APART not in found


def test_lines_join_the_places_of_both_grids() -> None:
    places = Places((0, 5), (5, 0), (0.75, 0.25), ((2, 3), (2, 3)))
    lines = places.lines(same_place=False)
    right = lines["x2"] - lines["x2"].min()
    # The first place is at the upper left, the last at the lower right.
    assert lines[["x", "y"]].iloc[0].tolist() == [SIDE / 6, SIDE / 4]
    assert lines["y2"].tolist() == [3 * SIDE / 4, SIDE / 4]
    assert right.tolist() == pytest.approx([2 * SIDE / 3, 0])
    straight = places.lines(same_place=True)
    assert straight["y2"].tolist() == straight["y"].tolist()


@pytest.mark.parametrize("odd", [None, "ab", math.nan, [99, -1], [math.nan, 99]])
def test_places_that_are_in_no_map_are_left_out(odd: object) -> None:
    grid = ((2, 3), (2, 3))
    assert Places.of(odd, [0, 1], [0.5, 0.5], grid) == Places((), (), (), grid)
    assert Places.of([0, 1], np.array([2, 3]), [0.5, 0.25], grid) == Places(
        (0, 1), (2, 3), (0.5, 0.25), grid
    )


def test_pictures_lie_beside_each_other_and_the_strongest_line_is_the_thickest() -> None:
    places = Places((0, 5), (5, 0), (0.75, 0.25), ((2, 3), (2, 3)))
    spec = matched(places, ("data:image/png;base64,", ""), "title", "about", False).to_dict()
    _, pictures, strokes, *_ = spec["layer"]
    assert pictures["transform"] == [{"filter": "datum.url"}]
    thin, thick = strokes["encoding"]["strokeWidth"]["scale"]["range"]
    assert thin < thick
    assert strokes["encoding"]["strokeWidth"]["scale"]["domain"] == [0, 0.75]
    gray = matched(places, ("", ""), "title", "about", True).to_dict()["layer"][2]["encoding"]
    assert "value" in gray["color"]
    assert len(set(gray["strokeWidth"]["scale"]["range"])) == 1
