"""The page Hierarchy on real stores: graph, pairs, images, curves, and every odd state."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from tests.app import structure
from tests.app.conftest import MARKUP, Opened, copy_of
from tests.app.stores import Store, plausible
from tests.app.views.test_pages import texts

DEPTH, RAW = "hierarchy/similarity_depth", "hierarchy/similarity_depth_raw"
COMPLIANCE = "hierarchy/compliance_direct"
GIVEN = "given 1f3a9c"


def scalars(epoch: int, shift: float = 0.0) -> dict[str, float]:
    return plausible(epoch) | {
        DEPTH: 1.5 + 0.1 * epoch + shift,
        COMPLIANCE: 0.5 + 0.05 * epoch,
        f"{COMPLIANCE}_chance": 0.2,
        "hierarchy/errors": 20.0 - epoch,
        "hierarchy/tree_change": math.nan,
    }


def add_run(
    store: Store,
    name: str,
    tables: list[dict[str, pd.DataFrame]],
    *,
    tree: str = "none",
    shift: float = 0.0,
    pictures: bool = True,
) -> str:
    values = [scalars(epoch, shift) for epoch in range(len(tables))]
    run = store.run(name, values, tags={"hierarchy": tree})
    structure.write_tables(store, run, name, values, dict(enumerate(tables)), pictures=pictures)
    return run


@pytest.fixture(scope="module")
def class_store(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    store = copy_of(empty_store, tmp_path_factory.mktemp("hierarchy"))

    def both(edges: pd.DataFrame, graph: pd.DataFrame) -> dict[str, pd.DataFrame]:
        return {"class_edges": edges, "class_graph": graph}

    edges, graph = structure.class_edges(), structure.class_graph()
    usual = both(edges, graph)
    bad = (MARKUP, *structure.NAMES[1:])
    calm = edges.assign(confusion=0.0, confusions=0, in_errors=False)
    many, thousand = (both(*structure.many_classes(*each)) for each in ((100, 7), (1000, 20)))
    ids = {
        "usual": add_run(store, "usual", [usual, {}, usual], tree=GIVEN),
        "same": add_run(store, "same", [usual, usual], tree=GIVEN, shift=0.2),
        "other": add_run(store, "other", [usual, usual], tree="wordnet", shift=3),
        "one": add_run(store, "one", [usual], pictures=False),
        "calm": add_run(store, "calm", [both(calm, graph)]),
        "markup": add_run(
            store, "markup", [both(structure.class_edges(bad), structure.class_graph(bad))]
        ),
        "hundred": add_run(store, "hundred", [many]),
        "thousand": add_run(store, "thousand", [thousand]),
        "old": add_run(store, "old", [both(edges.drop(columns="confusion"), graph)]),
        "odd": add_run(
            store,
            "odd",
            [
                both(
                    edges.assign(images_a=math.nan, images_b="x", confusions=math.nan),
                    graph.assign(cluster=math.nan, x=math.inf, error=math.inf),
                )
            ],
        ),
        "without": add_run(store, "without", [{"support": pd.DataFrame({"image": ["a"]})}]),
    }
    return store, ids


@pytest.fixture
def opened(class_store: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens a page on runs by their name here."""
    store, ids = class_store

    def page_of(*names: str, page: str = "hierarchy", **link: str) -> AppTest:
        link = {key: ids.get(value, value) for key, value in link.items()}
        app = open_page(page, store.uri, runs=[ids[name] for name in names], **link)
        assert not app.exception
        return app

    return page_of


def charts(app: AppTest) -> list[dict[str, Any]]:
    return [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]


def titled(app: AppTest, start: str) -> list[dict[str, Any]]:
    return [
        each for each in charts(app) if str(each.get("title", {}).get("text")).startswith(start)
    ]


def test_the_first_sentence_says_what_is_alike_and_what_that_explains(opened: Opened) -> None:
    said = texts(opened("usual"))
    assert "The head holds **cat** and **lynx** most alike" in said
    assert "Of the 2 pairs of classes that it confuses most, **1** was to be expected" in said
    assert "the given tree 1f3a9c" in said
    said = texts(opened("calm"))
    assert "no image of the probe was taken for another class" in said
    assert "SINGCallback(hierarchy=...)" in said


def test_epochs_without_a_graph_are_not_offered(opened: Opened) -> None:
    app = opened("usual")
    assert app.select_slider(key="epoch").options == ["0", "2"]
    assert "epoch 2" in str(titled(app, "All 4 classes")[0]["title"]["subtitle"])
    app.select_slider(key="epoch").set_value(0).run()
    assert "epoch 0" in str(titled(app, "All 4 classes")[0]["title"]["subtitle"])


