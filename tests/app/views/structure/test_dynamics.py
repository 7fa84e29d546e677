"""The page Dynamics on real stores: modes, what chance gives, changes, and every odd state."""

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

Tables = dict[str, pd.DataFrame]
EPOCHS = 30
LAYERS = ("stem", "body", "head")


def usual(last: int, layers: tuple[str, str, str] = LAYERS) -> Tables:
    return {
        "modes": structure.modes(layers),
        "mode_curves": structure.mode_curves(last, layers),
        "mode_weights": structure.mode_weights(layers),
    }


def scalars(epoch: int, lowest: int | None = None) -> dict[str, float]:
    if epoch < 7:
        return plausible(epoch) | {"dynamics/window": epoch + 1.0}
    return plausible(epoch) | {
        "dynamics/window": min(epoch + 1.0, 20),
        "dynamics/explained": 0.93,
        "dynamics/explained_surrogate": 0.81,
        "dynamics/explained_excess": 0.12,
        "dynamics/stability": math.nan if epoch < 8 else 0.1 if epoch == lowest else 0.6,
        "dynamics/weights": 60.0 + epoch,
    }


def add_run(
    store: Store,
    name: str,
    tables: dict[int, Tables],
    epochs: int = EPOCHS,
    lowest: int | None = None,
    **config: object,
) -> str:
    values = [scalars(epoch, lowest) for epoch in range(epochs)]
    run = store.run(name, values, config=config)
    structure.write_tables(store, run, name, values, tables)
    return run


@pytest.fixture(scope="module")
def weight_store(
    empty_store: Store, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, dict[str, str]]:
    store = copy_of(empty_store, tmp_path_factory.mktemp("dynamics"))
    nothing = {"support": pd.DataFrame({"image": ["a"]})}
    odd = usual(7)
    odd["mode_weights"] = odd["mode_weights"].assign(curve=[[]] * 6)
    odd["mode_curves"] = odd["mode_curves"].assign(value=math.nan)
    old = usual(7)
    old["modes"] = old["modes"].drop(columns="share")
    ids = {
        "usual": add_run(store, "usual", {each: usual(each) for each in (7, 29)}, lowest=26),
        "even": add_run(store, "even", {29: usual(29)}),
        "first": add_run(store, "first", {7: usual(7)}, epochs=8),
        "markup": add_run(store, "markup", {7: usual(7, (MARKUP, MARKUP, MARKUP))}, epochs=8),
        "odd": add_run(store, "odd", {7: odd}, epochs=8),
        "old": add_run(store, "old", {7: old}, epochs=8),
        "early": add_run(store, "early", {1: nothing, 2: nothing}, epochs=3, n_weights=20000),
        "one": add_run(store, "one", {0: nothing}, epochs=1, n_weights=20000),
        "zero": add_run(store, "zero", {2: nothing}, epochs=3, n_weights=0),
        "before": add_run(store, "before", {2: nothing}, epochs=3),
        "frozen": add_run(
            store, "frozen", dict.fromkeys(range(8), nothing), epochs=8, n_weights=20000
        ),
    }
    return store, ids


@pytest.fixture
def opened(weight_store: tuple[Store, dict[str, str]], open_page: Opened) -> Opened:
    """Opens a page on runs by their name here."""
    store, ids = weight_store

    def page_of(*names: str, page: str = "dynamics", **link: str) -> AppTest:
        app = open_page(page, store.uri, runs=[ids[name] for name in names], **link)
        assert not app.exception
        return app

    return page_of


def charts(app: AppTest) -> dict[str, dict[str, Any]]:
    found = [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]
    return {each["title"]["text"]: each for each in found}


def test_modes_are_drawn_and_what_exceeds_chance_is_said(opened: Opened) -> None:
    app = opened("usual")
    assert list(charts(app))[:3] == [
        "What the weights follow",
        "In which layers",
        "How alike weights move",
    ]
    said = texts(app)
    assert "**chance alone explains about 0.75**" in said
    assert "explain 93.0 % of how the sampled weights moved, and 81.0 % would be chance" in said
    assert "excess, 12.0 points" in said
    assert app.dataframe[0].value["percent"].tolist() == pytest.approx([500 / 6, 100 / 6])
    assert all(each.proto.alt for each in app.get("vega_lite_chart"))


def test_epochs_without_modes_are_not_offered(opened: Opened) -> None:
    app = opened("usual")
    assert app.select_slider(key="epoch").options == ["7", "29"]
    app.select_slider(key="epoch").set_value(7).run()
    assert not app.exception
    assert "epoch 7" in str(charts(app)["What the weights follow"]["title"]["subtitle"])


def test_random_walks_are_dotted_beside_what_is_explained_alone(opened: Opened) -> None:
    app = opened("usual")
    dotted = [
        title for title, chart in charts(app).items() if '"strokeDash": [1, 2]' in json.dumps(chart)
    ]
    assert dotted == ["Explained by modes"]
    assert "chance: random walks" in texts(app)
    assert "Explained by modes of random walks" not in charts(app)


def test_evolution_calls_random_walks_by_their_name(opened: Opened) -> None:
    said = texts(opened("usual", page="evolution", metrics="Explained by modes"))
    assert "chance: random walks" in said
    assert "random subspace of the same size" not in said


def test_a_change_is_told_for_the_run_that_has_it_and_for_no_other(opened: Opened) -> None:
    lowest = "Stability was lowest at epoch 26: the way in which weights move together changed"
    assert lowest in texts(opened("usual"))
    assert "Stability was lowest" not in texts(opened("even"))
    said = texts(opened("even", "usual"))
    assert f"**usual**: {lowest}" in said
    assert said.count("Stability was lowest") == 1


def test_all_can_be_saved(opened: Opened) -> None:
    labels = [button.label for button in opened("usual").get("download_button")]
    assert labels == [
        "Modes by layer as CSV",
        "Reference curves as CSV",
        "Sampled weights as CSV",
        "All curves as CSV",
    ]


def test_markup_in_the_names_of_layers_stays_in_charts_and_tables(opened: Opened) -> None:
    app = opened("markup")
    said = texts(app)
    for sign in ("evil.example", "bold", ":red["):
        assert sign not in said
    rows = app.dataframe[0].value
    assert rows["reference"].str.startswith("<b>bold</b>").all()


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("early", "from the 8th validation on, and there are 2 validations so far"),
        ("one", "there is 1 validation so far"),
        ("zero", "no weights were followed (`n_weights=0`"),
        ("before", "an earlier version of sing-monitor wrote it"),
        ("frozen", "none of the weights that were followed moved"),
        ("old", "has no share"),
        ("odd", "holds no curve"),
        ("odd", "reference curves holds no number"),
    ],
)
def test_odd_runs_say_why(run: str, said: str, opened: Opened) -> None:
    app = opened(run)
    assert said in texts(app)
    assert not app.error


def test_the_first_modes_are_drawn_as_points(opened: Opened) -> None:
    app = opened("first")
    assert "What the weights follow" in charts(app)
    assert "Stability was lowest" not in texts(app)
