"""The ranks over depth on the page Geometry, in the states that runs can be in."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from tests.app import structure
from tests.app.conftest import MARKUP, Opened, copy_of
from tests.app.stores import Store, history
from tests.app.views.test_pages import texts

NO_STAGES = "no ranks by layer, since no stages were looked at"


def add_run(
    store: Store, name: str, tables: dict[int, dict[str, pd.DataFrame]], **config: object
) -> str:
    # Few curves: what is logged takes most of the time.
    shown = ("head/rank", "head/null_dim", "head/null_energy")
    values = [{key: each[key] for key in shown if key in each} for each in history(max(tables) + 1)]
    if config.get("layers") and name != "nothing":
        values = [each | {"layers/rank_drop": 1.26} for each in values]
    run = store.run(name, values, config=config)
    structure.write_tables(store, run, name, values, tables)
    return run


@pytest.fixture(scope="module")
def layered(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    store = copy_of(empty_store, tmp_path_factory.mktemp("layers"))
    usual = {"layers": structure.layers()}
    undefined = {"layers": structure.layers().assign(rank=float("nan"))}
    old = {"layers": structure.layers().drop(columns="pca_95")}
    other = {"support": pd.DataFrame({"image": ["a"]})}
    hostile = {"layers": structure.layers((MARKUP, f"{MARKUP}.1", "b"))}
    found = {
        "usual": add_run(store, "usual", dict.fromkeys(range(4), usual), layers=True),
        "named": add_run(store, "named", {1: usual, 3: usual}, layers=["stem"]),
        "markup": add_run(store, "markup", {0: hostile}, layers=True),
        "old": add_run(store, "old", {0: old, 1: old}, layers=True),
        "undefined": add_run(store, "undefined", {0: undefined}, layers=True),
        "nothing": add_run(store, "nothing", {0: other}, layers=True),
        "without": add_run(store, "without", {0: other}, layers=False),
        "before": add_run(store, "before", {0: other}),
        "chosen": add_run(store, "chosen", {0: other}, layers=False, analyses=["head"]),
    }
    return store, found


@pytest.fixture
def opened(layered: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens the page on runs by their name here."""
    store, ids = layered

    def page_of(*names: str, **link: str) -> AppTest:
        app = open_page("geometry", store.uri, runs=[ids[name] for name in names], **link)
        assert not app.exception
        assert not app.error
        return app

    return page_of


def depth_charts(app: AppTest) -> list[dict[str, Any]]:
    found = [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]
    return [each for each in found if "effective rank" in json.dumps(each.get("layer", ""))]


def below(app: AppTest) -> dict[str, str]:
    """The line below each title."""
    titles = [each["title"] for each in depth_charts(app)]
    return {each["text"]: each["subtitle"][0] for each in titles}


def test_each_run_has_a_chart_at_the_chosen_epoch(opened: Opened) -> None:
    app = opened("usual", "named", "without", depth="3")
    assert below(app) == {
        "usual": "epoch 3 · faint: epochs 0, 1, 2",
        "named": "epoch 3 · faint: epoch 1",
    }
    said = texts(app)
    assert "Features vary in about 9.5 directions at `` net.stem `` and in about 12" in said
    assert "`` net.body.1 `` is a bottleneck: about 2.5." in said
    assert f"without: {NO_STAGES}. `SINGCallback(layers=True)` takes them" in said
    app.select_slider(key="depth").set_value(2).run()
    assert not app.exception
    assert below(app) == {
        "usual": "epoch 2 · faint: epochs 0, 1, 3",
        "named": "not measured at epoch 2 · faint: epochs 1, 3",
    }


@pytest.mark.parametrize("name", ["without", "before"])
def test_a_run_without_stages_says_how_to_get_them(name: str, opened: Opened) -> None:
    app = opened(name)
    assert depth_charts(app) == []
    assert f"{name}: {NO_STAGES}. `SINGCallback(layers=True)` takes them" in texts(app)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("undefined", "No rank so far"),
        ("nothing", "No rank so far"),
        ("old", "has no pca\\_95"),
    ],
)
def test_a_run_whose_ranks_cannot_be_drawn_says_so(name: str, said: str, opened: Opened) -> None:
    app = opened(name)
    assert depth_charts(app) == []
    assert texts(app).count(said) == 1
    assert NO_STAGES not in texts(app)


def test_a_run_without_the_analysis_says_that(opened: Opened) -> None:
    app = opened("chosen")
    assert depth_charts(app) == []
    assert NO_STAGES not in texts(app)
    (said,) = (each.value for each in app.caption if each.value.startswith("chosen: "))
    assert "layers" in said


def test_names_of_stages_are_no_markup(opened: Opened) -> None:
    app = opened("markup")
    assert len(depth_charts(app)) == 1
    (said,) = (each.value for each in app.markdown if "Features vary" in each.value)
    assert "`` " in said
    assert not said.replace("`` b ``", "").count("``") % 2
