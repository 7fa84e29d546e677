"""The page Images on real stores: cards, neighbors, filters, history, and every odd state."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.charts.images import ScoreLabels, column, history, history_of, ranked
from sing_monitor.findings import Findings
from sing_monitor.tracking import MlflowRun, RunWriter
from tests.app import structure
from tests.app.conftest import MARKUP, Opened, copy_of
from tests.app.stores import Store, plausible

IDS = [f"{index:016x}" for index in range(6)]
NAMES = ["cat", MARKUP, "zebra"]


def images(epoch: int, *, movers: bool = True) -> pd.DataFrame:
    """Six images; AS grows with the index at epoch 0, image 3 is wrong, image 5 has no score."""
    scores = [1.0, -2.0, 3.0, -40.0 - epoch, 5.0, math.nan]
    nearest: list[list[str]] = [[] for _ in IDS]
    after, after_raw = list(nearest), list(nearest)
    if movers:
        nearest[3], after[3], after_raw[3] = [IDS[0]], [IDS[1]], [IDS[2]]
    return pd.DataFrame(
        {
            "image": IDS,
            "label": [0, 1, 2, 0, 1, 2],
            "prediction": [0, 1, 2, 2, 1, 2],
            "attribute_score": [score * 0.5 for score in scores],
            "image_score": [9.0, 8.0, 7.0, 6.0, 5.0, math.nan],
            "attribute_score_centered": scores,
            "image_score_centered": [19.0, 18.0, 17.0, 16.0, 15.0, math.nan],
            "mover": [movers and index == 3 for index in range(6)],
            "neighbours_before": nearest,
            "neighbours_after": after_raw,
            "neighbours_after_centered": after,
        }
    )


def support() -> pd.DataFrame:
    """Centered, the image that moved most is out of support; raw, none is."""
    outside = [float(image == IDS[3]) for image in IDS]
    return pd.DataFrame({"image": IDS, "outside": 0.0, "outside_centered": outside})


def mapped(*parts: str) -> dict[str, pd.DataFrame]:
    """The images with maps of the first five."""
    return {
        "images": images(0),
        "focus": structure.focus(IDS),
        "focus_maps": structure.focus_maps(IDS, parts),
    }


def add_run(
    store: Store,
    name: str,
    tables: list[dict[str, pd.DataFrame]],
    *,
    pictures: bool = True,
    config: dict[str, object] | None = None,
) -> str:
    values = [plausible(epoch) for epoch in range(len(tables))]
    run = store.run(name, values, config=config)
    writer = RunWriter(MlflowRun(store.client, run), store.folder / f"spool {name}")
    classes = pd.DataFrame({"class_index": range(3), "class_name": NAMES})
    shades = {i: np.full((64, 64, 3), 40 * n, dtype=np.uint8) for n, i in enumerate(IDS[:4])}
    for epoch, found in enumerate(tables):
        findings = Findings(values[epoch], {"classes": classes, **found})
        kept = shades if pictures else {}
        writer.write(findings, epoch=epoch, step=(epoch + 1) * 100, thumbnails=kept)
    return run


@pytest.fixture(scope="module")
def image_store(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    store = copy_of(empty_store, tmp_path_factory.mktemp("images"))
    nothing = images(0).assign(attribute_score_centered=math.nan)
    kinds: dict[str, list[dict[str, pd.DataFrame]]] = {
        "usual": [{"images": images(epoch)} for epoch in range(3)],
        "one": [{"images": images(0)}],
        "nan": [{"images": nothing}],
        "nan with maps": [mapped(*structure.PARTS) | {"images": nothing}],
        "old": [{"images": images(0).drop(columns="image_score_centered")}],
        "far": [{"images": images(0), "support": support()}],
        "gap": [{"images": images(0)}, {}],
        "maps": [mapped(*structure.PARTS), mapped(*structure.PARTS)],
        "heuristic": [mapped("all")],
        "full rank": [mapped("all", "seen")],
        "no weights": [mapped("all", "null")],
        "damaged": [mapped("all") | {"focus_maps": structure.focus_maps(IDS).assign(height=9)}],
    }
    ids = {name: add_run(store, name, tables) for name, tables in kinds.items()}
    for name, config in {
        "no maps": {"n_maps": 0, "map": "none: n_maps is 0"},
        "mlp": {"n_maps": 64, "map": f"none: no layer, {MARKUP}"},
        "left out": {"analyses": ["sing"], "map": "none: n_maps is 0"},
        "no pictures": {"n_maps": 64, "n_images": 0, "map": "body (64, 7 x 7)"},
    }.items():
        ids[name] = add_run(store, name, [{"images": images(0)}], config=config)
    bare = {"images": images(0, movers=False)}
    ids["bare"] = add_run(store, "bare", [bare], pictures=False)
    ids["lost"] = add_run(store, "lost", [{"images": images(0)}], pictures=False)
    return store, ids


@pytest.fixture
def opened(image_store: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens the page on runs by their name here."""
    store, ids = image_store

    def images_of(*names: str, **link: str) -> AppTest:
        app = open_page("images", store.uri, runs=[ids[name] for name in names], **link)
        assert not app.exception
        return app

    return images_of


