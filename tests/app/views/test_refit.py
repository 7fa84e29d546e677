"""Runs that refit both parts lead with what is hidden; those before keep what they have."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from sing_monitor.app.wording import metrics
from sing_monitor.findings import Findings
from tests.app.conftest import Opened, Runs, copy_of
from tests.app.stores import Store, refitted_history
from tests.app.views.test_classes import drawn, tables
from tests.app.views.test_pages import charts, titles
from tests.app.views.test_pages import texts as escaped

HIDDEN, KEPT = "sing/class_hidden", "sing/retention_seen"
STACK = "Meaning of the images"


def texts(app: AppTest) -> str:
    """All that the page says, without the signs that keep Markdown from reading it."""
    return escaped(app).replace("\\", "")


def about_measuring(app: AppTest) -> list[str]:
    """Remarks that runs were measured in different ways."""
    said = [caption.value.replace("\\", "") for caption in app.caption]
    return [text for text in said if "easured with different" in text]


@pytest.fixture(scope="module")
def store(filled: tuple[Store, Runs], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A copy of the common database: the runs that are added here are seen here alone."""
    return copy_of(filled[0], tmp_path_factory.mktemp("refit"))


@pytest.fixture(scope="module")
def honest(store: Store) -> str:
    interval = pd.DataFrame({"key": [HIDDEN], "value": 0.02, "low": 0.01, "high": 0.035})
    found = Findings({}, {"intervals": interval.assign(n=1000, level=0.95)})
    return store.run("honest", refitted_history(4), experiment="refit", tables=found)


@pytest.fixture(scope="module")
def blind(store: Store) -> str:
    """A run two of whose classes are hidden."""
    found = tables(["a", "b", "c", "d"]).tables
    found["classes"] = found["classes"].assign(
        zero_shot=[0.9, 0.8, 0.95, math.nan],
        zero_shot_seen=[0.5, 0.79, 0.1, math.nan],
        hidden=[True, False, True, False],
        hidden_p=[1e-4, 0.4, 1e-7, math.nan],
        hidden_q=[2e-4, 0.5, 3e-7, math.nan],
    )
    return store.run(
        "blind",
        refitted_history(4, 1.0),
        experiment="refit",
        tables=Findings({}, found),
        tags={"alerts": "class_hidden@3"},
    )


def test_cards_and_sentence_begin_with_what_is_hidden(
    open_page: Opened, store: Store, honest: str, runs: Runs
) -> None:
    app = open_page("runs", store.uri, runs=[honest])
    assert not app.exception
    assert [metric.label for metric in app.metric] == [
        metrics.short_label(key)
        for key in (HIDDEN, KEPT, "monitor/accuracy", "sing/hidden_classes")
    ]
    assert "2 % of the images tell their class only in what the head cannot see" in texts(app)
    said = [caption.value for caption in app.caption if caption.value.startswith("95 %")]
    assert said == ["95 %: 0.010 to 0.035"]
    table = app.dataframe[0].value.set_index("run")
    assert table.loc["honest", f"{HIDDEN} interval"] == "0.010 to 0.035"
    # An earlier run in the same store keeps its cards, and none of them is empty.
    app = open_page("runs", store.uri, runs=[runs.healthy])
    assert metrics.short_label(HIDDEN) not in [metric.label for metric in app.metric]
    assert metrics.MISSING not in [metric.value for metric in app.metric]


def test_evolution_begins_with_what_is_hidden_and_stacks_the_meaning(
    open_page: Opened, store: Store, honest: str, blind: str, runs: Runs
) -> None:
    app = open_page("evolution", store.uri, runs=[honest, blind, runs.healthy])
    assert not app.exception
    shown = titles(app)
    assert shown[:6] == [
        *map(metrics.label, ("sing/class_hidden", "sing/retention_seen", "monitor/accuracy")),
        *map(metrics.label, ("sing/zero_shot", "sing/zero_shot_seen", "sing/zero_shot_null")),
    ]
    # One picture for each run that has the numbers, with class and attribute beside it.
    assert shown.count(STACK) == 2
    assert shown.count("Kept in what the head sees") == 2
    stack = drawn(app, STACK)
    first = stack[(stack["epoch"] == 0) & (stack["part"] == "seen alone")].iloc[0]
    assert first["value"] == pytest.approx(-0.03)
    assert (first["low"], first["high"]) == (0, 0)
    kept = drawn(app, "Kept in what the head sees")
    assert set(kept["thing"]) == {"class", "ink colour"}
    assert "healthy: no split at the last validation" in texts(app)
    old = open_page("evolution", store.uri, runs=[runs.healthy])
    assert not old.exception
    assert STACK not in titles(old)
    assert "healthy: no split at the last validation" in texts(old)
    assert "AS toward the true class, centered" in titles(old)


