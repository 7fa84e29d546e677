"""The page Similarity on real stores: matrices, pairs, nearest images, and every odd state."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from tests.app import structure
from tests.app.conftest import MARKUP, Opened, copy_of
from tests.app.stores import Store, plausible
from tests.app.views.test_pages import texts

Tables = dict[str, pd.DataFrame]


def usual() -> Tables:
    return {
        "similarity": structure.similarity(),
        "similarity_images": structure.similarity_images(),
        "classes": pd.DataFrame({"class_index": range(3), "class_name": ["car", "ship", "cat"]}),
    }


def add_run(
    store: Store, name: str, tables: list[Tables], *, pictures: bool = True, **config: object
) -> str:
    values = [plausible(epoch) | {"similarity/gain": 0.5 + epoch} for epoch in range(len(tables))]
    if not pictures:
        values = [plausible(epoch) for epoch in range(len(tables))]
    run = store.run(name, values, config=config)
    structure.write_tables(store, run, name, values, dict(enumerate(tables)), pictures=pictures)
    return run


@pytest.fixture(scope="module")
def image_store(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    store = copy_of(empty_store, tmp_path_factory.mktemp("similarity"))
    nothing = {"support": pd.DataFrame({"image": ["a"]})}
    markup = usual() | {
        "similarity_images": structure.similarity_images(names=(MARKUP, MARKUP, "ship", "car"))
    }
    odd = usual()
    odd["similarity"] = odd["similarity"].assign(
        positions_a=math.nan, positions_b="x", strengths=[[math.nan, 1.0]] * 6, semantic=math.nan
    )
    odd["similarity_images"] = odd["similarity_images"].assign(
        height=math.nan, width=0, nearest_spatial=math.nan, nearest_semantic=[["no image"]] * 4
    )
    alone = usual()
    alone["similarity"] = alone["similarity"].head(0)
    old = usual()
    old["similarity"] = old["similarity"].drop(columns="strengths")
    ids = {
        "usual": add_run(store, "usual", [usual(), {}, usual()], n_maps=64),
        "bare": add_run(store, "bare", [usual()], pictures=False),
        "markup": add_run(store, "markup", [markup]),
        "odd": add_run(store, "odd", [odd]),
        "alone": add_run(store, "alone", [alone]),
        "old": add_run(store, "old", [old]),
        "zero": add_run(store, "zero", [nothing], pictures=False, n_maps=0),
        "before": add_run(store, "before", [nothing], pictures=False),
        "mapless": add_run(
            store, "mapless", [nothing], pictures=False, n_maps=64, map="none: too flat"
        ),
    }
    return store, ids


@pytest.fixture
def opened(image_store: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens the page on runs by their name here."""
    store, ids = image_store

    def page_of(*names: str, **link: str) -> AppTest:
        app = open_page("similarity", store.uri, runs=[ids[name] for name in names], **link)
        assert not app.exception
        return app

    return page_of


def charts(app: AppTest) -> dict[str, dict[str, Any]]:
    found = [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]
    return {each["title"]["text"]: each for each in found}


def captions(app: AppTest) -> list[str]:
    return [caption for each in app.get("image") for caption in each.captions]


def test_both_matrices_and_a_suggested_pair_are_shown(opened: Opened) -> None:
    app = opened("usual")
    assert list(charts(app))[:4] == [
        "Place by place",
        "Part by part",
        "Place by place: 0.10 alike",
        "Part by part: 0.90 alike",
    ]
    said = texts(app)
    assert "**0.10** alike, more than 0 % of all pairs" in said
    assert "**0.90**, more than 83 %: the network sees the same parts, in other places" in said
    assert "Of 2 by 3 places the 2 strongest matches are drawn" in said


def test_both_matrices_have_one_scale_unless_the_link_says_no(opened: Opened) -> None:
    def domains(app: AppTest) -> list[list[float]]:
        return [
            charts(app)[title]["layer"][0]["encoding"]["color"]["scale"]["domain"]
            for title in ("Place by place", "Part by part")
        ]

    assert domains(opened("usual")) == [[0.1, 0.9]] * 2
    assert domains(opened("usual", scale="false")) == [[0.1, 0.6], [0.3, 0.9]]


def test_a_pair_is_picked_by_lists_link_and_suggestion(opened: Opened) -> None:
    app = opened("usual", first="car, image 1", second="ship, image 1")
    assert "Place by place: 0.60 alike" in charts(app)
    said = texts(app).replace("\\", "")
    assert "Left: car, image 1, taken for cat. Right: ship, image 1, rightly predicted" in said
    app.selectbox(key="second").set_value("cat, image 2").run()
    assert "Place by place: 0.50 alike" in charts(app)
    app.selectbox(key="second").set_value("car, image 1").run()
    assert "Choose two different images" in texts(app)
    next(each for each in app.button if each.label == "Alike, of two classes").click().run()
    assert not app.exception
    assert app.selectbox(key="first").value == "ship, image 1"
    assert "Part by part: 0.70 alike" in charts(app)


def test_the_places_follow_the_order_of_the_two_images(opened: Opened) -> None:
    def lines(**link: str) -> list[tuple[float, float]]:
        app = opened("usual", **link)
        element = next(
            each for each in app.get("vega_lite_chart") if "Part by part: 0.90" in each.proto.spec
        )
        sent = [pa.ipc.open_stream(each.data.data).read_pandas() for each in element.proto.datasets]
        (found,) = [frame for frame in sent if "strength" in frame]
        return list(found[["x", "y"]].itertuples(index=False, name=None))

    forth = lines(first="cat, image 1", second="cat, image 2")
    back = lines(first="cat, image 2", second="cat, image 1")
    assert forth != back


def test_the_nearest_images_are_shown_both_ways(opened: Opened) -> None:
    app = opened("usual")
    shown = captions(app)
    # Of the first cat: the image, then by place the last image first, by part the other cat.
    assert shown[0] == "cat"
    assert shown[1:4] == ["car ✗", "ship ✗", "cat ✓"]
    assert shown[4] == "cat ✓"
    assert len(shown) == 7


def test_without_pictures_numbers_and_lines_stay(opened: Opened) -> None:
    app = opened("bare")
    assert "No picture is stored of cat, image 1 and cat, image 2" in texts(app).replace("\\", "")
    assert "Part by part: 0.90 alike" in charts(app)
    assert not captions(app)


def test_epochs_without_maps_are_not_offered_and_curves_are_drawn(opened: Opened) -> None:
    app = opened("usual")
    assert app.select_slider(key="epoch").options == ["0", "2"]
    assert "Similarity gained by matching" in charts(app)
    labels = [button.label for button in app.get("download_button")]
    assert labels == ["All pairs of this epoch as CSV", "All curves as CSV"]


def test_markup_in_class_names_stays_text(opened: Opened) -> None:
    said = "\n".join(each.value for each in opened("markup").markdown if "bold" in each.value)
    assert said
    for sign in ("<b>", "[link]", "$x", ":red[", "http://"):
        assert sign not in said


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("zero", "`n_maps=0`"),
        ("before", "an earlier version of sing-monitor"),
        ("mapless", "The run says: too flat"),
        ("alone", "there is no pair"),
        ("old", "has no strengths"),
        ("odd", "Two images"),
    ],
)
def test_odd_runs_say_why(run: str, said: str, opened: Opened) -> None:
    app = opened(run)
    assert said in texts(app)
    assert not app.error