def texts(app: AppTest) -> str:
    kinds = ("markdown", "caption", "info", "warning", "error")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def captions(app: AppTest) -> list[str]:
    return [caption for each in app.get("image") for caption in each.captions]


def test_scores_out_of_support_are_marked(opened: Opened) -> None:
    app = opened("far")
    assert "\N{MULTIPLICATION SIGN} out of support" in texts(app)
    assert "1 of the 1 that match are out of support" in texts(app)
    found = app.dataframe[0].value.set_index("image")["outside"]
    assert found[found].index.tolist() == [IDS[3]]
    for name, pair in (("far", "Raw"), ("usual", "Centered")):
        assert "out of support" not in texts(opened(name, removal=pair))


def test_a_card_shows_picture_prediction_scores_and_neighbors(opened: Opened) -> None:
    app = opened("usual")
    said = texts(app)
    assert "wrong: **zebra**" in said
    assert r"AS \-42\.00°" in said
    assert r"IS 16\.00°" in said
    assert "without the part that the head ignores" in said
    assert "1 have no score" in said
    own, before, after = captions(app)
    assert (own, before) == ("", "cat")
    assert "bold" in after.replace("\\", "") or after.startswith(r"\<b\>")
    assert captions(opened("usual", removal="Raw"))[2] == "zebra"


def test_markup_in_class_names_stays_text(opened: Opened) -> None:
    app = opened("usual", pictures="false")
    (card,) = [m.value for m in app.markdown if "AS \\-2\\.00" in m.value]
    for sign in ("<b>", "**stars", "[link]", "$x", ":red[", "http://"):
        assert sign not in card


def test_all_images_are_ranked_by_the_chosen_score(opened: Opened) -> None:
    table = opened("usual", pictures="false").dataframe[0].value
    assert table["image"].tolist() == [IDS[i] for i in (3, 4, 2, 1, 0)]
    table = opened("usual", pictures="false", score="IS").dataframe[0].value
    assert table["image"].tolist() == IDS[:5]


def test_class_and_verdict_filter_the_images(opened: Opened) -> None:
    app = opened("usual", pictures="false")
    app.selectbox(key="class").set_value("zebra").run()
    assert app.dataframe[0].value["image"].tolist() == [IDS[2]]
    app = opened("usual", pictures="false", verdict="Wrong")
    assert app.dataframe[0].value["image"].tolist() == [IDS[3]]
    app.selectbox(key="class").set_value("zebra").run()
    assert not app.exception
    assert "No image matches" in texts(app)


def test_an_image_of_the_link_is_opened_with_its_history(opened: Opened) -> None:
    app = opened("usual", image=IDS[3], epoch="1")
    assert app.selectbox(key="image").value == IDS[3]
    charts = [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]
    assert [chart["title"]["text"][:2] for chart in charts] == ["AS", "IS"]
    sent = app.get("vega_lite_chart")[0].proto.datasets
    frames = [pa.ipc.open_stream(each.data.data).read_pandas() for each in sent]
    (values,) = [frame for frame in frames if "verdict" in frame]
    assert values["attribute_score_centered"].tolist() == [-40.0, -41.0, -42.0]
    assert all(each.proto.alt for each in app.get("vega_lite_chart"))


def test_an_unknown_image_of_the_link_is_named(opened: Opened) -> None:
    assert "The link names an image" in texts(opened("usual", image="f" * 16))


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("bare", "n_images=0"),
        ("lost", "No picture"),
        ("nan", "No image has a score at epoch 0"),
        ("old", r"has no image\_score\_centered"),
        ("gap", "It may appear with the next validation"),
    ],
)
def test_odd_runs_say_why(run: str, said: str, opened: Opened) -> None:
    assert said in texts(opened(run))


def test_without_any_score_the_maps_are_still_shown(opened: Opened) -> None:
    app = opened("nan with maps", image=IDS[1])
    said = texts(app)
    assert "No image has a score at epoch 0" in said
    assert "What the head sees and what it ignores stand" in said
    assert app.selectbox(key="image").options == IDS[:5]
    drawn = {each.proto.alt.partition(":")[0] for each in app.get("vega_lite_chart")}
    assert {"All features", "What the head sees", "What the head ignores"} <= drawn
    assert "image" not in {each.key for each in opened("nan").selectbox}


def test_without_pictures_ids_and_numbers_are_shown(opened: Opened) -> None:
    app = opened("bare")
    assert app.dataframe[0].value["image"].tolist() == [IDS[i] for i in (3, 4, 2, 1, 0)]
    assert not captions(app)