def test_of_several_runs_one_chooses_whose_meaning_is_drawn(
    open_page: Opened, store: Store, honest: str, blind: str
) -> None:
    third = store.run("third", refitted_history(4), experiment="refit")
    app = open_page("evolution", store.uri, runs=[honest, blind, third])
    assert not app.exception
    assert titles(app).count(STACK) == 2
    assert app.multiselect(key="meaning").value == [honest, blind]
    app.multiselect(key="meaning").set_value([honest, blind, third]).run()
    assert not app.exception
    assert titles(app).count(STACK) == 3
    alone = open_page("evolution", store.uri, runs=[honest, blind, third], meaning="third")
    assert titles(alone).count(STACK) == 1


def test_an_attribute_called_class_has_a_line_beside_that_of_the_class(
    open_page: Opened, store: Store
) -> None:
    own = {"attribute/class_retention_seen": 0.4, "attribute/class_hidden": 0.1}
    own |= {"attribute/attribute_class_retention_seen": 0.3, "attribute/attribute_class_hidden": 0}
    history = [each | own for each in refitted_history(4)]
    run = store.run("attribute class", history, experiment="refit")
    app = open_page("evolution", store.uri, runs=[run])
    assert not app.exception
    kept = drawn(app, "Kept in what the head sees")
    assert set(kept["thing"]) == {"class", "class (attribute)", "attribute class", "ink colour"}
    for thing, value in (("class (attribute)", 0.4), ("attribute class", 0.3)):
        assert set(kept.loc[kept["thing"] == thing, "value"]) == {value}


def test_hidden_classes_are_named_first_and_marked(
    open_page: Opened, store: Store, blind: str
) -> None:
    app = open_page("classes", store.uri, runs=[blind])
    assert not app.exception
    said = texts(app)
    first, second = said.index("**c** (right 95%"), said.index("**a** (right 90%")
    assert first < second
    assert "10% from what the head sees, q 3e-07" in said
    table = app.dataframe[0].value
    assert table["name"].tolist()[:2] == ["c", "a"]
    assert table["hidden"].tolist() == ["hidden", "hidden", "", ""]
    assert "leak" not in table
    assert table.set_index("name")["q"]["b"] == 0.5
    (tip,) = [
        caption.help
        for page in ("runs",)
        for caption in open_page(page, store.uri, runs=[blind]).caption
        if "Alerts" in caption.value
    ]
    assert "At epoch 3: c and a" in tip.replace("\\", "")


@pytest.mark.parametrize("page", ["runs", "evolution", "tradeoff"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"translator/ridge": 0.1}, "ridges (0.01 to 0.1)"),
        ({"monitor/samples": 400.0}, "probe sizes (400 to 1,000)"),
    ],
)
def test_degrees_that_do_not_compare_are_marked_and_the_refit_is_not(
    page: str,
    changes: dict[str, float],
    said: str,
    open_page: Opened,
    store: Store,
    honest: str,
) -> None:
    other = store.run(f"other {page} {said}", refitted_history(3, **changes), experiment="refit")
    app = open_page(page, store.uri, runs=[honest, other])
    assert not app.exception
    (remark,) = about_measuring(app)
    assert said in remark
    marked = {chart["title"]["text"]: "\u26a0" in str(chart["title"]) for chart in charts(app)}
    if page == "evolution":
        assert marked["AS toward the true class, centered"]
        assert marked["IS, meaning moved, centered"]
        assert not marked[metrics.label(HIDDEN)]
        assert not marked["Accuracy on the probe"]
    if page == "tradeoff":
        assert marked["AS and IS, centered"]
        assert not marked[metrics.label(HIDDEN)]
    if page != "runs":  # Its table holds the other one, picked or not.
        assert not about_measuring(open_page(page, store.uri, runs=[honest]))


def test_degrees_that_still_grow_are_marked(open_page: Opened, store: Store, honest: str) -> None:
    growing = store.run(
        "few images", refitted_history(3, **{"translator/saturation": 0.8}), experiment="refit"
    )
    app = open_page("evolution", store.uri, runs=[honest, growing])
    assert not app.warning
    (said,) = (caption.value for caption in app.caption if "still grow" in caption.value)
    assert "few images (saturation 0.80)" in said.replace("\\", "")
    marked = {chart["title"]["text"]: "\u26a0" in str(chart["title"]) for chart in charts(app)}
    assert marked["IS, meaning moved, centered"]
    assert not marked[metrics.label(HIDDEN)]


@pytest.fixture(scope="module")
def again(store: Store, honest: str) -> str:
    """A run that was rescored from the honest one."""
    changed = refitted_history(1, **{"translator/ridge": 0.1})
    return store.run("again", changed, experiment="refit", tags={"rescored_from": honest})


@pytest.mark.parametrize("page", ["runs", "evolution", "classes", "tradeoff", "geometry"])
def test_every_page_says_which_runs_are_rescored(
    page: str, store: Store, honest: str, again: str, open_page: Opened
) -> None:
    app = open_page(page, store.uri, runs=[honest, again])
    assert not app.exception
    said = "\N{CLOCKWISE OPEN CIRCLE ARROW} again is rescored from honest, ridge 0.1."
    assert texts(app).count(said) == 1
    assert "rescored from" not in texts(open_page(page, store.uri, runs=honest))