def test_a_cluster_and_a_class_are_picked_by_list_and_link(opened: Opened) -> None:
    app = opened("usual", cluster="cat, lynx")
    assert titled(app, "A cluster of 2 classes")
    # The pairs below are of what is shown, the ship with which the cat is confused among it.
    confused = app.dataframe[0].value
    assert confused[["class_a", "class_b"]].to_numpy().tolist() == [["cat", "ship"]]
    app.selectbox(key="class").set_value("lynx").run()
    assert titled(app, "lynx and the classes around it")
    assert titled(opened("usual", **{"class": "car"}), "car and the classes around it")


def test_pairs_are_listed_and_every_row_of_the_epoch_can_be_saved(opened: Opened) -> None:
    app = opened("usual")
    confused, closest = (each.value for each in app.dataframe)
    assert confused["kind"].tolist() == ["explained", "unexplained"]
    assert confused["percent"].tolist() == [25, 5]
    assert closest["class_b"].tolist()[:2] == ["lynx", "ship"]
    assert closest["kind"].tolist()[-1] in ("neither", "unexplained")
    labels = [button.label for button in app.get("download_button")]
    assert labels == ["All pairs of this epoch as CSV", "All curves as CSV"]


def test_images_stand_between_two_classes(opened: Opened) -> None:
    app = opened("usual")
    assert app.selectbox(key="pair").options == ["car and ship", "cat and ship"]
    assert len(app.get("image")) == 2
    assert "Of **car**, nearest to **ship**" in texts(app)
    assert "5 images, 25 % on average of both" in texts(app)
    assert texts(opened("one")).count("No picture stored of") == 2


def test_a_hundred_names_stand_in_rows(opened: Opened) -> None:
    app = opened("hundred")
    assert app.selectbox(key="cluster").value is None
    assert "Each tree is a cluster of classes" in texts(app)
    trees = [each for each in app.get("vega_lite_chart") if "Trees of classes" in each.proto.alt]
    assert len(trees) == 2


def test_of_a_thousand_classes_one_cluster_is_drawn(opened: Opened) -> None:
    app = opened("thousand")
    assert "1,000 classes in 50 clusters" in texts(app)
    (graph,) = titled(app, "A cluster of 20 classes")
    assert "gray names" in str(graph["title"]["subtitle"])
    assert app.selectbox(key="cluster").value is None
    first = app.dataframe[-1].value
    app.selectbox(key="cluster").select_index(3).run()
    assert not app.exception
    assert titled(app, "A cluster of 20 classes")
    assert not set(first["class_a"]) & set(app.dataframe[-1].value["class_a"])


def test_markup_in_class_names_stays_text(opened: Opened) -> None:
    app = opened("markup")
    sentences = [each.value for each in app.markdown if "most alike" in each.value]
    assert len(sentences) == 1
    for sign in ("<b>", "[link]", "$x", ":red[", "http://"):
        assert sign not in sentences[0]


def test_depths_of_different_trees_share_no_axis(opened: Opened) -> None:
    together = titled(opened("usual", "same"), "Similarity Depth")
    assert len([each for each in together if each["title"]["text"] == "Similarity Depth"]) == 1
    for page in ("hierarchy", "evolution"):
        link = {"metrics": "Similarity Depth"} if page == "evolution" else {}
        app = opened("usual", "same", "other", page=page, baseline="usual", **link)
        depths = [each for each in charts(app) if each["title"]["text"] == "Similarity Depth"]
        assert len(depths) == 2, page
        said = [str(each["title"]["subtitle"]) for each in depths]
        assert "the given tree 1f3a9c alone" in said[0]
        assert "WordNet alone" in said[1]
        # What needs no tree stays together.
        if page == "hierarchy":
            assert len(titled(app, "Errors explained by an edge")) == 1


def test_no_difference_is_told_between_trees(opened: Opened) -> None:
    link = {"metrics": "Similarity Depth", "baseline": "usual"}
    app = opened("usual", "same", "other", page="evolution", **link)
    numbers = app.dataframe[0].value
    depths = numbers[numbers["metric"] == "Similarity Depth"].set_index("label")["difference"]
    assert depths["same"] == pytest.approx(0.2)
    assert math.isnan(depths["other"])


def test_chance_is_drawn_dotted_and_explained(opened: Opened) -> None:
    app = opened("usual")
    assert "chance: the classes permuted" in texts(app)
    assert "random subspace" not in texts(app)
    (panel,) = titled(app, "Errors explained by an edge")
    assert '"strokeDash": [1, 2]' in json.dumps(panel)


def test_metrics_without_a_number_are_named_and_not_drawn(opened: Opened) -> None:
    app = opened("usual")
    assert not titled(app, "Change of the class tree")
    assert "Undefined at every validation, or not logged" in texts(app)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("without", "An earlier version of sing-monitor wrote the run"),
        ("old", r"has no confusion"),
        ("one", "drawn as a point"),
        ("odd", "No images are named for any pair"),
    ],
)
def test_odd_runs_say_why(run: str, said: str, opened: Opened) -> None:
    app = opened(run)
    assert said in texts(app)
    assert not app.error