def test_one_epoch_has_no_slider_and_points_only(opened: Opened) -> None:
    app = opened("one", image=IDS[3])
    assert not app.select_slider
    assert "drawn as a point" in texts(app)


def test_the_run_is_chosen_among_the_picked(opened: Opened) -> None:
    app = opened("usual", "bare")
    app.selectbox(key="of").set_value("bare").run()
    assert "n_images=0" in texts(app)


def test_ranked_leaves_out_what_has_no_score() -> None:
    assert ranked(images(0), column("AS", "raw"))["image"].tolist() == [
        IDS[i] for i in (3, 4, 2, 1, 0)
    ]


def test_the_history_has_a_row_for_each_epoch_with_the_image() -> None:
    without = images(1)[lambda table: table["image"] != IDS[3]]
    values = history_of(IDS[3], {2: images(2), 0: images(0), 1: without})
    assert values["epoch"].tolist() == [0, 2]
    assert values["verdict"].tolist() == ["wrong", "wrong"]
    assert history_of("f" * 16, {0: images(0)}).empty


def test_the_history_marks_the_epoch_and_zero_where_it_is_crossed() -> None:
    values = history_of(IDS[3], {epoch: images(epoch) for epoch in range(3)})
    score = ScoreLabels("attribute_score_centered", "AS", "degrees")
    spec = history(values, score, "#111111", 1).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == ["rule", "line", "point"]
    assert spec["layer"][2]["encoding"]["shape"]["scale"]["range"] == ["circle", "cross"]
    crossing = values.assign(attribute_score_centered=[-1.0, math.nan, 1.0])
    marks = [each["mark"]["type"] for each in history(crossing, score, "#1", 1).to_dict()["layer"]]
    assert marks == ["rule", "rule", "line", "point"]


def test_the_maps_of_an_image_with_what_they_say(opened: Opened) -> None:
    app = opened("maps", image=IDS[1])
    charts = {
        chart["title"]["text"]: chart["title"]["subtitle"]
        for chart in (json.loads(each.proto.spec) for each in app.get("vega_lite_chart"))
    }
    assert charts["All features"] == [
        "spread over the whole image",
        "H 1.00, as if evenly on 6 of 6",
    ]
    assert charts["What the head sees"] == ["on one spot", "H 0.00, as if evenly on 1 of 6"]
    assert charts["What the head ignores"][1] == "H 0.39, as if evenly on 2 of 6"
    assert "How evenly the features are spread" in charts
    said = texts(app)
    assert "stand mostly in different places: overlap 0.71" in said
    assert "Heuristic" not in said


def test_all_maps_of_an_image_have_one_scale(opened: Opened) -> None:
    app = opened("maps", image=IDS[1])
    specs = [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]
    scales = [
        layer["encoding"]["color"]["scale"]["domain"]
        for spec in specs
        for layer in spec["layer"]
        if layer["mark"]["type"] == "rect"
    ]
    assert scales == [[0, 1]] * 3


@pytest.mark.parametrize(
    ("run", "titles", "said"),
    [
        (
            "heuristic",
            ["All features (heuristic)"],
            "does not read the plain mean over these places",
        ),
        ("full rank", ["All features", "What the head sees"], "it has no null space"),
        ("no weights", ["All features", "What the head ignores"], "its weights are zero"),
    ],
)
def test_only_maps_that_mean_what_they_say(
    run: str, titles: list[str], said: str, opened: Opened
) -> None:
    app = opened(run, image=IDS[1])
    specs = [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]
    is_map = [any(part["mark"]["type"] == "rect" for part in spec["layer"]) for spec in specs]
    drawn = [spec["title"]["text"] for spec, each in zip(specs, is_map, strict=True) if each]
    assert drawn == titles
    assert said in texts(app)
    assert "overlap" not in texts(app)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("maps", "No map of this image: maps are stored for 5 images"),
        ("no maps", "the run was monitored with n_maps=0"),
        ("left out", "it was made without the analysis"),
        ("mlp", "No maps of where its features stand: no layer"),
        ("no pictures", "with n_images=0 neither pictures nor maps"),
        ("usual", "an older version of sing-monitor wrote this validation"),
    ],
)
def test_without_maps_a_line_says_why(run: str, said: str, opened: Opened) -> None:
    app = opened(run, image=IDS[5])
    assert said in texts(app)
    assert "<b>" not in texts(app).replace("\\<b", "")


def test_damaged_maps_are_said_to_be(opened: Opened) -> None:
    assert "damaged, or 0 everywhere" in texts(opened("damaged", image=IDS[1]))


def test_images_with_maps_are_found_whether_they_moved_or_not(opened: Opened) -> None:
    table = opened("maps", maps="true").dataframe[0].value
    assert table["image"].tolist() == [IDS[i] for i in (3, 4, 2, 1, 0)]
    assert opened("maps").dataframe[0].value["image"].tolist() == [IDS[3]]
    assert "maps" not in {each.key for each in opened("usual").toggle}
